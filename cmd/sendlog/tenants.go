package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func tenantsCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "tenants", Short: "List the tenants and their numbers, pause and resume them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tPHONE NUMBER ID\tSTATUS\tREGISTERED\tREASON")
			type row struct {
				ID, Name, Status string
				PauseReason      string    `json:"pause_reason"`
				CreatedAt        time.Time `json:"created_at"`
				Numbers          []struct {
					ID          string `json:"phoneNumberId"`
					Status      string
					PauseReason string `json:"pause_reason"`
				}
			}
			err := each(cmd.Context(), c, "/tenants?limit=200", func(t row) error {
				for _, n := range t.Numbers {
					status, reason := n.Status, n.PauseReason
					if t.PauseReason != "" { // the tenant's pause is that of all its numbers
						status, reason = t.Status, t.PauseReason
					}
					if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, n.ID, status, t.CreatedAt.Format(time.RFC3339), reason); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return w.Flush()
		}}
	cmd.AddCommand(
		pauseCommand(c, "pause", "Send nothing more; requests are accepted and wait"),
		pauseCommand(c, "resume", "Send again, what waits first"))
	return cmd
}

// pauseCommand pauses or resumes a tenant, or one of its numbers.
func pauseCommand(c *client, verb, short string) *cobra.Command {
	var number, reason string
	cmd := &cobra.Command{Use: verb + " TENANT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if verb == "pause" && reason == "" {
				return errors.New("say why, for whoever finds it so: --reason")
			}
			path, what := "/tenants/"+url.PathEscape(args[0]), args[0]
			if number != "" {
				path += "/numbers/" + url.PathEscape(number)
				what = "number " + number + " of " + args[0]
			}
			var answer struct{ ID, Name, Status string }
			if err := c.call(cmd.Context(), http.MethodPost, path+"/"+verb, map[string]string{"reason": reason}, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%sd %s\n", verb, what)
			return err
		}}
	cmd.Flags().StringVar(&number, "number", "", "only this phone number id")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds it so")
	return cmd
}
