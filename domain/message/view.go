package message

import (
	"encoding/json"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Direction of a message.
const (
	In  = "IN"
	Out = "OUT"
)

// The headline of a message, lowest to highest. Failed and Unknown stand
// beside the ladder.
const (
	Queued    = "queued"    // in the log, not yet taken by the provider
	Unknown   = "unknown"   // called, outcome not known
	Accepted  = "accepted"  // the provider took it
	Sent      = "sent"      // left the provider
	Delivered = "delivered" // reached a device
	Read      = "read"
	Played    = "played"    // voice notes
	Failed    = "failed"    // refused for good, failed after acceptance, or dead-lettered
	Cancelled = "cancelled" // taken back before it was sent
	Expired   = "expired"   // its time was over before it was sent
	Received  = "received"  // the only headline of an incoming message
)

// rank orders what a provider's status proves; read implies delivered and
// delivered implies sent (REFERENCE section 5.4).
var rank = map[string]int{Accepted: 1, Sent: 2, Delivered: 3, Read: 4, Played: 5}

// Standing is what is known of an outgoing message, as a set: nothing in it
// depends on the order in which facts arrived.
type Standing struct {
	Accepted bool                 // the provider took some attempt
	Unknown  bool                 // some attempt has an outcome that nobody knows
	Dead     bool                 // dead-lettered and not redriven since
	Ended    string               // [Cancelled] or [Expired], or empty
	Statuses map[string]time.Time // the provider's statuses, with its own time of each
}

// Headline derives the one word a person reads first. A failure never hides a
// proof of delivery; it shows only while nothing says the message arrived.
func Headline(s Standing) string {
	best := Queued
	if s.Accepted {
		best = Accepted
	}
	for status := range s.Statuses {
		if rank[status] > rank[best] {
			best = status
		}
	}
	if rank[best] >= rank[Delivered] {
		return best
	}
	_, failed := s.Statuses[Failed]
	switch {
	case failed:
		return Failed
	case best != Queued:
		return best
	case s.Unknown: // also when it was parked or its time is over: nobody knows
		return Unknown
	case s.Dead:
		return Failed
	case s.Ended != "":
		return s.Ended
	}
	return Queued
}

// View is one message as a tenant reads it.
type View struct {
	ID             domain.MessageID
	Tenant         domain.TenantID
	Number         domain.NumberID
	Direction      string // [In] or [Out]
	Type           string
	Status         string // see [Headline]
	Text           string // the readable words, if any
	Content        json.RawMessage
	To             string // as asked, outgoing only
	Person         Person
	GroupID        string
	Wamids         []string // usually one; two when an unknown outcome was sent again and both arrived
	ReplyTo        string
	IdempotencyKey string
	Reference      string    // the tenant's own name for it
	Priority       string    // [Bulk] or empty
	SendAt         time.Time // zero: at once
	ExpiresAt      time.Time // zero: never
	Attempts       int
	Statuses       map[string]time.Time
	ErrorCode      int
	ErrorReason    string
	ErrorDetails   string    // the provider's own words, if it gave any
	DeadAt         time.Time // when it was given up; zero unless it is a dead letter now
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Position       domain.Position // of the first event
	LastPosition   domain.Position // of the newest event folded in
}

// Settled reports whether nothing more becomes of the message by itself than the
// provider's statuses: its outcome is known, or it was given up.
func (v View) Settled() bool {
	return v.Status != Queued && v.Status != Unknown || !v.DeadAt.IsZero()
}

// Entry is one event in a message's timeline.
type Entry struct {
	EventID  domain.EventID
	Position domain.Position
	Type     string
	At       time.Time // recorded
	SaidAt   time.Time // the provider's time, statuses and inbound only
	Actor    string
	Attempt  int
	Status   string
	Code     int
	Reason   string
	Details  string // the provider's own words, refusals and failed statuses only
	Wamid    string
	TraceID  string // Meta's handle for support, refusals only
	Batch    string // the redrive it was a part of, redrives only
}

// NoticeView is one account notice as a tenant reads it.
type NoticeView struct {
	ID       domain.EventID
	Tenant   domain.TenantID
	Number   domain.NumberID
	Field    string
	Event    string
	WABA     string
	SaidAt   time.Time
	At       time.Time
	Raw      json.RawMessage
	Position domain.Position
}
