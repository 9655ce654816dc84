package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// readAhead is how many events a cursor asks the server for at once.
const readAhead = 2000

// Reader reads the log in its one global order: the archive, then the hot log.
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
	made, err := r.Made(ctx)
	if err != nil {
		return "", err
	}
	return made.Format(time.RFC3339Nano), nil
}

// Made returns when this log was made (UTC): no event in it is older.
func (r *Reader) Made(ctx context.Context) (time.Time, error) {
	info, err := r.b.events.Info(ctx)
	if err != nil {
		return time.Time{}, unreadable(fmt.Errorf("read identity of the log: %w", err))
	}
	return info.Created.UTC(), nil
}

// readerResets is how often the client library tries by itself to go on after
// a lost connection. It does not look at the context meanwhile, so the rest is
// left to whoever reads: an error, and a new cursor.
const readerResets = 1

// Cursor reads events in order. It is used by one goroutine.
type Cursor struct {
	b     *Broker
	place place
	from  jetstream.Consumer        // of the place
	msgs  jetstream.MessagesContext // of the place; nil when what follows last has to be found
	last  uint64                    // position
	whole bool                      // unfiltered: every position must follow the one before
	left  string                    // the stream that did not hold what follows last
	stay  bool                      // it reads this one place only
	ahead int                       // events to ask the server for at once; 0: readAhead
	err   error                     // ends the cursor; what came before it is returned first
}

// place is a stretch of the log: a stream, read after one position up to
// another.
type place struct {
	stream string
	after  uint64
	until  uint64
}

// endless is the end of the hot log.
const endless = math.MaxUint64

// Open returns a cursor over all events after a position, archived or hot. The
// context bounds opening only. After 0 it begins with the first event that is
// kept.
func (r *Reader) Open(ctx context.Context, after domain.Position) (*Cursor, error) {
	c := &Cursor{b: r.b, last: uint64(after), whole: true}
	if err := c.move(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// move goes on where the next event is. The hot log is asked first; what has
// left it is in the archive, also when it leaves while it is being read.
func (c *Cursor) move(ctx context.Context) error {
	c.leave()
	p, err := c.b.locate(ctx, c.last)
	if err != nil {
		return err
	}
	if p.stream == c.left {
		// What follows was passed over there, and is nowhere else: positions
		// leave a stream from its beginning only.
		return lost(p.stream, c.last, c.last+1)
	}
	return c.enter(ctx, p, "")
}

func (c *Cursor) enter(ctx context.Context, p place, subject string) error {
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: p.after + 1, MaxResetAttempts: readerResets,
	}
	if subject != "" {
		config.FilterSubjects = []string{subject}
	}
	consumer, err := c.b.reader.OrderedConsumer(ctx, p.stream, config)
	if err != nil {
		return unreadable(fmt.Errorf("open %s after %d: %w", p.stream, p.after, err))
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(cmp.Or(c.ahead, readAhead)))
	if err != nil {
		c.b.forget(p.stream, consumer)
		return unreadable(fmt.Errorf("read %s after %d: %w", p.stream, p.after, err))
	}
	c.place, c.from, c.msgs, c.last = p, consumer, msgs, p.after
	return nil
}

func (c *Cursor) leave() {
	if c.msgs != nil {
		c.msgs.Stop()
		c.msgs = nil
		c.b.forget(c.place.stream, c.from)
	}
}

// forget has the server delete the consumer of a reader that is done. By itself it
// would keep it for 5 minutes, and it has room for 1,000 on a stream
// (default_max_consumers): who opens a few cursors a second would soon get
// none. Nobody waits for it, and one whose deleting fails ends by itself.
func (b *Broker) forget(stream string, c jetstream.Consumer) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), tryTimeout)
		defer cancel()
		_ = b.reader.DeleteConsumer(ctx, stream, c.CachedInfo().Name)
	}()
}

// locate finds where the event after a position is, or will be.
func (b *Broker) locate(ctx context.Context, after uint64) (place, error) {
	h, err := b.hot(ctx)
	if err != nil {
		return place{}, err
	}
	if h.first <= after+1 {
		return place{stream: streamEvents, after: after, until: endless}, nil
	}
	archive, err := b.months(ctx)
	if err != nil {
		return place{}, err
	}
	if after == 0 {
		after = archive.begin() - 1
	}
	if m, ok := archive.of(after + 1); ok {
		return place{stream: m.name, after: after, until: min(m.last, h.first-1)}, nil
	}
	if err := archive.whole(); err != nil {
		return place{}, err
	}
	if err := h.joins(archive); err != nil {
		return place{}, err
	}
	return place{}, hole(fmt.Sprintf("what follows %d is no longer kept (LOG_RETENTION); read from the beginning", after))
}

// record is a message as it lies in a stream.
type record struct {
	subject  string
	position uint64
	at       time.Time // when the server stored it
	header   nats.Header
	data     []byte
}

// drainWait is how long Next waits for one more event once it has some
// (buffered ones arrive at once).
const drainWait = time.Millisecond

// errLater says that nothing more is there at the moment.
var errLater = errors.New("no more events at the moment")

// next returns the next message. It waits for it as long as ctx allows, or
// only for a moment.
func (c *Cursor) next(ctx context.Context, patient bool) (record, error) {
	for {
		if c.msgs == nil || c.last >= c.place.until {
			if !patient {
				return record{}, errLater
			}
			if err := c.move(ctx); err != nil {
				return record{}, err
			}
		}
		opt := jetstream.NextMaxWait(drainWait)
		if patient {
			opt = jetstream.NextContext(ctx)
		}
		m, err := c.msgs.Next(opt)
		switch {
		case err == nil:
		case !patient:
			return record{}, errLater // an error comes again
		case ctx.Err() != nil:
			return record{}, ctx.Err()
		default:
			return record{}, unreadable(fmt.Errorf("read %s after %d: %w", c.place.stream, c.last, err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return record{}, fmt.Errorf("read %s after %d: %w", c.place.stream, c.last, err)
		}
		r := record{subject: m.Subject(), position: meta.Sequence.Stream, at: meta.Timestamp, header: m.Headers(), data: m.Data()}
		if c.whole && r.position != c.last+1 {
			if c.stay {
				return record{}, lost(c.place.stream, c.last, r.position)
			}
			c.left = c.place.stream
			c.leave()
			continue
		}
		c.last, c.left = r.position, ""
		return r, nil
	}
}

// Next returns 1 to most events, waiting for the first as long as ctx allows.
// It returns [ErrGap] when an event is missing. After an error the cursor is of
// no more use; open another one.
func (c *Cursor) Next(ctx context.Context, most int) ([]domain.Event, error) {
	return gather(ctx, c, most, func(m record) (domain.Event, error) {
		e, err := c.decode(m)
		if err != nil && domain.KindOf(err) != domain.Unavailable {
			return e, domain.Errorf(domain.Bug, err, "the log holds an event this build cannot read")
		}
		return e, err
	})
}

func (c *Cursor) decode(m record) (domain.Event, error) {
	if c.place.stream == streamEvents {
		return c.b.decode(m.subject, m.position, m.data)
	}
	return c.b.codec.decodeArchived(c.place.stream, m)
}

// gather reads 1 to most messages. An error is returned when nothing came
// before it; one that is final is kept until then.
func gather[T any](ctx context.Context, c *Cursor, most int, read func(record) (T, error)) ([]T, error) {
	if c.err != nil {
		return nil, c.err
	}
	var all []T
	for len(all) < most {
		m, err := c.next(ctx, len(all) == 0)
		if e, ok := errors.AsType[*domain.Error](err); ok && e.Kind == domain.Bug {
			c.err = err
		}
		var one T
		if err == nil {
			one, err = read(m)
			c.err = err // the place is past it now: going on would skip it
		}
		if err == nil {
			all = append(all, one)
			continue
		}
		if len(all) > 0 {
			return all, nil // what is missing now comes with the next call, errors too
		}
		return nil, err
	}
	return all, nil
}

// Last returns the position of the newest event of a key, 0 when the hot log
// has none.
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

// At returns the events at some positions, archived or hot, in the order asked
// for. It returns an error of kind [domain.Unknown] when one is no longer kept.
func (r *Reader) At(ctx context.Context, positions []domain.Position) ([]domain.Event, error) {
	events := make([]domain.Event, len(positions))
	for i, p := range positions {
		var err error
		if events[i], err = r.at(ctx, uint64(p)); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func (r *Reader) at(ctx context.Context, position uint64) (domain.Event, error) {
	m, err := r.b.events.GetMsg(ctx, position)
	if err == nil {
		return readUp(r.b.decode(m.Subject, m.Sequence, m.Data))
	}
	if !notFound(err) {
		return domain.Event{}, unreadable(fmt.Errorf("read an event: %w", err))
	}
	name, err := r.b.monthOf(ctx, position)
	if err != nil {
		return domain.Event{}, err
	}
	s, err := r.b.reader.Stream(ctx, name)
	if err == nil {
		m, err = s.GetMsg(ctx, position)
	}
	switch {
	case notFound(err), errors.Is(err, jetstream.ErrStreamNotFound):
		r.b.archived.Store(nil) // what was known of the archive is outdated
		return domain.Event{}, errNotKept()
	case err != nil:
		return domain.Event{}, unreadable(fmt.Errorf("read an archived event: %w", err))
	}
	return readUp(r.b.codec.decodeArchived(name, record{subject: m.Subject, position: m.Sequence, header: m.Header, data: m.Data}))
}

// readUp is an event that was opened, or why it could not be.
func readUp(e domain.Event, err error) (domain.Event, error) {
	if err != nil && domain.KindOf(err) != domain.Unavailable {
		return e, domain.Errorf(domain.Bug, err, "an event of this message cannot be read")
	}
	return e, err
}

// monthOf returns the archive stream that holds a position. What is known of
// the archive is looked up again when it does not say.
func (b *Broker) monthOf(ctx context.Context, position uint64) (string, error) {
	if known := b.archived.Load(); known != nil {
		if m, ok := known.of(position); ok {
			return m.name, nil
		}
	}
	archive, err := b.months(ctx)
	if err != nil {
		return "", err
	}
	b.archived.Store(&archive)
	if m, ok := archive.of(position); ok {
		return m.name, nil
	}
	return "", errNotKept()
}

func errNotKept() error {
	return domain.Errorf(domain.Unknown, nil, "the events in question are no longer kept (LOG_RETENTION)")
}

// Kept returns the first position of the log that is kept, archived or hot.
func (r *Reader) Kept(ctx context.Context) (domain.Position, error) {
	archive, err := r.b.months(ctx)
	if err != nil {
		return 0, err
	}
	r.b.archived.Store(&archive)
	return domain.Position(archive.begin()), nil
}

// Follow calls fn with every event of a key recorded after a position, oldest
// first, until ctx ends or fn returns an error. It reads the hot log only: what
// follows an unfinished message is never older. It returns an error of kind
// [domain.Unknown] when the hot log no longer reaches back to the position.
func (r *Reader) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	subject, err := subjectOf(k)
	if err != nil {
		return err
	}
	c := &Cursor{b: r.b}
	if err := c.enter(ctx, place{stream: streamEvents, after: uint64(after), until: endless}, subject); err != nil {
		return err
	}
	defer c.leave()
	h, err := r.b.hot(ctx)
	if err != nil {
		return err
	}
	if h.first > uint64(after)+1 {
		return domain.Errorf(domain.Unknown, nil, "the events in question have left the hot log (LOG_HOT)")
	}
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
	c.leave()
	return nil
}
