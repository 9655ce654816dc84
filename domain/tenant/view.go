package tenant

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Status of a tenant or a number.
const (
	Active = "active"
	Halted = "paused" // nothing is sent; requests are accepted and wait
	// Restricted is a number whose template messages wait; all others leave.
	Restricted = "restricted"
)

// View is one tenant as it is shown: no secret in it.
type View struct {
	ID        domain.TenantID
	Name      string
	Status    string
	Reason    string // of the pause
	Numbers   []Number
	Quota     Quota
	Sending   Sending
	CreatedAt time.Time
}

// Number is one business number of a tenant.
type Number struct {
	ID        domain.NumberID
	WABA      string
	Simulated bool
	Status    string // its own: the tenant's pause is not in it
	Reason    string // of the pause, or of the first block that does this
	Paused    bool   // by an operator
	Blocks    []Block
	PerSecond int  // messages it may send in a second
	PaceSet   bool // by an operator
}

// Number returns one of the tenant's numbers.
func (v View) Number(n domain.NumberID) (Number, bool) {
	for _, have := range v.Numbers {
		if have.ID == n {
			return have, true
		}
	}
	return Number{}, false
}

// Simulated reports whether every number of the tenant is.
func (v View) Simulated() bool {
	for _, n := range v.Numbers {
		if !n.Simulated {
			return false
		}
	}
	return true
}

// KeyView is one API key as it is shown.
type KeyView struct {
	ID        string
	Scopes    Scopes
	Test      bool
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// Quota bounds what a tenant may send. 0 is no limit.
type Quota struct {
	PerSecond int // messages accepted in a second, on the average
	PerDay    int // messages accepted in a day of UTC
}

// Principal is who an API key speaks for.
type Principal struct {
	Tenant    domain.TenantID
	KeyID     string
	Scopes    Scopes
	Test      bool      // for simulated numbers only
	ExpiresAt time.Time // zero: never
}
