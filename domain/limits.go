package domain

import "time"

// Every number that bounds something shared by several rooms, with its unit
// and its reason. A room's own limits live in the room. docs/limits.md lists
// both.
const (
	// MaxTokenLength bounds a token of a subject (characters). Meta's ids are
	// 15 to 17 digits; ours are 30.
	MaxTokenLength = 64

	// MaxIdempotencyKey bounds an idempotency key (visible ASCII characters).
	MaxIdempotencyKey = 255

	// MaxText bounds a text message (UTF-16 units, the stricter reading of
	// REFERENCE section 2.1 and 2.2).
	MaxText = 4096

	// MaxRequestBody bounds a JSON request of a tenant (bytes): a text of 4096
	// characters, fully escaped, fits many times over.
	MaxRequestBody = 256 << 10

	// MaxWebhookBody bounds a POST of Meta (bytes): Meta sends up to 3 MB
	// (REFERENCE section 4.3).
	MaxWebhookBody = 4 << 20

	// MaxEvent bounds an encoded event (bytes), below the broker's payload
	// limit of 1 MiB. A larger webhook item goes to quarantine.
	MaxEvent = 900 << 10

	// MaxAttempts is how often a message is tried before it is dead-lettered.
	MaxAttempts = 5

	// DefaultPage and MaxPage bound a list answer (items).
	DefaultPage = 50
	MaxPage     = 200

	// MaxTimeline bounds the events kept in one message document. A message
	// has about six; duplicates of statuses do not count.
	MaxTimeline = 200

	// AppendTimeout bounds one append with all its retries: a caller waits no
	// longer for a 202 or a 503.
	AppendTimeout = 5 * time.Second

	// UnknownWait is how long an attempt with unknown outcome waits for a
	// status that carries its id, before the tenant's policy decides
	// (REFERENCE section 3: at least 60 s).
	UnknownWait = 60 * time.Second
)

// What follows an outcome that stays unknown, as a tenant or a message asks.
const (
	Resend = "wait_then_resend" // another attempt
	Park   = "park"             // it is dead-lettered as it is, for a person to decide
)
