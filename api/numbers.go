package api

import (
	"context"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// numberJSON is one number of a tenant on the wire.
type numberJSON struct {
	PhoneNumberID domain.NumberID `json:"phoneNumberId"`
	WabaID        string          `json:"wabaId"`
	Simulated     bool            `json:"simulated"`    // its access token is a mock_ one: Meta is never called
	Status        string          `json:"status"`       // its own: active, paused, or restricted: templates wait
	PauseReason   *string         `json:"pause_reason"` // an operator's, or that of the first block; null while it is active
	Blocks        []blockJSON     `json:"blocks"`       // why Meta lets nothing, or no templates, be sent
	Throughput    throughputJSON  `json:"throughput"`
}

// blockJSON is one reason of Meta's, on the wire.
type blockJSON struct {
	Cause  tenant.Cause `json:"cause"`
	Code   *int         `json:"code"`  // Meta's error code; null when a webhook said so
	Event  *string      `json:"event"` // of that webhook
	Reason string       `json:"reason"`
	Since  *time.Time   `json:"since"`
	Until  *time.Time   `json:"until"`  // it ends by itself then; null: it does not
	Probed bool         `json:"probed"` // Meta is asked now and then whether it is over
}

// throughputJSON is how fast a number may send, on the wire.
type throughputJSON struct {
	PerSecond int  `json:"per_second"`
	Set       bool `json:"set"` // by an operator; else learnt from Meta, or its standard
}

func viewNumber(n tenant.Number) numberJSON {
	out := numberJSON{PhoneNumberID: n.ID, WabaID: n.WABA, Simulated: n.Simulated, Status: n.Status, PauseReason: orNull(n.Reason),
		Blocks: []blockJSON{}, Throughput: throughputJSON{n.PerSecond, n.PaceSet}}
	for _, b := range n.Blocks {
		out.Blocks = append(out.Blocks, viewBlock(b))
	}
	return out
}

func viewBlock(b tenant.Block) blockJSON {
	out := blockJSON{Cause: b.Cause, Event: orNull(b.Event), Reason: b.Reason, Since: when(b.Told), Until: when(b.Until), Probed: b.Probe}
	if b.Code != 0 || b.Event == "" {
		out.Code = &b.Code
	}
	return out
}

func (s *Server) numberRoutes() []route {
	return []route{
		{fiber.MethodPost, tenantPath + "/numbers", ofAdmin, s.addNumber},
		{fiber.MethodPost, numberPath + "/token", toManage, s.replaceToken},
		{fiber.MethodPost, numberPath + "/pause", ofAdmin, s.pauseNumber},
		{fiber.MethodPost, numberPath + "/resume", ofAdmin, s.resumeNumber},
		{fiber.MethodPut, numberPath + "/throughput", ofAdmin, s.setThroughput},
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

// setThroughput says how fast a number may send; what Meta says stands back.
// Left out, it is learnt from Meta again.
func (s *Server) setThroughput(ctx context.Context, r request) error {
	wish := tenant.PaceWish{Tenant: r.tenant.ID, Number: r.number(), Actor: r.actor}
	var pace *int
	if err := decode(r.c, maybe("per_second", &pace)); err != nil {
		return err
	}
	if pace != nil {
		if wish.PerSecond = *pace; *pace == 0 {
			wish.PerSecond = -1 // out of range, as every other number below 1
		}
	}
	v, err := s.ports.Governor.Pace(ctx, wish)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(v))
}

// number is the number the path names.
func (r request) number() domain.NumberID {
	return domain.NumberID(strings.Clone(r.c.Params("numberId")))
}
