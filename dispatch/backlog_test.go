package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// small gives a world lanes of few jobs, so that backlogs are soon needed.
func (w *world) small(d *Dispatcher) *Dispatcher {
	d.laneJobs, d.numberJobs, d.advanceEvery, d.expireEvery = 12, 6, time.Millisecond, 5*time.Millisecond
	w.work.pending = 16
	return d
}

// inLane returns numbers of one lane.
func inLane(lane, count int) (out []domain.NumberID) {
	for i := 0; len(out) < count; i++ {
		if n := domain.NumberID(fmt.Sprint(1000 + i)); domain.Lane(n) == lane {
			out = append(out, n)
		}
	}
	return out
}

// requestFrom records a wish to send from a number, which a tenant of its own
// has.
func (w *world) requestFrom(n domain.NumberID, to, text string, o message.Options) domain.Key {
	w.t.Helper()
	return w.requestOf("text", n, to, text, o)
}

// requestOf is requestFrom of a type of message.
func (w *world) requestOf(kind string, n domain.NumberID, to, text string, o message.Options) domain.Key {
	w.t.Helper()
	k := message.OutgoingKey("ten_"+domain.TenantID(n), n, domain.OutgoingID("ten", ""))
	e, err := domain.NewEvent(k, time.Now(), "test", &message.SendRequested{Type: kind, Options: o,
		SendWords: message.SendWords{To: to, Content: []byte(`{"type":"text","text":{"body":"` + text + `"}}`)}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.log.Append(w.t.Context(), e, domain.First()); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// awaitNoBacklog returns when every backlog is closed.
func (w *world) awaitNoBacklog() {
	w.t.Helper()
	patience := time.After(30 * time.Second)
	for open, _ := w.backlogs.count(); open > 0; open, _ = w.backlogs.count() {
		select {
		case <-w.backlogs.closed:
		case <-patience:
			w.t.Fatalf("%d backlogs stay open", open)
		}
	}
}

// crash is a log that a process loses from one moment on: what it wanted to
// record then is not recorded.
type crash struct {
	*logtest.Memory

	mu   sync.Mutex
	gone bool
}

func (c *crash) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return 0, domain.Errorf(domain.Unavailable, nil, "the process is dead")
	}
	return c.Memory.Append(ctx, e, x)
}

func (c *crash) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

// watched says after the fact how a lane behaved.
type watched struct {
	w *world

	mu    sync.Mutex
	calls int
	order map[string][]domain.MessageID // per number and recipient: the messages of all calls, in order
	most  int                           // jobs a lane had at once
	d     *Dispatcher
}

func (s *watched) send(c cloudapi.Call) cloudapi.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	to := string(c.Number) + " " + c.To
	s.order[to] = append(s.order[to], c.Message)
	s.d.mu.Lock()
	for l := range s.d.lanes {
		l.mu.Lock()
		s.most = max(s.most, len(l.held)+l.coming)
		l.mu.Unlock()
	}
	s.d.mu.Unlock()
	if (s.calls+c.Attempt)%5 == 0 {
		return refusedFor(true)
	}
	return accepted(c)
}

// Whatever comes when, and whenever the process dies: no request of a number
// with a backlog is lost or called twice under one attempt number, none
// overtakes another of its priority to the same person, no lane has more jobs
// than it may, and in the end there is no backlog any more. Where templates are
// restricted now and then, neither they nor the others overtake their like.
func TestBacklogKeepsEverything(t *testing.T) {
	t.Parallel()
	seeded(t, 6, func(t *testing.T, rng *rand.Rand, run int) { keepsEverything(t, rng, run%3 == 0, run%2 == 0) })
}

func keepsEverything(t *testing.T, rng *rand.Rand, calm, restricted bool) {
	w := newWorld(t)
	numbers := inLane(3, 4)
	s := &watched{w: w, order: map[string][]domain.MessageID{}}
	w.provider.answer(s.send)
	start := func() (kill func()) {
		d := w.small(w.dispatcher())
		log := &crash{Memory: w.log}
		d.Config.Log, d.Policy.MaxAttempts, d.Policy.Drain = log, 1000, 0
		d.Config.Gate = templateGate{w.gate}
		d.Policy.UnknownWait = time.Millisecond
		s.mu.Lock()
		s.d = d
		s.mu.Unlock()
		stop := w.run(d)
		return func() { log.kill(); stop() }
	}
	kill := start()
	type line struct{ to, priority, kind string }
	want := map[line][]domain.MessageID{}
	var keys []domain.Key
	for i := range 400 {
		n := numbers[min(rng.IntN(6), 3)] // the last one is busiest
		to := fmt.Sprintf("+1415555%04d", rng.IntN(8))
		o := message.Options{Priority: []string{message.Bulk, message.Bulk, ""}[rng.IntN(3)]}
		in := line{to: string(n) + " " + to, priority: o.Priority}
		kind := []string{"text", message.Template}[rng.IntN(2)]
		if restricted {
			in.kind = kind
		}
		k := w.requestOf(kind, n, to, fmt.Sprint(i), o)
		keys = append(keys, k)
		want[in] = append(want[in], domain.MessageID(k.ID))
		switch rng.IntN(100) {
		case 0, 1:
			if !calm {
				kill()
				kill = start()
			}
		case 2, 3, 4: // let it catch up
			w.gate.set(false)
			w.await(k, message.TypeSendAccepted)
		case 5, 6, 7, 8:
			w.gate.set(restricted)
		}
	}
	w.gate.set(false)
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.awaitNoBacklog()
	kill()
	w.calledOnce()
	s.mu.Lock()
	defer s.mu.Unlock()
	for in, ids := range want {
		called := slices.DeleteFunc(slices.Clone(s.order[in.to]), func(id domain.MessageID) bool { return !slices.Contains(ids, id) })
		if called = slices.Compact(called); !slices.Equal(called, ids) { // what is refused is called again
			t.Errorf("%v: called %v, accepted %v", in, called, ids)
		}
	}
	if _, opened := w.backlogs.count(); opened == 0 || s.most > 12+2*len(numbers)+w.work.pending {
		t.Errorf("%d backlogs were opened, and a lane had up to %d jobs; want some, and at most 12, one for each number and priority, and what is not acknowledged", opened, s.most)
	}
}

// gates are closed for some numbers, for good.
type gates map[domain.NumberID]bool

func (g gates) Open(n domain.NumberID, _ bool) bool { return !g[n] }

func (g gates) Pass(ctx context.Context, n domain.NumberID, _ bool) error {
	if g[n] {
		<-ctx.Done()
	}
	return ctx.Err()
}

// What waits for a backlog while the backlogs have to be looked up again keeps
// its order.
func TestLookKeepsTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set(true) // nobody goes
	d := w.dispatcher()
	n := inLane(3, 1)[0]
	var want []domain.Position
	for range 8 {
		w.requestFrom(n, "+14155550100", "x", message.Options{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := d.begin(3, ctx, ctx)
	defer l.end()
	defer cancel()
	l.look()
	l.mu.Lock()
	for _, e := range w.log.All() {
		l.line(lineOf(e), e.Key.Tenant).overflow[e.Position] = w.work.delivery(e)
		want = append(want, e.Position)
	}
	l.mu.Unlock()
	l.look()
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []domain.Position
	for _, chain := range l.chains {
		for _, j := range chain {
			got = append(got, j.event.Position)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the chain is %v, want %v", got, want)
	}
}

// readers counts who looks up a message at once, and lets nobody through until some
// do.
type readers struct {
	*logtest.Memory
	enough chan struct{} // closed when so many as may look up something do

	mu        sync.Mutex
	now, most int
}

func (c *readers) Load(ctx context.Context, k domain.Key) ([]domain.Event, error) {
	c.mu.Lock()
	if c.now++; c.now == looksAtOnce {
		select {
		case <-c.enough:
		default:
			close(c.enough)
		}
	}
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
	}()
	<-c.enough
	return c.Memory.Load(ctx, k)
}

// What a portion of a backlog holds is not looked up all at once.
func TestBacklogIsLookedUpSparingly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := inLane(3, 1)[0]
	var keys []domain.Key
	for i := range 300 {
		keys = append(keys, w.requestFrom(n, fmt.Sprintf("+1415555%04d", i), "x", message.Options{}))
	}
	if _, err := w.backlogs.OpenBacklog(t.Context(), Backlog{Tenant: "ten_" + domain.TenantID(n), Number: n, From: 1}); err != nil {
		t.Fatal(err)
	}
	d := w.dispatcher()
	log := &readers{Memory: w.log, enough: make(chan struct{})}
	d.Config.Log = log
	w.run(d)
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.most > looksAtOnce {
		t.Errorf("%d messages were looked up at once, want %d at most", log.most, looksAtOnce)
	}
}

// What is handed out again at the moment its job is done, is acknowledged at
// once, and not after the ack wait when it is handed out once more.
func TestHandedOutAgainAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.request("+14155550100", "x")
	e := w.log.All()[0]
	ctx, cancel := context.WithCancel(t.Context())
	l := w.d.begin(domain.Lane(number), ctx, ctx)
	defer l.end()
	defer cancel()
	acked := make(chan struct{})
	again := w.work.delivery(e)
	again.Deliveries = 2
	again.Done = func() error { close(acked); return nil }
	first := w.work.delivery(e)
	first.Done = func() error {
		if l.mu.TryLock() { // nothing keeps it from coming before the job is forgotten
			l.mu.Unlock()
			l.take(again)
		} else {
			l.working.Go(func() { l.take(again) })
		}
		return nil
	}
	l.take(first)
	select {
	case <-acked:
	case <-time.After(30 * time.Second):
		t.Fatal("it was not acknowledged")
	}
	w.calledOnce()
}

// However many numbers of a lane stand still with more than their share waiting,
// paused or with calls that hang, another one of the lane gets through, with
// more than fits beside them.
func TestNobodyWaitsForThoseWhoStandStill(t *testing.T) {
	t.Parallel()
	const still = 16
	for name, paused := range map[string]bool{"paused": true, "hanging": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			numbers := inLane(3, still+1)
			d := w.small(w.dispatcher())
			closed, hanging := gates{}, map[domain.NumberID]bool{}
			for _, n := range numbers[:still] {
				closed[n], hanging[n] = paused, !paused
			}
			d.Config.Gate = closed
			release := make(chan struct{})
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				if hanging[c.Number] {
					<-release
				}
				return accepted(c)
			})
			stop := w.run(d)
			defer stop()
			defer close(release)
			for _, n := range numbers[:still] {
				for i := range 10 {
					w.requestFrom(n, fmt.Sprintf("+1415555%04d", i), "x", message.Options{})
				}
			}
			for i := range 30 {
				k := w.requestFrom(numbers[still], fmt.Sprintf("+1415556%04d", i), "x", message.Options{})
				w.await(k, message.TypeSendAccepted)
			}
		})
	}
}

// shut is a gate that is closed for some numbers, for ever.
type shut []domain.NumberID

func (s shut) Open(n domain.NumberID, _ bool) bool { return !slices.Contains(s, n) }

func (s shut) Pass(ctx context.Context, n domain.NumberID, _ bool) error {
	if s.Open(n, false) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// A paused number with more waiting than its lane can be handed holds up no
// other number of the lane.
func TestPausedNumberHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ns := inLane(3, 2)
	d := w.small(w.dispatcher())
	d.Gate = shut{ns[0]}
	var paused, others []domain.Key
	for i := range 100 {
		paused = append(paused, w.requestFrom(ns[0], fmt.Sprintf("+1415555%04d", i), "x", message.Options{}))
	}
	for i := range 10 {
		others = append(others, w.requestFrom(ns[1], fmt.Sprintf("+1415555%04d", i), "x", message.Options{}))
	}
	stop := w.run(d)
	for _, k := range others {
		w.await(k, message.TypeSendAccepted)
	}
	stop()
	for _, k := range paused {
		wantTypes(t, w, k, message.TypeSendRequested)
	}
	w.run(w.small(w.dispatcher())) // resumed
	for _, k := range paused {
		w.await(k, message.TypeSendAccepted)
	}
	w.awaitNoBacklog()
}

// While the calls of one tenant hang, one who was quiet is sent at once: they
// hold half of the process's calls and their share of the lane.
func TestHangingMetaHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ns := inLane(3, 2)
	hang := make(chan struct{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Number == ns[0] {
			<-hang
		}
		return accepted(c)
	})
	d := w.small(w.dispatcher())
	d.turns.free, d.turns.policy.Calls = 4, 4
	var hanging []domain.Key
	for i := range 50 {
		hanging = append(hanging, w.requestFrom(ns[0], fmt.Sprintf("+1415555%04d", i), "x", message.Options{}))
	}
	hangs := func() (n int) {
		for _, c := range w.provider.made() {
			if c.Number == ns[0] {
				n++
			}
		}
		return n
	}
	w.run(d)
	w.until("two calls to hang", func() bool { return hangs() == 2 })
	for i := range 10 {
		w.await(w.requestFrom(ns[1], fmt.Sprintf("+1415555%04d", i), "x", message.Options{}), message.TypeSendAccepted)
	}
	if n := hangs(); n != 2 {
		t.Errorf("%d of 4 calls hang, want 2", n)
	}
	close(hang)
	for _, k := range hanging {
		w.await(k, message.TypeSendAccepted)
	}
}

// Behind a backlog of what is bulk, asked for so or redriven, an interactive
// message of the same number is sent at once, also to a person to whom a bulk
// one is being sent at this moment; and of the bulk ones nothing is lost.
func TestInteractiveOvertakesABacklog(t *testing.T) {
	t.Parallel()
	for name, redriven := range map[string]bool{"requests": false, "redrives": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := inLane(3, 1)[0]
			d := w.small(w.dispatcher())
			hang, stop := context.WithCancel(t.Context())
			defer stop()
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				if string(c.Content) != `{"type":"text","text":{"body":"urgent"}}` {
					<-hang.Done()
				}
				return accepted(c)
			})
			var bulk []domain.Key
			for i := range 100 {
				o := message.Options{Priority: message.Bulk}
				if redriven {
					o.Priority = ""
				}
				k := w.requestFrom(n, fmt.Sprintf("+1415555%04d", i), "bulk", o)
				if redriven {
					w.append(k, &message.SendAttempted{Attempt: 1})
					w.append(k, &message.SendRefused{Attempt: 1})
					w.append(k, &message.SendDeadLettered{Attempts: 1})
					for at := range w.state(k).Last { // so far the lane is done with it
						if e := w.log.All()[at]; e.Key == k {
							w.work.finish(e.Position, "")
						}
					}
					w.append(k, &message.SendRedriven{By: "test"})
				}
				bulk = append(bulk, k)
			}
			w.run(d)
			select {
			case <-w.backlogs.opens:
			case <-time.After(30 * time.Second):
				t.Fatal("no backlog was opened")
			}
			for i := range 30 { // more than fit in memory
				k := w.requestFrom(n, fmt.Sprintf("+1415555%04d", i), "urgent", message.Options{})
				w.await(k, message.TypeSendAccepted)
			}
			for _, k := range bulk {
				if w.state(k).Accepted {
					t.Fatal("a bulk message was sent")
				}
			}
			stop()
			for _, k := range bulk {
				w.await(k, message.TypeSendAccepted)
			}
			w.awaitNoBacklog()
		})
	}
}

// Two processes that both believe to own a lane with backlogs lose nothing and
// call no attempt twice.
func TestTwoOwnersOfABacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ns := inLane(3, 2)
	a, b := w.small(w.dispatcher()), w.small(w.dispatcher())
	for _, d := range []*Dispatcher{a, b} {
		// Each waits so long for the other's attempts, and all behind them to the
		// same person with it: several times within the patience of the test.
		d.Policy.Patience, d.Policy.MaxAttempts = 2*time.Second, 1000
		d.advanceEvery = 5 * time.Millisecond // they take the backlogs from each other
	}
	s := &watched{w: w, order: map[string][]domain.MessageID{}, d: a}
	w.provider.answer(s.send)
	w.run(a)
	w.run(b)
	var keys []domain.Key
	for i := range 200 {
		keys = append(keys, w.requestFrom(ns[i%2], fmt.Sprintf("+1415555%04d", i%20), "x", message.Options{}))
	}
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.calledOnce()
}

// A message that makes this build panic is dead-lettered, and the lane goes on.
func TestPoisonIsDeadLettered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Nanosecond
	poison := w.request("+14155550100", "poison")
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if string(c.Message) == poison.ID {
			panic("no such thing")
		}
		return accepted(c)
	})
	next := w.request("+14155550100", "next")
	w.run(w.d)
	var f message.SendDeadLettered
	if err := w.await(poison, message.TypeSendDeadLettered).Decode(&f); err != nil || f.Reason != "poison" {
		t.Errorf("dead-lettered as %+v, %v", f, err)
	}
	w.await(next, message.TypeSendAccepted)
	if n := w.d.turns.calls(); n != 0 {
		t.Errorf("%d calls are still counted", n)
	}
}
