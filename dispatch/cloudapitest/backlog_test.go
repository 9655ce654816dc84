package cloudapitest_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
)

// With a backlog, a server tells after its next start what it had not told
// before, in order and once; a half-written last line is no obstacle.
func TestBacklogIsToldAfterARestart(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	path := filepath.Join(t.TempDir(), "backlog.jsonl")
	first := start(t, a, func(c *cloudapitest.Config) { c.Backlog = path; c.Seed = 0 })
	if o := client(t, first).Send(t.Context(), call("msg_told")); o.Kind != cloudapi.Accepted {
		t.Fatal(o)
	}
	settle(t, first)
	a.mu.Lock()
	a.refuse = func(int) bool { return true }
	a.mu.Unlock()
	if o := client(t, first).Send(t.Context(), call("msg_owed")); o.Kind != cloudapi.Accepted {
		t.Fatal(o)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":99,"numb`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	a.refuse = nil
	a.mu.Unlock()
	second := start(t, a, func(c *cloudapitest.Config) { c.Backlog = path; c.Seed = 0; c.StatusDelay = time.Millisecond })
	settle(t, second)
	want := []string{"sent", "delivered", "read"}
	if got := a.statuses(t, "msg_owed"); !slices.Equal(got, want) {
		t.Errorf("owed were %v", got)
	}
	if got := a.statuses(t, "msg_told"); !slices.Equal(got, want) {
		t.Errorf("told before were %v", got)
	}
}
