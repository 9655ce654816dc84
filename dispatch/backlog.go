package dispatch

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// advanceEvery is how often it is recorded how far a backlog is worked off;
// after a kill that much is looked at once more.
const advanceEvery = 2 * time.Second

// gather is how long a lane gathers what a backlog covers before it makes sure
// of that and acknowledges all of it.
const gather = 20 * time.Millisecond

// line returns what is known of a line. The caller holds the lock, here and
// below.
func (l *lane) line(k lineKey, t domain.TenantID) *line {
	n := l.lines[k]
	if n == nil {
		n = &line{lineKey: k, tenant: t, overflow: map[domain.Position]Delivery{}}
		l.lines[k] = n
	}
	return n
}

// place finds the place of a delivery: a job, or the backlog.
func (l *lane) place(v Delivery) {
	if j, ok := l.held[handleOf(v)]; ok { // handed out again: the newest handle counts
		j.renew(v)
		return
	}
	if _, asked := readUp(v.Event); l.sleeps(v) && !(v.Due && l.over(asked)) {
		l.finish(v)
		return
	}
	at, n := v.Event.Position, l.line(lineOf(v.Event), v.Event.Key.Tenant)
	if _, waits := n.overflow[at]; waits && !v.Due {
		n.overflow[at] = v
		return
	}
	switch {
	case v.Due:
		l.placeDue(n, v)
	case n.open() && at < n.stored.From:
		// What came too early to be read then, or is done, and comes again. It is
		// worked whatever the room, before what follows it to the same person: it
		// is not acknowledged, so there is no more of it than the lane hands out.
		l.admit(n, v, false)
	case n.open() && at < n.cursor: // (3)
		l.finish(v)
	case n.open() && (n.behind() || l.room(n) == 0 || n.leaves(v)): // (2)
		n.newest = max(n.newest, at)
		n.overflow[at] = v
		l.tend(n)
	case !n.open() && (len(n.overflow) > 0 || l.room(n) == 0 || n.leaves(v)): // (4)
		n.overflow[at] = v
		l.tend(n)
	default:
		l.admit(n, v, false)
	}
}

// tend does what is next about a line's backlog.
func (l *lane) tend(n *line) {
	if l.stop.Err() != nil || !l.ready {
		return
	}
	l.tendShelf(n)
	if n.open() && n.behind() {
		l.readOn(n)
	}
	switch {
	case n.writing:
	case n.open() && len(n.overflow) > 0:
		n.writing = true
		l.spawn(func(look int) { l.advance(n, look) })
	case n.open() && n.owed == 0 && !n.reading && !n.behind() && n.aside == 0:
		n.writing, n.closing = true, true
		l.spawn(func(look int) { l.close(n, look) })
	case !n.open() && len(n.overflow) > 0:
		n.writing = true
		l.spawn(func(look int) { l.record(n, look) })
	case !n.open() && n.jobs == 0 && n.shelf.idle():
		delete(l.lines, n.lineKey)
	}
}

// spawn runs f beside the lane; look tells it later whether what it began with
// still counts.
func (l *lane) spawn(f func(look int)) {
	look := l.looks
	l.working.Go(func() { f(look) })
}

// readOn reads more of a backlog when half of the line's jobs are done. A line
// without any reads one even when the lane has no room: those who fill it
// may be held up for days, and nobody may wait for them.
func (l *lane) readOn(n *line) {
	most := l.room(n)
	if n.jobs == 0 {
		most = max(most, 1)
	}
	if n.reading || most < max(n.jobs, 1) {
		return
	}
	n.reading = true
	l.coming += most
	from := n.stored
	from.From, from.NoTemplates = n.cursor, n.aside != 0
	l.spawn(func(look int) { l.read(n, look, from, most) })
}

// ask repeats a question to the log until it is answered, or no longer of
// interest. What is not the log's absence is retried as well, and told: a
// number whose backlog cannot be read must not be passed over.
func (l *lane) ask(n *line, question func() error) (ok bool) {
	for {
		err := question()
		if err == nil || errors.Is(err, domain.ErrConflict) {
			if err != nil {
				l.d.Meter.Add(domain.FenceLost, 1)
				l.doubt()
			}
			return err == nil
		}
		pause := logRetry
		if domain.KindOf(err) != domain.Unavailable && l.stop.Err() == nil {
			l.d.Logger.Error("dispatch: a backlog cannot be worked", "tenant", n.tenant, "number_id", n.number, "bulk", n.bulk, "error", err.Error())
			pause = l.d.HoldEvery
		}
		if l.d.Clock.Sleep(l.stop, pause) != nil {
			return false
		}
	}
}

// record opens a backlog for a line that has more than its share, and
// acknowledges what waited for that. It begins with the oldest job of the
// line, so that the next owner of the lane has all of them in one order.
func (l *lane) record(n *line, look int) {
	l.mu.Lock()
	b := Backlog{Tenant: n.tenant, Number: n.number, Bulk: n.bulk, From: n.oldest()}
	for at := range n.overflow {
		if b.From == 0 || at < b.From {
			b.From = at
		}
	}
	l.mu.Unlock()
	ok := l.ask(n, func() (err error) {
		b.Version, err = l.d.Backlogs.OpenBacklog(l.stop, b)
		return err
	})
	l.conclude(n, look, ok, func() {
		n.stored, n.cursor, n.newest = b, b.From, 0
		n.aside = min(n.aside, b.From)
		for at, v := range n.overflow {
			delete(n.overflow, at)
			if at >= b.From {
				n.newest = max(n.newest, at)
				l.finish(v)
			} else {
				l.admit(n, v, false)
			}
		}
		l.d.Logger.Info("dispatch: a number has a backlog", "tenant", n.tenant, "number_id", n.number, "bulk", n.bulk, "position", uint64(b.From))
	})
}

// read turns the next part of a backlog into jobs.
func (l *lane) read(n *line, look int, from Backlog, most int) {
	var (
		page []Delivery
		next domain.Position
		end  bool
	)
	ok := l.ask(n, func() (err error) {
		page, next, end, err = l.d.Backlogs.ReadBacklog(l.stop, from, most)
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if look != l.looks {
		return
	}
	n.reading = false
	l.coming -= most
	if !ok {
		return
	}
	if n.cursor != from.From || from.NoTemplates && n.aside == 0 { // what was put aside comes first
		l.tend(n)
		return
	}
	for _, v := range page {
		if _, held := l.held[handleOf(v)]; !held && !n.leaves(v) && !l.sleeps(v) {
			l.admit(n, v, true)
		}
		n.age = v.Event.At
	}
	n.cursor = next
	if end { // whatever a former owner acknowledged was recorded before
		n.unsure = false
	}
	l.tend(n)
}

// close forgets a backlog of which nothing is left: all that was acknowledged
// was read, and all that was read is done (1, 2). What is handed out meanwhile
// is not acknowledged.
func (l *lane) close(n *line, look int) {
	b := n.stored // nobody writes it while it is being closed
	ok := l.ask(n, func() error { return l.d.Backlogs.CloseBacklog(l.stop, b) })
	l.conclude(n, look, ok, func() {
		n.stored, n.cursor, n.newest = Backlog{}, 0, 0
		l.d.Logger.Info("dispatch: a number has no backlog any more", "tenant", n.tenant, "number_id", n.number, "bulk", n.bulk)
	})
}

// conclude ends a writing.
func (l *lane) conclude(n *line, look int, ok bool, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if look != l.looks {
		return
	}
	n.writing, n.closing = false, false
	if ok {
		then()
		l.tend(n)
	}
}

// advanceAll records how far the backlogs are worked off.
func (l *lane) advanceAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.lines {
		if n.open() && !n.writing && n.done() > n.stored.From {
			n.writing = true
			l.spawn(func(look int) { l.advance(n, look) })
		}
	}
}

// advance records how far a backlog is worked off. That it succeeds proves that
// the backlog was this lane's and open when what is in the overflow had come:
// so that is covered, whoever takes the lane over, and is acknowledged.
func (l *lane) advance(n *line, look int) {
	if l.d.Clock.Sleep(l.stop, gather) != nil {
		return
	}
	l.mu.Lock()
	if look != l.looks {
		l.mu.Unlock()
		return
	}
	b := n.stored
	b.From = n.done()
	covered := slices.Collect(maps.Keys(n.overflow))
	l.mu.Unlock()
	ok := l.ask(n, func() (err error) {
		v, err := l.d.Backlogs.AdvanceBacklog(l.stop, b)
		if err == nil {
			b.Version = v
		}
		return err
	})
	l.conclude(n, look, ok, func() {
		n.stored = b
		for _, at := range covered {
			l.finish(n.overflow[at])
			delete(n.overflow, at)
		}
	})
}

// look finds the backlogs of the lane, which are this owner's from then on.
// Until they are known nothing is taken: it may be behind one of them.
func (l *lane) look() {
	var (
		stored   []Backlog
		shelves  []Shelf
		sleepers []*sleeper
	)
	for {
		var err error
		if stored, err = l.d.Backlogs.Backlogs(l.stop, l.number); err == nil {
			shelves, err = l.d.Schedule.Shelves(l.stop, l.number)
		}
		if err == nil {
			sleepers, err = l.listSleepers()
		}
		if err == nil {
			break
		}
		l.d.Logger.Warn("dispatch: backlogs cannot be looked up", "lane", l.number, "error", err.Error())
		if l.d.Clock.Sleep(l.stop, logRetry) != nil {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	l.ready, l.coming = true, 0
	var waiting []Delivery
	for _, n := range l.lines {
		for at, v := range n.overflow {
			waiting = append(waiting, v)
			delete(n.overflow, at)
		}
		n.stored, n.cursor, n.newest, n.aside, n.unsure = Backlog{}, 0, 0, 0, false
		n.reading, n.writing, n.closing = false, false, false
	}
	for _, b := range stored {
		n := l.line(lineKey{b.Number, b.Bulk}, b.Tenant)
		n.stored, n.cursor, n.unsure = b, b.From, true
	}
	l.findSleepers(sleepers)
	l.find(shelves)
	slices.SortFunc(waiting, func(a, b Delivery) int { return cmp.Compare(a.Event.Position, b.Event.Position) }) // (4)
	waiting = append(waiting, l.parked...)
	l.parked = nil
	for _, v := range waiting {
		l.place(v)
	}
	for _, n := range l.lines {
		l.tend(n)
	}
}

// doubt looks the backlogs up again: another process wrote one of them. Either
// the lane is about to be taken from this one, or it was another's for longer
// than that one knows.
func (l *lane) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ready {
		return
	}
	l.ready = false
	l.looks++
	l.working.Go(func() {
		if l.d.Clock.Sleep(l.stop, logRetry) == nil { // two who take it from each other do so slowly
			l.look()
		}
	})
}

// Backlogged returns how many backlogs are open in this process, of which a
// number may have two, and how old the oldest request is that was read from one
// last.
func (d *Dispatcher) Backlogged() (open int, age time.Duration) {
	now := d.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.lanes {
		l.mu.Lock()
		for _, n := range l.lines {
			if n.stored.Version == 0 {
				continue
			}
			if open++; !n.age.IsZero() {
				age = max(age, now.Sub(n.age))
			}
		}
		l.mu.Unlock()
	}
	return open, age
}
