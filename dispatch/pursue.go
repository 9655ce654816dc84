package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// actor names this room in events.
const actor = "dispatch"

// logRetry is the pause before asking a log again that did not answer.
const logRetry = 500 * time.Millisecond

// pursuit is one worker's view of one message. Its state is a guess until an
// append that expects it succeeds; a conflict loads the truth.
type pursuit struct {
	d     *Dispatcher
	job   *job
	key   domain.Key
	stop  context.Context // ends waiting
	calls context.Context // ends calls and the recording of their outcomes
	state message.State
	first bool // the log has nothing of it at hand any more: only its copy says what it is
}

// pursue brings one message as far as it goes. It returns nil when nothing is
// left to do, and the stop context's error when it was interrupted; then the
// message comes again. Any other error means that this build cannot work it.
func (d *Dispatcher) pursue(stop, calls context.Context, j *job) (err error) {
	defer poisoned(&err)
	if j.latest().Deliveries > mostDeliveries {
		return errPoison
	}
	p := &pursuit{d: d, job: j, key: j.key, stop: stop, calls: calls}
	err = p.begin()
	for err == nil && stop.Err() == nil {
		var done bool
		if done, err = p.step(); done {
			return nil
		}
		if errors.Is(err, domain.ErrConflict) {
			d.Meter.Add(domain.FenceLost, 1)
			err = p.load(stop)
		}
	}
	if stop.Err() != nil {
		return stop.Err()
	}
	return err
}

// mostDeliveries is how often a message may be handed out in one tenure. It is
// the last resort: one that is worked is held, and one that waits for a key or a
// log comes once a minute, so it is reached after the better part of a day.
const mostDeliveries = 1000

// errPoison says that a message cannot be worked and does harm: working it made
// this build panic, or it was handed out time and again and nobody ever came to
// an end with it.
var errPoison = errors.New("working it panicked, or never ended")

// poisoned turns a panic into an error: one message must not take the process
// with it.
func poisoned(err *error) {
	if r := recover(); r != nil {
		*err = errPoison // what it says may be personal
	}
}

// begin guesses that a request that is handed out for the first time is
// untouched, which is nearly always so and costs no read; the fence finds out
// when it is not. Any other may be long done, and must not take a turn to find
// out.
func (p *pursuit) begin() error {
	v := p.job.latest()
	if p.job.event.Type == message.TypeSendRequested && v.Deliveries <= 1 && !p.job.owed && !v.Due {
		return p.state.Apply(p.job.event)
	}
	return p.load(p.stop)
}

// load folds the message from the log, asking until the log answers.
func (p *pursuit) load(ctx context.Context) error {
	return p.persist(ctx, func() error {
		events, err := p.d.lookUp(ctx, p.key)
		if err != nil {
			return err
		}
		p.first = false
		if p.job.latest().Due && (len(events) == 0 || events[0].Type != message.TypeSendRequested) {
			p.first = len(events) == 0
			events = append([]domain.Event{p.job.event}, events...)
		}
		p.state, err = message.Fold(events)
		return err
	})
}

// persist asks the log until it answers: that it is away is no answer and no
// outcome. It returns the context's error when that ends first.
func (p *pursuit) persist(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if err == nil || domain.KindOf(err) != domain.Unavailable {
			return err
		}
		if err := p.d.Clock.Sleep(ctx, logRetry); err != nil {
			return err
		}
	}
}

// append records a fact after the last event this worker has seen, and folds
// it. Asking again repeats the identical append, so that it is recorded once
// even when the answer to the first try was lost.
func (p *pursuit) append(ctx context.Context, f domain.Fact) error {
	e, err := domain.NewEvent(p.key, p.d.Clock.Now(), actor, f)
	if err != nil {
		return err
	}
	e.Causation, e.Correlation, e.Trace = p.job.event.ID, p.key.ID, p.job.event.Trace
	x := domain.After(p.state.Last)
	if p.first {
		x = domain.First()
	}
	err = p.persist(ctx, func() (err error) {
		e.Position, err = p.d.Log.Append(ctx, e, x)
		return err
	})
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Type, err)
	}
	p.first = false
	return p.state.Apply(e)
}

// next decides by the recorded facts, for now.
func (p *pursuit) next() message.Step {
	return p.state.Next(p.d.Policy.rules(p.d.Settings.Sending(p.key.Tenant)), p.d.Clock.Now())
}

// step does the next thing the recorded facts ask for.
func (p *pursuit) step() (done bool, err error) {
	next := p.next()
	if next.Do == message.Nothing {
		return true, nil
	}
	if e := p.leaves(next); e != nil {
		return false, e
	}
	if since, doubtful := p.state.DoubtfulSince(); doubtful {
		proven, err := p.reconcile(since, next)
		if proven || err != nil {
			return false, err
		}
	} else if err := p.d.Clock.Sleep(p.stop, next.NotBefore.Sub(p.d.Clock.Now())); err != nil {
		return false, err
	}
	if next.Do == message.Attempt && !p.d.Gate.Open(p.key.Number, p.template()) {
		// However long the pause was, what is due is decided after it: a status
		// may have proven the attempt before.
		if e := p.leavesGate(); e != nil {
			return false, e
		}
		return false, p.awaitGate()
	}
	switch next.Do {
	case message.Doubt:
		return false, p.append(p.stop, &message.OutcomeUnknown{Attempt: next.Attempt, Reason: "no outcome was recorded"})
	case message.GiveUp:
		return false, p.giveUp(next)
	case message.Expire:
		return false, p.append(p.stop, &message.SendExpired{Attempts: p.state.Attempt})
	case message.Attempt:
		return false, p.attempt(next)
	}
	return false, domain.Errorf(domain.Bug, nil, "no such step %d", next.Do)
}

// reconcile waits until a step is due, and records a proof as soon as the
// provider reports on an attempt whose outcome nobody knows. It returns false
// only after it has looked at every status in the log.
func (p *pursuit) reconcile(since domain.Position, next message.Step) (proven bool, err error) {
	q := p.d.reconcile.ask(p.key, since)
	defer q.close()
	ctx, cancel := context.WithCancel(p.stop)
	defer cancel()
	go func() {
		defer cancel()
		_ = p.d.Clock.Sleep(ctx, next.NotBefore.Sub(p.d.Clock.Now())) // either way the wait is over
	}()
	status, proven := q.wait(ctx)
	if p.stop.Err() != nil {
		return false, p.stop.Err()
	}
	if !proven {
		err := p.persist(p.stop, func() (err error) {
			status, proven, err = q.settle(p.stop)
			return err
		})
		if err != nil || !proven {
			return false, err
		}
	}
	return true, p.append(p.stop, status.Proof())
}

// attempt records an attempt, calls, and records what came of it.
func (p *pursuit) attempt(next message.Step) error {
	turn := claim{tenant: p.key.Tenant, number: p.key.Number, to: p.state.Request.Line(p.key.ID), bulk: p.state.Bulk()}
	done, err := p.d.turns.wait(p.stop, turn)
	if err != nil {
		return err
	}
	defer done()
	// The wait may have been long: what is due is decided again.
	if !p.d.Gate.Open(p.key.Number, p.template()) || p.next().Do != message.Attempt {
		return nil
	}
	token, err := p.d.Tokens.Token(p.key.Number) // not before the wait, in which a dead one may have been replaced
	if err != nil {
		return err
	}
	if err := p.append(p.stop, &message.SendAttempted{Attempt: next.Attempt, After: next.After}); err != nil {
		return err
	}
	start := p.d.Clock.Now()
	if next.Attempt == 1 {
		p.d.Meter.Observe(domain.AcceptToCall, start.Sub(p.state.RequestedAt).Seconds())
	}
	outcome := p.d.Provider.Send(p.calls, cloudapi.Call{
		Tenant: p.key.Tenant, Number: p.key.Number, Token: token,
		To: p.state.Request.To, Group: p.state.Request.Group, Content: p.state.Request.Content,
		Message: domain.MessageID(p.key.ID), Attempt: next.Attempt,
	})
	p.d.Meter.Observe(domain.AttemptSeconds, p.d.Clock.Now().Sub(start).Seconds())
	if p.d.turns.heed(turn, outcome.Brake, outcome.Wait) {
		p.d.Logger.Warn("dispatch: a number rests", "tenant", p.key.Tenant, "number_id", p.key.Number, "code", outcome.Code,
			"reason", outcome.Reason, "seconds", outcome.Wait.Seconds(), "slower", outcome.Brake == cloudapi.BrakeNumber)
	}
	halted := p.halt(start, token, outcome)
	return errors.Join(p.conclude(next.Attempt, outcome), halted())
}

// conclude records an outcome we know. It does not let go before the log has
// it, or the drain is over: a lost outcome would be an unknown one.
func (p *pursuit) conclude(n int, o cloudapi.Outcome) error {
	f := p.outcome(n, o)
	for {
		err := p.append(p.calls, f)
		if !errors.Is(err, domain.ErrConflict) {
			return err
		}
		// Somebody doubted this attempt, or a status proved it. Our knowledge
		// is newer than a doubt and no contradiction to a proof.
		if err := p.load(p.calls); err != nil {
			return err
		}
	}
}

// outcome puts the provider's answer into a fact.
func (p *pursuit) outcome(n int, o cloudapi.Outcome) domain.Fact {
	p.d.Meter.Add(domain.AttemptsConcluded, 1, string(o.Kind))
	switch o.Kind {
	case cloudapi.Accepted:
		return &message.SendAccepted{Attempt: n, Via: "answer", State: o.State,
			AcceptNames: message.AcceptNames{Wamid: o.Wamid, WaID: o.WaID}}
	case cloudapi.Refused:
		f := &message.SendRefused{Attempt: n, Code: o.Code, Class: string(o.Class), Reason: o.Reason,
			Retry: o.Retry, Hold: p.held(o), TraceID: o.TraceID, Provider: message.Provider{Raw: o.Raw, Details: o.Details}}
		if f.Retry || f.Hold {
			f.Wait = p.d.Policy.wait(p.state.Budget, o)
		}
		return f
	default:
		return &message.OutcomeUnknown{Attempt: n, Reason: o.Detail, Code: o.Code}
	}
}

// giveUp keeps a copy of the message and ends it.
func (p *pursuit) giveUp(next message.Step) error {
	f := &message.SendDeadLettered{Attempts: p.state.Attempt, Reason: next.Reason}
	if r := p.state.Refused; r != nil {
		f.Code, f.Detail = r.Code, r.Reason
	} else if next.Reason == message.ReasonUnknown {
		f.Code, f.Detail = p.state.Doubt.Code, p.state.Doubt.Words()
	}
	err := p.persist(p.stop, func() error {
		return p.d.Graveyard.Bury(p.stop, p.key, p.key.ID, p.job.latest().Raw, next.Reason)
	})
	if err != nil {
		return err
	}
	if err := p.append(p.stop, f); err != nil {
		return err
	}
	p.d.Meter.Add(domain.DeadLettered, 1, next.Reason)
	p.d.Logger.Warn("dispatch: message dead-lettered", "tenant", p.key.Tenant, "message_id", p.key.ID,
		"attempt", f.Attempts, "reason", f.Reason, "code", f.Code)
	return nil
}

// abandon dead-letters a message that this build cannot work, so that its
// tenant sees it and an operator can redrive it once the cause is mended. It
// leaves alone what is finished, and what may have been sent.
func (d *Dispatcher) abandon(stop, calls context.Context, j *job, cause error) (err error) {
	defer poisoned(&err)
	p := &pursuit{d: d, job: j, key: j.key, stop: stop, calls: calls}
	reason := message.ReasonUndeliverable
	if errors.Is(cause, errPoison) {
		reason = message.ReasonPoison
	}
	for {
		if err := p.load(stop); err != nil {
			return err
		}
		next := p.next()
		switch {
		case next.Do == message.Nothing:
			return nil
		case next.Do == message.Doubt:
			err = p.append(stop, &message.OutcomeUnknown{Attempt: next.Attempt, Reason: "no outcome was recorded"})
		default:
			err = p.giveUp(message.Step{Do: message.GiveUp, Reason: reason})
		}
		if err != nil && !errors.Is(err, domain.ErrConflict) {
			return err
		}
	}
}
