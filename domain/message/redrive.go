package message

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Proofs finds what the provider said about attempts whose answer was lost.
type Proofs interface {
	// Find returns the first status of a message recorded after a position, of
	// those that are in the log when it is called. An error means that nobody
	// knows: then nothing may be sent.
	Find(ctx context.Context, k domain.Key, after domain.Position) (StatusReceived, bool, error)
}

// Archive knows messages whose events have left the log.
type Archive interface {
	// Life returns all that is known of a message: what was recorded of it before
	// the call is there, but for events after the first when these are very many.
	// It returns [domain.Unknown] when that is no longer kept.
	Life(ctx context.Context, k domain.Key) (Life, error)
}

// Life is every event about one message up to a position of the log, in order.
type Life struct {
	Own      []domain.Event   // of its key
	Statuses []StatusReceived // what the provider reported
	Until    domain.Position
}

// Redriver asks for dead-lettered messages to be tried again.
type Redriver struct {
	Clock   domain.Clock
	Log     domain.Log
	Proofs  Proofs
	Archive Archive // nil when the log keeps every event for ever
}

// Redrive records that a message is to be tried again, as part of a batch. It
// keeps its id and its history, and gets a new budget of attempts. A message
// that is not dead-lettered, whose time is over, or that the provider accepted
// after all, is refused with [domain.Taken]: what the log proves to be sent is
// not sent a second time. One whose request is no longer kept is refused with
// [domain.Unknown]. A batch that asks for a message again is told that it is
// done, and nothing is recorded.
func (r *Redriver) Redrive(ctx context.Context, k domain.Key, by, batch string) error {
	body, err := r.look(ctx, k, batch)
	if err != nil || body.asked {
		return err
	}
	if err = r.ask(ctx, k, body, by, batch); !errors.Is(err, domain.ErrConflict) {
		return err
	}
	// Whoever was faster may work for the same batch.
	if again, err := r.look(ctx, k, batch); err != nil || again.asked {
		return err
	}
	return domain.Errorf(domain.Taken, nil, "something happened to it just now")
}

// ask records the wish, or instead of it the proof that nobody need ask.
func (r *Redriver) ask(ctx context.Context, k domain.Key, body remains, by, batch string) error {
	var f domain.Fact = &SendRedriven{By: by, Batch: batch, Original: body.original}
	if body.proof != nil {
		f = body.proof
	}
	e, err := domain.NewEvent(k, r.Clock.Now(), by, f)
	if err != nil {
		return err
	}
	e.Correlation = k.ID
	_, err = r.Log.Append(ctx, e, body.expect)
	if err == nil && body.proof != nil {
		return errAccepted()
	}
	return err
}

// Check returns the error [Redriver.Redrive] would return now, and records
// nothing.
func (r *Redriver) Check(ctx context.Context, k domain.Key) error {
	body, err := r.look(ctx, k, "")
	if err == nil && body.proof != nil {
		return errAccepted()
	}
	return err
}

// remains is what there is of a message that may be tried again.
type remains struct {
	expect   domain.Expect
	proof    *SendAccepted // that the provider has it: to be recorded instead
	original *Original     // what has left the log of it
	asked    bool          // the same batch asked for it before
}

// look returns why a message must not be tried again, or what there is of it.
func (r *Redriver) look(ctx context.Context, k domain.Key, batch string) (remains, error) {
	events, err := r.Log.Load(ctx, k)
	if err != nil {
		return remains{}, err
	}
	s, err := Fold(events)
	if err != nil {
		return remains{}, err
	}
	body := remains{expect: domain.After(s.Last)}
	if s.Last == 0 {
		body.expect = domain.First() // of what is at hand
	}
	var life *Life
	if s.Last == 0 || s.Headless {
		if life, err = r.archived(ctx, k, s.Last); err != nil {
			return remains{}, err
		}
		events = life.Own
		if s, err = Fold(events); err != nil {
			return remains{}, err
		}
	}
	switch {
	case redrivenBy(events, batch):
		return remains{asked: true}, nil
	case s.Accepted:
		return remains{}, errAccepted()
	case !s.Dead:
		return remains{}, errNotDead()
	}
	if since, doubtful := s.DoubtfulSince(); doubtful {
		if life == nil {
			body.proof, err = r.prove(ctx, k, since)
		}
		if domain.KindOf(err) == domain.Unknown { // the log does not reach back that far
			life, err = r.archived(ctx, k, s.Last)
		}
		if err != nil {
			return remains{}, err
		}
		if life != nil && len(life.Statuses) > 0 {
			body.proof = life.Statuses[0].Proof()
		}
		if body.proof != nil {
			return body, nil
		}
	}
	if life != nil {
		body.original = s.original(life.Until)
	}
	return body, tooOld(s.Request.ExpiresAt, r.Clock.Now())
}

// archived returns the life of a message of which the log has its beginning no
// longer at hand. last is its newest event there, or 0.
func (r *Redriver) archived(ctx context.Context, k domain.Key, last domain.Position) (*Life, error) {
	if r.Archive == nil {
		return nil, errForgotten()
	}
	life, err := r.Archive.Life(ctx, k)
	switch {
	case domain.KindOf(err) == domain.Unknown:
		return nil, errForgotten()
	case err != nil:
		return nil, err
	case len(life.Own) == 0, life.Own[0].Type != TypeSendRequested:
		return nil, errForgotten()
	case !everyAttempt(life.Own):
		return nil, domain.Errorf(domain.Unknown, nil,
			"not all of its attempts are kept, so nobody can tell whether one of them was sent; send it as a new message")
	case life.Own[len(life.Own)-1].Position < last:
		return nil, domain.Errorf(domain.Taken, nil, "something happened to it just now")
	}
	return &life, nil
}

// everyAttempt reports whether no attempt is missing among the events of a message: an
// archive keeps so many of one message and no more.
func everyAttempt(own []domain.Event) bool {
	kept := 0
	for _, e := range own {
		if e.Type != TypeSendAttempted {
			continue
		}
		var f SendAttempted
		if kept++; e.Decode(&f) != nil || f.Attempt != kept {
			return false
		}
	}
	return true
}

// prove returns the acceptance that a status recorded since a position proves.
func (r *Redriver) prove(ctx context.Context, k domain.Key, since domain.Position) (*SendAccepted, error) {
	status, proven, err := r.Proofs.Find(ctx, k, since)
	if err != nil || !proven {
		return nil, err
	}
	return status.Proof(), nil
}

// original is what a redrive carries of a message that has left the log.
func (s *State) original(looked domain.Position) *Original {
	o := &Original{SendRequested: s.Request, At: s.RequestedAt, Attempts: s.Attempt, Looked: looked}
	for attempt := range s.doubts {
		o.Doubts = append(o.Doubts, attempt)
	}
	slices.Sort(o.Doubts)
	return o
}

func redrivenBy(events []domain.Event, batch string) bool {
	if batch == "" {
		return false
	}
	return slices.ContainsFunc(events, func(e domain.Event) bool {
		var f SendRedriven
		return e.Type == TypeSendRedriven && e.Decode(&f) == nil && f.Batch == batch
	})
}

// Corpse is what a read model tells of a message that a redrive would meet.
type Corpse struct {
	Tenant    domain.TenantID
	Status    string // its headline
	Kept      bool   // its request is
	Accepted  bool   // or a status proves it of an attempt in doubt
	Dead      bool
	ExpiresAt time.Time
}

// Refusal returns the error that [Redriver.Redrive] would return, or nil.
func (c Corpse) Refusal(now time.Time) error {
	switch {
	case !c.Kept:
		return errForgotten()
	case c.Accepted:
		return errAccepted()
	case !c.Dead:
		return errNotDead()
	}
	return tooOld(c.ExpiresAt, now)
}

// NoLetter says what a message is that was never dead-lettered, and what to do.
func (c Corpse) NoLetter() error {
	if c.Accepted && c.Status == Failed {
		return domain.Errorf(domain.Unknown, nil, "it is no dead letter: it was accepted by WhatsApp and failed afterwards; send it anew")
	}
	return domain.Errorf(domain.Unknown, nil, "it is not among the dead letters: it is %s", c.Status)
}

func tooOld(over, now time.Time) error {
	if over.IsZero() || over.After(now) {
		return nil
	}
	return domain.Errorf(domain.Taken, nil, "its time (expires_at) is over, so it would not be sent")
}

func errForgotten() error {
	return domain.Errorf(domain.Unknown, nil, "its request is no longer kept (LOG_RETENTION), so it cannot be tried again; send it as a new message")
}

func errNotDead() error {
	return domain.Errorf(domain.Taken, nil, "it is not dead-lettered")
}

func errAccepted() error {
	return domain.Errorf(domain.Taken, nil, "WhatsApp accepted it after all; should it have failed since, send it anew")
}

// Proof is the acceptance that a status proves: the provider reports only on
// what it took.
func (e *StatusReceived) Proof() *SendAccepted {
	return &SendAccepted{Attempt: e.Attempt, Via: "status",
		AcceptNames: AcceptNames{Wamid: e.Wamid, WaID: e.Person.Phone}}
}
