package tenant

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// MaxQuota bounds a quota, so that sums of them stay numbers.
const MaxQuota = 1_000_000_000

// SetQuota records how much a tenant may send.
func (r *Registry) SetQuota(ctx context.Context, t domain.TenantID, q Quota, actor string) (View, error) {
	var f faults
	check := func(pointer string, n int) {
		if n < 0 || n > MaxQuota {
			f.add(pointer, "must be a number from 1 to 1000000000, or 0 for no limit")
		}
	}
	check("/per_second", q.PerSecond)
	check("/per_day", q.PerDay)
	if err := f.err("the quota cannot be kept as it is"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, t, actor, func() (domain.Fact, error) {
		v, err := r.tenant(t)
		if err != nil || v.Quota == q {
			return nil, err
		}
		f := QuotaSet(q)
		return &f, nil
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(t)
}

// Ledger keeps what was taken of the tenants' daily allowances, for all
// processes and through restarts.
type Ledger interface {
	// Take takes up to want of what is left of limit on a day, for good, and
	// returns how many it got and how many are left after it. An error of kind
	// [domain.Unavailable] says that it may have taken them all the same.
	Take(ctx context.Context, t domain.TenantID, day string, want, limit int) (got, left int, err error)
}

// Throttle holds tenants to their quotas, in one process of several (ADR 0008).
//
// A second's quota is split evenly over the processes that accept requests:
// each keeps a bucket of its share, which never holds less than one. A day's
// is counted by the [Ledger]: each process takes it in portions, so the sum
// never exceeds it; what a process holds when it ends is not given back.
//
// It is safe for concurrent use.
type Throttle struct {
	Clock  domain.Clock
	Ledger Ledger
	Shares func() int // processes that share a quota now, this one included

	mu      sync.Mutex
	budgets map[domain.TenantID]*budget // of tenants with a quota that have sent
}

// budget is what a tenant has left in this process.
type budget struct {
	mu     sync.Mutex
	bucket float64   // requests of a second's quota
	filled time.Time // when the bucket was last filled; zero: never

	day    string
	left   int // taken from the ledger and not used
	beyond int // left in the ledger when it was asked last
	spent  int // the limit that was found used up, or 0
}

// portions is in how many parts the processes together take a day's quota.
const portions = 20

// maxPortion bounds what a process takes of a day's quota at once (requests).
const maxPortion = 1000

// Allowance answers a Take.
type Allowance struct {
	OK     bool
	Quota  Quota
	Wait   time.Duration // when not OK: until it makes sense to ask again
	Second Remaining
	Day    Remaining
}

// Remaining is what is left of one part of a quota.
type Remaining struct {
	Count int
	Reset time.Duration // until there is more
}

// Least is what is left after both of two requests, in whichever order they
// were counted.
func (a Allowance) Least(b Allowance) Allowance {
	switch {
	case b.Quota == (Quota{}):
		return a
	case a.Quota == (Quota{}):
		return b
	}
	a.OK, a.Wait = a.OK && b.OK, max(a.Wait, b.Wait)
	a.Second, a.Day = a.Second.least(b.Second), a.Day.least(b.Day)
	return a
}

func (r Remaining) least(o Remaining) Remaining {
	return Remaining{Count: min(r.Count, o.Count), Reset: max(r.Reset, o.Reset)}
}

// Take counts one request, if the quota allows it.
func (h *Throttle) Take(ctx context.Context, t domain.TenantID, q Quota) (Allowance, error) {
	out := Allowance{OK: true, Quota: q}
	if q == (Quota{}) {
		return out, nil
	}
	b := h.budget(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	now, shares := h.Clock.Now().UTC(), max(1, h.Shares())
	rate := float64(q.PerSecond) / float64(shares)
	if q.PerSecond > 0 {
		b.fill(now, rate)
		out.OK = b.bucket >= 1
	}
	if q.PerDay > 0 {
		tomorrow := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
		if out.OK {
			var err error
			if out.OK, err = h.takeOfDay(ctx, b, t, q.PerDay, now, shares); err != nil {
				return Allowance{}, err
			}
			if !out.OK {
				out.Wait = tomorrow
			}
		}
		out.Day = Remaining{Count: b.left + b.beyond, Reset: tomorrow}
	}
	if q.PerSecond > 0 {
		if out.OK {
			b.bucket--
		}
		out.Second = Remaining{Count: int(b.bucket), Reset: time.Duration(math.Max(0, 1-b.bucket) / rate * float64(time.Second))}
		if !out.OK {
			out.Wait = max(out.Wait, out.Second.Reset)
		}
	}
	return out, nil
}

// Return takes a request back that was no new one after all.
func (h *Throttle) Return(t domain.TenantID, q Quota) {
	if q == (Quota{}) {
		return
	}
	b := h.budget(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.PerSecond > 0 {
		b.bucket++ // the next fill holds it to its capacity
	}
	if q.PerDay > 0 && b.day == dayOf(h.Clock.Now()) {
		b.left++
	}
}

func (h *Throttle) budget(t domain.TenantID) *budget {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budgets == nil {
		h.budgets = map[domain.TenantID]*budget{}
	}
	b := h.budgets[t]
	if b == nil {
		b = &budget{}
		h.budgets[t] = b
	}
	return b
}

// fill adds what time has brought. A clock that goes back brings nothing.
func (b *budget) fill(now time.Time, rate float64) {
	capacity := math.Max(1, rate)
	if b.filled.IsZero() {
		b.bucket = capacity
	} else if passed := now.Sub(b.filled); passed > 0 {
		b.bucket += passed.Seconds() * rate
	}
	b.filled, b.bucket = now, math.Min(b.bucket, capacity)
}

// takeOfDay counts one request of a day's quota, with a new portion when the
// one at hand is used up. Requests of one tenant wait for it together.
func (h *Throttle) takeOfDay(ctx context.Context, b *budget, t domain.TenantID, limit int, now time.Time, shares int) (bool, error) {
	if day := dayOf(now); b.day != day {
		b.day, b.left, b.beyond, b.spent = day, 0, 0, 0
	}
	if b.left == 0 && b.spent == limit {
		return false, nil
	}
	if b.left == 0 {
		want := min(max(1, limit/portions/shares), maxPortion)
		var err error
		if b.left, b.beyond, err = h.Ledger.Take(ctx, t, b.day, want, limit); err != nil {
			return false, err
		}
		if b.spent = 0; b.left == 0 {
			b.spent = limit
			return false, nil
		}
	}
	b.left--
	return true, nil
}

func dayOf(now time.Time) string { return now.UTC().Format("20060102") }
