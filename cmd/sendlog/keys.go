package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func keysCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Issue and revoke API keys; rotate the master key"}
	cmd.AddCommand(rotateCommand(c), issueKeyCommand(c), revokeKeyCommand(c), listKeysCommand(c))
	return cmd
}

func issueKeyCommand(c *client) *cobra.Command {
	var (
		scopes  []string
		expires string
		test    bool
	)
	cmd := &cobra.Command{Use: "issue TENANT", Short: "Issue an API key; it is shown once", Args: cobra.ExactArgs(1),
		Example: "  sendlog keys issue ten_… --scopes send,read --expires 2027-01-31T00:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"scopes": scopes, "test": test}
			if expires != "" {
				body["expires_at"] = expires
			}
			var answer struct{ ID, APIKey string }
			if err := c.call(cmd.Context(), http.MethodPost, keysPath(args[0]), body, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), answer.ID, answer.APIKey)
			return err
		}}
	cmd.Flags().StringSliceVar(&scopes, "scopes", []string{"send", "read"}, "what it may do: send, read, manage, stream")
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends, such as 2027-01-31T00:00:00Z; default never")
	cmd.Flags().BoolVar(&test, "test", false, "for simulated numbers only")
	return cmd
}

func revokeKeyCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "revoke TENANT KEY_ID", Short: "Revoke an API key, everywhere and at once", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.call(cmd.Context(), http.MethodDelete, keysPath(args[0])+"/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "revoked", args[1])
			return err
		}}
}

func listKeysCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "list TENANT", Short: "List a tenant's API keys", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSCOPES\tTEST\tSINCE\tEXPIRES")
			type row struct {
				ID        string
				Scopes    []string
				Test      bool
				CreatedAt time.Time  `json:"created_at"`
				ExpiresAt *time.Time `json:"expires_at"`
			}
			err := each(cmd.Context(), c, keysPath(args[0]), func(k row) error {
				end := "never"
				if k.ExpiresAt != nil {
					end = k.ExpiresAt.Format(time.RFC3339)
				}
				_, err := fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\n", k.ID, strings.Join(k.Scopes, ","), k.Test, k.CreatedAt.Format(time.RFC3339), end)
				return err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		}}
}

func keysPath(tenant string) string { return "/tenants/" + url.PathEscape(tenant) + "/keys" }

// rotationState is the answer of GET /keys/rotate.
type rotationState struct {
	State       string
	MasterKey   string `json:"master_key"`
	Done, Total int64
	Resealed    int64
	Error       *string
}

func rotateCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "rotate", Args: cobra.NoArgs,
		Short: "Give every tenant a fresh data key under the current master key; everything goes on meanwhile",
		Long: `Give every tenant a fresh data key, wrap all its data keys under the current
master key, and seal its access tokens anew. Start the servers with the new
MASTER_KEY and the former one in MASTER_KEY_PREVIOUS first. Cut off, it goes on
where it was when it is started again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s rotationState
			if err := c.call(cmd.Context(), http.MethodPost, "/keys/rotate", struct{}{}, &s); err != nil {
				return err
			}
			return watchRotation(cmd, c)
		}}
}

func watchRotation(cmd *cobra.Command, c *client) error {
	show := rotationLines(cmd, time.Now())
	if isatty.IsTerminal(os.Stderr.Fd()) {
		show = rotationBar(cmd)
	}
	return watch(cmd, c, "the rotation", "/keys/rotate", func(s rotationState) (bool, error) {
		show(s)
		switch s.State {
		case "running":
			return false, nil
		case "done":
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "all %d tenants are under %s, and %d payloads of the quarantine were sealed anew; MASTER_KEY_PREVIOUS is no longer needed\n", s.Total, s.MasterKey, s.Resealed)
			return true, err
		}
		if s.Error != nil {
			return true, errors.New(*s.Error + "; start it again to go on")
		}
		return true, fmt.Errorf("%d of %d tenants are done; start it again to go on", s.Done, s.Total)
	})
}

func rotationBar(cmd *cobra.Command) func(rotationState) {
	b := progressbar.NewOptions64(1, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetWidth(30),
		progressbar.OptionSetDescription("tenants"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	return func(s rotationState) {
		b.ChangeMax64(max(s.Total, 1))
		_ = b.Set64(s.Done) // only a closed terminal makes it fail
		if s.State != "running" {
			_ = b.Finish()
		}
	}
}

func rotationLines(cmd *cobra.Command, printed time.Time) func(rotationState) {
	return func(s rotationState) {
		if s.State == "running" && time.Since(printed) >= lineEvery {
			printed = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d tenants, %d payloads of the quarantine\n", s.Done, s.Total, s.Resealed)
			if s.Error != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), *s.Error)
			}
		}
	}
}
