package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// deadLetterJSON is one given-up message on the wire.
type deadLetterJSON struct {
	ID            domain.MessageID `json:"id"`
	Tenant        domain.TenantID  `json:"tenant"`
	PhoneNumberID domain.NumberID  `json:"phone_number_id"`
	Reason        string           `json:"reason"`
	Code          int              `json:"code"` // Meta's, or 0
	Detail        *string          `json:"detail"`
	Attempts      int              `json:"attempts"`
	At            *time.Time       `json:"at"`
	Position      domain.Position  `json:"position"`
	RedrivenAt    *time.Time       `json:"redriven_at"` // null while it is still dead
}

// redrivenJSON answers a redrive.
type redrivenJSON struct {
	Redriven int           `json:"redriven"`
	Skipped  []skippedJSON `json:"skipped"`
}

type skippedJSON struct {
	ID     domain.MessageID `json:"id"`
	Reason string           `json:"reason"`
}

func viewDeadLetter(v message.DeadLetter) deadLetterJSON {
	return deadLetterJSON{
		ID: v.Message, Tenant: v.Tenant, PhoneNumberID: v.Number, Reason: v.Reason, Code: v.Code, Detail: orNull(v.Detail),
		Attempts: v.Attempts, At: when(v.At), Position: v.Position, RedrivenAt: when(v.RedrivenAt),
	}
}

func (s *Server) deadLetterRoutes(admin bool) []route {
	all := []route{{fiber.MethodGet, tenantPath + "/dlq", toRead, s.listDeadLetters}}
	if admin {
		all = append(all,
			route{fiber.MethodGet, "/dlq", ofAdmin, s.listAllDeadLetters},
			route{fiber.MethodPost, "/dlq/redrive", ofAdmin, s.redrive})
	}
	return all
}

func (s *Server) listDeadLetters(ctx context.Context, r request) error {
	load := func(ctx context.Context, p Page) (Part[message.DeadLetter], error) {
		return s.ports.DeadLetters.DeadLetters(ctx, r.tenant.ID, p)
	}
	return list(ctx, s, r, nil, always(load), viewDeadLetter)
}

func (s *Server) listAllDeadLetters(ctx context.Context, r request) error {
	choose := func(q query) (fetch[message.DeadLetter], error) {
		id, given := q["tenant"]
		if given {
			if _, ok := s.ports.Directory.Get(domain.TenantID(id)); !ok {
				return nil, invalid("tenant must be the id of a tenant")
			}
		}
		return func(ctx context.Context, p Page) (Part[message.DeadLetter], error) {
			return s.ports.DeadLetters.DeadLetters(ctx, domain.TenantID(id), p)
		}, nil
	}
	return list(ctx, s, r, []string{"tenant"}, choose, viewDeadLetter)
}

// redrive asks for dead-lettered messages to be tried again.
func (s *Server) redrive(ctx context.Context, r request) error {
	var (
		ids    []string
		tenant string
		all    bool
	)
	if err := decode(r.c, texts("ids", &ids), text("tenant", &tenant), flag("all", &all)); err != nil {
		return err
	}
	wish := Redrive{Tenant: domain.TenantID(tenant), All: all, By: r.actor}
	for _, id := range ids {
		wish.IDs = append(wish.IDs, domain.MessageID(id))
	}
	if err := s.checkRedrive(wish); err != nil {
		return err
	}
	done, err := s.ports.DeadLetters.Redrive(ctx, wish)
	if err != nil {
		return err
	}
	out := redrivenJSON{Redriven: done.Count, Skipped: make([]skippedJSON, len(done.Skipped))}
	for i, skip := range done.Skipped {
		out.Skipped[i] = skippedJSON(skip)
	}
	return answer(r.c, fiber.StatusOK, out)
}

func (s *Server) checkRedrive(wish Redrive) error {
	ways := 0
	for _, chosen := range []bool{len(wish.IDs) > 0, wish.Tenant != "", wish.All} {
		if chosen {
			ways++
		}
	}
	at := func(pointer, detail string) error {
		return &domain.Error{Kind: domain.Invalid, Message: "it is not clear what to redrive",
			Faults: []domain.Fault{{Pointer: pointer, Detail: detail}}}
	}
	switch {
	case ways != 1:
		return at("", `say exactly one of {"ids":["msg_…"]}, {"tenant":"ten_…"} or {"all":true}`)
	case len(wish.IDs) > maxRedriveIDs:
		return at("/ids", "names more than 1000 messages; redrive them in parts, or all of a tenant")
	}
	for _, id := range wish.IDs {
		if !domain.ValidToken(string(id)) {
			return at("/ids", "holds something that is not the id of a message")
		}
	}
	if wish.Tenant != "" {
		if _, ok := s.ports.Directory.Get(wish.Tenant); !ok {
			return at("/tenant", "is not the id of a tenant")
		}
	}
	return nil
}
