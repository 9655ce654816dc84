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
	Status        string          `json:"status"`
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"` // "" when it was not given
	Numbers       []numberJSON    `json:"numbers"`
	CreatedAt     *time.Time      `json:"created_at"`
}

type numberJSON struct {
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"`
	Simulated     bool            `json:"simulated"` // its access token is a mock_ one: Meta is never called
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
	out := tenantJSON{ID: v.ID, Name: v.Name, Status: v.Status, CreatedAt: when(v.CreatedAt), Numbers: []numberJSON{}}
	for _, n := range v.Numbers {
		out.Numbers = append(out.Numbers, numberJSON{PhoneNumberID: n.ID, WabaID: n.WABA, Simulated: n.Simulated})
	}
	if len(out.Numbers) > 0 {
		out.PhoneNumberID, out.WabaID = out.Numbers[0].PhoneNumberID, out.Numbers[0].WabaID
	}
	return out
}

func (s *Server) tenantRoutes(admin bool) []route {
	all := []route{
		{fiber.MethodPost, "/tenants/register", ofAdmin, s.register},
		{fiber.MethodGet, tenantPath, ofTenant, s.showTenant},
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
