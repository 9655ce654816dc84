package tenant

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Status of a tenant.
const Active = "active"

// View is one tenant as it is shown: no secret in it.
type View struct {
	ID        domain.TenantID
	Name      string
	Status    string
	Numbers   []Number
	CreatedAt time.Time
}

// Number is one business number of a tenant.
type Number struct {
	ID        domain.NumberID
	WABA      string
	Simulated bool
}

type record struct {
	view    View
	dataKey []byte
	tokens  map[domain.NumberID][]byte
}

type apiKey struct {
	tenant domain.TenantID
	hash   string
}

// Directory is the fold of the journal of tenants, in memory. It is safe for
// concurrent use; one goroutine applies events in order.
type Directory struct {
	mu       sync.RWMutex
	position domain.Position
	moved    chan struct{} // closed and replaced when position advances
	tenants  map[domain.TenantID]*record
	numbers  map[domain.NumberID]domain.TenantID
	wabas    map[string]domain.TenantID
	keys     map[string]apiKey
}

// NewDirectory returns an empty directory.
func NewDirectory() *Directory {
	return &Directory{
		moved:   make(chan struct{}),
		tenants: map[domain.TenantID]*record{},
		numbers: map[domain.NumberID]domain.TenantID{},
		wabas:   map[string]domain.TenantID{},
		keys:    map[string]apiKey{},
	}
}

// Apply folds one event of the journal; one that was applied before is passed
// over.
func (d *Directory) Apply(e domain.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Position <= d.position {
		return nil
	}
	switch e.Type {
	case TypeRegistered:
		var f Registered
		if err := e.Decode(&f); err != nil {
			return err
		}
		id := e.Key.Tenant
		d.tenants[id] = &record{
			view: View{ID: id, Name: f.Name, Status: Active, CreatedAt: e.At,
				Numbers: []Number{{ID: f.Number, WABA: f.WABA, Simulated: f.Simulated}}},
			dataKey: f.DataKey,
			tokens:  map[domain.NumberID][]byte{f.Number: f.Token},
		}
		d.numbers[f.Number] = id
		if _, taken := d.wabas[f.WABA]; f.WABA != "" && !taken {
			d.wabas[f.WABA] = id
		}
		d.keys[f.KeyID] = apiKey{tenant: id, hash: f.KeyHash}
	default:
		return fmt.Errorf("fold tenants: unknown event %q at %d", e.Type, e.Position)
	}
	d.position = e.Position
	close(d.moved)
	d.moved = make(chan struct{})
	return nil
}

// Position returns how far the journal has been folded.
func (d *Directory) Position() domain.Position {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.position
}

// Wait returns when the directory has folded position p, or when ctx ends.
func (d *Directory) Wait(ctx context.Context, p domain.Position) error {
	for {
		d.mu.RLock()
		done, moved := d.position >= p, d.moved
		d.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return domain.Errorf(domain.Unavailable, ctx.Err(), "the tenant directory is catching up; try again")
		}
	}
}

// Get returns a tenant.
func (d *Directory) Get(id domain.TenantID) (View, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r, ok := d.tenants[id]
	if !ok {
		return View{}, false
	}
	return r.view, true
}

// List returns up to limit tenants with an id above after, in order of id.
func (d *Directory) List(after domain.TenantID, limit int) []View {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []View
	for id, r := range d.tenants {
		if id > after {
			out = append(out, r.view)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out[:min(limit, len(out))]
}

// Owner returns the tenant a number belongs to.
func (d *Directory) Owner(n domain.NumberID) (domain.TenantID, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.numbers[n]
	return t, ok
}

// OwnerOfAccount returns the tenant a WhatsApp business account belongs to.
// When several tenants have numbers in one account it is the first of them.
func (d *Directory) OwnerOfAccount(waba string) (domain.TenantID, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.wabas[waba]
	return t, ok
}

// Authenticate returns the tenant an API key speaks for.
func (d *Directory) Authenticate(key string) (domain.TenantID, bool) {
	id, ok := ParseAPIKey(key)
	if !ok {
		return "", false
	}
	d.mu.RLock()
	kept, ok := d.keys[id]
	d.mu.RUnlock()
	if !ok || !sameKey(key, kept.hash) {
		return "", false
	}
	return kept.tenant, true
}

// DataKey returns a tenant's wrapped data key.
func (d *Directory) DataKey(id domain.TenantID) ([]byte, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r, ok := d.tenants[id]
	if !ok {
		return nil, false
	}
	return r.dataKey, true
}

// SealedToken returns the sealed access token of a number.
func (d *Directory) SealedToken(n domain.NumberID) (t domain.TenantID, sealed []byte, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok = d.numbers[n]
	if !ok {
		return "", nil, false
	}
	return t, d.tenants[t].tokens[n], true
}
