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

// warn says what is known against a message. What cannot be looked up is no
// warning, except for those who want to be refused then.
func (a *Accepter) warn(ctx context.Context, r Request, w *wish) ([]Warning, error) {
	f := &w.fact
	if a.Contacts == nil || f.Group || w.direct || !Addressed(f.Type) {
		return nil, nil
	}
	c, err := a.Contacts.Contact(ctx, r.Tenant, r.Number, f.To)
	switch {
	case err == nil:
		return c.warn(f.Type, latest(a.Clock.Now(), f.SendAt)), nil
	case r.EnforceWindow:
		return nil, domain.Errorf(domain.Unavailable, err, "what is known of this person cannot be looked up at the moment; try again")
	}
	a.Meter.Add(domain.WindowUnknown, 1)
	return nil, nil
}

func unwelcome(warnings []Warning) error {
	e := &domain.Error{Kind: domain.Unwelcome, Message: "the provider would refuse this message, and the request asks not to try"}
	for _, w := range warnings {
		e.Faults = append(e.Faults, domain.Fault{Pointer: "/to", Detail: w.Words()})
	}
	return e
}

// warn says what a person's own words are against a message of a type that
// leaves at a time.
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
