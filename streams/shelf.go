package streams

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// headerOrder is in which order a copy became due: its sequence then.
const headerOrder = "Sendlog-Order"

// Shelf holds the due copies of one urgency of a number that cannot be worked
// yet, in the order in which they were put there (ADR 0011). It is as long as
// need be, and takes nobody's place in the lane's consumer.
type Shelf struct {
	Tenant domain.TenantID
	Number domain.NumberID
	Bulk   bool
	// First is the [Delivery.Order] of what is first on it, and Older that of the
	// newest copy of the line that became due before and is not done; 0: there is
	// none. [Broker.Shelves] tells them.
	First, Older uint64
}

// Shelve puts due copies at the end of a shelf, in order, and returns their
// places. They are there as durably as an append then, and their deliveries may
// be finished. After an error some may be there; putting them there again is
// harmless.
func (b *Broker) Shelve(ctx context.Context, s Shelf, due []Delivery) (places []uint64, err error) {
	for _, d := range due {
		m, err := copied(d, shelfSubject(s.Number, s.Bulk))
		if err != nil {
			return nil, err
		}
		m.Header.Set(headerOrder, strconv.FormatUint(d.Order, 10))
		m.Header.Set(jetstream.ExpectedStreamHeader, streamSchedule)
		place, err := publish{js: b.publisher(s.Number), msg: m, meter: b.meter}.settle(ctx)
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	return places, b.sync(ctx, streamSchedule)
}

// Shelves returns the shelves of a lane on which anything is.
func (b *Broker) Shelves(ctx context.Context, lane int) ([]Shelf, error) {
	s, err := b.reader.Stream(ctx, streamSchedule)
	if err != nil {
		return nil, unreadable(fmt.Errorf("look for shelves: %w", err))
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(shelfLane(lane)))
	if err != nil {
		return nil, unreadable(fmt.Errorf("look for shelves: %w", err))
	}
	var out []Shelf
	for subject := range info.State.Subjects {
		m, err := s.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		if notFound(err) {
			continue
		}
		if err != nil {
			return nil, unreadable(fmt.Errorf("look for shelves: %w", err))
		}
		shelf := Shelf{First: orderOf(m)}
		if shelf.Number, shelf.Bulk, err = parseShelf(subject); err == nil {
			_, _, shelf.Tenant, _, err = parseSubject(m.Header.Get(headerSubject))
		}
		if err != nil { // guessing would lose messages
			return nil, domain.Errorf(domain.Bug, err, "what is on a shelf cannot be read")
		}
		if shelf.Older, err = b.olderDue(ctx, s, shelf); err != nil {
			return nil, err
		}
		out = append(out, shelf)
	}
	return out, nil
}

// olderDue looks through what is due of a number: what is done is not there any
// more.
func (b *Broker) olderDue(ctx context.Context, s askedStream, shelf Shelf) (older uint64, err error) {
	for seq := uint64(1); ; {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(dueSubject(shelf.Number)))
		switch {
		case notFound(err):
			return older, nil
		case err != nil:
			return 0, unreadable(fmt.Errorf("look for what is due: %w", err))
		case m.Sequence >= shelf.First:
			return older, nil
		}
		seq = m.Sequence + 1
		if d := b.readCopy(m.Header, m.Data); d.Err == nil && message.AsksBulk(d.Event.Type, d.Event.Facts) == shelf.Bulk {
			older = m.Sequence
		}
	}
}

// orderOf returns in which order what is on a shelf became due; 0: it does not
// say.
func orderOf(m *jetstream.RawStreamMsg) uint64 {
	order, _ := strconv.ParseUint(m.Header.Get(headerOrder), 10, 64)
	return order
}

// ReadShelf returns at most so many copies of a shelf after a place, in order,
// each with its own [Delivery.Place]; end says that there were no more when it
// was asked. What cannot be read carries an error, as in [Broker.Work]; what
// cannot be read yet fails the call with [domain.Unavailable]. Done, Hold and
// Reject of these deliveries do nothing: [Broker.Unshelve] does.
func (b *Broker) ReadShelf(ctx context.Context, s Shelf, after uint64, most int) (page []Delivery, end bool, err error) {
	page, end, err = b.copies(ctx, shelfSubject(s.Number, s.Bulk), after, most)
	for i, d := range page {
		if domain.KindOf(d.Err) == domain.Unavailable {
			return page[:i], false, d.Err
		}
	}
	return page, end, err
}

// copies reads copies in the order of their places.
func (b *Broker) copies(ctx context.Context, subject string, after uint64, most int) (page []Delivery, end bool, err error) {
	stream, err := b.reader.Stream(ctx, streamSchedule)
	if err != nil {
		return nil, false, unreadable(fmt.Errorf("read copies: %w", err))
	}
	for len(page) < most {
		m, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
		switch {
		case notFound(err):
			return page, true, nil
		case err != nil:
			return page, false, unreadable(fmt.Errorf("read copies: %w", err))
		}
		d := b.readCopy(m.Header, m.Data)
		after, d.Place, d.Order = m.Sequence, m.Sequence, orderOf(m)
		page = append(page, d)
	}
	return page, false, nil
}

// parkMargin is how long before its copy was parked a message may have been tried
// first: what was recorded since then stays hot.
const parkMargin = 10 * time.Minute

// Park keeps a copy of a request that has to wait, as durably as an append, and
// returns its place. Whoever is done with it calls [Broker.Unshelve]. While it is
// there, what was recorded of it up to 10 minutes before, and since, stays hot.
func (b *Broker) Park(ctx context.Context, d Delivery) (place uint64, err error) {
	subject, err := waitSubject(d.Event.Key)
	if err != nil {
		return 0, err
	}
	m, err := copied(d, subject)
	if err != nil {
		return 0, err
	}
	return b.settle(ctx, streamSchedule, publish{js: b.publisher(d.Event.Key.Number), msg: m, meter: b.meter})
}

// Parked returns at most so many copies that are parked in a lane after a place,
// in the order in which they were parked; end says that there were no more. What
// cannot be read comes with its error.
func (b *Broker) Parked(ctx context.Context, lane int, after uint64, most int) (page []Delivery, end bool, err error) {
	return b.copies(ctx, waitLane(lane), after, most)
}

// Unshelve takes what is at a place off its shelf, if it is there. A power cut
// may undo it; then it is read, and found done, once more.
func (b *Broker) Unshelve(ctx context.Context, place uint64) error {
	s, err := b.reader.Stream(ctx, streamSchedule)
	if err != nil {
		return unavailable(fmt.Errorf("clear a shelf: %w", err))
	}
	if err = s.DeleteMsg(ctx, place); err == nil {
		return nil
	}
	// The server says no more than that it failed.
	if _, look := s.GetMsg(ctx, place); notFound(look) {
		return nil
	}
	return unavailable(fmt.Errorf("clear a shelf: %w", err))
}

// copied is a complete copy of an event under another subject: the stored form,
// and where it was.
func copied(d Delivery, subject string) (*nats.Msg, error) {
	original, err := subjectOf(d.Event.Key)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subject, Data: d.Raw, Header: nats.Header{}}
	m.Header.Set(headerPosition, strconv.FormatUint(uint64(d.Event.Position), 10))
	m.Header.Set(headerSubject, original)
	return m, nil
}

// readCopy is the inverse of copied.
func (b *Broker) readCopy(h nats.Header, data []byte) Delivery {
	r := record{subject: h.Get(headerSubject), header: h, data: data}
	var bad error
	if r.position, bad = strconv.ParseUint(h.Get(headerPosition), 10, 64); bad != nil {
		bad = fmt.Errorf("%w: a copy does not say where its event is", errUndecodable)
	}
	d := b.delivery(r)
	d.Due = true
	if d.Err == nil {
		d.Err = bad
	}
	return d
}
