package projections

import (
	"context"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

const (
	// writeEvery is the least time between two reads of live models that keep
	// up, each of which leads to a write: that costs the same again, whether it
	// has one event or a hundred. After a quiet moment the first event is read at
	// once.
	writeEvery = 20 * time.Millisecond

	// gatherRate is how many events a second make a live model gather for
	// writeEvery, and each as many more for as long again. So the events of one
	// message come into one write when there are many messages, and what
	// several documents share is written once for all of them.
	gatherRate = 125

	// gatherMost bounds that, and so does half of what one read may find: a
	// reader that has to read twice each time falls behind.
	gatherMost = 500 * time.Millisecond
)

// gathering is the time between two reads of live models. But for come and
// leave it is used by one goroutine at a time.
type gathering struct {
	waiters
	clock  domain.Clock
	began  time.Time     // the newest read
	before time.Duration // from the read before it: what it found came meanwhile
	found  int           // events
	most   int           // events it could find
}

// begin begins a read, and end ends it.
func (g *gathering) begin() {
	now := g.clock.Now()
	if !g.began.IsZero() {
		g.before = now.Sub(g.began)
	}
	g.began = now
}

func (g *gathering) end(found, most int) { g.found, g.most = found, most }

// pause lets events gather before the next read, but not when there must be more
// already.
func (g *gathering) pause(ctx context.Context) error {
	if g.found >= g.most {
		return ctx.Err()
	}
	if err := g.clock.Sleep(ctx, writeEvery-g.clock.Now().Sub(g.began)); err != nil {
		return err
	}
	return g.sleep(ctx, g.clock, g.span()-g.clock.Now().Sub(g.began))
}

// span is how long the newest read should be ago.
func (g *gathering) span() time.Duration {
	if g.before <= 0 || g.found == 0 {
		return writeEvery
	}
	perSecond := float64(g.found) / g.before.Seconds()
	half := time.Duration(float64(g.most) / 2 / perSecond * float64(time.Second))
	return min(time.Duration(perSecond/gatherRate*float64(writeEvery)), half, gatherMost)
}

// waiters are those who wait for what is folded next. The zero value is nobody.
type waiters struct {
	mu   sync.Mutex
	here int
	wake context.CancelFunc // ends the present sleep; nil when nobody sleeps
}

// come says that one more waits, and wakes who sleeps.
func (w *waiters) come() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here++
	if w.wake != nil {
		w.wake()
	}
}

// leave ends what come began.
func (w *waiters) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here--
}

// sleep sleeps for d, or until somebody waits. It is used by one goroutine.
func (w *waiters) sleep(ctx context.Context, clock domain.Clock, d time.Duration) error {
	nap, wake := context.WithCancel(ctx)
	defer wake()
	w.mu.Lock()
	if w.here > 0 {
		wake()
	}
	w.wake = wake
	w.mu.Unlock()
	_ = clock.Sleep(nap, d) // being woken is no error
	w.mu.Lock()
	w.wake = nil
	w.mu.Unlock()
	return ctx.Err()
}
