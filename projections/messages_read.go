package projections

import (
	"context"
	"slices"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
)

// MessageFilter narrows a list of messages; empty fields do not.
type MessageFilter struct {
	Status    string // a headline, e.g. message.Delivered
	Direction string // message.In or message.Out
	Customer  customer.ID
}

// outgoing are the headlines an outgoing message can have; an incoming one
// has only message.Received. So the headline says the direction, and no index
// is needed for it.
var outgoing = []string{
	message.Accepted, message.Cancelled, message.Delivered, message.Expired, message.Failed, message.Played,
	message.Queued, message.Read, message.Sent, message.Unknown,
}

// Message returns one message, or an error of kind domain.Unknown when it
// does not exist or is another tenant's.
func (l *Library) Message(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.View, error) {
	m, err := l.message(ctx, t, id)
	if err != nil {
		return message.View{}, err
	}
	return m.view(), nil
}

// Timeline returns the events of a message, oldest first, at most
// domain.MaxTimeline. Its errors are those of [Library.Message].
func (l *Library) Timeline(ctx context.Context, t domain.TenantID, id domain.MessageID) ([]message.Entry, error) {
	m, err := l.message(ctx, t, id)
	if err != nil {
		return nil, err
	}
	return m.entries(), nil
}

// Find implements [message.Past]: a point read by id, from what has been folded
// so far.
func (l *Library) Find(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.PastRequest, bool, error) {
	m, err := l.message(ctx, t, id)
	switch {
	case domain.KindOf(err) == domain.Unknown:
		return message.PastRequest{}, false, nil
	case err != nil:
		return message.PastRequest{}, false, err
	}
	return message.PastRequest{Number: m.Number, Fingerprint: m.Fingerprint, Position: m.Position,
		Warnings: m.Warnings, Fate: m.fate()}, true, nil
}

// fate is what the fold of the message's own events would tell.
func (m *messageDoc) fate() message.Fate {
	// The timeline may have lost an attempt in doubt; the document has not.
	f := message.Fate{Accepted: m.Accepted, Dead: m.Dead, Ended: m.Ended, Certain: !m.Accepted && len(m.Doubts) == 0}
	timeline := m.entries()
	for _, e := range timeline {
		if e.Type != message.TypeStatusReceived {
			f.Last = e.Position
		}
	}
	tried, _ := message.History(timeline)
	for _, t := range tried {
		if t.Outcome != message.OutcomeRefused {
			f.Certain = false
		}
	}
	return f
}

var _ message.Past = (*Library)(nil)

func (l *Library) message(ctx context.Context, t domain.TenantID, id domain.MessageID) (*messageDoc, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, err
	}
	return find[messageDoc](ctx, l, gen, t, inMessages, string(id))
}

// Messages lists a tenant's messages, newest first, and the mark of the next
// page (nil after the last). It returns an error of kind domain.Invalid for a
// status or direction that does not exist, and domain.Unknown for a customer
// that does not.
func (l *Library) Messages(ctx context.Context, t domain.TenantID, f MessageFilter, page Page) ([]message.View, *Mark, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, nil, err
	}
	statuses, err := f.statuses()
	if err != nil {
		return nil, nil, err
	}
	where := []Match{{"tenant", []string{string(t)}}}
	if f.Customer != "" {
		c, err := l.customer(ctx, t, f.Customer)
		if err != nil {
			return nil, nil, err
		}
		where = append(where, Match{"contact", c.contacts()})
	}
	switch {
	case statuses == nil && f.Customer == "":
		where = append(where, Match{"status", append([]string{message.Received}, outgoing...)})
	case statuses != nil && len(statuses) == 0:
		return nil, nil, nil
	case statuses != nil:
		where = append(where, Match{"status", statuses})
	}
	docs, next, err := list[messageDoc](ctx, l, gen, inMessages, where, page)
	if err != nil {
		return nil, nil, err
	}
	all := make([]message.View, len(docs))
	for i, m := range docs {
		all[i] = m.view()
	}
	return all, next, nil
}

// statuses returns the headlines the filter accepts: nil for all, empty for
// none.
func (f MessageFilter) statuses() ([]string, error) {
	switch f.Status {
	case "", message.Received:
	default:
		if !slices.Contains(outgoing, f.Status) {
			return nil, fault("/status", "is not a status of a message")
		}
	}
	var of []string
	switch f.Direction {
	case "":
		if f.Status == "" {
			return nil, nil
		}
		return []string{f.Status}, nil
	case message.In:
		of = []string{message.Received}
	case message.Out:
		of = outgoing
	default:
		return nil, fault("/direction", "is "+message.In+" or "+message.Out)
	}
	if f.Status == "" {
		return of, nil
	}
	if !slices.Contains(of, f.Status) {
		return []string{}, nil
	}
	return []string{f.Status}, nil
}

func fault(pointer, detail string) error {
	return &domain.Error{Kind: domain.Invalid, Message: "the list cannot be narrowed like this",
		Faults: []domain.Fault{{Pointer: pointer, Detail: detail}}}
}
