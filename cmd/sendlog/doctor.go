package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

func doctorCommand(c *client) *cobra.Command {
	var offline, asJSON bool
	cmd := &cobra.Command{Use: "doctor", Args: cobra.NoArgs,
		Short: "Look at the settings and the servers' real state, and say what each promise is worth there",
		Long: `Look at the settings and the servers' real state, and say what each promise is
worth there: one line a check, "ok", "warn" (it works, and a promise is worth
less than it could be) or "fail" (a promise is not kept), with what to do.
It asks the running server, and names it first. With --offline it opens the stores itself, under
their locks, when no server runs. It ends with 1 when a check fails.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var d diagnosis
			if offline {
				d.Findings = examineOffline(cmd.Context(), c.env)
			} else {
				if err := c.call(cmd.Context(), http.MethodGet, "/doctor", nil, &d); err != nil {
					return err
				}
				d.Server, _, _ = c.server() // it was just asked
			}
			if err := d.print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			return failures(d.Findings)
		}}
	cmd.Flags().BoolVar(&offline, "offline", false, "open the stores, when no server runs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// diagnosis is what doctor prints.
type diagnosis struct {
	Server   string        `json:"server,omitempty"` // the address that was asked; none offline
	Verdict  string        `json:"verdict"`
	Findings []api.Finding `json:"findings"`
}

func (d diagnosis) print(w io.Writer, asJSON bool) error {
	if asJSON {
		d.Verdict = api.Worst(d.Findings)
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d)
	}
	if d.Server != "" {
		fmt.Fprintln(w, "server at", d.Server)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.Findings {
		words := f.Means
		if f.Remedy != "" {
			words += " — " + f.Remedy
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Verdict, f.Check, words)
	}
	return table.Flush()
}

// failures is the error that makes the command end with 1, or nil.
func failures(findings []api.Finding) error {
	n := 0
	for _, f := range findings {
		if f.Verdict == api.FindingFail {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks failed", n, len(findings))
}

// examineOffline opens what a stopped house left, and looks at it. Whatever
// keeps it from being opened is a finding too.
func examineOffline(ctx context.Context, env func(string) string) []api.Finding {
	c, err := readSettings(env) // not the keys yet: without a log there is none to make
	if err != nil {
		return []api.Finding{failing("settings", err)}
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, "log")); c.NATSURL == "" && errors.Is(err, os.ErrNotExist) {
		return []api.Finding{{Check: "log", Verdict: api.FindingFail, Means: "there is no log in " + c.DataDir,
			Remedy: "set DATA_DIR to where the server keeps its data, or start it once with `sendlog serve`"}}
	}
	if c, err = readConfig(env); err != nil {
		return []api.Finding{failing("settings", err)}
	}
	c.Roles = nil // it looks, and does nothing
	log := slog.New(slog.DiscardHandler)
	h := &house{config: c, log: log, clock: domain.SystemClock{}, meter: newMeter(), directory: tenant.NewDirectory(), services: newGroup(log)}
	defer func() { _ = h.close() }() // nothing was written that could be lost
	for _, room := range []struct {
		name string
		open func(context.Context) error
	}{{"settings", h.openVault}, {"log", h.openLog}, {"tenants", h.openTenants}, {"read_models", h.openReadModels}} {
		if err := room.open(ctx); err != nil {
			return []api.Finding{failing(room.name, err)}
		}
	}
	return h.Examine(ctx)
}

// failing is an error as a finding.
func failing(check string, err error) api.Finding {
	return api.Finding{Check: check, Verdict: api.FindingFail, Means: err.Error()}
}
