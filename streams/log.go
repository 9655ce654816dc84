package streams

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Log is the append-only log of facts on the EVENTS stream, the hot log. It
// implements [domain.Log] and is safe for concurrent use. What the archiver has
// taken out of the hot log it neither finds nor guards against: who must know
// older keys asks the read models.
type Log struct {
	b *Broker
}

var _ domain.Log = (*Log)(nil)

// Append implements [domain.Log]. It takes at most [domain.AppendTimeout].
func (l *Log) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	subject, err := subjectOf(e.Key)
	if err != nil {
		return 0, err
	}
	data, err := l.b.codec.encode(e)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	m := publication(subject, e, data)
	if last, ok := x.Sequence(); ok {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(uint64(last), 10))
		if last == 0 {
			m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, anyLane(e.Key, subject))
		}
	}
	p := publish{js: l.b.publisher(e.Key.Number), msg: m, meter: l.b.meter}
	seq, err := l.b.settle(ctx, streamEvents, p)
	l.b.meter.Observe(domain.AppendSeconds, time.Since(start).Seconds())
	if errors.Is(err, domain.ErrConflict) {
		ctx, cancel := context.WithDeadline(ctx, start.Add(domain.AppendTimeout))
		defer cancel()
		return l.mine(ctx, anyLane(e.Key, subject), e.ID)
	}
	if err == nil {
		l.b.recent.wrote(subject, seq, data, e)
	}
	return domain.Position(seq), err
}

// mine looks for an event under its own id after a conflict: an earlier try of
// the same append may be what stands in its way. Two workers never share an
// event id, so finding it means this very append succeeded.
func (l *Log) mine(ctx context.Context, subject string, id domain.EventID) (domain.Position, error) {
	found := domain.Position(0)
	err := l.walk(ctx, subject, func(m *jetstream.RawStreamMsg) error {
		if m.Header.Get(jetstream.MsgIDHeader) == string(id) {
			found = domain.Position(m.Sequence)
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case found == 0:
		return 0, domain.ErrConflict
	}
	return found, l.b.sync(ctx, streamEvents)
}

// Load implements [domain.Log]. What it returns is as durable as an append: a
// repeated request is answered from it. It takes at most
// [domain.AppendTimeout].
func (l *Log) Load(ctx context.Context, k domain.Key) ([]domain.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	subject, err := subjectOf(k)
	if err != nil {
		return nil, err
	}
	var events []domain.Event
	err = l.walk(ctx, anyLane(k, subject), func(m *jetstream.RawStreamMsg) error {
		e, err := l.b.decode(m.Subject, m.Sequence, m.Data)
		if errors.Is(err, errNewer) {
			return later(err)
		}
		if err != nil {
			return domain.Errorf(domain.Bug, err, "an event of this message cannot be read")
		}
		events = append(events, e)
		return nil
	})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return events, l.b.sync(ctx, streamEvents)
}

// walk visits the messages of one aggregate in order, read from the leader.
// Where the first of them lies the others lie, so a wildcard is asked for once:
// finding that nothing more matches one reads every later block.
func (l *Log) walk(ctx context.Context, subject string, visit func(*jetstream.RawStreamMsg) error) error {
	for seq := uint64(1); ; {
		m, err := l.b.events.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if notFound(err) {
			return nil
		}
		if err != nil {
			return unavailable(fmt.Errorf("read events of a key: %w", err))
		}
		if err := visit(m); err != nil {
			return err
		}
		seq, subject = m.Sequence+1, m.Subject
	}
}

// Record appends facts told by others, in the order given. A fact that names
// one thing ([domain.KindInbound]) is recorded once per key for as long as the
// hot log holds it; the others once per event id within the duplicate window,
// and all folds take a repeat as no news. When it returns nil all of them are in the log.
func (l *Log) Record(ctx context.Context, events []domain.Event) error {
	futures := make([]jetstream.PubAckFuture, len(events))
	for i, e := range events {
		subject, err := subjectOf(e.Key)
		if err != nil {
			return err
		}
		data, err := l.b.codec.encode(e)
		if err != nil {
			return err
		}
		// One connection for all, so that they are stored in this order.
		if futures[i], err = l.b.recorder.PublishMsgAsync(publication(subject, e, data), expectation(e)...); err != nil {
			return unavailable(err)
		}
	}
	for i, f := range futures {
		if err := l.settled(ctx, events[i], f); err != nil {
			return err
		}
	}
	return l.b.sync(ctx, streamEvents)
}

func expectation(e domain.Event) []jetstream.PublishOpt {
	opts := []jetstream.PublishOpt{jetstream.WithStallWait(domain.AppendTimeout)}
	if e.Key.Kind == domain.KindInbound {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(0))
	}
	return opts
}

// settled waits for one acknowledgement of Record and repeats what it leaves
// open.
func (l *Log) settled(ctx context.Context, e domain.Event, f jetstream.PubAckFuture) error {
	var err error
	select {
	case ack := <-f.Ok():
		l.b.recent.wrote(f.Msg().Subject, ack.Sequence, f.Msg().Data, e)
		return nil
	case err = <-f.Err():
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	if judge(err) == conflict {
		return nil // the key exists: told before
	}
	x := domain.Any()
	if e.Key.Kind == domain.KindInbound {
		x = domain.First()
	}
	if _, err = l.Append(ctx, e, x); errors.Is(err, domain.ErrConflict) {
		return nil
	}
	return err
}

// publish is one message with its expectations, on its way.
type publish struct {
	js    jetstream.JetStream
	msg   *nats.Msg
	meter domain.Meter
}

// settle publishes until the answer says something, within
// [domain.AppendTimeout] and the context.
func (p publish) settle(ctx context.Context) (uint64, error) {
	last := time.Now().Add(domain.AppendTimeout)
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		try, done := context.WithTimeout(ctx, min(tryTimeout, time.Until(last)))
		seq, err := p.once(try)
		done()
		switch judge(err) {
		case stored:
			return seq, nil
		case conflict:
			return 0, domain.ErrConflict
		case tooLarge:
			return 0, domain.Errorf(domain.TooLarge, err, "the event is larger than the log takes")
		case refused:
			return 0, unavailable(err)
		case askAgain:
			p.meter.Add(domain.AppendRetries, 1)
		}
		if time.Until(last) < wait {
			return 0, unavailable(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, unavailable(err)
		}
	}
}

// once publishes and waits for the answer.
func (p publish) once(ctx context.Context) (uint64, error) {
	answer, err := p.js.Conn().RequestMsgWithContext(ctx, p.msg)
	if err != nil {
		return 0, err
	}
	return acknowledged(answer.Data)
}

// acknowledged reads the answer to a publish: the sequence under which it is
// stored.
func acknowledged(answer []byte) (uint64, error) {
	// Nearly all say no more than {"stream":"EVENTS","seq":7}.
	if rest, ok := bytes.CutSuffix(answer, []byte("}")); ok && bytes.HasPrefix(answer, []byte(`{"stream":"`)) {
		_, seq, _ := bytes.Cut(rest, []byte(`","seq":`))
		if n, err := strconv.ParseUint(string(seq), 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	var said struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	switch err := json.Unmarshal(answer, &said); {
	case err != nil:
		return 0, fmt.Errorf("read the answer to a publish: %w", err)
	case said.Error != nil:
		return 0, said.Error
	case said.Sequence == 0:
		return 0, errors.New("the answer to a publish names no sequence")
	}
	return said.Sequence, nil
}
