package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// Ports is everything this room needs from the others. All are required
// except Checks and Metrics.
//
// Every port answers errors as [domain.Error]: its Kind becomes the HTTP
// status and its Message is shown to the caller. Any other error is a 500 and
// its text is only logged.
type Ports struct {
	Audit       Audit
	Canceller   Canceller // *message.Canceller
	Checks      []Check   // what /readyz asks, in this order
	Customers   Customers
	DeadLetters DeadLetters
	Directory   Directory // *tenant.Directory
	Doctor      Doctor
	Feed        Feed
	Freshness   Freshness
	Governor    Governor // *tenant.Registry
	Inbox       Inbox
	Issuer      Issuer // *tenant.Registry
	Messages    Messages
	Metrics     http.Handler // GET /metrics of the admin listener; nil = 404
	Notices     Notices
	Quarantine  Quarantine
	Rebuilds    Rebuilds
	Redrives    Redrives
	Registrar   Registrar // *tenant.Registry
	Rotation    Rotation
	Sender      Sender   // *message.Accepter
	Throttle    Throttle // *tenant.Throttle
	Verifier    Verifier
}

// Check is one thing that must work before this process takes traffic.
type Check struct {
	Name string // shown, and therefore public
	// Ready returns nil, or an error whose [domain.Error] message is shown.
	// It must answer within a second or two, and heed ctx.
	Ready func(ctx context.Context) error
}

// Directory knows the tenants and their keys. It answers from memory.
type Directory interface {
	Get(id domain.TenantID) (tenant.View, bool)
	// Owner returns the tenant that has a number.
	Owner(n domain.NumberID) (domain.TenantID, bool)
	// List returns up to limit tenants with an id above after, in order of id.
	List(after domain.TenantID, limit int) []tenant.View
	// Authenticate returns who an API key speaks for at a time. It compares
	// in constant time.
	Authenticate(key string, now time.Time) (tenant.Principal, bool)
	// Keys returns a tenant's API keys, oldest first.
	Keys(id domain.TenantID) []tenant.KeyView
	// Holds reports whether a key that was authenticated may still be used,
	// and Narrowed returns a channel that is closed as soon as one may reach
	// less than before.
	Holds(keyID string, now time.Time) bool
	Narrowed() <-chan struct{}
}

// Registrar registers tenants and their numbers. A number that somebody has is
// [domain.Taken], one that a tenant does not have [domain.Unknown].
type Registrar interface {
	Register(ctx context.Context, r tenant.Registration) (tenant.Welcome, error)
	AddNumber(ctx context.Context, a tenant.Addition) (tenant.View, error)
	ReplaceToken(ctx context.Context, t domain.TenantID, n domain.NumberID, token, actor string) (tenant.View, error)
}

// Issuer issues and revokes API keys.
type Issuer interface {
	IssueKey(ctx context.Context, k tenant.KeyWish) (tenant.IssuedKey, error)
	RevokeKey(ctx context.Context, t domain.TenantID, keyID, actor string) error
}

// Governor says what of a tenant is sent, and how much.
type Governor interface {
	Pause(ctx context.Context, p tenant.PauseWish) (tenant.View, error)
	Resume(ctx context.Context, p tenant.PauseWish) (tenant.View, error)
	SetQuota(ctx context.Context, t domain.TenantID, q tenant.Quota, actor string) (tenant.View, error)
	SetSending(ctx context.Context, t domain.TenantID, s tenant.Sending, actor string) (tenant.View, error)
	Pace(ctx context.Context, p tenant.PaceWish) (tenant.View, error)
}

// Throttle holds tenants to their quotas.
type Throttle interface {
	// Take counts one request, if the quota allows it.
	Take(ctx context.Context, t domain.TenantID, q tenant.Quota) (tenant.Allowance, error)
	// Return takes back what was counted for a request that recorded nothing.
	Return(t domain.TenantID, q tenant.Quota)
}

// Audit reads what was done to a tenant, oldest first.
type Audit interface {
	Audit(ctx context.Context, t domain.TenantID, p Page) (Part[tenant.Entry], error)
}

// Rewrapping is how far a rotation of the master key is.
type Rewrapping struct {
	State    string // "running" here, "failed" here, "done", or "incomplete": nobody is at it here
	KEK      string // name of the master key that seals now
	Done     int    // tenants under it
	Total    int
	Resealed int    // payloads of the quarantine sealed anew by the last rotation here
	Error    string // words for the operator when it failed, or about what it tries again
}

// Rotation brings every tenant under the current master key.
type Rotation interface {
	// Rotate begins, or goes on where an earlier one ended. One that is
	// running is [domain.Taken].
	Rotate(ctx context.Context, actor string) error
	Rewrapping() Rewrapping
}

// Sender validates and records a request to send. When it returns nil the
// request is in the log.
type Sender interface {
	Accept(ctx context.Context, r message.Request) (message.Receipt, error)
}

// Canceller takes requests back.
type Canceller interface {
	Cancel(ctx context.Context, t domain.TenantID, id domain.MessageID, by string) (message.Cancellation, error)
}

// Page asks for a part of a list.
type Page struct {
	After string // the Next of the part before, verbatim; empty for the first
	Limit int    // 1..domain.MaxPage
}

// Part is a part of a list, and how to ask for what follows it.
type Part[T any] struct {
	Items []T
	// Next is any words the port wants back to continue; empty at the end. It
	// leaves the house sealed, so it may hold anything, up to maxNext bytes.
	Next string
}

// MessageFilter selects messages; an empty field selects all.
type MessageFilter struct {
	Status    string // a headline of package message
	Direction string // message.In or message.Out
	Customer  customer.ID
}

// Messages reads messages, newest first. A message of another tenant is
// [domain.Unknown], as one that does not exist.
type Messages interface {
	Messages(ctx context.Context, t domain.TenantID, f MessageFilter, p Page) (Part[message.View], error)
	Message(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.View, error)
	// Timeline returns every event of a message in the order of the log.
	Timeline(ctx context.Context, t domain.TenantID, id domain.MessageID) ([]message.Entry, error)
}

// Customers reads customers, most recently seen first.
type Customers interface {
	Customers(ctx context.Context, t domain.TenantID, p Page) (Part[customer.View], error)
	Customer(ctx context.Context, t domain.TenantID, id customer.ID) (customer.View, error)
}

// Notices reads account notices, newest first.
type Notices interface {
	Notices(ctx context.Context, t domain.TenantID, p Page) (Part[message.NoticeView], error)
}

// DeadLetters reads what was given up, newest death first. A letter of
// another tenant is [domain.Unknown], as one that does not exist.
type DeadLetters interface {
	DeadLetters(ctx context.Context, f message.LetterFilter, p Page) (Part[message.DeadLetter], error)
	// DeadLetter returns one of a tenant, or of any when t is empty, with the
	// timeline of its message.
	DeadLetter(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.DeadLetter, []message.Entry, error)
}

// RedriveWish says which dead letters to try again: those named, or else all
// that the filter selects.
type RedriveWish struct {
	IDs    []string             // of the filter's tenant; each once
	Filter message.LetterFilter // of dead ones only
	Rate   int                  // per second at most
	DryRun bool                 // only count
	By     string               // who asked
}

// Redriving is one redrive and how far it is.
type Redriving struct {
	ID        string // a domain.ValidToken
	Tenant    domain.TenantID
	State     string // "running", "done", "cancelled" or "failed"
	DryRun    bool
	By        string
	Rate      int
	Matched   int
	Redriven  int // of a dry run: how many would be
	InDoubt   int // of those: the provider may have them already
	Skipped   []Skipped
	Counts    []LetterCount
	ETA       time.Duration // 0 = not known, or done
	StartedAt time.Time
	EndedAt   time.Time
	Error     string // words for the operator when it failed
}

// Skipped counts the messages that were left alone for one reason.
type Skipped struct {
	Reason  string
	Count   int
	Example domain.MessageID
}

// LetterCount counts the letters of a tenant with one code.
type LetterCount struct {
	Tenant domain.TenantID
	Code   int
	Count  int
}

// Redrives tries dead letters again. A tenant sees those that are of the
// tenant only; the empty tenant is the operator, who sees all. One that is
// not there is [domain.Unknown].
type Redrives interface {
	// StartRedrive begins a redrive and answers how far it is after a moment.
	// It outlives the process. It returns [domain.Taken] while another of the same
	// letters runs, and [domain.Limited] while too many run, of the tenant or in all.
	StartRedrive(ctx context.Context, w RedriveWish) (Redriving, error)
	// Redrives returns the newest first.
	Redrives(t domain.TenantID) []Redriving
	Redrive(t domain.TenantID, id string) (Redriving, error)
	// CancelRedrive stops one that runs, in whatever process, and answers how far
	// it came; one that has ended is [domain.Taken].
	CancelRedrive(ctx context.Context, t domain.TenantID, id string) (Redriving, error)
}

// Freshness knows how far the read models are.
type Freshness interface {
	// Await returns nil when every read model holds position p, and an error
	// when ctx ends before that.
	Await(ctx context.Context, p domain.Position) error
}

// Live is one event of a tenant as it happens.
type Live struct {
	ID   string // of the event, without line breaks
	Type string // what a listener selects by, without line breaks
	Data []byte // one JSON value
}

// Feed tells what happens.
type Feed interface {
	// Subscribe delivers the tenant's events from now on until ctx ends. The
	// feed closes the channel when ctx ended, and earlier to cut off a
	// listener that is too slow.
	Subscribe(ctx context.Context, t domain.TenantID) (<-chan Live, error)
	// About is Subscribe for what happens to one message.
	About(ctx context.Context, t domain.TenantID, id domain.MessageID) (<-chan Live, error)
}

// Verifier tells whether a webhook really comes from the app.
type Verifier interface {
	// Verify reports whether signature, the X-Hub-Signature-256 header
	// verbatim or "" when it is missing, is that of body. Without a configured
	// secret it reports true.
	Verify(body []byte, signature string) bool
}

// Inbox takes webhooks.
type Inbox interface {
	// Receive returns nil only when every change in body is recorded or
	// quarantined. [domain.Malformed] says that body is not JSON of the known
	// shape; [domain.Unavailable] asks Meta to try again. The caller does not
	// touch body afterwards.
	Receive(ctx context.Context, body []byte) error
}

// Kept is one payload in quarantine.
type Kept struct {
	ID     string // a domain.ValidToken
	Reason string
	At     time.Time
	Size   int // bytes
}

// Quarantine reads the payloads that belong to nobody, newest first.
type Quarantine interface {
	Quarantined(ctx context.Context, p Page) (Part[Kept], error)
	// Payload returns one payload verbatim.
	Payload(ctx context.Context, id string) ([]byte, error)
}

// Rebuild is the state of one rebuild of read models.
type Rebuild struct {
	ID        string
	Model     string // "messages", "customers" or "all"
	State     string // "running", "done" or "failed"
	Done      domain.Position
	Tail      domain.Position // where it will be finished
	Events    uint64          // folded so far
	PerSecond float64         // events
	ETA       time.Duration   // until Done reaches Tail; 0 = not known, or done
	Error     string          // words for the operator when it failed
}

// Rebuilds replays the log into fresh read models.
type Rebuilds interface {
	// Start begins a rebuild and returns its id. One that is already running
	// is [domain.Taken].
	Start(ctx context.Context, model string) (id string, err error)
	Rebuild(ctx context.Context, id string) (Rebuild, error)
}
