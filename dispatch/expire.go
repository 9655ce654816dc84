package dispatch

import (
	"errors"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// What is over is never sent, and when its turn comes that is recorded. Who waits
// behind others that stand still is to learn it before: each expireEvery the jobs
// and the sleepers of a lane are looked through, and a part of one backlog that
// stands still, at most expirePages portions of the log.
const (
	expireEvery = 10 * time.Second
	expirePages = 10
	expirePage  = 500 // messages
)

// sweep is how far a backlog was looked through for what is over.
type sweep struct {
	at    domain.Position // where to go on; 0: at its beginning
	last  time.Time       // when a part of it was
	stood domain.Position // the cursor at that time, or when others were
}

// expireSome records of some of the messages in a backlog that stands still that
// they are over. It moves nothing: what is over is passed when it is read.
func (l *lane) expireSome() {
	for _, v := range l.overInMemory() {
		l.expire(v)
	}
	for _, s := range l.overAsleep() {
		page, _, err := l.d.Schedule.Parked(l.stop, l.number, s.place-1, 1)
		if err != nil {
			break // it is looked at again
		}
		s.told = true
		if len(page) > 0 && page[0].Place == s.place {
			l.expire(page[0])
		}
	}
	n, b := l.standing()
	if n == nil {
		return
	}
	for end, i := false, 0; i < expirePages && !end; i++ {
		page, next, over, err := l.d.Backlogs.ReadBacklog(l.stop, b, expirePage)
		if err != nil {
			return // whoever reads on says so, and again
		}
		for _, v := range page {
			l.expire(v)
		}
		if b.From, end = next, over; end {
			b.From = 0
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.sweep.at = b.From
}

// overInMemory returns what is over of the jobs, each once. The first of a chain
// finds out by itself; those behind it would when that one is done, which may
// wait for a pause to end.
func (l *lane) overInMemory() (over []Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.d.Clock.Now()
	for _, j := range l.held {
		if !j.over && !j.expires.IsZero() && !j.expires.After(now) && j.bad == nil {
			j.over = true
			over = append(over, j.latest())
		}
	}
	return over
}

// overAsleep returns what is over of the sleepers, who may be behind others.
func (l *lane) overAsleep() (over []*sleeper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.d.Clock.Now()
	for _, s := range l.asleep {
		if !s.told && !s.expires.IsZero() && !s.expires.After(now) {
			over = append(over, s)
		}
	}
	return over
}

// standing returns the line whose backlog stands still and was not looked through
// for longest, and where to go on with it; or nil.
func (l *lane) standing() (oldest *line, b Backlog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.lines {
		still := n.open() && (n.aside != 0 || n.cursor == n.sweep.stood)
		n.sweep.stood = n.cursor
		if still && (oldest == nil || n.sweep.last.Before(oldest.sweep.last)) {
			oldest = n
		}
	}
	if oldest == nil {
		return nil, b
	}
	now := l.d.Clock.Now()
	oldest.sweep.last = now
	b = oldest.stored
	b.From, b.Expired = max(oldest.sweep.at, b.From), now
	return oldest, b
}

// expire records that a message is over, unless the log says that something else
// comes first. Whoever works it at the same time meets the fence.
func (l *lane) expire(v Delivery) {
	var err error
	defer poisoned(&err) // its turn tells
	p := l.pursuit(&job{event: v.Event, key: v.Event.Key, delivery: v})
	for v.Err == nil {
		if err = p.load(l.stop); err != nil {
			return
		}
		next := p.next()
		if _, doubtful := p.state.DoubtfulSince(); doubtful || next.Do != message.Expire || next.NotBefore.After(l.d.Clock.Now()) {
			return
		}
		if err = p.append(l.stop, &message.SendExpired{Attempts: p.state.Attempt}); !errors.Is(err, domain.ErrConflict) {
			return
		}
	}
}
