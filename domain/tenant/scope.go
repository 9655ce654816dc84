package tenant

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Scopes is what an API key may do: a set.
type Scopes uint8

// The scopes.
const (
	ScopeSend   Scopes = 1 << iota // ask for messages to be sent
	ScopeRead                      // read messages, customers, notices and dead letters
	ScopeManage                    // issue and revoke keys, replace access tokens, read the audit trail
	ScopeStream                    // listen to what happens, over HTTP or NATS

	AllScopes = ScopeSend | ScopeRead | ScopeManage | ScopeStream
)

// scopeNames are in the order of the bits.
var scopeNames = []string{"send", "read", "manage", "stream"}

// ParseScopes reads names of scopes. ok is false for a name nobody knows.
func ParseScopes(names []string) (set Scopes, ok bool) {
	for _, name := range names {
		s := Scopes(0)
		for i, known := range scopeNames {
			if name == known {
				s = 1 << i
			}
		}
		if s == 0 {
			return 0, false
		}
		set |= s
	}
	return set, true
}

// Has reports whether s holds all of o.
func (s Scopes) Has(o Scopes) bool { return s&o == o }

// Names returns the names of the set, in the order of the constants.
func (s Scopes) Names() []string {
	names := []string{}
	for i, name := range scopeNames {
		if s.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// String implements [fmt.Stringer].
func (s Scopes) String() string { return strings.Join(s.Names(), " and ") }

// MarshalJSON implements [json.Marshaler].
func (s Scopes) MarshalJSON() ([]byte, error) { return json.Marshal(s.Names()) }

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Scopes) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	set, ok := ParseScopes(names)
	if !ok {
		return fmt.Errorf("read scopes: one of %d names is not known", len(names))
	}
	*s = set
	return nil
}
