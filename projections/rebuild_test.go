package projections_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// A rebuild under load ends with the documents of the live generation, byte
// for byte; what happens meanwhile is announced once each, without a gap.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.batch = 20
	l := w.library()
	w.log.add(traffic(w, 5, 4000)...)
	w.wait(l)

	var appends sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	during := traffic(w, 6, 3000)
	parts := slices.Collect(slices.Chunk(during, 10))
	appends.Go(func() { // until the rebuild is over
		for i := 0; i < len(parts) && ctx.Err() == nil; i++ {
			tail := w.log.add(parts[i]...)
			if l.WaitFor(t.Context(), tail) != nil {
				return
			}
		}
	})
	var steps []projections.Progress
	must(t, l.Rebuild(t.Context(), "messages", func(p projections.Progress) { steps = append(steps, p) }))
	stop()
	appends.Wait()
	w.log.add(w.request("msg_last", "+15550001111", "after"))
	w.wait(l)

	if h := l.Health()[0]; h.Generation != 2 || !h.Ready() || h.Rebuild != nil {
		t.Errorf("health after the rebuild: %+v", h)
	}
	last := steps[len(steps)-1]
	if last.Done < 4000 || last.Done != last.Tail || last.Events < 4000 || last.PerSecond <= 0 || last.ETA != 0 || last.Generation != 2 || last.Model != "messages" {
		t.Errorf("last progress: %+v", last)
	}
	w.log.mu.Lock()
	events := slices.Clone(w.log.events)
	w.log.mu.Unlock()
	sameDocuments(t, dump(t, w.store), straight(t, events))
	announcedOnce(t, w, events)
}

// announcedOnce checks that every event that makes a headline was announced,
// and none twice.
func announcedOnce(t *testing.T, w *world, events []domain.Event) {
	t.Helper()
	times := map[domain.EventID]int{}
	for _, n := range w.heard.notices {
		times[n.ID]++
	}
	for _, e := range events {
		switch e.Type {
		case message.TypeSendRequested, message.TypeInboundReceived, message.TypeAccountNotice, message.TypeSendDeadLettered:
			if times[e.ID] == 0 && e.Position > 0 {
				t.Errorf("%s at %d was never announced", e.Type, e.Position)
			}
		}
		if times[e.ID] > 1 {
			t.Errorf("%s at %d was announced %d times", e.Type, e.Position, times[e.ID])
		}
	}
}

// A second rebuild of a model is refused while the first one runs; another
// model's is not; an unknown model is unknown.
func TestOneRebuildAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.batch = 100
	w.log.add(traffic(w, 7, 3000)...)
	l := w.library()
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		done <- l.Rebuild(t.Context(), "messages", func(projections.Progress) {
			once.Do(func() { close(entered); <-release })
		})
	}()
	<-entered
	wantKind(t, l.Rebuild(t.Context(), "messages", nil), domain.Taken)
	if p := l.Health()[0].Rebuild; p == nil || p.Done == 0 {
		t.Errorf("health shows no rebuild: %+v", p)
	}
	must(t, l.Rebuild(t.Context(), "customers", nil))
	wantKind(t, l.Rebuild(t.Context(), "nonsense", nil), domain.Unknown)
	w.log.add(w.request("msg_meanwhile", "+15550001111", "hi"))
	w.wait(l) // the live generation keeps going
	close(release)
	must(t, <-done)
	if _, err := l.Message(t.Context(), tenA, "msg_meanwhile"); err != nil {
		t.Error(err)
	}
}

// The old generation is kept until the next rebuild; one that died is
// removed by the next start, and so is one that is given up.
func TestRubbishIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.batch = 100
	w.log.add(traffic(w, 8, 2500)...)
	l, stop := w.start(w.config())
	w.wait(l)
	must(t, l.Rebuild(t.Context(), "messages", nil))
	wantGenerations(t, w.store, "messages", "[1 2]")

	ctx, cancel := context.WithCancel(t.Context())
	err := l.Rebuild(ctx, "messages", func(projections.Progress) { cancel() }) // it dies
	if err == nil {
		t.Fatal("a cancelled rebuild succeeded")
	}
	wantGenerations(t, w.store, "messages", "[2 3]")
	if h := l.Health()[0]; h.Generation != 2 || !h.Ready() {
		t.Errorf("after a rebuild that died: %+v", h)
	}
	stop()
	l, _ = w.start(w.config())
	w.wait(l)
	wantGenerations(t, w.store, "messages", "[2]")
	must(t, l.Rebuild(t.Context(), "messages", nil))
	wantGenerations(t, w.store, "messages", "[2 3]")
}

func wantGenerations(t *testing.T, s projections.Store, collection, want string) {
	t.Helper()
	names, err := s.List(context.Background())
	must(t, err)
	var found []int
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(name, collection+"_g%d", &n); err == nil {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	if fmt.Sprint(found) != want {
		t.Errorf("generations of %s: %v, want %s", collection, found, want)
	}
}

// A generation of another fold version, of another log, or ahead of the log,
// is not trusted: it is not read, and rebuilt at the next start. Only what is
// new since is announced.
func TestUntrustedIsRebuilt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(w *world, c *projections.Config)
		silent int // events whose notices may not be heard again
	}{
		{"another fold version", func(_ *world, c *projections.Config) { c.Models[0].Version++ }, 300},
		{"another log", func(w *world, _ *projections.Config) { w.log.incarnation = "log-2" }, 400},
		{"ahead of the log", func(w *world, _ *projections.Config) { w.log.events = w.log.events[:200] }, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			events := traffic(w, 9, 400)
			w.log.add(events[:300]...)
			l, stop := w.start(w.config())
			w.wait(l)
			stop()

			w.log.add(events[300:]...)
			w.heard = &listener{}
			cfg := w.config()
			cfg.Models = projections.Models()
			c.change(w, &cfg)
			l, stop = w.start(cfg)
			w.wait(l)
			if h := l.Health()[0]; h.Generation != 2 || !h.Ready() {
				t.Errorf("health: %+v", h)
			}
			stop()
			sameDocuments(t, dump(t, w.store), straight(t, w.log.events))
			for _, n := range w.heard.notices {
				if int(n.Position) <= c.silent {
					t.Fatalf("%s at %d was announced by a rebuild", n.Kind, n.Position)
				}
			}
			if c.silent == 300 && len(w.heard.notices) == 0 {
				t.Error("what happened since was not announced")
			}
		})
	}
}

// While the first generation is being built nothing can be read, and health
// says how far it is.
func TestNotReadyWhileBuilding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.batch = 100
	w.log.add(traffic(w, 10, 300)...)
	gate := &gatedStore{Store: w.store, enter: make(chan struct{}), leave: make(chan struct{})}
	w.store = gate
	l, _ := w.start(w.config())
	<-gate.enter
	_, err := l.Message(t.Context(), tenA, "msg_10_0")
	wantKind(t, err, domain.Unavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, l.WaitFor(ctx, 0), domain.Unavailable)
	if h := l.Health()[0]; h.Ready() {
		t.Errorf("health: %+v", h)
	}
	close(gate.leave)
	w.wait(l)
	if _, err := l.Message(t.Context(), tenA, "msg_10_0"); err != nil {
		t.Error(err)
	}
}

// gatedStore holds the switch of messages until it is let go.
type gatedStore struct {
	projections.Store
	enter, leave chan struct{}
}

func (g *gatedStore) Switch(ctx context.Context, model string, p projections.Pointer, live int) error {
	if model == "messages" {
		close(g.enter)
		<-g.leave
	}
	return g.Store.Switch(ctx, model, p, live)
}

// BenchmarkFoldMessages rebuilds the read model "messages" on SQLite from
// 20 000 events.
func BenchmarkFoldMessages(b *testing.B) {
	const events = 20_000
	w := newWorld(b)
	w.log.add(traffic(w, 11, events)...)
	c := w.config()
	c.Models = projections.Models()[:1]
	l, stop := w.start(c)
	defer stop()
	w.wait(l)
	for b.Loop() {
		must(b, l.Rebuild(b.Context(), "messages", nil))
	}
	b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
