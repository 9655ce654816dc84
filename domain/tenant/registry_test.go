package tenant_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/internal/vault"
)

// journal is the journal of tenants in memory: it honours the expected
// position, and tells the directory, as the follower of the real one does.
type journal struct {
	directory *tenant.Directory

	mu     sync.Mutex
	events []domain.Event
}

func (j *journal) Append(ctx context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, domain.Errorf(domain.Unavailable, err, "the journal was not asked in time")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if domain.Position(len(j.events)) != after {
		return 0, domain.ErrConflict
	}
	e.Position = after + 1
	j.events = append(j.events, e)
	return e.Position, j.directory.Apply(e)
}

type frozen struct{}

func (frozen) Now() time.Time                                   { return start }
func (frozen) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func newRegistry(t *testing.T) (*tenant.Registry, *journal) {
	t.Helper()
	d := tenant.NewDirectory()
	v, err := vault.New([]byte("0123456789abcdef0123456789abcdef"), d)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{directory: d}
	return &tenant.Registry{Directory: d, Journal: j, Vault: v, Clock: frozen{}}, j
}

const accessToken = "EAAGsecretaccesstoken0123456789"

func registration(number string) tenant.Registration {
	return tenant.Registration{Name: "Ann's", Number: domain.NumberID(number), WABA: "w1", AccessToken: accessToken, Actor: "admin"}
}

// A registered tenant is in the directory with a key that works and a token
// that opens.
func TestRegister(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	c := registration("106540352242922")
	c.Name = "  Ann's  "
	w, err := r.Register(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := tenant.View{ID: w.Tenant.ID, Name: "Ann's", Status: tenant.Active, CreatedAt: start,
		Numbers: []tenant.Number{{ID: c.Number, WABA: "w1", Status: tenant.Active, PerSecond: 80}}}
	if !reflect.DeepEqual(w.Tenant, want) {
		t.Errorf("tenant %+v", w.Tenant)
	}
	if p, ok := r.Directory.Authenticate(w.APIKey, start); !ok || p.Tenant != w.Tenant.ID {
		t.Errorf("the key speaks for %+v", p)
	}
	if got, err := r.Token(c.Number); err != nil || got != accessToken {
		t.Errorf("token %q, %v", got, err)
	}
	if _, err := r.Token("1"); domain.KindOf(err) != domain.Unknown {
		t.Errorf("token of an unknown number: %v", err)
	}
	if e := j.events[0]; e.Key != tenant.Key(w.Tenant.ID) || e.Actor != "admin" || !domain.ValidToken(e.Key.ID) {
		t.Errorf("event %+v", e)
	}
}

// A mock_ token makes a simulated number.
func TestMockTokensAreSimulated(t *testing.T) {
	t.Parallel()
	r, _ := newRegistry(t)
	c := registration("1")
	c.AccessToken = "mock_anything"
	w, err := r.Register(t.Context(), c)
	if err != nil || !w.Tenant.Numbers[0].Simulated {
		t.Errorf("%+v, %v", w.Tenant, err)
	}
}

// Neither the access token nor the API key is in the journal, in any spelling.
func TestJournalHoldsNoSecret(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	w, err := r.Register(t.Context(), registration("1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range j.events {
		stored := fmt.Appendf(nil, "%+v %s %s", e, e.Facts, e.Personal)
		for name, secret := range map[string]string{"access token": accessToken, "API key": w.APIKey, "API key's secret": w.APIKey[16:48]} {
			for _, spelled := range spellings(secret) {
				if bytes.Contains(stored, []byte(spelled)) {
					t.Errorf("the journal holds the %s as %q", name, spelled)
				}
			}
		}
	}
}

// spellings are the ways a secret could hide in bytes: plain, hex, and base64
// at each of the three alignments.
func spellings(secret string) []string {
	all := []string{secret, hex.EncodeToString([]byte(secret))}
	for shift := range 3 {
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		all = append(all, coded[4:len(coded)-4]) // without the ends, which depend on the neighbours
	}
	return all
}

// Each fault of a registration is named, and nothing is recorded.
func TestRegisterValidates(t *testing.T) {
	t.Parallel()
	type c = tenant.Registration
	for name, test := range map[string]struct {
		change func(*c)
		faults []string
	}{
		"complete":              {func(*c) {}, nil},
		"no name":               {func(r *c) { r.Name = " " }, []string{"/name"}},
		"200 letters":           {func(r *c) { r.Name = strings.Repeat("é", 200) }, nil},
		"201 letters":           {func(r *c) { r.Name = strings.Repeat("é", 201) }, []string{"/name"}},
		"no number":             {func(r *c) { r.Number = "" }, []string{"/phoneNumberId"}},
		"a phone for a number":  {func(r *c) { r.Number = "+14155550100" }, []string{"/phoneNumberId"}},
		"a number with dots":    {func(r *c) { r.Number = "1.2" }, []string{"/phoneNumberId"}},
		"a wildcard number":     {func(r *c) { r.Number = "*" }, []string{"/phoneNumberId"}},
		"a word for a number":   {func(r *c) { r.Number = "abc" }, []string{"/phoneNumberId"}},
		"a letter in a number":  {func(r *c) { r.Number = "10654O352242922" }, []string{"/phoneNumberId"}},
		"a number of 32":        {func(r *c) { r.Number = domain.NumberID(strings.Repeat("1", 32)) }, nil},
		"a number of 33":        {func(r *c) { r.Number = domain.NumberID(strings.Repeat("1", 33)) }, []string{"/phoneNumberId"}},
		"no account":            {func(r *c) { r.WABA = "" }, nil},
		"an account with space": {func(r *c) { r.WABA = "w 1" }, []string{"/wabaId"}},
		"no token":              {func(r *c) { r.AccessToken = "" }, []string{"/accessToken"}},
		"a token of 2048":       {func(r *c) { r.AccessToken = strings.Repeat("a", 2048) }, nil},
		"a token of 2049":       {func(r *c) { r.AccessToken = strings.Repeat("a", 2049) }, []string{"/accessToken"}},
		"a token with newline":  {func(r *c) { r.AccessToken = accessToken + "\n" }, []string{"/accessToken"}},
		"a token beyond ASCII":  {func(r *c) { r.AccessToken = "tökén" }, []string{"/accessToken"}},
		"everything wrong": {func(r *c) { *r = c{WABA: "."} },
			[]string{"/name", "/phoneNumberId", "/wabaId", "/accessToken"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, j := newRegistry(t)
			command := registration("106540352242922")
			test.change(&command)
			_, err := r.Register(t.Context(), command)
			var pointers []string
			if e, ok := errors.AsType[*domain.Error](err); ok {
				for _, f := range e.Faults {
					pointers = append(pointers, f.Pointer)
				}
			}
			if !reflect.DeepEqual(pointers, test.faults) || (err == nil) != (test.faults == nil) {
				t.Errorf("faults %q, want %q: %v", pointers, test.faults, err)
			}
			if err != nil && (domain.KindOf(err) != domain.Invalid || len(j.events) != 0) {
				t.Errorf("kind %s, %d events recorded", domain.KindOf(err), len(j.events))
			}
			if secret := command.AccessToken; err != nil && len(secret) > 9 && strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Error("the error repeats the access token")
			}
		})
	}
}

// rush registers concurrently and returns what came of each.
func rush(t *testing.T, r *tenant.Registry, n int, number func(i int) string) (welcomes []tenant.Welcome, errs []error) {
	t.Helper()
	welcomes, errs = make([]tenant.Welcome, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { welcomes[i], errs[i] = r.Register(t.Context(), registration(number(i))) })
	}
	wg.Wait()
	return welcomes, errs
}

// Of many who register one number at once one gets it, and the others are told
// that it is taken.
func TestOneNumberHasOneOwner(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	welcomes, errs := rush(t, r, 32, func(int) string { return "106540352242922" })
	var winner domain.TenantID
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = welcomes[i].Tenant.ID
		case err == nil:
			t.Error("two won")
		case domain.KindOf(err) != domain.Taken:
			t.Errorf("got %v, want taken", err)
		}
	}
	if owner, _ := r.Directory.Owner("106540352242922"); owner != winner || winner == "" || len(j.events) != 1 {
		t.Errorf("%q won, %q owns, %d events", winner, owner, len(j.events))
	}
}

// Those who register different numbers at once all get theirs.
func TestDifferentNumbersDoNotContend(t *testing.T) {
	t.Parallel()
	r, _ := newRegistry(t)
	welcomes, errs := rush(t, r, 32, func(i int) string { return fmt.Sprint(1000 + i) })
	for i, err := range errs {
		if err != nil {
			t.Errorf("registration %d: %v", i, err)
			continue
		}
		if owner, _ := r.Directory.Owner(domain.NumberID(fmt.Sprint(1000 + i))); owner != welcomes[i].Tenant.ID {
			t.Errorf("number %d belongs to %q", i, owner)
		}
		if p, ok := r.Directory.Authenticate(welcomes[i].APIKey, start); !ok || p.Tenant != welcomes[i].Tenant.ID {
			t.Errorf("key %d speaks for %+v", i, p)
		}
	}
}

// A journal that does not answer is not taken for a registration.
func TestNoWelcomeWithoutTheJournal(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := r.Register(ctx, registration("1")); domain.KindOf(err) != domain.Unavailable || w.APIKey != "" {
		t.Errorf("%+v, %v", w, err)
	}
	if len(j.events) != 0 {
		t.Errorf("%d events", len(j.events))
	}
}
