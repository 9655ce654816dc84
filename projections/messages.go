package projections

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// The collections of the read model "messages".
const (
	inMessages    = "messages"    // one document per message: outgoing, incoming, echo
	inWamids      = "wamids"      // which message a provider's id means
	inDeadLetters = "deadletters" // one document per message that was ever dead-lettered
	inNotices     = "notices"     // one document per account notice
)

// messagesModel folds messages, their statuses, dead letters and notices.
func messagesModel() Model {
	byPosition := func(fields ...string) Index { return Index{Fields: fields, Sort: "position"} }
	return Model{
		Name:    "messages",
		Version: 6, // 2: the fingerprint of a request; 3: what a request asks for, and how it may end; 4: why an outcome is unknown; 5: the life of dead letters; 6: their doubts, and errors in Meta's words
		Collections: []Collection{
			// No more than these two: every message is in each, and moves with its
			// status. A list of all is one of all statuses; a person's is not long.
			{Name: inMessages, Indexes: []Index{byPosition("tenant", "status"), byPosition("tenant", "contact")}},
			{Name: inWamids},
			{Name: inDeadLetters, Indexes: []Index{
				byPosition("state"), byPosition("tenant", "state"), byPosition("number", "state"), byPosition("code", "state"),
			}},
			{Name: inNotices, Indexes: []Index{byPosition("tenant")}},
		},
		Types: map[string]int{
			message.TypeAccountNotice:    1,
			message.TypeInboundReceived:  1,
			message.TypeOutcomeUnknown:   1,
			message.TypeSendAccepted:     1,
			message.TypeSendAttempted:    1,
			message.TypeSendCancelled:    1,
			message.TypeSendDeadLettered: 1,
			message.TypeSendExpired:      1,
			message.TypeSendRedriven:     1,
			message.TypeSendRefused:      1,
			message.TypeSendRequested:    1,
			message.TypeStatusReceived:   1,
		},
		Touches: messagesTouched,
		Fold:    foldMessages,
	}
}

// messageDoc is everything about one message.
type messageDoc struct {
	Head
	Number         domain.NumberID   `json:"number"`
	Direction      string            `json:"direction"`
	Type           string            `json:"type"`
	Status         string            `json:"status"`  // the headline
	Contact        string            `json:"contact"` // what a customer is looked up by: phone digits, BSUID, or else the group
	Text           string            `json:"text,omitempty"`
	Content        string            `json:"content,omitempty"` // verbatim JSON, kept as text so that no store rewrites it
	To             string            `json:"to,omitempty"`
	Person         personDoc         `json:"person,omitzero"`
	GroupID        string            `json:"group_id,omitempty"`
	Wamids         []string          `json:"wamids,omitempty"`
	ReplyTo        string            `json:"reply_to,omitempty"`
	IdempotencyKey string            `json:"idempotency_key,omitempty"`
	Fingerprint    string            `json:"fingerprint,omitempty"` // of the request; shown to nobody
	Attempts       int               `json:"attempts,omitempty"`
	Accepted       bool              `json:"accepted,omitempty"`
	Doubts         []doubtDoc        `json:"doubts,omitempty"` // attempts whose outcome is unknown
	Dead           bool              `json:"dead,omitempty"`
	Redriven       bool              `json:"redriven,omitempty"` // after its newest death, and not ended since
	Ended          string            `json:"ended,omitempty"`    // cancelled or expired
	SendAt         instant           `json:"send_at,omitzero"`
	ExpiresAt      instant           `json:"expires_at,omitzero"`
	Priority       string            `json:"priority,omitempty"`
	Reference      string            `json:"reference,omitempty"`
	Warnings       []message.Warning `json:"warnings,omitempty"`
	Refusal        *refusalDoc       `json:"refusal,omitempty"` // the newest one
	Statuses       []statusDoc       `json:"statuses,omitempty"`
	ErrorCode      int               `json:"error_code,omitempty"`
	ErrorReason    string            `json:"error_reason,omitempty"`
	ErrorDetails   string            `json:"error_details,omitempty"`
	CreatedAt      instant           `json:"created_at"`
	UpdatedAt      instant           `json:"updated_at"`
	Timeline       []entryDoc        `json:"timeline"`
}

type doubtDoc struct {
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason,omitempty"`
	Code    int    `json:"code,omitempty"`
}

type refusalDoc struct {
	Code    int    `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Details string `json:"details,omitempty"`
}

// entryDoc is message.Entry in a document.
type entryDoc struct {
	EventID  domain.EventID  `json:"event_id"`
	Position domain.Position `json:"position"`
	Type     string          `json:"type"`
	At       instant         `json:"at"`
	SaidAt   instant         `json:"said_at,omitzero"`
	Actor    string          `json:"actor,omitempty"`
	Attempt  int             `json:"attempt,omitempty"`
	Status   string          `json:"status,omitempty"`
	Code     int             `json:"code,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Details  string          `json:"details,omitempty"`
	Wamid    string          `json:"wamid,omitempty"`
	TraceID  string          `json:"trace_id,omitempty"`
	Batch    string          `json:"batch,omitempty"`
}

// standing is what the document knows, as domain/message wants it.
func (m *messageDoc) standing() message.Standing {
	s := message.Standing{
		Accepted: m.Accepted, Dead: m.Dead, Ended: m.Ended,
		Unknown:  len(m.Doubts) > 0,
		Statuses: make(map[string]time.Time, len(m.Statuses)),
	}
	for _, one := range m.Statuses {
		s.Statuses[one.Status] = one.SaidAt.Time
	}
	return s
}

// record adds an event to the timeline. When it is full the oldest but the
// first goes: how the message began stays.
func (m *messageDoc) record(e entryDoc) {
	i, _ := slices.BinarySearchFunc(m.Timeline, e, func(a, b entryDoc) int {
		return cmp.Compare(a.Position, b.Position)
	})
	m.Timeline = slices.Insert(m.Timeline, i, e)
	if len(m.Timeline) > domain.MaxTimeline {
		m.Timeline = slices.Delete(m.Timeline, 1, 2)
	}
}

// view is the message as a tenant reads it.
func (m *messageDoc) view() message.View {
	v := message.View{
		ID: domain.MessageID(m.ID), Tenant: m.Tenant, Number: m.Number,
		Direction: m.Direction, Type: m.Type, Status: m.Status, Text: m.Text,
		To: m.To, Person: message.Person(m.Person), GroupID: m.GroupID, Wamids: m.Wamids,
		ReplyTo: m.ReplyTo, IdempotencyKey: m.IdempotencyKey, Attempts: m.Attempts,
		Reference: m.Reference, Priority: m.Priority, SendAt: m.SendAt.Time, ExpiresAt: m.ExpiresAt.Time,
		Statuses:  m.standing().Statuses,
		ErrorCode: m.ErrorCode, ErrorReason: m.ErrorReason, ErrorDetails: m.ErrorDetails,
		CreatedAt: m.CreatedAt.Time, UpdatedAt: m.UpdatedAt.Time,
		Position: m.Position, LastPosition: m.LastPosition,
	}
	if m.Dead {
		v.DeadAt = m.diedAt()
	}
	if m.Content != "" {
		v.Content = json.RawMessage(m.Content)
	}
	return v
}

// diedAt is when the message was given up for the newest time.
func (m *messageDoc) diedAt() time.Time {
	for _, e := range slices.Backward(m.Timeline) {
		if e.Type == message.TypeSendDeadLettered {
			return e.At.Time
		}
	}
	return m.UpdatedAt.Time // a timeline that was full of what came after
}

// entries is the timeline as a tenant reads it, oldest first.
func (m *messageDoc) entries() []message.Entry {
	all := make([]message.Entry, len(m.Timeline))
	for i, e := range m.Timeline {
		all[i] = message.Entry{
			EventID: e.EventID, Position: e.Position, Type: e.Type, At: e.At.Time, SaidAt: e.SaidAt.Time,
			Actor: e.Actor, Attempt: e.Attempt, Status: e.Status, Code: e.Code, Reason: e.Reason, Wamid: e.Wamid,
			TraceID: e.TraceID, Batch: e.Batch, Details: e.Details,
		}
	}
	return all
}
