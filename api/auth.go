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
	ofAdmin access = iota + 1 // the operator
	signed                    // whoever proves itself otherwise: Meta
	probe                     // anybody who reaches the listener

	// The operator, and the tenant in the path with a key of the scope.
	toManage
	toRead
	toSend
	toStream
)

// scopes are what a tenant's key needs for a route. Routes that are not here
// are not for tenants' keys.
var scopes = map[access]tenant.Scopes{
	toManage: tenant.ScopeManage,
	toRead:   tenant.ScopeRead,
	toSend:   tenant.ScopeSend,
	toStream: tenant.ScopeStream,
}

// Who asked, as it is recorded in facts. Requests with a tenant's key are
// recorded with the key's id.
const (
	actorAdmin = "admin"
	actorAPI   = "api" // nobody in particular: no credential is asked for
)

// caller is who a credential speaks for. The zero caller showed none.
type caller struct {
	tenant.Principal // zero unless it is a tenant's key
	admin            bool
}

func (who caller) actor() string {
	switch {
	case who.admin:
		return actorAdmin
	case who.KeyID != "":
		return who.KeyID
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
	if open := s.cfg.AdminKey == ""; !who.admin && who.KeyID == "" && !open {
		return caller{}, tenant.View{}, domain.Errorf(domain.Denied, nil,
			"this needs a credential: send the header Authorization, with the word Bearer and a key")
	}
	var view tenant.View
	if strings.Contains(path, tenantParam) || path == graphPath {
		var id domain.TenantID
		what, ok := "tenant", true
		if path == graphPath {
			what = "number"
			id, ok = s.ports.Directory.Owner(domain.NumberID(c.Params("numberId")))
		} else {
			id = domain.TenantID(strings.Clone(c.Params("tenantId")))
		}
		if ok {
			view, ok = s.ports.Directory.Get(id)
		}
		if !ok || who.KeyID != "" && who.Tenant != id {
			return caller{}, tenant.View{}, domain.Errorf(domain.Unknown, nil, "there is no such %s", what)
		}
	}
	if who.KeyID != "" {
		if err := permits(who.Principal, need, view); err != nil {
			return caller{}, tenant.View{}, err
		}
	}
	return who, view, nil
}

// permits says whether a tenant's key reaches a route of its own tenant.
//
// What is read cannot be told apart by number, so a test key reads only where
// every number is simulated. What is sent can: send looks at the number.
func permits(who tenant.Principal, need access, own tenant.View) error {
	scope, ok := scopes[need]
	switch {
	case !ok:
		return domain.Errorf(domain.Forbidden, nil, "a tenant's key does not reach this; it needs the admin key")
	case !who.Scopes.Has(scope):
		return domain.Errorf(domain.Forbidden, nil, "this key does not have the scope %s", scope)
	case who.Test && need != toSend && !own.Simulated():
		return domain.Errorf(domain.Forbidden, nil, "a test key is for simulated numbers, and this tenant has others")
	}
	return nil
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
		return caller{}, domain.Errorf(domain.Denied, nil, "send one header Authorization, with the word Bearer and a key")
	}
	if s.isAdminKey(key) {
		return caller{admin: true}, nil
	}
	if p, ok := s.ports.Directory.Authenticate(key, s.cfg.Clock.Now()); ok && p.Tenant != "" && p.KeyID != "" {
		return caller{Principal: p}, nil
	}
	return caller{}, domain.Errorf(domain.Denied, nil, "this key is not known here; it may have been revoked, or have expired")
}

// isAdminKey compares hashes, so that the time it takes tells nothing about
// the key, not even its length.
func (s *Server) isAdminKey(key string) bool {
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(sum[:], s.adminHash[:]) == 1 && s.cfg.AdminKey != ""
}
