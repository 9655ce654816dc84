package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Limits of a lane. (A test that wants to see them reached has smaller ones.)
const (
	// laneJobs bounds the jobs a lane has in memory. It is less than what the
	// lane's consumer hands out unacknowledged (2,000), so that there is always
	// room for the first messages of a number while its backlog is recorded.
	// Bulk leaves a fourth of it to what somebody waits for.
	laneJobs = 1800
	// numberJobs bounds those of one number and urgency, which have no more than
	// are still free either: a tenant who has much to send leaves room for others,
	// and so do several of them. At 1,000 a second it covers calls of half a
	// second.
	numberJobs = 500
	// soon is how far ahead a message may be to wait in memory for its time;
	// those further ahead wait in the schedule.
	soon = time.Minute
)

// lane is one tenure of a lane of the log in this process: it begins with what
// the log has, and leaves nothing behind that the log does not have.
type lane struct {
	d       *Dispatcher
	number  int
	stop    context.Context // take no more, wait no longer
	calls   context.Context // running calls and their outcomes
	working sync.WaitGroup  // whatever runs on its behalf

	mu     sync.Mutex
	held   map[handle]*job   // everything taken and not done
	chains map[string][]*job // per number, urgency and recipient, in order; the first is being worked
	lines  map[lineKey]*line
	coming int        // jobs that are being read from backlogs,
	taking int        // and from shelves
	parked []Delivery // came while the backlogs were looked up
	looks  int        // how often they were; what was begun before says nothing any more
	ready  bool       // they are known

	busy     map[string]bool       // chains that somebody works
	sleepers map[string][]*sleeper // by chain, in order; who is at work is the first
	asleep   map[string]*sleeper   // the same by message
	stowing  map[string]bool       // chains whose jobs are being put to sleep
	settling map[string]int        // messages that are being put there, by their copies under way
	awake    int                   // sleepers that were woken
}

// handle tells jobs apart: a request, its copy from the schedule, and that on a
// shelf are three.
type handle struct {
	at    domain.Position
	due   bool
	place uint64
}

func handleOf(v Delivery) handle { return handle{v.Event.Position, v.Due, v.Place} }

// job is one event to act on: a request, or a redrive.
type job struct {
	event  domain.Event
	key    domain.Key
	handle handle
	line   *line
	chain  string
	// template says that it asks for a template message, which may be put aside;
	// stays, that it was not, because the backlog begins after it.
	template, stays bool
	// owed says that it was read from the backlog: the lane's consumer may have
	// forgotten it, and only the backlog remembers it.
	owed    bool
	sendAt  time.Time
	expires time.Time
	bad     error    // why it cannot be read
	sleeper *sleeper // that was woken to be this job
	remains bool     // it does not sleep
	over    bool     // it was looked at because its time is over

	mu       sync.Mutex
	delivery Delivery // the newest one of this event
}

func (j *job) latest() Delivery {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.delivery
}

func (j *job) renew(v Delivery) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.delivery = v
}

// begin begins a tenure. What the lane is to work is handed to take; end
// returns when the tenure is over and nothing of it runs any more.
func (d *Dispatcher) begin(number int, tenure, calls context.Context) *lane {
	l := &lane{d: d, number: number, stop: tenure, calls: calls,
		held: map[handle]*job{}, chains: map[string][]*job{}, lines: map[lineKey]*line{},
		busy: map[string]bool{}, sleepers: map[string][]*sleeper{}, asleep: map[string]*sleeper{}, stowing: map[string]bool{}, settling: map[string]int{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes[l] = true
	l.working.Go(l.look)
	l.working.Go(l.every(d.HoldEvery, l.holdAll))
	l.working.Go(l.every(d.advanceEvery, l.advanceAll))
	l.working.Go(l.every(d.expireEvery, l.expireSome))
	l.working.Go(l.every(shelfLook, l.lookAtShelves))
	l.working.Go(l.every(d.wakeEvery, l.wakeAll))
	return l
}

func (l *lane) end() {
	l.working.Wait()
	l.endSleep()
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	delete(l.d.lanes, l)
}

// every repeats f until the tenure ends.
func (l *lane) every(d time.Duration, f func()) func() {
	return func() {
		for l.d.Clock.Sleep(l.stop, d) == nil {
			f()
		}
	}
}

// holdAll tells the log that held work goes on.
func (l *lane) holdAll() {
	l.mu.Lock()
	held := make([]*job, 0, len(l.held))
	for _, j := range l.held {
		held = append(held, j)
	}
	l.mu.Unlock()
	for _, j := range held {
		_ = j.latest().Hold() // when it fails the event comes again, and take knows it
	}
}

// take accepts one delivery; it does not block.
func (l *lane) take(v Delivery) {
	switch {
	case v.Err == nil:
	case domain.KindOf(v.Err) == domain.Unavailable: // not now: it comes again after the ack wait
		return
	default:
		l.working.Go(func() {
			if l.bury(v, v.Err) {
				l.reject(v)
			}
		})
		return
	}
	switch v.Event.Type {
	case message.TypeSendRequested, message.TypeSendRedriven:
	case message.TypeSendCancelled:
		l.working.Go(func() { l.forget(v) })
		return
	default: // outcomes of this very lane: nothing to act on
		l.finish(v)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ready {
		l.parked = append(l.parked, v)
		return
	}
	l.place(v)
}

// newJob is the job of a delivery, and what it asks for.
func newJob(n *line, v Delivery) (j *job, asked message.Options) {
	j = &job{event: v.Event, key: v.Event.Key, line: n, bad: v.Err, handle: handleOf(v), delivery: v, template: asksTemplate(v.Event)}
	j.chain, asked = readUp(v.Event)
	j.sendAt, j.expires = asked.SendAt, asked.ExpiresAt
	return j, asked
}

// admit makes a delivery a job of its line. The caller holds the lock.
func (l *lane) admit(n *line, v Delivery, owed bool) {
	j, asked := newJob(n, v)
	j.owed = owed
	if v.Due && l.over(asked) {
		j.chain, j.remains = alone(v.Event), true // nobody is sent anything, so nobody waits
	}
	l.held[j.handle] = j
	n.add(j)
	ahead := j.sendAt.Sub(l.d.Clock.Now())
	if ahead <= 0 {
		l.join(j)
		return
	}
	// It has no place among its neighbours before its time has come.
	l.working.Go(func() {
		if ahead > soon && !v.Due {
			l.postpone(j)
			return
		}
		if l.d.Clock.Sleep(l.stop, j.sendAt.Sub(l.d.Clock.Now())) == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.join(j)
		}
	})
}

// readUp names the chain of an event, and what is asked for: messages of one
// number and urgency to one person are worked in order. Those of the other
// urgency have a chain of their own, so that nothing interactive waits for what
// is bulk and in its backoff. A redrive comes long after its neighbours and has
// no place among them.
func readUp(e domain.Event) (chain string, asked message.Options) {
	chain = alone(e)
	defer func() { _ = recover() }() // whatever it holds: working it tells
	var r message.SendRequested
	if e.Type == message.TypeSendRequested && e.Decode(&r) == nil {
		return string(e.Key.Number) + " " + r.Priority + " " + r.Line(e.Key.ID), r.Options
	}
	return chain, asked
}

// alone is the chain of what has no place among its neighbours.
func alone(e domain.Event) string { return e.Type + " " + e.Key.ID }

// postpone hands a request to the schedule, which hands it out again.
func (l *lane) postpone(j *job) {
	for l.stop.Err() == nil {
		err := l.schedule(j)
		if err == nil && j.handle.place > 0 {
			err = l.d.Schedule.Unshelve(l.stop, j.handle.place)
		}
		if err == nil {
			l.done(j, l.finish)
			return
		}
		l.d.Logger.Warn("dispatch: message not scheduled", "tenant", j.key.Tenant, "message_id", j.key.ID, "error", err.Error())
		_ = l.d.Clock.Sleep(l.stop, logRetry) // either way the loop knows
	}
}

// schedule hands a request to the schedule, unless it has ended already: who
// took it back meanwhile may have looked for a copy before there was one.
func (l *lane) schedule(j *job) error {
	if err := l.d.Schedule.Schedule(l.stop, j.latest(), j.sendAt); err != nil {
		return err
	}
	p := l.pursuit(j)
	if err := p.load(l.stop); err != nil || p.next().Do != message.Nothing {
		return err
	}
	return l.d.Schedule.Unschedule(l.stop, j.key)
}

// forget takes a cancelled message out of the schedule. When that does not
// succeed its end comes again after the ack wait. One that sleeps is woken, and
// keeps its copy until it has looked: somebody may have called, and not recorded
// what came of it.
func (l *lane) forget(v Delivery) {
	if err := l.d.Schedule.Unschedule(l.stop, v.Event.Key); err != nil {
		return
	}
	l.finish(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.asleep[v.Event.Key.ID]; s != nil {
		s.ended = true
		l.goOn(s.chain)
	}
}

// join puts a job at the end of its chain. The caller holds the lock.
func (l *lane) join(j *job) {
	l.chains[j.chain] = append(l.chains[j.chain], j)
	l.goOn(j.chain)
}

// work works a chain from its first job until it is empty.
func (l *lane) work(j *job) {
	for j != nil && l.stop.Err() == nil {
		if end := l.act(j); end != nil && l.clear(j) {
			l.done(j, end)
		}
		j = l.next(j)
	}
}

// act brings one job to its end, and returns what to tell its lane then, or nil
// when it is not done. Such a one is worked again: by the next owner of the lane,
// when it is handed out again, or when what was put aside is read.
func (l *lane) act(j *job) (end func(Delivery)) {
	err := j.bad
	if err == nil {
		for {
			err = l.d.pursue(l.stop, l.calls, j)
			if e, leaves := asLeave(err); leaves {
				if l.rest(j, e) {
					return nil
				}
				j.remains = true
			} else if !errors.Is(err, errAside) {
				break
			} else if l.putAside(j) {
				return nil
			}
		}
		if err == nil {
			return l.finish
		}
		if l.stop.Err() != nil {
			return nil
		}
		l.d.Logger.Error("dispatch: message cannot be worked", "tenant", j.key.Tenant, "message_id", j.key.ID,
			"position", uint64(j.event.Position), "error_kind", string(domain.KindOf(err)), "error", err.Error())
		if err = l.d.abandon(l.stop, l.calls, j, err); err == nil {
			return l.finish
		}
	}
	for l.stop.Err() == nil { // not even that: keep it out of the lane's way
		if l.bury(j.latest(), err) {
			return l.reject
		}
		if !j.owed && j.handle.place == 0 {
			return func(Delivery) {} // it is handed out again
		}
		_ = l.d.Clock.Sleep(l.stop, logRetry) // nobody hands it out again: it is tried until the tenure ends
	}
	return nil
}

// next returns the job after one in its chain, if it may go on.
func (l *lane) next(done *job) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	chain := done.chain
	rest := l.chains[chain][1:]
	if l.chains[chain] = rest; len(rest) == 0 {
		delete(l.chains, chain)
	}
	if len(rest) > 0 && len(l.sleepers[chain]) == 0 {
		return rest[0]
	}
	delete(l.busy, chain)
	l.goOn(chain)
	return nil
}

// done ends a job, whose newest delivery it tells so, and forgets it, which makes
// room. Both in one, so that what is handed out again is either that newest one,
// or no longer taken for the job's.
func (l *lane) done(j *job, end func(Delivery)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end(j.latest())
	delete(l.held, j.handle)
	j.line.remove(j)
	if j.sleeper != nil {
		l.awake--
		l.drop(j.sleeper)
	}
	l.tend(j.line)
}

func (l *lane) finish(v Delivery) {
	if err := v.Done(); err != nil {
		l.d.Logger.Debug("dispatch: acknowledgement lost", "position", uint64(v.Event.Position), "error", err.Error())
	}
}

// unreadable is why a delivery is rejected.
const unreadable = message.ReasonUnreadable

func (l *lane) reject(v Delivery) {
	if err := v.Reject(unreadable); err != nil {
		l.d.Logger.Debug("dispatch: rejection lost", "position", uint64(v.Event.Position), "error", err.Error())
	}
}

// bury dead-letters what cannot be read, so that its tenant sees it and the lane
// goes on without it: it is to be rejected then. When the log does not take that
// it returns false; it comes again after the ack wait.
func (l *lane) bury(v Delivery, cause error) bool {
	l.d.Logger.Error("dispatch: event cannot be read", "tenant", v.Event.Key.Tenant, "message_id", v.Event.Key.ID,
		"position", uint64(v.Event.Position), "error", cause.Error())
	ctx, cancel := context.WithTimeout(l.calls, domain.AppendTimeout)
	defer cancel()
	if err := l.d.Graveyard.Bury(ctx, v.Event.Key, v.Event.Key.ID+"-"+unreadable, v.Raw, unreadable); err != nil {
		return false
	}
	e, err := domain.NewEvent(v.Event.Key, l.d.Clock.Now(), actor, &message.SendDeadLettered{Reason: unreadable})
	if err != nil {
		return false
	}
	// A conflict says that the message went on after this event.
	if _, err := l.d.Log.Append(ctx, e, domain.After(v.Event.Position)); err != nil && !errors.Is(err, domain.ErrConflict) {
		return false
	}
	l.d.Meter.Add(domain.DeadLettered, 1, unreadable)
	return true
}
