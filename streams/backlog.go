package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Backlog says that a number has more waiting than the owner of its lane keeps
// in memory: whatever was requested of it in one urgency (interactive, or bulk as
// [message.AsksBulk] tells) from a position on, or will be, is unfinished unless
// the message's own events say otherwise. While it is open
// the hot log keeps all that, so the lane's consumer need not: the owner may
// acknowledge what the backlog covers and read it when its turn comes
// (ADR 0010).
//
// It belongs to whoever wrote it last. An owner acknowledges what it covers
// right after a successful OpenBacklog or AdvanceBacklog: that is the proof that
// nobody has taken the lane over, and closed the backlog, meanwhile.
type Backlog struct {
	Tenant domain.TenantID
	Number domain.NumberID
	Bulk   bool
	From   domain.Position
	// NoTemplates asks ReadBacklog to leave out requests of template messages, as
	// [message.AsksTemplate] tells them; it is not recorded.
	NoTemplates bool
	// Expired, unless it is zero, asks ReadBacklog for nothing but requests that
	// expire until then, as [message.AsksUntil] tells; it is not recorded either.
	Expired time.Time
	// Version of the record as its owner knows it, changed by every write; 0:
	// there is none.
	Version uint64
}

// cover is the record of a backlog in the SPILL stream, under its number and
// urgency.
type cover struct {
	Tenant domain.TenantID `json:"tenant"`
	From   domain.Position `json:"from"`
}

const (
	// backlogLook bounds what one ReadBacklog looks at (events).
	backlogLook = 2000
	// A backlog is looked for among all events as long as there is one of its
	// tenant in its lane among sparse of them. Asking the server for these alone
	// costs a look at each of the tenant's subjects, during which nobody can
	// append: 100 ms for 100,000 of them, which is what a tenant with a backlog
	// may have. So that is done for the few of those who sent little since.
	sparse     = 100
	sparseLook = 1000 // events after which that is judged
)

// Backlogs returns the open backlogs of a lane and makes them the caller's, who
// has just begun to own the lane: a former owner can neither move nor close
// them any more.
func (b *Broker) Backlogs(ctx context.Context, lane int) ([]Backlog, error) {
	for {
		open, err := b.openBacklogs(ctx, spillLane(lane))
		for i := 0; i < len(open) && err == nil; i++ {
			open[i].Version, err = b.cover(ctx, open[i])
		}
		if errors.Is(err, domain.ErrConflict) { // the former owner was faster: its last word counts
			continue
		}
		return open, err
	}
}

// OpenBacklog records a new backlog, as durably as an append, and returns its
// version. It returns [domain.ErrConflict] when the number has one of this
// urgency: then somebody else owns the lane.
func (b *Broker) OpenBacklog(ctx context.Context, l Backlog) (version uint64, err error) {
	l.Version = 0
	if version, err = b.cover(ctx, l); err != nil {
		return 0, err
	}
	return version, b.sync(ctx, streamSpill)
}

// AdvanceBacklog records a new From, before which everything is finished, and
// returns the new version. A power cut may undo it: what is finished is looked
// at once more then. It returns [domain.ErrConflict] when the version is not the
// newest: somebody else owns the lane by now.
func (b *Broker) AdvanceBacklog(ctx context.Context, l Backlog) (version uint64, err error) {
	return b.cover(ctx, l)
}

// CloseBacklog records that nothing of a backlog is left. It returns
// [domain.ErrConflict], and leaves it open, when the version is not the newest.
func (b *Broker) CloseBacklog(ctx context.Context, l Backlog) error {
	s, err := b.reader.Stream(ctx, streamSpill)
	if err != nil {
		return unavailable(fmt.Errorf("close a backlog: %w", err))
	}
	if err = s.DeleteMsg(ctx, l.Version); err == nil {
		return nil
	}
	// The server says no more than that it failed.
	last, look := s.GetLastMsgForSubject(ctx, spillSubject(l.Number, l.Bulk))
	switch {
	case notFound(look):
		return nil // an earlier try of this very call closed it
	case look == nil && last.Sequence != l.Version:
		return domain.ErrConflict
	}
	return unavailable(fmt.Errorf("close a backlog: %w", err))
}

// cover writes the record of a backlog over the one its owner knows, and
// returns its version.
func (b *Broker) cover(ctx context.Context, l Backlog) (uint64, error) {
	if !domain.ValidToken(string(l.Tenant)) || !domain.ValidToken(string(l.Number)) {
		return 0, domain.Errorf(domain.Bug, nil, "a backlog does not fit a subject")
	}
	data, err := json.Marshal(cover{Tenant: l.Tenant, From: l.From})
	if err != nil {
		return 0, fmt.Errorf("encode a backlog: %w", err)
	}
	return b.overwrite(ctx, streamSpill, b.publisher(l.Number), spillSubject(l.Number, l.Bulk), data, l.Version)
}

// openBacklogs returns the backlogs whose records match. One that is moved
// meanwhile is written anew behind the others, so none is missed; its newest
// record counts.
func (b *Broker) openBacklogs(ctx context.Context, subject string) ([]Backlog, error) {
	s, err := b.reader.Stream(ctx, streamSpill)
	if err != nil {
		return nil, unreadable(fmt.Errorf("look for backlogs: %w", err))
	}
	var open []Backlog
	known := map[string]int{} // by subject
	for seq := uint64(1); ; {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if notFound(err) {
			return open, nil
		}
		if err != nil {
			return nil, unreadable(fmt.Errorf("look for backlogs: %w", err))
		}
		seq = m.Sequence + 1
		number, bulk, err := parseSpill(m.Subject)
		var c cover
		if err == nil {
			err = json.Unmarshal(m.Data, &c)
		}
		if err != nil { // guessing would lose messages
			return nil, domain.Errorf(domain.Bug, err, "the record of a backlog cannot be read")
		}
		l := Backlog{Tenant: c.Tenant, Number: number, Bulk: bulk, From: c.From, Version: m.Sequence}
		if i, again := known[m.Subject]; again {
			open[i] = l
			continue
		}
		known[m.Subject] = len(open)
		open = append(open, l)
	}
}

// ReadBacklog returns at most so many requests and redrives of a backlog, those
// of its number and urgency, at or after its From, in order, and the position
// from which to go on. It looks at no
// more than 2000 events, so it may return none although there are more; end
// says that it has looked at everything that was recorded before the call. An
// event of the backlog that a lane hands out later was looked at exactly if it
// is before next.
//
// A delivery that cannot be read carries an error, as in [Broker.Work]; its
// Done, Hold and Reject do nothing, because the backlog remembers it. Events
// whose number cannot be told are left out: the lane has handed them out, to be
// rejected.
func (b *Broker) ReadBacklog(ctx context.Context, l Backlog, most int) (requests []Delivery, next domain.Position, end bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	next = max(l.From, 1)
	h, err := b.hot(ctx)
	if err != nil {
		return nil, next, false, err
	}
	if h.first > uint64(next) {
		return nil, next, false, hole(fmt.Sprintf("a backlog goes on at %d and %s begins at %d; restore it from a replica or a backup", next, streamEvents, h.first))
	}
	subject := tenantMessages(domain.Lane(l.Number), l.Tenant)
	last, newest, err := b.marks.last(ctx, b.events, subject, uint64(next))
	switch {
	case err != nil:
		return nil, next, false, err
	case last < uint64(next):
		b.marks.forget(subject)
		return nil, max(next, domain.Position(h.last)+1), true, nil
	}
	c := &Cursor{b: b, ahead: max(most, min(4*most, 100))} // a message has three or four events; those of a queue come first
	if err := c.enter(ctx, place{stream: streamEvents, after: uint64(next) - 1, until: last}, ""); err != nil {
		return nil, next, false, err
	}
	defer func() { c.leave() }()
	theirs := 0 // of its tenant in its lane
	for looked := 0; looked < backlogLook && len(requests) < most; looked++ {
		if looked == sparseLook && theirs*sparse < looked {
			c.leave()
			if err := c.enter(ctx, place{stream: streamEvents, after: uint64(next) - 1, until: last}, subject); err != nil {
				return requests, next, false, nil // the error comes again
			}
		}
		var d Delivery
		r, err := c.next(ctx, true)
		asks := false
		if err == nil && strings.HasPrefix(r.subject, strings.TrimSuffix(subject, ">")) {
			theirs++
			asks = l.covers(r)
		}
		if asks {
			if d = b.delivery(r); domain.KindOf(d.Err) == domain.Unavailable {
				err = d.Err // not now: it is read again
			}
		}
		switch {
		case err != nil && len(requests) > 0:
			return requests, next, false, nil // the error comes again
		case err != nil:
			return nil, next, false, err
		case asks:
			requests = append(requests, d)
		}
		next = domain.Position(r.position) + 1
		if r.position >= last {
			if newest {
				b.marks.forget(subject)
				next = max(next, domain.Position(h.last)+1)
			}
			return requests, next, newest, nil
		}
	}
	return requests, next, false, nil
}

// covers reports whether an event asks for work on the number in the urgency of
// the backlog, and of the kind that is wanted, without unsealing it.
func (l Backlog) covers(r record) bool {
	var env struct {
		Type   string          `json:"type"`
		Number domain.NumberID `json:"number"`
		Facts  json.RawMessage `json:"facts"`
	}
	if json.Unmarshal(r.data, &env) != nil || env.Number != l.Number {
		return false
	}
	switch {
	case env.Type != message.TypeSendRequested && env.Type != message.TypeSendRedriven,
		message.AsksBulk(env.Type, env.Facts) != l.Bulk,
		l.NoTemplates && message.AsksTemplate(env.Type, env.Facts):
		return false
	case l.Expired.IsZero():
		return true
	}
	until := message.AsksUntil(env.Type, env.Facts)
	return !until.IsZero() && !until.After(l.Expired)
}

// marks remembers, by subject, a position at which the log holds an event, while
// something before it is to be read. Asking for the newest one costs the server a
// look at every message of the subject, which for a long backlog is as much as
// reading a portion of it.
type marks struct {
	mu    sync.Mutex
	known map[string]uint64
}

func (k *marks) forget(subject string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, subject)
}

// last returns the position of an event of a subject at or after from, and
// whether it is the newest at the moment. When there is none at or after from it
// returns one before it, or 0.
func (k *marks) last(ctx context.Context, events askedStream, subject string, from uint64) (last uint64, newest bool, err error) {
	k.mu.Lock()
	last = k.known[subject]
	k.mu.Unlock()
	if last >= from {
		return last, false, nil
	}
	m, err := events.GetLastMsgForSubject(ctx, subject)
	if notFound(err) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, unreadable(fmt.Errorf("read a backlog: %w", err))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[string]uint64{}
	}
	k.known[subject] = m.Sequence
	return m.Sequence, true, nil
}
