package projections

import (
	"slices"

	"github.com/sendlog/sendlog/domain"
)

// wamidDoc says which message a provider's id means. Until that is known it
// keeps the statuses that arrived for it.
type wamidDoc struct {
	Head
	Number  domain.NumberID  `json:"number"`
	Wamid   string           `json:"wamid"`
	Message domain.MessageID `json:"message"`
	Orphans []entryDoc       `json:"orphans,omitempty"`
}

// maxOrphans bounds the statuses kept for a message nobody knows (entries).
// There are six kinds of status, and each is kept once.
const maxOrphans = 16

// wamidID names the document of a provider's id: hashed, because a wamid
// holds a phone number, and under the business number, because that is where
// the provider reports its statuses.
func wamidID(t domain.TenantID, n domain.NumberID, wamid string) string {
	return "wam_" + domain.Digest("wamid", string(t), string(n), wamid)
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
	if !entry.told().before(w.Orphans[i].told()) {
		return false
	}
	w.Orphans[i] = entry
	return true
}
