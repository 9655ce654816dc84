package dispatch

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
)

// Delivery is one event handed out as work. Exactly one of Done and Reject is
// called, or none when the worker stops; until then Hold keeps it.
type Delivery struct {
	Event      domain.Event
	Err        error  // the stored bytes cannot be read; Event holds key and position only
	Raw        []byte // the stored form
	Deliveries int    // how often it was handed out, this time included
	Done       func() error
	Hold       func() error
	Reject     func(reason string) error
}

// Work hands out the message events of the log, lane by lane.
type Work interface {
	// Lane hands the events of one lane to fn in order until ctx ends, each at
	// least once. fn must not block.
	Lane(ctx context.Context, lane int, fn func(Delivery)) error
}

// Facts reads the log on from a position.
type Facts interface {
	// Follow calls fn with every event of a key after a position, oldest
	// first, until ctx ends or fn returns an error.
	Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error
	// Last returns the position of the newest event of a key, 0 when there is
	// none.
	Last(ctx context.Context, k domain.Key) (domain.Position, error)
}

// Graveyard keeps copies of work that will not be tried again by itself.
// Burying the same id again is harmless.
type Graveyard interface {
	Bury(ctx context.Context, k domain.Key, id string, raw []byte, reason string) error
}

// Gate says whether messages of a number may be sent now. It answers from
// memory.
type Gate interface {
	Open(domain.NumberID) bool
	// Pass returns nil as soon as a number is open, or the context's error.
	Pass(context.Context, domain.NumberID) error
}

// Tokens opens the access token of a number.
type Tokens interface {
	Token(domain.NumberID) (string, error)
}

// Provider sends one message, once. It never retries: that is this room's job.
type Provider interface {
	Send(ctx context.Context, c cloudapi.Call) cloudapi.Outcome
}

// Owners knows which tenant a webhook is about.
type Owners interface {
	Owner(domain.NumberID) (domain.TenantID, bool)
	OwnerOfAccount(waba string) (domain.TenantID, bool)
}

// Recorder records facts told by others: a repeat is harmless.
type Recorder interface {
	Record(ctx context.Context, events []domain.Event) error
}

// Quarantine keeps what belongs to nobody.
type Quarantine interface {
	Keep(ctx context.Context, reason string, payload []byte, at time.Time) error
}
