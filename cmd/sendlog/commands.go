package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/domain"
)

func sendCommand(c *client) *cobra.Command {
	var key, from string
	cmd := &cobra.Command{Use: "send TENANT TO TEXT", Short: "Send a text message", Args: cobra.ExactArgs(3),
		Example: `  sendlog send ten_… +14155550100 "Hello" --key order-1234`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{"to": args[1], "text": args[2]}
			if key != "" {
				body["idempotency_key"] = key
			}
			if from != "" {
				body["from"] = from
			}
			var answer struct{ ID, Status string }
			if err := c.call(cmd.Context(), http.MethodPost, "/tenants/"+url.PathEscape(args[0])+"/send", body, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), answer.ID, answer.Status)
			return err
		}}
	cmd.Flags().StringVar(&key, "key", "", "idempotency key: repeating the command sends nothing again")
	cmd.Flags().StringVar(&from, "from", "", "phone number id to send from, when the tenant has several")
	return cmd
}

// tailAgain is how soon a broken tail is tried again.
const tailAgain = time.Second

func tailCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "tail TENANT", Short: "Print a tenant's events as they happen, one JSON object a line", Args: cobra.ExactArgs(1),
		Long: `Print a tenant's events as they happen, one JSON object a line, until Ctrl-C.
When the server goes away it waits for the next one, and says so; what happened
meanwhile is in the lists.`,
		RunE: func(cmd *cobra.Command, args []string) error { return tail(cmd, c, args[0]) }}
}

// tail follows a tenant's events through restarts of the server. A server that
// is not there at first, or that refuses, ends it.
func tail(cmd *cobra.Command, c *client, tenant string) error {
	ctx := cmd.Context()
	for broken := false; ; {
		res, err := c.open(ctx, http.MethodGet, "/tenants/"+url.PathEscape(tenant)+"/events", nil)
		_, away := errors.AsType[unreachable](err)
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it is meant to end
		case err == nil:
			if broken {
				fmt.Fprintln(cmd.ErrOrStderr(), "sendlog: connected again")
			}
			if err := printEvents(cmd.OutOrStdout(), res.Body); err != nil || ctx.Err() != nil {
				return err
			}
			broken = true
			fmt.Fprintln(cmd.ErrOrStderr(), "sendlog: the stream has ended, trying again; what happens meanwhile is in the lists")
		case !broken || !away:
			return err
		}
		_ = (domain.SystemClock{}).Sleep(ctx, tailAgain) // either way the next try finds out
	}
}

// printEvents prints the data of server-sent events until there are no more.
// The error is that of the output only.
func printEvents(out io.Writer, body io.ReadCloser) error {
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20) // one event is far smaller than one webhook
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if _, err := fmt.Fprintln(out, data); err != nil {
				return err
			}
		}
	}
	return nil // a stream that breaks off has ended
}
