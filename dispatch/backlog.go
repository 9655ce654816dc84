package dispatch

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// advanceEvery is how often it is recorded how far a backlog is worked off;
// after a kill that much is looked at once more.
const advanceEvery = 2 * time.Second

// gather is how long a lane gathers what a backlog covers before it makes sure
// of that and acknowledges all of it.
const gather = 20 * time.Millisecond

// lineKey names a line. What is interactive of a number and what is bulk stand in
// two, with a backlog each: behind a campaign in one line an interactive message
// would wait until all of it that came before was read.
type lineKey struct {
	number domain.NumberID
	bulk   bool
}

// lineOf names the line that what asks for work stands in.
func lineOf(e domain.Event) lineKey {
	return lineKey{e.Key.Number, message.AsksBulk(e.Type, e.Facts)}
}

// line is what a lane knows of one urgency of a number: how many of its jobs
// are in memory, and its backlog, if it has more than memory should hold.
//
// While a backlog is recorded the lane acknowledges what it hands out of the
// line without working it, and reads it from the log when there is room.
// These hold whenever nobody has the lane's lock:
//
//  1. What is acknowledged and not done is at or after stored.From, which is
//     durable. So whoever has the lane next finds it. (record and advance make
//     it so: they acknowledge what had come before they wrote the backlog, and
//     do not go past the oldest job or the cursor. A former owner's writing
//     fails, and it acknowledges nothing.)
//  2. What is not a job although it came, acknowledged or not, is at or after
//     cursor, and not after newest. So the reading finds it before the backlog
//     is closed. (place makes it so, read keeps it: it moves the cursor only
//     past what it has turned into jobs.)
//  3. What is at or after stored.From and before cursor is a job, or done. So
//     it is acknowledged when it is handed out once more. (read makes it so:
//     nothing else moves the cursor.)
//  4. Jobs of the line come into being in the order of the log, those whose
//     own copy of the schedule is due aside. So the chains are in order. (place
//     makes no job of what is behind something unread.)
type line struct {
	lineKey
	tenant domain.TenantID
	jobs   int               // in memory, done ones not counted
	owed   int               // of these, those read from the backlog
	order  []domain.Position // of these, ascending; those whose own copy of the schedule is due left out

	stored Backlog         // as it is recorded; without a version there is none
	cursor domain.Position // where reading goes on
	newest domain.Position // of what came and is left to the reading
	unsure bool            // a former owner may have acknowledged more, up to the end of the log
	// overflow waits, unacknowledged, for proof that a backlog of this lane
	// covers it: that one is recorded, or moved on.
	overflow map[domain.Position]Delivery

	age     time.Time // of the request that was read last
	reading bool      // at most one reading and
	writing bool      // one writing is under way
	closing bool      // and that is the last one
}

// open reports whether the backlog may take what is handed out.
func (n *line) open() bool { return n.stored.Version != 0 && !n.closing }

// behind reports whether something is left to the reading.
func (n *line) behind() bool { return n.unsure || n.newest >= n.cursor }

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

// room is how many more jobs a line may have.
func (l *lane) room(n *line) int {
	free := l.d.laneJobs - len(l.held) - l.coming
	if n.bulk {
		free -= l.d.laneJobs / 4
	}
	if n.jobs >= free {
		return 0
	}
	return min(l.d.numberJobs-n.jobs, (free-n.jobs+1)/2)
}

// place finds the place of a delivery: a job, or the backlog.
func (l *lane) place(v Delivery) {
	if j, ok := l.held[handleOf(v)]; ok { // handed out again: the newest handle counts
		j.renew(v)
		return
	}
	at, n := v.Event.Position, l.line(lineOf(v.Event), v.Event.Key.Tenant)
	if _, waits := n.overflow[at]; waits && !v.Due {
		n.overflow[at] = v
		return
	}
	switch {
	case v.Due: // it has its own consumer, which hands out no more than memory holds
		l.admit(n, v, false)
	case n.open() && at < n.stored.From:
		// What came too early to be read then, or is done, and comes again. It is
		// worked whatever the room, before what follows it to the same person: it
		// is not acknowledged, so there is no more of it than the lane hands out.
		l.admit(n, v, false)
	case n.open() && at < n.cursor: // (3)
		l.finish(v)
	case n.open() && (n.behind() || l.room(n) == 0): // (2)
		n.newest = max(n.newest, at)
		n.overflow[at] = v
		l.tend(n)
	case !n.open() && (len(n.overflow) > 0 || l.room(n) == 0): // (4)
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
	if n.open() && n.behind() {
		l.readOn(n)
	}
	switch {
	case n.writing:
	case n.open() && len(n.overflow) > 0:
		n.writing = true
		l.spawn(func(look int) { l.advance(n, look) })
	case n.open() && n.owed == 0 && !n.reading && !n.behind():
		n.writing, n.closing = true, true
		l.spawn(func(look int) { l.close(n, look) })
	case !n.open() && len(n.overflow) > 0:
		n.writing = true
		l.spawn(func(look int) { l.record(n, look) })
	case !n.open() && n.jobs == 0:
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
	from.From = n.cursor
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
	for _, v := range page {
		if _, held := l.held[handleOf(v)]; !held {
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

// done is the position before which nothing of the backlog is left. It does not
// go back for what came too early to be read.
func (n *line) done() domain.Position {
	at := n.cursor
	if oldest := n.oldest(); oldest != 0 {
		at = min(at, oldest)
	}
	return max(at, n.stored.From)
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

// add counts a job of the line, and remove forgets it.
func (n *line) add(j *job) {
	n.jobs++
	if j.owed {
		n.owed++
	}
	if !j.handle.due {
		i, _ := slices.BinarySearch(n.order, j.handle.at)
		n.order = slices.Insert(n.order, i, j.handle.at)
	}
}

func (n *line) remove(j *job) {
	n.jobs--
	if j.owed {
		n.owed--
	}
	if i, found := slices.BinarySearch(n.order, j.handle.at); found && !j.handle.due {
		n.order = slices.Delete(n.order, i, i+1)
	}
}

// oldest returns the position of the oldest job, or 0.
func (n *line) oldest() domain.Position {
	if len(n.order) == 0 {
		return 0
	}
	return n.order[0]
}

// look finds the backlogs of the lane, which are this owner's from then on.
// Until they are known nothing is taken: it may be behind one of them.
func (l *lane) look() {
	var stored []Backlog
	for {
		var err error
		if stored, err = l.d.Backlogs.Backlogs(l.stop, l.number); err == nil {
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
		n.stored, n.cursor, n.newest, n.unsure = Backlog{}, 0, 0, false
		n.reading, n.writing, n.closing = false, false, false
	}
	for _, b := range stored {
		n := l.line(lineKey{b.Number, b.Bulk}, b.Tenant)
		n.stored, n.cursor, n.unsure = b, b.From, true
	}
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
