package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// lanePull is how many messages a lane asks for at once; they age against the
// ack wait while they are buffered.
const lanePull = 500

// Delivery is one event handed out as work. Exactly one of Done and Reject is
// called; until then Hold keeps it from being handed out again.
type Delivery struct {
	Event domain.Event
	// Err says that the stored bytes cannot be read; Event then holds the key
	// and position only. Of kind [domain.Unavailable] it says that they cannot be
	// read yet, because the key for it, or the build, is still to come: left alone,
	// the event comes again, and to the next owner of the lane at once.
	Err error
	// Raw is the stored form, sealed as it is.
	Raw []byte
	// Due says that this is the copy of a request that waited for its time
	// ([Broker.Schedule]). The event itself may have left the hot log meanwhile.
	Due bool
	// Order is in which order it became due: what came later has a greater one.
	Order uint64
	// Place is where it is on its shelf, from 1 on; 0: it was not read from one.
	Place uint64
	// Deliveries counts how often it was handed out in this tenure, this time
	// included. There is no end to it: who cannot work it must say so.
	Deliveries int

	msg jetstream.Msg
}

// Done says that nothing is left to do about the event.
func (d Delivery) Done() error {
	if d.msg == nil { // read from a backlog or a shelf, which have their own memory
		return nil
	}
	return d.msg.Ack()
}

// Hold says that the work goes on.
func (d Delivery) Hold() error {
	if d.msg == nil {
		return nil
	}
	return d.msg.InProgress()
}

// Reject says that it will never be done and why; it is not handed out again.
func (d Delivery) Reject(reason string) error {
	if d.msg == nil {
		return nil
	}
	return d.msg.TermWithReason(reason)
}

// HoldEvery is how often a holder must call Hold.
const HoldEvery = laneAckWait / 3

// supply is one durable consumer, as the owner of its lane uses it.
//
// While several processes pull, the server pins one of them and the others
// wait; one that stops pulling is replaced after 10 s. Which process pulls is
// decided elsewhere ([Broker.Work]); the pin keeps the order when that is
// decided wrongly, or known too late. An event may still be handed out more than
// once, also to a new owner while the former one works on: the fence in the log
// decides, not this consumer.
type supply struct {
	b            *Broker
	stream, name string
	read         func(arrival) Delivery
	own          succession
}

// arrival is a message as it was handed out.
type arrival struct {
	jetstream.Msg
	pin  string // of whom the server handed it to
	meta jetstream.MsgMetadata
}

// arrived says what can be told of a message without looking into it; nothing
// when it is not of a stream.
func arrived(m jetstream.Msg) arrival {
	a := arrival{Msg: m, pin: m.Headers().Get("Nats-Pin-Id")}
	if meta, err := m.Metadata(); err == nil {
		a.meta = *meta
	}
	return a
}

func (b *Broker) supply(stream, name string, read func(arrival) Delivery) *supply {
	s := &supply{b: b, stream: stream, name: name, read: read}
	s.own.reset = func(ctx context.Context) error {
		if _, err := b.reader.ResetConsumer(ctx, stream, name); err != nil {
			return fmt.Errorf("reset %s: %w", name, err)
		}
		return nil
	}
	return s
}

// run hands what the consumer holds to take, in order, until ctx ends. What a
// former process took and did not finish comes first, at once.
func (s *supply) run(ctx context.Context, take func(Delivery)) error {
	cons, err := s.b.reader.Consumer(ctx, s.stream, s.name)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	waits := owned(cons.CachedInfo())
	if !waits {
		if err := s.own.reset(ctx); err != nil {
			return err
		}
	}
	warn := func(err error) { s.b.log.Warn("streams: lane", "consumer", s.name, "error", err.Error()) }
	consuming, err := cons.Consume(
		func(m jetstream.Msg) {
			a := arrived(m)
			s.own.note(a)
			if ctx.Err() != nil {
				return // it was on its way when we stopped; the next owner gets it
			}
			ok, err := s.own.admits(ctx, a)
			if err != nil {
				warn(err)
			}
			if ok {
				take(s.read(a))
			}
		},
		jetstream.PullMaxMessages(lanePull),
		jetstream.PullExpiry(5*time.Second),
		jetstream.PullPriorityGroup(laneGroup),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { warn(err) }))
	if err != nil {
		return fmt.Errorf("consume %s: %w", s.name, err)
	}
	look := time.NewTicker(presenceBeat)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			// A former owner that fell silent keeps its pin for a while. When
			// it is gone and nothing new has come, what it left unfinished
			// would wait for the ack wait.
			if !waits || s.own.pinned() != "" {
				continue
			}
			if info, err := cons.Info(ctx); err == nil && !owned(info) {
				if waits = false; s.own.reset(ctx) != nil {
					waits = true
				}
			}
		case <-ctx.Done():
			consuming.Drain() // whatever still comes tells whether we are pinned
			<-consuming.Closed()
			return ctx.Err()
		case <-consuming.Closed():
			return fmt.Errorf("consume %s: the consumer is gone", s.name)
		}
	}
}

// letGo gives the pin back, so that the next owner need not wait for its end,
// and has what was left unfinished handed out again. A pin that is another
// one's by now is left alone: losing it costs its owner seconds.
func (s *supply) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cons, err := s.b.reader.Consumer(ctx, s.stream, s.name)
	if err != nil {
		return // it ends by itself
	}
	info, pin := cons.CachedInfo(), s.own.pinned()
	if pin != "" && slices.ContainsFunc(info.PriorityGroups, func(g jetstream.PriorityGroupState) bool { return g.PinnedClientID == pin }) {
		if stream, err := s.b.reader.Stream(ctx, s.stream); err == nil {
			_ = stream.UnpinConsumer(ctx, s.name, laneGroup)
		}
	} else if owned(info) {
		return
	}
	if info.NumAckPending > 0 {
		_ = s.own.reset(ctx)
	}
}

// owned reports whether a client is pinned to a consumer.
func owned(info *jetstream.ConsumerInfo) bool {
	for _, g := range info.PriorityGroups {
		if g.PinnedClientID != "" {
			return true
		}
	}
	return false
}

// succession keeps the order of a consumer when it changes hands. The new
// owner's first message is a new one, although the former owner may have left
// older ones unfinished. So it has everything unfinished handed out again from
// the oldest on, and passes over what was under way before.
type succession struct {
	reset func(context.Context) error

	mu    sync.Mutex
	last  string    // the pin of the newest delivery, worked or not
	owner string    // the pin of our tenure, as the server names it
	asked string    // the pin under which the reset was asked for
	from  uint64    // deliveries numbered from here on were made before the reset, which starts at 1 again
	until time.Time // no delivery is passed over for ever
}

// note remembers under which pin a delivery came.
func (t *succession) note(a arrival) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = a.pin
}

// pinned returns the pin under which something was handed out last, or "".
func (t *succession) pinned() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// admits reports whether a delivery is to be worked. One that is not is handed
// out again.
func (t *succession) admits(ctx context.Context, a arrival) (bool, error) {
	if a.meta.Stream == "" {
		return true, nil // it is not of the stream; the codec says what it is
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pin, n := a.pin, a.meta.Sequence.Consumer
	switch {
	case pin == t.owner:
		return true, nil
	case pin != t.asked && n > 1: // 1: nothing was handed out before
		if err := t.reset(ctx); err != nil {
			return false, err
		}
		t.asked, t.from, t.until = pin, n, time.Now().Add(lanePinnedTTL)
		return false, nil
	case pin == t.asked && n >= t.from && time.Now().Before(t.until):
		return false, nil
	}
	t.owner = pin
	return true, nil
}

// handed is a delivery of the lane's events.
func (b *Broker) handed(a arrival) Delivery {
	return b.delivery(record{subject: a.Subject(), position: a.meta.Sequence.Stream, header: a.Headers(), data: a.Data()}).by(a)
}

// handedDue is a delivery of what was scheduled.
func (b *Broker) handedDue(a arrival) Delivery {
	d := b.readCopy(a.Headers(), a.Data()).by(a)
	d.Order = a.meta.Sequence.Stream
	return d
}

// by says by which message it was handed out.
func (d Delivery) by(a arrival) Delivery {
	d.msg = a.Msg
	if a.meta.Stream != "" {
		d.Deliveries = int(a.meta.NumDelivered)
	}
	return d
}

// delivery reads an event that is to be worked. Whatever lies there, the lane
// must be able to go on without it: bytes that make the decoder panic are
// unreadable like others.
func (b *Broker) delivery(r record) (d Delivery) {
	d = Delivery{Raw: r.data, Deliveries: 1}
	defer func() {
		if p := recover(); p != nil {
			d.Err = fmt.Errorf("%w: the decoder panicked", errUndecodable) // what it says may be personal
		}
		if d.Err != nil {
			d.Event = r.label()
		}
	}()
	d.Event, d.Err = b.decode(r.subject, r.position, r.data)
	if errors.Is(d.Err, errNewer) {
		b.newer.tell(b.log, r.position, d.Err)
	}
	d.Err = later(d.Err)
	return d
}

// newer counts the deliveries that were left to a newer build.
type newer struct{ count atomic.Uint64 }

// tell says that there are such events: of the first, and of every second,
// fourth, eighth after it.
func (n *newer) tell(log *slog.Logger, position uint64, err error) {
	if count := n.count.Add(1); count&(count-1) == 0 {
		log.Warn("streams: left to a newer build", "position", position, "count", count, "error", err.Error())
	}
}

// label is what can be said of an event that cannot be read: key and position.
func (r record) label() domain.Event {
	e := domain.Event{Position: domain.Position(r.position)}
	if _, kind, tenant, id, err := parseSubject(r.subject); err == nil {
		var env struct { // the number completes the key
			Number domain.NumberID `json:"number"`
		}
		_ = json.Unmarshal(r.data, &env)
		e.Key = domain.Key{Kind: kind, Tenant: tenant, Number: env.Number, ID: id}
	}
	return e
}

// LaneState is what an operator sees of one lane.
type LaneState struct {
	Lane    int
	Waiting uint64 // not yet handed out
	Working int    // handed out and not done
}

func laneState(lane int, info *jetstream.ConsumerInfo) LaneState {
	return LaneState{Lane: lane, Waiting: info.NumPending, Working: info.NumAckPending}
}

// Lanes returns the state of all lanes.
func (b *Broker) Lanes(ctx context.Context) ([]LaneState, error) {
	var out []LaneState
	infos, err := b.events.consumers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list lanes: %w", err)
	}
	for _, info := range infos {
		var lane int
		if !strings.HasPrefix(info.Name, "lane") {
			continue
		}
		if _, err := fmt.Sscanf(info.Name, "lane%02d", &lane); err != nil {
			continue
		}
		out = append(out, laneState(lane, info))
	}
	return out, nil
}
