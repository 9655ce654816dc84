package api

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain/tenant"
)

const (
	tenantParam = ":tenantId"
	tenantPath  = "/tenants/" + tenantParam
	numberPath  = tenantPath + "/numbers/:numberId"
	webhookPath = "/whatsapp/webhook"
)

// route is one method and path of the interface. A GET answers HEAD too.
type route struct {
	method string
	path   string // Fiber's pattern; also the label of metrics and logs
	access access
	handle handler
}

// handler answers one request or returns why not. ctx ends when the request
// has waited long enough.
type handler func(ctx context.Context, r request) error

// request is what a handler needs to know beyond the bytes.
type request struct {
	c      *fiber.Ctx
	route  string      // the pattern
	tenant tenant.View // the tenant the path names and the caller may reach; zero where the path names none
	who    caller
	actor  string // of who, as it is recorded
}

// routes is the whole interface of one listener, each noun's routes from its
// own file.
func (s *Server) routes(admin bool) []route {
	all := s.healthRoutes(admin)
	all = append(all, s.webhookRoutes()...)
	all = append(all, s.tenantRoutes(admin)...)
	all = append(all, s.numberRoutes()...)
	all = append(all, s.settingsRoutes()...)
	all = append(all, s.keyRoutes()...)
	all = append(all, s.auditRoutes()...)
	all = append(all, s.sendRoutes()...)
	all = append(all, s.messageRoutes()...)
	all = append(all, s.customerRoutes()...)
	all = append(all, s.noticeRoutes()...)
	all = append(all, s.streamRoutes()...)
	all = append(all, s.redriveRoutes(admin)...) // before the letters, whose ids stand at the same place
	all = append(all, s.deadLetterRoutes(admin)...)
	if admin {
		all = append(all, s.quarantineRoutes()...)
		all = append(all, s.rebuildRoutes()...)
		all = append(all, s.rotationRoutes()...)
		all = append(all, s.doctorRoutes()...)
	}
	return all
}

// serve puts the guards in front of a route. On the admin listener everything
// but a probe is the operator's.
func (s *Server) serve(rt route, admin bool) fiber.Handler {
	need := rt.access
	if admin && need != probe {
		need = ofAdmin
	}
	return func(c *fiber.Ctx) error {
		c.Locals(localRoute, rt.path)
		who, t, err := s.authorize(c, need, rt.path)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.requests, handlerTimeout)
		defer cancel()
		return rt.handle(ctx, request{c: c, route: rt.path, tenant: t, who: who, actor: who.actor()})
	}
}
