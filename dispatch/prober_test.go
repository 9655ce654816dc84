package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// patient is the health of numbers as a test has it, and counts who asks.
type patient struct {
	mu     sync.Mutex
	health cloudapi.Health
	err    error
	asked  []domain.NumberID
}

func (p *patient) Health(_ context.Context, n domain.NumberID, token string) (cloudapi.Health, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token != "token" {
		return cloudapi.Health{}, errors.New("another token")
	}
	p.asked = append(p.asked, n)
	return p.health, p.err
}

func newProber(r *tenant.Registry, meta *patient) *Prober {
	return &Prober{Breaker: r, Clock: domain.SystemClock{}, Every: time.Millisecond, Logger: slog.New(slog.DiscardHandler), Meta: meta,
		Numbers: r.Directory, Paces: r, Shares: func() int { return 1 }, Tokens: tokens{}}
}

// A probe ends what Meta says is gone and what is over by its time, and
// nothing else; it learns how fast the number may send.
func TestProbe(t *testing.T) {
	t.Parallel()
	good := cloudapi.Health{Status: "CONNECTED", CanSend: "AVAILABLE", Pace: 1000}
	for name, c := range map[string]struct {
		cause  tenant.Cause
		until  time.Duration
		health cloudapi.Health
		err    error
		open   bool
		asks   int
	}{
		"a token that opens":               {cause: tenant.ByToken, health: good, open: true, asks: 1},
		"a token that opens nothing":       {cause: tenant.ByToken, err: errors.New("190"), asks: 1},
		"a token, nothing else known":      {cause: tenant.ByToken, health: cloudapi.Health{Status: "BANNED", CanSend: "BLOCKED"}, open: true, asks: 1},
		"a number that is connected":       {cause: tenant.ByNumber, health: good, open: true, asks: 1},
		"a number that is pending":         {cause: tenant.ByNumber, health: cloudapi.Health{Status: "PENDING", CanSend: "AVAILABLE"}, asks: 1},
		"a number that may not send":       {cause: tenant.ByNumber, health: cloudapi.Health{Status: "CONNECTED", CanSend: "BLOCKED"}, asks: 1},
		"an account that pays":             {cause: tenant.ByAccount, health: cloudapi.Health{CanSend: "LIMITED"}, open: true, asks: 1},
		"an account that does not":         {cause: tenant.ByAccount, health: cloudapi.Health{Status: "CONNECTED", CanSend: "BLOCKED"}, asks: 1},
		"an account nothing is said of":    {cause: tenant.ByAccount, health: cloudapi.Health{Status: "CONNECTED"}, asks: 1},
		"access no probe can see":          {cause: tenant.ByAccess, health: good},
		"a restriction that is over":       {cause: tenant.ByRestriction, until: time.Nanosecond, health: good, open: true},
		"a restriction that goes on":       {cause: tenant.ByRestriction, until: time.Hour, health: good},
		"a restriction without an end":     {cause: tenant.ByRestriction, health: good},
		"templates restricted for a while": {cause: tenant.ByTemplates, until: time.Nanosecond, health: good, open: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, j := w.withTenants()
			r := &tenant.Registry{Directory: j.directory, Journal: j, Clock: domain.SystemClock{}}
			now := time.Now()
			b := tenant.Block{Cause: c.cause, Told: now, Probe: c.cause.Probed()}
			if c.until != 0 {
				b.Until = now.Add(c.until)
			}
			j.record(t, tenantA, &tenant.NumberBlocked{Numbers: []domain.NumberID{number}, Block: b})
			meta := &patient{health: c.health, err: c.err}
			p := newProber(r, meta)
			for _, b := range j.directory.Blocked() {
				p.probe(t.Context(), b)
			}
			if got := j.directory.Open(number, true); got != c.open {
				t.Errorf("open: %t", got)
			}
			if len(meta.asked) != c.asks {
				t.Errorf("asked about %v", meta.asked)
			}
			if c.asks > 0 && c.health.Pace > 0 && j.directory.PerSecond(number) != c.health.Pace {
				t.Errorf("%d messages in a second", j.directory.PerSecond(number))
			}
		})
	}
}

// Each number is asked once how fast it may send, unless it was said; one that
// does not answer is left alone for an hour.
func TestSurvey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, j := w.withTenants()
	r := &tenant.Registry{Directory: j.directory, Journal: j, Clock: domain.SystemClock{}}
	p := newProber(r, &patient{})
	if got := p.toSurvey(); len(got) != 2 || got[number] != tenantA || got[numberB] != tenantB {
		t.Errorf("at first %v", got)
	}
	if got := p.toSurvey(); len(got) != 0 {
		t.Errorf("at once again %v", got)
	}
	j.record(t, tenantA, &tenant.NumberPaced{Number: number, PerSecond: tenant.StandardPace, Learnt: true})
	p.Clock = hence(2 * time.Hour)
	if got := p.toSurvey(); len(got) != 1 || got[numberB] != tenantB {
		t.Errorf("after an hour %v", got)
	}
	j.record(t, tenantB, &tenant.TokenSealed{Number: numberB, Simulated: true})
	p.Clock = hence(4 * time.Hour)
	if got := p.toSurvey(); len(got) != 0 || len(p.surveyed) != 0 {
		t.Errorf("with nothing to ask %v, %v remembered", got, p.surveyed)
	}
}

// hence is a clock that runs ahead.
type hence time.Duration

func (h hence) Now() time.Time { return time.Now().Add(time.Duration(h)) }

func (h hence) Sleep(ctx context.Context, d time.Duration) error {
	return domain.SystemClock{}.Sleep(ctx, d)
}

// The prober asks about blocked numbers until they are mended, and then no
// more; simulated ones it leaves alone.
func TestProberRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, j := w.withTenants()
	j.record(t, tenantB, &tenant.TokenSealed{Number: numberB, Simulated: true})
	r := &tenant.Registry{Directory: j.directory, Journal: j, Clock: domain.SystemClock{}}
	for id, n := range map[domain.TenantID]domain.NumberID{tenantA: number, tenantB: numberB} {
		if _, err := r.Block(t.Context(), tenant.BlockWish{Tenant: id, Number: n, Block: tenant.Block{Cause: tenant.ByToken, Told: time.Now()}}); err != nil {
			t.Fatal(err)
		}
	}
	meta := &patient{health: cloudapi.Health{Status: "CONNECTED"}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- newProber(r, meta).Run(ctx) }()
	if err := j.directory.Pass(t.Context(), number, false); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if slices.Contains(meta.asked, numberB) || j.directory.Open(numberB, false) {
		t.Errorf("asked about %v", meta.asked)
	}
}
