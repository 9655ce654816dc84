package api

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// numberJSON is one number of a tenant on the wire.
type numberJSON struct {
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"`
	Simulated     bool            `json:"simulated"`    // its access token is a mock_ one: Meta is never called
	Status        string          `json:"status"`       // its own: active or paused
	PauseReason   *string         `json:"pause_reason"` // null while it is active
}

func viewNumber(n tenant.Number) numberJSON {
	return numberJSON{PhoneNumberID: n.ID, WabaID: n.WABA, Simulated: n.Simulated, Status: n.Status, PauseReason: orNull(n.Reason)}
}

func (s *Server) numberRoutes() []route {
	return []route{
		{fiber.MethodPost, tenantPath + "/numbers", ofAdmin, s.addNumber},
		{fiber.MethodPost, numberPath + "/token", toManage, s.replaceToken},
		{fiber.MethodPost, numberPath + "/pause", ofAdmin, s.pauseNumber},
		{fiber.MethodPost, numberPath + "/resume", ofAdmin, s.resumeNumber},
	}
}

func (s *Server) addNumber(ctx context.Context, r request) error {
	var number, token, waba string
	if err := decode(r.c, text("phoneNumberId", &number), text("accessToken", &token), text("wabaId", &waba)); err != nil {
		return err
	}
	v, err := s.ports.Registrar.AddNumber(ctx, tenant.Addition{
		Tenant: r.tenant.ID, Number: domain.NumberID(number), WABA: waba, AccessToken: token, Actor: r.actor,
	})
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusCreated, viewTenant(v))
}

// replaceToken gives a number a new access token; the next call uses it.
func (s *Server) replaceToken(ctx context.Context, r request) error {
	var token string
	if err := decode(r.c, text("accessToken", &token)); err != nil {
		return err
	}
	// A test key must not turn a simulated number into a real one.
	if r.who.Test && !strings.HasPrefix(token, tenant.MockPrefix) {
		return domain.Errorf(domain.Forbidden, nil, "a test key sets simulated access tokens only: mock_…")
	}
	v, err := s.ports.Registrar.ReplaceToken(ctx, r.tenant.ID, r.number(), token, r.actor)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(v))
}

func (s *Server) pauseNumber(ctx context.Context, r request) error {
	return s.changePause(ctx, r, r.number(), s.ports.Governor.Pause)
}

func (s *Server) resumeNumber(ctx context.Context, r request) error {
	return s.changePause(ctx, r, r.number(), s.ports.Governor.Resume)
}

// number is the number the path names.
func (r request) number() domain.NumberID {
	return domain.NumberID(strings.Clone(r.c.Params("numberId")))
}
