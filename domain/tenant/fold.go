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
	id := e.Key.Tenant
	if e.Type == TypeRegistered {
		var f Registered
		if err := e.Decode(&f); err != nil {
			return err
		}
		return d.register(e, f)
	}
	r := d.tenants[id]
	if r == nil {
		return fmt.Errorf("fold tenants: %s at %d is of a tenant nobody registered", e.Type, e.Position)
	}
	switch e.Type {
	case TypeNumberAdded:
		var f NumberAdded
		if err := e.Decode(&f); err != nil {
			return err
		}
		d.addNumber(id, r, number{id: f.Number, waba: f.WABA, token: f.Token, simulated: f.Simulated})
		d.narrow()
	case TypeTokenSealed:
		var f TokenSealed
		n, err := decodeNumber(e, r, &f, &f.Number)
		if err != nil {
			return err
		}
		n.token, n.simulated = f.Token, f.Simulated
		d.mend(n, e.At, func(b Block) bool { return b.Cause.mended() })
		d.wakeGates()
		d.narrow()
	case TypeKeyIssued:
		var f KeyIssued
		if err := e.Decode(&f); err != nil {
			return err
		}
		return d.addKey(e, r, f)
	case TypeKeyRevoked:
		var f KeyRevoked
		if err := e.Decode(&f); err != nil {
			return err
		}
		if d.keys[f.KeyID].tenant != id {
			return fmt.Errorf("fold tenants: %s at %d names a key the tenant does not have", e.Type, e.Position)
		}
		delete(d.keys, f.KeyID)
		r.keys = slices.DeleteFunc(r.keys, func(k string) bool { return k == f.KeyID })
		d.narrow()
	case TypeQuotaSet:
		var f QuotaSet
		if err := e.Decode(&f); err != nil {
			return err
		}
		r.quota = Quota(f)
	case TypePaused:
		var f Paused
		if err := e.Decode(&f); err != nil {
			return err
		}
		return d.setPause(e, r, f.Number, pause{on: true, reason: f.Reason})
	case TypeResumed:
		var f Resumed
		if err := e.Decode(&f); err != nil {
			return err
		}
		for i := range r.numbers {
			if n := &r.numbers[i]; n.id == f.Number || f.Number == "" {
				d.mend(n, e.At, func(Block) bool { return true })
			}
		}
		return d.setPause(e, r, f.Number, pause{})
	case TypeNumberBlocked:
		var f NumberBlocked
		return d.changeBlocks(e, r, &f, &f.Numbers, func(n *number) { d.block(n, f.Block) })
	case TypeNumberUnblocked:
		var f NumberUnblocked
		return d.changeBlocks(e, r, &f, &f.Numbers, func(n *number) {
			d.mend(n, f.Told, f.ends)
			if f.Probed {
				n.trouble.probed = e.At
			}
		})
	case TypeSendingSet:
		var f SendingSet
		if err := e.Decode(&f); err != nil {
			return err
		}
		r.sending = Sending(f)
	case TypeNumberPaced:
		var f NumberPaced
		n, err := decodeNumber(e, r, &f, &f.Number)
		if err != nil {
			return err
		}
		n.perSecond, n.paceSet = f.PerSecond, !f.Learnt
	case TypeDataKeyRewrapped:
		var f DataKeyRewrapped
		if err := e.Decode(&f); err != nil {
			return err
		}
		d.wrap(r, f.DataKey, f.KEK)
		for i := range r.numbers {
			if t, ok := f.Tokens[r.numbers[i].id]; ok {
				r.numbers[i].token = t
			}
		}
	default:
		return fmt.Errorf("fold tenants: unknown event %q at %d", e.Type, e.Position)
	}
	return nil
}

func (d *Directory) register(e domain.Event, f Registered) error {
	id := e.Key.Tenant
	if d.tenants[id] != nil {
		return fmt.Errorf("fold tenants: %s at %d is of a tenant that exists", e.Type, e.Position)
	}
	r := &record{name: f.Name, since: e.At}
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
	if _, taken := d.wabas[n.waba]; n.waba != "" && !taken {
		d.wabas[n.waba] = id
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

// decodeNumber decodes a fact about one of a tenant's numbers.
func decodeNumber(e domain.Event, r *record, f domain.Fact, named *domain.NumberID) (*number, error) {
	if err := e.Decode(f); err != nil {
		return nil, err
	}
	n := r.number(*named)
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
		n := r.number(id)
		if n == nil {
			return fmt.Errorf("fold tenants: %s at %d names a number the tenant does not have", e.Type, e.Position)
		}
		target = &n.pause
	}
	*target = p
	d.wakeGates()
	return nil
}

// changeBlocks applies a change of blocks to each number it names, and wakes
// who waits at their gates.
func (d *Directory) changeBlocks(e domain.Event, r *record, f domain.Fact, named *[]domain.NumberID, change func(*number)) error {
	if err := e.Decode(f); err != nil {
		return err
	}
	var numbers []*number
	for _, id := range *named {
		n := r.number(id)
		if n == nil {
			return fmt.Errorf("fold tenants: %s at %d names a number the tenant does not have", e.Type, e.Position)
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
