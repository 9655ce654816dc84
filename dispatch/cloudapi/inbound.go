package cloudapi

import (
	"encoding/json"
	"strings"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// inbound reads one element of messages (section 5.1). It is not understood
// without an id of its own and somebody who wrote it.
func (c *Change) inbound(raw json.RawMessage, people *contacts) (Item, bool) {
	m, _ := parseObject(raw)
	p := personIn(m, "from", "from_user_id", "from_parent_user_id")
	return c.said(m, raw, p, people, false)
}

// echo reads one element of message_echoes: what the business sent from its
// phone app. The person is whom it was sent to.
func (c *Change) echo(raw json.RawMessage, people *contacts) (Item, bool) {
	m, _ := parseObject(raw)
	p := personIn(m, "to", "to_user_id", "to_parent_user_id")
	return c.said(m, raw, p, people, true)
}

func (c *Change) said(m object, raw json.RawMessage, p message.Person, people *contacts, echo bool) (Item, bool) {
	wamid := m.text("id")
	if wamid == "" {
		return Item{}, false
	}
	contact := people.of(p)
	var words json.RawMessage
	if contact != nil {
		contact.fill(&p)
		words = contact.raw
	}
	if system := m.object("system"); system != nil {
		moved(&p, system)
	}
	if p.Phone == "" {
		p.Phone = ownPhone(m)
	}
	if isNobody(p) {
		return Item{}, false
	}
	kind := "inbound"
	if echo {
		kind = "echo"
	}
	return Item{
		Kind: domain.KindInbound,
		Key:  wamid,
		ID:   domain.FactID(kind, string(c.Number), wamid),
		Fact: &message.InboundReceived{
			Message: message.InboundID(c.Number, wamid, echo),
			Type:    typeOf(m),
			Echo:    echo,
			Group:   m.text("group_id") != "",
			SaidAt:  moment(m.text("timestamp")),
			InboundWords: message.InboundWords{
				Wamid:   wamid,
				Person:  p,
				GroupID: m.text("group_id"),
				Text:    textOf(m),
				ReplyTo: replyTo(m),
				Raw:     raw,
				Contact: words,
			},
		},
	}, true
}

// moved applies a system message: the ids the person had so far become former
// ones (section 6). The legacy forms new_wa_id and customer are read too.
func moved(p *message.Person, system object) {
	now := personIn(system, "wa_id", "user_id", "parent_user_id")
	phone, user := firstOf(now.Phone, digits(system.text("new_wa_id"))), now.UserID
	formerUser := system.text("previous_user_id")
	if phone != "" && phone != p.Phone {
		p.FormerPhone = firstOf(p.Phone, digits(system.text("customer")))
		p.Phone = phone
		// A new phone makes a new user id, so the one seen so far is the old.
		formerUser = firstOf(formerUser, p.UserID)
		p.UserID = ""
	}
	if user != "" && user != p.UserID {
		formerUser = firstOf(formerUser, p.UserID)
		p.UserID = user
	}
	if formerUser != p.UserID {
		p.FormerUserID = formerUser
	}
	p.ParentID = firstOf(now.ParentID, p.ParentID)
}

// ownPhone returns the sender's own number when they answered a request for
// it (section 5.2, contacts with origin contact_request). Any other card they
// share is about somebody else.
func ownPhone(m object) string {
	card := m.first("contacts")
	if card.text("origin") != "contact_request" {
		return ""
	}
	phone := card.first("phones")
	return digits(firstOf(phone.text("wa_id"), phone.text("phone")))
}

// typeOf returns the message's type, or when it has none the member that
// looks like one.
func typeOf(m object) string {
	if t := m.text("type"); t != "" {
		return label(t)
	}
	for _, t := range []string{"text", "image", "video", "audio", "document", "sticker", "location", "contacts",
		"reaction", "button", "interactive", "order", "system", "edit", "revoke", "unsupported"} {
		if !isEmpty(m[t]) {
			return t
		}
	}
	return "unknown"
}

// textOf returns what a person would read first, or "" where there are no
// words: in a sticker, a voice note, a revoked message.
func textOf(m object) string {
	switch t := typeOf(m); t {
	case "text":
		return m.object(t).text("body")
	case "image", "video", "audio", "sticker":
		return m.object(t).text("caption")
	case "document":
		return firstOf(m.object(t).text("caption"), m.object(t).text("filename"))
	case "location":
		return firstOf(m.object(t).text("name"), m.object(t).text("address"))
	case "contacts":
		return cardNames(m.list(t))
	case "reaction":
		return m.object(t).text("emoji")
	case "button", "order":
		return m.object(t).text("text")
	case "interactive":
		return replyText(m.object(t))
	case "system":
		return m.object(t).text("body")
	case "edit":
		// An edit of an edit does not exist, so this goes one level down.
		if edited := m.object(t).object("message"); edited["edit"] == nil {
			return textOf(edited)
		}
	}
	return ""
}

func replyText(i object) string {
	return firstOf(
		i.object("button_reply").text("title"),
		i.object("list_reply").text("title"),
		i.object("nfm_reply").text("body"),
		i.object("call_permission_reply").text("response"),
	)
}

func cardNames(cards []json.RawMessage) string {
	var names []string
	for _, raw := range cards {
		card, _ := parseObject(raw)
		name := firstOf(card.object("name").text("formatted_name"), card.object("name").text("first_name"),
			card.first("phones").text("phone"))
		if name != "" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// replyTo returns the message this one is about: the target of a reaction,
// edit or revoke, else the quoted one.
func replyTo(m object) string {
	return firstOf(
		m.object("reaction").text("message_id"),
		m.object("edit").text("original_message_id"),
		m.object("revoke").text("original_message_id"),
		m.object("context").text("id"),
	)
}
