package message

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// What became of a dead letter.
const (
	LetterDead     = "dead"     // it waits for somebody to look at it
	LetterRedriven = "redriven" // somebody asked to try it again, and it has not ended since
	LetterSettled  = "settled"  // it ended after all: accepted, cancelled or expired
)

// DeadLetter is one message that was given up at least once.
type DeadLetter struct {
	Message    domain.MessageID
	Tenant     domain.TenantID
	Number     domain.NumberID
	State      string // [LetterDead], [LetterRedriven] or [LetterSettled]
	Reason     string // of its newest death, as are Code, Detail, Details, Attempts, InDoubt, At and Position
	Code       int    // the provider's, or 0
	Detail     string // words for the tenant
	Details    string // the provider's own, if it gave any
	Attempts   int    // up to then; of one that is settled, all
	InDoubt    bool   // by then nobody knew of some attempt whether the provider took it
	At         time.Time
	Position   domain.Position
	FirstAt    time.Time // of its first death
	Redrives   int       // how often somebody asked to try it again
	RedrivenAt time.Time // the newest time; zero while that is never, or before its newest death
}

// LetterFilter selects dead letters; an empty field selects all.
type LetterFilter struct {
	Tenant domain.TenantID
	Number domain.NumberID
	Code   *int // of the provider; 0: those without one
	Reason string
	Since  time.Time // died then or later
	Until  time.Time // died before
	State  string
}

// Accepts reports whether the filter selects a letter.
func (f LetterFilter) Accepts(l DeadLetter) bool {
	return (f.Tenant == "" || l.Tenant == f.Tenant) &&
		(f.Number == "" || l.Number == f.Number) &&
		(f.Code == nil || l.Code == *f.Code) &&
		(f.Reason == "" || l.Reason == f.Reason) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) &&
		(f.Until.IsZero() || l.At.Before(f.Until)) &&
		(f.State == "" || l.State == f.State)
}

// Outcomes of an attempt, as far as they are known.
const (
	OutcomeOpen     = "open" // called, or about to
	OutcomeAccepted = "accepted"
	OutcomeRefused  = "refused"
	OutcomeLost     = "unknown"
)

// Tried is one attempt to send, and what came of it.
type Tried struct {
	Number  int
	At      time.Time
	Outcome string
	EndedAt time.Time // when the outcome was recorded; zero while it is open
	Code    int       // the provider's, or 0
	Reason  string    // words
	Details string    // the provider's own words, of a refusal
	TraceID string    // the provider's handle for support
}

// Redriven is one wish to try a dead letter again.
type Redriven struct {
	At    time.Time
	By    string
	Batch string // the redrive it was a part of
}

// History sorts a timeline into the attempts, each with its outcome, and the
// wishes to try again, both oldest first. A late answer belongs to the attempt
// it is about. An acceptance is final: nothing that came later takes it back.
func History(timeline []Entry) (tried []Tried, redriven []Redriven) {
	place := map[int]int{}
	for _, e := range timeline {
		switch e.Type {
		case TypeSendRedriven:
			redriven = append(redriven, Redriven{At: e.At, By: e.Reason, Batch: e.Batch})
			continue
		case TypeSendAttempted:
			place[e.Attempt] = len(tried)
			tried = append(tried, Tried{Number: e.Attempt, At: e.At, Outcome: OutcomeOpen})
			continue
		}
		outcome, ends := outcomes[e.Type]
		i, known := place[e.Attempt]
		if !ends || !known || tried[i].Outcome == OutcomeAccepted {
			continue
		}
		tried[i].Outcome, tried[i].EndedAt = outcome, e.At
		tried[i].Code, tried[i].Reason, tried[i].Details, tried[i].TraceID = e.Code, e.Reason, e.Details, e.TraceID
	}
	return tried, redriven
}

// outcomes says which events end an attempt, and how.
var outcomes = map[string]string{
	TypeOutcomeUnknown: OutcomeLost,
	TypeSendAccepted:   OutcomeAccepted,
	TypeSendRefused:    OutcomeRefused,
}
