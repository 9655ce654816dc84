package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Messages that wait long, for a status or for another try, hold up nobody else
// of their number; a status ends the wait of the one it is about at once.
func TestLongWaitsHoldUpNobody(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]cloudapi.Outcome{
		"unknown": {Kind: cloudapi.Unknown, Detail: "timeout"},
		"refused": {Kind: cloudapi.Refused, Code: 130429, Class: cloudapi.Retry, Retry: true, Wait: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.small(w.d)
			w.d.Policy.UnknownWait = time.Hour
			n := inLane(3, 1)[0]
			var waiting []domain.Key
			for i := range 40 {
				waiting = append(waiting, w.requestFrom(n, fmt.Sprintf("+1415555%04d", i), "waits", message.Options{}))
			}
			behind := w.requestFrom(n, "+14155550000", "behind the first", message.Options{})
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				if slices.ContainsFunc(waiting, func(k domain.Key) bool { return k.ID == string(c.Message) }) {
					return first
				}
				return accepted(c)
			})
			w.run(w.d)
			for i := range 20 {
				w.await(w.requestFrom(n, fmt.Sprintf("+1415556%04d", i), "goes", message.Options{}), message.TypeSendAccepted)
			}
			w.until("everybody to sleep", func() bool { return w.schedule.parked() == len(waiting)+1 })
			wantTypes(t, w, behind, message.TypeSendRequested)
			w.awaitNoBacklog()
			if first.Kind == cloudapi.Refused {
				return
			}
			numbers := message.StatusKey(waiting[0].Tenant, n)
			for _, k := range waiting {
				w.append(numbers, delivered(k, 1))
				w.wantProven(k, 1)
			}
			w.await(behind, message.TypeSendAccepted)
			w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
		})
	}
}

// Whatever is answered and whenever the process dies: nobody overtakes a message
// to the same person that waits for another try, no attempt is called twice, and
// nothing is lost.
func TestSleepersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	seeded(t, 4, func(t *testing.T, rng *rand.Rand, _ int) { sleepersKeepTheirPlace(t, rng) })
}

func sleepersKeepTheirPlace(t *testing.T, rng *rand.Rand) {
	w := newWorld(t)
	s := &watched{w: w, order: map[string][]domain.MessageID{}}
	var mu sync.Mutex
	luck := rand.New(rand.NewPCG(rng.Uint64(), 5))
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		s.send(c)
		mu.Lock()
		defer mu.Unlock()
		switch luck.IntN(8) {
		case 0:
			return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "timeout"}
		case 1:
			return refusedFor(true)
		}
		return accepted(c)
	})
	start := func() (kill func()) {
		d := w.small(w.dispatcher())
		log := &crash{Memory: w.log}
		d.Config.Log, d.Policy.MaxAttempts, d.Policy.Drain = log, 1000, 0
		d.laneWait = time.Microsecond // all waits are long
		d.laneSleepers = 20
		s.mu.Lock()
		s.d = d
		s.mu.Unlock()
		stop := w.run(d)
		return func() { log.kill(); stop() }
	}
	kill := start()
	want := map[string][]domain.MessageID{}
	var keys []domain.Key
	ns := inLane(3, 2)
	for i := range 200 {
		n, to := ns[rng.IntN(2)], fmt.Sprintf("+1415555%04d", rng.IntN(8))
		k := w.requestFrom(n, to, fmt.Sprint(i), message.Options{})
		keys = append(keys, k)
		want[string(n)+" "+to] = append(want[string(n)+" "+to], domain.MessageID(k.ID))
		switch rng.IntN(50) {
		case 0:
			kill()
			kill = start()
		case 1, 2:
			w.await(k, message.TypeSendAccepted)
		}
	}
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
	kill()
	w.calledOnce()
	s.mu.Lock()
	defer s.mu.Unlock()
	for to, ids := range want {
		if called := slices.Compact(slices.Clone(s.order[to])); !slices.Equal(called, ids) {
			t.Errorf("%s: called %v, accepted %v", to, called, ids)
		}
	}
}

// A lane that can take no more sleepers than it has lets those behind them wait
// in memory, and writes a copy of each that does sleep once.
func TestSleepersUpToTheirLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var copies atomic.Int32
	w.schedule.parks = func(domain.Key) { copies.Add(1) }
	w.d.laneSleepers, w.d.Policy.UnknownWait = 2, time.Hour
	n := inLane(3, 1)[0]
	var keys []domain.Key
	for i := range 4 {
		keys = append(keys, w.requestFrom(n, "+14155550100", fmt.Sprint(i), message.Options{}))
	}
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if string(c.Message) == keys[0].ID {
			return lost(c)
		}
		return accepted(c)
	})
	w.run(w.d)
	l := w.lane(n)
	w.until("two to sleep, and nobody to be put there", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.asleep) == 2 && len(l.stowing) == 0
	})
	if c := copies.Load(); c != 2 {
		t.Errorf("%d copies were written of two sleepers", c)
	}
	w.append(message.StatusKey(keys[0].Tenant, n), delivered(keys[0], 1))
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.wantCalled(keys)
	w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
}

// Who is found asleep while being put there, or instead at work again, holds up
// nobody.
func TestSleepersFoundWhileTheyArePutThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put   int  // which one is being put there
		works bool // its turn comes meanwhile
	}{
		"first":  {0, false},
		"behind": {1, false},
		"works":  {1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.d.Policy.UnknownWait = time.Hour
			n := inLane(3, 1)[0]
			var keys []domain.Key
			for i := range 3 {
				keys = append(keys, w.requestFrom(n, "+14155550100", fmt.Sprint(i), message.Options{}))
			}
			copied, known := make(chan bool), make(chan bool)
			var once sync.Once
			w.schedule.parks = func(k domain.Key) {
				if k == keys[c.put] {
					once.Do(func() { copied <- true; <-known })
				}
			}
			called, answers := make(chan bool, 1), make(chan bool)
			w.provider.answer(func(call cloudapi.Call) cloudapi.Outcome {
				switch string(call.Message) {
				case keys[0].ID:
					return lost(call)
				case keys[1].ID:
					called <- true
					<-answers
				}
				return accepted(call)
			})
			w.run(w.d)
			prove := func() { w.append(message.StatusKey(keys[0].Tenant, n), delivered(keys[0], 1)) }
			<-copied
			if c.works {
				prove()
				<-called
			}
			l := w.lane(n)
			l.lookAtShelves()
			known <- true
			if !c.works {
				prove()
			} else {
				w.until("the third to sleep", func() bool {
					l.mu.Lock()
					defer l.mu.Unlock()
					return l.asleep[keys[2].ID] != nil
				})
			}
			close(answers)
			for _, k := range keys {
				w.await(k, message.TypeSendAccepted)
			}
			w.wantCalled(keys)
			w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
		})
	}
}

// lane returns the lane of a number that the world's dispatcher works.
func (w *world) lane(n domain.NumberID) (found *lane) {
	w.until("the lane to be worked", func() bool {
		w.d.mu.Lock()
		defer w.d.mu.Unlock()
		for l := range w.d.lanes {
			if l.number == domain.Lane(n) {
				found = l
			}
		}
		return found != nil
	})
	return found
}

// wantCalled says that each message was called once, in order.
func (w *world) wantCalled(want []domain.Key) {
	w.t.Helper()
	var called, ids []string
	for _, c := range w.provider.made() {
		called = append(called, string(c.Message))
	}
	for _, k := range want {
		ids = append(ids, k.ID)
	}
	if !slices.Equal(called, ids) {
		w.t.Errorf("called %v, want %v", called, ids)
	}
}

// Who sleeps and is taken back frees its place at once; and while its number is
// closed it takes no memory, and goes when that is open.
func TestSleepersTakenBackOrPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := inLane(3, 1)[0]
	gate := newDoors()
	w.d.Gate, w.d.laneWait, w.d.Policy.UnknownWait = gate, time.Millisecond, time.Hour
	w.provider.answer(lost)
	first := w.requestFrom(n, "+14155550100", "first", message.Options{})
	w.requestFrom(n, "+14155550100", "second", message.Options{})
	short := w.requestFrom(n, "+14155550101", "short", message.Options{UnknownWait: time.Second})
	w.run(w.d)
	w.until("three to sleep", func() bool { return w.schedule.parked() == 3 })
	gate.set(n, true)
	w.provider.answer(accepted)
	w.append(first, &message.SendCancelled{})
	w.until("the first to be forgotten", func() bool {
		return w.schedule.parked() == 1 || len(w.provider.made()) == 2 && w.schedule.parked() == 2
	})
	gate.set(n, false)
	w.await(short, message.TypeSendAccepted)
	w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
	wantTypes(t, w, first, message.TypeSendRequested, message.TypeSendAttempted, message.TypeOutcomeUnknown, message.TypeSendCancelled)
}

// Two processes that both believe to own a lane with sleepers and shelves lose
// nothing and call no attempt twice.
func TestTwoOwnersOfSleepersAndShelves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.schedule.on = true
	ns := inLane(3, 2)
	gate := newDoors(ns[0])
	var mu sync.Mutex
	luck := 0
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if luck++; luck%5 == 0 {
			return refusedFor(true)
		}
		return accepted(c)
	})
	var keys []domain.Key
	for i := range 60 {
		keys = append(keys, w.dueOf(ns[i%2], fmt.Sprintf("+1415555%04d", i%10), message.Options{}))
	}
	for range 2 {
		d := w.small(w.dispatcher())
		d.Config.Gate, d.Policy.Patience, d.Policy.MaxAttempts = gate, 2*time.Second, 1000
		d.laneWait = time.Microsecond
		w.run(d)
	}
	for i := 1; i < len(keys); i += 2 {
		w.await(keys[i], message.TypeSendAccepted)
	}
	gate.set(ns[0], false)
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.calledOnce()
}

// A copy that was found and that its maker then took back is not taken for the
// one that counts: what is put to sleep while it is known is not lost.
func TestCopyTakenBackByItsMaker(t *testing.T) {
	t.Parallel()
	for _, behind := range []int{0, 1} {
		t.Run(fmt.Sprint("behind ", behind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.d.laneWait = time.Microsecond
			n := inLane(3, 1)[0]
			var keys []domain.Key
			for i := range 3 {
				keys = append(keys, w.requestFrom(n, "+14155550100", fmt.Sprint(i), message.Options{}))
			}
			k := keys[behind]
			foreign := Delivery{Event: w.log.All()[w.state(k).Last-1], Raw: []byte("raw")}
			var l *lane
			var once sync.Once
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				once.Do(func() {
					place, err := w.schedule.Park(t.Context(), foreign)
					if err != nil {
						t.Error(err)
					}
					l = w.lane(n)
					l.lookAtShelves()
					if err := w.schedule.Unshelve(t.Context(), place); err != nil {
						t.Error(err)
					}
					w.schedule.mu.Lock()
					defer w.schedule.mu.Unlock()
					w.schedule.parks = func(domain.Key) { l.lookAtShelves() }
				})
				if string(c.Message) == keys[0].ID && c.Attempt == 1 {
					return refusedLong
				}
				return accepted(c)
			})
			w.run(w.d)
			for _, k := range keys {
				w.await(k, message.TypeSendAccepted)
			}
			w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
			w.calledOnce()
		})
	}
}

// Who is taken back during the call of a sleeper whose process dies is not left
// as one that was certainly not sent.
func TestTakenBackWhileASleeperCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := &crash{Memory: w.log}
	w.d.Config.Log, w.d.laneWait, w.d.Policy.Drain = log, time.Microsecond, 0
	hang := make(chan struct{})
	answer := sync.OnceFunc(func() { close(hang) })
	defer answer()
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Attempt == 1 {
			return refusedLong
		}
		<-hang
		return lost(c)
	})
	k := w.request("+14155550100", "hello")
	stop := w.run(w.d)
	w.until("the second call", func() bool { return len(w.provider.made()) == 2 })
	w.append(k, &message.SendCancelled{})
	w.until("the end to be seen", func() bool { return w.work.isDone(w.state(k).Last) })
	log.kill()
	answer()
	stop()
	d := w.dispatcher()
	d.Policy.Patience = time.Millisecond
	w.run(d)
	w.await(k, message.TypeOutcomeUnknown)
	w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
}

// What sleeps behind another ends in time as well.
func TestExpiresAsleepBehindAnother(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprint("restarts ", restarts), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.d.laneWait, w.d.expireEvery, w.d.Policy.UnknownWait = time.Millisecond, time.Millisecond, time.Hour
			w.provider.answer(lost)
			first := w.request("+14155550100", "first")
			k := w.ask(tenantA, number, "+14155550100", aText, message.Options{ExpiresAt: time.Now().Add(3 * time.Second)})
			stop := w.run(w.d)
			w.until("both to sleep", func() bool { return w.schedule.parked() == 2 })
			wantTypes(t, w, k, message.TypeSendRequested)
			if restarts {
				stop()
				d := w.dispatcher()
				d.laneWait, d.expireEvery, d.Policy.UnknownWait = time.Millisecond, time.Millisecond, time.Hour
				w.run(d)
			}
			w.await(k, message.TypeSendExpired)
			w.append(statuses, delivered(first, 1))
			w.wantProven(first, 1)
			w.until("nobody to sleep", func() bool { return w.schedule.parked() == 0 })
			wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendExpired)
		})
	}
}

// refusedLong is a refusal whose wait is seen.
var refusedLong = cloudapi.Outcome{Kind: cloudapi.Refused, Code: 130429, Class: cloudapi.Retry, Retry: true, Wait: 50 * time.Millisecond}
