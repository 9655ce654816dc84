package tenant

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Limits of a tenant's settings.
const (
	MinUnknownWait = time.Second
	MaxUnknownWait = 24 * time.Hour
)

// Sending is how a tenant wants its messages sent. The zero value of a field
// means as the house has it; what a message asks for goes before it.
type Sending struct {
	OnUnknown   string        // [domain.Resend] or [domain.Park]
	UnknownWait time.Duration // from [MinUnknownWait] to [MaxUnknownWait]
}

// SetSending records how a tenant wants its messages sent. It counts for what
// is decided from then on, also about messages that wait.
func (r *Registry) SetSending(ctx context.Context, t domain.TenantID, s Sending, actor string) (View, error) {
	var f faults
	if s.OnUnknown != "" && s.OnUnknown != domain.Resend && s.OnUnknown != domain.Park {
		f.add("/on_unknown", "must be wait_then_resend or park")
	}
	if s.UnknownWait != 0 && (s.UnknownWait < MinUnknownWait || s.UnknownWait > MaxUnknownWait) {
		f.add("/unknown_wait", "must be a number of seconds from 1 to 86400")
	}
	if err := f.err("the settings cannot be kept as they are"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, t, actor, func() (domain.Fact, error) {
		v, err := r.tenant(t)
		if err != nil || v.Sending == s {
			return nil, err
		}
		f := SendingSet(s)
		return &f, nil
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(t)
}

// Sending returns how a tenant wants its messages sent.
func (d *Directory) Sending(t domain.TenantID) Sending {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r := d.tenants[t]; r != nil {
		return r.sending
	}
	return Sending{}
}

// The paces of a number, in messages per second (REFERENCE section 8).
const (
	StandardPace    = 80   // until Meta says otherwise
	CoexistencePace = 20   // a number that a phone app uses as well
	MaxPace         = 1000 // after Meta's upgrade
)

// PaceWish is the command, or the news, how fast a number may send.
type PaceWish struct {
	Tenant    domain.TenantID
	Number    domain.NumberID
	PerSecond int  // 1 to [MaxPace]; 0: an operator takes back what was set
	Learnt    bool // from Meta; what an operator has set stands against it
	Actor     string
}

// Pace records how fast a number may send. Once an operator has taken back what
// was set, nobody has said so any more: it is learnt from Meta anew.
func (r *Registry) Pace(ctx context.Context, c PaceWish) (View, error) {
	var f faults
	back := c.PerSecond == 0 && !c.Learnt
	if !back && (c.PerSecond < 1 || c.PerSecond > MaxPace) {
		f.add("/per_second", "must be a number from 1 to 1000")
	}
	if err := f.err("the throughput cannot be kept as it is"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		if err := r.owned(c.Tenant, c.Number); err != nil {
			return nil, err
		}
		v, _ := r.Directory.Get(c.Tenant)
		n, _ := v.Number(c.Number)
		switch told := r.Directory.paced(c.Number); {
		case back && !n.PaceSet:
			return nil, nil
		case back:
			return &NumberPaced{Number: c.Number, Learnt: true}, nil
		case n.PaceSet && c.Learnt, told && n.PerSecond == c.PerSecond && n.PaceSet == !c.Learnt:
			return nil, nil
		}
		return &NumberPaced{Number: c.Number, PerSecond: c.PerSecond, Learnt: c.Learnt}, nil
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(c.Tenant)
}

// paced reports whether anybody said how fast a number may send.
func (d *Directory) paced(n domain.NumberID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := d.tenants[d.numbers[n]]
	return r != nil && r.number(n).perSecond != 0
}

// Unpaced returns the numbers of which nobody said how fast they may send,
// simulated ones left out, with their tenants.
func (d *Directory) Unpaced() map[domain.NumberID]domain.TenantID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := map[domain.NumberID]domain.TenantID{}
	for id, t := range d.numbers {
		if n := d.tenants[t].number(id); n.perSecond == 0 && !n.simulated {
			out[id] = t
		}
	}
	return out
}

// PerSecond returns how many messages a number may send in a second, as far as
// it is known; [StandardPace] for a number nobody has, and 0 for a simulated
// one: nobody counts its messages.
func (d *Directory) PerSecond(n domain.NumberID) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := d.tenants[d.numbers[n]]
	if r == nil {
		return StandardPace
	}
	if n := r.number(n); !n.simulated {
		return n.pace()
	}
	return 0
}

func (n *number) pace() int {
	if n.perSecond == 0 {
		return StandardPace
	}
	return n.perSecond
}
