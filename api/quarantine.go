package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"
)

// keptJSON is one payload in quarantine on the wire. The payload itself is
// read one at a time, because it may be large and about people.
type keptJSON struct {
	ID     string     `json:"id"`
	Reason string     `json:"reason"`
	At     *time.Time `json:"at"`
	Size   int        `json:"size"` // bytes
}

func viewKept(k Kept) keptJSON {
	return keptJSON{ID: k.ID, Reason: k.Reason, At: when(k.At), Size: k.Size}
}

func (s *Server) quarantineRoutes() []route {
	return []route{
		{fiber.MethodGet, "/quarantine", ofAdmin, s.listQuarantine},
		{fiber.MethodGet, "/quarantine/:payloadId", ofAdmin, s.showPayload},
	}
}

func (s *Server) listQuarantine(ctx context.Context, r request) error {
	load := func(ctx context.Context, p Page) (Part[Kept], error) {
		return s.ports.Quarantine.Quarantined(ctx, p)
	}
	return list(ctx, s, r, nil, always(load), viewKept)
}

// showPayload answers the kept bytes verbatim.
func (s *Server) showPayload(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "payloadId", "there is no such payload in quarantine")
	if err != nil {
		return err
	}
	payload, err := s.ports.Quarantine.Payload(ctx, id)
	if err != nil {
		return err
	}
	media := fiber.MIMEOctetStream
	if json.Valid(payload) {
		media = fiber.MIMEApplicationJSON
	}
	r.c.Set(fiber.HeaderContentType, media)
	return r.c.Send(payload)
}
