package domain

import "context"

// Expect says what the log must hold for an append to succeed. The zero value
// is invalid: forgetting it could double a message.
type Expect struct {
	kind expectKind
	last Position
}

type expectKind uint8

const (
	expectFirst expectKind = iota + 1
	expectAfter
	expectAny
)

// First expects that the key has no event yet, under any key that is the same
// ([Key.Same]).
func First() Expect { return Expect{kind: expectFirst} }

// After expects that last is the newest event of the key.
func After(last Position) Expect { return Expect{kind: expectAfter, last: last} }

// Any expects nothing: the fact is true whatever else is recorded. Only the
// event id guards against recording it twice, and only for the log's
// duplicate window.
func Any() Expect { return Expect{kind: expectAny} }

// Sequence returns the last position the key must have and whether there is
// such an expectation. It panics on the zero Expect, which is a bug.
func (x Expect) Sequence() (Position, bool) {
	switch x.kind {
	case expectFirst:
		return 0, true
	case expectAfter:
		return x.last, true
	case expectAny:
		return 0, false
	}
	panic("domain: append without an expectation")
}

// Log is the append-only log of facts, as the domain needs it.
type Log interface {
	// Append records e durably and returns its position. When it returns nil
	// the event is in the log, exactly once, to the configured durability.
	//
	// It returns [ErrConflict] when the key does not hold what x expects, and
	// an error of kind [Unavailable] when the log could not say in time; then
	// the event may or may not have been recorded, and repeating the identical
	// call (same event id) is safe.
	Append(ctx context.Context, e Event, x Expect) (Position, error)

	// Load returns the events of a key in order, or none, of those the log has
	// at hand: the oldest leave it once they are old and nothing is unfinished.
	// The events of a message are found under any number of its tenant, and
	// say in their own key which it is ([Key.Same]).
	Load(ctx context.Context, k Key) ([]Event, error)
}
