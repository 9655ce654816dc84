package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sendlog/sendlog/domain"
)

// Config is what a [Dispatcher] needs. All fields but Policy are required.
type Config struct {
	Backlogs  Backlogs
	Breaker   Breaker
	Clock     domain.Clock
	Facts     Facts
	Gate      Gate
	Graveyard Graveyard
	Log       domain.Log
	Logger    *slog.Logger
	Meter     domain.Meter
	Policy    Policy
	Provider  Provider
	Rates     Rates
	Schedule  Schedule
	Settings  Settings
	Tokens    Tokens
	Work      Work
	// HoldEvery is how often held work is reported as going on.
	HoldEvery time.Duration
}

// looksAtOnce bounds how many messages are looked up at once. A backlog hands out
// hundreds in one moment, each to be looked up, and who was quiet would wait behind
// all of them for the log and the processor.
const looksAtOnce = 8

// Dispatcher works the lanes of this process.
type Dispatcher struct {
	Config
	turns     *turnstile
	reconcile *reconciler

	looking chan struct{} // one for each message that is being looked up

	// See there.
	laneJobs, numberJobs, laneSleepers int
	advanceEvery, laneWait, wakeEvery  time.Duration
	expireEvery                        time.Duration

	mu    sync.Mutex
	lanes map[*lane]bool // that this process works
}

// lookUp loads what the log has of a message.
func (d *Dispatcher) lookUp(ctx context.Context, k domain.Key) ([]domain.Event, error) {
	d.looking <- struct{}{}
	defer func() { <-d.looking }()
	return d.Log.Load(ctx, k)
}

// Waiting counts the messages that are due and wait for their turn.
func (d *Dispatcher) Waiting() Waiting { return d.turns.waiting() }

// New returns a dispatcher. It starts nothing.
func New(c Config) *Dispatcher {
	c.Policy = c.Policy.withDefaults()
	return &Dispatcher{
		Config:   c,
		turns:    newTurnstile(c.Clock, c.Rates, c.Policy),
		lanes:    map[*lane]bool{},
		laneJobs: laneJobs, numberJobs: numberJobs, advanceEvery: advanceEvery, expireEvery: expireEvery,
		laneSleepers: laneSleepers, laneWait: laneWait, wakeEvery: wakeEvery,
		reconcile: newReconciler(c.Facts, c.Logger),
		looking:   make(chan struct{}, looksAtOnce),
	}
}

// Run works until ctx ends; then it takes no new work, lets running calls
// finish and records their outcomes, for at most Policy.Drain.
func (d *Dispatcher) Run(ctx context.Context) error {
	// Calls outlive the wish to stop: cutting one off would make its outcome
	// unknown. They end by themselves, or here after the drain.
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	drained := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(drained)
		return d.Work.Work(ctx, func(tenure context.Context, number int) (func(Delivery), func()) {
			l := d.begin(number, tenure, calls)
			return l.take, l.end
		})
	})
	g.Go(func() error { return d.turns.run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		if n := d.turns.calls(); n > 0 {
			d.Logger.Info("dispatch: waiting for running calls", "calls", n, "at_most", d.Policy.Drain.String())
		}
		timer := time.NewTimer(d.Policy.Drain)
		defer timer.Stop()
		select {
		case <-drained:
		case <-timer.C:
			cut()
		}
		return nil
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
