package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

func (p *pursuit) template() bool { return p.state.Request.Type == message.Template }

// errAside says that a template waits for nothing but a block of templates.
var errAside = errors.New("templates are restricted")

// awaitGate returns when the number is open, when the time of the message is
// over, or when it is time to stop; or [errAside].
func (p *pursuit) awaitGate() error {
	n, template := p.key.Number, p.template()
	if template && !p.job.stays {
		if p.d.Gate.Open(n, false) && !p.d.Gate.Open(n, true) {
			return errAside
		}
		template = false // what else holds it may end before
	}
	ctx, cancel := context.WithCancel(p.stop)
	defer cancel()
	if over := p.state.Request.ExpiresAt; !over.IsZero() {
		go func() {
			defer cancel()
			_ = p.d.Clock.Sleep(ctx, over.Sub(p.d.Clock.Now())) // either way the wait is over
		}()
	}
	_ = p.d.Gate.Pass(ctx, n, template) // what is due now, the next step decides
	return p.stop.Err()
}

// held reports whether the message waits for its account. What is refused for a
// block that does not hold it back would be tried for ever: it ends.
func (p *pursuit) held(o cloudapi.Outcome) bool {
	return o.Hold && (p.template() || o.Halt.Cause != tenant.ByTemplates)
}

// halt closes the gate of a number as soon as an answer says that its account
// cannot send: at once, while the outcome is being recorded, because others of
// the number would call meanwhile. The function it returns waits until the gate
// is closed, and must be called before the message goes on.
//
// What is said of a token that was replaced during the call says nothing of the
// new one: the next call finds out.
func (p *pursuit) halt(called time.Time, token string, o cloudapi.Outcome) (halted func() error) {
	if o.Halt.Cause == "" {
		return func() error { return nil }
	}
	if now, err := p.d.Tokens.Token(p.key.Number); err == nil && now != token {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		done <- p.persist(p.calls, func() error {
			return block(p.calls, p.d.Breaker, p.d.Logger, tenant.BlockWish{
				Tenant: p.key.Tenant, Number: p.key.Number, Account: o.Halt.Account,
				Block: o.Halt.Block(o.Code, o.Reason, called), Actor: actor,
			})
		})
	}()
	return func() error { return <-done }
}

// block stops numbers, whoever said why, and says in the log which.
func block(ctx context.Context, by Breaker, log *slog.Logger, w tenant.BlockWish) error {
	stopped, err := by.Block(ctx, w)
	for _, n := range stopped {
		log.Warn("dispatch: number stopped", "tenant", w.Tenant, "number_id", n, "code", w.Block.Code, "event", w.Block.Event, "reason", string(w.Block.Cause))
	}
	return err
}
