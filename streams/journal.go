package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Journal is the log of tenants on the TENANTS stream: small, one total order,
// one lock. Its events have no personal part.
type Journal struct{ b *Broker }

// kindTenant is the kind of keys in the journal.
const kindTenant domain.Kind = "tenant"

// Tenants returns the journal of tenants.
func (b *Broker) Tenants() *Journal { return &Journal{b} }

// Append records e if the newest event of the journal is at after, and returns
// [domain.ErrConflict] otherwise.
func (j *Journal) Append(ctx context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	if e.Key.Kind != kindTenant || !domain.ValidToken(string(e.Key.Tenant)) || !domain.ValidToken(e.Key.ID) || len(e.Personal) > 0 {
		return 0, domain.Errorf(domain.Bug, nil, "event %s does not fit the journal of tenants", e.Type)
	}
	data, err := j.b.codec.encode(e)
	if err != nil {
		return 0, err
	}
	m := publication(tenantSubject(e.Key.Tenant, e.Key.ID), e, data)
	m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(uint64(after), 10))
	seq, err := j.b.settle(ctx, streamTenants, publish{js: j.b.js[0], msg: m, meter: j.b.meter})
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
		return domain.Position(m.Sequence), j.b.sync(ctx, streamTenants)
	}
	return 0, domain.ErrConflict
}

// Follow applies every event of the journal in order, each once, from the
// first, until ctx ends; it outlives a log that is away for a while. caughtUp
// is called once, when all that was recorded before the call has been applied.
func (j *Journal) Follow(ctx context.Context, apply func(domain.Event) error, caughtUp func()) error {
	s, err := j.b.reader.Stream(ctx, streamTenants)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", streamTenants, err)
	}
	goal := s.CachedInfo().State.LastSeq
	if goal == 0 {
		caughtUp()
	}
	var last uint64
	take := func(m jetstream.Msg) error {
		e, err := j.decode(m, last)
		if err != nil {
			return err
		}
		if err := apply(e); err != nil {
			return err
		}
		if last = uint64(e.Position); last == goal {
			caughtUp()
		}
		return nil
	}
	return j.b.follow(ctx, streamTenants, take)
}

// Of returns up to limit events of one tenant after a position, oldest first.
func (j *Journal) Of(ctx context.Context, t domain.TenantID, after domain.Position, limit int) ([]domain.Event, error) {
	if !domain.ValidToken(string(t)) { // a wildcard would read everybody's
		return nil, domain.Errorf(domain.Bug, nil, "a tenant id does not fit a subject")
	}
	s, err := j.b.reader.Stream(ctx, streamTenants)
	if err != nil {
		return nil, unreadable(fmt.Errorf("open stream %s: %w", streamTenants, err))
	}
	var events []domain.Event
	for len(events) < limit {
		m, err := s.GetMsg(ctx, uint64(after)+1, jetstream.WithGetMsgSubject(tenantSubject(t, ">")))
		if notFound(err) {
			break
		}
		if err != nil {
			return nil, unreadable(fmt.Errorf("read stream %s: %w", streamTenants, err))
		}
		e, err := j.open(m.Subject, m.Sequence, m.Data)
		if err != nil {
			return nil, err
		}
		events, after = append(events, e), e.Position
	}
	return events, nil
}

// decode opens a stored event of the journal, which must be the next one.
func (j *Journal) decode(m jetstream.Msg, last uint64) (domain.Event, error) {
	meta, err := m.Metadata()
	if err != nil {
		return domain.Event{}, fmt.Errorf("read stream %s: %w", streamTenants, err)
	}
	seq := meta.Sequence.Stream
	if seq != last+1 {
		return domain.Event{}, lost(streamTenants, last, seq)
	}
	return j.open(m.Subject(), seq, m.Data())
}

// open opens a stored event. What the subject says and what the envelope says
// must agree.
func (j *Journal) open(subject string, seq uint64, data []byte) (domain.Event, error) {
	env, _, err := j.b.codec.open(data)
	if err != nil {
		return domain.Event{}, fmt.Errorf("journal of tenants at %d: %w", seq, err)
	}
	id, own := strings.CutPrefix(subject, tenantSubject(env.Tenant, ""))
	if !own || !domain.ValidToken(id) {
		return domain.Event{}, fmt.Errorf("journal of tenants: %w: event at %d contradicts its subject", errUndecodable, seq)
	}
	return env.event(domain.Key{Kind: kindTenant, Tenant: env.Tenant, ID: id}, seq, nil), nil
}
