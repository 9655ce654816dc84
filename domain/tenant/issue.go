package tenant

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// KeyWish is the command to issue an API key.
type KeyWish struct {
	Tenant    domain.TenantID
	Scopes    Scopes
	ExpiresAt time.Time // zero: never
	Test      bool      // for simulated numbers only
	Actor     string
}

// IssuedKey answers it. The key is never shown again.
type IssuedKey struct {
	Key  string
	View KeyView
}

// MayIssue says whether a key may issue another one: nobody hands on more than
// they hold.
func (p Principal) MayIssue(scopes Scopes, test bool) error {
	if !p.Scopes.Has(scopes) {
		return domain.Errorf(domain.Forbidden, nil, "a key cannot issue scopes it does not have; this one has %s", p.Scopes)
	}
	if p.Test && !test {
		return domain.Errorf(domain.Forbidden, nil, "a test key can issue test keys only")
	}
	return nil
}

// IssueKey records a new API key beside those a tenant has.
func (r *Registry) IssueKey(ctx context.Context, c KeyWish) (IssuedKey, error) {
	var f faults
	if c.Scopes == 0 {
		f.add("/scopes", "is required: one or more of send, read, manage, stream")
	}
	if !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(r.Clock.Now()) {
		f.add("/expires_at", "is not in the future")
	}
	if err := f.err("the key cannot be issued as it is"); err != nil {
		return IssuedKey{}, err
	}
	var out IssuedKey
	err := r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		v, err := r.tenant(c.Tenant)
		if err != nil {
			return nil, err
		}
		if len(r.Directory.Keys(v.ID)) >= MaxKeys {
			return nil, domain.Errorf(domain.Taken, nil, "this tenant has %d keys, which is the limit; revoke one", MaxKeys)
		}
		fact := &KeyIssued{Scopes: c.Scopes, Test: c.Test, ExpiresAt: c.ExpiresAt.UTC()}
		fresh := NewAPIKey
		if c.Test {
			fresh = NewTestKey
		}
		out.Key, fact.KeyID, fact.KeyHash = fresh()
		for r.Directory.Holds(fact.KeyID, time.Time{}) { // ids are short enough to meet once in a long life
			out.Key, fact.KeyID, fact.KeyHash = fresh()
		}
		out.View = KeyView{ID: fact.KeyID, Scopes: c.Scopes, Test: c.Test, ExpiresAt: fact.ExpiresAt}
		return fact, nil
	})
	if err != nil {
		return IssuedKey{}, err
	}
	for _, k := range r.Directory.Keys(c.Tenant) {
		if k.ID == out.View.ID {
			out.View = k
		}
	}
	return out, nil
}

// RevokeKey records that an API key opens nothing any more. A key the tenant
// does not have, or that was revoked, is [domain.Unknown].
func (r *Registry) RevokeKey(ctx context.Context, t domain.TenantID, keyID, actor string) error {
	return r.record(ctx, t, actor, func() (domain.Fact, error) {
		for _, k := range r.Directory.Keys(t) {
			if k.ID == keyID {
				return &KeyRevoked{KeyID: keyID}, nil
			}
		}
		return nil, domain.Errorf(domain.Unknown, nil, "this tenant has no such key")
	})
}
