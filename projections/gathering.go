package projections

import (
	"context"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

const (
	// writeEvery is the least time between two writes of a live model that
	// keeps up: every write costs the same again, whether it has one event or
	// a hundred. After a quiet moment the first event is written at once.
	writeEvery = 20 * time.Millisecond

	// gatherRate is how many events a second make a live model gather for
	// writeEvery, and each as many more for as long again. So the events of one
	// message come into one write when there are many messages, and what
	// several documents share is written once for all of them.
	gatherRate = 125

	// gatherMost bounds that.
	gatherMost = 500 * time.Millisecond
)

// gathering is the time between two writes of a live model.
type gathering struct {
	waiters *waiters
	began   time.Time     // the present turn: reading, folding, writing, gathering
	before  time.Duration // how long the turn before was; what is read now came meanwhile
}

// begin begins a turn.
func (g *gathering) begin(now time.Time) {
	if !g.began.IsZero() {
		g.before = now.Sub(g.began)
	}
	g.began = now
}

// pause ends a turn that wrote a number of events: it lets more of them gather.
func (g *gathering) pause(ctx context.Context, clock domain.Clock, events int) error {
	if err := clock.Sleep(ctx, writeEvery-clock.Now().Sub(g.began)); err != nil {
		return err
	}
	return g.waiters.sleep(ctx, clock, g.span(events)-clock.Now().Sub(g.began))
}

// span is how long a turn should be when so many events came in the one before.
func (g *gathering) span(events int) time.Duration {
	if g.before <= 0 {
		return writeEvery
	}
	perSecond := float64(events) / g.before.Seconds()
	return min(time.Duration(perSecond/gatherRate*float64(writeEvery)), gatherMost)
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
