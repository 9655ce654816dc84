package cloudapi

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/sendlog/sendlog/domain/message"
)

// parentID matches the parent form of a BSUID (section 6).
var parentID = regexp.MustCompile(`^[A-Z]{2}\.ENT\.`)

// personIn reads who somebody is from three members of o: one that holds a
// phone, but was also seen with a BSUID inside, one for the BSUID and one for
// its parent (section 6).
func personIn(o object, phone, user, parent string) message.Person {
	p := message.Person{ParentID: o.text(parent)}
	if id := o.text(user); parentID.MatchString(id) {
		p.ParentID = firstOf(p.ParentID, id)
	} else {
		p.UserID = id
	}
	switch id := o.text(phone); {
	case parentID.MatchString(id):
		p.ParentID = firstOf(p.ParentID, id)
	case bsuid.MatchString(id):
		p.UserID = firstOf(p.UserID, id)
	default:
		p.Phone = digits(id)
	}
	return p
}

func isNobody(p message.Person) bool { return p.Phone == "" && p.UserID == "" && p.ParentID == "" }

// digits drops what people and Meta put between the digits of a phone number,
// and the "+" before them.
func digits(phone string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("+-(). ", r) {
			return -1
		}
		return r
	}, phone)
}

// card is one element of value.contacts.
type card struct {
	raw    json.RawMessage
	person message.Person
	used   bool // some item speaks of this person
}

// contacts is who a value speaks of. The order of the elements says nothing
// (section 4.5).
type contacts struct {
	cards []*card
	whole bool // value.contacts is a list, or empty
	alone bool // there is one card, and one element it can belong to
}

// readContacts reads the cards of a value that has so many elements.
func readContacts(v object, elements int) *contacts {
	list, isList := parseList(v["contacts"])
	cs := &contacts{
		whole: isList || isEmpty(v["contacts"]),
		alone: len(list) == 1 && elements == 1,
	}
	for _, raw := range list {
		o, _ := parseObject(raw)
		p := personIn(o, "wa_id", "user_id", "parent_user_id")
		profile := o.object("profile")
		p.Name = profile.text("name")
		// Meta shows usernames with and without "@".
		p.Username = strings.TrimPrefix(firstOf(profile.text("username"), o.text("username")), "@")
		cs.cards = append(cs.cards, &card{raw: raw, person: p})
	}
	return cs
}

// of returns the card of a person, or nil: by user id, else by phone, else by
// parent id, and never one whose user id says that it is somebody else.
func (cs *contacts) of(p message.Person) *card {
	if isNobody(p) {
		if cs.alone {
			return cs.cards[0].use()
		}
		return nil
	}
	same := func(a, b string) bool { return a != "" && a == b }
	for _, match := range []func(q message.Person) bool{
		func(q message.Person) bool { return same(p.UserID, q.UserID) },
		func(q message.Person) bool { return same(p.Phone, q.Phone) },
		func(q message.Person) bool { return same(p.ParentID, q.ParentID) },
	} {
		for _, c := range cs.cards {
			stranger := p.UserID != "" && c.person.UserID != "" && p.UserID != c.person.UserID
			if match(c.person) && !stranger {
				return c.use()
			}
		}
	}
	return nil
}

func (c *card) use() *card {
	c.used = true
	return c
}

// allKnown reports whether every card belongs to some item.
func (cs *contacts) allKnown() bool {
	for _, c := range cs.cards {
		if !c.used {
			return false
		}
	}
	return cs.whole
}

// fill adds to p what the card knows and p does not say itself.
func (c *card) fill(p *message.Person) {
	p.Phone = firstOf(p.Phone, c.person.Phone)
	p.UserID = firstOf(p.UserID, c.person.UserID)
	p.ParentID = firstOf(p.ParentID, c.person.ParentID)
	p.Name, p.Username = c.person.Name, c.person.Username
}
