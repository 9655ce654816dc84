package projections

import (
	"context"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// deadLetterDoc is one message that was dead-lettered. Its position is that
// of the newest time this happened.
type deadLetterDoc struct {
	Head
	Number     domain.NumberID `json:"number"`
	State      string          `json:"state"` // stateDead or stateRedriven
	Reason     string          `json:"reason"`
	Code       int             `json:"code,omitempty"`
	Detail     string          `json:"detail,omitempty"`
	Attempts   int             `json:"attempts"`
	At         instant         `json:"at"`
	RedrivenAt instant         `json:"redriven_at,omitzero"`
}

const (
	stateDead     = "dead"
	stateRedriven = "redriven"
)

// deadLettered folds the end of a message's attempts.
func (m *messageDoc) deadLettered(e domain.Event, d *Docs, entry *entryDoc) error {
	var f message.SendDeadLettered
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Dead = true
	if m.Refusal == nil && (f.Code != 0 || f.Detail != "") {
		m.Refusal = &refusalDoc{f.Code, f.Detail}
	}
	entry.Attempt, entry.Code, entry.Reason = f.Attempts, f.Code, firstOf(f.Detail, f.Reason)
	return d.Put(inDeadLetters, &deadLetterDoc{
		Head: Head{ID: m.ID, Position: e.Position}, Number: e.Key.Number, State: stateDead,
		Reason: f.Reason, Code: f.Code, Detail: f.Detail, Attempts: f.Attempts, At: at(e.At),
	})
}

// redriven folds the wish to try again.
func (m *messageDoc) redriven(e domain.Event, d *Docs, entry *entryDoc) error {
	var f message.SendRedriven
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Dead, m.Refusal = false, nil
	entry.Reason = f.By
	return settleLetter(e, d, m.ID)
}

// settleLetter marks a dead letter as one nobody has to care for any more.
func settleLetter(e domain.Event, d *Docs, id string) error {
	letter, err := Find[deadLetterDoc](d, inDeadLetters, id)
	if err != nil || letter == nil {
		return err
	}
	letter.State, letter.RedrivenAt = stateRedriven, at(e.At)
	return d.Put(inDeadLetters, letter)
}

func (l *deadLetterDoc) view() message.DeadLetter {
	return message.DeadLetter{
		Message: domain.MessageID(l.ID), Tenant: l.Tenant, Number: l.Number,
		Reason: l.Reason, Code: l.Code, Detail: l.Detail, Attempts: l.Attempts,
		At: l.At.Time, Position: l.Position, RedrivenAt: l.RedrivenAt.Time,
	}
}

// DeadLetterFilter narrows a list of dead letters.
type DeadLetterFilter struct {
	Tenant          domain.TenantID // empty: of all tenants, for the administrator
	IncludeRedriven bool            // also those that were tried again since
}

// DeadLetters lists dead-lettered messages, newest first, and the mark of the
// next page (nil after the last).
func (l *Library) DeadLetters(ctx context.Context, f DeadLetterFilter, page Page) ([]message.DeadLetter, *Mark, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, nil, err
	}
	states := []string{stateDead}
	if f.IncludeRedriven {
		states = append(states, stateRedriven)
	}
	where := []Match{{"state", states}}
	if f.Tenant != "" {
		where = []Match{{"tenant", []string{string(f.Tenant)}}, {"state", states}}
	}
	docs, next, err := list[deadLetterDoc](ctx, l, gen, inDeadLetters, where, page)
	if err != nil {
		return nil, nil, err
	}
	all := make([]message.DeadLetter, len(docs))
	for i, d := range docs {
		all[i] = d.view()
	}
	return all, next, nil
}
