package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
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

func tailCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "tail TENANT", Short: "Print a tenant's events as they happen, one JSON object a line", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := c.open(cmd.Context(), http.MethodGet, "/tenants/"+url.PathEscape(args[0])+"/events", nil)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			lines.Buffer(nil, 4<<20) // one event is far smaller than one webhook
			for lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), data); err != nil {
						return err
					}
				}
			}
			if cmd.Context().Err() != nil {
				return nil // Ctrl-C is how it is meant to end
			}
			if err := lines.Err(); err != nil {
				return fmt.Errorf("the stream broke off: %w", err)
			}
			return fmt.Errorf("the server ended the stream")
		}}
}
