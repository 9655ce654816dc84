package projections

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Source reads the log in its one order.
type Source interface {
	// Open returns a cursor over the events after the given position.
	Open(ctx context.Context, after domain.Position) (Cursor, error)

	// Tail returns the position of the newest event that a cursor will
	// deliver, 0 when there is none. It is never less than what a cursor has
	// delivered before: a checkpoint ahead of the tail is taken for another
	// log's, and the models are rebuilt.
	Tail(ctx context.Context) (domain.Position, error)

	// Incarnation identifies the log. It changes when the log was recreated,
	// and positions of two incarnations have nothing to do with each other.
	Incarnation(ctx context.Context) (string, error)
}

// Cursor reads on from one position. It is used by one goroutine.
type Cursor interface {
	// Next returns 1..max events, in order and without a gap, and blocks until
	// there is at least one or ctx ends. After an error the cursor is closed
	// and another one opened. An error of kind domain.Bug says that events are
	// lost; it stops the reader for good.
	Next(ctx context.Context, max int) ([]domain.Event, error)
	Close() error
}

// Announcer tells live listeners what changed. The live runner calls it after
// its write; an error is logged and the notices are not offered again, since
// a listener that missed some resumes from the log.
type Announcer interface {
	Announce(ctx context.Context, notices []Notice) error
}

// Notice is one change worth telling, at most one per event and model.
type Notice struct {
	ID       domain.EventID // of the event that caused it
	Tenant   domain.TenantID
	Kind     string           // e.g. "message.delivered", "account.notice"
	Subject  domain.MessageID // empty when it is not about a message
	At       time.Time        // of the event
	Position domain.Position
	Data     any // [MessageNews] or [AccountNews]; encodes as JSON
}
