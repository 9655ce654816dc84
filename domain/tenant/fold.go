package tenant

import (
	"fmt"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// record is all that is kept in memory of one tenant, besides its keys.
type record struct {
	name    string
	since   time.Time
	dataKey []byte
	kek     string // name of the master key that wraps dataKey; shared by all records under it
	quota   Quota
	sending Sending
	pause   pause
	numbers []number // in the order they came; most tenants have one
	keys    []string // ids
}

type number struct {
	id        domain.NumberID
	waba      string
	token     []byte // sealed
	simulated bool
	pause     pause
	trouble   *trouble // nil: it never had any
	perSecond int      // 0: nobody said
	paceSet   bool     // by an operator
}

// pause is an operator's reason to send nothing, or none.
type pause struct {
	on     bool
	reason string
}

func (p pause) status() string {
	if p.on {
		return Halted
	}
	return Active
}

type apiKey struct {
	tenant  domain.TenantID
	digest  digest
	scopes  Scopes
	test    bool
	since   time.Time
	expires time.Time
}

// number returns a tenant's number, or nil.
func (r *record) number(n domain.NumberID) *number {
	for i := range r.numbers {
		if r.numbers[i].id == n {
			return &r.numbers[i]
		}
	}
	return nil
}

// fold applies one event. The caller holds the lock.
func (d *Directory) fold(e domain.Event) error {
	apply, known := folds[e.Type]
	if !known {
		return fmt.Errorf("fold tenants: unknown event %q at %d", e.Type, e.Position)
	}
	r := d.tenants[e.Key.Tenant]
	if r == nil && e.Type != TypeRegistered {
		return fmt.Errorf("fold tenants: %s at %d is of a tenant nobody registered", e.Type, e.Position)
	}
	return apply(d, e, r)
}

// folds says what each event of the journal changes.
var folds = map[string]func(*Directory, domain.Event, *record) error{
	TypeRegistered:       decoded((*Directory).register),
	TypeNumberAdded:      decoded((*Directory).numberAdded),
	TypeTokenSealed:      decoded((*Directory).tokenSealed),
	TypeKeyIssued:        decoded((*Directory).addKey),
	TypeKeyRevoked:       decoded((*Directory).keyRevoked),
	TypeQuotaSet:         decoded((*Directory).quotaSet),
	TypePaused:           decoded((*Directory).paused),
	TypeResumed:          decoded((*Directory).resumed),
	TypeNumberBlocked:    decoded((*Directory).numberBlocked),
	TypeNumberUnblocked:  decoded((*Directory).numberUnblocked),
	TypeSendingSet:       decoded((*Directory).sendingSet),
	TypeNumberPaced:      decoded((*Directory).numberPaced),
	TypeDataKeyRewrapped: decoded((*Directory).dataKeyRewrapped),
}

// decoded hands a fold the facts of its event.
func decoded[F any, P interface {
	*F
	domain.Fact
}](fold func(*Directory, domain.Event, *record, F) error) func(*Directory, domain.Event, *record) error {
	return func(d *Directory, e domain.Event, r *record) error {
		var f F
		if err := e.Decode(P(&f)); err != nil {
			return err
		}
		return fold(d, e, r, f)
	}
}

func (d *Directory) numberAdded(e domain.Event, r *record, f NumberAdded) error {
	d.addNumber(e.Key.Tenant, r, number{id: f.Number, waba: f.WABA, token: f.Token, simulated: f.Simulated})
	d.narrow()
	return nil
}

func (d *Directory) tokenSealed(e domain.Event, r *record, f TokenSealed) error {
	n, err := r.named(e, f.Number)
	if err != nil {
		return err
	}
	n.token, n.simulated = f.Token, f.Simulated
	d.mend(n, e.At, func(b Block) bool { return b.Cause.mended() })
	d.wakeGates()
	d.narrow()
	return nil
}

func (d *Directory) keyRevoked(e domain.Event, r *record, f KeyRevoked) error {
	if d.keys[f.KeyID].tenant != e.Key.Tenant {
		return fmt.Errorf("fold tenants: %s at %d names a key the tenant does not have", e.Type, e.Position)
	}
	delete(d.keys, f.KeyID)
	r.keys = slices.DeleteFunc(r.keys, func(k string) bool { return k == f.KeyID })
	d.narrow()
	return nil
}

func (d *Directory) quotaSet(_ domain.Event, r *record, f QuotaSet) error {
	r.quota = Quota(f)
	return nil
}

func (d *Directory) sendingSet(_ domain.Event, r *record, f SendingSet) error {
	r.sending = Sending(f)
	return nil
}

func (d *Directory) paused(e domain.Event, r *record, f Paused) error {
	return d.setPause(e, r, f.Number, pause{on: true, reason: f.Reason})
}

func (d *Directory) resumed(e domain.Event, r *record, f Resumed) error {
	for i := range r.numbers {
		if n := &r.numbers[i]; n.id == f.Number || f.Number == "" {
			d.mend(n, e.At, func(Block) bool { return true })
		}
	}
	return d.setPause(e, r, f.Number, pause{})
}

func (d *Directory) numberBlocked(e domain.Event, r *record, f NumberBlocked) error {
	return d.changeBlocks(e, r, f.Numbers, func(n *number) { d.block(n, f.Block) })
}

func (d *Directory) numberUnblocked(e domain.Event, r *record, f NumberUnblocked) error {
	return d.changeBlocks(e, r, f.Numbers, func(n *number) {
		d.mend(n, f.Told, f.ends)
		if f.Probed {
			n.trouble.probed = e.At
		}
	})
}

func (d *Directory) numberPaced(e domain.Event, r *record, f NumberPaced) error {
	n, err := r.named(e, f.Number)
	if err != nil {
		return err
	}
	n.perSecond, n.paceSet = f.PerSecond, !f.Learnt
	return nil
}

func (d *Directory) dataKeyRewrapped(_ domain.Event, r *record, f DataKeyRewrapped) error {
	d.wrap(r, f.DataKey, f.KEK)
	for i := range r.numbers {
		if t, ok := f.Tokens[r.numbers[i].id]; ok {
			r.numbers[i].token = t
		}
	}
	return nil
}

func (d *Directory) register(e domain.Event, r *record, f Registered) error {
	id := e.Key.Tenant
	if r != nil {
		return fmt.Errorf("fold tenants: %s at %d is of a tenant that exists", e.Type, e.Position)
	}
	r = &record{name: f.Name, since: e.At}
	if f.KeyID != "" {
		if err := d.addKey(e, r, KeyIssued{KeyID: f.KeyID, KeyHash: f.KeyHash, Scopes: AllScopes}); err != nil {
			return err
		}
	}
	d.tenants[id] = r
	d.ids, d.sorted = append(d.ids, id), false
	d.wrap(r, f.DataKey, f.KEK)
	d.addNumber(id, r, number{id: f.Number, waba: f.WABA, token: f.Token, simulated: f.Simulated})
	return nil
}

func (d *Directory) addNumber(id domain.TenantID, r *record, n number) {
	r.numbers = append(r.numbers, n)
	d.numbers[n.id] = id
	if n.waba != "" && !slices.Contains(d.wabas[n.waba], id) {
		d.wabas[n.waba] = append(d.wabas[n.waba], id)
	}
}

func (d *Directory) addKey(e domain.Event, r *record, f KeyIssued) error {
	sum, ok := readDigest(f.KeyHash)
	if !ok {
		return fmt.Errorf("fold tenants: %s at %d has a hash that is none", e.Type, e.Position)
	}
	d.keys[f.KeyID] = apiKey{tenant: e.Key.Tenant, digest: sum, scopes: f.Scopes, test: f.Test, since: e.At, expires: f.ExpiresAt}
	r.keys = append(r.keys, f.KeyID)
	return nil
}

// wrap notes a tenant's data key and counts under which master key it is.
func (d *Directory) wrap(r *record, dataKey []byte, kek string) {
	if r.dataKey != nil {
		d.keks[r.kek].count--
	}
	if d.keks[kek] == nil {
		d.keks[kek] = &kekUse{name: kek}
	}
	use := d.keks[kek]
	use.count++
	r.dataKey, r.kek = dataKey, use.name // one string for all of them
	if r.dataKey == nil {
		r.dataKey = []byte{}
	}
}

// named returns the number of the tenant that an event is about.
func (r *record) named(e domain.Event, id domain.NumberID) (*number, error) {
	n := r.number(id)
	if n == nil {
		return nil, fmt.Errorf("fold tenants: %s at %d names a number the tenant does not have", e.Type, e.Position)
	}
	return n, nil
}

// setPause changes the pause of a tenant or number and wakes who waits at its
// gate.
func (d *Directory) setPause(e domain.Event, r *record, id domain.NumberID, p pause) error {
	target := &r.pause
	if id != "" {
		n, err := r.named(e, id)
		if err != nil {
			return err
		}
		target = &n.pause
	}
	*target = p
	d.wakeGates()
	return nil
}

// changeBlocks applies a change of blocks to each number it names, and wakes
// who waits at their gates.
func (d *Directory) changeBlocks(e domain.Event, r *record, named []domain.NumberID, change func(*number)) error {
	var numbers []*number
	for _, id := range named {
		n, err := r.named(e, id)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	for _, n := range numbers {
		change(n)
	}
	d.wakeGates()
	return nil
}

// wakeGates lets everybody who waits at a gate look again.
func (d *Directory) wakeGates() {
	close(d.gates)
	d.gates = make(chan struct{})
}
