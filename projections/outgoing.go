package projections

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

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
		entry.Attempt, entry.Code, entry.Reason, entry.Details, entry.TraceID = f.Attempt, f.Code, f.Reason, f.Details, f.TraceID
	case message.TypeOutcomeUnknown:
		var f message.OutcomeUnknown
		err = e.Decode(&f)
		m.sure(f.Attempt) // told again
		m.Doubts = append(m.Doubts, doubtDoc{f.Attempt, f.Reason, f.Code})
		entry.Attempt, entry.Code, entry.Reason = f.Attempt, f.Code, f.Reason
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
		m.Attempts, m.Refusal = f.Attempt, &refusalDoc{f.Code, f.Reason, f.Details}
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
