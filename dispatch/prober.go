package dispatch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// probeEvery is the time between two questions about a blocked number: few
// enough for Meta's 200 an hour and account (REFERENCE section 8).
const probeEvery = 3 * time.Minute

// surveys bounds how many numbers of unknown pace are asked about in one round,
// and surveyAgain is how long after that one that did not answer is left alone.
const (
	surveys     = 200
	surveyAgain = time.Hour
)

// probesAtOnce bounds the questions of one round that are in flight.
const probesAtOnce = 8

// Prober asks Meta now and then about numbers that it blocks, so that a queue
// goes on by itself once its cause is gone: nobody's message is used to find
// out. It also learns how fast numbers may send. All fields but Every are
// required.
type Prober struct {
	Breaker Breaker
	Clock   domain.Clock
	Every   time.Duration // between two questions about a number, on the average; 0 is 3 min
	Logger  *slog.Logger
	Meta    interface {
		Health(context.Context, domain.NumberID, string) (cloudapi.Health, error)
	}
	Numbers Numbers
	Paces   Paces
	// Shares is how many processes ask, this one included. Each asks so much
	// more seldom, at random, that together they ask once in Every.
	Shares func() int
	Tokens Tokens

	surveyed map[domain.NumberID]time.Time // numbers that were asked about, and have no pace yet
}

// Run asks until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	for {
		every := p.Every
		if every <= 0 {
			every = probeEvery
		}
		period := every * time.Duration(max(1, p.Shares()))
		if err := p.Clock.Sleep(ctx, period/2+rand.N(period)); err != nil {
			return nil
		}
		var g errgroup.Group
		g.SetLimit(probesAtOnce)
		for _, b := range p.Numbers.Blocked() {
			g.Go(func() error { p.probe(ctx, b); return nil })
		}
		for n, t := range p.toSurvey() {
			g.Go(func() error { _, _ = p.ask(ctx, t, n); return nil }) // no answer, no news
		}
		_ = g.Wait() // what one of them met is logged
	}
}

// toSurvey picks numbers that were never asked how fast they may send.
func (p *Prober) toSurvey() map[domain.NumberID]domain.TenantID {
	unpaced, now := p.Numbers.Unpaced(), p.Clock.Now()
	picked := map[domain.NumberID]domain.TenantID{}
	before := p.surveyed
	p.surveyed = map[domain.NumberID]time.Time{}
	for n, t := range unpaced {
		switch at, asked := before[n]; {
		case asked && now.Sub(at) < surveyAgain:
			p.surveyed[n] = at
		case len(picked) < surveys:
			picked[n], p.surveyed[n] = t, now
		}
	}
	return picked
}

// probe ends what is over by its time, and what Meta says is gone.
func (p *Prober) probe(ctx context.Context, b tenant.Blocked) {
	now := p.Clock.Now()
	var over, probed []tenant.Cause
	for _, block := range b.Blocks {
		switch {
		case !block.Until.IsZero() && !block.Until.After(now):
			over = append(over, block.Cause)
		case block.Probe:
			probed = append(probed, block.Cause)
		}
	}
	p.end(ctx, b, tenant.UnblockWish{Causes: over, Told: now, Reason: "the time of the restriction is over"})
	if len(probed) == 0 || b.Simulated {
		return
	}
	health, err := p.ask(ctx, b.Tenant, b.Number)
	if err != nil {
		return // no news
	}
	var gone []tenant.Cause
	for _, cause := range probed {
		if health.Clears(cause) {
			gone = append(gone, cause)
		}
	}
	p.end(ctx, b, tenant.UnblockWish{Causes: gone, Told: now, Probed: true, Reason: "WhatsApp says that the number can send again"})
}

func (p *Prober) end(ctx context.Context, b tenant.Blocked, w tenant.UnblockWish) {
	if len(w.Causes) == 0 {
		return
	}
	w.Tenant, w.Number, w.Actor = b.Tenant, b.Number, actor
	if err := p.Breaker.Unblock(ctx, w); err != nil {
		p.Logger.Warn("dispatch: end of a block not recorded", "tenant", b.Tenant, "number_id", b.Number, "error", err.Error())
		return
	}
	p.Logger.Info("dispatch: number goes on", "tenant", b.Tenant, "number_id", b.Number, "reason", w.Reason)
}

// ask asks about one number, and remembers how fast it may send.
func (p *Prober) ask(ctx context.Context, t domain.TenantID, n domain.NumberID) (cloudapi.Health, error) {
	token, err := p.Tokens.Token(n)
	if err != nil {
		return cloudapi.Health{}, err
	}
	health, err := p.Meta.Health(ctx, n, token)
	if err != nil || health.Pace == 0 {
		return health, err
	}
	if _, err := p.Paces.Pace(ctx, tenant.PaceWish{Tenant: t, Number: n, PerSecond: health.Pace, Learnt: true, Actor: actor}); err != nil {
		p.Logger.Warn("dispatch: throughput not recorded", "tenant", t, "number_id", n, "error", err.Error())
	}
	return health, nil
}

// Learn asks how fast the numbers of a tenant's account may send. Who cannot be
// asked keeps the pace it has.
func (p *Prober) Learn(ctx context.Context, t domain.TenantID, waba string) {
	var g errgroup.Group
	g.SetLimit(probesAtOnce)
	for _, n := range p.Numbers.InAccount(t, waba) {
		g.Go(func() error {
			if _, err := p.ask(ctx, t, n); err != nil {
				p.Logger.Warn("dispatch: throughput not learnt", "tenant", t, "number_id", n, "error", err.Error())
			}
			return nil
		})
	}
	_ = g.Wait()
}
