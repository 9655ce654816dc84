package streams

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Dead keeps a copy of work that will not be tried again by itself, for 90
// days: longer than the hot log holds the message.
type Dead struct{ b *Broker }

// Dead returns the dead-letter stream.
func (b *Broker) Dead() *Dead { return &Dead{b} }

// Bury stores the raw stored form of an event (sealed as it is) under its key
// and the event that killed it. Burying the same again is harmless.
func (d *Dead) Bury(ctx context.Context, k domain.Key, id string, raw []byte, reason string) error {
	kind := string(k.Kind)
	if !domain.ValidToken(kind) || !domain.ValidToken(string(k.Tenant)) || !domain.ValidToken(id) {
		return domain.Errorf(domain.Bug, nil, "a dead letter does not fit a subject")
	}
	m := &nats.Msg{Subject: deadSubject(kind, k.Tenant, id), Data: raw, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, m.Subject)
	m.Header.Set("Sendlog-Reason", reason)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	_, err := d.b.settle(ctx, streamDead, publish{js: d.b.publisher(k.Number), msg: m, meter: d.b.meter})
	if errors.Is(err, domain.ErrConflict) {
		return d.b.sync(ctx, streamDead)
	}
	return err
}

// Count returns how many dead letters are kept.
func (d *Dead) Count(ctx context.Context) (uint64, error) {
	s, err := d.b.reader.Stream(ctx, streamDead)
	if err != nil {
		return 0, unavailable(err)
	}
	return s.CachedInfo().State.Msgs, nil
}
