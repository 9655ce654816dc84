package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Journal is the log of tenants on the TENANTS stream: small, one total order,
// one lock. Its events have no personal part.
type Journal struct{ b *Broker }

// Tenants returns the journal of tenants.
func (b *Broker) Tenants() *Journal { return &Journal{b} }

// Append records e if the newest event of the journal is at after, and returns
// [domain.ErrConflict] otherwise.
func (j *Journal) Append(ctx context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	if !domain.ValidToken(string(e.Key.Tenant)) || !domain.ValidToken(e.Key.ID) || len(e.Personal) > 0 {
		return 0, domain.Errorf(domain.Bug, nil, "event %s does not fit the journal of tenants", e.Type)
	}
	data, err := j.b.codec.encode(e)
	if err != nil {
		return 0, err
	}
	p := publish{js: j.b.js[0], msg: message(tenantSubject(e.Key.Tenant, e.Key.ID), e, data), meter: j.b.meter,
		opts: []jetstream.PublishOpt{
			jetstream.WithExpectStream(streamTenants),
			jetstream.WithExpectLastSequence(uint64(after)),
		}}
	seq, err := p.settle(ctx)
	if errors.Is(err, domain.ErrConflict) {
		return j.mine(ctx, e.ID, after)
	}
	return domain.Position(seq), err
}

// mine tells an earlier try of this append, whose acknowledgement was lost,
// from somebody else's event.
func (j *Journal) mine(ctx context.Context, id domain.EventID, after domain.Position) (domain.Position, error) {
	s, err := j.b.reader.Stream(ctx, streamTenants)
	if err != nil {
		return 0, unavailable(err)
	}
	m, err := s.GetMsg(ctx, uint64(after)+1)
	switch {
	case notFound(err):
		return 0, domain.ErrConflict
	case err != nil:
		return 0, unavailable(err)
	case m.Header.Get(jetstream.MsgIDHeader) == string(id):
		return domain.Position(m.Sequence), nil
	}
	return 0, domain.ErrConflict
}

// Follow applies every event of the journal in order, from the first, until
// ctx ends. caughtUp is called once, when all that was recorded before the
// call has been applied.
func (j *Journal) Follow(ctx context.Context, apply func(domain.Event) error, caughtUp func()) error {
	s, err := j.b.reader.Stream(ctx, streamTenants)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", streamTenants, err)
	}
	goal := s.CachedInfo().State.LastSeq
	if goal == 0 {
		caughtUp()
	}
	cons, err := j.b.reader.OrderedConsumer(ctx, streamTenants, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("read stream %s: %w", streamTenants, err)
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", streamTenants, err)
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", streamTenants, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", streamTenants, err)
		}
		if err := j.apply(m.Data(), meta.Sequence.Stream, apply); err != nil {
			return err
		}
		if meta.Sequence.Stream == goal {
			caughtUp()
		}
	}
}

func (j *Journal) apply(data []byte, seq uint64, apply func(domain.Event) error) error {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return fmt.Errorf("journal of tenants at %d: %w", seq, err)
	}
	return apply(env.event(domain.Key{Kind: "tenant", Tenant: env.Tenant}, seq, nil))
}
