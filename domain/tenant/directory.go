package tenant

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Directory is the fold of the journal of tenants, in memory: about 1 KiB for
// a tenant with one number and one key (BenchmarkDirectory100k). It is safe for
// concurrent use; one goroutine applies events in order.
type Directory struct {
	mu       sync.RWMutex
	position domain.Position
	moved    chan struct{} // closed and replaced when position advances
	gates    chan struct{} // closed and replaced when a pause or block changes
	access   chan struct{} // closed and replaced when a key may reach less than before
	tenants  map[domain.TenantID]*record
	ids      []domain.TenantID // of tenants
	sorted   bool              // ids are in order; List puts them so, when somebody asks
	numbers  map[domain.NumberID]domain.TenantID
	blocked  map[domain.NumberID]bool     // numbers with a block
	wabas    map[string][]domain.TenantID // in the order they came
	keys     map[string]apiKey
	keks     map[string]*kekUse
}

// kekUse is how many data keys one master key wraps.
type kekUse struct {
	name  string
	count int
}

// NewDirectory returns an empty directory.
func NewDirectory() *Directory {
	return &Directory{
		moved:   make(chan struct{}),
		gates:   make(chan struct{}),
		access:  make(chan struct{}),
		sorted:  true,
		tenants: map[domain.TenantID]*record{},
		numbers: map[domain.NumberID]domain.TenantID{},
		blocked: map[domain.NumberID]bool{},
		wabas:   map[string][]domain.TenantID{},
		keys:    map[string]apiKey{},
		keks:    map[string]*kekUse{},
	}
}

// Apply folds one event of the journal; one that was applied before is passed
// over. An event it does not know, or that contradicts those before it, is an
// error and changes nothing: rules that are not understood cannot be kept.
func (d *Directory) Apply(e domain.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Position <= d.position {
		return nil
	}
	if err := d.fold(e); err != nil {
		return err
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

// Narrowed returns a channel that is closed as soon as a key may reach less
// than before: one was revoked, or a tenant has another number or token. That a
// key expires is no event.
func (d *Directory) Narrowed() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.access
}

// narrow tells those who listen to Narrowed. The caller holds the lock.
func (d *Directory) narrow() {
	close(d.access)
	d.access = make(chan struct{})
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
	return r.view(id), true
}

func (r *record) view(id domain.TenantID) View {
	v := View{ID: id, Name: r.name, Status: r.pause.status(), Reason: r.pause.reason, Quota: r.quota, Sending: r.sending, CreatedAt: r.since,
		Numbers: make([]Number, len(r.numbers))}
	for i := range r.numbers {
		v.Numbers[i] = r.numbers[i].view()
	}
	return v
}

func (n *number) view() Number {
	v := Number{ID: n.id, WABA: n.waba, Simulated: n.simulated, Status: n.pause.status(), Reason: n.pause.reason, Paused: n.pause.on,
		PerSecond: n.pace(), PaceSet: n.paceSet}
	if n.trouble == nil || len(n.trouble.blocks) == 0 {
		return v
	}
	v.Blocks = slices.Clone(n.trouble.blocks)
	switch {
	case n.pause.on:
	case n.holds(false):
		first := slices.IndexFunc(v.Blocks, func(b Block) bool { return b.Cause != ByTemplates })
		v.Status, v.Reason = Halted, v.Blocks[first].Reason
	default:
		v.Status, v.Reason = Restricted, v.Blocks[0].Reason
	}
	return v
}

// List returns up to limit tenants with an id above after, in order of id. The
// ids are sorted when somebody asks and new ones came since.
func (d *Directory) List(after domain.TenantID, limit int) []View {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.sorted {
		slices.Sort(d.ids)
		d.sorted = true
	}
	from, found := slices.BinarySearch(d.ids, after)
	if found {
		from++
	}
	page := d.ids[from:min(from+limit, len(d.ids))]
	out := make([]View, len(page))
	for i, id := range page {
		out[i] = d.tenants[id].view(id)
	}
	return out
}

// Owner returns the tenant a number belongs to.
func (d *Directory) Owner(n domain.NumberID) (domain.TenantID, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.numbers[n]
	return t, ok
}

// OwnersOfAccount returns the tenants that have numbers in a WhatsApp business
// account, in the order in which they came to it.
func (d *Directory) OwnersOfAccount(waba string) []domain.TenantID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Clone(d.wabas[waba])
}

// Authenticate returns who an API key speaks for at a time. One that was
// revoked, or has expired, speaks for nobody.
func (d *Directory) Authenticate(key string, now time.Time) (Principal, bool) {
	id, ok := ParseAPIKey(key)
	if !ok {
		return Principal{}, false
	}
	d.mu.RLock()
	kept, ok := d.keys[id]
	d.mu.RUnlock()
	if !ok || !kept.digest.of(key) || kept.over(now) {
		return Principal{}, false
	}
	return Principal{Tenant: kept.tenant, KeyID: id, Scopes: kept.scopes, Test: kept.test, ExpiresAt: kept.expires}, true
}

func (k apiKey) over(now time.Time) bool { return !k.expires.IsZero() && !now.Before(k.expires) }

// Listener returns the tenant whose live events an API key may listen to.
func (d *Directory) Listener(key string, now time.Time) (domain.TenantID, bool) {
	p, ok := d.Authenticate(key, now)
	if !ok || !p.Scopes.Has(ScopeStream) {
		return "", false
	}
	if v, known := d.Get(p.Tenant); !known || p.Test && !v.Simulated() {
		return "", false
	}
	return p.Tenant, true
}

// Holds reports whether a key that was authenticated may still be used.
func (d *Directory) Holds(keyID string, now time.Time) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	kept, ok := d.keys[keyID]
	return ok && !kept.over(now)
}

// Keys returns a tenant's API keys that were not revoked, oldest first;
// expired ones are among them.
func (d *Directory) Keys(id domain.TenantID) []KeyView {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r, ok := d.tenants[id]
	if !ok {
		return nil
	}
	out := make([]KeyView, len(r.keys))
	for i, id := range r.keys {
		k := d.keys[id]
		out[i] = KeyView{ID: id, Scopes: k.scopes, Test: k.test, CreatedAt: k.since, ExpiresAt: k.expires}
	}
	return out
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

// KEK returns the name of the master key that wraps a tenant's data key. It is
// empty for a tenant registered before the names were recorded.
func (d *Directory) KEK(id domain.TenantID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r, ok := d.tenants[id]; ok {
		return r.kek
	}
	return ""
}

// KEKs returns how many data keys each master key wraps, by its name.
func (d *Directory) KEKs() map[string]int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := map[string]int{}
	for name, use := range d.keks {
		if use.count > 0 {
			out[name] = use.count
		}
	}
	return out
}

// SealedToken returns the sealed access token of a number.
func (d *Directory) SealedToken(n domain.NumberID) (t domain.TenantID, sealed []byte, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok = d.numbers[n]
	if !ok {
		return "", nil, false
	}
	return t, d.tenants[t].number(n).token, true
}

// Open reports whether messages of a number, or template messages, may be sent
// now: neither it nor its tenant is paused, and nothing blocks it. A number
// nobody has is open; sending finds out.
func (d *Directory) Open(n domain.NumberID, template bool) bool {
	open, _ := d.gate(n, template)
	return open
}

// Pass returns nil as soon as a number is open, or the context's error.
func (d *Directory) Pass(ctx context.Context, n domain.NumberID, template bool) error {
	for {
		open, moved := d.gate(n, template)
		if open {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Directory) gate(id domain.NumberID, template bool) (open bool, moved <-chan struct{}) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := d.tenants[d.numbers[id]]
	if r == nil {
		return true, d.gates
	}
	n := r.number(id)
	return !r.pause.on && !n.pause.on && !n.holds(template), d.gates
}
