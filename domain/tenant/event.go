package tenant

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// KindTenant is the kind of keys in the journal of tenants.
const KindTenant domain.Kind = "tenant"

// Registered says that a tenant exists, with its first number and credentials.
// The key has every scope and no end.
type Registered struct {
	Name      string          `json:"name"`
	Number    domain.NumberID `json:"number"`
	WABA      string          `json:"waba,omitempty"`
	Simulated bool            `json:"simulated,omitempty"` // mock_ token: answered in process
	DataKey   []byte          `json:"data_key"`            // the tenant's data key, wrapped by the master key
	KEK       string          `json:"kek,omitempty"`       // name of that master key
	Token     []byte          `json:"token"`               // Meta's access token, sealed under the data key
	KeyID     string          `json:"key_id"`
	KeyHash   string          `json:"key_hash"`
}

// NumberAdded says that a tenant has one more number. A number belongs to one
// tenant for ever.
type NumberAdded struct {
	Number    domain.NumberID `json:"number"`
	WABA      string          `json:"waba,omitempty"`
	Simulated bool            `json:"simulated,omitempty"`
	Token     []byte          `json:"token"`
}

// TokenSealed says that a number has a new access token.
type TokenSealed struct {
	Number    domain.NumberID `json:"number"`
	Simulated bool            `json:"simulated,omitempty"`
	Token     []byte          `json:"token"`
}

// KeyIssued says that a tenant has one more API key.
type KeyIssued struct {
	KeyID     string    `json:"key_id"`
	KeyHash   string    `json:"key_hash"`
	Scopes    Scopes    `json:"scopes"`
	Test      bool      `json:"test,omitempty"`      // sl_test_: for simulated numbers only
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// KeyRevoked says that an API key opens nothing any more.
type KeyRevoked struct {
	KeyID string `json:"key_id"`
}

// QuotaSet says how much a tenant may send. It takes the place of the quota
// before it.
type QuotaSet struct {
	PerSecond int `json:"per_second,omitempty"` // 0: no limit
	PerDay    int `json:"per_day,omitempty"`    // 0: no limit
}

// Paused says that nothing is sent for a tenant, or for one of its numbers.
// Requests are accepted and wait.
type Paused struct {
	Number domain.NumberID `json:"number,omitempty"` // empty: the whole tenant
	Reason string          `json:"reason"`
}

// Resumed ends a pause of the same extent: a number stays paused while its
// tenant is, and the other way round. It also ends every block of the number,
// or of all the tenant's numbers: whoever resumes says that it is mended.
type Resumed struct {
	Number domain.NumberID `json:"number,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// NumberBlocked says that Meta lets nothing be sent from numbers. Requests are
// accepted and wait.
type NumberBlocked struct {
	Numbers []domain.NumberID `json:"numbers"`
	Block
}

// NumberUnblocked says that blocks of numbers have ended.
type NumberUnblocked struct {
	Numbers []domain.NumberID `json:"numbers"`
	Causes  []Cause           `json:"causes"`
	Told    time.Time         `json:"told_at"` // blocks told later stay
	Reason  string            `json:"reason"`
	Probed  bool              `json:"probed,omitempty"` // a probe saw it
}

// SendingSet says how a tenant wants its messages sent. It takes the place of
// the settings before it.
type SendingSet struct {
	OnUnknown   string        `json:"on_unknown,omitempty"`      // empty: as the house has it
	UnknownWait time.Duration `json:"unknown_wait_ns,omitempty"` // 0: as the house has it
}

// NumberPaced says how fast a number may send.
type NumberPaced struct {
	Number    domain.NumberID `json:"number"`
	PerSecond int             `json:"per_second"`       // 0: what was set is taken back, and Meta has yet to be asked
	Learnt    bool            `json:"learnt,omitempty"` // from Meta
}

// DataKeyRewrapped says that a tenant seals under a fresh data key, kept
// beside its former ones, that all of them are wrapped by another master key,
// and that its access tokens are sealed anew.
type DataKeyRewrapped struct {
	DataKey []byte                     `json:"data_key"`
	KEK     string                     `json:"kek"`
	Tokens  map[domain.NumberID][]byte `json:"tokens"`
}

// Names of the event types.
const (
	TypeRegistered       = "TenantRegistered"
	TypeNumberAdded      = "NumberAdded"
	TypeTokenSealed      = "TokenSealed"
	TypeKeyIssued        = "KeyIssued"
	TypeKeyRevoked       = "KeyRevoked"
	TypeQuotaSet         = "QuotaSet"
	TypePaused           = "TenantPaused"
	TypeResumed          = "TenantResumed"
	TypeNumberBlocked    = "NumberBlocked"
	TypeNumberUnblocked  = "NumberUnblocked"
	TypeSendingSet       = "SendingSet"
	TypeNumberPaced      = "NumberPaced"
	TypeDataKeyRewrapped = "DataKeyRewrapped"
)

// EventType implements [domain.Fact].
func (*Registered) EventType() string       { return TypeRegistered }
func (*NumberAdded) EventType() string      { return TypeNumberAdded }
func (*TokenSealed) EventType() string      { return TypeTokenSealed }
func (*KeyIssued) EventType() string        { return TypeKeyIssued }
func (*KeyRevoked) EventType() string       { return TypeKeyRevoked }
func (*QuotaSet) EventType() string         { return TypeQuotaSet }
func (*Paused) EventType() string           { return TypePaused }
func (*Resumed) EventType() string          { return TypeResumed }
func (*NumberBlocked) EventType() string    { return TypeNumberBlocked }
func (*NumberUnblocked) EventType() string  { return TypeNumberUnblocked }
func (*SendingSet) EventType() string       { return TypeSendingSet }
func (*NumberPaced) EventType() string      { return TypeNumberPaced }
func (*DataKeyRewrapped) EventType() string { return TypeDataKeyRewrapped }

// Personal implements [domain.Fact]: a tenant is a business, and its secrets
// are sealed one by one.
func (*Registered) Personal() any       { return nil }
func (*NumberAdded) Personal() any      { return nil }
func (*TokenSealed) Personal() any      { return nil }
func (*KeyIssued) Personal() any        { return nil }
func (*KeyRevoked) Personal() any       { return nil }
func (*QuotaSet) Personal() any         { return nil }
func (*Paused) Personal() any           { return nil }
func (*Resumed) Personal() any          { return nil }
func (*NumberBlocked) Personal() any    { return nil }
func (*NumberUnblocked) Personal() any  { return nil }
func (*SendingSet) Personal() any       { return nil }
func (*NumberPaced) Personal() any      { return nil }
func (*DataKeyRewrapped) Personal() any { return nil }

// words names each type of event in the journal's subjects.
var words = map[string]string{
	TypeRegistered:       "registered",
	TypeNumberAdded:      "number_added",
	TypeTokenSealed:      "token_sealed",
	TypeKeyIssued:        "key_issued",
	TypeKeyRevoked:       "key_revoked",
	TypeQuotaSet:         "quota_set",
	TypePaused:           "paused",
	TypeResumed:          "resumed",
	TypeNumberBlocked:    "number_blocked",
	TypeNumberUnblocked:  "number_unblocked",
	TypeSendingSet:       "sending_set",
	TypeNumberPaced:      "number_paced",
	TypeDataKeyRewrapped: "data_key_rewrapped",
}

// Key is the key of a tenant's registration in the journal.
func Key(t domain.TenantID) domain.Key { return keyOf(t, TypeRegistered) }

// keyOf is the key of a tenant's events of one type.
func keyOf(t domain.TenantID, eventType string) domain.Key {
	return domain.Key{Kind: KindTenant, Tenant: t, ID: words[eventType]}
}
