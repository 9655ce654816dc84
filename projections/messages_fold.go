package projections

import (
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
	m.ErrorCode, m.ErrorReason, m.ErrorDetails = 0, "", ""
	for _, s := range m.Statuses {
		if s.Status == message.Failed {
			m.ErrorCode, m.ErrorReason, m.ErrorDetails = s.Code, s.Reason, s.Details
			return
		}
	}
	if m.Status == message.Unknown {
		doubt := m.Doubts[len(m.Doubts)-1]
		m.ErrorCode, m.ErrorReason = doubt.Code, (&message.OutcomeUnknown{Reason: doubt.Reason}).Words()
		return
	}
	if m.Refusal != nil && !m.Accepted {
		m.ErrorCode, m.ErrorReason, m.ErrorDetails = m.Refusal.Code, m.Refusal.Reason, m.Refusal.Details
	}
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
