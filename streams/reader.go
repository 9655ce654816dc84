package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// readAhead is how many events a cursor asks the server for at once.
const readAhead = 2000

// Reader reads the log in its one global order.
type Reader struct{ b *Broker }

// Reader returns a reader of the log.
func (b *Broker) Reader() *Reader { return &Reader{b} }

// Tail returns the position of the newest event, 0 when there is none.
func (r *Reader) Tail(ctx context.Context) (domain.Position, error) {
	info, err := r.b.events.Info(ctx)
	if err != nil {
		return 0, unreadable(fmt.Errorf("read tail of the log: %w", err))
	}
	return domain.Position(info.State.LastSeq), nil
}

// Incarnation identifies this log: it changes when the stream is made anew.
func (r *Reader) Incarnation(ctx context.Context) (string, error) {
	info, err := r.b.events.Info(ctx)
	if err != nil {
		return "", unreadable(fmt.Errorf("read identity of the log: %w", err))
	}
	return info.Created.UTC().Format(time.RFC3339Nano), nil
}

// readerResets is how often the client library tries by itself to go on after
// a lost connection. It does not look at the context meanwhile, so the rest is
// left to whoever reads: an error, and a new cursor.
const readerResets = 1

// Cursor reads events in order. It is used by one goroutine.
type Cursor struct {
	b     *Broker
	msgs  jetstream.MessagesContext
	last  domain.Position
	whole bool  // unfiltered: every position must follow the one before
	err   error // ends the cursor; what came before it is returned first
}

// Open returns a cursor over all events after a position. The context bounds
// opening only.
func (r *Reader) Open(ctx context.Context, after domain.Position) (*Cursor, error) {
	c, err := r.open(ctx, after, "evt.>")
	if err != nil {
		return nil, err
	}
	c.whole = true
	return c, nil
}

func (r *Reader) open(ctx context.Context, after domain.Position, subject string) (*Cursor, error) {
	cons, err := r.b.reader.OrderedConsumer(ctx, streamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    uint64(after) + 1,

		MaxResetAttempts: readerResets,
	})
	if err != nil {
		return nil, unreadable(fmt.Errorf("open log after %d: %w", after, err))
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return nil, unreadable(fmt.Errorf("read log after %d: %w", after, err))
	}
	return &Cursor{b: r.b, msgs: msgs, last: after}, nil
}

// drainWait is how long Next waits for one more event once it has some
// (buffered ones arrive at once).
const drainWait = time.Millisecond

// Next returns 1 to most events, waiting for the first as long as ctx allows.
// It returns [ErrGap] when an event is missing. After an error the cursor is of
// no more use; open another one.
func (c *Cursor) Next(ctx context.Context, most int) ([]domain.Event, error) {
	if c.err != nil {
		return nil, c.err
	}
	var events []domain.Event
	for len(events) < most {
		opt := jetstream.NextContext(ctx)
		if len(events) > 0 {
			opt = jetstream.NextMaxWait(drainWait)
		}
		m, err := c.msgs.Next(opt)
		switch {
		case err == nil:
		case len(events) > 0:
			// What is missing now comes with the next call, errors too.
			return events, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			return nil, unreadable(fmt.Errorf("read log after %d: %w", c.last, err))
		}
		e, err := c.event(m)
		if err != nil {
			c.err = err
			if len(events) > 0 {
				return events, nil
			}
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func (c *Cursor) event(m jetstream.Msg) (domain.Event, error) {
	meta, err := m.Metadata()
	if err != nil {
		return domain.Event{}, fmt.Errorf("read log after %d: %w", c.last, err)
	}
	pos := domain.Position(meta.Sequence.Stream)
	// The first event of all need not be 1: the hot log begins where the
	// archive ends.
	if c.whole && c.last > 0 && pos != c.last+1 {
		return domain.Event{}, lost(streamEvents, uint64(c.last), uint64(pos))
	}
	e, err := c.b.codec.decode(m.Subject(), uint64(pos), m.Data())
	if domain.KindOf(err) == domain.Unavailable {
		return domain.Event{}, err
	}
	if err != nil {
		return domain.Event{}, domain.Errorf(domain.Bug, err, "the log holds an event this build cannot read")
	}
	c.last = pos
	return e, nil
}

// Last returns the position of the newest event of a key, 0 when there is none.
func (r *Reader) Last(ctx context.Context, k domain.Key) (domain.Position, error) {
	subject, err := subjectOf(k)
	if err != nil {
		return 0, err
	}
	m, err := r.b.events.GetLastMsgForSubject(ctx, subject)
	switch {
	case notFound(err):
		return 0, nil
	case err != nil:
		return 0, unavailable(fmt.Errorf("read newest event of a key: %w", err))
	}
	return domain.Position(m.Sequence), nil
}

// Follow calls fn with every event of a key recorded after a position, oldest
// first, until ctx ends or fn returns an error.
func (r *Reader) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	subject, err := subjectOf(k)
	if err != nil {
		return err
	}
	c, err := r.open(ctx, after, subject)
	if err != nil {
		return err
	}
	defer c.msgs.Stop()
	for {
		events, err := c.Next(ctx, 1)
		if err != nil {
			return err
		}
		if err := fn(events[0]); err != nil {
			return err
		}
	}
}

// Close ends the cursor.
func (c *Cursor) Close() error {
	c.msgs.Stop()
	return nil
}
