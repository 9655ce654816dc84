package streams

import (
	"crypto/subtle"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sendlog/sendlog/domain"
)

// gate lets this process do everything, and a tenant's API key (as password or
// token) subscribe to that tenant's live subjects and nothing else.
type gate struct {
	secret  string
	tenants Authenticator

	mu     sync.Mutex
	guests map[uint64]string // the key each tenant's connection was let in with, by connection
}

// Check implements server.Authentication.
func (g *gate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == internalUser && subtle.ConstantTimeCompare([]byte(o.Password), []byte(g.secret)) == 1 {
		return true
	}
	if g.tenants == nil {
		return false
	}
	key := o.Password
	if key == "" {
		key = o.Token
	}
	tenant, ok := g.tenants.Authenticate(key)
	if !ok || !domain.ValidToken(string(tenant)) { // a wildcard would hear everybody
		return false
	}
	g.mu.Lock()
	g.guests[c.GetID()] = key
	g.mu.Unlock()
	c.RegisterUser(&server.User{Username: string(tenant), Permissions: &server.Permissions{
		Subscribe: &server.SubjectPermission{Allow: []string{liveSubject(tenant)}},
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
	}})
	return true
}

// Recheck ends the connections of keys that would not be let in any more. Call
// it when keys may have changed: the server asks at the door only.
func (e *Embedded) Recheck() {
	g := e.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, key := range g.guests {
		gone := e.server.GetClient(id) == nil
		if _, ok := g.tenants.Authenticate(key); !ok && !gone {
			_ = e.server.DisconnectClientByID(id) // it fails only when it left by itself
			gone = true
		}
		if gone {
			delete(g.guests, id)
		}
	}
}
