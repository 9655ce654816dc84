package projections

import (
	"context"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
)

// The collections of the read model "customers".
const (
	inCustomers  = "customers"  // one document per person a tenant writes with
	inAliases    = "aliases"    // which person a phone or user id means
	inRecipients = "recipients" // to whom a message goes, until the provider has answered how it spells that
)

// customersModel folds who a tenant writes with.
func customersModel() Model {
	return Model{
		Name:    "customers",
		Version: 2, // 2: when a person wrote to which number, and what they do not want
		Collections: []Collection{
			{Name: inCustomers, Indexes: []Index{{Fields: []string{"tenant", "state"}, Sort: "position"}}},
			{Name: inAliases},
			{Name: inRecipients},
		},
		Types: map[string]int{
			message.TypeAccountNotice:    1,
			message.TypeInboundReceived:  1,
			message.TypeOutcomeUnknown:   0,
			message.TypeSendCancelled:    0,
			message.TypeSendExpired:      0,
			message.TypeSendAccepted:     1,
			message.TypeSendAttempted:    0,
			message.TypeSendDeadLettered: 0,
			message.TypeSendRedriven:     0,
			message.TypeSendRefused:      0,
			message.TypeSendRequested:    1,
			message.TypeStatusReceived:   1,
		},
		Touches: customersTouched,
		Fold:    foldCustomers,
	}
}

// customerDoc is one person. After a merge the younger of two stays as a
// redirect, so that its id still resolves.
type customerDoc struct {
	Head
	State        string      `json:"state"` // stateKnown or stateMerged
	MergedInto   customer.ID `json:"merged_into,omitempty"`
	WaID         string      `json:"wa_id,omitempty"`   // newest phone
	UserID       string      `json:"user_id,omitempty"` // newest BSUID
	Aliases      []alias     `json:"aliases,omitempty"` // oldest first
	Name         string      `json:"name,omitempty"`
	NameAt       instant     `json:"name_at,omitzero"` // the provider's time of the name
	Username     string      `json:"username,omitempty"`
	UsernameAt   instant     `json:"username_at,omitzero"`
	LastSeenAt   instant     `json:"last_seen_at,omitzero"`
	MessageCount int         `json:"message_count"`
	Windows      []windowDoc `json:"windows,omitempty"` // one per number they wrote to
	OptedOut     bool        `json:"opted_out,omitempty"`
	OptedAt      instant     `json:"opted_at,omitzero"` // the provider's time of what OptedOut says
	CreatedAt    instant     `json:"created_at"`
}

// windowDoc is when a person wrote to a number last.
type windowDoc struct {
	Number  domain.NumberID `json:"number"`
	WroteAt instant         `json:"wrote_at"`
}

const (
	stateKnown  = "known"
	stateMerged = "merged"
)

// alias is one way a person is named.
type alias struct {
	Kind     string          `json:"kind"` // aliasPhone or aliasUser
	Value    string          `json:"value"`
	Position domain.Position `json:"position"` // first seen
}

const (
	aliasPhone = "phone"
	aliasUser  = "user" // BSUID or parent BSUID
)

// aliasDoc says which customer an alias means.
type aliasDoc struct {
	Head
	Kind     string      `json:"kind"`
	Value    string      `json:"value"`
	Customer customer.ID `json:"customer"`
}

// recipientDoc remembers to whom a message goes.
type recipientDoc struct {
	Head
	To string `json:"to"`
}

func (a alias) id(t domain.TenantID) string {
	return "ali_" + domain.Digest("alias", string(t), a.Kind, a.Value)
}

// customerID names the person whose first known alias is a.
func (a alias) customerID(t domain.TenantID) customer.ID {
	return customer.ID("cus_" + domain.Digest("customer", string(t), a.Value))
}

// contacts are the values a message's contact may have when it is with this
// person.
func (c *customerDoc) contacts() []string {
	all := make([]string, 0, len(c.Aliases))
	for _, a := range c.Aliases {
		if !slices.Contains(all, a.Value) {
			all = append(all, a.Value)
		}
	}
	return all
}

func (c *customerDoc) view() customer.View {
	v := customer.View{
		ID: customer.ID(c.ID), Tenant: c.Tenant, WaID: c.WaID, UserID: c.UserID,
		Name: c.Name, Username: c.Username, LastSeenAt: c.LastSeenAt.Time, MessageCount: c.MessageCount, OptedOut: c.OptedOut,
		CreatedAt: c.CreatedAt.Time, Position: c.Position, LastPosition: c.LastPosition,
	}
	for _, a := range c.Aliases {
		if a.Kind == aliasPhone {
			v.Phones = append(v.Phones, a.Value)
		} else {
			v.UserIDs = append(v.UserIDs, a.Value)
		}
	}
	return v
}

// Customer returns one customer, or an error of kind domain.Unknown when it
// does not exist or is another tenant's. The id of a customer that was merged
// into another one returns that one.
func (l *Library) Customer(ctx context.Context, t domain.TenantID, id customer.ID) (customer.View, error) {
	c, err := l.customer(ctx, t, id)
	if err != nil {
		return customer.View{}, err
	}
	return c.view(), nil
}

func (l *Library) customer(ctx context.Context, t domain.TenantID, id customer.ID) (*customerDoc, error) {
	gen, err := l.reading("customers")
	if err != nil {
		return nil, err
	}
	for {
		c, err := find[customerDoc](ctx, l, gen, t, inCustomers, string(id))
		if err != nil {
			return nil, err
		}
		if c.MergedInto == "" {
			return c, nil
		}
		id = c.MergedInto // always an older one, so this ends
	}
}

// Contact implements [message.Contacts], from what has been folded so far.
func (l *Library) Contact(ctx context.Context, t domain.TenantID, n domain.NumberID, recipient string) (message.Contact, error) {
	gen, err := l.reading("customers")
	if err != nil {
		return message.Contact{}, err
	}
	a := alias{Kind: aliasPhone, Value: digits(recipient)}
	if a.Value == "" {
		a = alias{Kind: aliasUser, Value: recipient}
	}
	if l.speakers != nil && l.speakers.silent(gen.collection(inCustomers), t, a) {
		return message.Contact{}, nil
	}
	found, err := find[aliasDoc](ctx, l, gen, t, inAliases, a.id(t))
	if err == nil {
		var c *customerDoc
		if c, err = l.customer(ctx, t, found.Customer); err == nil {
			return message.Contact{WroteAt: c.wrote(n), OptedOut: c.OptedOut}, nil
		}
	}
	if domain.KindOf(err) == domain.Unknown {
		err = nil // a person nobody knows
	}
	return message.Contact{}, err
}

var _ message.Contacts = (*Library)(nil)

// wrote returns when the person wrote to a number last, or the zero time.
func (c *customerDoc) wrote(n domain.NumberID) time.Time {
	for _, w := range c.Windows {
		if w.Number == n {
			return w.WroteAt.Time
		}
	}
	return time.Time{}
}

// Customers lists whom a tenant writes with, those first met last first, and
// the mark of the next page (nil after the last).
func (l *Library) Customers(ctx context.Context, t domain.TenantID, page Page) ([]customer.View, *Mark, error) {
	gen, err := l.reading("customers")
	if err != nil {
		return nil, nil, err
	}
	where := []Match{{"tenant", []string{string(t)}}, {"state", []string{stateKnown}}}
	docs, next, err := list[customerDoc](ctx, l, gen, inCustomers, where, page)
	if err != nil {
		return nil, nil, err
	}
	all := make([]customer.View, len(docs))
	for i, c := range docs {
		all[i] = c.view()
	}
	return all, next, nil
}
