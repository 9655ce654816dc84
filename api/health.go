package api

import (
	"context"
	"errors"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/sendlog/sendlog/domain"
)

// readyJSON answers /readyz.
type readyJSON struct {
	Status string            `json:"status"` // "ok" or "unavailable"
	Checks map[string]string `json:"checks"` // "ok", or words
}

func (s *Server) healthRoutes(admin bool) []route {
	all := []route{
		{fiber.MethodGet, "/livez", probe, s.live},
		{fiber.MethodGet, "/readyz", probe, s.ready},
	}
	if admin && s.ports.Metrics != nil {
		metrics := fasthttpadaptor.NewFastHTTPHandler(s.ports.Metrics)
		all = append(all, route{fiber.MethodGet, "/metrics", probe, func(_ context.Context, r request) error {
			metrics(r.c.Context())
			return nil
		}})
	}
	return all
}

// live says that the process answers. It asks nobody: a process whose
// dependencies are away must not be killed for it.
func (s *Server) live(_ context.Context, r request) error {
	return answer(r.c, fiber.StatusOK, map[string]string{"status": "ok"})
}

// ready asks every check at once and answers 503 when one fails.
func (s *Server) ready(ctx context.Context, r request) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	words := make([]string, len(s.ports.Checks))
	var wg sync.WaitGroup
	for i, check := range s.ports.Checks {
		wg.Go(func() { words[i] = verdict(check.Ready(ctx)) })
	}
	wg.Wait()

	out, status := readyJSON{Status: "ok", Checks: map[string]string{}}, fiber.StatusOK
	for i, check := range s.ports.Checks {
		out.Checks[check.Name] = words[i]
		if words[i] != "ok" {
			out.Status, status = "unavailable", fiber.StatusServiceUnavailable
		}
	}
	return answer(r.c, status, out)
}

// verdict is what everybody may know about a check: causes name hosts and
// files, so they stay inside.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e.Message
	}
	return "does not answer"
}
