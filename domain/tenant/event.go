package tenant

import (
	"github.com/sendlog/sendlog/domain"
)

// KindTenant is the kind of keys in the journal of tenants.
const KindTenant domain.Kind = "tenant"

// Registered says that a tenant exists, with its first number and credentials.
type Registered struct {
	Name      string          `json:"name"`
	Number    domain.NumberID `json:"number"`
	WABA      string          `json:"waba,omitempty"`
	Simulated bool            `json:"simulated,omitempty"` // mock_ token: answered in process
	DataKey   []byte          `json:"data_key"`            // the tenant's data key, wrapped by the master key
	Token     []byte          `json:"token"`               // Meta's access token, sealed under the data key
	KeyID     string          `json:"key_id"`
	KeyHash   string          `json:"key_hash"`
}

// TypeRegistered is the type of [Registered].
const TypeRegistered = "TenantRegistered"

// EventType implements [domain.Fact].
func (*Registered) EventType() string { return TypeRegistered }

// Personal implements [domain.Fact]: a tenant is a business, and its secrets
// are sealed one by one.
func (*Registered) Personal() any { return nil }

// Key is the key of a tenant's events in the journal.
func Key(t domain.TenantID) domain.Key {
	return domain.Key{Kind: KindTenant, Tenant: t, ID: "registered"}
}
