package api

import (
	"context"

	"github.com/gofiber/fiber/v2"
)

// rewrappingJSON is the progress of a rotation on the wire.
type rewrappingJSON struct {
	State    string  `json:"state"`
	KEK      string  `json:"master_key"` // its name, from which it cannot be found
	Done     int     `json:"done"`       // tenants under it
	Total    int     `json:"total"`
	Resealed int     `json:"resealed"` // payloads of the quarantine
	Error    *string `json:"error"`
}

func (s *Server) rotationRoutes() []route {
	return []route{
		{fiber.MethodPost, "/keys/rotate", ofAdmin, s.startRotation},
		{fiber.MethodGet, "/keys/rotate", ofAdmin, s.showRotation},
	}
}

// startRotation begins to bring every tenant under the current master key.
func (s *Server) startRotation(ctx context.Context, r request) error {
	if err := decodeAny(r.c); err != nil {
		return err
	}
	if err := s.ports.Rotation.Rotate(ctx, r.actor); err != nil {
		return err
	}
	return answer(r.c, fiber.StatusAccepted, s.viewRewrapping())
}

func (s *Server) showRotation(_ context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, s.viewRewrapping())
}

func (s *Server) viewRewrapping() rewrappingJSON {
	v := s.ports.Rotation.Rewrapping()
	return rewrappingJSON{State: v.State, KEK: v.KEK, Done: v.Done, Total: v.Total, Resealed: v.Resealed, Error: orNull(v.Error)}
}
