package tenant

import (
	"context"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Cause says why Meta lets nothing be sent from a number, and with that what
// ends it. A resume command ends each of them.
type Cause string

// The causes.
const (
	// ByToken: the access token opens nothing. A new one ends it, or a probe
	// that the token opens after all.
	ByToken Cause = "token"
	// ByAccess: the app, or a permission, was taken away. Only a new token ends
	// it, or the webhook that gives it back: a probe may succeed all the same.
	ByAccess Cause = "access"
	// ByNumber: the number is not registered or not connected. A good probe
	// ends it.
	ByNumber Cause = "number"
	// ByAccount: the business account is locked, disabled or unpaid. A good
	// probe ends it, or a webhook that reinstates it.
	ByAccount Cause = "account"
	// ByRestriction: Meta restricts the account for a while. Its end ends it.
	ByRestriction Cause = "restriction"
	// ByTemplates: as ByRestriction, but for template messages only; replies
	// go on.
	ByTemplates Cause = "templates"
)

// Probed reports whether a probe can see that the cause is gone.
func (c Cause) Probed() bool { return c == ByToken || c == ByNumber || c == ByAccount }

// mended reports whether a new access token ends it.
func (c Cause) mended() bool { return c == ByToken || c == ByAccess }

// trustAgain is how long after a good probe the next one is not believed: a
// number that is refused again so soon for the same cause has something that a
// probe does not see.
const trustAgain = time.Hour

// Block is one reason of Meta's to send nothing from a number. A number has at
// most one of each cause.
type Block struct {
	Cause  Cause     `json:"cause"`
	Code   int       `json:"code,omitempty"`  // Meta's error code; 0 when a webhook said so
	Event  string    `json:"event,omitempty"` // of that webhook
	Reason string    `json:"reason"`          // words for the tenant
	Until  time.Time `json:"until,omitzero"`  // it ends by itself then; zero: never
	Told   time.Time `json:"told_at"`         // when Meta said so; what it says later counts more
	Probe  bool      `json:"probe,omitempty"` // a good probe ends it
}

// trouble is what is kept of a number that was ever blocked.
type trouble struct {
	blocks []Block
	mended time.Time // what was told until then is no reason any more
	probed time.Time // when a good probe last ended a block
}

// BlockWish is the news that Meta lets nothing be sent.
type BlockWish struct {
	Tenant  domain.TenantID
	Number  domain.NumberID // empty: all numbers of the account
	WABA    string          // with Account or without Number
	Account bool            // not the number alone but all of the tenant's in its account
	Block   Block
	Actor   string
}

// Block records that numbers are blocked, and returns those of which that was
// news. What is older than the repair of a number, or says nothing new, changes
// nothing.
func (r *Registry) Block(ctx context.Context, c BlockWish) (stopped []domain.NumberID, err error) {
	err = r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		stopped = nil
		if u := c.Block.Until; !u.IsZero() && !u.After(r.Clock.Now()) {
			return nil, nil // over before it was known
		}
		f := &NumberBlocked{Block: c.Block}
		f.Probe = c.Block.Cause.Probed()
		for _, n := range r.Directory.affected(c.Tenant, c.Number, c.WABA, c.Account) {
			if !n.trouble.isNews(c.Block) {
				continue
			}
			f.Numbers = append(f.Numbers, n.id)
			if n.trouble != nil && r.Clock.Now().Sub(n.trouble.probed) < trustAgain {
				f.Probe = false
			}
		}
		if len(f.Numbers) == 0 {
			return nil, nil
		}
		stopped = f.Numbers
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return stopped, nil
}

// isNews reports whether b changes anything.
func (t *trouble) isNews(b Block) bool {
	if t == nil {
		return true
	}
	if !b.Told.After(t.mended) {
		return false
	}
	i := t.find(b.Cause)
	// Of what blocks it already, only a webhook knows when it ends: every call
	// that was running is refused for one and the same reason.
	return i < 0 || b.Code == 0 && b.Told.After(t.blocks[i].Told) && !b.Until.Equal(t.blocks[i].Until)
}

func (t *trouble) find(c Cause) int {
	if t == nil {
		return -1
	}
	return slices.IndexFunc(t.blocks, func(b Block) bool { return b.Cause == c })
}

// UnblockWish is the news that causes of a block are gone.
type UnblockWish struct {
	Tenant domain.TenantID
	Number domain.NumberID // empty: all numbers of the account
	WABA   string
	Causes []Cause
	Told   time.Time // blocks told later stay
	Reason string
	Probed bool // a probe saw it
	Actor  string
}

// Unblock records that blocks have ended. The pause of an operator stays.
func (r *Registry) Unblock(ctx context.Context, c UnblockWish) error {
	return r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		f := &NumberUnblocked{Causes: c.Causes, Told: c.Told, Reason: c.Reason, Probed: c.Probed}
		for _, n := range r.Directory.affected(c.Tenant, c.Number, c.WABA, false) {
			if n.trouble == nil {
				continue
			}
			ends := func(b Block) bool { return f.ends(b) && (b.Probe || !c.Probed) }
			if slices.ContainsFunc(n.trouble.blocks, ends) {
				f.Numbers = append(f.Numbers, n.id)
			}
		}
		if len(f.Numbers) == 0 {
			return nil, nil
		}
		return f, nil
	})
}

// ends reports whether b is among what has ended.
func (f *NumberUnblocked) ends(b Block) bool {
	return slices.Contains(f.Causes, b.Cause) && !b.Told.After(f.Told)
}

// Blocked is a number with its blocks.
type Blocked struct {
	Tenant    domain.TenantID
	Number    domain.NumberID
	Simulated bool
	Blocks    []Block
}

// Blocked returns every number that is blocked, in no order.
func (d *Directory) Blocked() []Blocked {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Blocked
	for n := range d.blocked {
		t := d.numbers[n]
		of := d.tenants[t].number(n)
		out = append(out, Blocked{Tenant: t, Number: n, Simulated: of.simulated, Blocks: slices.Clone(of.trouble.blocks)})
	}
	return out
}

// InAccount returns a tenant's numbers in an account, simulated ones left out.
func (d *Directory) InAccount(t domain.TenantID, waba string) []domain.NumberID {
	var out []domain.NumberID
	for _, n := range d.affected(t, "", waba, true) {
		if !n.simulated {
			out = append(out, n.id)
		}
	}
	return out
}

// affected returns copies of the numbers of a tenant that news is about: one,
// or all that are in one account.
func (d *Directory) affected(t domain.TenantID, id domain.NumberID, waba string, account bool) []number {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := d.tenants[t]
	if r == nil {
		return nil
	}
	if id != "" {
		n := r.number(id)
		switch {
		case n == nil:
			return nil
		case !account || n.waba == "":
			return []number{n.copy()}
		}
		waba = n.waba
	}
	var out []number
	for i := range r.numbers {
		if r.numbers[i].waba == waba {
			out = append(out, r.numbers[i].copy())
		}
	}
	return out
}

// copy returns what may be read without the lock.
func (n *number) copy() number {
	out := *n
	if n.trouble != nil {
		t := *n.trouble
		t.blocks = slices.Clone(t.blocks)
		out.trouble = &t
	}
	return out
}

// block notes a block of a number. The caller holds the lock, and wakes who
// waits at the gate.
func (d *Directory) block(n *number, b Block) {
	if n.trouble == nil {
		n.trouble = &trouble{}
	}
	if i := n.trouble.find(b.Cause); i >= 0 {
		n.trouble.blocks[i] = b
	} else {
		n.trouble.blocks = append(n.trouble.blocks, b)
	}
	d.blocked[n.id] = true
}

// mend ends the blocks of a number that over says are over, and notes that
// what was told until then counts no more. The caller as with block.
func (d *Directory) mend(n *number, at time.Time, over func(Block) bool) {
	if n.trouble == nil {
		n.trouble = &trouble{}
	}
	if at.After(n.trouble.mended) {
		n.trouble.mended = at
	}
	n.trouble.blocks = slices.DeleteFunc(n.trouble.blocks, over)
	if len(n.trouble.blocks) == 0 {
		delete(d.blocked, n.id)
	}
}

// holds reports whether messages, or template messages, wait because of blocks.
func (n *number) holds(template bool) bool {
	return n.trouble != nil && slices.ContainsFunc(n.trouble.blocks, func(b Block) bool { return template || b.Cause != ByTemplates })
}
