package projections_test

import (
	"context"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// healthy waits until every model is ready again. There is no signal for it:
// readiness is what a load balancer polls, too.
func healthy(t *testing.T, l *projections.Library) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		ready := true
		for _, h := range l.Health() {
			ready = ready && h.Ready()
		}
		if ready {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not ready: %+v", l.Health())
		}
	}
}

// A failed read that passes leaves the models ready, also while nothing new
// happens in the log.
func TestReadyAgainOnAnIdleLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.add(w.request("msg_1", "+14155550100", "hi"))
	l := w.library()
	w.log.mu.Lock()
	w.log.failures = 2
	close(w.log.grown)
	w.log.grown = make(chan struct{})
	w.log.mu.Unlock()
	healthy(t, l)
}

// Only the process that keeps the read models rebuilds them: another would
// switch readers to a generation nobody moves.
func TestRebuildWhereTheModelsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.add(w.request("msg_1", "+14155550100", "hi"))
	keeper := w.library()
	reader, err := projections.NewLibrary(w.config())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- reader.Follow(ctx) }()
	defer func() { cancel(); <-done }()
	w.wait(reader)
	if err := reader.Rebuild(t.Context(), "messages", nil); domain.KindOf(err) != domain.Taken {
		t.Errorf("rebuild by a reader: %v", err)
	}
	must(t, keeper.Rebuild(t.Context(), "messages", nil))
	w.log.add(w.attempt("msg_1", 1))
	w.wait(reader) // which has moved to the new generation with it
}

// When another keeper of the same store switches to a new generation, this one
// moves over: readers never wait for a generation that stands still.
func TestTwoKeepersAgreeOnTheGeneration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.add(w.request("msg_1", "+14155550100", "hi"))
	first := w.library()
	second := w.library()
	w.wait(second)
	must(t, second.Rebuild(t.Context(), "messages", nil))
	w.log.add(w.attempt("msg_1", 1))
	w.wait(first)
	w.wait(second)
	a, b := first.Health(), second.Health()
	for i := range a {
		if a[i].Generation != b[i].Generation {
			t.Errorf("%s: generations %d and %d are live", a[i].Model, a[i].Generation, b[i].Generation)
		}
	}
}
