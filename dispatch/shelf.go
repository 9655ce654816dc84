package dispatch

import (
	"errors"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

const (
	// shelfBatch is how many copies are put on a shelf, and made durable, at once.
	shelfBatch = 100
	// shelfLook is how often the shelves of a lane are looked for: a former owner
	// that did not know better may have put something there late.
	shelfLook = time.Minute
)

// shelf is what a lane knows of the shelf of a line: the due copies that came
// while their number was closed, or had no room, and were untouched. They are
// durable there, in order, and no longer the lane's consumer's. It is read as
// there is room, as soon as the number is open, and what is read stays there
// until it is done.
//
// A line's due copies are in order, also for the next owner of the lane: while
// anything is on the shelf, read or not, later ones go there too, and earlier
// ones never do.
type shelf struct {
	full   bool       // something is on it that was not read
	cursor uint64     // the place of what was read last
	first  uint64     // the order of what was first on it
	awaits uint64     // the order of an earlier copy that the lane will hand out, 0 for none
	coming []Delivery // to be put on it; the consumer holds them meanwhile
	puts   int        // how often something was

	due    int // jobs of the line that are due copies,
	placed int // and of these, those read from the shelf

	putting, reading, waiting bool // at most one of each is under way
}

// behind reports whether a later copy has its place behind others here.
func (s *shelf) behind() bool { return s.full || s.placed > 0 || len(s.coming) > 0 }

func (s *shelf) idle() bool { return !s.behind() && !s.putting && !s.reading }

func (s *shelf) count(j *job, by int) {
	if j.handle.due {
		s.due += by
	}
	if j.handle.place > 0 && j.sleeper == nil {
		s.placed += by
	}
}

// over reports whether the time of what was asked for is over.
func (l *lane) over(asked message.Options) bool {
	return !asked.ExpiresAt.IsZero() && !asked.ExpiresAt.After(l.d.Clock.Now())
}

// shelfOf names the shelf of a line.
func (n *line) shelfOf() Shelf { return Shelf{Tenant: n.tenant, Number: n.number, Bulk: n.bulk} }

// dueRoom is how many more due copies a line may have in memory: half of what it
// may have in all, so that neither they nor what was just requested wait for the
// other to end.
func (l *lane) dueRoom(n *line) int { return min(l.d.numberJobs/2-n.shelf.due, l.room(n)) }

// placeDue finds the place of a due copy: a job, or the shelf. The caller holds
// the lock.
func (l *lane) placeDue(n *line, v Delivery) {
	s := &n.shelf
	if i := slices.IndexFunc(s.coming, func(c Delivery) bool { return c.Event.Position == v.Event.Position }); i >= 0 {
		s.coming[i] = v // handed out again: the newest delivery counts
		return
	}
	if s.awaits > 0 && v.Order >= s.awaits {
		s.awaits = 0
	}
	_, asked := readUp(v.Event)
	switch {
	case l.over(asked) && l.works(v): // it finds out by itself
		l.finish(v)
	case l.over(asked), s.behind() && v.Order < s.first:
		l.admit(n, v, false)
	case s.behind() || l.dueRoom(n) <= 0 || !l.d.Gate.Open(n.number, false):
		if !s.behind() {
			s.first = v.Order
			l.d.Logger.Info("dispatch: due messages of a number are put aside", "tenant", n.tenant, "number_id", n.number, "bulk", n.bulk)
		}
		s.coming = append(s.coming, v)
	default:
		l.admit(n, v, false)
	}
	l.tend(n)
}

// works reports whether a copy of the same request is being worked.
func (l *lane) works(v Delivery) bool {
	chain, _ := readUp(v.Event)
	c := l.chains[chain]
	return len(c) > 0 && c[0].event.Position == v.Event.Position && c[0].handle.place > 0
}

// tendShelf does what is next about a line's shelf. The caller holds the lock.
func (l *lane) tendShelf(n *line) {
	s := &n.shelf
	if len(s.coming) > 0 && !s.putting {
		s.putting = true
		l.working.Go(func() { l.put(n) })
	}
	if !s.full || s.awaits > 0 || s.reading || s.waiting {
		return
	}
	if !l.d.Gate.Open(n.number, false) {
		s.waiting = true
		l.working.Go(func() { l.awaitOpen(n) })
		return
	}
	most := l.dueRoom(n)
	if n.jobs == 0 {
		most = max(most, 1) // nobody waits for those who fill the lane
	}
	if most < max(s.due, 1) {
		return
	}
	s.reading = true
	l.taking += most
	after := s.cursor
	l.working.Go(func() { l.takeDown(n, after, most) })
}

// awaitOpen goes on with a shelf once its number is open.
func (l *lane) awaitOpen(n *line) {
	if l.d.Gate.Pass(l.stop, n.number, false) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.shelf.waiting = false
	l.tend(n)
}

// put puts what is coming on the shelf, in order, and lets the lane's consumer
// forget it. What turns out to be touched becomes a job: what was tried of it is
// kept hot for as long as it is due, and not while it is on a shelf.
func (l *lane) put(n *line) {
	s := &n.shelf
	for {
		l.mu.Lock()
		batch := slices.Clone(s.coming[:min(len(s.coming), shelfBatch)])
		if len(batch) == 0 || l.stop.Err() != nil {
			s.putting = false
			l.tend(n)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		var on []bool
		if !l.ask(n, func() (err error) {
			on, err = l.shelve(n, batch)
			return err
		}) {
			continue
		}
		l.mu.Lock()
		for i := range batch {
			if v := s.coming[i]; on[i] {
				s.full = true
				l.finish(v)
			} else {
				l.admit(n, v, false)
			}
		}
		s.coming = s.coming[len(batch):]
		s.puts++
		l.mu.Unlock()
	}
}

// shelve puts copies on their shelf and reports which of them belong there. It
// looks at each after it is there: what ended it later will be in the log for as
// long as it is.
func (l *lane) shelve(n *line, due []Delivery) (on []bool, err error) {
	places, err := l.d.Schedule.Shelve(l.stop, n.shelfOf(), due)
	if err != nil {
		return nil, err
	}
	on = make([]bool, len(due))
	for i, v := range due {
		p := l.pursuit(&job{event: v.Event, key: v.Event.Key, delivery: v})
		err := p.load(l.stop)
		if l.stop.Err() != nil {
			return nil, l.stop.Err()
		}
		if on[i] = err == nil && p.state.Attempt == 0 && p.next().Do == message.Attempt; !on[i] {
			if err := l.d.Schedule.Unshelve(l.stop, places[i]); err != nil {
				return nil, err
			}
			continue
		}
		// Its end is recorded in time, however long it stays there.
		if over := p.state.Request.ExpiresAt; !over.IsZero() {
			if err := l.d.Schedule.Schedule(l.stop, v, over); err != nil {
				return nil, err
			}
		}
	}
	return on, nil
}

// pursuit is a view of a job's message for who does not work it.
func (l *lane) pursuit(j *job) *pursuit {
	return &pursuit{d: l.d, job: j, key: j.key, stop: l.stop, calls: l.calls}
}

// takeDown turns the next part of a shelf into jobs.
func (l *lane) takeDown(n *line, after uint64, most int) {
	s := &n.shelf
	l.mu.Lock()
	puts := s.puts
	l.mu.Unlock()
	var (
		page []Delivery
		end  bool
	)
	ok := l.ask(n, func() (err error) {
		page, end, err = l.d.Schedule.ReadShelf(l.stop, n.shelfOf(), after, most)
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	s.reading = false
	l.taking -= most
	if !ok {
		return
	}
	for _, v := range page {
		if _, held := l.held[handleOf(v)]; l.sleeps(v) {
			l.working.Go(func() { l.unpark(v.Event.Key, v.Place) })
		} else if !held {
			l.admit(n, v, false)
		}
		s.cursor = v.Place
	}
	if end && puts == s.puts && len(s.coming) == 0 {
		s.full = false
	}
	l.tend(n)
}

// clear takes a due copy that is done off its shelf, and out of the schedule,
// where it may wait for its end. It returns false when the tenure ended before.
func (l *lane) clear(j *job) bool {
	p := l.pursuit(j)
	err := p.persist(l.stop, func() error {
		if j.handle.due && !j.expires.IsZero() {
			if err := l.d.Schedule.Unschedule(l.stop, j.key); err != nil {
				return err
			}
		}
		if j.handle.place == 0 {
			return nil
		}
		return l.d.Schedule.Unshelve(l.stop, j.handle.place)
	})
	if err != nil && !errors.Is(err, l.stop.Err()) {
		l.d.Logger.Error("dispatch: a copy that is done stays where it is", "tenant", j.key.Tenant, "message_id", j.key.ID,
			"error_kind", string(domain.KindOf(err)), "error", err.Error())
	}
	return err == nil
}

// lookAtShelves finds what was put on shelves, or left on them, unknown to this
// owner of the lane.
func (l *lane) lookAtShelves() {
	shelves, err := l.d.Schedule.Shelves(l.stop, l.number)
	var sleepers []*sleeper
	if err == nil {
		sleepers, err = l.listSleepers()
	}
	if err != nil {
		return // it is looked for again
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready { // else that is under way
		l.findSleepers(sleepers)
		l.find(shelves)
	}
}

// find has shelves read from their beginnings. What is read already is known by
// its place. The caller holds the lock.
func (l *lane) find(shelves []Shelf) {
	for _, f := range shelves {
		n := l.line(lineKey{f.Number, f.Bulk}, f.Tenant)
		s := &n.shelf
		switch {
		case !s.behind():
			if s.first = f.First; s.due == 0 { // a new owner: what is older will be handed out, and comes first
				s.awaits = f.Older
			}
		case s.awaits > 0:
			s.awaits = f.Older
		}
		s.full = true
		if !s.reading {
			s.cursor = 0
		}
		l.tend(n)
	}
}
