package projections_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// counted counts what is read of a log, and which of its cursors are open.
type counted struct {
	*memoryLog
	mu     sync.Mutex
	events int
	open   int
}

func (c *counted) Open(ctx context.Context, after domain.Position) (projections.Cursor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	cursor, err := c.memoryLog.Open(ctx, after)
	return &countedCursor{cursor, c}, err
}

type countedCursor struct {
	projections.Cursor
	log *counted
}

func (c *countedCursor) Next(ctx context.Context, most int) ([]domain.Event, error) {
	events, err := c.Cursor.Next(ctx, most)
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.events += len(events)
	return events, err
}

func (c *countedCursor) Close() error {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.open--
	return c.Cursor.Close()
}

func (c *counted) read() (events, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events, c.open
}

// The log is read once for all models that keep up, and left when they end.
func TestModelsReadTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := &counted{memoryLog: w.log}
	c := w.config()
	c.Source = log
	l, stop := w.start(c)
	w.log.add(w.request("msg_first", "+15550001111", "both are here then"))
	w.wait(l)
	before, _ := log.read()
	events := traffic(w, 5, 500)
	for part := range slices.Chunk(events, 30) {
		w.log.add(part...)
		w.wait(l)
	}
	after, open := log.read()
	if after-before != len(events) || open != 1 {
		t.Errorf("%d events were read for %d, by %d cursors", after-before, len(events), open)
	}
	stop()
	if _, open := log.read(); open != 0 {
		t.Errorf("%d cursors are left open", open)
	}
	sameDocuments(t, dump(t, w.store), straight(t, w.log.events))
}

// slow is a store that takes no batch of one model while it is shut.
type slow struct {
	projections.Store
	generation string
	shut       chan struct{} // closed when batches are taken again
	held       chan struct{} // closed when one is held
	once       sync.Once
}

func (s *slow) Apply(ctx context.Context, b projections.Batch) error {
	if b.Generation == s.generation {
		s.once.Do(func() { close(s.held) })
		<-s.shut
	}
	return s.Store.Apply(ctx, b)
}

// A model that lags, by more than is kept of what the others read, holds nobody
// up, catches up by itself and then reads with them again.
func TestAModelThatLags(t *testing.T) {
	t.Parallel()
	for _, generation := range []string{"messages_g1", "customers_g1"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			store := &slow{Store: w.store, generation: generation, shut: make(chan struct{}), held: make(chan struct{})}
			w.store = store
			log := &counted{memoryLog: w.log}
			c := w.config()
			c.Source = log
			l, stop := w.start(c)
			must(t, l.WaitFor(t.Context(), 0))
			w.log.add(w.request("msg_first", "+15550001111", "this is as far as one of them gets"))
			<-store.held
			tail := w.log.add(traffic(w, 6, 4500)...)
			ahead := 1 - slices.IndexFunc(l.Health(), func(h projections.Health) bool { return h.Model+"_g1" == generation })
			for l.Health()[ahead].Position < tail {
				if err := t.Context().Err(); err != nil {
					t.Fatal(err)
				}
			}
			if h := l.Health()[1-ahead]; h.Position != 0 {
				t.Errorf("the model that is held has come to %d", h.Position)
			}
			close(store.shut)
			w.wait(l)
			w.log.add(w.request("msg_last", "+15550002222", "all are here"))
			w.wait(l)
			before, _ := log.read()
			w.log.add(traffic(w, 7, 100)...)
			w.wait(l)
			if after, open := log.read(); after-before != 100 || open != 1 {
				t.Errorf("%d events were read for 100, by %d cursors", after-before, open)
			}
			stop()
			sameDocuments(t, dump(t, store.Store), straight(t, w.log.events))
		})
	}
}
