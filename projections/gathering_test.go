package projections_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// patient is a clock of its own time, on which whoever gathers for longer than
// usual does so until somebody wakes them.
type patient struct {
	mu        sync.Mutex
	now       time.Time
	gathering chan struct{} // one for each that begins to
}

func (p *patient) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(time.Millisecond)
	return p.now
}

func (p *patient) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 20*time.Millisecond {
		return ctx.Err()
	}
	p.gathering <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// crowd starts a library, and returns it when so many events came at once that
// every model lets more of them gather.
func crowd(t *testing.T, w *world) *projections.Library {
	t.Helper()
	clock := &patient{now: time.Unix(1, 0), gathering: make(chan struct{}, 100)}
	c := w.config()
	c.Clock = clock
	l, _ := w.start(c)
	must(t, l.WaitFor(t.Context(), 0))
	for turn := range 2 { // how many come is known after two
		var events []domain.Event
		for i := range 40 {
			events = append(events, w.request(domain.MessageID(fmt.Sprintf("msg_%d_%d", turn, i)), "+15550001111", "one of many"))
		}
		w.log.add(events...)
		if turn == 0 {
			w.wait(l)
		}
	}
	<-clock.gathering
	holds(t, l, 80) // what was read before that is written
	return l
}

// When events come fast they gather for longer than usual, but for nobody who
// waits for one of them.
func TestGatheringIsCutShort(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(*testing.T, *world, *projections.Library){
		"by who waits for a position": func(_ *testing.T, w *world, l *projections.Library) { w.wait(l) },
		"by who waits for news": func(t *testing.T, w *world, l *projections.Library) {
			defer l.Hurry()()
			until(t, "the news", func() bool { return len(w.heard.kinds("msg_awaited")) > 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			l := crowd(t, w)
			at := w.log.add(w.request("msg_awaited", "+15550001111", "awaited"))
			if h := l.Health(); h[0].Position >= at || h[1].Position >= at {
				t.Errorf("nothing gathers: %+v", h)
			}
			wait(t, w, l)
			if _, err := l.Message(t.Context(), tenA, "msg_awaited"); err != nil {
				t.Error(err)
			}
		})
	}
}

// While somebody waits, nobody begins to gather for longer than usual.
func TestNobodyGathersWhileSomebodyWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := crowd(t, w)
	defer l.Hurry()()
	for turn := range 5 {
		var events []domain.Event
		for i := range 40 {
			events = append(events, w.request(domain.MessageID(fmt.Sprintf("msg_x%d_%d", turn, i)), "+15550001111", "one of many"))
		}
		at := w.log.add(events...)
		holds(t, l, at)
	}
}

// holds returns when all models have got to a position, without hurrying them as
// [projections.Library.WaitFor] does.
func holds(t *testing.T, l *projections.Library, at domain.Position) {
	t.Helper()
	until(t, "the models", func() bool {
		for _, h := range l.Health() {
			if h.Err != nil {
				t.Fatal(h.Err)
			}
			if h.Position < at {
				return false
			}
		}
		return true
	})
}
