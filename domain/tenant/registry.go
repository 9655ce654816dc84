package tenant

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// Limits of what a tenant may have and say.
const (
	MaxName     = 200  // characters
	MaxToken    = 2048 // bytes of an access token
	MaxReason   = 500  // characters of why something is paused or resumed
	MaxNumberID = 32   // digits of a phone number id
	MaxNumbers  = 100  // numbers of one tenant
	MaxKeys     = 100  // API keys of one tenant that were not revoked
)

// MockPrefix marks access tokens that never reach Meta: sends under them are
// answered in process.
const MockPrefix = "mock_"

// maxRaces is how often a command is decided anew because another one came
// first. Each round the directory has moved on.
const maxRaces = 64

// Journal is the log of tenants: one total order, one lock.
type Journal interface {
	// Append records e if the newest event of the journal is at after
	// (0 = the journal is empty). Otherwise it returns [domain.ErrConflict].
	Append(ctx context.Context, e domain.Event, after domain.Position) (domain.Position, error)
}

// Vault seals what only we may read.
type Vault interface {
	// KEK names the master key that wraps data keys now. It tells nothing
	// about the key.
	KEK() string
	// NewDataKey makes a data key for a tenant and returns it wrapped.
	NewDataKey(t domain.TenantID) ([]byte, error)
	// RotateDataKey returns a tenant's data key with a fresh one in front of
	// it, wrapped by the current master key. What the former ones sealed opens
	// under it.
	RotateDataKey(wrapped []byte, t domain.TenantID) ([]byte, error)
	// SealSecret seals plain under a wrapped data key, bound to tenant and label.
	SealSecret(wrapped []byte, t domain.TenantID, label string, plain []byte) ([]byte, error)
	// OpenSecret is its inverse.
	OpenSecret(wrapped []byte, t domain.TenantID, label string, sealed []byte) ([]byte, error)
}

// Registry changes the journal of tenants and reads secrets for dispatch. Any
// number of them, in any number of processes, may work on one journal.
type Registry struct {
	Directory *Directory
	Journal   Journal
	Vault     Vault
	Clock     domain.Clock
}

// Registration is the command to register a tenant.
type Registration struct {
	Name        string
	Number      domain.NumberID
	WABA        string
	AccessToken string
	Actor       string
}

// Welcome answers a registration: the tenant and its first API key, which is
// never shown again.
type Welcome struct {
	Tenant View
	APIKey string
}

// Register records a new tenant. A number that another tenant holds is refused
// with [domain.Taken].
func (r *Registry) Register(ctx context.Context, c Registration) (Welcome, error) {
	c.Name = strings.TrimSpace(c.Name)
	if err := c.validate(); err != nil {
		return Welcome{}, err
	}
	id := domain.NewTenantID()
	fact := &Registered{Name: c.Name, Number: c.Number, WABA: c.WABA, KEK: r.Vault.KEK(), Simulated: simulated(c.AccessToken)}
	var key string
	key, fact.KeyID, fact.KeyHash = NewAPIKey()
	err := r.record(ctx, id, c.Actor, func() (domain.Fact, error) {
		if err := r.free(c.Number); err != nil || fact.Token != nil {
			return fact, err
		}
		var err error
		if fact.DataKey, err = r.Vault.NewDataKey(id); err != nil {
			return nil, err
		}
		fact.Token, err = r.Vault.SealSecret(fact.DataKey, id, tokenLabel(c.Number), []byte(c.AccessToken))
		return fact, err
	})
	if err != nil {
		return Welcome{}, err
	}
	view, _ := r.Directory.Get(id)
	return Welcome{Tenant: view, APIKey: key}, nil
}

// record appends what decide makes of the directory as it is, and returns when
// the directory has it. The append fails if anything was recorded since the
// directory said so, and the question is asked again: whatever decide saw was
// true until its fact was. A nil fact says that nothing is to be done.
func (r *Registry) record(ctx context.Context, t domain.TenantID, actor string, decide func() (domain.Fact, error)) error {
	for range maxRaces {
		at := r.Directory.Position()
		fact, err := decide()
		if err != nil || fact == nil {
			return err
		}
		e, err := domain.NewEvent(keyOf(t, fact.EventType()), r.Clock.Now(), actor, fact)
		if err != nil {
			return err
		}
		pos, err := r.Journal.Append(ctx, e, at)
		if err == nil {
			return r.Directory.Wait(ctx, pos)
		}
		if !errors.Is(err, domain.ErrConflict) {
			return err
		}
		if err := r.Directory.Wait(ctx, at+1); err != nil {
			return err
		}
	}
	return domain.Errorf(domain.Unavailable, nil, "too many changes of tenants at once; try again")
}

// tenant returns a tenant that exists.
func (r *Registry) tenant(id domain.TenantID) (View, error) {
	v, ok := r.Directory.Get(id)
	if !ok {
		return View{}, domain.Errorf(domain.Unknown, nil, "there is no such tenant")
	}
	return v, nil
}

func (r *Registry) free(n domain.NumberID) error {
	if _, taken := r.Directory.Owner(n); taken {
		return domain.Errorf(domain.Taken, nil, "this phoneNumberId is already registered")
	}
	return nil
}

// faults gathers what is wrong with a command.
type faults []domain.Fault

func (f *faults) add(pointer, detail string) {
	*f = append(*f, domain.Fault{Pointer: pointer, Detail: detail})
}

func (f faults) err(message string) error {
	if len(f) == 0 {
		return nil
	}
	return &domain.Error{Kind: domain.Invalid, Message: message, Faults: f}
}

func (c Registration) validate() error {
	var f faults
	switch n := utf8.RuneCountInString(c.Name); {
	case n == 0:
		f.add("/name", "is required")
	case n > MaxName:
		f.add("/name", "is longer than 200 characters")
	}
	f.number(c.Number, c.WABA)
	f.token(c.AccessToken)
	return f.err("the tenant cannot be registered as it is")
}

func (f *faults) number(n domain.NumberID, waba string) {
	switch {
	case n == "":
		f.add("/phoneNumberId", "is required: the phone number id of the WhatsApp business number")
	case len(n) > MaxNumberID || strings.Trim(string(n), "0123456789") != "":
		f.add("/phoneNumberId", "must be 1 to 32 digits: the id that Meta gives the number, not the phone number")
	}
	if waba != "" && !domain.ValidToken(waba) {
		f.add("/wabaId", "must be 1 to 64 letters, digits, - or _")
	}
}

func (f *faults) token(token string) {
	switch {
	case token == "":
		f.add("/accessToken", "is required: an access token of the number, or mock_… to try things out")
	case len(token) > MaxToken:
		f.add("/accessToken", "is longer than 2048 characters")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		f.add("/accessToken", "must be visible ASCII characters without spaces")
	}
}

func (f *faults) reason(reason string, required bool) {
	switch n := utf8.RuneCountInString(reason); {
	case n == 0 && required:
		f.add("/reason", "is required: whoever finds it paused wants to know why")
	case n > MaxReason:
		f.add("/reason", "is longer than 500 characters")
	}
}
