package message

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// The customer-service window (REFERENCE section 9): for so long after a
// person's newest message to a number anything may be sent to them from it,
// and afterwards only templates. The provider refuses late, in a status, so
// what is known is told when a request is accepted.
const (
	windowLength = 24 * time.Hour
	// windowMargin is how much earlier than at its end a window counts as
	// closed: the message has to reach the provider first.
	windowMargin = 5 * time.Minute
)

// Contact is what a person has told a tenant, as far as it bears on writing to
// them.
type Contact struct {
	WroteAt  time.Time // their newest message to the number, by the provider's time; zero: never
	OptedOut bool      // of marketing messages
}

// Contacts knows what people have told a tenant.
type Contacts interface {
	// Contact returns what a recipient ("+" and digits, or a BSUID) has told a
	// number of a tenant; a person nobody knows has told nothing. It is asked
	// before requests are recorded, so it answers quickly or with an error.
	Contact(ctx context.Context, t domain.TenantID, n domain.NumberID, recipient string) (Contact, error)
}

// Warning is a reason why the provider will probably refuse a message.
type Warning string

// The warnings.
const (
	WindowClosed Warning = "window_closed"
	OptedOut     Warning = "opted_out"
)

// Words say a warning to the tenant.
func (w Warning) Words() string {
	switch w {
	case WindowClosed:
		return "this person has not written to this number within the last 24 hours, so WhatsApp delivers templates only"
	case OptedOut:
		return "this person has stopped marketing messages; a marketing template is not delivered"
	}
	return string(w)
}

// warn says what is known against a message of a type.
func (c Contact) warn(kind string, now time.Time) []Warning {
	switch {
	case kind == "template" && c.OptedOut:
		return []Warning{OptedOut}
	case kind == "template":
		return nil
	case now.After(c.WroteAt.Add(windowLength - windowMargin)):
		return []Warning{WindowClosed}
	}
	return nil
}
