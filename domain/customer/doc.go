// Package customer knows who a tenant writes with: a person as a set of
// aliases (phone, business-scoped user id, parent id), because one webhook may
// show a phone and the next one only a user id (REFERENCE section 6).
package customer

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// ID names a customer within its tenant: "cus_" and 26 characters.
type ID string

// View is one customer as a tenant reads it.
type View struct {
	ID           ID
	Tenant       domain.TenantID
	WaID         string   // newest phone (digits), if any is known
	UserID       string   // newest BSUID, if any
	Phones       []string // every phone seen, oldest first
	UserIDs      []string // every BSUID and parent BSUID seen, oldest first
	Name         string
	Username     string
	LastSeenAt   time.Time // of their newest message to us, by the provider's time
	MessageCount int       // messages received from them
	OptedOut     bool      // they want no marketing messages, as the provider says
	CreatedAt    time.Time
	Position     domain.Position // of the first event
	LastPosition domain.Position
}
