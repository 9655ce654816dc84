package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// tenantJSON is one tenant on the wire. phoneNumberId and wabaId are those of
// its first number.
type tenantJSON struct {
	ID            domain.TenantID `json:"id"`
	Name          string          `json:"name"`
	Status        string          `json:"status"`       // active or paused
	PauseReason   *string         `json:"pause_reason"` // null while it is active
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"` // "" when it was not given
	Numbers       []numberJSON    `json:"numbers"`
	Quota         quotaJSON       `json:"quota"`
	Settings      settingsJSON    `json:"settings"`
	CreatedAt     *time.Time      `json:"created_at"`
}

// welcomeJSON answers a registration. The key is shown this once.
type welcomeJSON struct {
	ID            domain.TenantID `json:"id"`
	Name          string          `json:"name"`
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"`
	Status        string          `json:"status"`
	APIKey        string          `json:"apiKey"`
}

func viewTenant(v tenant.View) tenantJSON {
	out := tenantJSON{ID: v.ID, Name: v.Name, Status: v.Status, PauseReason: orNull(v.Reason), Quota: viewQuota(v.Quota), Settings: viewSettings(v.Sending),
		CreatedAt: when(v.CreatedAt), Numbers: []numberJSON{}}
	for _, n := range v.Numbers {
		out.Numbers = append(out.Numbers, viewNumber(n))
	}
	if len(out.Numbers) > 0 {
		out.PhoneNumberID, out.WabaID = out.Numbers[0].PhoneNumberID, out.Numbers[0].WabaID
	}
	return out
}

func (s *Server) tenantRoutes(admin bool) []route {
	all := []route{
		{fiber.MethodPost, "/tenants/register", ofAdmin, s.register},
		{fiber.MethodGet, tenantPath, toRead, s.showTenant},
		{fiber.MethodPost, tenantPath + "/pause", ofAdmin, s.pauseTenant},
		{fiber.MethodPost, tenantPath + "/resume", ofAdmin, s.resumeTenant},
		{fiber.MethodPut, tenantPath + "/quota", ofAdmin, s.setQuota},
	}
	if admin {
		all = append(all, route{fiber.MethodGet, "/tenants", ofAdmin, s.listTenants})
	}
	return all
}

func (s *Server) register(ctx context.Context, r request) error {
	var name, number, token, waba string
	err := decode(r.c, text("name", &name), text("phoneNumberId", &number), text("accessToken", &token), text("wabaId", &waba))
	if err != nil {
		return err
	}
	w, err := s.ports.Registrar.Register(ctx, tenant.Registration{
		Name: name, Number: domain.NumberID(number), WABA: waba, AccessToken: token, Actor: r.actor,
	})
	if err != nil {
		return err
	}
	v := viewTenant(w.Tenant)
	r.c.Set(fiber.HeaderLocation, "/tenants/"+string(v.ID))
	return answer(r.c, fiber.StatusCreated, welcomeJSON{
		ID: v.ID, Name: v.Name, PhoneNumberID: v.PhoneNumberID, WabaID: v.WabaID, Status: v.Status, APIKey: w.APIKey,
	})
}

func (s *Server) showTenant(_ context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(r.tenant))
}

// pauseTenant stops sending for a tenant. Its requests are accepted and wait.
func (s *Server) pauseTenant(ctx context.Context, r request) error {
	return s.changePause(ctx, r, "", s.ports.Governor.Pause)
}

func (s *Server) resumeTenant(ctx context.Context, r request) error {
	return s.changePause(ctx, r, "", s.ports.Governor.Resume)
}

// changePause pauses or resumes the tenant in the path, or one of its numbers.
func (s *Server) changePause(ctx context.Context, r request, n domain.NumberID,
	change func(context.Context, tenant.PauseWish) (tenant.View, error),
) error {
	var reason string
	if err := decodeAny(r.c, text("reason", &reason)); err != nil {
		return err
	}
	v, err := change(ctx, tenant.PauseWish{Tenant: r.tenant.ID, Number: n, Reason: reason, Actor: r.actor})
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(v))
}

func (s *Server) listTenants(ctx context.Context, r request) error {
	load := func(_ context.Context, p Page) (Part[tenant.View], error) {
		// One more than asked for tells whether there are more.
		items := s.ports.Directory.List(domain.TenantID(p.After), p.Limit+1)
		if len(items) <= p.Limit {
			return Part[tenant.View]{Items: items}, nil
		}
		items = items[:p.Limit]
		return Part[tenant.View]{Items: items, Next: string(items[p.Limit-1].ID)}, nil
	}
	return list(ctx, s, r, nil, always(load), viewTenant)
}
