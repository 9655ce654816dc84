package message

import (
	"context"
	"errors"

	"github.com/sendlog/sendlog/domain"
)

// Proofs finds what the provider said about attempts whose answer was lost.
type Proofs interface {
	// Find returns the first status of a message recorded after a position, of
	// those that are in the log when it is called. An error means that nobody
	// knows: then nothing may be sent.
	Find(ctx context.Context, k domain.Key, after domain.Position) (StatusReceived, bool, error)
}

// Redriver asks for dead-lettered messages to be tried again.
type Redriver struct {
	Clock  domain.Clock
	Log    domain.Log
	Proofs Proofs
}

// Redrive records that a message is to be tried again, as part of a batch. It
// keeps its id and its history, and gets a new budget of attempts. A message
// that is not dead-lettered, whose time is over, or that the provider accepted
// after all, is refused with [domain.Taken]: what the log proves to be sent is
// not sent a second time. One whose request is no longer at hand is refused with
// [domain.Unknown]. Asked twice, it is recorded once.
func (r *Redriver) Redrive(ctx context.Context, k domain.Key, by, batch string) error {
	proof, last, err := r.look(ctx, k)
	if err != nil {
		return err
	}
	var f domain.Fact = &SendRedriven{By: by, Batch: batch}
	if proof != nil {
		f = proof
	}
	e, err := domain.NewEvent(k, r.Clock.Now(), by, f)
	if err != nil {
		return err
	}
	e.Correlation = k.ID
	switch _, err = r.Log.Append(ctx, e, domain.After(last)); {
	case errors.Is(err, domain.ErrConflict):
		return domain.Errorf(domain.Taken, nil, "something happened to it just now")
	case err == nil && proof != nil:
		return errAccepted()
	}
	return err
}

// Check returns the error [Redriver.Redrive] would return now, and records
// nothing.
func (r *Redriver) Check(ctx context.Context, k domain.Key) error {
	proof, _, err := r.look(ctx, k)
	if err == nil && proof != nil {
		return errAccepted()
	}
	return err
}

// look returns why a message must not be tried again, or nil. What the provider
// is found to have accepted comes as the acceptance to record instead. last is
// the newest event of the message.
func (r *Redriver) look(ctx context.Context, k domain.Key) (proof *SendAccepted, last domain.Position, err error) {
	events, err := r.Log.Load(ctx, k)
	if err != nil {
		return nil, 0, err
	}
	s, err := Fold(events)
	switch {
	case err != nil:
		return nil, 0, err
	case s.Last == 0, s.Headless:
		return nil, 0, domain.Errorf(domain.Unknown, nil, "its request has left the hot log (LOG_HOT), so it can no longer be tried again; send it as a new message")
	case s.Accepted:
		return nil, 0, errAccepted()
	case !s.Dead:
		return nil, 0, domain.Errorf(domain.Taken, nil, "it is not dead-lettered")
	}
	if since, doubtful := s.DoubtfulSince(); doubtful {
		status, proven, err := r.Proofs.Find(ctx, k, since)
		if err != nil {
			return nil, 0, err
		}
		if proven {
			return status.Proof(), s.Last, nil
		}
	}
	if over := s.Request.ExpiresAt; !over.IsZero() && !over.After(r.Clock.Now()) {
		return nil, 0, domain.Errorf(domain.Taken, nil, "its time (expires_at) is over, so it would not be sent")
	}
	return nil, s.Last, nil
}

func errAccepted() error {
	return domain.Errorf(domain.Taken, nil, "the provider accepted it after all")
}

// Proof is the acceptance that a status proves: the provider reports only on
// what it took.
func (e *StatusReceived) Proof() *SendAccepted {
	return &SendAccepted{Attempt: e.Attempt, Via: "status",
		AcceptNames: AcceptNames{Wamid: e.Wamid, WaID: e.Person.Phone}}
}
