package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain/customer"
)

// customerJSON is one customer on the wire.
type customerJSON struct {
	ID           customer.ID `json:"id"`
	WaID         *string     `json:"wa_id"`   // newest phone, digits
	UserID       *string     `json:"user_id"` // newest business-scoped user id
	Phones       []string    `json:"phones"`
	UserIDs      []string    `json:"user_ids"`
	Name         *string     `json:"name"`
	Username     *string     `json:"username"`
	LastSeenAt   *time.Time  `json:"last_seen_at"`
	MessageCount int         `json:"message_count"`
	OptedOut     bool        `json:"opted_out"` // of marketing messages
	CreatedAt    *time.Time  `json:"created_at"`
}

func viewCustomer(v customer.View) customerJSON {
	return customerJSON{
		ID: v.ID, WaID: orNull(v.WaID), UserID: orNull(v.UserID), Phones: orEmpty(v.Phones), UserIDs: orEmpty(v.UserIDs),
		Name: orNull(v.Name), Username: orNull(v.Username), LastSeenAt: when(v.LastSeenAt),
		MessageCount: v.MessageCount, OptedOut: v.OptedOut, CreatedAt: when(v.CreatedAt),
	}
}

func (s *Server) customerRoutes() []route {
	return []route{
		{fiber.MethodGet, tenantPath + "/customers", toRead, s.listCustomers},
		{fiber.MethodGet, tenantPath + "/customers/:customerId", toRead, s.showCustomer},
	}
}

func (s *Server) listCustomers(ctx context.Context, r request) error {
	load := func(ctx context.Context, p Page) (Part[customer.View], error) {
		return s.ports.Customers.Customers(ctx, r.tenant.ID, p)
	}
	return list(ctx, s, r, nil, always(load), viewCustomer)
}

func (s *Server) showCustomer(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "customerId", "there is no such customer")
	if err != nil {
		return err
	}
	v, err := s.ports.Customers.Customer(ctx, r.tenant.ID, customer.ID(id))
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewCustomer(v))
}
