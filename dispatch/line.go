package dispatch

import (
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

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
//     do not go past the oldest job, the cursor, or what was put aside. A former
//     owner's writing fails, and it acknowledges nothing.)
//  2. What is not a job although it came, acknowledged or not, is at or after
//     cursor, and not after newest. So the reading finds it before the backlog
//     is closed. (place makes it so, read keeps it: it moves the cursor only
//     past what it has turned into jobs. Of templates, while some are put aside,
//     it is true of aside instead of cursor.)
//  3. What is at or after stored.From and before cursor is a job, or done, or a
//     template at or after aside. So it is acknowledged when it is handed out
//     once more. (read and expire make it so: nothing else moves the cursor on.)
//  4. Jobs of the line come into being in the order of the log, those whose
//     own copy of the schedule is due left out, and templates that were put
//     aside. So the chains are in order. (place makes no job of what is behind
//     something unread.)
type line struct {
	lineKey
	tenant domain.TenantID
	jobs   int               // in memory, done ones not counted
	owed   int               // of these, those read from the backlog
	order  []domain.Position // of these, ascending; those whose own copy of the schedule is due left out

	stored Backlog         // as it is recorded; without a version there is none
	cursor domain.Position // where reading goes on
	newest domain.Position // of what came and is left to the reading
	aside  domain.Position // from which on templates are left out of it (see putAside); 0: none are
	unsure bool            // a former owner may have acknowledged more, up to the end of the log
	// overflow waits, unacknowledged, for proof that a backlog of this lane
	// covers it: that one is recorded, or moved on.
	overflow map[domain.Position]Delivery

	age     time.Time // of the request that was read last
	sweep   sweep
	reading bool // at most one reading and
	writing bool // one writing is under way
	closing bool // and that is the last one

	shelf shelf
}

// open reports whether the backlog may take what is handed out.
func (n *line) open() bool { return n.stored.Version != 0 && !n.closing }

// behind reports whether something is left to the reading.
func (n *line) behind() bool { return n.unsure || n.newest >= n.cursor }

// done is the position before which nothing of the backlog is left. It does not
// go back for what came too early to be read.
func (n *line) done() domain.Position {
	at := n.cursor
	if oldest := n.oldest(); oldest != 0 {
		at = min(at, oldest)
	}
	if n.aside != 0 {
		at = min(at, n.aside)
	}
	return max(at, n.stored.From)
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
	n.shelf.count(j, 1)
}

func (n *line) remove(j *job) {
	n.jobs--
	if j.owed {
		n.owed--
	}
	if i, found := slices.BinarySearch(n.order, j.handle.at); found && !j.handle.due {
		n.order = slices.Delete(n.order, i, i+1)
	}
	n.shelf.count(j, -1)
}

// oldest returns the position of the oldest job, or 0.
func (n *line) oldest() domain.Position {
	if len(n.order) == 0 {
		return 0
	}
	return n.order[0]
}

// room is how many more jobs a line may have.
func (l *lane) room(n *line) int {
	free := l.d.laneJobs - len(l.held) - l.coming - l.taking
	if n.bulk {
		free -= l.d.laneJobs / 4
	}
	if n.jobs >= free {
		return 0
	}
	return min(l.d.numberJobs-n.jobs, (free-n.jobs+1)/2)
}
