package dispatch

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

const (
	// laneWait is the longest wait of a message in memory; one that waits longer
	// for its next step sleeps.
	laneWait = 30 * time.Second
	// laneSleepers bounds the sleepers of a lane, which it knows by some 300 B
	// each (messages). Past it they wait as jobs, in their number's share.
	laneSleepers = 10_000
	// wakeEvery is how often a lane looks whose sleep is over.
	wakeEvery = time.Second
	// wakeMost is how many of a lane may be awake whatever room their numbers have,
	// which those behind them may fill (messages).
	wakeMost = 100
	// triedLately is how long ago the first attempt of a message may be that goes
	// to sleep: what was recorded since stays hot while it sleeps.
	triedLately = 5 * time.Minute
	// listPage is how many sleepers are listed at once.
	listPage = 500
)

// leave says that a message has nothing to do for long.
type leave struct {
	until    time.Time // zero: until the gate is open
	gated    bool      // it waits for the gate,
	template bool      // as a template does
	since    domain.Position
	doubtful bool // a status after since ends the wait
}

func (*leave) Error() string { return "it has to wait" }

// leaves returns a leave when a message may sleep until its next step is due.
func (p *pursuit) leaves(next message.Step) *leave {
	now, j := p.d.Clock.Now(), p.job
	switch {
	case j.remains, j.event.Type != message.TypeSendRequested, p.state.Attempt == 0, next.Do == message.Doubt,
		next.NotBefore.Sub(now) <= p.d.laneWait,
		j.sleeper == nil && now.Sub(p.state.Begun) > triedLately,
		j.sleeper != nil && j.sleeper.watch != nil && j.sleeper.watch.noticed(): // woken to be proven
		return nil
	}
	e := &leave{until: next.NotBefore}
	e.since, e.doubtful = p.state.DoubtfulSince()
	return e
}

// leavesGate returns a leave when a message that slept finds its number closed.
func (p *pursuit) leavesGate() *leave {
	if p.job.sleeper == nil || p.job.remains {
		return nil
	}
	return &leave{gated: true, template: p.template(), until: p.state.Request.ExpiresAt}
}

// sleeper is a message that waits outside of memory: its copy is durable, and its
// lane's consumer and backlog are done with it. It keeps its place: whatever is to
// the same person and came after it, waits behind it and sleeps as well. They are
// known in the order in which they went to sleep, which is that of their places,
// so the next owner of the lane knows it too.
type sleeper struct {
	key   domain.Key
	line  lineKey
	at    domain.Position // of its request
	place uint64
	chain string
	leave
	watch   *inquiry
	job     *job // that works it
	waked   bool // or will
	ended   bool // it was taken back, and has to look
	expires time.Time
	told    bool // it was looked at because its time is over
}

// sleeps reports whether a delivery is of a message that sleeps, or is woken from
// it: its copy is durable. The caller holds the lock, here and below.
func (l *lane) sleeps(v Delivery) bool {
	s := l.asleep[v.Event.Key.ID]
	return s != nil && s.at == v.Event.Position && v.Event.Type == message.TypeSendRequested
}

// goOn works a chain: its first sleeper, if there is any, when its time has come,
// or else its first job.
func (l *lane) goOn(chain string) {
	switch {
	case l.busy[chain] || l.stop.Err() != nil:
	case len(l.sleepers[chain]) > 0:
		if s := l.sleepers[chain][0]; l.isOver(s) {
			l.wake(s)
		}
		l.stow(chain)
	case len(l.chains[chain]) > 0:
		j := l.chains[chain][0]
		l.busy[chain] = true
		l.working.Go(func() { l.work(j) })
	}
}

// isOver reports whether a sleep is over.
func (l *lane) isOver(s *sleeper) bool {
	switch {
	case s.ended, s.watch != nil && s.watch.noticed():
		return true
	case s.gated && l.d.Gate.Open(s.key.Number, s.template):
		return true
	case s.gated && s.until.IsZero():
		return false
	}
	return !s.until.After(l.d.Clock.Now())
}

// rest has a job sleep. It returns false when the lane has sleepers enough.
func (l *lane) rest(j *job, e *leave) bool {
	s := j.sleeper
	if s == nil {
		var ok bool
		if s, ok = l.park(j); !ok {
			return false
		}
		if s == nil {
			return true // the tenure is over
		}
	}
	if e.doubtful && s.watch == nil {
		s.watch = l.d.reconcile.watch(s.key, e.since)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.leave, s.job = *e, nil
	if j.sleeper != nil {
		l.awake--
	} else {
		l.settled(s.key.ID)
		l.settle(s, 0) // it was at work: it is before all
	}
	l.forgo(j)
	return true
}

// forgo forgets a job whose message sleeps.
func (l *lane) forgo(j *job) {
	if j.sleeper == nil {
		l.finish(j.latest())
		if j.handle.place > 0 {
			l.working.Go(func() { l.unpark(j.key, j.handle.place) })
		}
	}
	delete(l.held, j.handle)
	j.line.remove(j)
	l.tend(j.line)
}

// park makes a durable copy of a job's message. It returns false when the lane
// has sleepers enough, and no sleeper when the tenure ended.
func (l *lane) park(j *job) (s *sleeper, ok bool) {
	l.mu.Lock()
	if len(l.asleep)+len(l.settling) >= l.d.laneSleepers {
		l.mu.Unlock()
		return nil, false
	}
	l.settling[j.key.ID]++
	l.mu.Unlock()
	s = &sleeper{key: j.key, line: j.line.lineKey, at: j.event.Position, chain: j.chain, expires: j.expires}
	err := l.pursuit(j).persist(l.stop, func() (err error) {
		s.place, err = l.d.Schedule.Park(l.stop, j.latest())
		return err
	})
	if err == nil {
		return s, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled(j.key.ID)
	if l.stop.Err() != nil {
		return nil, true
	}
	return nil, false
}

// settled ends what park began for a message. Between the two nobody but who
// parks it judges its copies.
func (l *lane) settled(id string) {
	if l.settling[id]--; l.settling[id] == 0 {
		delete(l.settling, id)
	}
}

// settle makes a sleeper of what was parked, at a place in its chain. It may be
// one already, of a copy that another owner made, or that was found before it was
// taken back. So the new copy counts, which is there for certain; unless the other
// is being worked.
func (l *lane) settle(s *sleeper, at int) {
	if old := l.asleep[s.key.ID]; old != nil {
		spare := old.place
		if old.job != nil {
			spare = s.place
		}
		if old.place != s.place {
			l.working.Go(func() { l.unpark(s.key, spare) })
		}
		if old.job != nil {
			return
		}
		l.drop(old)
		at = min(at, len(l.sleepers[s.chain]))
	}
	l.sleepers[s.chain] = slices.Insert(l.sleepers[s.chain], at, s)
	l.asleep[s.key.ID] = s
}

// stow puts to sleep what waits in a chain behind a sleeper: it has no turn
// before that one, and is not to fill its number's share meanwhile.
func (l *lane) stow(chain string) {
	if l.stowing[chain] || l.stowable(chain) == nil {
		return
	}
	l.stowing[chain] = true
	l.working.Go(func() {
		for {
			l.mu.Lock()
			j := l.stowable(chain)
			if j == nil {
				delete(l.stowing, chain)
				l.goOn(chain)
				l.mu.Unlock()
				return
			}
			l.mu.Unlock()
			s, ok := l.park(j)
			l.mu.Lock()
			if s != nil {
				l.settled(s.key.ID) // the room it took is its own
			}
			switch {
			case s == nil:
				j.remains = j.remains || !ok
			case l.stowable(chain) == j:
				l.settle(s, len(l.sleepers[chain]))
				l.chains[chain] = slices.DeleteFunc(l.chains[chain], func(o *job) bool { return o == j })
				l.forgo(j)
			default: // its turn came
				l.working.Go(func() { l.unpark(s.key, s.place) })
			}
			l.mu.Unlock()
		}
	})
}

// stowable returns the first job of a chain that is to sleep behind others.
func (l *lane) stowable(chain string) *job {
	if len(l.sleepers[chain]) == 0 || l.stop.Err() != nil {
		return nil
	}
	for i, j := range l.chains[chain] {
		if i == 0 && l.busy[chain] {
			continue // it is at work
		}
		if j.remains || j.bad != nil || len(l.asleep)+len(l.settling) >= l.d.laneSleepers {
			return nil // nobody may overtake it
		}
		return j
	}
	return nil
}

// unpark takes back a copy that nobody needs. Should it stay, its message is
// looked at once more.
func (l *lane) unpark(k domain.Key, place uint64) {
	_ = l.pursuit(&job{key: k}).persist(l.stop, func() error { return l.d.Schedule.Unshelve(l.stop, place) })
}

// wake makes a job of a sleeper, if there is room.
func (l *lane) wake(s *sleeper) {
	if n := l.lines[s.line]; s.waked || l.awake >= wakeMost && (n == nil || l.room(n) <= 0) {
		return // it is tried again
	}
	s.waked = true
	l.awake++
	l.working.Go(func() {
		page, _, err := l.d.Schedule.Parked(l.stop, l.number, s.place-1, 1)
		l.mu.Lock()
		defer l.mu.Unlock()
		s.waked = false
		defer func() {
			if s.job == nil {
				l.awake--
			}
		}()
		switch {
		case err != nil || l.stop.Err() != nil || l.busy[s.chain] || l.asleep[s.key.ID] != s:
			return // it is tried again
		case len(page) == 0 || page[0].Place != s.place: // it ended
			l.drop(s)
			l.goOn(s.chain)
			return
		case domain.KindOf(page[0].Err) == domain.Unavailable:
			return
		}
		v := page[0]
		n := l.line(s.line, s.key.Tenant)
		j, _ := newJob(n, v)
		j.chain, j.sleeper, s.job = s.chain, s, j
		l.held[j.handle] = j
		n.add(j)
		l.chains[s.chain] = slices.Insert(l.chains[s.chain], 0, j)
		l.busy[s.chain] = true
		l.working.Go(func() { l.work(j) })
	})
}

// drop forgets a sleeper.
func (l *lane) drop(s *sleeper) {
	if l.asleep[s.key.ID] != s {
		return
	}
	delete(l.asleep, s.key.ID)
	if s.watch != nil {
		s.watch.close()
	}
	rest := slices.DeleteFunc(l.sleepers[s.chain], func(o *sleeper) bool { return o == s })
	if l.sleepers[s.chain] = rest; len(rest) == 0 {
		delete(l.sleepers, s.chain)
	}
}

// wakeAll wakes those whose sleep is over, the oldest first.
func (l *lane) wakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first []*sleeper
	for _, chain := range l.sleepers {
		first = append(first, chain[0])
	}
	slices.SortFunc(first, func(a, b *sleeper) int { return cmp.Compare(a.place, b.place) })
	for _, s := range first {
		l.goOn(s.chain)
	}
}

// listSleepers reads who sleeps in the lane.
func (l *lane) listSleepers() (all []*sleeper, err error) {
	for after := uint64(0); ; {
		page, end, err := l.d.Schedule.Parked(l.stop, l.number, after, listPage)
		if err != nil {
			return nil, err
		}
		for _, v := range page {
			s := &sleeper{key: v.Event.Key, line: lineOf(v.Event), at: v.Event.Position, place: v.Place}
			var asked message.Options
			s.chain, asked = readUp(v.Event)
			s.expires = asked.ExpiresAt
			all = append(all, s)
			after = v.Place
		}
		if end {
			return all, nil
		}
	}
}

// findSleepers takes over those who were put to sleep unknown to this owner of
// the lane. Each is looked at once: the copy does not say until when.
func (l *lane) findSleepers(all []*sleeper) {
	for _, s := range all {
		switch known := l.asleep[s.key.ID]; {
		case known == nil:
			l.sleepers[s.chain] = append(l.sleepers[s.chain], s)
			l.asleep[s.key.ID] = s
		case known.place != s.place && l.settling[s.key.ID] == 0: // two owners, or one that died in between, put it there
			l.working.Go(func() { l.unpark(s.key, s.place) })
		}
	}
}

// endSleep lets go of what watches for the sleepers of a tenure that is over.
func (l *lane) endSleep() {
	for _, s := range l.asleep {
		if s.watch != nil {
			s.watch.close()
		}
	}
}

// asLeave tells a leave from an error.
func asLeave(err error) (e *leave, ok bool) {
	ok = errors.As(err, &e)
	return e, ok
}
