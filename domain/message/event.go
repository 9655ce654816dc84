package message

import (
	"encoding/json"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// SendRequested is the tenant's wish to send one message. Writing it is
// accepting the request.
type SendRequested struct {
	Type        string `json:"type"`                  // Meta's message type, e.g. "text"; [ReadReceipt] or [Typing]
	Keyed       bool   `json:"keyed,omitempty"`       // an idempotency key was given
	Group       bool   `json:"group,omitempty"`       // To is a group
	Unvalidated bool   `json:"unvalidated,omitempty"` // the tenant wanted it sent without a look at what it says
	Options
	Warnings  []Warning `json:"warnings,omitempty"` // what was told against it when it was accepted
	SendWords `json:"-"`
}

// Options are what a tenant may ask of one message beyond what it says. The
// zero value asks for nothing.
type Options struct {
	Priority    string        `json:"priority,omitempty"`        // [Bulk], or empty for interactive
	SendAt      time.Time     `json:"send_at,omitzero"`          // not before; zero: at once
	ExpiresAt   time.Time     `json:"expires_at,omitzero"`       // no attempt begins at or after it; zero: never
	OnUnknown   string        `json:"on_unknown,omitempty"`      // [Resend] or [Park]; empty: as the tenant has it
	UnknownWait time.Duration `json:"unknown_wait_ns,omitempty"` // 0: as the tenant has it
}

// Words of [Options].
const (
	Bulk   = "bulk" // goes when nothing interactive of its number is waiting
	Resend = domain.Resend
	Park   = domain.Park
)

// SendWords is the personal part of [SendRequested]. The key and the
// fingerprint are here because both can be guessed back to a person.
type SendWords struct {
	To             string          `json:"to"`      // E.164 with "+", a BSUID, or a group; empty where the type is not [Addressed]
	Content        json.RawMessage `json:"content"` // Meta's message object without envelope and recipient: {"type":"text","text":{…}}
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	Fingerprint    string          `json:"fingerprint"`         // of the request, to tell a repeat from a reuse of the key
	Reference      string          `json:"reference,omitempty"` // the tenant's own name for it, handed back as it is
}

// SendAttempted says that the provider is about to be called for the n-th
// time. It is the fence: only the worker whose append succeeded may call.
type SendAttempted struct {
	Attempt int    `json:"attempt"`         // 1 for the first call of this message
	After   string `json:"after,omitempty"` // why again: "refused", "unknown", "redriven"; empty for the first
}

// SendAccepted says that the provider took attempt n.
type SendAccepted struct {
	Attempt     int    `json:"attempt"`
	Via         string `json:"via"`             // "answer", or "status" when the answer was lost
	State       string `json:"state,omitempty"` // message_status of templates (REFERENCE section 2.7)
	AcceptNames `json:"-"`
}

// AcceptNames is the personal part of [SendAccepted]: a wamid holds the
// recipient's number in base64.
type AcceptNames struct {
	Wamid string `json:"wamid"`
	WaID  string `json:"wa_id,omitempty"` // the recipient as Meta spells it
}

// SendRefused says that the provider declined attempt n and did not send.
type SendRefused struct {
	Attempt int           `json:"attempt"`
	Code    int           `json:"code"`                 // Meta's error.code; 0 when the call never reached Meta
	Class   string        `json:"class"`                // the class of the code table
	Reason  string        `json:"reason"`               // words for the tenant, from the code table
	Retry   bool          `json:"retry"`                // another attempt may succeed
	Wait    time.Duration `json:"wait_ns,omitempty"`    // not before this long after At
	TraceID string        `json:"fbtrace_id,omitempty"` // Meta's handle for support
	// Hold says that nothing is wrong with the message but with the account
	// behind it, which is paused: the attempt does not count, and the next one
	// follows when the pause ends.
	Hold     bool `json:"hold,omitempty"`
	Provider `json:"-"`
}

// Provider is the personal part of an answer. What it says in detail may quote
// a phone number.
type Provider struct {
	Raw     json.RawMessage `json:"raw,omitempty"`     // its JSON, verbatim
	Details string          `json:"details,omitempty"` // its own words for the refusal; empty when it gave none
}

// OutcomeUnknown says that attempt n may or may not have been sent.
type OutcomeUnknown struct {
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason"`         // e.g. "timeout", "connection lost", "http 502", "no outcome was recorded"
	Code    int    `json:"code,omitempty"` // Meta's error.code, when the answer had one that does not say whether it was sent
}

// Words says it to the tenant.
func (e *OutcomeUnknown) Words() string {
	return "It is not known whether WhatsApp took the message: " + e.Reason + "."
}

// Reasons of [SendDeadLettered].
const (
	ReasonArchived      = "request_archived" // its request left the hot log before it could be sent
	ReasonExhausted     = "attempts_exhausted"
	ReasonPoison        = "poison" // working it panicked or never ended
	ReasonRefused       = "refused"
	ReasonUndeliverable = "undeliverable"   // this build cannot work it
	ReasonUnknown       = "outcome_unknown" // it may have been sent
	ReasonUnreadable    = "unreadable"      // what asks for it cannot be decoded
)

// Reasons returns all reasons of [SendDeadLettered].
func Reasons() []string {
	return []string{ReasonRefused, ReasonExhausted, ReasonUnknown, ReasonArchived, ReasonUndeliverable, ReasonPoison, ReasonUnreadable}
}

// SendDeadLettered says that the message will not be tried again by itself.
type SendDeadLettered struct {
	Attempts int    `json:"attempts"`
	Reason   string `json:"reason"` // one of [Reasons]
	Code     int    `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"` // words for the tenant
}

// SendRedriven says that somebody asked to try a dead-lettered message again.
type SendRedriven struct {
	By    string `json:"by"`
	Batch string `json:"batch,omitempty"` // the redrive it was a part of
	// Original is there when the beginning of the message has left the log: then
	// whoever sends it finds here what it says and what was tried.
	Original *Original `json:"original,omitempty"`
}

// Original is a request that has left the log, and what became of it.
type Original struct {
	SendRequested
	At       time.Time `json:"requested_at"`
	Attempts int       `json:"attempts,omitempty"`
	Doubts   []int     `json:"doubts,omitempty"` // attempts whose outcome nobody knows
	// Looked is how far the statuses were looked at: none up to there proves a
	// doubt.
	Looked domain.Position `json:"looked,omitempty"`
}

// SendCancelled says that the tenant took the request back before an attempt
// that may have sent it. No attempt follows.
type SendCancelled struct{}

// SendExpired says that the time of the message was over before it was sent.
// No attempt follows. After an unknown outcome it may have been sent all the
// same.
type SendExpired struct {
	Attempts int `json:"attempts"`
}

// InboundReceived is one message from a person, or (Echo) one sent by the
// business from its phone app.
type InboundReceived struct {
	Message      domain.MessageID `json:"message"`
	Type         string           `json:"type"`
	Echo         bool             `json:"echo,omitempty"`
	Group        bool             `json:"group,omitempty"` // written in a group: opens no window with the person
	SaidAt       time.Time        `json:"said_at"`         // Meta's timestamp; zero when absent
	InboundWords `json:"-"`
}

// InboundWords is the personal part of [InboundReceived].
type InboundWords struct {
	Wamid   string          `json:"wamid"`
	Person  Person          `json:"person"` // the customer: sender, or recipient of an echo
	GroupID string          `json:"group_id,omitempty"`
	Text    string          `json:"text,omitempty"`     // what a person would read first: body, caption, title, emoji
	ReplyTo string          `json:"reply_to,omitempty"` // context.id or the target of a reaction, edit or revoke
	Raw     json.RawMessage `json:"raw"`                // the message object, verbatim
	Contact json.RawMessage `json:"contact,omitempty"`  // the matching element of contacts, verbatim
}

// Person is what one webhook tells about who a customer is. Any field may be
// empty, but not all three ids (REFERENCE section 6).
type Person struct {
	Phone    string `json:"phone,omitempty"`   // digits without "+"
	UserID   string `json:"user_id,omitempty"` // BSUID
	ParentID string `json:"parent_user_id,omitempty"`
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty"`
	// Former ids of the same person, told by a system message.
	FormerPhone  string `json:"former_phone,omitempty"`
	FormerUserID string `json:"former_user_id,omitempty"`
}

// StatusReceived is one status of one message (REFERENCE section 5.4).
type StatusReceived struct {
	Status      string           `json:"status"`            // sent, delivered, read, played, failed …
	SaidAt      time.Time        `json:"said_at"`           // Meta's timestamp
	Message     domain.MessageID `json:"message,omitempty"` // from our opaque data, when it is ours
	Attempt     int              `json:"attempt,omitempty"`
	Code        int              `json:"code,omitempty"`         // first error of a failed status
	Reason      string           `json:"reason,omitempty"`       // words for the tenant, from the code table
	Category    string           `json:"category,omitempty"`     // pricing.category
	PricingType string           `json:"pricing_type,omitempty"` // pricing.type
	StatusNames `json:"-"`
}

// StatusNames is the personal part of [StatusReceived].
type StatusNames struct {
	Wamid   string          `json:"wamid"`
	Person  Person          `json:"person"`
	Raw     json.RawMessage `json:"raw"`
	Details string          `json:"details,omitempty"` // of the first error, in Meta's own words
}

// AccountNotice is anything else the provider told about an account or a
// number (REFERENCE section 5.5), kept verbatim.
type AccountNotice struct {
	Field  string    `json:"field"`           // the webhook field
	Event  string    `json:"event,omitempty"` // value.event, where there is one
	SaidAt time.Time `json:"said_at"`
	Notice `json:"-"`
}

// Notice is the personal part of [AccountNotice]: histories and contact lists
// arrive this way.
type Notice struct {
	Entry string          `json:"entry"` // entry.id, verbatim
	WABA  string          `json:"waba"`  // the account it is about: entry.id, or the one named inside (REFERENCE section 4.5)
	Raw   json.RawMessage `json:"raw"`   // the change's value, verbatim
	// Person is whom a notice of [FieldPreferences] is about: one notice each,
	// with Event "stop", "resume" or "signup" and Raw the element.
	Person Person `json:"person,omitzero"`
}

// FieldPreferences is the webhook field that says who wants no marketing
// messages (REFERENCE section 5.5).
const FieldPreferences = "user_preferences"

// Names of the event types.
const (
	TypeSendRequested    = "SendRequested"
	TypeSendAttempted    = "SendAttempted"
	TypeSendAccepted     = "SendAccepted"
	TypeSendRefused      = "SendRefused"
	TypeOutcomeUnknown   = "OutcomeUnknown"
	TypeSendDeadLettered = "SendDeadLettered"
	TypeSendRedriven     = "SendRedriven"
	TypeSendCancelled    = "SendCancelled"
	TypeSendExpired      = "SendExpired"
	TypeInboundReceived  = "InboundReceived"
	TypeStatusReceived   = "StatusReceived"
	TypeAccountNotice    = "AccountNotice"
)

// EventType implements [domain.Fact].
func (*SendRequested) EventType() string    { return TypeSendRequested }
func (*SendAttempted) EventType() string    { return TypeSendAttempted }
func (*SendAccepted) EventType() string     { return TypeSendAccepted }
func (*SendRefused) EventType() string      { return TypeSendRefused }
func (*OutcomeUnknown) EventType() string   { return TypeOutcomeUnknown }
func (*SendDeadLettered) EventType() string { return TypeSendDeadLettered }
func (*SendRedriven) EventType() string     { return TypeSendRedriven }
func (*SendCancelled) EventType() string    { return TypeSendCancelled }
func (*SendExpired) EventType() string      { return TypeSendExpired }
func (*InboundReceived) EventType() string  { return TypeInboundReceived }
func (*StatusReceived) EventType() string   { return TypeStatusReceived }
func (*AccountNotice) EventType() string    { return TypeAccountNotice }

// Personal implements [domain.Fact].
func (e *SendRequested) Personal() any  { return &e.SendWords }
func (*SendAttempted) Personal() any    { return nil }
func (e *SendAccepted) Personal() any   { return &e.AcceptNames }
func (e *SendRefused) Personal() any    { return &e.Provider }
func (*OutcomeUnknown) Personal() any   { return nil }
func (*SendDeadLettered) Personal() any { return nil }
func (e *SendRedriven) Personal() any {
	if e.Original == nil {
		return nil
	}
	return &e.Original.SendWords
}
func (*SendCancelled) Personal() any     { return nil }
func (*SendExpired) Personal() any       { return nil }
func (e *InboundReceived) Personal() any { return &e.InboundWords }
func (e *StatusReceived) Personal() any  { return &e.StatusNames }
func (e *AccountNotice) Personal() any   { return &e.Notice }

// OutgoingKey is the key of an outgoing message.
func OutgoingKey(t domain.TenantID, n domain.NumberID, id domain.MessageID) domain.Key {
	return domain.Key{Kind: domain.KindMessage, Tenant: t, Number: n, ID: string(id)}
}

// InboundID names an incoming message: the provider's id under the number it
// came to, hashed, because a wamid holds a phone number.
func InboundID(n domain.NumberID, wamid string, echo bool) domain.MessageID {
	prefix := "in_"
	if echo {
		prefix = "echo_"
	}
	return domain.MessageID(prefix + domain.Digest("inbound", string(n), wamid))
}

// InboundKey is the key of an incoming message or echo.
func InboundKey(t domain.TenantID, n domain.NumberID, id domain.MessageID) domain.Key {
	return domain.Key{Kind: domain.KindInbound, Tenant: t, Number: n, ID: string(id)}
}

// StatusKey is the key of all statuses of a number.
func StatusKey(t domain.TenantID, n domain.NumberID) domain.Key {
	return domain.Key{Kind: domain.KindStatus, Tenant: t, Number: n, ID: string(n)}
}

// AccountKey is the key of all account notices of a number, or of the tenant's
// account when n is empty.
func AccountKey(t domain.TenantID, n domain.NumberID) domain.Key {
	id := string(n)
	if id == "" {
		id = "account"
	}
	return domain.Key{Kind: domain.KindAccount, Tenant: t, Number: n, ID: id}
}
