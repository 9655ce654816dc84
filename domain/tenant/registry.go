package tenant

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// Limits of a registration (characters).
const (
	MaxName  = 200
	MaxToken = 2048
)

// MockPrefix marks access tokens that never reach Meta: sends under them are
// answered in process.
const MockPrefix = "mock_"

// maxRaces is how often a registration is decided anew because another one
// came first. Each round the directory has moved on.
const maxRaces = 64

// Journal is the log of tenants: one total order, one lock.
type Journal interface {
	// Append records e if the newest event of the journal is at after
	// (0 = the journal is empty). Otherwise it returns [domain.ErrConflict].
	Append(ctx context.Context, e domain.Event, after domain.Position) (domain.Position, error)
}

// Vault seals what only we may read.
type Vault interface {
	// NewDataKey makes a data key for a tenant and returns it wrapped.
	NewDataKey(t domain.TenantID) ([]byte, error)
	// SealSecret seals plain under a wrapped data key, bound to tenant and label.
	SealSecret(wrapped []byte, t domain.TenantID, label string, plain []byte) ([]byte, error)
	// OpenSecret is its inverse.
	OpenSecret(wrapped []byte, t domain.TenantID, label string, sealed []byte) ([]byte, error)
}

// Registry changes the journal of tenants and reads secrets for dispatch.
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

// Registered by Register: the tenant and its first API key, which is never
// shown again.
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
	fact := &Registered{Name: c.Name, Number: c.Number, WABA: c.WABA,
		Simulated: strings.HasPrefix(c.AccessToken, MockPrefix)}
	var key string
	key, fact.KeyID, fact.KeyHash = NewAPIKey()
	var err error
	if fact.DataKey, err = r.Vault.NewDataKey(id); err != nil {
		return Welcome{}, err
	}
	if fact.Token, err = r.Vault.SealSecret(fact.DataKey, id, tokenLabel(c.Number), []byte(c.AccessToken)); err != nil {
		return Welcome{}, err
	}
	e, err := domain.NewEvent(Key(id), r.Clock.Now(), c.Actor, fact)
	if err != nil {
		return Welcome{}, err
	}
	pos, err := r.claim(ctx, e, c.Number)
	if err != nil {
		return Welcome{}, err
	}
	if err := r.Directory.Wait(ctx, pos); err != nil {
		return Welcome{}, err
	}
	view, _ := r.Directory.Get(id)
	return Welcome{Tenant: view, APIKey: key}, nil
}

// claim appends e while its number is free. The append fails if anything was
// recorded since the directory said so, and the question is asked again.
func (r *Registry) claim(ctx context.Context, e domain.Event, n domain.NumberID) (domain.Position, error) {
	for range maxRaces {
		at := r.Directory.Position()
		if _, taken := r.Directory.Owner(n); taken {
			return 0, domain.Errorf(domain.Taken, nil, "this phoneNumberId is already registered")
		}
		pos, err := r.Journal.Append(ctx, e, at)
		if !errors.Is(err, domain.ErrConflict) {
			return pos, err
		}
		if err := r.Directory.Wait(ctx, at+1); err != nil {
			return 0, err
		}
	}
	return 0, domain.Errorf(domain.Unavailable, nil, "too many registrations at once; try again")
}

func (c Registration) validate() error {
	var faults []domain.Fault
	fault := func(pointer, detail string) {
		faults = append(faults, domain.Fault{Pointer: pointer, Detail: detail})
	}
	switch n := utf8.RuneCountInString(c.Name); {
	case n == 0:
		fault("/name", "is required")
	case n > MaxName:
		fault("/name", "is longer than 200 characters")
	}
	switch {
	case c.Number == "":
		fault("/phoneNumberId", "is required: the phone number id of the WhatsApp business number")
	case !domain.ValidToken(string(c.Number)):
		fault("/phoneNumberId", "must be 1 to 64 letters, digits, - or _")
	}
	if c.WABA != "" && !domain.ValidToken(c.WABA) {
		fault("/wabaId", "must be 1 to 64 letters, digits, - or _")
	}
	switch {
	case c.AccessToken == "":
		fault("/accessToken", "is required: an access token of the number, or mock_… to try things out")
	case len(c.AccessToken) > MaxToken:
		fault("/accessToken", "is longer than 2048 characters")
	case strings.ContainsFunc(c.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		fault("/accessToken", "must be visible ASCII characters without spaces")
	}
	if len(faults) > 0 {
		return &domain.Error{Kind: domain.Invalid, Message: "the tenant cannot be registered as it is", Faults: faults}
	}
	return nil
}

// Token returns the access token of a number, opened.
func (r *Registry) Token(n domain.NumberID) (string, error) {
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
