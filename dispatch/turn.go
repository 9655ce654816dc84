package dispatch

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
)

// The pace of a number and of a pair (REFERENCE section 8). They are our
// guess; Meta's answers rule.
const (
	// numberBurst is the part of a second whose calls a number that was quiet
	// may make at once.
	numberBurst = 10
	// slowest bounds how far refusals slow a number down. Where they fall at
	// random, however fast it is, going ever slower would help nobody.
	slowest = 1.0 / 8
	// recovery is how long a number that was slowed down takes to be as fast
	// as before.
	recovery = time.Minute
	// slowAgain is the least time between two refusals that slow a number down:
	// the calls that were running then are refused for one and the same reason.
	slowAgain = time.Second
	// tellAgain is the least time between two notes that a number is held up.
	tellAgain = time.Minute
)

// claim asks for the right to make one call.
type claim struct {
	tenant domain.TenantID
	number domain.NumberID
	to     string
	bulk   bool
}

// pair names who talks to whom.
type pair struct {
	number domain.NumberID
	to     string
}

// turnstile lets calls through, one by one: at the pace of their number and
// their pair, and fairly where there are more of them than slots.
//
//   - A slot goes to the tenant with the fewest running calls, and of two to
//     the one whose last turn is longer ago. Every call is one turn, so equal
//     calls get equal shares, and slow ones are paid for by who makes them.
//   - A tenant has no more calls running than slots are free. So one whose
//     calls all hang leaves half of the slots, two leave a third, and there is
//     always room for one who was quiet.
//   - The numbers of a tenant take turns. Within a number the interactive go
//     before the bulk, each in the order they came.
//
// Its own memory is what waits, the numbers that are not rested, and the pairs
// whose bucket is not full: at most six seconds' worth of calls, but for those
// that use up their burst.
type turnstile struct {
	clock  domain.Clock
	rates  Rates
	policy Policy

	mu      sync.Mutex
	free    int // slots
	turns   uint64
	tenants map[domain.TenantID]*share
	ready   shares // tenants with a number that may call
	numbers map[domain.NumberID]*queue
	pairs   map[pair]bucket
	sweepAt int       // size of pairs and numbers together at which they are swept
	later   alarms    // what is ready by the clock
	looks   time.Time // when run looks again
	rouse   func()    // makes it look now
}

func newTurnstile(clock domain.Clock, rates Rates, p Policy) *turnstile {
	return &turnstile{clock: clock, rates: rates, policy: p, free: p.Calls, sweepAt: minSweep,
		tenants: map[domain.TenantID]*share{}, numbers: map[domain.NumberID]*queue{}, pairs: map[pair]bucket{}, rouse: func() {}}
}

// waiter is a claim that waits, or runs.
type waiter struct {
	claim
	granted chan struct{}
	state   waiterState
}

type waiterState int

const (
	waiting waiterState = iota
	running
	gone // its caller no longer waits
)

// wait returns when the call may be made; done is called after it. It returns
// the context's error when that ends first.
func (t *turnstile) wait(ctx context.Context, c claim) (done func(), err error) {
	w := t.enter(c)
	select {
	case <-w.granted:
	case <-ctx.Done():
		t.leave(w)
		return nil, ctx.Err()
	}
	return func() { t.leave(w) }, nil
}

func (t *turnstile) enter(c claim) *waiter {
	w := &waiter{claim: c, granted: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	q := t.queue(c.number, c.tenant)
	q.push(w)
	t.place(q, now)
	t.settle(now)
	return w
}

func (t *turnstile) leave(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.state == running {
		s := t.tenants[w.tenant]
		s.running--
		t.free++
		if s.at >= 0 {
			heap.Fix(&t.ready, s.at)
		}
		t.forget(w.tenant)
	}
	w.state = gone
	t.settle(t.clock.Now())
}

// heed slows down whoever Meta says is too fast. It returns whether somebody
// should be told: a number is held up, and nothing was said of it lately.
func (t *turnstile) heed(c claim, b cloudapi.Brake, wait time.Duration) (news bool) {
	if b == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	q := t.queue(c.number, c.tenant)
	switch b {
	case cloudapi.BrakePair: // its bucket is empty, and holds a token after the wait
		p := pair{c.number, c.to}
		empty := bucket{now.Add(wait + time.Duration(t.policy.PairBurst-1)*t.policy.PairEvery)}
		if empty.full.After(t.pairs[p].full) {
			t.pairs[p] = empty
		}
	case cloudapi.BrakeNumber:
		if now.Sub(q.slowed) >= slowAgain {
			q.slow, q.slowed = max(q.speed(now)/2, slowest), now
		}
		q.rest(now.Add(wait))
	case cloudapi.BrakeRest:
		q.rest(now.Add(wait))
	}
	if news = b != cloudapi.BrakePair && now.Sub(q.told) >= tellAgain; news {
		q.told = now
	}
	return news
}

// run watches the clock for those who wait for it.
func (t *turnstile) run(ctx context.Context) error {
	for {
		now := t.clock.Now()
		nap, rouse := context.WithCancel(ctx)
		t.mu.Lock()
		t.settle(now)
		t.looks = now.Add(time.Hour)
		if len(t.later) > 0 && t.later[0].at.Before(t.looks) {
			t.looks = t.later[0].at
		}
		t.rouse = rouse
		looks := t.looks
		t.mu.Unlock()
		_ = t.clock.Sleep(nap, looks.Sub(now)) // roused or in time
		rouse()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// settle lets through all who may go now. Whoever changes what is waited for
// calls it, under the lock.
func (t *turnstile) settle(now time.Time) {
	for len(t.later) > 0 && !t.later[0].at.After(now) {
		a := heap.Pop(&t.later).(alarm)
		q := t.queue(a.number, a.tenant)
		if a.waiter != nil {
			q.crowded--
			q.push(a.waiter)
		} else {
			q.resting = false
		}
		t.place(q, now)
	}
	for t.free > 0 && len(t.ready) > 0 && t.ready[0].running < t.free {
		t.admit(t.ready[0], now)
	}
	if len(t.later) > 0 && t.later[0].at.Before(t.looks) {
		t.looks = t.later[0].at
		t.rouse()
	}
}

// admit lets the next call of a tenant through, or finds that its next number
// has none yet.
func (t *turnstile) admit(s *share, now time.Time) {
	q := s.numbers[0]
	s.numbers, q.ready = s.numbers[1:], false
	perSecond := t.rates.PerSecond(q.number)
	if w := t.next(q, perSecond, now); w != nil {
		q.take(perSecond, now)
		if perSecond > 0 {
			p := pair{w.number, w.to}
			b := t.pairs[p]
			b.take(t.policy.PairEvery, now)
			t.pairs[p] = b
		}
		t.sweep(now)
		t.free--
		t.turns++
		s.running, s.turn = s.running+1, t.turns
		w.state = running
		close(w.granted)
	}
	t.place(q, now)
	if len(s.numbers) > 0 {
		heap.Fix(&t.ready, s.at)
		return
	}
	heap.Remove(&t.ready, s.at)
	t.forget(s.tenant)
}

// next takes the first waiter of a number whose pair may talk. Those whose
// pair may not, wait for the clock.
func (t *turnstile) next(q *queue, perSecond int, now time.Time) *waiter {
	if q.readyAt(perSecond, now).After(now) {
		return nil
	}
	for {
		w := q.pop()
		if w == nil {
			return nil
		}
		at := now
		if perSecond > 0 {
			at = t.pairs[pair{w.number, w.to}].ready(t.policy.PairEvery, t.policy.PairBurst)
		}
		if !at.After(now) {
			return w
		}
		q.crowded++
		heap.Push(&t.later, alarm{at: at, number: q.number, tenant: q.tenant, waiter: w})
	}
}

// place puts a number with waiters where it belongs: among the ready ones of
// its tenant, or before the clock.
func (t *turnstile) place(q *queue, now time.Time) {
	if q.ready || q.resting || q.waiting() == 0 {
		return
	}
	if at := q.readyAt(t.rates.PerSecond(q.number), now); at.After(now) {
		q.resting = true
		heap.Push(&t.later, alarm{at: at, number: q.number, tenant: q.tenant})
		return
	}
	s := t.tenants[q.tenant]
	if s == nil {
		s = &share{tenant: q.tenant, at: -1}
		t.tenants[q.tenant] = s
	}
	q.ready = true
	s.numbers = append(s.numbers, q)
	if s.at < 0 {
		heap.Push(&t.ready, s)
	}
}

// queue returns a number's queue.
func (t *turnstile) queue(n domain.NumberID, tenant domain.TenantID) *queue {
	q := t.numbers[n]
	if q == nil {
		q = &queue{number: n, tenant: tenant}
		t.numbers[n] = q
	}
	return q
}

func (t *turnstile) forget(id domain.TenantID) {
	if s := t.tenants[id]; s.running == 0 && len(s.numbers) == 0 {
		delete(t.tenants, id)
	}
}

// minSweep is the least number of entries worth sweeping.
const minSweep = 1024

// sweep forgets what is as if it had never been, whenever there is twice as
// much as the last sweep left.
func (t *turnstile) sweep(now time.Time) {
	if len(t.pairs)+len(t.numbers) < t.sweepAt {
		return
	}
	for p, b := range t.pairs {
		if !b.full.After(now) {
			delete(t.pairs, p)
		}
	}
	for n, q := range t.numbers {
		if q.idle(now) {
			delete(t.numbers, n)
		}
	}
	t.sweepAt = max(minSweep, 2*(len(t.pairs)+len(t.numbers)))
}

// Waiting counts the messages that wait for their turn, by what they wait for.
type Waiting struct {
	Number int // their number's pace
	Pair   int // the pace of number and recipient
	Slot   int // a running call to end
}

func (t *turnstile) waiting() (w Waiting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.numbers {
		w.Pair += q.crowded
		if q.ready {
			w.Slot += q.waiting()
		} else {
			w.Number += q.waiting()
		}
	}
	return w
}

func (t *turnstile) calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.policy.Calls - t.free
}
