package projections_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// failing is a store of which one call fails.
type failing struct {
	projections.Store
	get   func(ids []string) bool        // fails to be read
	apply func(b projections.Batch) bool // is refused
	gets  atomic.Int64                   // documents asked for
	left  atomic.Int64                   // failures to come
}

func (f *failing) fails() bool { return f.left.Add(-1) >= 0 }

func (f *failing) Get(ctx context.Context, collection string, ids []string) (map[string]projections.Doc, error) {
	if f.get != nil && f.get(ids) && f.fails() {
		return nil, errAway
	}
	f.gets.Add(int64(len(ids)))
	return f.Store.Get(ctx, collection, ids)
}

func (f *failing) Apply(ctx context.Context, b projections.Batch) error {
	if f.apply != nil && f.apply(b) && f.fails() {
		return projections.ErrMoved
	}
	return f.Store.Apply(ctx, b)
}

// A fold changes the documents it remembers in place. What it did before
// something failed is forgotten with them, and not folded twice.
func TestRememberedDocumentsAreForgotten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		get   func(ids []string) bool
		apply func(b projections.Batch) bool
		more  func(*world) []domain.Event // what is folded while a request is remembered
		bug   bool                        // the last of them cannot be folded
	}{
		"after the store failed in the middle of a fold": {
			get: func(ids []string) bool { return slices.Equal(ids, []string{"msg_before"}) },
			more: func(w *world) []domain.Event {
				return []domain.Event{w.attempt("msg_1", 1), w.status("delivered", 1, "", "wamid.before")}
			},
		},
		"after a batch was refused": {
			apply: func(b projections.Batch) bool { return b.Generation == "messages_g1" },
			more:  func(w *world) []domain.Event { return []domain.Event{w.attempt("msg_1", 1)} },
		},
		"after an event that cannot be folded": {
			more: func(w *world) []domain.Event {
				stranger := w.attempt("msg_1", 2)
				stranger.Type = "SendTeleported"
				return []domain.Event{w.attempt("msg_1", 1), stranger}
			},
			bug: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.add(w.request("msg_before", "+15550002222", "before"), w.attempt("msg_before", 1), w.accept("msg_before", 1, "wamid.before"))
			l, stop := w.start(w.config())
			w.wait(l)
			stop()
			store := &failing{Store: w.store, get: c.get, apply: c.apply}
			w.store = store
			l, stop = w.start(w.config()) // remembers nothing
			w.log.add(w.request("msg_1", "+15550001111", "remembered"))
			w.wait(l)
			store.left.Store(1)
			more := c.more(w)
			w.log.add(more...)
			if c.bug {
				must(t, l.WaitFor(t.Context(), domain.Position(len(w.log.events)-1)))
			} else {
				w.wait(l)
			}
			stop()
			events := w.log.events
			if c.bug {
				events = events[:len(events)-1]
			} else if store.left.Load() > 0 {
				t.Error("nothing failed")
			}
			sameDocuments(t, dump(t, store.Store), straight(t, events))
		})
	}
}

// Another process that has folded the same events meanwhile leaves nothing
// behind in what this one remembers.
func TestAnotherWriterIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw, meanwhile := w.store, sync.Once{}
	store := &failing{Store: raw, get: func(ids []string) bool {
		if slices.Contains(ids, "msg_1") {
			meanwhile.Do(func() {
				other := *w
				other.store = raw
				l, stop := other.start(other.config())
				other.wait(l)
				stop()
			})
		}
		return false
	}}
	w.store = store
	w.log.add(w.request("msg_0", "+15550001111", "before"))
	l, stop := w.start(w.config())
	w.wait(l)
	w.log.add(w.request("msg_1", "+15550001111", "folded by both"), w.attempt("msg_1", 1))
	w.wait(l)
	w.log.add(w.accept("msg_1", 1, "wamid.1"))
	w.wait(l)
	stop()
	sameDocuments(t, dump(t, raw), straight(t, w.log.events))
}

// What a message goes through in a moment is folded without asking the store
// for it again.
func TestDocumentsAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &failing{Store: w.store}
	w.store = store
	l := w.library()
	w.log.add(w.request("msg_1", "+15550001111", "remembered"))
	w.wait(l)
	before := store.gets.Load()
	for n := range 20 {
		w.log.add(w.attempt("msg_1", n+1), w.event(out("msg_1"), &message.OutcomeUnknown{Attempt: n + 1, Reason: "timeout"}))
		w.wait(l)
	}
	if asked := store.gets.Load() - before; asked != 0 {
		t.Errorf("%d documents were asked for again", asked)
	}
	if m, err := l.Message(t.Context(), tenA, "msg_1"); err != nil || m.Attempts != 20 {
		t.Errorf("%+v %v", m, err)
	}
}
