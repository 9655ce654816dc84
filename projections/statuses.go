package projections

import (
	"cmp"
	"slices"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// statusDoc is one member of the set of statuses. They are a list and not an
// object because their names come from outside.
type statusDoc struct {
	Status  string  `json:"status"`
	SaidAt  instant `json:"said_at"`
	Code    int     `json:"code,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Details string  `json:"details,omitempty"`
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
	entry.Code, entry.Reason, entry.Details, entry.Wamid = f.Code, f.Reason, f.Details, f.Wamid

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

// add puts a status into the set and reports whether that changed anything.
// Of one status told twice the earlier time is kept, with its error.
func (m *messageDoc) add(e entryDoc) (isNew, changed bool) {
	told := e.told()
	i := slices.IndexFunc(m.Statuses, func(s statusDoc) bool { return s.Status == e.Status })
	if i < 0 {
		if len(m.Statuses) >= maxOrphans {
			return false, false // nobody sends so many kinds of status
		}
		m.Statuses = append(m.Statuses, told)
		slices.SortFunc(m.Statuses, func(a, b statusDoc) int { return cmp.Compare(a.Status, b.Status) })
		return true, true
	}
	if !told.before(m.Statuses[i]) {
		return false, false
	}
	m.Statuses[i] = told
	return false, true
}

// told is the status that an entry of a timeline tells.
func (e entryDoc) told() statusDoc {
	return statusDoc{e.Status, e.SaidAt, e.Code, e.Reason, e.Details}
}

// before orders reports of one status: earlier first, unknown times last, and
// something to decide by when the times are equal.
func (s statusDoc) before(other statusDoc) bool {
	switch a, b := s.SaidAt, other.SaidAt; {
	case a.IsZero() != b.IsZero():
		return b.IsZero()
	case !a.Equal(b.Time):
		return a.Before(b.Time)
	case s.Code != other.Code:
		return s.Code < other.Code
	case s.Reason != other.Reason:
		return s.Reason < other.Reason
	}
	return s.Details < other.Details
}
