package tenant

import (
	"context"
	"fmt"

	"github.com/sendlog/sendlog/domain"
)

// Rewrap gives a tenant a fresh data key beside its former ones, wraps them
// under the current master key and seals its access tokens anew. A tenant that
// is there already is passed over: did is false.
func (r *Registry) Rewrap(ctx context.Context, t domain.TenantID, actor string) (did bool, err error) {
	err = r.record(ctx, t, actor, func() (domain.Fact, error) {
		v, err := r.tenant(t)
		if err != nil {
			return nil, err
		}
		now := r.Vault.KEK()
		if did = r.Directory.KEK(t) != now; !did {
			return nil, nil
		}
		wrapped, _ := r.Directory.DataKey(t)
		fact := &DataKeyRewrapped{KEK: now, Tokens: map[domain.NumberID][]byte{}}
		if fact.DataKey, err = r.Vault.RotateDataKey(wrapped, t); err != nil {
			return nil, fmt.Errorf("rotate data key: %w", err)
		}
		for _, n := range v.Numbers {
			token, err := r.Token(n.ID)
			if err != nil {
				return nil, err
			}
			if fact.Tokens[n.ID], err = r.Vault.SealSecret(fact.DataKey, t, tokenLabel(n.ID), []byte(token)); err != nil {
				return nil, err
			}
		}
		return fact, nil
	})
	return did && err == nil, err
}
