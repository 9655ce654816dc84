package streams_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// labour works the lanes of a process and passes on what it is handed.
func labour(t testing.TB, b *streams.Broker) *worker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{handed: make(chan streams.Delivery, 10_000), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(w.ended)
		w.err = b.Work(ctx, func(context.Context, int) (func(streams.Delivery), func()) {
			return func(d streams.Delivery) { w.handed <- d }, func() {}
		})
	}()
	t.Cleanup(func() { _ = w.stop() })
	return w
}

// schedule schedules a message that was just handed out, and finishes it.
func schedule(t testing.TB, b *streams.Broker, d streams.Delivery, at time.Time) {
	t.Helper()
	if err := b.Schedule(t.Context(), d, at); err != nil {
		t.Fatal(err)
	}
	finish(t, d)
}

// due fails unless this event is handed out next as due, as it was.
func (w *worker) due(t testing.TB, want streams.Delivery) streams.Delivery {
	t.Helper()
	d := w.next(t)
	if !d.Due || d.Err != nil || d.Event.ID != want.Event.ID || d.Event.Position != want.Event.Position ||
		d.Event.Key != want.Event.Key || string(d.Raw) != string(want.Raw) || textOf(t, d.Event) != textOf(t, want.Event) {
		t.Fatalf("handed out: %+v, want %+v", d, want)
	}
	return d
}

// schedules waits until so many copies are kept, waiting or due.
func schedules(t testing.TB, b *streams.Broker, count uint64) {
	t.Helper()
	waitFor(t, "the schedules", func() bool { return stream(t, b, "SCHED").CachedInfo().State.Msgs == count })
}

// A scheduled request is handed out at its time and not before, by itself, until
// it is done; the newest schedule of a message counts, and what was taken back is
// not handed out.
func TestScheduledWorkComesAtItsTime(t *testing.T) {
	t.Parallel()
	oneAndThree(t, func(t *testing.T, b *streams.Broker) {
		w := labour(t, b)
		request := func(text string) streams.Delivery {
			return w.expect(t, send(t, b, number, text))[0]
		}
		soonest, overdue, moved, gone := request("soon"), request("overdue"), request("moved"), request("taken back")
		years := time.Now().AddDate(7, 0, 0)
		at := time.Now().Add(5 * time.Second).Truncate(time.Second) // what is taken back must be so before that
		schedule(t, b, soonest, at)
		schedule(t, b, moved, years)
		schedule(t, b, gone, at)
		schedule(t, b, overdue, time.Now().Add(-time.Hour))
		schedules(t, b, 4)
		if err := b.Unschedule(t.Context(), gone.Event.Key); err != nil {
			t.Fatal(err)
		}
		finish(t, w.due(t, overdue))
		first := w.due(t, soonest)
		if now := time.Now(); now.Before(at) || now.After(at.Add(5*time.Second)) {
			t.Errorf("handed out at %s, want %s", now, at)
		}
		schedules(t, b, 2) // one far ahead, one that is not done
		finish(t, first)
		schedules(t, b, 1)
		if err := b.Schedule(t.Context(), moved, time.Now()); err != nil {
			t.Fatal(err)
		}
		finish(t, w.due(t, moved))
		schedules(t, b, 0)
		if err := b.Unschedule(t.Context(), gone.Event.Key); err != nil {
			t.Errorf("taking back what is not there: %v", err)
		}
		if len(w.handed) != 0 {
			t.Errorf("%d more", len(w.handed))
		}
	})
}

// What is scheduled survives a process that dies, and one whose time passed
// meanwhile is due at the next start, also when nobody worked its lane when it
// became due.
func TestSchedulesSurviveKill(t *testing.T) {
	t.Parallel()
	sealer := newVault(t)
	dir := t.TempDir()
	e := embed(t, dir, streams.Strict)
	t.Cleanup(e.Shutdown)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	w := labour(t, b)
	d := w.expect(t, send(t, b, number, "x"))[0]
	far := w.expect(t, send(t, b, number, "y"))[0]
	at := time.Now().Add(time.Second)
	schedule(t, b, d, at)
	schedule(t, b, far, time.Now().AddDate(3, 0, 0))
	idle(t, b, domain.Lane(number))
	// As it lies on disk at this moment, without a last word of the process.
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := (domain.SystemClock{}).Sleep(t.Context(), time.Until(at)); err != nil {
		t.Fatal(err)
	}
	after := embed(t, left, streams.Strict)
	t.Cleanup(after.Shutdown)
	b = open(t, streams.Config{Embedded: after, Sealer: sealer})
	waitFor(t, "the schedule to fire", func() bool {
		_, err := stream(t, b, "SCHED").GetLastMsgForSubject(t.Context(), "due.>")
		return err == nil
	})
	// The acknowledgement of the request may have died with the process.
	w = labour(t, b)
	copied := w.next(t)
	for !copied.Due {
		finish(t, copied)
		copied = w.next(t)
	}
	if copied.Err != nil || copied.Event.ID != d.Event.ID || copied.Event.Position != d.Event.Position || string(copied.Raw) != string(d.Raw) {
		t.Errorf("handed out: %+v", copied)
	}
	finish(t, copied)
	schedules(t, b, 1)
}

// A request that waits does not keep the log hot. Its copy is worked although
// the log let go of it, and what was tried then stays hot until it is done.
func TestScheduledWorkOutlivesTheHotLog(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	w := labour(t, b)
	d := w.expect(t, send(t, b, number, "much later"))[0]
	schedule(t, b, d, time.Now().AddDate(1, 0, 0))
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, number) >= 1 })
	record(t, b, statuses(t, 0, 10)...)
	a := archiver(t, b)
	archive(t, a, 11)
	purge(t, b, a, 11) // Keep is 1
	if err := b.Schedule(t.Context(), d, time.Now()); err != nil {
		t.Fatal(err)
	}
	copied := w.due(t, d)
	if hot, err := b.Events().Load(t.Context(), copied.Event.Key); err != nil || len(hot) != 0 {
		t.Fatalf("hot: %v, %v", hot, err)
	}
	attempt, err := domain.NewEvent(copied.Event.Key, time.Now(), "test", &message.SendAttempted{Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if attempt.Position, err = b.Events().Append(t.Context(), attempt, domain.First()); err != nil {
		t.Fatal(err)
	}
	finish(t, w.expect(t, attempt)...)
	record(t, b, statuses(t, 20, 10)...)
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, number) >= uint64(attempt.Position) })
	archive(t, a, attempt.Position+10)
	purge(t, b, a, 11) // it is being worked
	if hot, err := b.Events().Load(t.Context(), copied.Event.Key); err != nil || len(hot) != 1 || hot[0].ID != attempt.ID {
		t.Errorf("hot: %v, %v", hot, err)
	}
	finish(t, copied)
	schedules(t, b, 0)
	purge(t, b, a, attempt.Position+10)
}

// Only messages can be scheduled, and only under their own names.
func TestScheduleRefusesBadKeys(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	good := newEvent(t, outgoing(number), "x").Key
	for name, spoil := range map[string]func(k *domain.Key){
		"no message":       func(k *domain.Key) { *k = message.StatusKey(tenantA, number) },
		"any number":       func(k *domain.Key) { k.Number = "*" },
		"a phone for a id": func(k *domain.Key) { k.ID = "+14155550100" },
	} {
		k := good
		spoil(&k)
		d := streams.Delivery{Event: domain.Event{Key: k}, Raw: []byte("{}")}
		if err := b.Schedule(t.Context(), d, time.Now()); domain.KindOf(err) != domain.Bug {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Unschedule(t.Context(), k); domain.KindOf(err) != domain.Bug {
			t.Errorf("%s, taken back: %v", name, err)
		}
	}
}

// Servers that leave out what they do not know are refused in words that say
// what is missing and what has it.
func TestOldServersAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range streams.StreamConfigs() {
		if err := streams.Understood(c, c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		old := c
		old.AllowAtomicPublish, old.AllowMsgSchedules = false, false
		err := streams.Understood(c, old)
		if asks := c.AllowAtomicPublish || c.AllowMsgSchedules; asks != (err != nil) {
			t.Errorf("%s: %v", c.Name, err)
		}
		if err != nil && !strings.Contains(err.Error(), "nats-server 2.12") {
			t.Errorf("%s: %v does not say what to do", c.Name, err)
		}
	}
}
