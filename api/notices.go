package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// noticeJSON is one account notice on the wire.
type noticeJSON struct {
	ID            domain.EventID   `json:"id"`
	PhoneNumberID *domain.NumberID `json:"phone_number_id"` // null for the account as a whole
	Field         string           `json:"field"`           // of the webhook
	Event         *string          `json:"event"`
	WabaID        *string          `json:"wabaId"`
	SaidAt        *time.Time       `json:"said_at"`
	At            *time.Time       `json:"at"`
	Raw           json.RawMessage  `json:"raw"` // what Meta sent, verbatim
	Position      domain.Position  `json:"position"`
}

func viewNotice(v message.NoticeView) noticeJSON {
	return noticeJSON{
		ID: v.ID, PhoneNumberID: orNull(v.Number), Field: v.Field, Event: orNull(v.Event), WabaID: orNull(v.WABA),
		SaidAt: when(v.SaidAt), At: when(v.At), Raw: v.Raw, Position: v.Position,
	}
}

func (s *Server) noticeRoutes() []route {
	return []route{{fiber.MethodGet, tenantPath + "/notices", toRead, s.listNotices}}
}

func (s *Server) listNotices(ctx context.Context, r request) error {
	load := func(ctx context.Context, p Page) (Part[message.NoticeView], error) {
		return s.ports.Notices.Notices(ctx, r.tenant.ID, p)
	}
	return list(ctx, s, r, nil, always(load), viewNotice)
}
