package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sendlog/sendlog/domain"
)

// Head opens every document.
type Head struct {
	ID           string          `json:"id"`
	Tenant       domain.TenantID `json:"tenant"`
	Position     domain.Position `json:"position"`      // of the first event; lists are sorted by it
	LastPosition domain.Position `json:"last_position"` // of the newest event folded in
}

func (h *Head) head() *Head { return h }

// Document is what folds keep: a struct with JSON tags that embeds [Head].
type Document interface{ head() *Head }

// Docs is the view of a batch of events on the documents of one generation:
// what a fold finds, including what earlier events of the batch changed. It
// is used by one goroutine, for one batch.
type Docs struct {
	ctx     context.Context // of the batch: a fold may have to fetch a document
	store   Store
	gen     generation
	recent  *recent      // what was written last
	event   domain.Event // the one being folded
	entries map[Ref]*entry
	changed []change // in the order of their first change
	notices []Notice
	dirty   int // estimated bytes to write
}

// entry is one cached document; all zero when the store has none.
type entry struct {
	raw     json.RawMessage // as fetched
	doc     Document        // decoded, or put by a fold; nil when absent
	size    int             // bytes, as far as known
	stored  bool            // the store has a version of it
	changed bool
}

// change is a document that a fold has changed.
type change struct {
	Ref
	*entry
}

// errStore marks an error that came from the store and not from a fold.
type errStore struct{ error }

func (e errStore) Unwrap() error { return e.error }

// fetchChunk bounds one Get (ids), and fetchBudget what a batch fetches ahead
// (bytes); documents beyond it are fetched when the fold asks for them.
const (
	fetchChunk  = 500
	fetchBudget = 8 << 20
)

func newDocs(ctx context.Context, store Store, gen generation, known *recent) *Docs {
	return &Docs{ctx: ctx, store: store, gen: gen, recent: known, entries: map[Ref]*entry{}}
}

// prefetch loads documents with one Get per collection and chunk.
func (d *Docs) prefetch(refs []Ref) error {
	byCollection := map[string][]string{}
	for _, r := range refs {
		if _, ok := d.entries[r]; ok {
			continue
		}
		if k, ok := d.recent.find(r); ok {
			d.entries[r] = &entry{doc: k.doc, size: k.size, stored: true}
			continue
		}
		d.entries[r] = nil // wanted once; fetched below or when the fold asks
		byCollection[r.Collection] = append(byCollection[r.Collection], r.ID)
	}
	fetched := 0
	for collection, ids := range byCollection {
		for len(ids) > 0 && fetched < fetchBudget {
			chunk := ids[:min(len(ids), fetchChunk)]
			ids = ids[len(chunk):]
			n, err := d.fetch(collection, chunk)
			if err != nil {
				return err
			}
			fetched += n
		}
	}
	return nil
}

// fetch loads documents of one collection and returns their size in bytes.
func (d *Docs) fetch(collection string, ids []string) (int, error) {
	found, err := d.store.Get(d.ctx, d.gen.collection(collection), ids)
	if err != nil {
		return 0, errStore{fmt.Errorf("get documents of %s: %w", collection, err)}
	}
	size := 0
	for _, id := range ids {
		doc := found[id]
		d.entries[Ref{collection, id}] = &entry{raw: doc.Body, size: len(doc.Body), stored: doc.Body != nil}
		size += len(doc.Body)
	}
	return size, nil
}

// entry returns the cached document, fetching it first when needed.
func (d *Docs) entry(r Ref) (*entry, error) {
	if e := d.entries[r]; e != nil {
		return e, nil
	}
	if k, ok := d.recent.find(r); ok {
		d.entries[r] = &entry{doc: k.doc, size: k.size, stored: true}
		return d.entries[r], nil
	}
	if _, err := d.fetch(r.Collection, []string{r.ID}); err != nil {
		return nil, err
	}
	return d.entries[r], nil
}

// Find returns a document of the event's tenant, or nil when there is none.
// The fold may change it in place and must then [Docs.Put] it.
func Find[D any, P interface {
	*D
	Document
}](d *Docs, collection, id string) (P, error) {
	e, err := d.entry(Ref{collection, id})
	if err != nil {
		return nil, err
	}
	if e.doc == nil {
		if e.raw == nil {
			return nil, nil
		}
		p := P(new(D))
		if err := json.Unmarshal(e.raw, p); err != nil {
			return nil, fmt.Errorf("decode a document of %s: %w", collection, err)
		}
		e.doc = p
	}
	p, ok := e.doc.(P)
	if !ok {
		return nil, fmt.Errorf("a document of %s is a %T", collection, e.doc)
	}
	if p.head().Tenant != d.event.Key.Tenant {
		return nil, nil
	}
	return p, nil
}

// Put writes a document under its id. It belongs to the event's tenant;
// writing over another tenant's document is an error.
func (d *Docs) Put(collection string, doc Document) error {
	h := doc.head()
	e, err := d.entry(Ref{collection, h.ID})
	if err != nil {
		return err
	}
	if owner := e.owner(); owner != "" && owner != d.event.Key.Tenant {
		return fmt.Errorf("document of %s belongs to another tenant", collection)
	}
	h.Tenant, h.LastPosition = d.event.Key.Tenant, d.event.Position
	if h.Position == 0 {
		h.Position = d.event.Position
	}
	e.doc = doc
	d.mark(Ref{collection, h.ID}, e)
	return nil
}

// Delete removes a document of the event's tenant, if there is one.
func (d *Docs) Delete(collection, id string) error {
	e, err := d.entry(Ref{collection, id})
	if err != nil {
		return err
	}
	switch e.owner() {
	case "":
		return nil
	case d.event.Key.Tenant:
	default:
		return fmt.Errorf("document of %s belongs to another tenant", collection)
	}
	e.doc, e.raw = nil, nil
	d.mark(Ref{collection, id}, e)
	return nil
}

// Notify records a notice of the present event; its id, tenant, time and
// position are the event's.
func (d *Docs) Notify(n Notice) {
	n.ID, n.Tenant, n.At, n.Position = d.event.ID, d.event.Key.Tenant, d.event.At, d.event.Position
	d.notices = append(d.notices, n)
}

// owner is the tenant of the document, empty when there is none.
func (e *entry) owner() domain.TenantID {
	if e.doc != nil {
		return e.doc.head().Tenant
	}
	if e.raw == nil {
		return ""
	}
	var h Head
	if json.Unmarshal(e.raw, &h) != nil || h.Tenant == "" {
		return "\x00" // unreadable: nobody's, so nobody may touch it
	}
	return h.Tenant
}

func (d *Docs) mark(r Ref, e *entry) {
	if !e.changed {
		e.changed = true
		d.changed = append(d.changed, change{r, e})
		d.dirty += e.size
	}
}

// batch returns what the events folded so far changed.
func (d *Docs) batch(from, to domain.Position) (Batch, error) {
	b := Batch{Generation: d.gen.name(), From: from, To: to, Puts: make([]Put, 0, len(d.changed))}
	var bodies bytes.Buffer // one for all: a document of its own would be copied as it grows
	enc := json.NewEncoder(&bodies)
	enc.SetEscapeHTML(false) // as in domain.JSON
	for _, c := range d.changed {
		collection := d.gen.collection(c.Collection)
		if c.doc == nil {
			if c.stored {
				b.Deletes = append(b.Deletes, Ref{collection, c.ID})
			}
			continue
		}
		began := bodies.Len()
		if err := enc.Encode(c.doc); err != nil {
			return Batch{}, fmt.Errorf("encode a document of %s: %w", c.Collection, err)
		}
		body := bodies.Bytes()[began : bodies.Len()-1 : bodies.Len()-1] // without the line's end
		c.size = len(body)
		b.Puts = append(b.Puts, Put{collection, Doc{ID: c.ID, Last: c.doc.head().LastPosition, Body: body}, !c.stored})
	}
	return b, nil
}

// fold folds one event. An error of the store is returned as it is; any other
// failure, a panic too, is a bug of the fold.
func (d *Docs) fold(m *Model, e domain.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.bug(e, fmt.Errorf("panic: %T", p)) // the value may hold what the event says
		}
	}()
	d.event = e
	d.dirty += len(e.Facts) + len(e.Personal)
	err = m.Fold(e, d)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[errStore](err); ok {
		return err
	}
	return m.bug(e, err)
}
