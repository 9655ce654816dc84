package domain

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
)

// Position is the place of an event in the one global order of the log: the
// sequence of the EVENTS stream, 1 or more. Zero means "before everything".
type Position uint64

// Kind says which family of facts a key holds.
type Kind string

// The families of facts, as they appear in subjects.
const (
	KindMessage Kind = "msg"  // the life of one outgoing message
	KindInbound Kind = "in"   // one message from a person, or an echo of the phone app
	KindStatus  Kind = "st"   // what Meta said about messages of one number
	KindAccount Kind = "acct" // what Meta said about the account or number
)

// Key names one aggregate: the facts that share one optimistic lock.
type Key struct {
	Kind   Kind
	Tenant TenantID
	Number NumberID // decides the lane; empty only for account facts without a number
	ID     string   // message id or hash; for statuses and account facts the number
}

// Same reports whether two keys name one aggregate. The number of a message's
// key says where it lies, not which message it is: a tenant with several
// numbers has one message per idempotency key, whichever number it leaves from.
func (k Key) Same(o Key) bool {
	if k.Kind == KindMessage {
		k.Number, o.Number = "", ""
	}
	return k == o
}

// Event is one fact with its envelope.
//
// Facts is JSON that anyone who may read the log may read. Personal is JSON
// about people and their words; it is plaintext here and in memory only: the
// log seals it under the tenant's data key, bound to the tenant and event id.
type Event struct {
	ID       EventID
	Type     string // e.g. "SendRequested"
	Version  int    // of Facts and Personal together, 1 or more
	Key      Key
	At       time.Time // when it was recorded, by the recorder's clock; order is Position's
	Position Position  // set on read

	Causation   EventID // the event that led to this one, if any
	Correlation string  // ties a request to all that follows from it
	Actor       string  // who asked: "api", "dispatch", "meta", "admin", a key id
	Trace       string  // W3C traceparent, if any

	Facts    json.RawMessage
	Personal json.RawMessage // nil when there is nothing personal

	shared *atomic.Pointer[Fact] // decoded once for all copies; nil when each decodes for itself
}

// Shared returns the event for several readers: whoever decodes it first
// decodes it for all of them. What their facts point to is then the same
// memory, so nobody may change it.
func (e Event) Shared() Event {
	e.shared = new(atomic.Pointer[Fact])
	return e
}

// Fact is a typed payload of an event. Its exported JSON fields are the facts;
// Personal returns a pointer to the part that must be sealed, or nil.
type Fact interface {
	EventType() string
	Personal() any
}

// NewEvent wraps a fact in version 1 of its envelope with a fresh id.
func NewEvent(key Key, at time.Time, actor string, f Fact) (Event, error) {
	e := Event{ID: NewEventID(), Type: f.EventType(), Version: 1, Key: key, At: at.UTC(), Actor: actor}
	var err error
	if e.Facts, err = JSON(f); err != nil {
		return Event{}, fmt.Errorf("encode facts of %s: %w", e.Type, err)
	}
	if p := f.Personal(); p != nil {
		if e.Personal, err = JSON(p); err != nil {
			return Event{}, fmt.Errorf("encode personal part of %s: %w", e.Type, err)
		}
	}
	return e, nil
}

// Decode fills f, which must be zero, from the event. The event must be of f's
// type.
func (e Event) Decode(f Fact) error {
	if e.Type != f.EventType() {
		return fmt.Errorf("decode %s at %d as %s: wrong type", e.Type, e.Position, f.EventType())
	}
	if e.shared != nil {
		if known := e.shared.Load(); known != nil && reflect.TypeOf(*known) == reflect.TypeOf(f) {
			reflect.ValueOf(f).Elem().Set(reflect.ValueOf(*known).Elem())
			return nil
		}
	}
	if err := json.Unmarshal(e.Facts, f); err != nil {
		return fmt.Errorf("decode facts of %s at %d: %w", e.Type, e.Position, err)
	}
	if p := f.Personal(); p != nil && len(e.Personal) > 0 {
		if err := json.Unmarshal(e.Personal, p); err != nil {
			return fmt.Errorf("decode personal part of %s at %d: %w", e.Type, e.Position, err)
		}
	}
	if e.shared != nil {
		mine := reflect.New(reflect.TypeOf(f).Elem())
		mine.Elem().Set(reflect.ValueOf(f).Elem())
		known := mine.Interface().(Fact)
		e.shared.Store(&known)
	}
	return nil
}
