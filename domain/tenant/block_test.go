package tenant_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// at is a clock that stands where a test puts it.
type at struct{ time.Time }

func (a *at) Now() time.Time                                   { return a.Time }
func (a *at) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func blocks(ctx context.Context, r *tenant.Registry, w tenant.BlockWish) error {
	_, err := r.Block(ctx, w)
	return err
}

// What blocks a number, what ends that, and what of it a pause of an operator
// has to do with.
func TestBlocks(t *testing.T) {
	t.Parallel()
	type act func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error
	block := func(n domain.NumberID, c tenant.Cause) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error {
			return blocks(ctx, r, tenant.BlockWish{Tenant: a, Number: n, Block: tenant.Block{Cause: c, Code: 190, Reason: string(c), Told: now}, Actor: "dispatch"})
		}
	}
	older := func(age time.Duration, do act) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error {
			return do(ctx, r, a, now.Add(-age))
		}
	}
	templates := func(code int, hours time.Duration) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error {
			return blocks(ctx, r, tenant.BlockWish{Tenant: a, Number: "1", Actor: "dispatch",
				Block: tenant.Block{Cause: tenant.ByTemplates, Code: code, Reason: "limit", Told: now, Until: now.Add(hours * time.Hour)}})
		}
	}
	account := func(n domain.NumberID, waba string, until time.Duration) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error {
			b := tenant.Block{Cause: tenant.ByAccount, Reason: "account", Told: now}
			if until != 0 {
				b.Until = now.Add(until)
			}
			return blocks(ctx, r, tenant.BlockWish{Tenant: a, Number: n, WABA: waba, Account: true, Block: b, Actor: "dispatch"})
		}
	}
	ends := func(n domain.NumberID, waba string, probed bool, causes ...tenant.Cause) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, now time.Time) error {
			return r.Unblock(ctx, tenant.UnblockWish{Tenant: a, Number: n, WABA: waba, Causes: causes, Told: now, Probed: probed, Actor: "dispatch"})
		}
	}
	token := func(ctx context.Context, r *tenant.Registry, a domain.TenantID, _ time.Time) error {
		_, err := r.ReplaceToken(ctx, a, "1", "new", "me")
		return err
	}
	pause := func(ctx context.Context, r *tenant.Registry, a domain.TenantID, _ time.Time) error {
		_, err := r.Pause(ctx, tenant.PauseWish{Tenant: a, Number: "1", Reason: "mine", Actor: "me"})
		return err
	}
	resume := func(n domain.NumberID) act {
		return func(ctx context.Context, r *tenant.Registry, a domain.TenantID, _ time.Time) error {
			_, err := r.Resume(ctx, tenant.PauseWish{Tenant: a, Number: n, Actor: "me"})
			return err
		}
	}
	const active, paused, restricted = tenant.Active, tenant.Halted, tenant.Restricted
	for name, c := range map[string]struct {
		acts []act
		want [3]string // status of numbers 1 and 2 (account w1) and 3 (w3)
		new  bool      // the last act recorded something
	}{
		"a refused number":                      {[]act{block("1", tenant.ByToken)}, [3]string{paused, active, active}, true},
		"refused again":                         {[]act{block("1", tenant.ByToken), block("1", tenant.ByToken)}, [3]string{paused, active, active}, false},
		"refused for a second cause":            {[]act{block("1", tenant.ByToken), block("1", tenant.ByAccount)}, [3]string{paused, active, active}, true},
		"templates only":                        {[]act{block("1", tenant.ByTemplates)}, [3]string{restricted, active, active}, true},
		"templates, refused again":              {[]act{templates(131064, 24), templates(131064, 24)}, [3]string{restricted, active, active}, false},
		"templates, until another time":         {[]act{templates(131064, 24), templates(0, 48)}, [3]string{restricted, active, active}, true},
		"the account of a number":               {[]act{account("1", "", 0)}, [3]string{paused, paused, active}, true},
		"an account":                            {[]act{account("", "w3", 0)}, [3]string{active, active, paused}, true},
		"an account nobody has":                 {[]act{account("", "w9", 0)}, [3]string{active, active, active}, false},
		"until a time that is over":             {[]act{account("", "w3", -time.Hour)}, [3]string{active, active, active}, false},
		"a new token":                           {[]act{block("1", tenant.ByToken), token}, [3]string{active, active, active}, true},
		"a new token, access taken away":        {[]act{block("1", tenant.ByAccess), token}, [3]string{active, active, active}, true},
		"a new token does not pay a bill":       {[]act{block("1", tenant.ByAccount), token}, [3]string{paused, active, active}, true},
		"a call with the token before":          {[]act{token, older(time.Minute, block("1", tenant.ByToken))}, [3]string{active, active, active}, false},
		"a call with the token after":           {[]act{token, block("1", tenant.ByToken)}, [3]string{paused, active, active}, true},
		"a resumption ends all":                 {[]act{pause, block("1", tenant.ByToken), block("1", tenant.ByAccount), resume("1")}, [3]string{active, active, active}, true},
		"a resumption of the tenant too":        {[]act{account("1", "", 0), resume("")}, [3]string{active, active, active}, true},
		"a resumption of another number":        {[]act{account("1", "", 0), resume("2")}, [3]string{paused, active, active}, true},
		"a pause is left by the end of a block": {[]act{pause, block("1", tenant.ByToken), ends("1", "", true, tenant.ByToken)}, [3]string{paused, active, active}, true},
		"a good probe":                          {[]act{block("1", tenant.ByNumber), ends("1", "", true, tenant.ByNumber)}, [3]string{active, active, active}, true},
		"a probe does not see access":           {[]act{block("1", tenant.ByAccess), ends("1", "", true, tenant.ByAccess)}, [3]string{paused, active, active}, false},
		"an end of another cause":               {[]act{block("1", tenant.ByNumber), ends("1", "", false, tenant.ByAccount)}, [3]string{paused, active, active}, false},
		"one of two causes ends":                {[]act{block("1", tenant.ByNumber), block("1", tenant.ByAccount), ends("1", "", true, tenant.ByAccount)}, [3]string{paused, active, active}, true},
		"an account reinstated":                 {[]act{account("", "w1", 0), ends("", "w1", false, tenant.ByAccount)}, [3]string{active, active, active}, true},
		"reinstated, and told so late":          {[]act{account("", "w1", 0), older(time.Hour, ends("", "w1", false, tenant.ByAccount))}, [3]string{paused, paused, active}, false},
		"disabled, and told so late":            {[]act{account("", "w1", 0), ends("", "w1", false, tenant.ByAccount), older(time.Hour, account("", "w1", 0))}, [3]string{active, active, active}, false},
		"a probe that was wrong":                {[]act{block("1", tenant.ByNumber), ends("1", "", true, tenant.ByNumber), block("1", tenant.ByNumber), ends("1", "", true, tenant.ByNumber)}, [3]string{paused, active, active}, false},
		"but a command is believed":             {[]act{block("1", tenant.ByNumber), ends("1", "", true, tenant.ByNumber), block("1", tenant.ByNumber), resume("1")}, [3]string{active, active, active}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, j := newRegistry(t)
			clock := &at{start}
			r.Clock = clock
			a := enrolled(t, r, "1")
			for n, waba := range map[domain.NumberID]string{"2": "w1", "3": "w3"} {
				if _, err := r.AddNumber(t.Context(), tenant.Addition{Tenant: a, Number: n, WABA: waba, AccessToken: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			before := 0
			for _, do := range c.acts {
				clock.Time = clock.Add(time.Minute)
				before = len(j.events)
				if err := do(t.Context(), r, a, clock.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if recorded := len(j.events) > before; recorded != c.new {
				t.Errorf("the last act recorded something: %t", recorded)
			}
			for kind, d := range map[string]*tenant.Directory{"live": r.Directory, "read anew": folded(t, j.events...)} {
				v, _ := d.Get(a)
				blocked := 0
				for i, id := range []domain.NumberID{"1", "2", "3"} {
					n, _ := v.Number(id)
					if n.Status != c.want[i] || (n.Status == active) != (n.Reason == "") {
						t.Errorf("%s: number %s is %+v, want %s", kind, id, n, c.want[i])
					}
					if d.Open(id, false) != (c.want[i] != paused) || d.Open(id, true) != (c.want[i] == active) {
						t.Errorf("%s: number %s is open %t, for templates %t", kind, id, d.Open(id, false), d.Open(id, true))
					}
					if len(n.Blocks) > 0 {
						blocked++
					}
				}
				if got := d.Blocked(); len(got) != blocked || slices.ContainsFunc(got, func(b tenant.Blocked) bool { return b.Tenant != a || len(b.Blocks) == 0 }) {
					t.Errorf("%s: %d blocked numbers: %+v", kind, blocked, got)
				}
			}
		})
	}
}

// Whoever waits at the gate of a blocked number goes on when the block ends;
// what the block does not concern does not wait.
func TestBlockHoldsAtTheGate(t *testing.T) {
	t.Parallel()
	r, _ := newRegistry(t)
	a := enrolled(t, r, "1")
	if _, err := r.Block(t.Context(), tenant.BlockWish{Tenant: a, Number: "1", Block: tenant.Block{Cause: tenant.ByTemplates, Told: start.Add(1)}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Directory.Pass(t.Context(), "1", false); err != nil {
		t.Errorf("a reply waits: %v", err)
	}
	passed := make(chan error, 1)
	go func() { passed <- r.Directory.Pass(t.Context(), "1", true) }()
	select {
	case err := <-passed:
		t.Fatalf("a template passed: %v", err)
	default:
	}
	if err := r.Unblock(t.Context(), tenant.UnblockWish{Tenant: a, Number: "1", Causes: []tenant.Cause{tenant.ByTemplates}, Told: start.Add(2)}); err != nil {
		t.Fatal(err)
	}
	if err := <-passed; err != nil {
		t.Errorf("a template waits: %v", err)
	}
}

// What is set or learnt about a number's pace is what dispatch is told.
func TestPerSecond(t *testing.T) {
	t.Parallel()
	r, _ := newRegistry(t)
	a := enrolled(t, r, "1")
	if got := r.Directory.PerSecond("1"); got != tenant.StandardPace {
		t.Errorf("%d at first", got)
	}
	if _, err := r.Pace(t.Context(), tenant.PaceWish{Tenant: a, Number: "1", PerSecond: tenant.CoexistencePace, Learnt: true}); err != nil {
		t.Fatal(err)
	}
	if got := r.Directory.PerSecond("1"); got != tenant.CoexistencePace {
		t.Errorf("%d after it was learnt", got)
	}
	if got := r.Directory.PerSecond("nobody's"); got != tenant.StandardPace {
		t.Errorf("%d for nobody", got)
	}
}
