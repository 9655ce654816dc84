package message

import (
	"context"
	"errors"

	"github.com/sendlog/sendlog/domain"
)

// Redriver asks for dead-lettered messages to be tried again.
type Redriver struct {
	Log   domain.Log
	Clock domain.Clock
}

// Redrive records that a message is to be tried again. It keeps its id and its
// history, and gets a new budget of attempts. A message that is not
// dead-lettered, or that the provider accepted after all, is refused with
// [domain.Taken]: it is never sent a second time this way.
func (r *Redriver) Redrive(ctx context.Context, k domain.Key, by string) error {
	events, err := r.Log.Load(ctx, k)
	if err != nil {
		return err
	}
	s, err := Fold(events)
	switch {
	case err != nil:
		return err
	case s.Last == 0:
		return domain.Errorf(domain.Unknown, nil, "the log no longer holds this message")
	case s.Accepted:
		return domain.Errorf(domain.Taken, nil, "the provider accepted it after all")
	case !s.Dead:
		return domain.Errorf(domain.Taken, nil, "it is not dead-lettered")
	}
	e, err := domain.NewEvent(k, r.Clock.Now(), by, &SendRedriven{By: by})
	if err != nil {
		return err
	}
	e.Correlation = k.ID
	if _, err = r.Log.Append(ctx, e, domain.After(s.Last)); errors.Is(err, domain.ErrConflict) {
		return domain.Errorf(domain.Taken, err, "something happened to it just now")
	}
	return err
}
