package message

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// State is the fold of one outgoing message's own events: all that deciding
// about it needs.
type State struct {
	Last        domain.Position // of the newest event; 0 when the message does not exist
	RequestedAt time.Time
	Request     SendRequested

	Attempt  int            // the newest attempt, 0 before the first
	Budget   int            // attempts since the request or the last redrive
	Open     bool           // the newest attempt has no outcome: somebody called, or is about to
	Unknown  bool           // its outcome is recorded as unknown
	Doubt    OutcomeUnknown // how the newest outcome that is unknown was lost
	At       time.Time      // of the newest attempt or outcome
	Begun    time.Time      // when the first attempt was recorded, of those at hand
	Refused  *SendRefused   // the newest refusal, if nothing followed it
	Accepted bool
	Ended    string // [Cancelled] or [Expired]: no further attempt is made; empty otherwise
	Dead     bool
	Redriven bool // somebody asked to try it again, and no attempt has followed yet
	Yielding bool // it was redriven once: nobody waits for it as for a new message

	// Headless says that the log no longer has the request at hand, only what
	// followed it. Such a message can end, but never be sent: nobody knows what
	// it says.
	Headless bool

	// doubts holds the position of every attempt whose outcome nobody knows,
	// by attempt number. A refusal of that very attempt removes it.
	doubts map[int]domain.Position
}

// DoubtfulSince returns the position of the oldest attempt whose outcome
// nobody knows, and false when there is none. A status recorded later may
// prove it; before anything is sent again, the log must be asked.
func (s *State) DoubtfulSince() (domain.Position, bool) {
	oldest, any := domain.Position(0), false
	for _, p := range s.doubts {
		if !any || p < oldest {
			oldest, any = p, true
		}
	}
	return oldest, any
}

// Certain reports whether nothing was sent: every attempt was refused.
func (s *State) Certain() bool { return !s.Accepted && len(s.doubts) == 0 }

// Bulk reports whether the message goes when nothing interactive of its number
// waits: it was asked for so, or it was redriven, however many are at once.
func (s *State) Bulk() bool { return s.Yielding || s.Request.Priority == Bulk }

// AsksBulk reports what [State.Bulk] does of a message whose newest request or
// redrive is an event of this type with these facts. It is the one rule by which
// what waits is told apart before it is folded, so it reads no personal part, and
// of facts that cannot be read it says that they are interactive.
func AsksBulk(eventType string, facts json.RawMessage) bool {
	if eventType != TypeSendRequested {
		return eventType == TypeSendRedriven
	}
	var asked struct {
		Priority string `json:"priority"`
	}
	return json.Unmarshal(facts, &asked) == nil && asked.Priority == Bulk
}

// Template is the type of the messages that a business begins with, which Meta may
// restrict by themselves.
const Template = "template"

// AsksTemplate reports whether an event of this type with these facts asks for a
// template message, which Meta may restrict by itself. Like [AsksBulk] it reads no
// personal part. Of a redrive it says no: that does not tell.
func AsksTemplate(eventType string, facts json.RawMessage) bool {
	var asked struct {
		Type string `json:"type"`
	}
	return eventType == TypeSendRequested && json.Unmarshal(facts, &asked) == nil && asked.Type == Template
}

// AsksUntil returns when what an event of this type with these facts asks for
// expires, and the zero time when it does not say so. Like [AsksBulk] it reads no
// personal part.
func AsksUntil(eventType string, facts json.RawMessage) time.Time {
	var asked struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	if eventType != TypeSendRequested || json.Unmarshal(facts, &asked) != nil {
		return time.Time{}
	}
	return asked.ExpiresAt
}

// Apply folds one event. Events must come in order, each once.
func (s *State) Apply(e domain.Event) error {
	if e.Position <= s.Last {
		return fmt.Errorf("fold %s: position %d after %d", e.Type, e.Position, s.Last)
	}
	if s.Last == 0 {
		s.Headless = e.Type != TypeSendRequested
	}
	switch e.Type {
	case TypeSendRequested:
		if err := e.Decode(&s.Request); err != nil {
			return err
		}
		s.RequestedAt = e.At
	case TypeSendAttempted:
		var f SendAttempted
		if err := e.Decode(&f); err != nil {
			return err
		}
		s.Attempt, s.Budget, s.Open, s.Unknown, s.Refused = f.Attempt, s.Budget+1, true, false, nil
		s.Redriven, s.At = false, e.At
		if s.Begun.IsZero() {
			s.Begun = e.At
		}
		if s.doubts == nil {
			s.doubts = map[int]domain.Position{}
		}
		s.doubts[f.Attempt] = e.Position
	case TypeSendAccepted: // of any attempt: the person has it
		s.Accepted, s.Open, s.Unknown = true, false, false
	case TypeSendRefused:
		var f SendRefused
		if err := e.Decode(&f); err != nil {
			return err
		}
		delete(s.doubts, f.Attempt)
		if f.Hold && f.Attempt == s.Attempt {
			s.Budget--
		}
		if f.Attempt == s.Attempt { // a late answer to an older attempt decides nothing
			s.Refused, s.Open, s.Unknown, s.At = &f, false, false, e.At
		}
	case TypeOutcomeUnknown:
		var f OutcomeUnknown
		if err := e.Decode(&f); err != nil {
			return err
		}
		if f.Attempt == s.Attempt {
			s.Unknown, s.Doubt, s.Open, s.At = true, f, false, e.At
		}
	case TypeSendDeadLettered:
		s.Dead, s.Redriven = true, false
	case TypeSendRedriven:
		var f SendRedriven
		if err := e.Decode(&f); err != nil {
			return err
		}
		if f.Original != nil {
			s.resume(*f.Original)
		}
		s.Dead, s.Redriven, s.Budget, s.Refused, s.Unknown = false, true, 0, nil, false
		s.Yielding = true
	case TypeSendCancelled:
		s.Ended = Cancelled
	case TypeSendExpired:
		s.Ended = Expired
	default:
		return fmt.Errorf("fold message: unknown event %q at %d", e.Type, e.Position)
	}
	s.Last = e.Position
	return nil
}

// resume takes what a redrive knows of the events that have left the log.
func (s *State) resume(o Original) {
	if s.Headless {
		s.Headless, s.Request, s.RequestedAt = false, o.SendRequested, o.At
		s.Attempt = max(s.Attempt, o.Attempts)
	}
	if s.doubts == nil {
		s.doubts = map[int]domain.Position{}
	}
	for _, attempt := range o.Doubts {
		s.doubts[attempt] = o.Looked
	}
}

// Fold folds the events of one message.
func Fold(events []domain.Event) (State, error) {
	var s State
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return State{}, err
		}
	}
	return s, nil
}

// Do names what a dispatcher must do next with a message.
type Do uint8

// The possible next steps.
const (
	Nothing Do = iota // it is finished, dead-lettered, or does not exist
	Attempt           // record an attempt and call
	Doubt             // record that the open attempt's outcome is unknown
	GiveUp            // dead-letter it
	Expire            // record that its time is over
)

// Step is the next thing to do, and when.
type Step struct {
	Do        Do
	NotBefore time.Time
	Attempt   int    // number of the attempt to make, or in doubt
	After     string // for Attempt: why again
	Reason    string // for GiveUp
}

// Rules are what the tenant and the operator set.
type Rules struct {
	MaxAttempts int           // 1 or more, since the request or the last redrive
	UnknownWait time.Duration // how long an unknown outcome waits for a status before OnUnknown decides
	OnUnknown   string        // [Resend] or [Park]; empty is [Resend]
	// Patience is how long an attempt without an outcome is left to whoever
	// made it, who may be in the middle of the call.
	Patience time.Duration
}

// Next decides from the recorded facts alone.
//
// An open attempt answers Doubt: the caller that made it knows the outcome and
// records it instead of asking; any other leaves it alone for the patience.
//
// A message whose request is no longer at hand is given up where it would be
// sent. One whose time is over before an attempt may begin expires instead; it
// does so at that time and not only when the attempt would have been due.
//
// What the message itself asks for goes before r. The caller passes the time,
// because a wait may have been long.
func (s *State) Next(r Rules, now time.Time) Step {
	if s.Request.UnknownWait > 0 {
		r.UnknownWait = s.Request.UnknownWait
	}
	if s.Request.OnUnknown != "" {
		r.OnUnknown = s.Request.OnUnknown
	}
	if !Addressed(s.Request.Type) { // no status will ever prove it, and to repeat it does no harm
		r.UnknownWait, r.OnUnknown = receiptWait, Resend
	}
	step := s.next(r)
	over := s.Request.ExpiresAt
	switch {
	case step.Do != Attempt:
	case s.Headless:
		return Step{Do: GiveUp, Reason: ReasonArchived, NotBefore: step.NotBefore}
	case !over.IsZero() && s.Unknown && !over.After(latest(now, step.NotBefore)):
		return Step{Do: Expire, NotBefore: step.NotBefore} // until then a status may prove it
	case !over.IsZero() && !over.After(latest(now, step.NotBefore)):
		return Step{Do: Expire, NotBefore: over}
	}
	return step
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *State) next(r Rules) Step {
	switch {
	case s.Last == 0, s.Accepted, s.Dead:
		return Step{Do: Nothing}
	case s.Open: // also of a message that was taken back meanwhile: nobody may think it was not sent
		return Step{Do: Doubt, Attempt: s.Attempt, NotBefore: s.At.Add(r.Patience)}
	case s.Ended != "":
		return Step{Do: Nothing}
	case s.Redriven:
		return Step{Do: Attempt, Attempt: s.Attempt + 1, After: "redriven"}
	case s.Attempt == 0:
		return Step{Do: Attempt, Attempt: 1, NotBefore: s.Request.SendAt}
	case s.Refused != nil && s.Refused.Hold:
		return Step{Do: Attempt, Attempt: s.Attempt + 1, After: "held", NotBefore: s.At.Add(s.Refused.Wait)}
	case s.Refused != nil && !s.Refused.Retry:
		return Step{Do: GiveUp, Reason: ReasonRefused}
	case s.Refused != nil && s.Budget >= r.MaxAttempts:
		return Step{Do: GiveUp, Reason: ReasonExhausted}
	case s.Refused != nil:
		return Step{Do: Attempt, Attempt: s.Attempt + 1, After: "refused", NotBefore: s.At.Add(s.Refused.Wait)}
	case s.Unknown && (s.Budget >= r.MaxAttempts || r.OnUnknown == Park):
		return Step{Do: GiveUp, Reason: ReasonUnknown, NotBefore: s.At.Add(r.UnknownWait)}
	case s.Unknown:
		return Step{Do: Attempt, Attempt: s.Attempt + 1, After: "unknown", NotBefore: s.At.Add(r.UnknownWait)}
	}
	return Step{Do: Nothing}
}
