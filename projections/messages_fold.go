package projections

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// messagesTouched names the documents an event will need.
func messagesTouched(e domain.Event) []Ref {
	t, n := e.Key.Tenant, e.Key.Number
	wamid := func(w string) Ref { return Ref{inWamids, wamidID(t, n, w)} }
	switch e.Type {
	case message.TypeAccountNotice:
		return []Ref{{inNotices, string(e.ID)}}
	case message.TypeInboundReceived:
		var f message.InboundReceived
		if e.Decode(&f) != nil {
			return nil // the fold will say so
		}
		return []Ref{{inMessages, string(f.Message)}, wamid(f.Wamid)}
	case message.TypeStatusReceived:
		var f message.StatusReceived
		if e.Decode(&f) != nil {
			return nil
		}
		refs := []Ref{wamid(f.Wamid)}
		if f.Message != "" {
			return append(refs, Ref{inMessages, string(f.Message)})
		}
		return append(refs, Ref{inMessages, string(message.InboundID(n, f.Wamid, true))}) // most likely an echo's
	case message.TypeSendAccepted:
		var f message.SendAccepted
		if e.Decode(&f) != nil {
			return nil
		}
		return []Ref{{inMessages, e.Key.ID}, wamid(f.Wamid)}
	case message.TypeSendDeadLettered, message.TypeSendRedriven:
		return []Ref{{inMessages, e.Key.ID}, {inDeadLetters, e.Key.ID}}
	}
	return []Ref{{inMessages, e.Key.ID}}
}

// foldMessages folds one event of the model "messages".
func foldMessages(e domain.Event, d *Docs) error {
	switch e.Type {
	case message.TypeInboundReceived:
		return foldInbound(e, d)
	case message.TypeStatusReceived:
		return foldStatus(e, d)
	case message.TypeAccountNotice:
		return foldNotice(e, d)
	}
	return foldOutgoing(e, d)
}

// foldOutgoing folds an event of an outgoing message's own life. A message
// whose beginning is not in the log gets a document of what is known.
func foldOutgoing(e domain.Event, d *Docs) error {
	m, err := Find[messageDoc](d, inMessages, e.Key.ID)
	if err != nil {
		return err
	}
	if m == nil {
		m = newMessage(e, e.Key.ID, message.Out)
	}
	entry := timelineEntry(e)
	kind := ""
	switch e.Type {
	case message.TypeSendRequested:
		err = m.requested(e)
	case message.TypeSendAttempted:
		var f message.SendAttempted
		err = e.Decode(&f)
		m.Attempts = max(m.Attempts, f.Attempt)
		entry.Attempt, entry.Reason = f.Attempt, f.After
	case message.TypeSendAccepted:
		err = m.accepted(e, d, &entry)
	case message.TypeSendRefused:
		var f message.SendRefused
		err = e.Decode(&f)
		m.refused(f)
		entry.Attempt, entry.Code, entry.Reason, entry.TraceID = f.Attempt, f.Code, f.Reason, f.TraceID
	case message.TypeOutcomeUnknown:
		var f message.OutcomeUnknown
		err = e.Decode(&f)
		m.sure(f.Attempt) // told again
		m.Doubts = append(m.Doubts, doubtDoc{f.Attempt, f.Reason})
		entry.Attempt, entry.Reason = f.Attempt, f.Reason
	case message.TypeSendDeadLettered:
		kind = "message.dead_lettered"
		err = m.deadLettered(e, d, &entry)
	case message.TypeSendRedriven:
		err = m.redriven(e, d, &entry)
	case message.TypeSendCancelled:
		err = m.ended(e, d, message.Cancelled)
	case message.TypeSendExpired:
		var f message.SendExpired
		if err = e.Decode(&f); err == nil {
			err = m.ended(e, d, message.Expired)
		}
		entry.Attempt = f.Attempts
	default:
		err = fmt.Errorf("no fold for %s", e.Type)
	}
	if err != nil {
		return err
	}
	m.record(entry)
	return m.save(e, d, kind)
}

func newMessage(e domain.Event, id, direction string) *messageDoc {
	return &messageDoc{Head: Head{ID: id}, Number: e.Key.Number, Direction: direction, CreatedAt: at(e.At)}
}

func timelineEntry(e domain.Event) entryDoc {
	return entryDoc{EventID: e.ID, Position: e.Position, Type: e.Type, At: at(e.At), Actor: e.Actor}
}

// save derives what is derived, writes the document, and tells what changed:
// a notice of the given kind, or else one when the headline moved.
func (m *messageDoc) save(e domain.Event, d *Docs, kind string) error {
	before := m.Status
	m.Status = message.Received
	if m.Direction == message.Out {
		m.Status = message.Headline(m.standing())
	}
	m.deriveError()
	m.UpdatedAt = at(e.At)
	if kind == "" && m.Status != before {
		kind = "message." + m.Status
	}
	if kind != "" {
		d.Notify(Notice{Kind: kind, Subject: domain.MessageID(m.ID), Data: m.news()})
	}
	return d.Put(inMessages, m)
}

// deriveError picks the error that explains the headline: that of a failed
// status, which stays visible even beside a proof of delivery, or else, while
// no attempt was accepted, why the newest one is unknown, or the newest refusal.
func (m *messageDoc) deriveError() {
	m.ErrorCode, m.ErrorReason = 0, ""
	for _, s := range m.Statuses {
		if s.Status == message.Failed {
			m.ErrorCode, m.ErrorReason = s.Code, s.Reason
			return
		}
	}
	if m.Status == message.Unknown {
		m.ErrorReason = (&message.OutcomeUnknown{Reason: m.Doubts[len(m.Doubts)-1].Reason}).Words()
		return
	}
	if m.Refusal != nil && !m.Accepted {
		m.ErrorCode, m.ErrorReason = m.Refusal.Code, m.Refusal.Reason
	}
}

func (m *messageDoc) requested(e domain.Event) error {
	var f message.SendRequested
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Type, m.To, m.IdempotencyKey, m.Fingerprint = f.Type, f.To, f.IdempotencyKey, f.Fingerprint
	m.Content, m.Text = string(f.Content), words(f.Type, f.Content)
	m.SendAt, m.ExpiresAt, m.Priority, m.Reference, m.Warnings = at(f.SendAt), at(f.ExpiresAt), f.Priority, f.Reference, f.Warnings
	m.CreatedAt = at(e.At)
	m.ReplyTo = replyTo(f.Content)
	if f.Group {
		m.GroupID = f.To
	} else {
		m.Person = person(recipient(f))
	}
	m.Contact = firstOf(m.Person.Phone, m.Person.UserID, m.Person.ParentID, m.GroupID)
	return nil
}

// recipient is the person a request is to: nobody when it is to a group, or
// only marks a message as read.
func recipient(f message.SendRequested) message.Person {
	switch phone := digits(f.To); {
	case f.Group:
		return message.Person{}
	case phone != "":
		return message.Person{Phone: phone}
	case strings.Contains(f.To, ".ENT."): // of linked portfolios (REFERENCE section 6)
		return message.Person{ParentID: f.To}
	default:
		return message.Person{UserID: f.To}
	}
}

// refused keeps the refusal of the newest attempt; a late answer to an older
// one only says that nobody need doubt that one any more.
func (m *messageDoc) refused(f message.SendRefused) {
	m.sure(f.Attempt)
	if f.Attempt >= m.Attempts {
		m.Attempts, m.Refusal = f.Attempt, &refusalDoc{f.Code, f.Reason}
	}
}

// sure removes the doubt about an attempt, if there is one.
func (m *messageDoc) sure(attempt int) {
	m.Doubts = slices.DeleteFunc(m.Doubts, func(d doubtDoc) bool { return d.Attempt == attempt })
}

// accepted joins the provider's id, and with it the statuses that came early.
func (m *messageDoc) accepted(e domain.Event, d *Docs, entry *entryDoc) error {
	var f message.SendAccepted
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Accepted = true
	m.Attempts = max(m.Attempts, f.Attempt)
	entry.Attempt, entry.Reason, entry.Wamid = f.Attempt, f.Via, f.Wamid
	if err := m.settle(e, d); err != nil {
		return err
	}
	return m.learn(e, d, f.Wamid)
}

// learn remembers that a provider's id means this message, and takes over the
// statuses that waited for it.
func (m *messageDoc) learn(e domain.Event, d *Docs, wamid string) error {
	if wamid == "" { // the personal part of the event was erased
		return nil
	}
	if !slices.Contains(m.Wamids, wamid) {
		m.Wamids = append(m.Wamids, wamid)
	}
	id := wamidID(e.Key.Tenant, e.Key.Number, wamid)
	w, err := Find[wamidDoc](d, inWamids, id)
	if err != nil {
		return err
	}
	if w == nil {
		w = &wamidDoc{Head: Head{ID: id}, Number: e.Key.Number, Wamid: wamid}
	}
	if w.Message != "" {
		return nil // known already; the first to say so is right
	}
	for _, orphan := range w.Orphans {
		if isNew, _ := m.add(orphan); isNew {
			m.record(orphan)
		}
	}
	w.Message, w.Orphans = domain.MessageID(m.ID), nil
	return d.Put(inWamids, w)
}

// foldInbound folds a message from a person, or an echo of the phone app.
func foldInbound(e domain.Event, d *Docs) error {
	var f message.InboundReceived
	if err := e.Decode(&f); err != nil {
		return err
	}
	m, err := Find[messageDoc](d, inMessages, string(f.Message))
	if err != nil {
		return err
	}
	if m != nil {
		return nil // the same message, told again
	}
	kind, direction := "message.received", message.In
	if f.Echo {
		kind, direction = "", message.Out
	}
	m = newMessage(e, string(f.Message), direction)
	m.Accepted = f.Echo // the provider has it, or it could not tell
	m.Type, m.Text, m.Content, m.ReplyTo = f.Type, f.Text, string(f.Raw), f.ReplyTo
	m.Person, m.GroupID = person(f.Person), f.GroupID
	m.Contact = firstOf(m.Person.Phone, m.Person.UserID, m.Person.ParentID, f.GroupID)
	entry := timelineEntry(e)
	entry.SaidAt, entry.Wamid = at(f.SaidAt), f.Wamid
	m.record(entry)
	if err := m.learn(e, d, f.Wamid); err != nil {
		return err
	}
	return m.save(e, d, kind)
}

// foldStatus finds the message a status is about, or keeps the status until
// the message is known.
func foldStatus(e domain.Event, d *Docs) error {
	var f message.StatusReceived
	if err := e.Decode(&f); err != nil {
		return err
	}
	entry := timelineEntry(e)
	entry.Status, entry.SaidAt, entry.Attempt = f.Status, at(f.SaidAt), f.Attempt
	entry.Code, entry.Reason, entry.Wamid = f.Code, f.Reason, f.Wamid

	if f.Message != "" {
		m, err := Find[messageDoc](d, inMessages, string(f.Message))
		if err != nil {
			return err
		}
		if m != nil && m.Direction == message.Out {
			return m.told(e, d, entry)
		}
	}
	if f.Wamid == "" {
		return nil // names no message at all: nothing to join it with, ever
	}
	id := wamidID(e.Key.Tenant, e.Key.Number, f.Wamid)
	w, err := Find[wamidDoc](d, inWamids, id)
	if err != nil {
		return err
	}
	if w == nil {
		w = &wamidDoc{Head: Head{ID: id}, Number: e.Key.Number, Wamid: f.Wamid}
	}
	if w.Message == "" {
		if !w.keep(entry) {
			return nil
		}
		return d.Put(inWamids, w)
	}
	m, err := Find[messageDoc](d, inMessages, string(w.Message))
	if err != nil || m == nil {
		return err
	}
	return m.told(e, d, entry)
}

// told folds a status into the message it is about.
func (m *messageDoc) told(e domain.Event, d *Docs, entry entryDoc) error {
	known := len(m.Wamids)
	if err := m.learn(e, d, entry.Wamid); err != nil {
		return err
	}
	isNew, changed := m.add(entry)
	if isNew {
		m.record(entry)
	}
	if !changed && len(m.Wamids) == known {
		return nil // the same status, told again
	}
	return m.save(e, d, "")
}

// keep adds a status that waits for its message: each once, told earliest.
func (w *wamidDoc) keep(entry entryDoc) bool {
	i := slices.IndexFunc(w.Orphans, func(o entryDoc) bool { return o.Status == entry.Status })
	switch {
	case i < 0 && len(w.Orphans) >= maxOrphans:
		return false
	case i < 0:
		w.Orphans = append(w.Orphans, entry)
		return true
	}
	o := w.Orphans[i]
	if !(statusDoc{entry.Status, entry.SaidAt, entry.Code, entry.Reason}).before(statusDoc{o.Status, o.SaidAt, o.Code, o.Reason}) {
		return false
	}
	w.Orphans[i] = entry
	return true
}

// digits returns a phone number without "+", or "" when s is none: a BSUID
// begins with two letters (REFERENCE section 6). Placeholder digits ("x") of
// simulated numbers are kept.
func digits(s string) string {
	s = strings.TrimPrefix(s, "+")
	if s == "" || s[0] < '0' || s[0] > '9' {
		return ""
	}
	return s
}

// words returns what a person would read first in a message object.
func words(kind string, content json.RawMessage) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(content, &object) != nil {
		return ""
	}
	var part struct {
		Body     json.RawMessage `json:"body"` // a text, or an object in interactive messages
		Caption  string          `json:"caption"`
		Emoji    string          `json:"emoji"`
		Filename string          `json:"filename"`
		Name     string          `json:"name"` // of a place or a template
	}
	// What is of another shape, in a message nobody validated, has no words.
	if json.Unmarshal(object[kind], &part) != nil {
		return cardName(object[kind])
	}
	var body string
	if json.Unmarshal(part.Body, &body) != nil {
		var inner struct {
			Text string `json:"text"`
		}
		_ = json.Unmarshal(part.Body, &inner) // no words, then
		body = inner.Text
	}
	return firstOf(body, part.Caption, part.Emoji, part.Filename, part.Name)
}

// cardName is the name on the first of a list of contacts.
func cardName(contacts json.RawMessage) string {
	var cards []struct {
		Name struct {
			Formatted string `json:"formatted_name"`
		} `json:"name"`
	}
	if json.Unmarshal(contacts, &cards) != nil || len(cards) == 0 {
		return ""
	}
	return cards[0].Name.Formatted
}

// replyTo returns the wamid a message object refers to: what it answers,
// reacts to, or marks as read.
func replyTo(content json.RawMessage) string {
	var refers struct {
		Context struct {
			Message string `json:"message_id"`
		} `json:"context"`
		Reaction struct {
			Message string `json:"message_id"`
		} `json:"reaction"`
		Message string `json:"message_id"`
	}
	_ = json.Unmarshal(content, &refers) // what is of another shape refers to nothing we know
	return firstOf(refers.Context.Message, refers.Reaction.Message, refers.Message)
}

// firstOf returns the first of the texts that is not empty.
func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
