package dispatch

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// reaction is what a fact of a webhook makes us do. It happens after the fact
// is in the log and before Meta gets its 200: should it be lost on the way, Meta
// tells the same again. Doing it twice changes nothing.
type reaction func(context.Context) error

// reactions lists what the items of a change make us do, which is nearly always
// nothing.
func (i *Inbox) reactions(t domain.TenantID, c cloudapi.Change) []reaction {
	var out []reaction
	stop := func(b tenant.Block, whole bool) {
		w := tenant.BlockWish{Tenant: t, Number: c.Number, WABA: c.WABA, Account: whole, Block: b, Actor: actor}
		out = append(out, func(ctx context.Context) error { return block(ctx, i.Breaker, i.Logger, w) })
	}
	pace := false
	for _, item := range c.Items {
		switch f := item.Fact.(type) {
		case *message.StatusReceived:
			if f.Status != message.Failed || f.Code == 0 { // 0: it gave no error
				continue
			}
			if b, halted := cloudapi.StatusBlock(f.Code, i.saidAt(f.SaidAt)); halted {
				stop(b, cloudapi.Lookup(f.Code).Halt.Account)
			}
		case *message.InboundReceived:
			pace = pace || f.Echo // a phone app said it
		case *message.AccountNotice:
			effect := cloudapi.ReadNotice(f.Field, f.Raw, i.saidAt(f.SaidAt))
			pace = pace || effect.Coexists
			for _, b := range effect.Blocks {
				stop(b, b.Code != 0 && cloudapi.Lookup(b.Code).Halt.Account)
			}
			if len(effect.Ends) > 0 {
				w := tenant.UnblockWish{Tenant: t, Number: c.Number, WABA: c.WABA, Causes: effect.Ends,
					Told: i.saidAt(f.SaidAt), Reason: "WhatsApp says that the account can send again", Actor: actor}
				out = append(out, func(ctx context.Context) error { return i.Breaker.Unblock(ctx, w) })
			}
			if effect.Upgraded {
				out = append(out, func(ctx context.Context) error { i.Throughput.Learn(ctx, t, c.WABA); return nil })
			}
		}
	}
	if pace && c.Number != "" {
		w := tenant.PaceWish{Tenant: t, Number: c.Number, PerSecond: tenant.CoexistencePace, Learnt: true, Actor: actor}
		out = append(out, func(ctx context.Context) error { _, err := i.Paces.Pace(ctx, w); return err })
	}
	return out
}

// saidAt is when Meta said something, or now when it did not say when, or names
// a time that has not come: news from the future would outweigh all that is
// told until then.
func (i *Inbox) saidAt(at time.Time) time.Time {
	if now := i.Clock.Now(); at.IsZero() || at.After(now) {
		return now
	}
	return at
}
