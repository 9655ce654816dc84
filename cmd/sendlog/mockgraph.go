package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// badDay is what a pretend Meta is asked to do wrong.
type badDay struct {
	seed   int64
	faults string
	rate   int
	pair   bool
}

func (b *badDay) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Int64Var(&b.seed, "seed", 0, "makes ids and faults of the pretend Meta repeatable; 0 = other ones on every start")
	f.StringVar(&b.faults, "fault", "", "what the pretend Meta does wrong and how often: name=rate,… (see mock-graph --help)")
	f.IntVar(&b.rate, "rate", 0, "messages a second it takes of a number, then 130429: 80, 20 or 1000 at Meta; 0 = no limit")
	f.BoolVar(&b.pair, "pair-rate", false, "it takes one message in 6 s to one person, 45 at once, then 131056")
}

// meta returns a pretend Meta that is not running yet.
func (b badDay) meta(c cloudapitest.Config) (*cloudapitest.Server, error) {
	if b.rate < 0 {
		return nil, configError{"--rate", fmt.Sprintf("is %d", b.rate), "write messages a second, such as 80, or leave it out for no limit"}
	}
	faults, err := cloudapitest.ParseFaults(b.faults)
	if err != nil {
		return nil, configError{"--fault", "cannot be read: " + err.Error(), "see sendlog mock-graph --help"}
	}
	if b.pair {
		c.Pace = cloudapitest.MetaPace()
	}
	c.Pace.PerNumber, c.Seed, faults.Seed = b.rate, b.seed, b.seed
	meta, err := cloudapitest.New(c)
	if err != nil {
		return nil, err
	}
	meta.Script(faults.Script())
	return meta, nil
}

// checkMetaAddr refuses an address for a pretend Meta that is none, or that
// others can reach.
func checkMetaAddr(setting, addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
		return configError{setting, fmt.Sprintf("is %q", addr), "write host:port, such as 127.0.0.1:3002"}
	}
	if !loopback(addr) {
		return configError{setting, "is an address others can reach", "keep it on 127.0.0.1"}
	}
	return nil
}

// startMeta makes a pretend Meta listen at what a setting says.
func startMeta(meta *cloudapitest.Server, setting, addr string) error {
	err := meta.Start(addr)
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return configError{setting, "cannot be listened on: " + err.Error(), "stop what is using it, or choose another port"}
	}
	return err
}

// mockGraph is what `sendlog mock-graph` is told.
type mockGraph struct {
	badDay
	addr   string
	token  string
	config cloudapitest.Config
}

func mockGraphCommand(env func(string) string, log *slog.Logger) *cobra.Command {
	var m mockGraph
	cmd := &cobra.Command{
		Use:   "mock-graph",
		Short: "Run a pretend Meta by itself: it accepts, reports statuses, and makes the faults it is asked for",
		Long: `Run a pretend Meta by itself. Point GRAPH_URL of a sendlog, or the base URL of any
client of the Cloud API, at it. It keeps nothing on disk.

--fault takes a plan: name=rate,…, the rate between 0 and 1, such as
lose=0.01,late=0.02:3s,130429=0.05,fail=0.01:131049. The same --seed gives the same faults to the
same message and attempt. What a name makes of a call:

` + cloudapitest.FaultHelp + `
GET /_pretend/ledger shows every call. POST /_pretend/inbound lets a person write; it cannot know
which numbers are registered, and a sendlog keeps what is of none in quarantine. While it runs,
POST /_pretend/faults {"plan":"hang=1","seed":7} changes the plan, POST /_pretend/release lets go of
calls that hang, and POST /_pretend/revoke {"token":"…"} makes a token worthless.`,
		Example: "  sendlog mock-graph --webhook http://127.0.0.1:3000/whatsapp/webhook --seed 7 --fault lose=0.01,html=0.01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if m.config.AppSecret == "" {
				m.config.AppSecret = env("APP_SECRET")
			}
			m.config.Log = log
			return m.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.addr, "addr", "127.0.0.1:3002", "where it listens")
	f.StringVar(&m.config.WebhookURL, "webhook", "", "where statuses and what people write is posted; none when left out")
	f.StringVar(&m.config.AppSecret, "app-secret", "", "signs webhooks (default: APP_SECRET)")
	f.StringVar(&m.token, "token", "", "the one access token that is taken (default: any)")
	m.flags(cmd)
	f.DurationVar(&m.config.StatusDelay, "status-delay", 100*time.Millisecond, "from the call to sent, to delivered, to read")
	f.IntVar(&m.config.Batch, "batch", 100, "updates in one webhook, at most 1000; 1 = each comes alone")
	return cmd
}

// run serves until ctx ends.
func (m mockGraph) run(ctx context.Context, out io.Writer) (err error) {
	if err := checkMetaAddr("--addr", m.addr); err != nil {
		return err
	}
	if m.token != "" {
		m.config.Authorize = func(token string, _ domain.NumberID) bool { return token == m.token }
	}
	if m.seed == 0 {
		m.seed = rand.Int64() // and say it, so that a bad day can be had again
	}
	meta, err := m.meta(m.config)
	if err != nil {
		return err
	}
	if err := startMeta(meta, "--addr", m.addr); err != nil {
		return err
	}
	m.greet(out, meta.URL())
	<-ctx.Done()
	err = meta.Close()
	received, accepted := meta.Totals()
	fmt.Fprintf(out, "\n%d calls, %d accepted; %d webhooks given up\n", received, accepted, meta.GivenUp())
	return err
}

func (m mockGraph) greet(w io.Writer, url string) {
	orNone := func(text, none string) string {
		if text == "" {
			return none
		}
		return text
	}
	fmt.Fprintf(w, `pretend Meta
  %-12s %s
  %-12s %s
  %-12s %s, seed %d

Set GRAPH_URL of a sendlog to that address.
let somebody write:
  curl -X POST %s/_pretend/inbound -d '{"from":"+14155550100","name":"Ada","text":"Hi","number":"100000000000001"}'
see every call:
  curl %s/_pretend/ledger

Ctrl-C stops it; it keeps nothing.
`, "listens", url, "webhooks to", orNone(m.config.WebhookURL, "nobody"), "faults", orNone(m.faults, "none"), m.seed, url, url)
}
