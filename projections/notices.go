package projections

import (
	"context"
	"encoding/json"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// MessageNews is the Data of notices about messages.
type MessageNews struct {
	Message   domain.MessageID `json:"message"`
	Number    domain.NumberID  `json:"number"`
	Direction string           `json:"direction"`
	Type      string           `json:"type"`
	Status    string           `json:"status"`
	Attempts  int              `json:"attempts,omitempty"`
	Code      int              `json:"code,omitempty"`
	Reason    string           `json:"reason,omitempty"`
	To        string           `json:"to,omitempty"`        // outgoing
	From      string           `json:"from,omitempty"`      // incoming: phone digits, or a BSUID
	FromName  string           `json:"from_name,omitempty"` // incoming
	GroupID   string           `json:"group_id,omitempty"`
	Text      string           `json:"text,omitempty"`     // incoming
	ReplyTo   string           `json:"reply_to,omitempty"` // incoming
}

// AccountNews is the Data of notices about an account.
type AccountNews struct {
	Number domain.NumberID `json:"number,omitempty"`
	Field  string          `json:"field"`
	Event  string          `json:"event,omitempty"`
}

// news is what a listener learns of a message. The words of an outgoing
// message are the listener's own and are not repeated.
func (m *messageDoc) news() MessageNews {
	n := MessageNews{
		Message: domain.MessageID(m.ID), Number: m.Number, Direction: m.Direction, Type: m.Type, Status: m.Status,
		Attempts: m.Attempts, Code: m.ErrorCode, Reason: m.ErrorReason, GroupID: m.GroupID,
	}
	if m.Direction == message.In {
		n.From, n.FromName, n.Text, n.ReplyTo = m.Contact, m.Person.Name, m.Text, m.ReplyTo
	} else {
		n.To = firstOf(m.To, m.Contact)
	}
	return n
}

// noticeDoc is one account notice.
type noticeDoc struct {
	Head
	Number domain.NumberID `json:"number"`
	Field  string          `json:"field"`
	Event  string          `json:"event"`
	WABA   string          `json:"waba"`
	SaidAt instant         `json:"said_at"`
	At     instant         `json:"at"`
	Raw    string          `json:"raw"` // verbatim JSON, kept as text
}

func foldNotice(e domain.Event, d *Docs) error {
	var f message.AccountNotice
	if err := e.Decode(&f); err != nil {
		return err
	}
	d.Notify(Notice{Kind: "account.notice", Data: AccountNews{Number: e.Key.Number, Field: f.Field, Event: f.Event}})
	return d.Put(inNotices, &noticeDoc{
		Head: Head{ID: string(e.ID)}, Number: e.Key.Number, Field: f.Field, Event: f.Event,
		WABA: f.WABA, SaidAt: at(f.SaidAt), At: at(e.At), Raw: string(f.Raw),
	})
}

func (n *noticeDoc) view() message.NoticeView {
	v := message.NoticeView{
		ID: domain.EventID(n.ID), Tenant: n.Tenant, Number: n.Number, Field: n.Field, Event: n.Event,
		WABA: n.WABA, SaidAt: n.SaidAt.Time, At: n.At.Time, Position: n.Position,
	}
	if n.Raw != "" {
		v.Raw = json.RawMessage(n.Raw)
	}
	return v
}

// Notices lists a tenant's account notices, newest first, and the mark of the
// next page (nil after the last).
func (l *Library) Notices(ctx context.Context, t domain.TenantID, page Page) ([]message.NoticeView, *Mark, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, nil, err
	}
	docs, next, err := list[noticeDoc](ctx, l, gen, inNotices, []Match{{"tenant", []string{string(t)}}}, page)
	if err != nil {
		return nil, nil, err
	}
	all := make([]message.NoticeView, len(docs))
	for i, d := range docs {
		all[i] = d.view()
	}
	return all, next, nil
}
