package dispatch

import (
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// scheduled returns when a message was scheduled for.
func (c *calendar) scheduled(k domain.Key) (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.due {
		if e.key == k {
			return e.at, true
		}
	}
	return at, false
}

// A request that is to be sent much later goes to the schedule and is done for
// the lane; one that is to be sent soon waits here. Neither holds up what comes
// after it to the same person.
func TestSendAtHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := newHandClock()
	w.d.Clock = clock
	w.d.turns.clock = clock
	start := clock.Now()
	n, to := inLane(3, 1)[0], "+14155550100"
	far := w.requestFrom(n, to, "far", message.Options{SendAt: clock.Now().Add(time.Hour)})
	near := w.requestFrom(n, to, "near", message.Options{SendAt: clock.Now().Add(30 * time.Second)})
	now := w.requestFrom(n, to, "now", message.Options{})
	w.run(w.d)
	w.await(now, message.TypeSendAccepted)
	for !w.work.isDone(w.state(far).Last) {
		<-w.work.finished
	}
	if at, ok := w.schedule.scheduled(far); !ok || !at.Equal(start.Add(time.Hour)) {
		t.Errorf("scheduled for %s, %v", at, ok)
	}
	wantTypes(t, w, near, message.TypeSendRequested)
	due := make(chan struct{})
	go func() {
		defer close(due)
		for clock.Now().Before(start.Add(time.Minute)) {
			<-clock.sleeping // somebody waits, and the time passes for them
			clock.move(time.Second)
		}
	}()
	w.await(near, message.TypeSendAccepted)
	<-due
	wantTypes(t, w, far, message.TypeSendRequested)
}

// due is the copy that the schedule hands out.
func (w *world) due(k domain.Key) Delivery {
	w.t.Helper()
	events, err := w.log.Load(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	v := w.work.delivery(events[0])
	v.Due = true
	return v
}

// The copy of a request is sent although the log has let go of the request, and
// one whose message was cancelled is not.
func TestDueCopies(t *testing.T) {
	t.Parallel()
	old := newWorld(t)
	n := inLane(3, 1)[0]
	k := old.requestFrom(n, "+14155550100", "long ago", message.Options{SendAt: time.Now()})
	gone := old.due(k)

	w := newWorld(t) // its log has nothing of k
	w.append(statuses, delivered(k, 9))
	cancelled := w.requestFrom(n, "+14155550100", "taken back", message.Options{SendAt: time.Now()})
	back := w.due(cancelled)
	w.append(cancelled, &message.SendCancelled{})
	l := w.d.begin(domain.Lane(n), t.Context(), t.Context())
	l.take(back)
	l.take(gone)
	w.await(k, message.TypeSendAccepted)
	wantTypes(t, w, k, message.TypeSendAttempted, message.TypeSendAccepted)
	wantTypes(t, w, cancelled, message.TypeSendRequested, message.TypeSendCancelled)
}

// Who cancels a message takes its copy out of the schedule, also when the copy
// comes there after the cancellation was looked at.
func TestCancelledIsNotScheduled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := inLane(3, 1)[0]
	early := w.requestFrom(n, "+14155550100", "cancelled before it was seen", message.Options{SendAt: time.Now().Add(time.Hour)})
	w.append(early, &message.SendCancelled{})
	late := w.requestFrom(n, "+14155550100", "cancelled when it was scheduled", message.Options{SendAt: time.Now().Add(time.Hour)})
	w.run(w.d)
	for _, k := range []domain.Key{early, late} {
		at := w.log.All()
		for _, e := range at {
			if e.Key == k {
				for !w.work.isDone(e.Position) {
					<-w.work.finished
				}
			}
		}
	}
	if _, ok := w.schedule.scheduled(early); ok {
		t.Error("a copy of a cancelled message is in the schedule")
	}
	if _, ok := w.schedule.scheduled(late); !ok {
		t.Fatal("nothing was scheduled")
	}
	w.append(late, &message.SendCancelled{})
	for !w.work.isDone(w.state(late).Last) {
		<-w.work.finished
	}
	if _, ok := w.schedule.scheduled(late); ok {
		t.Error("a copy of a cancelled message stays in the schedule")
	}
}
