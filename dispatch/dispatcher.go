package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Config is what a [Dispatcher] needs. All fields but Policy are required.
type Config struct {
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
	Settings  Settings
	Tokens    Tokens
	Work      Work
	// HoldEvery is how often held work is reported as going on.
	HoldEvery time.Duration
}

// Dispatcher works the lanes of this process.
type Dispatcher struct {
	Config
	turns     *turnstile
	reconcile *reconciler
}

// Waiting counts the messages that are due and wait for their turn.
func (d *Dispatcher) Waiting() Waiting { return d.turns.waiting() }

// New returns a dispatcher. It starts nothing.
func New(c Config) *Dispatcher {
	c.Policy = c.Policy.withDefaults()
	return &Dispatcher{
		Config:    c,
		turns:     newTurnstile(c.Clock, c.Rates, c.Policy),
		reconcile: newReconciler(c.Facts, c.Logger),
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
			l := &lane{d: d, number: number, stop: tenure, calls: calls,
				held: map[domain.Position]*job{}, chains: map[string][]*job{}}
			l.working.Go(l.holdAll)
			return l.take, l.working.Wait
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

// lane is one tenure of a lane of the log in this process.
type lane struct {
	d       *Dispatcher
	number  int
	stop    context.Context // take no more, wait no longer
	calls   context.Context // running calls and their outcomes
	working sync.WaitGroup  // chains that are running

	mu     sync.Mutex
	held   map[domain.Position]*job // everything taken and not done
	chains map[string][]*job        // per number and recipient, in order; the first is being worked
}

// job is one event to act on: a request, or a redrive.
type job struct {
	event    domain.Event
	key      domain.Key
	chain    string
	mu       sync.Mutex
	delivery Delivery // the newest one of this event
}

func (j *job) latest() Delivery {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.delivery
}

// holdAll tells the log that held work goes on.
func (l *lane) holdAll() {
	for l.d.Clock.Sleep(l.stop, l.d.HoldEvery) == nil {
		l.mu.Lock()
		held := make([]*job, 0, len(l.held))
		for _, j := range l.held {
			held = append(held, j)
		}
		l.mu.Unlock()
		for _, j := range held {
			_ = j.latest().Hold() // when it fails the event comes again, and take knows it
		}
	}
}

// take accepts one delivery; it does not block.
func (l *lane) take(v Delivery) {
	switch {
	case v.Err == nil:
	case domain.KindOf(v.Err) == domain.Unavailable: // not now: it comes again after the ack wait
		return
	default:
		l.working.Go(func() { l.reject(v, v.Err) })
		return
	}
	switch v.Event.Type {
	case message.TypeSendRequested, message.TypeSendRedriven:
	default: // outcomes of this very lane: nothing to act on
		l.finish(v)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if j, ok := l.held[v.Event.Position]; ok { // handed out again: the newest handle counts
		j.mu.Lock()
		j.delivery = v
		j.mu.Unlock()
		return
	}
	j := &job{event: v.Event, key: v.Event.Key, chain: chainOf(v.Event), delivery: v}
	l.held[v.Event.Position] = j
	l.chains[j.chain] = append(l.chains[j.chain], j)
	if len(l.chains[j.chain]) == 1 {
		l.working.Add(1)
		go l.work(j)
	}
}

// chainOf names the chain of an event: messages of one number to one person
// are worked in order. A redrive comes long after its neighbours and has no
// place among them.
func chainOf(e domain.Event) string {
	var r message.SendRequested
	if e.Type == message.TypeSendRequested && e.Decode(&r) == nil {
		return string(e.Key.Number) + " " + r.Line(e.Key.ID)
	}
	return "redrive " + e.Key.ID
}

// work works a chain from its first job until it is empty.
func (l *lane) work(j *job) {
	defer l.working.Done()
	for j != nil {
		err := l.d.pursue(l.stop, l.calls, j)
		if err != nil && l.stop.Err() == nil {
			l.d.Logger.Error("dispatch: message cannot be worked", "tenant", j.key.Tenant, "message_id", j.key.ID,
				"position", uint64(j.event.Position), "error_kind", string(domain.KindOf(err)), "error", err.Error())
			err = l.d.abandon(l.stop, l.calls, j)
		}
		switch {
		case err == nil:
			l.finish(j.latest())
		case l.stop.Err() == nil: // not even that: keep it out of the lane's way
			l.reject(j.latest(), err)
		}
		j = l.next(j)
	}
}

func (l *lane) next(done *job) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, done.event.Position)
	rest := l.chains[done.chain][1:]
	if len(rest) == 0 {
		delete(l.chains, done.chain)
		return nil
	}
	l.chains[done.chain] = rest
	if l.stop.Err() != nil { // the rest comes again after the next start
		for _, j := range rest {
			delete(l.held, j.event.Position)
		}
		delete(l.chains, done.chain)
		return nil
	}
	return rest[0]
}

func (l *lane) finish(v Delivery) {
	if err := v.Done(); err != nil {
		l.d.Logger.Debug("dispatch: acknowledgement lost", "position", uint64(v.Event.Position), "error", err.Error())
	}
}

// reject dead-letters what cannot be read, so that its tenant sees it and the
// lane goes on without it. When the log does not take that, it comes again
// after the ack wait.
func (l *lane) reject(v Delivery, cause error) {
	const reason = "unreadable"
	l.d.Logger.Error("dispatch: event cannot be read", "tenant", v.Event.Key.Tenant, "message_id", v.Event.Key.ID,
		"position", uint64(v.Event.Position), "error", cause.Error())
	ctx, cancel := context.WithTimeout(l.calls, domain.AppendTimeout)
	defer cancel()
	if err := l.d.Graveyard.Bury(ctx, v.Event.Key, v.Event.Key.ID+"-"+reason, v.Raw, reason); err != nil {
		return
	}
	e, err := domain.NewEvent(v.Event.Key, l.d.Clock.Now(), actor, &message.SendDeadLettered{Reason: reason})
	if err != nil {
		return
	}
	// A conflict says that the message went on after this event.
	if _, err := l.d.Log.Append(ctx, e, domain.After(v.Event.Position)); err != nil && !errors.Is(err, domain.ErrConflict) {
		return
	}
	l.d.Meter.Add(domain.DeadLettered, 1, reason)
	if err := v.Reject(reason); err != nil {
		l.d.Logger.Debug("dispatch: rejection lost", "position", uint64(v.Event.Position), "error", err.Error())
	}
}
