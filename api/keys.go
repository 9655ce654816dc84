package api

import (
	"context"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// keyJSON is one API key on the wire: what may be known of it.
type keyJSON struct {
	ID        string     `json:"id"`
	Scopes    []string   `json:"scopes"`
	Test      bool       `json:"test"` // for simulated numbers only
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
}

// issuedKeyJSON answers an issue. The key is shown this once.
type issuedKeyJSON struct {
	keyJSON
	APIKey string `json:"apiKey"`
}

func viewKey(k tenant.KeyView) keyJSON {
	return keyJSON{ID: k.ID, Scopes: k.Scopes.Names(), Test: k.Test, CreatedAt: when(k.CreatedAt), ExpiresAt: when(k.ExpiresAt)}
}

func (s *Server) keyRoutes() []route {
	return []route{
		{fiber.MethodGet, tenantPath + "/keys", toManage, s.listKeys},
		{fiber.MethodPost, tenantPath + "/keys", toManage, s.issueKey},
		{fiber.MethodDelete, tenantPath + "/keys/:keyId", toManage, s.revokeKey},
	}
}

// listKeys answers all keys at once: a tenant has at most tenant.MaxKeys.
func (s *Server) listKeys(_ context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	out := listJSON[keyJSON]{Data: []keyJSON{}}
	for _, k := range s.ports.Directory.Keys(r.tenant.ID) {
		out.Data = append(out.Data, viewKey(k))
	}
	return answer(r.c, fiber.StatusOK, out)
}

func (s *Server) issueKey(ctx context.Context, r request) error {
	var (
		names   []string
		expires string
		test    bool
	)
	if err := decode(r.c, texts("scopes", &names), text("expires_at", &expires), flag("test", &test)); err != nil {
		return err
	}
	wish, err := keyWish(names, expires, test)
	if err != nil {
		return err
	}
	if r.who.KeyID != "" {
		if err := r.who.MayIssue(wish.Scopes, wish.Test); err != nil {
			return err
		}
	}
	wish.Tenant, wish.Actor = r.tenant.ID, r.actor
	issued, err := s.ports.Issuer.IssueKey(ctx, wish)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusCreated, issuedKeyJSON{viewKey(issued.View), issued.Key})
}

func keyWish(names []string, expires string, test bool) (tenant.KeyWish, error) {
	var faults []domain.Fault
	set, ok := tenant.ParseScopes(names)
	if !ok {
		faults = append(faults, domain.Fault{Pointer: "/scopes", Detail: "must be names of scopes: send, read, manage, stream"})
	}
	out := tenant.KeyWish{Scopes: set, Test: test}
	if expires != "" {
		var err error
		if out.ExpiresAt, err = time.Parse(time.RFC3339, expires); err != nil {
			faults = append(faults, domain.Fault{Pointer: "/expires_at", Detail: "must be a time such as 2027-01-31T00:00:00Z"})
		}
	}
	if len(faults) > 0 {
		return out, &domain.Error{Kind: domain.Invalid, Message: "the key cannot be issued as it is", Faults: faults}
	}
	return out, nil
}

// revokeKey ends a key, in every process as soon as it has heard of it.
func (s *Server) revokeKey(ctx context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	if err := s.ports.Issuer.RevokeKey(ctx, r.tenant.ID, strings.Clone(r.c.Params("keyId")), r.actor); err != nil {
		return err
	}
	r.c.Status(fiber.StatusNoContent)
	return nil
}
