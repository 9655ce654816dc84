package tenant

import (
	"context"
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

// Resume ends a pause. Resuming what is not paused changes nothing.
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
		status, reason, err := r.paused(c.Tenant, c.Number)
		switch {
		case err != nil:
			return nil, err
		case on && (status != Halted || reason != c.Reason):
			return &Paused{Number: c.Number, Reason: c.Reason}, nil
		case !on && status == Halted:
			return &Resumed{Number: c.Number, Reason: c.Reason}, nil
		}
		return nil, nil
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(c.Tenant)
}

// paused returns the own status of a tenant, or of one of its numbers.
func (r *Registry) paused(t domain.TenantID, n domain.NumberID) (status, reason string, err error) {
	v, err := r.tenant(t)
	if err != nil || n == "" {
		return v.Status, v.Reason, err
	}
	if err := r.owned(t, n); err != nil {
		return "", "", err
	}
	number, _ := v.Number(n)
	return number.Status, number.Reason, nil
}
