package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/dispatch"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// The demo tenant of `sendlog dev`. Its token opens nothing but the pretend
// Meta.
const (
	demoName   = "Demo"
	demoNumber = "100000000000001"
	demoToken  = "demo_access_token"
	demoTo     = "+14155550100"

	// demoStatusDelay is how long the pretend Meta takes for each status.
	demoStatusDelay = 300 * time.Millisecond
)

// metaAddrSetting is how errors call the address of the pretend Meta.
const metaAddrSetting = "META_ADDR (or --meta-addr)"

func devCommand(env func(string) string, log *slog.Logger) *cobra.Command {
	var metaAddr string
	var bad badDay
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the system with a pretend Meta and a demo tenant; nothing to install",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			return dev(cmd.Context(), c, metaAddr, bad, log, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&metaAddr, "meta-addr", cmp.Or(strings.TrimSpace(env("META_ADDR")), "127.0.0.1:3002"), "where the pretend Meta listens, as META_ADDR")
	bad.flags(cmd)
	return cmd
}

// dev runs a house against a pretend Meta of its own until ctx ends.
func dev(ctx context.Context, c config, metaAddr string, bad badDay, log *slog.Logger, out io.Writer) (err error) {
	if err := checkMetaAddr(metaAddrSetting, metaAddr); err != nil {
		return err
	}
	if sameDoor(metaAddr, c.Listen) || sameDoor(metaAddr, c.AdminAddr) {
		return configError{metaAddrSetting, "is the address of another listener (PORT or ADMIN_ADDR)", "give it another port"}
	}
	var open atomic.Pointer[house] // Meta is there before the house is
	registered := func(n domain.NumberID) bool {
		h := open.Load()
		if h == nil {
			return true
		}
		_, ok := h.directory.Owner(n)
		return ok
	}
	meta, err := pretendMeta(c, metaAddr, bad, registered, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	c.GraphURL = meta.URL()
	h, err := openHouse(ctx, c, dispatch.Policy{UnknownWait: c.UnknownWait}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	open.Store(h)
	demo, err := demoTenant(ctx, h)
	if err != nil {
		return err
	}
	greet(out, h)
	greetDemo(out, h, meta.URL(), demo)
	return h.wait(ctx)
}

// pretendMeta starts a Meta that posts its webhooks to the house. It takes any
// access token, so that a first tenant of one's own can send.
func pretendMeta(c config, addr string, bad badDay, registered func(domain.NumberID) bool, log *slog.Logger) (*cloudapitest.Server, error) {
	secret := ""
	if len(c.AppSecrets) > 0 {
		secret = c.AppSecrets[0]
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, configError{"DATA_DIR", "cannot be created: " + err.Error(), "set DATA_DIR to a directory this user may write"}
	}
	meta, err := bad.meta(cloudapitest.Config{
		AppSecret:   secret,
		WebhookURL:  "http://" + c.Listen + "/whatsapp/webhook",
		Registered:  registered,
		StatusDelay: demoStatusDelay,
		Backlog:     filepath.Join(c.DataDir, "pretend-meta.jsonl"),
		Log:         log,
	})
	if err != nil {
		return nil, err
	}
	if err := startMeta(meta, metaAddrSetting, addr); err != nil {
		return nil, err
	}
	return meta, nil
}

// demoTenant registers the demo tenant, once.
func demoTenant(ctx context.Context, h *house) (domain.TenantID, error) {
	if t, ok := h.directory.Owner(demoNumber); ok {
		return t, nil
	}
	w, err := h.registry.Register(ctx, tenant.Registration{Name: demoName, Number: demoNumber, AccessToken: demoToken, Actor: "dev"})
	return w.Tenant.ID, err
}

func greetDemo(w io.Writer, h *house, metaURL string, demo domain.TenantID) {
	auth := ""
	if h.config.AdminKey != "" {
		auth = ` -H "Authorization: Bearer $ADMIN_KEY"`
	}
	base := "http://" + h.publicAddr
	fmt.Fprintf(w, `  %-12s %s  (a pretend one: it accepts, then reports sent, delivered, read)
  %-12s %s

send a message:
  curl -X POST %s/tenants/%s/send%s \
    -H "Content-Type: application/json" -d '{"to":"%s","text":"Hello","idempotency_key":"demo-1"}'
see what became of it:
  curl%s %s/tenants/%s/messages
let somebody write to you:
  curl -X POST %s/_pretend/inbound -d '{"from":"%s","name":"Ada","text":"Hi","number":"%s"}'
watch (in another terminal):
  curl -N%s %s/tenants/%s/events

Ctrl-C stops it; the data stays in %s.
`, "Meta", metaURL, "demo tenant", demo, base, demo, auth, demoTo, auth, base, demo, metaURL, demoTo, demoNumber, auth, base, demo, h.config.DataDir)
}
