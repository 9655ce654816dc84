package tenant_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/internal/vault"
)

// registered registers a tenant with number 1.
func enrolled(t *testing.T, r *tenant.Registry, number string) domain.TenantID {
	t.Helper()
	w, err := r.Register(t.Context(), registration(number))
	if err != nil {
		t.Fatal(err)
	}
	return w.Tenant.ID
}

// given facts → command → the new fact, or a refusal that records nothing.
func TestCommands(t *testing.T) {
	t.Parallel()
	type command func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error
	add := func(number, token string) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.AddNumber(ctx, tenant.Addition{Tenant: a, Number: domain.NumberID(number), AccessToken: token, Actor: "me"})
			return err
		}
	}
	token := func(number, token string) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.ReplaceToken(ctx, a, domain.NumberID(number), token, "me")
			return err
		}
	}
	pause := func(number, reason string) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.Pause(ctx, tenant.PauseWish{Tenant: a, Number: domain.NumberID(number), Reason: reason, Actor: "me"})
			return err
		}
	}
	resume := func(number string) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.Resume(ctx, tenant.PauseWish{Tenant: a, Number: domain.NumberID(number), Actor: "me"})
			return err
		}
	}
	quota := func(second, day int) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.SetQuota(ctx, a, tenant.Quota{PerSecond: second, PerDay: day}, "me")
			return err
		}
	}
	issue := func(scopes tenant.Scopes, expires time.Time) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.IssueKey(ctx, tenant.KeyWish{Tenant: a, Scopes: scopes, ExpiresAt: expires, Actor: "me"})
			return err
		}
	}
	settings := func(unknown string, wait time.Duration) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.SetSending(ctx, a, tenant.Sending{OnUnknown: unknown, UnknownWait: wait}, "me")
			return err
		}
	}
	pace := func(number string, perSecond int, learnt bool) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			_, err := r.Pace(ctx, tenant.PaceWish{Tenant: a, Number: domain.NumberID(number), PerSecond: perSecond, Learnt: learnt, Actor: "me"})
			return err
		}
	}
	revokeFirst := func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
		return r.RevokeKey(ctx, a, r.Directory.Keys(a)[0].ID, "me")
	}
	revoke := func(id string) command {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
			return r.RevokeKey(ctx, a, id, "me")
		}
	}
	rewrap := func(ctx context.Context, r *tenant.Registry, a domain.TenantID) error {
		_, err := r.Rewrap(ctx, a, "me")
		return err
	}
	stranger := func(c command) command {
		return func(ctx context.Context, r *tenant.Registry, _ domain.TenantID) error { return c(ctx, r, "ten_nobody") }
	}
	for name, c := range map[string]struct {
		given []command
		when  command
		fact  string // recorded, or none
		kind  domain.ErrKind
	}{
		"a number":                     {nil, add("3", "mock_x"), tenant.TypeNumberAdded, ""},
		"a number that is mine":        {nil, add("1", "x"), "", domain.Taken},
		"a number that is another's":   {nil, add("2", "x"), "", domain.Taken},
		"a number added before":        {[]command{add("3", "x")}, add("3", "x"), "", domain.Taken},
		"a number without token":       {nil, add("3", ""), "", domain.Invalid},
		"a number with a bad name":     {nil, add("a b", "x"), "", domain.Invalid},
		"a number of nobody":           {nil, stranger(add("3", "x")), "", domain.Unknown},
		"a token":                      {nil, token("1", "new"), tenant.TypeTokenSealed, ""},
		"a token of an added number":   {[]command{add("3", "x")}, token("3", "new"), tenant.TypeTokenSealed, ""},
		"a token of another's number":  {nil, token("2", "new"), "", domain.Unknown},
		"an empty token":               {nil, token("1", ""), "", domain.Invalid},
		"a token of nobody":            {nil, stranger(token("1", "x")), "", domain.Unknown},
		"a key":                        {nil, issue(tenant.ScopeRead, time.Time{}), tenant.TypeKeyIssued, ""},
		"a key without scope":          {nil, issue(0, time.Time{}), "", domain.Invalid},
		"a key of the past":            {nil, issue(tenant.ScopeRead, start), "", domain.Invalid},
		"a key of nobody":              {nil, stranger(issue(tenant.ScopeRead, time.Time{})), "", domain.Unknown},
		"a revocation":                 {nil, revokeFirst, tenant.TypeKeyRevoked, ""},
		"a revocation of no key":       {nil, revoke("nobodyhs"), "", domain.Unknown},
		"a revocation of the empty":    {nil, revoke(""), "", domain.Unknown},
		"a revocation of nobody":       {nil, stranger(revoke("nobodyhs")), "", domain.Unknown},
		"a quota":                      {nil, quota(5, 0), tenant.TypeQuotaSet, ""},
		"the same quota":               {[]command{quota(5, 7)}, quota(5, 7), "", ""},
		"no quota after one":           {[]command{quota(5, 7)}, quota(0, 0), tenant.TypeQuotaSet, ""},
		"a negative quota":             {nil, quota(-1, 0), "", domain.Invalid},
		"a quota too large":            {nil, quota(0, tenant.MaxQuota+1), "", domain.Invalid},
		"a quota of nobody":            {nil, stranger(quota(1, 1)), "", domain.Unknown},
		"a pause":                      {nil, pause("", "why"), tenant.TypePaused, ""},
		"a pause of a number":          {nil, pause("1", "why"), tenant.TypePaused, ""},
		"a pause of a paused number":   {[]command{pause("", "why")}, pause("1", "why"), tenant.TypePaused, ""},
		"the same pause":               {[]command{pause("1", "why")}, pause("1", " why "), "", ""},
		"a pause for another reason":   {[]command{pause("1", "why")}, pause("1", "because"), tenant.TypePaused, ""},
		"a pause without reason":       {nil, pause("", " "), "", domain.Invalid},
		"a pause with a long reason":   {nil, pause("", strings.Repeat("é", 501)), "", domain.Invalid},
		"a pause of another's number":  {nil, pause("2", "why"), "", domain.Unknown},
		"a pause of nobody":            {nil, stranger(pause("", "why")), "", domain.Unknown},
		"a resumption":                 {[]command{pause("", "why")}, resume(""), tenant.TypeResumed, ""},
		"a resumption of a number":     {[]command{pause("1", "why")}, resume("1"), tenant.TypeResumed, ""},
		"of what is not paused":        {[]command{pause("1", "why")}, resume(""), "", ""},
		"a resumption of nobody":       {nil, stranger(resume("")), "", domain.Unknown},
		"settings":                     {nil, settings("park", time.Minute), tenant.TypeSendingSet, ""},
		"the same settings":            {[]command{settings("park", 0)}, settings("park", 0), "", ""},
		"no settings after some":       {[]command{settings("park", 0)}, settings("", 0), tenant.TypeSendingSet, ""},
		"an unknown policy":            {nil, settings("forget", 0), "", domain.Invalid},
		"a wait too short":             {nil, settings("", time.Millisecond), "", domain.Invalid},
		"a wait too long":              {nil, settings("", 25*time.Hour), "", domain.Invalid},
		"settings of nobody":           {nil, stranger(settings("park", 0)), "", domain.Unknown},
		"a pace":                       {nil, pace("1", 20, false), tenant.TypeNumberPaced, ""},
		"a learnt pace":                {nil, pace("1", 1000, true), tenant.TypeNumberPaced, ""},
		"a learnt pace that is usual":  {nil, pace("1", 80, true), tenant.TypeNumberPaced, ""},
		"a learnt pace that is known":  {[]command{pace("1", 80, true)}, pace("1", 80, true), "", ""},
		"a pace that is set":           {[]command{pace("1", 80, false)}, pace("1", 80, false), "", ""},
		"the standard pace, set":       {nil, pace("1", 80, false), tenant.TypeNumberPaced, ""},
		"a learnt pace after one set":  {[]command{pace("1", 20, false)}, pace("1", 1000, true), "", ""},
		"a pace set after one learnt":  {[]command{pace("1", 20, true)}, pace("1", 20, false), tenant.TypeNumberPaced, ""},
		"no pace of Meta's":            {nil, pace("1", 0, true), "", domain.Invalid},
		"a pace below any":             {nil, pace("1", -1, false), "", domain.Invalid},
		"a pace taken back":            {[]command{pace("1", 20, false)}, pace("1", 0, false), tenant.TypeNumberPaced, ""},
		"nothing to take back":         {nil, pace("1", 0, false), "", ""},
		"a learnt pace, taken back":    {[]command{pace("1", 20, true)}, pace("1", 0, false), "", ""},
		"a learnt pace after that":     {[]command{pace("1", 20, false), pace("1", 0, false)}, pace("1", 1000, true), tenant.TypeNumberPaced, ""},
		"a pace beyond Meta's":         {nil, pace("1", 1001, false), "", domain.Invalid},
		"a pace of another's number":   {nil, pace("2", 20, false), "", domain.Unknown},
		"a data key that is current":   {nil, rewrap, "", ""},
		"a data key of nobody":         {nil, stranger(rewrap), "", domain.Unknown},
		"a number too many":            {slices.Repeat([]command{nil}, tenant.MaxNumbers-1), add("9999", "x"), "", domain.Taken},
		"the last number there may be": {slices.Repeat([]command{nil}, tenant.MaxNumbers-2), add("9999", "x"), tenant.TypeNumberAdded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, j := newRegistry(t)
			a := enrolled(t, r, "1")
			enrolled(t, r, "2")
			for i, given := range c.given {
				if given == nil {
					given = add(fmt.Sprint(1000+i), "x")
				}
				if err := given(t.Context(), r, a); err != nil {
					t.Fatal(err)
				}
			}
			before := len(j.events)
			err := c.when(t.Context(), r, a)
			if err == nil && c.kind != "" || err != nil && domain.KindOf(err) != c.kind {
				t.Fatalf("got %v, want %q", err, c.kind)
			}
			var fact string
			for _, e := range j.events[before:] {
				fact += e.Type
				if e.Actor != "me" || e.Key.Tenant != a || !domain.ValidToken(e.Key.ID) {
					t.Errorf("event %+v", e)
				}
			}
			if fact != c.fact {
				t.Errorf("recorded %q, want %q", fact, c.fact)
			}
		})
	}
}

// The directory after a life is the directory of its facts, read anew.
func TestDirectoryOfALife(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	ctx := t.Context()
	a, b := enrolled(t, r, "1"), enrolled(t, r, "2")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.AddNumber(ctx, tenant.Addition{Tenant: a, Number: "3", WABA: "w3", AccessToken: "mock_x"}))
	must(r.ReplaceToken(ctx, a, "1", "new-token", "x"))
	issued, err := r.IssueKey(ctx, tenant.KeyWish{Tenant: a, Scopes: tenant.ScopeSend | tenant.ScopeStream, Test: true, ExpiresAt: start.Add(time.Hour)})
	must(nil, err)
	must(nil, r.RevokeKey(ctx, a, r.Directory.Keys(a)[0].ID, "x"))
	must(r.SetQuota(ctx, a, tenant.Quota{PerSecond: 3, PerDay: 9}, "x"))
	must(r.Pause(ctx, tenant.PauseWish{Tenant: a, Reason: "bill"}))
	must(r.Pause(ctx, tenant.PauseWish{Tenant: a, Number: "3", Reason: "token"}))
	must(r.Resume(ctx, tenant.PauseWish{Tenant: a}))
	must(r.Pause(ctx, tenant.PauseWish{Tenant: b, Reason: "gone"}))

	want := tenant.View{ID: a, Name: "Ann's", Status: tenant.Active, CreatedAt: start, Quota: tenant.Quota{PerSecond: 3, PerDay: 9}, Numbers: []tenant.Number{
		{ID: "1", WABA: "w1", Status: tenant.Active, PerSecond: 80},
		{ID: "3", WABA: "w3", Simulated: true, Status: tenant.Halted, Reason: "token", Paused: true, PerSecond: 80},
	}}
	again := folded(t, j.events...)
	for name, d := range map[string]*tenant.Directory{"live": r.Directory, "read anew": again} {
		if got, _ := d.Get(a); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", name, got, want)
		}
		keys := []tenant.KeyView{{ID: issued.View.ID, Scopes: tenant.ScopeSend | tenant.ScopeStream, Test: true, CreatedAt: start, ExpiresAt: start.Add(time.Hour)}}
		if got := d.Keys(a); !reflect.DeepEqual(got, keys) {
			t.Errorf("%s: keys %+v", name, got)
		}
		for n, open := range map[domain.NumberID]bool{"1": true, "3": false, "2": false, "unknown": true} {
			if d.Open(n, false) != open {
				t.Errorf("%s: number %s open: %t", name, n, d.Open(n, false))
			}
		}
		p, ok := d.Authenticate(issued.Key, start)
		if !ok || p.Tenant != a || !p.Test || p.Scopes != tenant.ScopeSend|tenant.ScopeStream {
			t.Errorf("%s: the key is %+v, %t", name, p, ok)
		}
		if _, ok := d.Authenticate(issued.Key, start.Add(time.Hour)); ok {
			t.Errorf("%s: the key outlived its time", name)
		}
		if owners := d.OwnersOfAccount("w3"); len(owners) != 1 || owners[0] != a {
			t.Errorf("%s: account w3 belongs to %q", name, owners)
		}
		if keks := d.KEKs(); !reflect.DeepEqual(keks, map[string]int{r.Vault.KEK(): 2}) {
			t.Errorf("%s: %v", name, keks)
		}
	}
	if token, err := r.Token("1"); err != nil || token != "new-token" {
		t.Errorf("token %q, %v", token, err)
	}
}

// Facts that contradict those before them stop the fold, and change nothing.
func TestDirectoryRefusesContradictions(t *testing.T) {
	t.Parallel()
	_, _, hash := tenant.NewAPIKey()
	for name, f := range map[string]domain.Fact{
		"a number of nobody":      &tenant.NumberAdded{Number: "9"},
		"a token of no number":    &tenant.TokenSealed{Number: "9"},
		"a key with no hash":      &tenant.KeyIssued{KeyID: "x", KeyHash: "x"},
		"a revocation of no key":  &tenant.KeyRevoked{KeyID: "x"},
		"a pause of no number":    &tenant.Paused{Number: "9"},
		"a resumption of nothing": &tenant.Resumed{Number: "9"},
		"a block of no number":    &tenant.NumberBlocked{Numbers: []domain.NumberID{"1", "9"}},
		"an end of no block":      &tenant.NumberUnblocked{Numbers: []domain.NumberID{"1", "9"}},
		"a pace of no number":     &tenant.NumberPaced{Number: "9", PerSecond: 20},
	} {
		d := folded(t, registered(t, 1, "ten_a", tenant.Registered{Number: "1", KeyID: "mine", KeyHash: hash}))
		id := domain.TenantID("ten_a")
		if name == "a number of nobody" {
			id = "ten_nobody"
		}
		e, err := domain.NewEvent(domain.Key{Kind: tenant.KindTenant, Tenant: id, ID: "x"}, start, "x", f)
		if err != nil {
			t.Fatal(err)
		}
		e.Position = 2
		before, _ := d.Get("ten_a")
		if err := d.Apply(e); err == nil || d.Position() != 1 {
			t.Errorf("%s: %v, position %d", name, err, d.Position())
		}
		if after, _ := d.Get("ten_a"); !reflect.DeepEqual(before, after) || len(d.Keys("ten_a")) != 1 {
			t.Errorf("%s: changed to %+v", name, after)
		}
	}
	twice := registered(t, 2, "ten_a", tenant.Registered{Number: "2"})
	if err := folded(t, registered(t, 1, "ten_a", tenant.Registered{Number: "1"})).Apply(twice); err == nil {
		t.Error("a tenant was registered twice")
	}
}

// A gate lets through what is open, holds what is not, and opens for those who
// wait.
func TestPass(t *testing.T) {
	t.Parallel()
	r, _ := newRegistry(t)
	a := enrolled(t, r, "1")
	if err := r.Directory.Pass(t.Context(), "1", false); err != nil {
		t.Fatal(err)
	}
	for _, number := range []domain.NumberID{"", "1"} {
		if _, err := r.Pause(t.Context(), tenant.PauseWish{Tenant: a, Number: number, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	passed := make(chan error, 1)
	go func() { passed <- r.Directory.Pass(t.Context(), "1", false) }()
	for _, number := range []domain.NumberID{"", "1"} {
		select {
		case err := <-passed:
			t.Fatalf("passed a closed gate: %v", err)
		default:
		}
		if _, err := r.Resume(t.Context(), tenant.PauseWish{Tenant: a, Number: number}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-passed; err != nil {
		t.Error(err)
	}
	if _, err := r.Pause(t.Context(), tenant.PauseWish{Tenant: a, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Directory.Pass(ctx, "1", false); err == nil {
		t.Error("an ended context passed a closed gate")
	}
}

// shared is one journal that several directories follow, each when it likes.
type shared struct {
	mu     sync.Mutex
	events []domain.Event
	grown  chan struct{}
}

func (s *shared) Append(_ context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if domain.Position(len(s.events)) != after {
		return 0, domain.ErrConflict
	}
	e.Position = after + 1
	s.events = append(s.events, e)
	close(s.grown)
	s.grown = make(chan struct{})
	return e.Position, nil
}

func (s *shared) follow(ctx context.Context, t *testing.T, d *tenant.Directory) {
	for next := 0; ctx.Err() == nil; {
		s.mu.Lock()
		news, grown := s.events[next:], s.grown
		s.mu.Unlock()
		for _, e := range news {
			if err := d.Apply(e); err != nil {
				t.Error(err)
				return
			}
		}
		next += len(news)
		if len(news) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

// Several registries on one journal, as in several processes: a number has one
// owner, a tenant not more keys than it may have, and nothing is lost.
func TestRegistriesRace(t *testing.T) {
	t.Parallel()
	s := &shared{grown: make(chan struct{})}
	var registries []*tenant.Registry
	var following sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer following.Wait()
	defer cancel()
	for range 2 {
		d := tenant.NewDirectory()
		v, err := vault.New([]byte("0123456789abcdef0123456789abcdef"), d)
		if err != nil {
			t.Fatal(err)
		}
		registries = append(registries, &tenant.Registry{Directory: d, Journal: s, Vault: v, Clock: frozen{}})
		following.Go(func() { s.follow(ctx, t, d) })
	}
	a, b := enrolled(t, registries[0], "1"), enrolled(t, registries[1], "2")
	for _, r := range registries {
		if err := r.Directory.Wait(ctx, 2); err != nil {
			t.Fatal(err)
		}
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		won  = map[string]int{}
		kind = map[domain.ErrKind]int{}
	)
	try := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			won[what]++
			return
		}
		kind[domain.KindOf(err)]++
	}
	for i := range 12 {
		r, t1 := registries[i%2], []domain.TenantID{a, b}[i/2%2]
		wg.Go(func() {
			_, err := r.AddNumber(ctx, tenant.Addition{Tenant: t1, Number: "900", AccessToken: "x"})
			try("number", err)
		})
		wg.Go(func() {
			_, err := r.IssueKey(ctx, tenant.KeyWish{Tenant: a, Scopes: tenant.ScopeRead})
			try("key", err)
		})
		wg.Go(func() {
			_, err := r.SetQuota(ctx, b, tenant.Quota{PerDay: i + 1}, "x")
			try("quota", err)
		})
	}
	wg.Wait()
	if won["number"] != 1 || kind[domain.Taken] != 11 || won["key"] != 12 || won["quota"] != 12 || len(kind) != 1 {
		t.Errorf("succeeded %v, failed %v", won, kind)
	}
	for _, r := range registries {
		if err := r.Directory.Wait(ctx, domain.Position(len(s.events))); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Directory.Keys(a)); n != 13 {
			t.Errorf("%d keys, want 13", n)
		}
	}
	ids := map[domain.EventID]bool{}
	for _, e := range s.events {
		ids[e.ID] = true
	}
	if len(ids) != len(s.events) {
		t.Error("an event was recorded twice")
	}
}

// A rotation gives a tenant a fresh data key under the new master key: what the
// old one sealed still opens, what is sealed now does not open under the old.
func TestRewrap(t *testing.T) {
	t.Parallel()
	old, err := vault.NewKEK([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := vault.NewKEK(bytes.Repeat([]byte{7}, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	r, j := newRegistry(t)
	before := r.Vault.(*vault.Vault)
	a := enrolled(t, r, "1")
	if _, err := r.AddNumber(t.Context(), tenant.Addition{Tenant: a, Number: "2", AccessToken: "second-token"}); err != nil {
		t.Fatal(err)
	}
	sealed, err := before.Seal(a, "evt_1", []byte("of old"))
	if err != nil {
		t.Fatal(err)
	}
	v := vault.Under(r.Directory, next, old)
	r.Vault = v
	for i, want := range []bool{true, false} { // the second time it is passed over
		if did, err := r.Rewrap(t.Context(), a, "admin"); err != nil || did != want {
			t.Fatalf("time %d: %t, %v", i, did, err)
		}
	}
	if got := r.Directory.KEK(a); got != next.Name() || len(j.events) != 3 {
		t.Errorf("under %q after %d events", got, len(j.events))
	}
	alone := vault.Under(r.Directory, next)
	if plain, err := alone.Open(a, "evt_1", sealed); err != nil || string(plain) != "of old" {
		t.Errorf("what was sealed before: %q, %v", plain, err)
	}
	r.Vault = alone
	for number, want := range map[domain.NumberID]string{"1": accessToken, "2": "second-token"} {
		if token, err := r.Token(number); err != nil || token != want {
			t.Errorf("token of %s: %q, %v", number, token, err)
		}
	}
	fresh, err := alone.Seal(a, "evt_2", []byte("of new"))
	if err != nil {
		t.Fatal(err)
	}
	former := folded(t, j.events[:2]...)
	if _, err := vault.Under(former, old).Open(a, "evt_2", fresh); err == nil {
		t.Error("what is sealed now opens with the old data key")
	}
	if _, err := vault.Under(r.Directory, old).Seal(a, "evt_3", nil); err == nil {
		t.Error("the old master key opens the new data key")
	}
	stored := fmt.Appendf(nil, "%+v %s", j.events[2], j.events[2].Facts)
	for _, secret := range []string{accessToken, "second-token"} {
		for _, spelled := range spellings(secret) {
			if bytes.Contains(stored, []byte(spelled)) {
				t.Errorf("the journal holds %q", spelled)
			}
		}
	}
}

// A data key that neither master key opens stops the rotation there and is
// left as it was.
func TestRewrapWithTheWrongKey(t *testing.T) {
	t.Parallel()
	r, j := newRegistry(t)
	a := enrolled(t, r, "1")
	wrong, err := vault.NewKEK(bytes.Repeat([]byte{9}, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	r.Vault = vault.Under(r.Directory, wrong)
	if _, err := r.Rewrap(t.Context(), a, "admin"); err == nil || !strings.Contains(err.Error(), string(a)) || len(j.events) != 1 {
		t.Errorf("got %v after %d events", err, len(j.events))
	}
}

// What an event of the journal tells the audit trail holds no secret, for any
// type there is.
func TestAuditKnowsEveryType(t *testing.T) {
	t.Parallel()
	secret := []byte("CANARY")
	for _, f := range []domain.Fact{
		&tenant.Registered{Token: secret, DataKey: secret, KeyHash: string(secret)}, &tenant.NumberAdded{Token: secret}, &tenant.TokenSealed{Token: secret},
		&tenant.KeyIssued{KeyHash: string(secret)}, &tenant.KeyRevoked{}, &tenant.QuotaSet{}, &tenant.Paused{}, &tenant.Resumed{},
		&tenant.NumberBlocked{}, &tenant.NumberUnblocked{}, &tenant.SendingSet{}, &tenant.NumberPaced{},
		&tenant.DataKeyRewrapped{DataKey: secret, Tokens: map[domain.NumberID][]byte{"1": secret}},
	} {
		e, err := domain.NewEvent(tenant.Key("ten_a"), start, "who", f)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := tenant.Audit(e)
		if err != nil || entry.Actor != "who" || entry.Type != e.Type || entry.ID != e.ID {
			t.Errorf("%s: %+v, %v", e.Type, entry, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", entry), "CANARY") || strings.Contains(fmt.Sprintf("%+v", entry), "67 65 78") {
			t.Errorf("%s shows a secret: %+v", e.Type, entry)
		}
		e.Type = "TenantTeleported"
		if _, err := tenant.Audit(e); err == nil {
			t.Error("an unknown type is audited")
		}
	}
}
