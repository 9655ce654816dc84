package tenant

import (
	"context"
	"slices"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// PauseWish is the command to pause or resume a tenant or one of its numbers.
type PauseWish struct {
	Tenant domain.TenantID
	Number domain.NumberID // empty: the whole tenant
	Reason string          // required for a pause
	Actor  string
}

// Pause records that nothing is to be sent. A pause of what is paused changes
// the reason; the same reason again changes nothing.
func (r *Registry) Pause(ctx context.Context, c PauseWish) (View, error) {
	return r.setPause(ctx, c, true)
}

// Resume ends a pause, and every block of the number, or of all numbers when
// the tenant is resumed: the next message finds out whether Meta agrees.
// Resuming what is neither paused nor blocked changes nothing.
func (r *Registry) Resume(ctx context.Context, c PauseWish) (View, error) {
	return r.setPause(ctx, c, false)
}

func (r *Registry) setPause(ctx context.Context, c PauseWish, on bool) (View, error) {
	c.Reason = strings.TrimSpace(c.Reason)
	var f faults
	f.reason(c.Reason, on)
	if err := f.err("the reason cannot be kept as it is"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		paused, blocked, reason, err := r.halted(c.Tenant, c.Number)
		switch {
		case err != nil:
			return nil, err
		case on && (!paused || reason != c.Reason):
			return &Paused{Number: c.Number, Reason: c.Reason}, nil
		case !on && (paused || blocked):
			return &Resumed{Number: c.Number, Reason: c.Reason}, nil
		}
		return nil, nil
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(c.Tenant)
}

// halted says whether a tenant, or one of its numbers, is paused by an operator
// and why, and whether anything under it is blocked.
func (r *Registry) halted(t domain.TenantID, n domain.NumberID) (paused, blocked bool, reason string, err error) {
	v, err := r.tenant(t)
	if err != nil {
		return false, false, "", err
	}
	if n == "" {
		blocked = slices.ContainsFunc(v.Numbers, func(n Number) bool { return len(n.Blocks) > 0 })
		return v.Status == Halted, blocked, v.Reason, nil
	}
	if err := r.owned(t, n); err != nil {
		return false, false, "", err
	}
	number, _ := v.Number(n)
	return number.Paused, len(number.Blocks) > 0, number.Reason, nil
}
