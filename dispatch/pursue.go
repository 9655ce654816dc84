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
}

// pursue brings one message as far as it goes. It returns nil when nothing is
// left to do, and the stop context's error when it was interrupted.
func (d *Dispatcher) pursue(stop, calls context.Context, j *job) error {
	p := &pursuit{d: d, job: j, key: j.key, stop: stop, calls: calls}
	if err := p.begin(); err != nil {
		return err
	}
	for stop.Err() == nil {
		done, err := p.step()
		switch {
		case done:
			return nil
		case err == nil:
		case stop.Err() != nil:
			return stop.Err()
		case errors.Is(err, domain.ErrConflict):
			d.Meter.Add(domain.FenceLost, 1)
			err = p.load()
			if err == nil {
				continue
			}
			fallthrough
		case domain.KindOf(err) == domain.Unavailable:
			if err := d.Clock.Sleep(stop, logRetry); err != nil {
				return err
			}
		default:
			return p.abandon(err)
		}
	}
	return stop.Err()
}

// abandon dead-letters a message that this build cannot work, so that its
// tenant sees it and an operator can redrive it once the cause is mended.
func (p *pursuit) abandon(cause error) error {
	p.d.Logger.Error("dispatch: message cannot be worked", "tenant", p.key.Tenant, "message_id", p.key.ID,
		"position", uint64(p.job.event.Position), "error_kind", string(domain.KindOf(cause)), "error", cause.Error())
	if err := p.load(); err != nil {
		return err
	}
	return p.giveUp(message.Step{Do: message.GiveUp, Reason: "undeliverable"})
}

// begin guesses that a request is untouched, which is nearly always so and
// costs no read; the fence finds out when it is not.
func (p *pursuit) begin() error {
	if p.job.event.Type == message.TypeSendRequested {
		return p.state.Apply(p.job.event)
	}
	for {
		err := p.load()
		if err == nil || domain.KindOf(err) != domain.Unavailable {
			return err
		}
		if err := p.d.Clock.Sleep(p.stop, logRetry); err != nil {
			return err
		}
	}
}

// load folds the message from the log.
func (p *pursuit) load() error {
	ctx, cancel := context.WithTimeout(p.calls, domain.AppendTimeout)
	defer cancel()
	events, err := p.d.Log.Load(ctx, p.key)
	if err != nil {
		return err
	}
	p.state, err = message.Fold(events)
	return err
}

// step does the next thing the recorded facts ask for.
func (p *pursuit) step() (done bool, err error) {
	next := p.state.Next(p.d.Policy.MaxAttempts, p.d.Policy.UnknownWait)
	switch next.Do {
	case message.Nothing:
		return true, nil
	case message.Doubt:
		// Whoever opened this attempt is not us: we record outcomes ourselves.
		return false, p.append(p.stop, &message.OutcomeUnknown{Attempt: next.Attempt, Reason: "the process that called ended"})
	case message.GiveUp:
		return false, p.giveUp(next)
	case message.Attempt:
		return false, p.attempt(next)
	}
	return false, domain.Errorf(domain.Bug, nil, "no such step %d", next.Do)
}

// attempt waits until the attempt is due, records it, calls, and records what
// came of it.
func (p *pursuit) attempt(next message.Step) error {
	if settled, err := p.wait(next); settled || err != nil {
		return err
	}
	token, err := p.d.Tokens.Token(p.key.Number)
	if err != nil {
		return err
	}
	select {
	case p.d.calls <- struct{}{}:
		defer func() { <-p.d.calls }()
	case <-p.stop.Done():
		return p.stop.Err()
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
		To: p.state.Request.To, Content: p.state.Request.Content,
		Message: domain.MessageID(p.key.ID), Attempt: next.Attempt,
	})
	p.d.Meter.Observe(domain.AttemptSeconds, p.d.Clock.Now().Sub(start).Seconds())
	return p.conclude(p.outcome(next.Attempt, outcome))
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
			Retry: o.Retry, TraceID: o.TraceID, Provider: message.Provider{Raw: o.Raw}}
		if f.Retry {
			f.Wait = p.d.Policy.wait(p.state.Budget, o.Wait)
		}
		return f
	default:
		return &message.OutcomeUnknown{Attempt: n, Reason: o.Detail}
	}
}

// conclude records an outcome we know. It does not let go before the log has
// it, or the drain is over: a lost outcome would be an unknown one.
func (p *pursuit) conclude(f domain.Fact) error {
	for {
		err := p.append(p.calls, f)
		if errors.Is(err, domain.ErrConflict) {
			// Somebody doubted this attempt, or a status proved it. Our
			// knowledge is newer than a doubt and no contradiction to a proof.
			if err = p.load(); err == nil {
				continue
			}
		}
		if err == nil || domain.KindOf(err) != domain.Unavailable {
			return err
		}
		if err := p.d.Clock.Sleep(p.calls, logRetry); err != nil {
			return err
		}
	}
}

// giveUp keeps a copy of the message and ends it.
func (p *pursuit) giveUp(next message.Step) error {
	if settled, err := p.wait(next); settled || err != nil {
		return err
	}
	f := &message.SendDeadLettered{Attempts: p.state.Attempt, Reason: next.Reason}
	if r := p.state.Refused; r != nil {
		f.Code, f.Detail = r.Code, r.Reason
	}
	if err := p.d.Graveyard.Bury(p.calls, p.key, p.key.ID, p.job.latest().Raw, next.Reason); err != nil {
		return err
	}
	if err := p.append(p.stop, f); err != nil {
		return err
	}
	p.d.Meter.Add(domain.DeadLettered, 1, next.Reason)
	return nil
}

// wait waits until a step is due. While an outcome is unknown it listens for a
// status that proves it; settled then says that there is a new state to look at.
func (p *pursuit) wait(next message.Step) (settled bool, err error) {
	due := next.NotBefore.Sub(p.d.Clock.Now())
	if due <= 0 {
		return false, nil
	}
	if !p.state.Unknown {
		return false, p.d.Clock.Sleep(p.stop, due)
	}
	ctx, cancel := context.WithCancel(p.stop)
	defer cancel()
	proof := p.d.reconcile.watch(ctx, p.key, p.state.Since)
	go func() {
		defer cancel()
		_ = p.d.Clock.Sleep(ctx, due) // either way the wait is over
	}()
	select {
	case status := <-proof:
		return true, p.append(p.stop, &message.SendAccepted{Attempt: status.Attempt, Via: "status",
			AcceptNames: message.AcceptNames{Wamid: status.Wamid, WaID: status.Person.Phone}})
	case <-ctx.Done():
		return false, p.stop.Err()
	}
}

// append records a fact after the last event this worker has seen, and folds
// it.
func (p *pursuit) append(ctx context.Context, f domain.Fact) error {
	e, err := domain.NewEvent(p.key, p.d.Clock.Now(), actor, f)
	if err != nil {
		return err
	}
	e.Causation, e.Correlation, e.Trace = p.job.event.ID, p.key.ID, p.job.event.Trace
	if e.Position, err = p.d.Log.Append(ctx, e, domain.After(p.state.Last)); err != nil {
		return fmt.Errorf("record %s: %w", e.Type, err)
	}
	return p.state.Apply(e)
}
