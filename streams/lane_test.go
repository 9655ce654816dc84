package streams_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// worker runs one lane and passes on what it is handed.
type worker struct {
	handed chan streams.Delivery
	ended  chan struct{}
	err    error // what Lane returned, once ended is closed
	cancel context.CancelFunc
}

func work(t testing.TB, b *streams.Broker, lane int) *worker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{handed: make(chan streams.Delivery, 10_000), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(w.ended)
		w.err = b.Lane(ctx, lane, func(d streams.Delivery) { w.handed <- d })
	}()
	t.Cleanup(func() { _ = w.stop() })
	return w
}

func (w *worker) stop() error {
	w.cancel()
	<-w.ended
	return w.err
}

// next returns the next delivery.
func (w *worker) next(t testing.TB) streams.Delivery {
	t.Helper()
	select {
	case d := <-w.handed:
		return d
	case <-time.After(soon):
		t.Fatal("waited in vain for a delivery")
		return streams.Delivery{}
	}
}

// expect fails unless these events are handed out next, in order.
func (w *worker) expect(t testing.TB, events ...domain.Event) []streams.Delivery {
	t.Helper()
	got := make([]streams.Delivery, len(events))
	for i, e := range events {
		got[i] = w.next(t)
		if got[i].Err != nil || got[i].Event.ID != e.ID || got[i].Event.Position != e.Position {
			t.Fatalf("delivery %d is %s at %d (%v), want %s at %d",
				i, got[i].Event.ID, got[i].Event.Position, got[i].Err, e.ID, e.Position)
		}
	}
	return got
}

func finish(t testing.TB, ds ...streams.Delivery) {
	t.Helper()
	for _, d := range ds {
		if err := d.Done(); err != nil {
			t.Fatal(err)
		}
	}
}

// idle waits until a lane has nothing handed out: acknowledgements have no
// answer of their own.
func idle(t testing.TB, b *streams.Broker, lane int) {
	t.Helper()
	waitFor(t, "the lane to be idle", func() bool {
		s := laneState(t, b, lane)
		return s.Waiting == 0 && s.Working == 0
	})
}

func laneState(t testing.TB, b *streams.Broker, lane int) streams.LaneState {
	t.Helper()
	states, err := b.Lanes(t.Context())
	if err != nil || len(states) != domain.Lanes {
		t.Fatalf("%d lanes, %v", len(states), err)
	}
	for _, s := range states {
		if s.Lane == lane {
			return s
		}
	}
	t.Fatalf("lane %d is not listed", lane)
	return streams.LaneState{}
}

// Every message event is handed to the lane of its number, in order and once;
// nothing else is.
func TestEveryEventGoesToItsLane(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	want := map[int][]domain.Event{}
	for i := range 100 {
		n := domain.NumberID(fmt.Sprint(1000 + i%40))
		want[domain.Lane(n)] = append(want[domain.Lane(n)], send(t, b, n, fmt.Sprint(i)))
		record(t, b, newEvent(t, message.StatusKey(tenantA, n), "no work"))
	}
	for lane := range domain.Lanes {
		w := work(t, b, lane)
		for _, d := range w.expect(t, want[lane]...) {
			if d.Deliveries != 1 || len(d.Raw) == 0 {
				t.Errorf("delivery %+v", d)
			}
			finish(t, d)
		}
		idle(t, b, lane)
		if err := w.stop(); err != context.Canceled {
			t.Errorf("the lane ended with %v", err)
		}
		if len(w.handed) != 0 {
			t.Errorf("lane %d got more than its own", lane)
		}
	}
}

// What a process did not finish is handed to the next one at once, oldest
// first; what it finished or rejected is not.
func TestUnfinishedWorkComesAgain(t *testing.T) {
	t.Parallel()
	dir, sealer := t.TempDir(), newVault(t)
	e := embed(t, dir, streams.Interval)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	events := sendMany(t, b, number, 6)
	w := work(t, b, domain.Lane(number))
	got := w.expect(t, events...)
	finish(t, got[0])
	if err := got[1].Reject("never"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the answers to arrive", func() bool { return laneState(t, b, domain.Lane(number)).Working == 4 })
	_ = w.stop()
	b.Close()
	e.Shutdown()

	e = embed(t, dir, streams.Interval)
	t.Cleanup(e.Shutdown)
	b = open(t, streams.Config{Embedded: e, Sealer: sealer})
	w = work(t, b, domain.Lane(number))
	// The acknowledgements may have been lost with the process; the rest may
	// not. So what is finished may come, but only before the rest.
	first := w.next(t)
	for first.Event.Position < events[2].Position {
		finish(t, first)
		first = w.next(t)
	}
	if first.Event.ID != events[2].ID {
		t.Fatalf("%s at %d comes first", first.Event.ID, first.Event.Position)
	}
	finish(t, append(w.expect(t, events[3:]...), first)...)
	idle(t, b, domain.Lane(number))
}

// A rejected event is not handed out again while others are.
func TestRejectedWorkStaysRejected(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	events := sendMany(t, b, number, 2)
	w := work(t, b, domain.Lane(number))
	got := w.expect(t, events...)
	for _, d := range got {
		if err := d.Reject("never"); err != nil {
			t.Fatal(err)
		}
	}
	idle(t, b, domain.Lane(number))
	if _, err := b.JetStream().ResetConsumer(t.Context(), "EVENTS", fmt.Sprintf("lane%02d", domain.Lane(number))); err != nil {
		t.Fatal(err)
	}
	finish(t, w.expect(t, send(t, b, number, "next"))...)
}

// Holding an event tells the log that the work goes on.
func TestHeldWorkIsNotHandedOutAgain(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	d := work(t, b, domain.Lane(number)).expect(t, send(t, b, number, "long"))[0]
	if err := d.Hold(); err != nil {
		t.Fatal(err)
	}
	if s := laneState(t, b, domain.Lane(number)); s.Working != 1 || s.Waiting != 0 {
		t.Errorf("lane %+v", s)
	}
	finish(t, d)
	idle(t, b, domain.Lane(number))
}

// An event that cannot be read is handed out with its key and an error, so
// that the lane can go on without it.
func TestUnreadableWorkIsHandedOut(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	if _, err := b.JetStream().Publish(t.Context(), "evt.02.msg.ten_a.msg_x", []byte(`{"v":0}`)); err != nil {
		t.Fatal(err)
	}
	w := work(t, b, 2)
	d := w.next(t)
	want := domain.Key{Kind: domain.KindMessage, Tenant: tenantA, ID: "msg_x"}
	if d.Err == nil || domain.KindOf(d.Err) == domain.Unavailable || d.Event.Key != want || d.Event.Position != 1 || string(d.Raw) != `{"v":0}` {
		t.Errorf("delivery %+v", d)
	}
	if err := d.Reject("unreadable"); err != nil {
		t.Fatal(err)
	}
	finish(t, w.expect(t, send(t, b, number, "next"))...)
}

// While an upgrade rolls, a lane leaves what a newer build wrote alone: its
// worker is told to wait and goes on with the rest, and a process of that build
// finds it when it takes the lane. Nobody says that such a message cannot be
// read, and readers stop at it.
func TestWorkOfANewerBuildIsLeftToIt(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	sealer := newVault(t)
	older := open(t, streams.Config{Embedded: e, Sealer: sealer})
	newer := open(t, streams.Config{Embedded: e, Sealer: sealer})
	newer.Upgrade(message.TypeSendRequested)
	lane := domain.Lane(number)

	before := send(t, older, number, "before")
	theirs := newEvent(t, outgoing(number), "of the newer build")
	theirs.Version = 2
	var err error
	if theirs.Position, err = newer.Events().Append(t.Context(), theirs, domain.First()); err != nil {
		t.Fatal(err)
	}
	after := send(t, older, number, "after")

	w := work(t, older, lane)
	finish(t, w.expect(t, before)...)
	if d := w.next(t); domain.KindOf(d.Err) != domain.Unavailable || d.Event.Position != theirs.Position || d.Event.Key != theirs.Key {
		t.Errorf("the older build is handed %+v", d)
	}
	finish(t, w.expect(t, after)...)
	waitFor(t, "all but one to be done", func() bool { return laneState(t, older, lane).Working == 1 })
	backlog := streams.Backlog{Tenant: tenantA, Number: number, From: 1}
	got, next, end, err := older.ReadBacklog(t.Context(), backlog, 10)
	if err != nil || len(got) != 1 || end || next != theirs.Position {
		t.Errorf("its backlog has %d, and goes on at %d (%v, %v)", len(got), next, end, err)
	}
	backlog.From = next
	if _, _, _, err := older.ReadBacklog(t.Context(), backlog, 10); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("and then: %v", err)
	}
	if _, err := older.Events().Load(t.Context(), theirs.Key); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("its log: %v", err)
	}
	if got := read(t, older, 0, 1); got[0].ID != before.ID {
		t.Errorf("its reader begins with %s", got[0].ID)
	}
	c, err := older.Reader().Open(t.Context(), before.Position)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Next(t.Context(), 10); domain.KindOf(err) != domain.Bug {
		t.Errorf("its reader: %v", err)
	}
	_ = w.stop()

	w = work(t, newer, lane)
	news := send(t, older, number, "news")
	finish(t, w.expect(t, theirs)...)
	d := w.next(t)
	for d.Event.Position < news.Position { // what was finished behind it comes once more
		finish(t, d)
		d = w.next(t)
	}
	finish(t, d)
	idle(t, newer, lane)
}

// An event that is never finished is handed out for ever, with its count, so that
// the worker can give it up: the server does not drop it. Its neighbours go on.
func TestUnfinishedWorkIsNeverDropped(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	lane := domain.Lane(number)
	c, err := b.JetStream().Consumer(t.Context(), "EVENTS", fmt.Sprintf("lane%02d", lane))
	if err != nil {
		t.Fatal(err)
	}
	impatient := c.CachedInfo().Config
	impatient.AckWait = 20 * time.Millisecond
	if _, err := b.JetStream().UpdateConsumer(t.Context(), "EVENTS", impatient); err != nil {
		t.Fatal(err)
	}
	stuck, good := send(t, b, number, "stuck"), send(t, b, number, "good")
	w := work(t, b, lane)
	for handed := 0; ; {
		d := w.next(t)
		if d.Event.ID == good.ID {
			_ = d.Done() // it may have come once more meanwhile
			continue
		}
		if handed++; d.Err != nil || d.Event.ID != stuck.ID || d.Deliveries < handed {
			t.Fatalf("handed out the %d. time: %+v", handed, d)
		}
		if handed < 60 {
			continue
		}
		if err := d.Reject("poison"); err != nil {
			t.Fatal(err)
		}
		idle(t, b, lane)
		return
	}
}

// bomb makes whoever opens a sealed part panic.
type bomb struct{ streams.Sealer }

func (bomb) Open(domain.TenantID, domain.EventID, []byte) ([]byte, error) { panic("boom") }

// Bytes that make the reader panic end neither the process nor the lane: they
// are unreadable like others.
func TestPanicOverAnEventIsContained(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	sealer := newVault(t)
	writer := open(t, streams.Config{Embedded: e, Sealer: sealer})
	event := send(t, writer, number, "x")
	b := open(t, streams.Config{Embedded: e, Sealer: bomb{sealer}})
	d := work(t, b, domain.Lane(number)).next(t)
	if d.Err == nil || domain.KindOf(d.Err) == domain.Unavailable || d.Event.Key != event.Key || d.Event.Position != event.Position {
		t.Errorf("handed out: %+v", d)
	}
	if got, _ := readBacklog(t, b, streams.Backlog{Tenant: tenantA, Number: number, From: 1}, 10); len(got) != 1 || got[0].Err == nil {
		t.Errorf("read: %+v", got)
	}
	if err := d.Reject("unreadable"); err != nil {
		t.Error(err)
	}
}

// Two processes may run a lane: one owns it. When the owner stops, the other
// takes over, and what was left unfinished comes before anything new: nothing
// is lost and the order is kept.
func TestLaneIsTakenOverInOrder(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	sealer := newVault(t)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	other := open(t, streams.Config{Embedded: e, Sealer: sealer})
	lane := domain.Lane(number)

	owner := work(t, b, lane)
	first := send(t, b, number, "who is the owner?")
	finish(t, owner.expect(t, first)...)
	standby := work(t, other, lane)
	events := sendMany(t, b, number, 20)
	// The start of the second process has unfinished work handed out again, so
	// the owner may see it twice.
	latest := map[domain.Position]streams.Delivery{}
	for len(latest) < len(events) {
		d := owner.next(t)
		latest[d.Event.Position] = d
	}
	for _, done := range events[:5] {
		finish(t, latest[done.Position])
	}
	waitFor(t, "five to be done", func() bool {
		return laneState(t, b, lane).Working == len(events)-5
	})
	if len(standby.handed) != 0 {
		t.Fatal("both own the lane")
	}
	_ = owner.stop()
	news := sendMany(t, b, number, 3)
	finish(t, standby.expect(t, append(events[5:], news...)...)...)
	idle(t, b, lane)
	if len(standby.handed) != 0 {
		t.Errorf("%d more deliveries", len(standby.handed))
	}
}

// A lane whose consumer is gone ends with an error instead of standing still.
func TestLaneEndsWithItsConsumer(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	w := work(t, b, domain.Lane(number))
	finish(t, w.expect(t, send(t, b, number, "x"))...)
	if err := b.JetStream().DeleteConsumer(t.Context(), "EVENTS", fmt.Sprintf("lane%02d", domain.Lane(number))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.ended:
		if w.err == nil {
			t.Error("it ended without a word")
		}
	case <-time.After(soon):
		t.Error("it stands still")
	}
}
