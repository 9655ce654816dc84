package tenant

import (
	"context"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// Addition is the command to give a tenant one more number.
type Addition struct {
	Tenant      domain.TenantID
	Number      domain.NumberID
	WABA        string
	AccessToken string
	Actor       string
}

// AddNumber records one more number of a tenant. A number that somebody holds,
// this tenant included, is refused with [domain.Taken].
func (r *Registry) AddNumber(ctx context.Context, c Addition) (View, error) {
	var f faults
	f.number(c.Number, c.WABA)
	f.token(c.AccessToken)
	if err := f.err("the number cannot be added as it is"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, c.Tenant, c.Actor, func() (domain.Fact, error) {
		v, err := r.tenant(c.Tenant)
		if err != nil {
			return nil, err
		}
		if err := r.free(c.Number); err != nil {
			return nil, err
		}
		if len(v.Numbers) >= MaxNumbers {
			return nil, domain.Errorf(domain.Taken, nil, "this tenant has %d numbers, which is the limit", MaxNumbers)
		}
		token, err := r.sealToken(c.Tenant, c.Number, c.AccessToken)
		return &NumberAdded{Number: c.Number, WABA: c.WABA, Simulated: simulated(c.AccessToken), Token: token}, err
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(c.Tenant)
}

// ReplaceToken records a new access token of a number. The next call uses it.
func (r *Registry) ReplaceToken(ctx context.Context, t domain.TenantID, n domain.NumberID, token, actor string) (View, error) {
	var f faults
	f.token(token)
	if err := f.err("the access token cannot be used as it is"); err != nil {
		return View{}, err
	}
	err := r.record(ctx, t, actor, func() (domain.Fact, error) {
		if err := r.owned(t, n); err != nil {
			return nil, err
		}
		sealed, err := r.sealToken(t, n, token)
		return &TokenSealed{Number: n, Simulated: simulated(token), Token: sealed}, err
	})
	if err != nil {
		return View{}, err
	}
	return r.tenant(t)
}

// owned returns nil when a tenant has a number.
func (r *Registry) owned(t domain.TenantID, n domain.NumberID) error {
	v, err := r.tenant(t)
	if err != nil {
		return err
	}
	if _, ok := v.Number(n); !ok {
		return domain.Errorf(domain.Unknown, nil, "this tenant has no such number")
	}
	return nil
}

func (r *Registry) sealToken(t domain.TenantID, n domain.NumberID, token string) ([]byte, error) {
	wrapped, _ := r.Directory.DataKey(t)
	return r.Vault.SealSecret(wrapped, t, tokenLabel(n), []byte(token))
}

// Token returns the access token of a number, opened.
func (r *Registry) Token(n domain.NumberID) (string, error) {
	// The token first: a data key that is newer than it opens it too.
	t, sealed, ok := r.Directory.SealedToken(n)
	if !ok {
		return "", domain.Errorf(domain.Unknown, nil, "no tenant has this number")
	}
	wrapped, _ := r.Directory.DataKey(t)
	plain, err := r.Vault.OpenSecret(wrapped, t, tokenLabel(n), sealed)
	if err != nil {
		return "", domain.Errorf(domain.Bug, err, "the access token of this number cannot be opened")
	}
	return string(plain), nil
}

func tokenLabel(n domain.NumberID) string { return "token:" + string(n) }

func simulated(token string) bool { return strings.HasPrefix(token, MockPrefix) }
