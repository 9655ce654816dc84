package projections

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// deadLetterDoc is one message that was dead-lettered. Its position is that
// of the newest time this happened.
type deadLetterDoc struct {
	Head
	Number     domain.NumberID `json:"number"`
	State      string          `json:"state"`
	Reason     string          `json:"reason"`
	Code       string          `json:"code"` // digits: an index is over texts
	Detail     string          `json:"detail,omitempty"`
	Details    string          `json:"details,omitempty"`
	Attempts   int             `json:"attempts"`
	InDoubt    bool            `json:"in_doubt,omitempty"`
	At         instant         `json:"at"`
	FirstAt    instant         `json:"first_at"`
	Redrives   int             `json:"redrives,omitempty"`
	RedrivenAt instant         `json:"redriven_at,omitzero"`
}

// deadLettered folds the end of a message's attempts.
func (m *messageDoc) deadLettered(e domain.Event, d *Docs, entry *entryDoc) error {
	var f message.SendDeadLettered
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Dead, m.Redriven = true, false
	if m.Refusal == nil && f.Reason != message.ReasonUnknown && (f.Code != 0 || f.Detail != "") {
		m.Refusal = &refusalDoc{Code: f.Code, Reason: f.Detail}
	}
	entry.Attempt, entry.Code, entry.Reason = f.Attempts, f.Code, firstOf(f.Detail, f.Reason)
	letter := &deadLetterDoc{
		Head: Head{ID: m.ID, Position: e.Position}, Number: e.Key.Number, State: message.LetterDead,
		Reason: f.Reason, Code: strconv.Itoa(f.Code), Detail: f.Detail, Attempts: f.Attempts, At: at(e.At), FirstAt: at(e.At),
		InDoubt: f.Reason == message.ReasonUnknown || m.inDoubt(),
	}
	if m.Refusal != nil && m.Refusal.Code == f.Code && m.Refusal.Reason == f.Detail { // it died of this one
		letter.Details = m.Refusal.Details
	}
	before, err := Find[deadLetterDoc](d, inDeadLetters, m.ID)
	if err != nil {
		return err
	}
	if before != nil {
		letter.FirstAt, letter.Redrives = before.FirstAt, before.Redrives
	}
	return d.Put(inDeadLetters, letter)
}

// redriven folds the wish to try again.
func (m *messageDoc) redriven(e domain.Event, d *Docs, entry *entryDoc) error {
	var f message.SendRedriven
	if err := e.Decode(&f); err != nil {
		return err
	}
	m.Dead, m.Redriven, m.Refusal = false, true, nil
	entry.Reason, entry.Batch = f.By, f.Batch
	letter, err := Find[deadLetterDoc](d, inDeadLetters, m.ID)
	if err != nil || letter == nil {
		return err
	}
	letter.State, letter.RedrivenAt = message.LetterRedriven, at(e.At)
	letter.Redrives++
	return d.Put(inDeadLetters, letter)
}

// ended folds an end without a further attempt.
func (m *messageDoc) ended(e domain.Event, d *Docs, how string) error {
	m.Ended = how
	return m.settle(e, d)
}

// settle closes the dead letter of a message that has ended, if it has one:
// given up and proven to have been sent after all, or redriven.
func (m *messageDoc) settle(e domain.Event, d *Docs) error {
	if !m.Dead && !m.Redriven {
		return nil // the ordinary case must not look for a letter
	}
	m.Dead, m.Redriven = false, false
	letter, err := Find[deadLetterDoc](d, inDeadLetters, m.ID)
	if err != nil || letter == nil {
		return err
	}
	letter.State, letter.Attempts = message.LetterSettled, max(letter.Attempts, m.Attempts)
	return d.Put(inDeadLetters, letter)
}

func (l *deadLetterDoc) view() message.DeadLetter {
	code, _ := strconv.Atoi(l.Code) // the fold wrote it
	return message.DeadLetter{
		Message: domain.MessageID(l.ID), Tenant: l.Tenant, Number: l.Number, State: l.State,
		Reason: l.Reason, Code: code, Detail: l.Detail, Details: l.Details, Attempts: l.Attempts, InDoubt: l.InDoubt, At: l.At.Time, Position: l.Position,
		FirstAt: l.FirstAt.Time, Redrives: l.Redrives, RedrivenAt: l.RedrivenAt.Time,
	}
}

// mostLooked bounds the letters looked at for one page of a list that is
// narrowed beyond its index (documents). What is found by then is the page.
const mostLooked = 2000

// clockSkew is how far the clocks of the machines that write the log may be
// apart: the doctor fails long before. Letters come in the order of the log;
// the first one that died longer than this before Since ends the list.
const clockSkew = 5 * time.Minute

// DeadLetters lists dead letters, newest death first, and the mark of the next
// page (nil after the last). A page may be shorter than asked for, even empty,
// and not be the last.
func (l *Library) DeadLetters(ctx context.Context, f message.LetterFilter, page Page) ([]message.DeadLetter, *Mark, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, nil, err
	}
	var found []message.DeadLetter
	limit, where := page.limit(), lettersWhere(f)
	for looked := 0; looked < mostLooked; looked += domain.MaxPage {
		docs, next, err := list[deadLetterDoc](ctx, l, gen, inDeadLetters, where, Page{After: page.After, Limit: domain.MaxPage})
		if err != nil {
			return nil, nil, err
		}
		for i, doc := range docs {
			letter := doc.view()
			if !f.Since.IsZero() && letter.At.Before(f.Since.Add(-clockSkew)) {
				return found, nil, nil
			}
			if !f.Accepts(letter) {
				continue
			}
			if found = append(found, letter); len(found) == limit && (next != nil || i < len(docs)-1) {
				return found, &Mark{Value: int64(doc.Position), ID: doc.ID}, nil
			}
		}
		if next == nil {
			return found, nil, nil
		}
		page.After = next
	}
	return found, page.After, nil
}

// lettersWhere chooses the index that narrows most.
func lettersWhere(f message.LetterFilter) []Match {
	states := []string{message.LetterDead, message.LetterRedriven, message.LetterSettled}
	if f.State != "" {
		states = []string{f.State}
	}
	state := Match{"state", states}
	switch {
	case f.Number != "":
		return []Match{{"number", []string{string(f.Number)}}, state}
	case f.Tenant != "":
		return []Match{{"tenant", []string{string(f.Tenant)}}, state}
	case f.Code != nil:
		return []Match{{"code", []string{strconv.Itoa(*f.Code)}}, state}
	}
	return []Match{state}
}

// DeadLettersByID returns those of the messages that were ever dead-lettered,
// by id, of a tenant, or of all when it is empty.
func (l *Library) DeadLettersByID(ctx context.Context, t domain.TenantID, ids []string) (map[string]message.DeadLetter, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, err
	}
	docs, err := l.config.Store.Get(ctx, gen.collection(inDeadLetters), ids)
	if err != nil {
		return nil, err
	}
	found := map[string]message.DeadLetter{}
	for id, doc := range docs {
		letter, err := decodeDoc[deadLetterDoc](doc)
		if err != nil {
			return nil, err
		}
		if t == "" || letter.Tenant == t {
			found[id] = letter.view()
		}
	}
	return found, nil
}

// Corpses tells by id what a redrive of messages would meet. Of what was
// recorded before the position kept, nothing is kept. A message that is not
// known is left out.
func (l *Library) Corpses(ctx context.Context, ids []string, kept domain.Position) (map[string]message.Corpse, error) {
	gen, err := l.reading("messages")
	if err != nil {
		return nil, err
	}
	docs, err := l.config.Store.Get(ctx, gen.collection(inMessages), ids)
	if err != nil {
		return nil, err
	}
	found := make(map[string]message.Corpse, len(docs))
	for id, doc := range docs {
		m, err := decodeDoc[messageDoc](doc)
		if err != nil {
			return nil, err
		}
		found[id] = m.corpse(kept)
	}
	return found, nil
}

func (m *messageDoc) corpse(kept domain.Position) message.Corpse {
	c := message.Corpse{Tenant: m.Tenant, Status: m.Status, Accepted: m.Accepted, Dead: m.Dead, ExpiresAt: m.ExpiresAt.Time}
	c.Kept = len(m.Timeline) > 0 && m.Timeline[0].Type == message.TypeSendRequested && m.Timeline[0].Position >= kept
	c.Accepted = c.Accepted || len(m.Statuses) > 0 && m.inDoubt()
	return c
}

// inDoubt reports whether some attempt has an outcome other than a refusal, or
// none: unless the message is accepted, nobody knows whether the person has it.
func (m *messageDoc) inDoubt() bool {
	tried, _ := message.History(m.entries())
	return slices.ContainsFunc(tried, func(t message.Tried) bool { return t.Outcome != message.OutcomeRefused })
}
