// Command sendlog is the whole system in one binary: `serve` runs it, `dev`
// runs it with a pretend Meta and a demo tenant, and the other subcommands
// talk to a running one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/joho/godotenv"
	"github.com/spf13/cobra"
)

// version is set by the linker in released builds.
var version = ""

func main() {
	// Settings of ./.env count where the environment says nothing.
	if err := godotenv.Load(); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "sendlog: .env cannot be read: each line must be NAME=value")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	root := newRoot(os.Getenv, os.Stdout, os.Stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sendlog: "+err.Error())
		os.Exit(1)
	}
}

// newRoot builds the command tree.
func newRoot(env func(string) string, out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "sendlog",
		Short: "A multi-tenant WhatsApp messaging backend on an append-only log",
		Long: `A multi-tenant WhatsApp messaging backend on an append-only log.

Settings come from the environment, or from .env (see .env.example). serve and dev
run the system, mock-graph a pretend Meta. The other commands ask a running system
at its second listener: that of ADMIN_ADDR, with the ADMIN_KEY, or another one that
SENDLOG_URL names, with the SENDLOG_KEY.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       versionText(),
	}
	root.SetOut(out)
	root.SetErr(errOut)
	log := slog.New(slog.NewJSONHandler(errOut, nil))
	root.AddCommand(serveCommand(env, log), devCommand(env, log), mockGraphCommand(env, log))
	c := &client{env: env}
	root.AddCommand(rebuildCommand(c), deadLetterCommand(c), tenantsCommand(c), keysCommand(c), sendCommand(c), tailCommand(c), doctorCommand(c))
	root.AddCommand(&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return err
		}})
	return root
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}
