package dispatch

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// bucket is a token bucket, told by the time at which it is full again. The
// zero value is full.
type bucket struct{ full time.Time }

// ready is when it holds a token, if one comes every so often and so many fit.
func (b bucket) ready(every time.Duration, burst int) time.Time {
	return b.full.Add(-time.Duration(burst-1) * every)
}

func (b *bucket) take(every time.Duration, now time.Time) {
	if now.After(b.full) {
		b.full = now
	}
	b.full = b.full.Add(every)
}

// queue is who waits to call from a number, and its pace.
type queue struct {
	number domain.NumberID
	tenant domain.TenantID

	interactive, bulk []*waiter
	crowded           int  // waiters whose pair may not talk yet; they are not in the queue
	ready             bool // it is among the ready numbers of its tenant
	resting           bool // it waits for the clock

	calls  bucket
	until  time.Time // nothing before it
	slow   float64   // its speed when it was last slowed down, of 1
	slowed time.Time // zero: never
	told   time.Time // when somebody was told that it is held up; zero: never
}

func (q *queue) push(w *waiter) {
	if w.bulk {
		q.bulk = append(q.bulk, w)
	} else {
		q.interactive = append(q.interactive, w)
	}
}

// pop takes who is next; nobody still waits for those who left.
func (q *queue) pop() *waiter {
	for _, line := range []*[]*waiter{&q.interactive, &q.bulk} {
		for len(*line) > 0 {
			w := (*line)[0]
			(*line)[0] = nil
			*line = (*line)[1:]
			if w.state == waiting {
				return w
			}
		}
	}
	return nil
}

func (q *queue) waiting() int { return len(q.interactive) + len(q.bulk) }

func (q *queue) rest(until time.Time) {
	if until.After(q.until) {
		q.until = until
	}
}

// speed is how much of its rate a number may use: less after a refusal, and
// more with every second since.
func (q *queue) speed(now time.Time) float64 {
	if q.slowed.IsZero() {
		return 1
	}
	return min(1, q.slow+(1-q.slow)*float64(now.Sub(q.slowed))/float64(recovery))
}

// every is the time between two calls.
func (q *queue) every(perSecond int, now time.Time) time.Duration {
	return time.Duration(float64(time.Second) / (float64(perSecond) * q.speed(now)))
}

// readyAt is when the number may call next.
func (q *queue) readyAt(perSecond int, now time.Time) time.Time {
	if perSecond <= 0 {
		return q.until
	}
	burst := max(1, int(float64(perSecond)*q.speed(now))/numberBurst)
	return latest(q.until, q.calls.ready(q.every(perSecond, now), burst))
}

func (q *queue) take(perSecond int, now time.Time) {
	if perSecond > 0 {
		q.calls.take(q.every(perSecond, now), now)
	}
}

// idle reports whether forgetting the number changes nothing.
func (q *queue) idle(now time.Time) bool {
	return q.waiting() == 0 && q.crowded == 0 && !q.ready && !q.resting &&
		!q.calls.full.After(now) && !q.until.After(now) && q.speed(now) == 1 && now.Sub(q.told) >= tellAgain
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// share is a tenant's part of the slots.
type share struct {
	tenant  domain.TenantID
	running int
	turn    uint64   // its last one
	numbers []*queue // that may call now, next first
	at      int      // place among the ready tenants; -1: none
}

// shares is a heap of tenants, the one whose turn it is first.
type shares []*share

func (h shares) Len() int { return len(h) }
func (h shares) Less(i, j int) bool {
	if h[i].running != h[j].running {
		return h[i].running < h[j].running
	}
	return h[i].turn < h[j].turn
}
func (h shares) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *shares) Push(x any) {
	s := x.(*share)
	s.at = len(*h)
	*h = append(*h, s)
}
func (h *shares) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last], s.at = nil, -1
	*h = (*h)[:last]
	return s
}

// alarm is a number, or one waiter of it, that is ready by the clock.
type alarm struct {
	at     time.Time
	number domain.NumberID
	tenant domain.TenantID
	waiter *waiter // nil: the number itself
}

// alarms is a heap, the earliest first.
type alarms []alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarms) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarms) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = alarm{}
	*h = (*h)[:last]
	return a
}
