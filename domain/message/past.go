package message

import (
	"context"

	"github.com/sendlog/sendlog/domain"
)

// Past knows the requests that the log may no longer have at hand.
type Past interface {
	// Find returns the request that a message id stands for, and false when it
	// knows none. It is asked before every keyed request is recorded, so it
	// answers quickly or not at all: an error means that nobody can say now,
	// and the log alone decides.
	Find(ctx context.Context, t domain.TenantID, id domain.MessageID) (PastRequest, bool, error)
}

// PastRequest is what is remembered of a request.
type PastRequest struct {
	Number      domain.NumberID
	Fingerprint string          // empty when the request itself is forgotten, and only what followed is known
	Position    domain.Position // of the request
	Warnings    []Warning       // told when it was accepted
	Fate        Fate
}

// Fate is what a message's own events tell of how it ended.
type Fate struct {
	Last     domain.Position // of the newest of them; 0 when there are none
	Accepted bool
	Dead     bool
	Ended    string // [Cancelled] or [Expired], or empty
	Certain  bool   // nothing was sent: every attempt was refused
}

// Fate is what the folded events tell.
func (s *State) Fate() Fate {
	return Fate{Last: s.Last, Accepted: s.Accepted, Dead: s.Dead, Ended: s.Ended, Certain: s.Certain()}
}

// remember asks the past about a keyed request. A past that cannot answer is
// passed over: refusing everybody because of those who repeat an old key would
// be worse, and the log still knows every key that it has at hand.
func (a *Accepter) remember(ctx context.Context, r Request) (*PastRequest, error) {
	if a.Past == nil || r.IdempotencyKey == "" || !validKey(r.IdempotencyKey) {
		return nil, nil
	}
	past, found, err := a.Past.Find(ctx, r.Tenant, domain.OutgoingID(r.Tenant, r.IdempotencyKey))
	switch {
	case ctx.Err() != nil:
		return nil, domain.Errorf(domain.Unavailable, ctx.Err(), "the request was not looked up in time; try again with the same idempotency key")
	case err != nil:
		a.Meter.Add(domain.PastUnknown, 1)
		return nil, nil
	case !found:
		return nil, nil
	}
	return &past, nil
}

// replay answers a request whose key was used before: from the log as long as
// it has the first request at hand, because what it shows is durable, and
// otherwise from the past.
func (a *Accepter) replay(ctx context.Context, key domain.Key, id domain.MessageID, fingerprint string, past *PastRequest) (Receipt, error) {
	events, err := a.Log.Load(ctx, key)
	if err != nil {
		return Receipt{}, err
	}
	first := past
	if len(events) > 0 && events[0].Type == TypeSendRequested {
		var f SendRequested
		if err := events[0].Decode(&f); err != nil {
			return Receipt{}, err
		}
		first = &PastRequest{Fingerprint: f.Fingerprint, Position: events[0].Position, Warnings: f.Warnings}
	}
	switch {
	case first == nil && len(events) == 0:
		return Receipt{}, domain.Errorf(domain.Unavailable, nil, "the log answered that this key exists, but does not show it; try again")
	case first == nil:
		return Receipt{}, domain.Errorf(domain.Unavailable, nil,
			"this idempotency key was used long ago, and what for cannot be looked up at the moment; try again")
	case first.Fingerprint == "":
		return Receipt{}, domain.Errorf(domain.KeyReused, nil,
			"this idempotency key was used long ago, and what for is no longer known; use a new key")
	case first.Fingerprint != fingerprint:
		return Receipt{}, domain.Errorf(domain.KeyReused, nil,
			"this idempotency key was used for a different request; use a new key, or repeat the first request exactly")
	}
	a.Meter.Add(domain.SendsReplayed, 1)
	return Receipt{ID: id, Position: first.Position, Replayed: true, Warnings: first.Warnings}, nil
}
