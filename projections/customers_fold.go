package projections

import (
	"cmp"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
)

// sighting is what one event shows of a person.
type sighting struct {
	aliases  []alias // the one to name a new customer by first
	phone    string
	userID   string
	name     string
	username string
	saidAt   time.Time
	present  bool // phone and userID are theirs now, as the provider says
	create   bool // a person nobody knows becomes a customer
	wrote    bool // it is a message from them to us
	number   domain.NumberID
	opens    bool   // and renews the customer-service window of that number
	optedOut string // what they say about marketing: "stop", or anything else for yes; empty when nothing
}

// silent are the kinds of inbound messages of which nobody promises that they
// renew the customer-service window (REFERENCE section 9).
var silent = map[string]bool{"edit": true, "reaction": true, "revoke": true, "system": true}

// codeStoppedMarketing is what a status says when the person has stopped
// marketing messages (REFERENCE section 7.3).
const codeStoppedMarketing = 131050

// maxAliases bounds the ways one person is named (entries): whoever changes
// phones more often is not one person.
const maxAliases = 200

func customersTouched(e domain.Event) []Ref {
	if e.Type == message.TypeSendAccepted {
		return []Ref{{inRecipients, e.Key.ID}}
	}
	s, err := sight(e)
	if err != nil {
		return nil // the fold will say so
	}
	var refs []Ref
	if e.Type == message.TypeSendRequested {
		refs = append(refs, Ref{inRecipients, e.Key.ID})
	}
	for _, a := range s.aliases {
		// Most customers are still named by the alias they are met with.
		refs = append(refs, Ref{inAliases, a.id(e.Key.Tenant)}, Ref{inCustomers, string(a.customerID(e.Key.Tenant))})
	}
	return refs
}

// foldCustomers folds one event of the model "customers".
func foldCustomers(e domain.Event, d *Docs) error {
	if e.Type == message.TypeSendAccepted {
		return foldSpelling(e, d)
	}
	s, err := sight(e)
	if err != nil {
		return err
	}
	if e.Type == message.TypeSendRequested && s.phone != "" {
		if err := d.Put(inRecipients, &recipientDoc{Head: Head{ID: e.Key.ID}, To: s.phone}); err != nil {
			return err
		}
	}
	return s.fold(e, d)
}

// sight reads what an event shows of a person.
func sight(e domain.Event) (sighting, error) {
	switch e.Type {
	case message.TypeSendRequested:
		var f message.SendRequested
		if err := e.Decode(&f); err != nil {
			return sighting{}, err
		}
		p := recipient(f)
		return sighting{aliases: aliases(p), phone: p.Phone, userID: p.UserID, create: true}, nil
	case message.TypeInboundReceived:
		var f message.InboundReceived
		if err := e.Decode(&f); err != nil {
			return sighting{}, err
		}
		s := seen(f.Person, f.SaidAt, e)
		s.present = true
		// An echo into a group is to nobody in particular.
		s.create = !f.Echo || !f.Group
		// A system message reports about a person, who did not write it.
		s.wrote = !f.Echo && f.Type != "system"
		s.opens = s.wrote && !f.Group && !silent[f.Type]
		return s, nil
	case message.TypeAccountNotice:
		var f message.AccountNotice
		if err := e.Decode(&f); err != nil || f.Field != message.FieldPreferences || f.Event == "" {
			return sighting{}, err
		}
		s := seen(f.Person, f.SaidAt, e)
		s.create, s.optedOut = true, f.Event
		return s, nil
	case message.TypeStatusReceived:
		var f message.StatusReceived
		if err := e.Decode(&f); err != nil {
			return sighting{}, err
		}
		s := seen(f.Person, f.SaidAt, e)
		if f.Code == codeStoppedMarketing {
			s.optedOut = "stop"
		}
		return s, nil
	}
	return sighting{}, nil
}

// seen is a person as a webhook shows them.
func seen(p message.Person, saidAt time.Time, e domain.Event) sighting {
	if saidAt.IsZero() {
		saidAt = e.At
	}
	return sighting{
		aliases: aliases(p), phone: digits(p.Phone), userID: p.UserID,
		name: p.Name, username: p.Username, saidAt: saidAt, number: e.Key.Number,
	}
}

// aliases lists the ids of a person, each once: present before former, phone
// before user id.
func aliases(p message.Person) []alias {
	var all []alias
	add := func(kind, value string) {
		a := alias{Kind: kind, Value: value}
		if value != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	add(aliasPhone, digits(p.Phone))
	add(aliasUser, p.UserID)
	add(aliasUser, p.ParentID)
	add(aliasPhone, digits(p.FormerPhone))
	add(aliasUser, p.FormerUserID)
	return all
}

// foldSpelling links the recipient of a message with the provider's spelling
// of it: in some countries that is another number, and the answers come from
// there.
func foldSpelling(e domain.Event, d *Docs) error {
	var f message.SendAccepted
	if err := e.Decode(&f); err != nil {
		return err
	}
	r, err := Find[recipientDoc](d, inRecipients, e.Key.ID)
	if err != nil || r == nil {
		return err
	}
	if err := d.Delete(inRecipients, r.ID); err != nil {
		return err
	}
	waID := digits(f.WaID)
	if waID == "" || waID == r.To {
		return nil
	}
	s := sighting{phone: waID, present: true, saidAt: e.At, aliases: aliases(message.Person{Phone: waID, FormerPhone: r.To})}
	return s.fold(e, d)
}

// fold finds or makes the customer a sighting is of, merging those it shows
// to be one person, and writes what it tells.
func (s sighting) fold(e domain.Event, d *Docs) error {
	known, strangers, err := s.lookUp(e, d)
	if err != nil {
		return err
	}
	if len(known) == 0 && (!s.create || len(strangers) == 0) {
		return nil
	}
	var c *customerDoc
	if len(known) == 0 {
		c = &customerDoc{Head: Head{ID: string(strangers[0].customerID(e.Key.Tenant))}, State: stateKnown, CreatedAt: at(e.At)}
	} else if c, err = merge(d, known); err != nil {
		return err
	}
	news := len(known) != 1
	for _, a := range strangers {
		if len(c.Aliases) >= maxAliases {
			break
		}
		a.Position, news = e.Position, true
		c.Aliases = append(c.Aliases, a)
		doc := &aliasDoc{Head: Head{ID: a.id(e.Key.Tenant)}, Kind: a.Kind, Value: a.Value, Customer: customer.ID(c.ID)}
		if err := d.Put(inAliases, doc); err != nil {
			return err
		}
	}
	if changed := s.tell(c); !changed && !news {
		return nil
	}
	return d.Put(inCustomers, c)
}

// lookUp returns the customers a sighting's aliases mean, oldest first, and
// the aliases nobody has.
func (s sighting) lookUp(e domain.Event, d *Docs) (known []*customerDoc, strangers []alias, err error) {
	for _, a := range s.aliases {
		doc, err := Find[aliasDoc](d, inAliases, a.id(e.Key.Tenant))
		if err != nil {
			return nil, nil, err
		}
		if doc == nil {
			strangers = append(strangers, a)
			continue
		}
		c, err := Find[customerDoc](d, inCustomers, string(doc.Customer))
		if err != nil {
			return nil, nil, err
		}
		if c != nil && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	slices.SortFunc(known, func(a, b *customerDoc) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
	})
	return known, strangers, nil
}

// merge makes one customer of several: the oldest, who takes over all that
// the others are.
func merge(d *Docs, known []*customerDoc) (*customerDoc, error) {
	winner := known[0]
	for _, loser := range known[1:] {
		for _, a := range loser.Aliases {
			doc, err := Find[aliasDoc](d, inAliases, a.id(loser.Tenant))
			if err != nil {
				return nil, err
			}
			if doc == nil {
				continue
			}
			doc.Customer = customer.ID(winner.ID)
			if err := d.Put(inAliases, doc); err != nil {
				return nil, err
			}
		}
		winner.take(loser)
		redirect := &customerDoc{
			Head: loser.Head, State: stateMerged, MergedInto: customer.ID(winner.ID), CreatedAt: loser.CreatedAt,
		}
		if err := d.Put(inCustomers, redirect); err != nil {
			return nil, err
		}
	}
	return winner, nil
}

// take adds what another document of the same person knows.
func (c *customerDoc) take(other *customerDoc) {
	c.Aliases = append(c.Aliases, other.Aliases...)
	slices.SortStableFunc(c.Aliases, func(a, b alias) int { return cmp.Compare(a.Position, b.Position) })
	if other.NameAt.After(c.NameAt.Time) {
		c.Name, c.NameAt = other.Name, other.NameAt
	}
	if other.UsernameAt.After(c.UsernameAt.Time) {
		c.Username, c.UsernameAt = other.Username, other.UsernameAt
	}
	if other.LastSeenAt.After(c.LastSeenAt.Time) {
		c.LastSeenAt = other.LastSeenAt
	}
	for _, w := range other.Windows {
		c.open(w)
	}
	if !other.OptedAt.IsZero() {
		c.opt(other.OptedOut, other.OptedAt)
	}
	c.MessageCount += other.MessageCount
	c.WaID, c.UserID = firstOf(c.WaID, other.WaID), firstOf(c.UserID, other.UserID)
}

// tell writes into the customer what the sighting says, and reports whether
// that changed anything.
func (s sighting) tell(c *customerDoc) (changed bool) {
	set := func(field *string, value string) {
		if value != "" && *field != value {
			*field, changed = value, true
		}
	}
	if s.present || c.WaID == "" {
		set(&c.WaID, s.phone)
	}
	if s.present || c.UserID == "" {
		set(&c.UserID, s.userID)
	}
	if s.name != "" && !s.saidAt.Before(c.NameAt.Time) {
		c.Name, c.NameAt, changed = s.name, at(s.saidAt), true
	}
	if s.username != "" && !s.saidAt.Before(c.UsernameAt.Time) {
		c.Username, c.UsernameAt, changed = s.username, at(s.saidAt), true
	}
	if s.wrote {
		c.MessageCount, changed = c.MessageCount+1, true
		if s.saidAt.After(c.LastSeenAt.Time) {
			c.LastSeenAt = at(s.saidAt)
		}
	}
	if s.opens {
		c.open(windowDoc{s.number, at(s.saidAt)})
	}
	if s.optedOut != "" {
		changed = c.opt(s.optedOut == "stop", at(s.saidAt)) || changed
	}
	return changed
}

// opt notes what the person wants to get. Of what they say in one second, which
// is all the provider tells, their no counts, in whatever order it comes.
func (c *customerDoc) opt(out bool, said instant) (changed bool) {
	if said.After(c.OptedAt.Time) || said.Equal(c.OptedAt.Time) && out && !c.OptedOut {
		c.OptedOut, c.OptedAt = out, said
		return true
	}
	return false
}

// open notes that the person wrote to a number. A tenant has few numbers.
func (c *customerDoc) open(w windowDoc) {
	for i, have := range c.Windows {
		if have.Number == w.Number {
			if w.WroteAt.After(have.WroteAt.Time) {
				c.Windows[i] = w
			}
			return
		}
	}
	c.Windows = append(c.Windows, w)
}
