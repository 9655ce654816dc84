package api

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// quotaJSON is what a tenant may send, on the wire.
type quotaJSON struct {
	PerSecond *int `json:"per_second"` // null: no limit
	PerDay    *int `json:"per_day"`
}

func viewQuota(q tenant.Quota) quotaJSON {
	limit := func(n int) *int {
		if n == 0 {
			return nil
		}
		return &n
	}
	return quotaJSON{PerSecond: limit(q.PerSecond), PerDay: limit(q.PerDay)}
}

// setQuota replaces a tenant's quota; what is left out has no limit.
func (s *Server) setQuota(ctx context.Context, r request) error {
	var q tenant.Quota
	if err := decode(r.c, whole("per_second", &q.PerSecond), whole("per_day", &q.PerDay)); err != nil {
		return err
	}
	v, err := s.ports.Governor.SetQuota(ctx, r.tenant.ID, q, r.actor)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(v))
}

// accept records a request to send if the tenant's quota allows it. Only what
// is new counts: a repeat, or a request that is refused, is given back.
func (s *Server) accept(ctx context.Context, r request, wish message.Request) (message.Receipt, tenant.Allowance, error) {
	quota := r.tenant.Quota
	allowed, err := s.ports.Throttle.Take(ctx, r.tenant.ID, quota)
	if err != nil {
		return message.Receipt{}, allowed, err
	}
	if !allowed.OK {
		s.cfg.Meter.Add(domain.SendsLimited, 1)
		return message.Receipt{}, allowed, &domain.Error{Kind: domain.Limited, RetryAfter: allowed.Wait,
			Message: "this tenant's quota is used up for now; the header Retry-After says when there is more"}
	}
	receipt, err := s.ports.Sender.Accept(ctx, wish)
	// What may be in the log counts, even when nobody could say so.
	if receipt.Replayed || err != nil && domain.KindOf(err) != domain.Unavailable {
		s.ports.Throttle.Return(r.tenant.ID, quota)
	}
	return receipt, allowed, err
}

// acceptOne is accept for a request that is about one message: its answer says
// what is left of the quota, and whether it was accepted before.
func (s *Server) acceptOne(ctx context.Context, r request, wish message.Request) (message.Receipt, error) {
	receipt, allowed, err := s.accept(ctx, r, wish)
	showQuota(r.c, allowed)
	if err == nil && receipt.Replayed {
		r.c.Set(headerReplayed, "true")
	}
	return receipt, err
}

// showQuota sets the RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10).
func showQuota(c *fiber.Ctx, a tenant.Allowance) {
	var policies, states []string
	show := func(name string, quota int, window time.Duration, left tenant.Remaining) {
		if quota > 0 {
			policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", name, quota, int(window.Seconds())))
			states = append(states, fmt.Sprintf("%q;r=%d;t=%d", name, max(0, left.Count), int(math.Ceil(left.Reset.Seconds()))))
		}
	}
	show("second", a.Quota.PerSecond, time.Second, a.Second)
	show("day", a.Quota.PerDay, 24*time.Hour, a.Day)
	if len(policies) > 0 {
		c.Set("RateLimit-Policy", strings.Join(policies, ", "))
		c.Set("RateLimit", strings.Join(states, ", "))
	}
}
