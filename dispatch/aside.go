package dispatch

import (
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// asideFor is how long a template whose time has come is put aside for. It has no
// place in a backlog: the log may have let go of its request.
const asideFor = 5 * time.Minute

// asksTemplate reports whether an event asks for a template message.
func asksTemplate(e domain.Event) bool { return message.AsksTemplate(e.Type, e.Facts) }

// leaves reports whether a delivery is not to become a job because templates are
// put aside. The caller holds the lock.
func (n *line) leaves(v Delivery) bool { return n.aside != 0 && asksTemplate(v.Event) }

// putAside has a template wait in the backlog of its line, and not in memory, for
// the end of a block that holds back templates and nothing else. There might be
// more of them than memory should hold, and what the block does not concern, to
// the same person too, is to go on.
//
// From the first of them on the line's templates are left to the backlog, whose
// reading passes over them; when templates may leave again it goes back to that
// first one. So they keep their order, among each other and with what is
// requested from then on. What it meets that was read in between is held, or its
// own events say that it is done.
//
// It returns false when the job must wait where it is: the backlog, which never
// goes back, begins after it.
func (l *lane) putAside(first *job) bool {
	if first.handle.due {
		first.sendAt = l.d.Clock.Now().Add(asideFor)
		l.postpone(first)
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := first.line
	if first.stays = n.open() && first.handle.at < n.stored.From; first.stays {
		return false
	}
	if n.aside == 0 {
		n.aside = first.handle.at
		if n.open() {
			n.aside = min(n.aside, n.cursor)
		}
		l.spawn(func(look int) { l.resume(n, look) })
	}
	stay := []*job{first} // next looks for it there
	for _, j := range l.chains[first.chain] {
		switch {
		case j != first && (!j.template || j.handle.due || n.open() && j.handle.at < n.stored.From):
			stay = append(stay, j)
		default:
			l.release(j)
		}
	}
	l.chains[first.chain] = stay
	l.tend(n)
	return true
}

// release leaves a job to the backlog of its line. The caller holds the lock.
func (l *lane) release(j *job) {
	n, at := j.line, j.handle.at
	delete(l.held, j.handle)
	n.remove(j)
	n.aside, n.newest = min(n.aside, at), max(n.newest, at)
	if !j.owed {
		n.overflow[at] = j.latest()
	}
}

// resume has what was put aside read as soon as templates may leave.
func (l *lane) resume(n *line, look int) {
	if l.d.Gate.Pass(l.stop, n.number, true) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if look != l.looks {
		return
	}
	if n.open() {
		n.newest, n.cursor = max(n.newest, n.cursor-1), min(n.cursor, n.aside)
	}
	n.aside = 0
	l.tend(n)
}
