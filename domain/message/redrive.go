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

// Redrive records that a message is to be tried again. It keeps its id and its
// history, and gets a new budget of attempts. A message that is not
// dead-lettered, or that the provider accepted after all, is refused with
// [domain.Taken]: what the log proves to be sent is not sent a second time. One
// whose request is no longer at hand is refused with [domain.Unknown].
func (r *Redriver) Redrive(ctx context.Context, k domain.Key, by string) error {
	events, err := r.Log.Load(ctx, k)
	if err != nil {
		return err
	}
	s, err := Fold(events)
	switch {
	case err != nil:
		return err
	case s.Last == 0, s.Headless:
		return domain.Errorf(domain.Unknown, nil, "its request has left the hot log (LOG_HOT), so it can no longer be tried again; send it as a new message")
	case s.Accepted:
		return errAccepted()
	case !s.Dead:
		return domain.Errorf(domain.Taken, nil, "it is not dead-lettered")
	}
	var f domain.Fact = &SendRedriven{By: by}
	if since, doubtful := s.DoubtfulSince(); doubtful {
		status, proven, err := r.Proofs.Find(ctx, k, since)
		if err != nil {
			return err
		}
		if proven {
			f = status.Proof()
		}
	}
	e, err := domain.NewEvent(k, r.Clock.Now(), by, f)
	if err != nil {
		return err
	}
	e.Correlation = k.ID
	switch _, err = r.Log.Append(ctx, e, domain.After(s.Last)); {
	case errors.Is(err, domain.ErrConflict):
		return domain.Errorf(domain.Taken, err, "something happened to it just now")
	case err == nil && e.Type == TypeSendAccepted:
		return errAccepted()
	}
	return err
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
