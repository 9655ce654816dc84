package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Inbox turns the provider's webhooks into facts.
type Inbox struct {
	Breaker    Breaker
	Clock      domain.Clock
	Logger     *slog.Logger
	Meter      domain.Meter
	Owners     Owners
	Paces      Paces
	Quarantine Quarantine
	Recorder   Recorder
	Throughput Throughput
}

// Why a payload is in quarantine.
const (
	unknownNumber  = "unknown_number"  // metadata.phone_number_id is nobody's
	unknownAccount = "unknown_account" // no number given, and the account is nobody's
	unknownShape   = "unknown_shape"   // JSON, but no webhook we know
	tooLarge       = "too_large"       // one item does not fit the log
)

// Receive records every change of a webhook body under its tenant, or keeps
// it in quarantine. When it returns nil nothing of the body can be lost, and
// receiving the same body again changes nothing.
//
// It returns [domain.Malformed] for bytes that are not JSON, and
// [domain.Unavailable] when the log did not confirm in time; the provider
// then sends the whole body again.
func (i *Inbox) Receive(ctx context.Context, body []byte) error {
	delivery, err := cloudapi.ParseWebhook(body)
	if err != nil {
		if !json.Valid(body) {
			return err
		}
		return i.keep(ctx, unknownShape, body)
	}
	var events []domain.Event
	var reactions []reaction
	for _, c := range delivery.Changes {
		tenant, reason := i.route(c)
		if reason != "" {
			if err := i.keepChange(ctx, reason, c); err != nil {
				return err
			}
			continue
		}
		facts, err := i.facts(ctx, tenant, c)
		if err != nil {
			return err
		}
		events = append(events, facts...)
		for _, t := range i.concerned(tenant, c) {
			reactions = append(reactions, i.reactions(t, c)...)
		}
	}
	if err := i.Recorder.Record(ctx, events); err != nil {
		return err
	}
	for _, react := range reactions {
		if err := react(ctx); err != nil {
			return err
		}
	}
	return nil
}

// route finds the tenant of a change: by number, or by account when no number
// is given (REFERENCE section 4.5). A number nobody registered is nobody's,
// even inside a known account. News of an account that several tenants have
// numbers in are recorded with the first of them.
func (i *Inbox) route(c cloudapi.Change) (t domain.TenantID, reason string) {
	if c.Number != "" {
		if t, ok := i.Owners.Owner(c.Number); ok {
			return t, ""
		}
		return "", unknownNumber
	}
	if owners := i.Owners.OwnersOfAccount(c.WABA); len(owners) > 0 {
		return owners[0], ""
	}
	return "", unknownAccount
}

// concerned returns whose sending a change may stop or let go on: what is said
// of an account counts for everybody who has numbers in it, and what is said of
// a number for its tenant.
func (i *Inbox) concerned(t domain.TenantID, c cloudapi.Change) []domain.TenantID {
	if c.Number != "" {
		return []domain.TenantID{t}
	}
	return i.Owners.OwnersOfAccount(c.WABA)
}

// facts makes the events of one change. An item too large for the log sends
// the whole change to quarantine as well.
func (i *Inbox) facts(ctx context.Context, t domain.TenantID, c cloudapi.Change) ([]domain.Event, error) {
	events := make([]domain.Event, 0, len(c.Items))
	kept := false
	for _, item := range c.Items {
		e, err := domain.NewEvent(keyOf(t, c, item), i.Clock.Now(), "meta", item.Fact)
		if err != nil {
			return nil, err
		}
		e.ID = domain.FactID(string(t), string(item.ID))
		if len(e.Facts)+len(e.Personal) > maxItem {
			if kept {
				continue
			}
			if err := i.keepChange(ctx, tooLarge, c); err != nil {
				return nil, err
			}
			kept = true
			continue
		}
		i.Meter.Add(domain.WebhookFacts, 1, string(e.Key.Kind))
		events = append(events, e)
	}
	return events, nil
}

// maxItem bounds the JSON of one fact (bytes): sealed and in base64 it must
// stay below [domain.MaxEvent].
const maxItem = domain.MaxEvent * 3 / 4 * 9 / 10

// keyOf names the aggregate of an item. Opaque data that names another
// tenant's message is not believed.
func keyOf(t domain.TenantID, c cloudapi.Change, item cloudapi.Item) domain.Key {
	n := c.Number
	switch f := item.Fact.(type) {
	case *message.InboundReceived:
		return message.InboundKey(t, n, f.Message)
	case *message.StatusReceived:
		if item.OpaqueTenant != t {
			f.Message, f.Attempt = "", 0
		}
		return message.StatusKey(t, n)
	case *message.AccountNotice:
		f.Entry = c.Entry
	}
	return message.AccountKey(t, n)
}

// keepChange keeps one change as a webhook body of its own, so that what is
// in quarantine can be received again once its owner is known.
func (i *Inbox) keepChange(ctx context.Context, reason string, c cloudapi.Change) error {
	entry := map[string]any{"id": c.Entry, "changes": []json.RawMessage{c.Raw}}
	if !c.Time.IsZero() {
		entry["time"] = c.Time.Unix()
	}
	body, err := json.Marshal(map[string]any{"object": "whatsapp_business_account", "entry": []any{entry}})
	if err != nil {
		return fmt.Errorf("wrap a change for quarantine: %w", err)
	}
	return i.keep(ctx, reason, body)
}

func (i *Inbox) keep(ctx context.Context, reason string, payload []byte) error {
	i.Logger.Warn("dispatch: webhook kept in quarantine", "reason", reason, "bytes", len(payload))
	return i.Quarantine.Keep(ctx, reason, payload, i.Clock.Now())
}
