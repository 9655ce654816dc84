package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain/tenant"
)

// settingsJSON is how a tenant wants its messages sent, on the wire.
type settingsJSON struct {
	OnUnknown   *string `json:"on_unknown"`   // wait_then_resend or park; null: as the house has it
	UnknownWait *int    `json:"unknown_wait"` // seconds; null: as the house has it
}

func viewSettings(s tenant.Sending) settingsJSON {
	out := settingsJSON{OnUnknown: orNull(s.OnUnknown)}
	if s.UnknownWait > 0 {
		seconds := int(s.UnknownWait / time.Second)
		out.UnknownWait = &seconds
	}
	return out
}

func (s *Server) settingsRoutes() []route {
	return []route{{fiber.MethodPut, tenantPath + "/settings", toManage, s.setSettings}}
}

// setSettings replaces a tenant's settings; what is left out is as the house
// has it.
func (s *Server) setSettings(ctx context.Context, r request) error {
	var wish tenant.Sending
	var seconds *int
	if err := decode(r.c, text("on_unknown", &wish.OnUnknown), maybe("unknown_wait", &seconds)); err != nil {
		return err
	}
	if seconds != nil {
		wish.UnknownWait = -1 // out of range, as what does not fit a duration is
		if *seconds > 0 && *seconds <= int(tenant.MaxUnknownWait/time.Second) {
			wish.UnknownWait = time.Duration(*seconds) * time.Second
		}
	}
	v, err := s.ports.Governor.SetSending(ctx, r.tenant.ID, wish, r.actor)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewTenant(v))
}
