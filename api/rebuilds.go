package api

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// rebuildJSON is the progress of a rebuild on the wire.
type rebuildJSON struct {
	ID         string          `json:"id"`
	Model      string          `json:"model"`
	State      string          `json:"state"`
	Done       domain.Position `json:"done"`
	Tail       domain.Position `json:"tail"`
	Events     uint64          `json:"events"`
	PerSecond  float64         `json:"per_second"`
	ETASeconds *int            `json:"eta_seconds"` // null when it is not known
	Error      *string         `json:"error"`
}

func viewRebuild(v Rebuild) rebuildJSON {
	out := rebuildJSON{
		ID: v.ID, Model: v.Model, State: v.State, Done: v.Done, Tail: v.Tail, Events: v.Events, PerSecond: v.PerSecond,
		Error: orNull(v.Error),
	}
	if math.IsNaN(v.PerSecond) || math.IsInf(v.PerSecond, 0) {
		out.PerSecond = 0 // JSON has no word for it
	}
	if v.ETA > 0 {
		eta := int(math.Ceil(v.ETA.Seconds()))
		out.ETASeconds = &eta
	}
	return out
}

// models are what can be rebuilt.
var models = []string{"messages", "customers", "all"}

func (s *Server) rebuildRoutes() []route {
	return []route{
		{fiber.MethodPost, "/rebuilds", ofAdmin, s.startRebuild},
		{fiber.MethodGet, "/rebuilds/:rebuildId", ofAdmin, s.showRebuild},
	}
}

func (s *Server) startRebuild(ctx context.Context, r request) error {
	var model string
	if err := decode(r.c, text("model", &model)); err != nil {
		return err
	}
	if !slices.Contains(models, model) {
		return &domain.Error{Kind: domain.Invalid, Message: "there is no such read model",
			Faults: []domain.Fault{{Pointer: "/model", Detail: "must be one of " + strings.Join(models, ", ")}}}
	}
	id, err := s.ports.Rebuilds.Start(ctx, model)
	if err != nil {
		return err
	}
	r.c.Set(fiber.HeaderLocation, "/rebuilds/"+id)
	return answer(r.c, fiber.StatusAccepted, map[string]string{"id": id})
}

func (s *Server) showRebuild(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "rebuildId", "there is no such rebuild")
	if err != nil {
		return err
	}
	v, err := s.ports.Rebuilds.Rebuild(ctx, id)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewRebuild(v))
}
