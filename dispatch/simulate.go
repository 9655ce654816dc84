package dispatch

import (
	"context"
	"log/slog"
	"strings"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain/tenant"
)

// Providers calls Meta, and answers calls under a mock_ token in process.
type Providers struct {
	Inbox  *Inbox
	Logger *slog.Logger
	Meta   Provider
}

// Send implements [Provider].
//
// A simulated send is received by nobody; its statuses take the way of real
// webhooks, before the answer is returned, so that a process that dies in
// between finds them when it reconciles.
func (p *Providers) Send(ctx context.Context, c cloudapi.Call) cloudapi.Outcome {
	if !strings.HasPrefix(c.Token, tenant.MockPrefix) {
		return p.Meta.Send(ctx, c)
	}
	o := cloudapi.Simulate(c)
	statuses := cloudapi.SimulatedStatuses(c, o, p.Inbox.Clock.Now())
	if statuses == nil {
		return o
	}
	if err := p.Inbox.Receive(ctx, statuses); err != nil {
		p.Logger.Warn("dispatch: simulated statuses not recorded", "tenant", c.Tenant, "message_id", c.Message, "error", err.Error())
		return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "the simulated provider could not report"}
	}
	return o
}
