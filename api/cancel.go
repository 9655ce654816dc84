package api

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// cancelledJSON answers a cancellation.
type cancelledJSON struct {
	ID domain.MessageID `json:"id"`
	// Result is cancelled (it was not sent and will not be) or unknown (an
	// attempt has no outcome: it may have been sent; no further one is made).
	Result   string          `json:"result"`
	Position domain.Position `json:"position"`
}

// cancel takes a request back: 200 when it was not sent and will not be, 202
// when nobody knows, 409 when it is too late.
func (s *Server) cancel(ctx context.Context, r request) error {
	if err := decodeAny(r.c); err != nil {
		return err
	}
	id := domain.MessageID(strings.Clone(r.c.Params("messageId")))
	if !domain.ValidToken(string(id)) || !strings.HasPrefix(string(id), "msg_") {
		return domain.Errorf(domain.Unknown, nil, "there is no such message to send")
	}
	if r.who.Test && !r.tenant.Simulated() { // which number the message is of, only its events tell
		return domain.Errorf(domain.Forbidden, nil, "a test key is for simulated numbers, and this tenant has others")
	}
	done, err := s.ports.Canceller.Cancel(ctx, r.tenant.ID, id, r.actor)
	if err != nil {
		return err
	}
	if !done.Certain {
		return answer(r.c, fiber.StatusAccepted, cancelledJSON{ID: id, Result: "unknown", Position: done.Position})
	}
	return answer(r.c, fiber.StatusOK, cancelledJSON{ID: id, Result: "cancelled", Position: done.Position})
}
