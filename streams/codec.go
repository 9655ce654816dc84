package streams

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Sealer seals the personal part of an event, bound to its tenant and id.
type Sealer interface {
	Seal(domain.TenantID, domain.EventID, []byte) ([]byte, error)
	Open(domain.TenantID, domain.EventID, []byte) ([]byte, error)
}

// envelope is the stored form of an event.
type envelope struct {
	ID          domain.EventID  `json:"id"`
	Type        string          `json:"type"`
	Version     int             `json:"v"`
	Tenant      domain.TenantID `json:"tenant"`
	Key         string          `json:"key"` // kind and id of the aggregate, as in the subject
	Number      domain.NumberID `json:"number,omitempty"`
	At          time.Time       `json:"at"`
	Causation   domain.EventID  `json:"causation,omitempty"`
	Correlation string          `json:"correlation,omitempty"`
	Actor       string          `json:"actor,omitempty"`
	Trace       string          `json:"trace,omitempty"`
	Facts       json.RawMessage `json:"facts"`
	Sealed      []byte          `json:"sealed,omitempty"` // begins with the id of the key inside the tenant's keyset
}

// codec turns events into stored bytes and back.
type codec struct {
	sealer  Sealer
	history upcasts
}

func (c codec) encode(e domain.Event) ([]byte, error) {
	if newest := c.history.newest(e.Type); e.Version != newest {
		return nil, domain.Errorf(domain.Bug, nil, "%s is written in version %d, and not in %d", e.Type, newest, e.Version)
	}
	env := envelope{
		ID: e.ID, Type: e.Type, Version: e.Version, Tenant: e.Key.Tenant, Key: keyText(e.Key.Kind, e.Key.ID), Number: e.Key.Number, At: e.At,
		Causation: e.Causation, Correlation: e.Correlation, Actor: e.Actor, Trace: e.Trace, Facts: e.Facts,
	}
	if len(e.Personal) > 0 {
		var err error
		if env.Sealed, err = c.sealer.Seal(e.Key.Tenant, e.ID, e.Personal); err != nil {
			return nil, fmt.Errorf("seal %s: %w", e.Type, err)
		}
	}
	b, err := env.encode()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Type, err)
	}
	if len(b) > domain.MaxEvent {
		return nil, domain.Errorf(domain.TooLarge, nil, "the event would be %d bytes; the log takes %d", len(b), domain.MaxEvent)
	}
	return b, nil
}

// encode writes the envelope as encoding/json would, at half the cost; every
// fact passes here. Facts stay as they are.
func (env envelope) encode() ([]byte, error) {
	if !json.Valid(env.Facts) {
		return nil, errors.New("its facts are no JSON")
	}
	b := make([]byte, 0, 384+len(env.Facts)+base64.StdEncoding.EncodedLen(len(env.Sealed)))
	b = appendText(append(b, `{"id":`...), string(env.ID))
	b = appendText(append(b, `,"type":`...), env.Type)
	b = strconv.AppendInt(append(b, `,"v":`...), int64(env.Version), 10)
	b = appendText(append(b, `,"tenant":`...), string(env.Tenant))
	b = appendText(append(b, `,"key":`...), env.Key)
	b = appendMember(b, `,"number":`, string(env.Number))
	b, err := env.At.AppendText(append(b, `,"at":"`...))
	if err != nil {
		return nil, err
	}
	b = append(b, '"')
	b = appendMember(b, `,"causation":`, string(env.Causation))
	b = appendMember(b, `,"correlation":`, env.Correlation)
	b = appendMember(b, `,"actor":`, env.Actor)
	b = appendMember(b, `,"trace":`, env.Trace)
	b = append(append(b, `,"facts":`...), env.Facts...)
	if len(env.Sealed) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"sealed":"`...), env.Sealed), '"')
	}
	return append(b, '}'), nil
}

// appendMember appends a member whose value is a text, unless that is empty.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(append(b, name...), value)
}

func appendText(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := domain.JSON(s) // of a string it never fails
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func keyText(k domain.Kind, id string) string { return string(k) + "." + id }

// errUndecodable marks stored bytes that this version cannot read.
var errUndecodable = errors.New("stored event cannot be read")

// errNewer marks those that a newer build reads: nothing is wrong with them.
var errNewer = fmt.Errorf("%w by this build", errUndecodable)

// later says of an event of a newer build that it cannot be read yet, to those
// who may leave it to a process that reads it. Whoever reads the log in order
// may not: it stops there and says why.
func later(err error) error {
	if errors.Is(err, errNewer) {
		return domain.Errorf(domain.Unavailable, err, "this was recorded by a newer version of the server, and is worked by a process that runs it; try again")
	}
	return err
}

// decode opens a stored event. What the subject says and what the envelope
// says must agree.
func (c codec) decode(subject string, seq uint64, data []byte) (domain.Event, error) {
	lane, kind, tenant, id, err := parseSubject(subject)
	if err != nil {
		return domain.Event{}, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	env, personal, err := c.open(data)
	if err != nil {
		return domain.Event{}, fmt.Errorf("event at %d: %w", seq, err)
	}
	if env.Tenant != tenant || domain.Lane(env.Number) != lane || env.Key != keyText(kind, id) {
		return domain.Event{}, fmt.Errorf("%w: event at %d contradicts its subject", errUndecodable, seq)
	}
	return env.event(domain.Key{Kind: kind, Tenant: tenant, Number: env.Number, ID: id}, seq, personal), nil
}

// Headers of an archived copy.
const (
	headerPosition = "Sendlog-Position" // where the event is in the log; the same as the copy's sequence
	headerSubject  = "Sendlog-Subject"  // its subject in the hot log
)

// decodeArchived opens the archived copy of an event. What the stream, the
// headers and the envelope say must agree.
func (c codec) decodeArchived(stream string, m record) (domain.Event, error) {
	subject := m.header.Get(headerSubject)
	if m.header.Get(headerPosition) != strconv.FormatUint(m.position, 10) || m.subject != archiveSubject(stream, subject) {
		return domain.Event{}, fmt.Errorf("%w: the copy at %d in %s contradicts its headers", errUndecodable, m.position, stream)
	}
	return c.decode(subject, m.position, m.data)
}

func (c codec) open(data []byte) (envelope, []byte, error) {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return env, nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	var personal []byte
	if len(env.Sealed) > 0 {
		var err error
		personal, err = c.sealer.Open(env.Tenant, env.ID, env.Sealed)
		if domain.KindOf(err) == domain.Unavailable {
			return env, nil, err // the key may come: not an event that cannot be read
		}
		if err != nil {
			return env, nil, fmt.Errorf("%w: %w", errUndecodable, err)
		}
	}
	personal, err := c.history.lift(&env, personal)
	return env, personal, err
}

func (env envelope) event(k domain.Key, seq uint64, personal []byte) domain.Event {
	return domain.Event{
		ID: env.ID, Type: env.Type, Version: env.Version, Key: k, At: env.At, Position: domain.Position(seq),
		Causation: env.Causation, Correlation: env.Correlation, Actor: env.Actor, Trace: env.Trace,
		Facts: env.Facts, Personal: personal,
	}
}

// publication builds the publish of an event.
func publication(subject string, e domain.Event, data []byte) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, string(e.ID))
	if e.Trace != "" {
		m.Header.Set("traceparent", e.Trace)
	}
	return m
}
