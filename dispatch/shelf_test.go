package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// doors are the gates of numbers, which a test opens and closes.
type doors struct {
	mu     sync.Mutex
	closed map[domain.NumberID]bool
	moved  chan struct{}
}

func newDoors(closed ...domain.NumberID) *doors {
	d := &doors{closed: map[domain.NumberID]bool{}, moved: make(chan struct{})}
	for _, n := range closed {
		d.closed[n] = true
	}
	return d
}

func (d *doors) set(n domain.NumberID, closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed[n] = closed
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *doors) Open(n domain.NumberID, _ bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.closed[n]
}

func (d *doors) Pass(ctx context.Context, n domain.NumberID, _ bool) error {
	for {
		d.mu.Lock()
		closed, moved := d.closed[n], d.moved
		d.mu.Unlock()
		if !closed {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// until waits for what nothing announces.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			scheduled, due, shelved := w.schedule.left()
			w.t.Fatalf("waited in vain for %s; %d are scheduled, %d due, %d put aside", what, scheduled, due, shelved)
		}
	}
}

// dueOf makes a request of a number whose time has come, and which is no longer
// in its lane but in the schedule. Nobody works the lane yet.
func (w *world) dueOf(n domain.NumberID, to string, o message.Options) domain.Key {
	w.t.Helper()
	o.SendAt = time.Now()
	k := w.requestFrom(n, to, "due", o)
	e := w.log.All()[w.state(k).Last-1]
	w.work.finish(e.Position, "")
	if err := w.schedule.Schedule(w.t.Context(), Delivery{Event: e, Raw: []byte("raw")}, o.SendAt); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// What is due of numbers that stand still holds up nobody, however much it is;
// when they go on it leaves in order, once.
func TestDueOfPausedNumbersHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.schedule.on, w.schedule.pending = true, 16
	ns := inLane(3, 4)
	gate := newDoors(ns[:3]...)
	w.d.Gate, w.d.Policy.MaxAttempts = gate, 1000 // some are refused each time that they are tried
	w.small(w.d)
	s := &watched{w: w, order: map[string][]domain.MessageID{}, d: w.d}
	w.provider.answer(s.send)
	want := map[string][]domain.MessageID{}
	var paused []domain.Key
	for i := range 120 {
		n, to := ns[i%3], fmt.Sprintf("+1415555%04d", i%10)
		k := w.dueOf(n, to, message.Options{})
		paused = append(paused, k)
		want[string(n)+" "+to] = append(want[string(n)+" "+to], domain.MessageID(k.ID))
	}
	var open []domain.Key
	for i := range 30 {
		open = append(open, w.dueOf(ns[3], fmt.Sprintf("+1415555%04d", i), message.Options{}))
	}
	w.run(w.d)
	for _, k := range open {
		w.await(k, message.TypeSendAccepted)
	}
	for _, k := range paused {
		wantTypes(t, w, k, message.TypeSendRequested)
	}
	for _, n := range ns[:3] {
		gate.set(n, false)
	}
	for _, k := range paused {
		w.await(k, message.TypeSendAccepted)
	}
	w.until("the end", func() bool { scheduled, due, shelved := w.schedule.left(); return scheduled+due+shelved == 0 })
	w.calledOnce()
	s.wantOrder(want)
}

// wantOrder says of each number and person in which order their messages were
// called first.
func (s *watched) wantOrder(want map[string][]domain.MessageID) {
	s.w.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for to, ids := range want {
		var called []domain.MessageID
		for _, id := range s.order[to] {
			if !slices.Contains(called, id) {
				called = append(called, id)
			}
		}
		if !slices.Equal(called, ids) {
			s.w.t.Errorf("%s: called %v, due %v", to, called, ids)
		}
	}
}

// Thousands that are due in the same second, numbers that stand still and go on,
// processes that die at any moment and acknowledgements that are lost: nothing
// is lost, nothing is called twice under one number, and to one person everything
// leaves in the order in which it was due.
func TestShelvesKeepEverything(t *testing.T) {
	t.Parallel()
	seeded(t, 4, func(t *testing.T, rng *rand.Rand, _ int) { shelvesKeepEverything(t, rng) })
}

func shelvesKeepEverything(t *testing.T, rng *rand.Rand) {
	const numbers, persons, messages = 20, 4, 600
	w := newWorld(t)
	w.schedule.on, w.schedule.pending = true, 32
	var lost sync.Mutex
	losses := rand.New(rand.NewPCG(rng.Uint64(), 3))
	w.schedule.loses = func() bool {
		lost.Lock()
		defer lost.Unlock()
		return losses.IntN(20) == 0
	}
	ns := inLane(3, numbers)
	gate := newDoors(ns[0])
	s := &watched{w: w, order: map[string][]domain.MessageID{}}
	w.provider.answer(s.send)
	start := func() (kill func()) {
		d := w.dispatcher()
		d.laneJobs, d.numberJobs, d.advanceEvery = 60, 12, time.Millisecond
		log := &crash{Memory: w.log}
		d.Config.Log, d.Config.Gate, d.Policy.MaxAttempts, d.Policy.Drain = log, gate, 1000, 0
		d.Policy.UnknownWait = time.Millisecond
		s.mu.Lock()
		s.d = d
		s.mu.Unlock()
		stop := w.run(d)
		return func() { log.kill(); stop() }
	}
	want := map[string][]domain.MessageID{}
	var steady, open, held []domain.Key // of numbers that stay open, of all but the first, and of that one
	for range messages {
		i := rng.IntN(numbers)
		to := fmt.Sprintf("+1415555%04d", rng.IntN(persons))
		k := w.dueOf(ns[i], to, message.Options{})
		want[string(ns[i])+" "+to] = append(want[string(ns[i])+" "+to], domain.MessageID(k.ID))
		switch {
		case i == 0:
			held = append(held, k)
		case i > 3:
			steady = append(steady, k)
			fallthrough
		default:
			open = append(open, k)
		}
	}
	kill := start()
	for range 6 {
		w.await(steady[rng.IntN(len(steady)/2)], message.TypeSendAccepted)
		kill()
		gate.set(ns[1+rng.IntN(3)], rng.IntN(2) == 0)
		kill = start()
	}
	for _, n := range ns[1:] {
		gate.set(n, false)
	}
	for _, k := range open {
		w.await(k, message.TypeSendAccepted)
	}
	for _, k := range held {
		wantTypes(t, w, k, message.TypeSendRequested)
	}
	kill()
	kill = start()
	gate.set(ns[0], false)
	for _, k := range held {
		w.await(k, message.TypeSendAccepted)
	}
	kill()
	w.schedule.loses = nil // nothing runs
	kill = start()
	w.until("the end", func() bool { scheduled, due, shelved := w.schedule.left(); return scheduled+due+shelved == 0 })
	kill()
	w.calledOnce()
	s.wantOrder(want)
}

// What was put aside and is taken back, or whose time is over meanwhile, ends in
// time, and is not sent when its number goes on.
func TestPutAsideEndsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.schedule.on = true
	n := inLane(3, 1)[0]
	gate := newDoors(n)
	w.d.Gate = gate
	cancelled := w.dueOf(n, "+14155550100", message.Options{})
	expires := w.dueOf(n, "+14155550100", message.Options{ExpiresAt: time.Now().Add(time.Second)})
	last := w.dueOf(n, "+14155550100", message.Options{ExpiresAt: time.Now().Add(time.Hour)})
	w.run(w.d)
	w.until("three on the shelf", func() bool { _, due, shelved := w.schedule.left(); return due == 0 && shelved == 3 })
	w.append(cancelled, &message.SendCancelled{})
	w.await(expires, message.TypeSendExpired)
	gate.set(n, false)
	w.await(last, message.TypeSendAccepted)
	w.until("the end", func() bool { scheduled, due, shelved := w.schedule.left(); return scheduled+due+shelved == 0 })
	wantTypes(t, w, cancelled, message.TypeSendRequested, message.TypeSendCancelled)
	wantTypes(t, w, expires, message.TypeSendRequested, message.TypeSendExpired)
}
