package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// letterRow is a dead letter as GET /dlq shows it.
type letterRow struct {
	ID, Tenant, State, Reason string
	Number                    string `json:"phone_number_id"`
	Detail, Details           *string
	Attempts, Code, Redrives  int
	At                        time.Time
	FirstAt                   time.Time `json:"first_at"`
}

// letterStory is a dead letter as GET /dlq/:id shows it.
type letterStory struct {
	letterRow
	Tried []struct {
		Attempt, Code int
		At            time.Time
		Outcome       string
		Reason        *string
		Details       *string
		TraceID       *string `json:"fbtrace_id"`
	}
	Redriven []struct {
		At      time.Time
		By      string
		Redrive *string
	}
}

// redriveRow is a redrive as GET /dlq/redrives shows it.
type redriveRow struct {
	ID, State, By     string
	DryRun            bool `json:"dry_run"`
	Tenant            *string
	Rate              int
	Matched, Redriven int
	Would             int `json:"would_redrive"` // of a dry run
	InDoubt           int `json:"in_doubt"`
	Skipped           []struct {
		Reason, Example string
		Count           int
	}
	Counts []struct {
		Tenant      *string
		Code, Count int
	}
	ETASeconds *int      `json:"eta_seconds"`
	StartedAt  time.Time `json:"started_at"`
	Error      *string
}

func (r redriveRow) skipped() (n int) {
	for _, s := range r.Skipped {
		n += s.Count
	}
	return n
}

// letterFlags are the filters of dead letters.
type letterFlags struct{ tenant, number, code, reason, since, until string }

func (f *letterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "only of this tenant")
	cmd.Flags().StringVar(&f.number, "number", "", "only of this phone number id")
	cmd.Flags().StringVar(&f.code, "code", "", "only with this code of Meta's, 0 for none")
	cmd.Flags().StringVar(&f.reason, "reason", "", "only with this reason: "+strings.Join(message.Reasons(), ", "))
	cmd.Flags().StringVar(&f.since, "since", "", "only those that died then or later, like 2026-01-31T12:00:00Z")
	cmd.Flags().StringVar(&f.until, "until", "", "only those that died before")
}

func (f *letterFlags) each(fn func(name, value string)) {
	for _, one := range [][2]string{{"tenant", f.tenant}, {"number", f.number}, {"code", f.code},
		{"reason", f.reason}, {"since", f.since}, {"until", f.until}} {
		if one[1] != "" {
			fn(one[0], one[1])
		}
	}
}

// body is the filter of a redrive, empty when no flag is given.
func (f *letterFlags) body() (map[string]any, error) {
	out := map[string]any{}
	f.each(func(name, value string) { out[name] = value })
	if f.code != "" {
		code, err := strconv.Atoi(f.code)
		if err != nil {
			return nil, errors.New("--code must be a whole number")
		}
		out["code"] = code
	}
	return out, nil
}

func deadLetterCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Look at dead letters and try them again"}
	var (
		filter letterFlags
		state  string
	)
	list := &cobra.Command{Use: "list", Short: "List messages that will not be tried again by themselves, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listDeadLetters(cmd, c, filter, state) }}
	filter.add(list)
	list.Flags().StringVar(&state, "state", "dead", "dead, redriven, settled or any")
	show := &cobra.Command{Use: "show MESSAGE", Short: "Show all attempts of a dead letter, and who tried it again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return showDeadLetter(cmd, c, args[0]) }}
	redrives := &cobra.Command{Use: "redrives", Short: "List the redrives that run or ended in the last days, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listRedrives(cmd, c) }}
	cancel := &cobra.Command{Use: "cancel REDRIVE", Short: "Stop a redrive; what it has not come to stays dead", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r redriveRow
			err := c.call(cmd.Context(), http.MethodPost, "/dlq/redrives/"+url.PathEscape(args[0])+"/cancel", nil, &r)
			if err != nil {
				return err
			}
			return tellRedrive(cmd, r)
		}}
	cmd.AddCommand(list, show, redriveCommand(c), redrives, cancel)
	return cmd
}

func redriveCommand(c *client) *cobra.Command {
	var (
		filter           letterFlags
		all, dryRun, yes bool
		rate             int
	)
	cmd := &cobra.Command{Use: "redrive [MESSAGE ...]", Short: "Try dead letters again, at a pace", Args: cobra.ArbitraryArgs,
		Long:    "Try dead letters again: those named, those a filter selects, or all.\nIt shows first how many that is, and asks; of those named only when some may have been delivered already.",
		Example: "  sendlog dlq redrive msg_… msg_…\n  sendlog dlq redrive --tenant ten_… --code 131026 --dry-run\n  sendlog dlq redrive --all --rate 50 --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if len(args) > 0 {
				body["ids"] = args
			}
			chosen, err := filter.body()
			if err != nil {
				return err
			}
			if len(chosen) > 0 {
				body["filter"] = chosen
			}
			if all {
				body["all"] = true
			}
			if len(body) != 1 {
				return errors.New("say which, in exactly one way: MESSAGE ..., or filters (--tenant, --number, --code, --reason, --since, --until), or --all")
			}
			if cmd.Flags().Changed("rate") {
				body["rate"] = rate
			}
			return askAndRedrive(cmd, c, body, dryRun, yes)
		}}
	filter.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter of every tenant")
	cmd.Flags().IntVar(&rate, "rate", 0, "messages per second at most (default 20)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// askAndRedrive counts first, then asks, then does it. Those that were named somebody
// has chosen one by one, but may not know that they may be delivered already.
func askAndRedrive(cmd *cobra.Command, c *client, body map[string]any, dryRun, yes bool) error {
	named := body["ids"] != nil
	if dryRun || !named || !yes {
		body["dry_run"] = true
		r, err := watchRedrive(cmd, c, body)
		if err != nil {
			return err
		}
		if dryRun || !named || r.InDoubt > 0 {
			if err := tellRedrive(cmd, r); err != nil || dryRun {
				return err
			}
			if err := confirm(cmd, r.InDoubt, yes); err != nil {
				return err
			}
		}
		delete(body, "dry_run")
	}
	r, err := watchRedrive(cmd, c, body)
	if err != nil {
		return err
	}
	if err := tellRedrive(cmd, r); err != nil {
		return err
	}
	if named && r.State != "running" && r.Redriven == 0 {
		return errors.New("nothing of what was named was redriven")
	}
	return nil
}

// confirm asks the person at the terminal. Where there is none, somebody must
// have said so beforehand.
func confirm(cmd *cobra.Command, inDoubt int, yes bool) error {
	if yes {
		return nil
	}
	if !isatty.IsTerminal(os.Stdin.Fd()) {
		return errors.New("nothing was redriven; add --yes to do it")
	}
	question := "Redrive them? [y/N] "
	if inDoubt > 0 {
		question = fmt.Sprintf("Redrive them, %d of them perhaps a second time? [y/N] ", inDoubt)
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	said, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(said), "y") {
		return errors.New("nothing was redriven")
	}
	return nil
}

// watchRedrive starts a redrive and shows how far it is until it ends, or until
// nobody wants to watch any more.
func watchRedrive(cmd *cobra.Command, c *client, body map[string]any) (r redriveRow, err error) {
	if err := c.call(cmd.Context(), http.MethodPost, "/dlq/redrive", body, &r); err != nil {
		return r, err
	}
	printed := time.Now()
	for r.State == "running" {
		if err := (domain.SystemClock{}).Sleep(cmd.Context(), askEvery); err != nil {
			fmt.Fprintln(cmd.OutOrStdout(), "the redrive goes on in the server; stop it with: sendlog dlq cancel "+r.ID)
			return r, nil
		}
		if err := c.call(cmd.Context(), http.MethodGet, "/dlq/redrives/"+r.ID, nil, &r); err != nil {
			return r, fmt.Errorf("%w; the redrive %s goes on also when the server restarts, look at it with: sendlog dlq redrives", err, r.ID)
		}
		if time.Since(printed) >= lineEvery {
			printed = time.Now()
			left := ""
			if r.ETASeconds != nil {
				left = fmt.Sprintf(", %s left", time.Duration(*r.ETASeconds)*time.Second)
			}
			of := fmt.Sprintf(" of %d", r.Matched)
			if r.DryRun { // counts while it looks
				of = " looked at"
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d%s%s\n", r.Redriven+r.Would+r.skipped(), of, left)
		}
	}
	return r, nil
}

// tellRedrive says how a redrive went.
func tellRedrive(cmd *cobra.Command, r redriveRow) error {
	out := cmd.OutOrStdout()
	n, verb := r.Redriven, "are being tried again"
	if r.DryRun {
		n, verb = r.Would, "would be tried again"
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TENANT\tCODE\tDEAD LETTERS")
		for _, k := range r.Counts {
			fmt.Fprintf(w, "%s\t%s\t%d\n", orWord(k.Tenant, "others"), orDash(k.Code), k.Count)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d of %d %s (%s, %s)\n", n, r.Matched, verb, r.ID, r.State)
	if r.InDoubt > 0 {
		fmt.Fprintf(out, "%d of them may already have been delivered: the answer to an attempt was lost\n", r.InDoubt)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(out, "%d left alone: %s (%s)\n", s.Count, s.Reason, s.Example)
	}
	if r.Error != nil {
		return errors.New(*r.Error)
	}
	return nil
}

func orWord(s *string, word string) string {
	if s == nil {
		return word
	}
	return *s
}

// orDash is a code of Meta's, when there is one.
func orDash(code int) string {
	if code == 0 {
		return "-"
	}
	return strconv.Itoa(code)
}

func listDeadLetters(cmd *cobra.Command, c *client, f letterFlags, state string) error {
	query := url.Values{"limit": {"200"}, "state": {state}}
	f.each(func(name, value string) { query.Set(name, value) })
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tTENANT\tNUMBER\tSTATE\tATTEMPTS\tREDRIVES\tREASON\tCODE\tAT\tDETAIL")
	err := each(cmd.Context(), c, "/dlq?"+query.Encode(), func(d letterRow) error {
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", d.ID, d.Tenant, d.Number, d.State, d.Attempts, d.Redrives,
			d.Reason, orDash(d.Code), d.At.Format(time.RFC3339), orWord(d.Detail, ""))
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func showDeadLetter(cmd *cobra.Command, c *client, id string) error {
	var d letterStory
	if err := c.call(cmd.Context(), http.MethodGet, "/dlq/"+url.PathEscape(id), nil, &d); err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s of %s, number %s: %s\n", d.ID, d.Tenant, d.Number, d.State)
	fmt.Fprintf(w, "died %s (first %s): %s, code %s %s\n\n", d.At.Format(time.RFC3339), d.FirstAt.Format(time.RFC3339), d.Reason, orDash(d.Code), orWord(d.Detail, ""))
	if d.Details != nil {
		fmt.Fprintf(w, "WhatsApp says: %q\n\n", *d.Details)
	}
	fmt.Fprintln(w, "ATTEMPT\tAT\tOUTCOME\tCODE\tFBTRACE\tREASON")
	for _, t := range d.Tried {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", t.Attempt, t.At.Format(time.RFC3339), t.Outcome, orDash(t.Code), orWord(t.TraceID, "-"), orWord(t.Reason, ""))
	}
	for _, r := range d.Redriven {
		fmt.Fprintf(w, "redriven %s by %s (%s)\n", r.At.Format(time.RFC3339), r.By, orWord(r.Redrive, "-"))
	}
	return w.Flush()
}

func listRedrives(cmd *cobra.Command, c *client) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REDRIVE\tSTATE\tTENANT\tMATCHED\tREDRIVEN\tSKIPPED\tRATE\tBY\tSTARTED")
	err := each(cmd.Context(), c, "/dlq/redrives", func(r redriveRow) error {
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", r.ID, r.State, orWord(r.Tenant, "all"), r.Matched, r.Redriven,
			r.skipped(), r.Rate, r.By, r.StartedAt.Format(time.RFC3339))
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}
