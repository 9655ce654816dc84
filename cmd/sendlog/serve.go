package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/dispatch"
)

func serveCommand(env func(string) string, log *slog.Logger) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the system (settings come from the environment; see .env.example)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, log, func(h *house) { greet(cmd.OutOrStdout(), h) })
		},
	}
}

// serve runs a house until ctx ends or a part of it fails. ready is called
// once it takes requests.
func serve(ctx context.Context, c config, log *slog.Logger, ready func(*house)) error {
	h, err := openHouse(ctx, c, dispatch.Policy{UnknownWait: c.UnknownWait}, log)
	if err != nil {
		return err
	}
	ready(h)
	failure := h.wait(ctx)
	if failure == nil {
		log.Info("sendlog: stopping")
	}
	if err := h.close(); failure == nil {
		failure = err
	}
	return failure
}

// greet says where everything is and what a stranger must know.
func greet(w io.Writer, h *house) {
	c := h.config
	line := func(name, value string) { fmt.Fprintf(w, "  %-12s %s\n", name, value) }
	fmt.Fprintf(w, "sendlog %s is running\n", versionText())
	if h.publicAddr != "" {
		line("API", "http://"+h.publicAddr)
	}
	line("admin", "http://"+h.adminAddr+"  (metrics, dead letters, quarantine, rebuilds)")
	if c.NATSURL == "" {
		line("log", fmt.Sprintf("embedded in %s, durability %s", c.DataDir, c.Durability))
	} else {
		line("log", "external NATS")
	}
	if c.MongoURI == "" {
		line("read models", "SQLite in "+c.DataDir)
	} else {
		line("read models", "MongoDB")
	}
	if h.liveURL != "" {
		line("live", h.liveURL+"  (subject live.<tenant>.>, password: an API key)")
	}
	if c.AdminKey == "" {
		line("open", "no ADMIN_KEY is set: every request is believed, so only this machine may connect")
	}
	if len(c.AppSecrets) == 0 {
		line("unsigned", "no APP_SECRET is set: webhooks are not checked, so only this machine may post them")
	}
}
