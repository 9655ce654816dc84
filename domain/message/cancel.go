package message

import (
	"context"
	"errors"

	"github.com/sendlog/sendlog/domain"
)

// Canceller takes requests back.
type Canceller struct {
	Clock  domain.Clock
	Log    domain.Log
	Past   Past // nil when the log keeps every request for ever
	Proofs Proofs
}

// Cancellation says what became of the wish to take a request back.
type Cancellation struct {
	// Certain says that the message was not sent and will not be. Otherwise an
	// attempt has no outcome: it may have been sent, but no further attempt
	// follows.
	Certain  bool
	Position domain.Position // of the cancellation, or of an earlier one
}

// Cancel records that no further attempt may be made. It competes with the
// fence: whichever of the two is recorded first has won, and the other sees
// it. Cancelling again answers the same, also when the message has left the
// log since.
//
// It returns [domain.Taken] when it is too late: the provider accepted the
// message, or it has ended in another way; and [domain.Unknown] when the
// tenant has no such message.
func (c *Canceller) Cancel(ctx context.Context, t domain.TenantID, id domain.MessageID, by string) (Cancellation, error) {
	for ctx.Err() == nil { // a conflict is an event of its life, and these are few
		done, err := c.cancel(ctx, t, id, by)
		if !errors.Is(err, domain.ErrConflict) {
			return done, err
		}
	}
	return Cancellation{}, domain.Errorf(domain.Unavailable, ctx.Err(), "the request could not be taken back in time; try again")
}

func (c *Canceller) cancel(ctx context.Context, t domain.TenantID, id domain.MessageID, by string) (Cancellation, error) {
	key := OutgoingKey(t, "", id)
	events, err := c.Log.Load(ctx, key)
	if err != nil {
		return Cancellation{}, err
	}
	s, err := Fold(events)
	if err != nil {
		return Cancellation{}, err
	}
	fate, expect := s.Fate(), domain.After(s.Last)
	if s.Last == 0 {
		expect = domain.First() // of what is at hand: a request for much later leaves the log before it is due
	}
	if s.Last > 0 && !s.Headless {
		key.Number = events[0].Key.Number
	} else {
		key.Number, fate, err = c.archived(ctx, t, id, s.Last)
	}
	switch {
	case err != nil:
		return Cancellation{}, err
	case fate.Accepted:
		return Cancellation{}, errTooLate()
	case fate.Dead:
		return Cancellation{}, domain.Errorf(domain.Taken, nil, "it is too late: the message was given up, and is not tried again by itself")
	case fate.Ended == Expired:
		return Cancellation{}, domain.Errorf(domain.Taken, nil, "it is too late: the time of the message is over, and it is not tried again")
	case fate.Ended == Cancelled:
		return Cancellation{Certain: fate.Certain, Position: fate.Last}, nil
	}
	var f domain.Fact = &SendCancelled{}
	proof := c.proof(ctx, key, &s)
	if proof != nil {
		f = proof
	}
	e, err := domain.NewEvent(key, c.Clock.Now(), by, f)
	if err != nil {
		return Cancellation{}, err
	}
	e.Correlation = key.ID
	at, err := c.Log.Append(ctx, e, expect)
	if err == nil && proof != nil {
		err = errTooLate()
	}
	return Cancellation{Certain: fate.Certain, Position: at}, err
}

func errTooLate() error {
	return domain.Errorf(domain.Taken, nil, "it is too late: the provider has accepted the message")
}

// proof returns the acceptance of an attempt in doubt, when the provider has
// reported on it. While nobody can say, it stays in doubt.
func (c *Canceller) proof(ctx context.Context, k domain.Key, s *State) *SendAccepted {
	since, doubtful := s.DoubtfulSince()
	if !doubtful {
		return nil
	}
	status, proven, err := c.Proofs.Find(ctx, k, since)
	if err != nil || !proven {
		return nil
	}
	return status.Proof()
}

// archived returns the number of a message of which the log has its beginning
// no longer at hand, and what became of it. last is the newest event that is at
// hand, or 0.
func (c *Canceller) archived(ctx context.Context, t domain.TenantID, id domain.MessageID, last domain.Position) (domain.NumberID, Fate, error) {
	if c.Past == nil {
		return "", Fate{}, errNothingToSend()
	}
	past, found, err := c.Past.Find(ctx, t, id)
	switch {
	case err != nil:
		return "", Fate{}, err
	case !found && last == 0:
		return "", Fate{}, errNothingToSend()
	case !found, past.Fate.Last < last:
		return "", Fate{}, domain.Errorf(domain.Unavailable, nil, "what became of the message is still being read; try again")
	}
	return past.Number, past.Fate, nil
}

func errNothingToSend() error {
	return domain.Errorf(domain.Unknown, nil, "there is no such message to send")
}
