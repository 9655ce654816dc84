package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

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

func deadLetterCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Look at dead letters and try them again"}
	var tenant string
	list := &cobra.Command{Use: "list", Short: "List messages that will not be tried again by themselves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listDeadLetters(cmd, c, tenant) }}
	list.Flags().StringVar(&tenant, "tenant", "", "only of this tenant")
	var (
		all         bool
		redriveFrom string
	)
	redrive := &cobra.Command{Use: "redrive [MESSAGE ...]", Short: "Try dead letters again", Args: cobra.ArbitraryArgs,
		Example: "  sendlog dlq redrive msg_… msg_…\n  sendlog dlq redrive --tenant ten_…\n  sendlog dlq redrive --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if len(args) > 0 {
				body["ids"] = args
			}
			if redriveFrom != "" {
				body["tenant"] = redriveFrom
			}
			if all {
				body["all"] = true
			}
			return redriveDeadLetters(cmd, c, body)
		}}
	redrive.Flags().BoolVar(&all, "all", false, "every dead letter of every tenant")
	redrive.Flags().StringVar(&redriveFrom, "tenant", "", "every dead letter of this tenant")
	cmd.AddCommand(list, redrive)
	return cmd
}

func listDeadLetters(cmd *cobra.Command, c *client, tenant string) error {
	path := "/dlq?limit=200"
	if tenant != "" {
		path += "&tenant=" + url.QueryEscape(tenant)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tTENANT\tATTEMPTS\tREASON\tCODE\tAT\tDETAIL")
	type row struct {
		ID, Tenant, Reason string
		Detail             *string
		Attempts, Code     int
		At                 time.Time
	}
	err := each(cmd.Context(), c, path, func(d row) error {
		detail := ""
		if d.Detail != nil {
			detail = *d.Detail
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\n", d.ID, d.Tenant, d.Attempts, d.Reason, d.Code, d.At.Format(time.RFC3339), detail)
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func redriveDeadLetters(cmd *cobra.Command, c *client, body map[string]any) error {
	var answer struct {
		Redriven int
		Skipped  []struct{ ID, Reason string }
	}
	if err := c.call(cmd.Context(), http.MethodPost, "/dlq/redrive", body, &answer); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d will be tried again\n", answer.Redriven)
	for _, s := range answer.Skipped {
		fmt.Fprintf(out, "%s left alone: %s\n", s.ID, s.Reason)
	}
	return nil
}
