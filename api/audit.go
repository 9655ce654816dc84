package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// auditJSON is one act on a tenant on the wire: who did what, when.
type auditJSON struct {
	ID       domain.EventID  `json:"id"`
	Position domain.Position `json:"position"` // in the journal of tenants
	At       *time.Time      `json:"at"`
	Type     string          `json:"type"`
	Actor    *string         `json:"actor"` // admin, the id of an API key, api, or dispatch: sendlog itself
	Detail   detailJSON      `json:"detail"`
}

// detailJSON is what an act was about; what does not apply is left out.
type detailJSON struct {
	PhoneNumberID domain.NumberID   `json:"phoneNumberId,omitempty"`
	Numbers       []domain.NumberID `json:"numbers,omitempty"` // of a block, or its end
	WabaID        string            `json:"wabaId,omitempty"`
	Simulated     bool              `json:"simulated,omitempty"`
	KeyID         string            `json:"key_id,omitempty"`
	Scopes        []string          `json:"scopes,omitempty"`
	Test          bool              `json:"test,omitempty"`
	ExpiresAt     *time.Time        `json:"expires_at,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	Quota         *quotaJSON        `json:"quota,omitempty"`
	Block         *blockJSON        `json:"block,omitempty"`
	Causes        []tenant.Cause    `json:"causes,omitempty"` // of the blocks that ended
	Settings      *settingsJSON     `json:"settings,omitempty"`
	PerSecond     int               `json:"per_second,omitempty"`
}

func viewAudit(e tenant.Entry) auditJSON {
	out := auditJSON{ID: e.ID, Position: e.Position, At: when(e.At), Type: e.Type, Actor: orNull(e.Actor), Detail: detailJSON{
		PhoneNumberID: e.Number, Numbers: e.Numbers, WabaID: e.WABA, Simulated: e.Simulated, KeyID: e.KeyID, Scopes: e.Scopes.Names(), Test: e.Test,
		ExpiresAt: when(e.ExpiresAt), Reason: e.Reason, Causes: e.Causes, PerSecond: e.PerSecond,
	}}
	if e.Block != nil {
		b := viewBlock(*e.Block)
		out.Detail.Block = &b
	}
	if e.Sending != nil {
		s := viewSettings(*e.Sending)
		out.Detail.Settings = &s
	}
	if e.Quota != nil {
		q := viewQuota(*e.Quota)
		out.Detail.Quota = &q
	}
	return out
}

func (s *Server) auditRoutes() []route {
	return []route{{fiber.MethodGet, tenantPath + "/audit", toManage, s.listAudit}}
}

func (s *Server) listAudit(ctx context.Context, r request) error {
	load := func(ctx context.Context, p Page) (Part[tenant.Entry], error) {
		return s.ports.Audit.Audit(ctx, r.tenant.ID, p)
	}
	return list(ctx, s, r, nil, always(load), viewAudit)
}
