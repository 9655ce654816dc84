package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// access says who may use a route.
type access uint8

const (
	ofAdmin  access = iota + 1 // the operator
	ofTenant                   // the tenant in the path, and the operator
	signed                     // whoever proves itself otherwise: Meta
	probe                      // anybody who reaches the listener
)

// Who asked, as it is recorded in facts.
const (
	actorAdmin = "admin"
	actorAPI   = "api"
)

// caller is who a credential speaks for. The zero caller showed none.
type caller struct {
	admin  bool
	tenant domain.TenantID
}

func (who caller) actor() string {
	if who.admin {
		return actorAdmin
	}
	return actorAPI
}

// authorize lets a request pass to a route, or says why not. For a route with
// a tenant in its path it returns that tenant.
//
// A tenant that is not the caller's answers as one that does not exist, so
// that nobody learns which ids are taken.
func (s *Server) authorize(c *fiber.Ctx, need access, path string) (caller, tenant.View, error) {
	if need == probe || need == signed {
		return caller{}, tenant.View{}, nil
	}
	who, err := s.identify(c)
	if err != nil {
		return caller{}, tenant.View{}, err
	}
	open := s.cfg.AdminKey == ""
	switch {
	case who.admin:
	case who.tenant == "" && !open:
		return caller{}, tenant.View{}, domain.Errorf(domain.Denied, nil,
			"this needs a credential: send the header Authorization: Bearer <key>")
	case who.tenant != "" && need == ofAdmin:
		return caller{}, tenant.View{}, domain.Errorf(domain.Forbidden, nil, "a tenant's key does not reach this; it needs the admin key")
	}
	if !strings.Contains(path, tenantParam) {
		return who, tenant.View{}, nil
	}
	id := domain.TenantID(strings.Clone(c.Params("tenantId")))
	view, ok := s.ports.Directory.Get(id)
	if !ok || who.tenant != "" && who.tenant != id {
		return caller{}, tenant.View{}, domain.Errorf(domain.Unknown, nil, "there is no such tenant")
	}
	return who, view, nil
}

// identify returns who the shown credential speaks for. A wrong one is
// refused even where none is needed: whoever shows it is mistaken about where
// they are.
func (s *Server) identify(c *fiber.Ctx) (caller, error) {
	shown := c.Request().Header.PeekAll(fiber.HeaderAuthorization)
	if len(shown) == 0 {
		return caller{}, nil
	}
	scheme, key, ok := strings.Cut(string(shown[0]), " ")
	if len(shown) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return caller{}, domain.Errorf(domain.Denied, nil, "send one header Authorization: Bearer <key>")
	}
	if s.isAdminKey(key) {
		return caller{admin: true}, nil
	}
	if id, ok := s.ports.Directory.Authenticate(key); ok && id != "" {
		return caller{tenant: id}, nil
	}
	return caller{}, domain.Errorf(domain.Denied, nil, "this key is not known here")
}

// isAdminKey compares hashes, so that the time it takes tells nothing about
// the key, not even its length.
func (s *Server) isAdminKey(key string) bool {
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(sum[:], s.adminHash[:]) == 1 && s.cfg.AdminKey != ""
}
