package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/sendlog/sendlog/domain"
)

// How often a rebuild is asked for its progress, and how often a line is
// printed where no person watches.
const (
	askEvery  = 100 * time.Millisecond
	lineEvery = 2 * time.Second
)

// rebuildState is the answer of GET /rebuilds/:id.
type rebuildState struct {
	State      string
	Done, Tail int64
	Events     int64
	PerSecond  float64 `json:"per_second"`
	ETASeconds *int    `json:"eta_seconds"`
	Error      *string
}

func rebuildCommand(c *client) *cobra.Command {
	return &cobra.Command{Use: "rebuild messages|customers|all",
		Short: "Replay the log into fresh read models and switch to them; reading goes on meanwhile",
		Args:  cobra.ExactArgs(1), ValidArgs: []string{"messages", "customers", "all"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var started struct{ ID string }
			if err := c.call(cmd.Context(), http.MethodPost, "/rebuilds", map[string]string{"model": args[0]}, &started); err != nil {
				return err
			}
			return watchRebuild(cmd, c, started.ID)
		}}
}

func watchRebuild(cmd *cobra.Command, c *client, id string) error {
	begun := time.Now()
	show := lines(cmd, begun)
	if isatty.IsTerminal(os.Stderr.Fd()) {
		show = bar(cmd)
	}
	return watch(cmd, c, "the rebuild", "/rebuilds/"+id, func(s rebuildState) (bool, error) {
		show(s)
		switch s.State {
		case "done":
			took := time.Since(begun)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "rebuilt from %d events in %s (%.0f events/s)\n",
				s.Events, took.Round(time.Millisecond), float64(s.Events)/max(took.Seconds(), 1e-3))
			return true, err
		case "failed":
			if s.Error != nil {
				return true, errors.New(*s.Error)
			}
			return true, errors.New("the rebuild failed")
		}
		return false, nil
	})
}

// watch asks for the state of something that goes on in the server, until look
// says that it has ended. Ctrl-C ends the watching and nothing else.
func watch[S any](cmd *cobra.Command, c *client, what, path string, look func(S) (ended bool, err error)) error {
	for {
		var s S
		if err := c.call(cmd.Context(), http.MethodGet, path, nil, &s); err != nil {
			return err
		}
		if ended, err := look(s); ended || err != nil {
			return err
		}
		if (domain.SystemClock{}).Sleep(cmd.Context(), askEvery) != nil {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s goes on in the server; its progress: GET %s\n", what, path)
			return err
		}
	}
}

// bar draws progress for a person. The ETA comes from the server: it knows the
// tail, which moves.
func bar(cmd *cobra.Command) func(rebuildState) {
	b := progressbar.NewOptions64(1, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))
	return func(s rebuildState) {
		b.ChangeMax64(max(s.Tail, 1))
		b.Describe(words(s))
		_ = b.Set64(min(s.Done, s.Tail)) // only a closed terminal makes it fail
		if s.State != "running" {
			_ = b.Finish()
		}
	}
}

func lines(cmd *cobra.Command, printed time.Time) func(rebuildState) {
	return func(s rebuildState) {
		if s.State == "running" && time.Since(printed) >= lineEvery {
			printed = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "position %d of %d, %s\n", s.Done, s.Tail, words(s))
		}
	}
}

func words(s rebuildState) string {
	text := fmt.Sprintf("%.0f events/s", s.PerSecond)
	if s.ETASeconds != nil {
		text += fmt.Sprintf(", %s left", time.Duration(*s.ETASeconds)*time.Second)
	}
	return text
}
