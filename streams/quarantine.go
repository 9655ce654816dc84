package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// OwnSealer seals what belongs to no tenant.
type OwnSealer interface {
	SealOwn(label string, plain []byte) ([]byte, error)
	OpenOwn(label string, sealed []byte) ([]byte, error)
}

// Quarantine keeps payloads that belong to no tenant or have no known shape,
// verbatim and sealed, for 90 days.
type Quarantine struct {
	b      *Broker
	sealer OwnSealer
}

// Quarantine returns the quarantine.
func (b *Broker) Quarantine(s OwnSealer) *Quarantine { return &Quarantine{b, s} }

// Kept is one payload in quarantine.
type Kept struct {
	Position domain.Position // in the QUARANTINE stream
	Reason   string          // one word: "unknown_number", "unknown_account", …
	At       time.Time
	Size     int // of the payload (bytes)
	Payload  []byte
}

type keptEnvelope struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Size   int       `json:"size"`
	Sealed []byte    `json:"sealed"`
}

// quarantineChunk bounds one kept message (bytes of payload): base64 and the
// envelope must fit the broker's 1 MiB.
const quarantineChunk = 640 << 10

// Keep stores payload durably. The same payload for the same reason within the
// duplicate window is stored once: Meta repeats what it is not sure about.
// A payload too large for one message is kept in consecutive parts.
func (q *Quarantine) Keep(ctx context.Context, reason string, payload []byte, at time.Time) error {
	if !domain.ValidToken(reason) {
		return domain.Errorf(domain.Bug, nil, "quarantine reason does not fit a subject")
	}
	for part := 0; part == 0 || len(payload) > 0; part++ {
		n := min(len(payload), quarantineChunk)
		if err := q.keepPart(ctx, reason, payload[:n], at, part); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return nil
}

func (q *Quarantine) keepPart(ctx context.Context, reason string, payload []byte, at time.Time, part int) error {
	id := domain.Digest("quarantine", reason, fmt.Sprint(part), string(payload))
	sealed, err := q.sealer.SealOwn("quarantine:"+id, payload)
	if err != nil {
		return fmt.Errorf("seal for quarantine: %w", err)
	}
	data, err := json.Marshal(keptEnvelope{ID: id, At: at.UTC(), Size: len(payload), Sealed: sealed})
	if err != nil {
		return fmt.Errorf("encode for quarantine: %w", err)
	}
	m := &nats.Msg{Subject: quarantineSubject(reason), Data: data, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, id)
	p := publish{js: q.b.js[0], msg: m, meter: q.b.meter,
		opts: []jetstream.PublishOpt{jetstream.WithExpectStream(streamQuarantine)}}
	if _, err := p.settle(ctx); err != nil {
		return err
	}
	q.b.meter.Add(domain.Quarantined, 1, reason)
	return nil
}

// List returns up to limit kept payloads after a position, oldest first,
// without their payloads.
func (q *Quarantine) List(ctx context.Context, after domain.Position, limit int) ([]Kept, error) {
	var out []Kept
	for len(out) < limit {
		k, err := q.next(ctx, uint64(after)+1, false)
		if err != nil || k == nil {
			return out, err
		}
		out = append(out, *k)
		after = k.Position
	}
	return out, nil
}

// Get returns one kept payload.
func (q *Quarantine) Get(ctx context.Context, at domain.Position) (Kept, error) {
	k, err := q.next(ctx, uint64(at), true)
	if err != nil {
		return Kept{}, err
	}
	if k == nil || k.Position != at {
		return Kept{}, domain.Errorf(domain.Unknown, nil, "nothing is kept under this id")
	}
	return *k, nil
}

// next returns the first kept payload at or after seq, or nil.
func (q *Quarantine) next(ctx context.Context, seq uint64, open bool) (*Kept, error) {
	s, err := q.b.reader.Stream(ctx, streamQuarantine)
	if err != nil {
		return nil, unavailable(err)
	}
	m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject("quarantine.>"))
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	var env keptEnvelope
	if err := json.Unmarshal(m.Data, &env); err != nil {
		return nil, fmt.Errorf("read quarantine at %d: %w", m.Sequence, err)
	}
	k := &Kept{Position: domain.Position(m.Sequence), Reason: m.Subject[len("quarantine."):], At: env.At, Size: env.Size}
	if open {
		if k.Payload, err = q.sealer.OpenOwn("quarantine:"+env.ID, env.Sealed); err != nil {
			return nil, domain.Errorf(domain.Bug, err, "the kept payload cannot be opened")
		}
	}
	return k, nil
}
