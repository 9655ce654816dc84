package dispatch

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// Delivery is one event handed out as work. Exactly one of Done and Reject is
// called, or none when the worker stops; until then Hold keeps it.
type Delivery struct {
	Event      domain.Event
	Err        error  // the stored bytes cannot be read; Event holds key and position only
	Raw        []byte // the stored form
	Deliveries int    // how often it was handed out, this time included
	// Due says that this is the copy of a request that waited in the schedule.
	// Its request may have left the log meanwhile; Event is whole either way.
	Due bool
	// Order says in which order copies became due: later ones have a greater one.
	Order uint64
	// Place is where the copy is on its shelf; 0: it is not from one.
	Place  uint64
	Done   func() error
	Hold   func() error
	Reject func(reason string) error
}

// Work hands out the message events of the log, lane by lane.
type Work interface {
	// Work works this process's share of the lanes until ctx ends. It calls
	// begin for every tenure, the time for which this process has a lane: the
	// context ends when the lane is to be handed over. take is then handed the
	// lane's events in order, each at least once, one at a time; it must not
	// block. finish is called after the last of them: it returns when nothing
	// of the lane is worked any more. What was neither finished nor rejected by
	// then is the next owner's, and somebody else may have worked the lane
	// before the next tenure: it remembers nothing of this one.
	Work(ctx context.Context, begin func(tenure context.Context, lane int) (take func(Delivery), finish func())) error
}

// Shelf holds the due copies of one urgency of a number that cannot be worked
// yet, in the order in which they were put there.
type Shelf struct {
	Tenant domain.TenantID
	Number domain.NumberID
	Bulk   bool
	// First is the Order of what is first on it, and Older that of the newest
	// copy of the line that became due before and is not done, 0 for none; as
	// Shelves has seen it.
	First, Older uint64
}

// Schedule keeps requests whose time is far ahead, and those whose time has
// come and who cannot be sent.
type Schedule interface {
	// Schedule hands v.Event out again at a time, with [Delivery.Due] set. When
	// it returns nil it is kept durably; scheduling the same event again is
	// harmless.
	Schedule(ctx context.Context, v Delivery, at time.Time) error
	// Unschedule forgets what is scheduled of a message. Whoever acknowledges
	// the event that ended one calls it first, and after a Schedule that may
	// have come later than the end: once the log has let go of that event,
	// nothing else remembers that the copy must not be sent.
	Unschedule(ctx context.Context, k domain.Key) error
	// Shelve puts due copies at the end of their shelf, in order, and returns
	// their places. They are kept durably then. After an error some may be; to
	// put one there twice is harmless.
	Shelve(ctx context.Context, s Shelf, due []Delivery) (places []uint64, err error)
	// Unshelve takes what is at a place off its shelf, if it is there.
	Unshelve(ctx context.Context, place uint64) error
	// Shelves returns the shelves of a lane on which anything is.
	Shelves(ctx context.Context, lane int) ([]Shelf, error)
	// ReadShelf returns at most so many copies of a shelf after a place, in order;
	// end says that there were no more. Errors are as those of
	// [Backlogs.ReadBacklog], and so are the deliveries.
	ReadShelf(ctx context.Context, s Shelf, after uint64, most int) (page []Delivery, end bool, err error)
	// Park keeps a copy of a request durably and returns its place, from which
	// Unshelve takes it. While it is there the log keeps at hand what was recorded
	// of the message from ten minutes before on. Parking it again is harmless.
	Park(ctx context.Context, v Delivery) (place uint64, err error)
	// Parked returns at most so many copies that are parked in a lane after a
	// place, in order, as ReadShelf does; but one that cannot be read yet comes
	// with its Err.
	Parked(ctx context.Context, lane int, after uint64, most int) (page []Delivery, end bool, err error)
}

// Backlog stands for requests of one number and urgency that its lane
// acknowledged before they were worked, because they are more than memory should
// hold: every request and redrive of the number from From on that is bulk, or
// every one that is not ([message.AsksBulk]). What is older is finished, or not
// acknowledged.
type Backlog struct {
	Tenant domain.TenantID
	Number domain.NumberID
	Bulk   bool
	From   domain.Position
	// NoTemplates asks a reading to leave out requests of template messages
	// ([message.AsksTemplate]); it is not recorded.
	NoTemplates bool
	// Expired, unless it is zero, asks a reading for nothing but requests that
	// expire until then ([message.AsksUntil]); it is not recorded either.
	Expired time.Time
	// Version changes with every write. A process that does not know the newest
	// one no longer works the lane, and may not write.
	Version uint64
}

// Backlogs remembers the backlogs of the lanes, and reads them.
type Backlogs interface {
	// Backlogs returns those of one lane, which are the caller's from then on: a
	// former owner cannot write them any more.
	Backlogs(ctx context.Context, lane int) ([]Backlog, error)
	// OpenBacklog records a new one (b.Version is 0) durably and returns its
	// version, or [domain.ErrConflict] when the number has one of this urgency.
	OpenBacklog(ctx context.Context, b Backlog) (version uint64, err error)
	// AdvanceBacklog records a new From and returns the new version, or
	// [domain.ErrConflict] when b.Version is not the newest.
	AdvanceBacklog(ctx context.Context, b Backlog) (version uint64, err error)
	// CloseBacklog forgets it, or returns [domain.ErrConflict] as above.
	CloseBacklog(ctx context.Context, b Backlog) error
	// ReadBacklog returns the next requests and redrives of the number and
	// urgency at or after b.From, oldest first, at most so many; next is where to go on, and
	// end says that the log held none at or after it when it was asked. It may
	// return few or none and still not be at the end. What cannot be read comes
	// with its Err, as in a lane; what cannot be read yet fails the call with
	// [domain.Unavailable]. The deliveries have no Done, Hold and Reject.
	ReadBacklog(ctx context.Context, b Backlog, most int) (page []Delivery, next domain.Position, end bool, err error)
}

// Rates knows how fast a number may send.
type Rates interface {
	// PerSecond returns the calls a second Meta takes from a number; 0 says
	// that nobody counts, as for a simulated one. It answers from memory.
	PerSecond(domain.NumberID) int
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

// Gate says whether messages of a number, or its template messages, may be sent
// now. It answers from memory.
type Gate interface {
	Open(n domain.NumberID, template bool) bool
	// Pass returns nil as soon as a number is open, or the context's error.
	Pass(ctx context.Context, n domain.NumberID, template bool) error
}

// Breaker keeps what Meta does not let be sent in its queue. What it records
// closes the [Gate] of every process; the gate of this one is closed when it
// returns. A repeat, and news older than what is recorded, change nothing.
type Breaker interface {
	// Block returns the numbers of which that was news.
	Block(context.Context, tenant.BlockWish) (stopped []domain.NumberID, err error)
	Unblock(context.Context, tenant.UnblockWish) error
}

// Numbers knows the numbers of tenants. It answers from memory.
type Numbers interface {
	Blocked() []tenant.Blocked
	// Unpaced returns the numbers of which nobody said how fast they may send,
	// simulated ones left out.
	Unpaced() map[domain.NumberID]domain.TenantID
	// InAccount returns a tenant's numbers in an account, simulated ones left
	// out.
	InAccount(t domain.TenantID, waba string) []domain.NumberID
}

// Paces records how fast numbers may send.
type Paces interface {
	Pace(context.Context, tenant.PaceWish) (tenant.View, error)
}

// Throughput learns how fast the numbers of an account may send.
type Throughput interface {
	Learn(ctx context.Context, t domain.TenantID, waba string)
}

// Settings knows how tenants want their messages sent. It answers from memory.
type Settings interface {
	Sending(domain.TenantID) tenant.Sending
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
	OwnersOfAccount(waba string) []domain.TenantID
}

// Recorder records facts told by others: a repeat is harmless.
type Recorder interface {
	Record(ctx context.Context, events []domain.Event) error
}

// Quarantine keeps what belongs to nobody.
type Quarantine interface {
	Keep(ctx context.Context, reason string, payload []byte, at time.Time) error
}
