package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// OwnSealer seals what belongs to no tenant.
type OwnSealer interface {
	SealOwn(label string, plain []byte) ([]byte, error)
	OpenOwn(label string, sealed []byte) ([]byte, error)
	OwnIsCurrent(label string, sealed []byte) bool
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
	Size     int    // of the payload (bytes)
	Payload  []byte // nil in a list
}

// keptEnvelope is the stored form of a kept payload. What does not fit one
// message is in parts, stored before it: where the envelope is, the payload is
// whole.
type keptEnvelope struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Size   int       `json:"size"`
	Parts  []uint64  `json:"parts,omitempty"` // sequences of all but the last part
	Sealed []byte    `json:"sealed"`          // the last part
}

// quarantineChunk bounds one part (bytes of payload): base64 and the envelope
// must fit the broker's 1 MiB.
const quarantineChunk = 640 << 10

// Keep stores payload durably. The same payload for the same reason within the
// duplicate window is stored once: Meta repeats what it is not sure about.
func (q *Quarantine) Keep(ctx context.Context, reason string, payload []byte, at time.Time) error {
	if !domain.ValidToken(reason) {
		return domain.Errorf(domain.Bug, nil, "quarantine reason does not fit a subject")
	}
	if err := q.store(ctx, reason, payload, at, copying{}); err != nil {
		return err
	}
	q.b.meter.Add(domain.Quarantined, 1, reason)
	return nil
}

// copying is how what is kept already is stored once more.
type copying struct {
	mark string        // tells the copy from the original within the duplicate window
	life time.Duration // what is left of its 90 days; 0: all
}

func (q *Quarantine) store(ctx context.Context, reason string, payload []byte, at time.Time, c copying) error {
	env := keptEnvelope{ID: domain.Digest("quarantine", reason, string(payload)), At: at.UTC(), Size: len(payload)}
	for ; len(payload) > quarantineChunk; payload = payload[quarantineChunk:] {
		id := env.part(len(env.Parts))
		sealed, err := q.seal(id, payload[:quarantineChunk])
		if err != nil {
			return err
		}
		seq, err := q.put(ctx, quarantinePartSubject(reason), id, sealed, c)
		if err != nil {
			return err
		}
		env.Parts = append(env.Parts, seq)
	}
	var err error
	if env.Sealed, err = q.seal(env.part(len(env.Parts)), payload); err != nil {
		return err
	}
	data, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("encode for quarantine: %w", err)
	}
	_, err = q.put(ctx, quarantineSubject(reason), env.ID, data, c)
	return err
}

// part names a part: it opens in its place only.
func (env keptEnvelope) part(n int) string { return fmt.Sprintf("%s-%d", env.ID, n) }

func (q *Quarantine) seal(id string, part []byte) ([]byte, error) {
	sealed, err := q.sealer.SealOwn("quarantine:"+id, part)
	if err != nil {
		return nil, fmt.Errorf("seal for quarantine: %w", err)
	}
	return sealed, nil
}

func (q *Quarantine) put(ctx context.Context, subject, id string, data []byte, c copying) (uint64, error) {
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, id+c.mark)
	if c.life > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(max(c.life/time.Second, 1))))
	}
	return q.b.settle(ctx, streamQuarantine, publish{js: q.b.js[0], msg: m, meter: q.b.meter})
}

// List returns up to limit kept payloads before a position (0: from the
// newest on), newest first, without their payloads.
func (q *Quarantine) List(ctx context.Context, before domain.Position, limit int) ([]Kept, error) {
	s, err := q.b.reader.Stream(ctx, streamQuarantine)
	if err != nil {
		return nil, unreadable(err)
	}
	state := s.CachedInfo().State
	seq := state.LastSeq
	if before > 0 {
		seq = min(seq, uint64(before)-1)
	}
	var out []Kept
	parts := map[uint64]bool{} // of what was listed: they come next, and are large
	for ; seq > 0 && seq >= state.FirstSeq && len(out) < limit; seq-- {
		if parts[seq] {
			continue
		}
		k, env, err := read(ctx, s, seq)
		if err != nil {
			return nil, err
		}
		if k != nil {
			out = append(out, *k)
		}
		for _, part := range env.Parts {
			parts[part] = true
		}
	}
	return out, nil
}

// Get returns one kept payload.
func (q *Quarantine) Get(ctx context.Context, at domain.Position) (Kept, error) {
	s, err := q.b.reader.Stream(ctx, streamQuarantine)
	if err != nil {
		return Kept{}, unreadable(err)
	}
	k, env, err := read(ctx, s, uint64(at))
	switch {
	case err != nil:
		return Kept{}, err
	case k == nil:
		return Kept{}, domain.Errorf(domain.Unknown, nil, "nothing is kept under this id")
	}
	k.Payload = make([]byte, 0, k.Size)
	for i, seq := range append(env.Parts, uint64(at)) {
		sealed := env.Sealed
		if seq != uint64(at) {
			m, err := s.GetMsg(ctx, seq)
			switch {
			case notFound(err): // the 90 days of its first parts are over
				return Kept{}, domain.Errorf(domain.Unknown, nil, "nothing is kept under this id any longer")
			case err != nil:
				return Kept{}, unreadable(err)
			}
			sealed = m.Data
		}
		part, err := q.sealer.OpenOwn("quarantine:"+env.part(i), sealed)
		if err != nil {
			return Kept{}, domain.Errorf(domain.Bug, err, "the kept payload cannot be opened")
		}
		k.Payload = append(k.Payload, part...)
	}
	return *k, nil
}

// read returns what is kept at seq, or nil when that is nothing, or a part.
func read(ctx context.Context, s jetstream.Stream, seq uint64) (*Kept, keptEnvelope, error) {
	var env keptEnvelope
	if seq == 0 {
		return nil, env, nil
	}
	m, err := s.GetMsg(ctx, seq)
	if notFound(err) {
		return nil, env, nil
	}
	if err != nil {
		return nil, env, unreadable(err)
	}
	reason := strings.TrimPrefix(m.Subject, quarantineSubject(""))
	if !domain.ValidToken(reason) {
		return nil, env, nil
	}
	if err := json.Unmarshal(m.Data, &env); err != nil {
		return nil, env, domain.Errorf(domain.Bug, err, "the kept payload at %d cannot be read", seq)
	}
	return &Kept{Position: domain.Position(seq), Reason: reason, At: env.At, Size: env.Size}, env, nil
}
