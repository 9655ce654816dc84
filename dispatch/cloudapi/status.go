package cloudapi

import (
	"encoding/json"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// status reads one element of statuses (section 5.4). It is not understood
// without the wamid and a status word, and the status of a call is none of a
// message. The recipient may be missing: the wamid says whom it is about.
func (c *Change) status(raw json.RawMessage, people *contacts) (Item, bool) {
	s, _ := parseObject(raw)
	wamid, state := s.text("id"), s.text("status")
	if wamid == "" || !domain.ValidToken(state) || s.text("type") == "call" {
		return Item{}, false
	}
	participant := firstOf(s.text("recipient_participant_id"), s.text("participant_recipient_id"))
	p := personIn(s, "recipient_id", "recipient_user_id", "recipient_parent_user_id")
	if participant != "" || s.text("recipient_type") == "group" {
		// recipient_id is the group; one of its members is the person.
		p = personIn(object{"id": quoted(participant)}, "id", "", "")
	}
	if contact := people.of(p); contact != nil {
		contact.fill(&p)
	}
	pricing := s.object("pricing")
	if pricing == nil {
		// Nested in one of Meta's group samples.
		pricing = s.object("conversation").object("pricing")
	}
	fact := &message.StatusReceived{
		Status:      state,
		SaidAt:      moment(s.text("timestamp")),
		Category:    label(pricing.text("category")),
		PricingType: label(pricing.text("type")),
		StatusNames: message.StatusNames{Wamid: wamid, Person: p, Raw: raw},
	}
	// Several errors may be told; the first decides.
	e := s.first("errors")
	if code, ok := e.integer("code"); ok {
		fact.Code, fact.Reason = code, Lookup(code).Words
	}
	fact.Details = detailsOf(e, "")
	item := Item{
		Kind: domain.KindStatus,
		Key:  wamid,
		ID:   domain.FactID("status", string(c.Number), wamid, state, participant),
		Fact: fact,
	}
	if t, m, attempt, ok := ParseOpaque(s.text("biz_opaque_callback_data")); ok {
		item.OpaqueTenant, fact.Message, fact.Attempt = t, m, attempt
	}
	return item, true
}

// quoted is s as a JSON string.
func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}
