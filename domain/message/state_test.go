package message_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

var (
	start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	key   = message.OutgoingKey("ten_a", "106540352242922", "msg_a")
)

const (
	maxAttempts = 3
	unknownWait = time.Minute
	patience    = 35 * time.Second
)

var rules = message.Rules{MaxAttempts: maxAttempts, UnknownWait: unknownWait, Patience: patience}

// happened makes events of facts: the n-th at position 10n and n seconds after
// the start.
func happened(t interface{ Fatal(...any) }, facts ...domain.Fact) []domain.Event {
	events := make([]domain.Event, len(facts))
	for i, f := range facts {
		e, err := domain.NewEvent(key, second(i+1), "test", f)
		if err != nil {
			t.Fatal(err)
		}
		e.Position = domain.Position(10 * (i + 1))
		events[i] = e
	}
	return events
}

func second(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }

// Short names of facts, so that a life reads as a line.
func requested() domain.Fact         { return &message.SendRequested{Type: "text"} }
func tried(n int) domain.Fact        { return &message.SendAttempted{Attempt: n} }
func accepted(n int) domain.Fact     { return &message.SendAccepted{Attempt: n} }
func declined(n int) domain.Fact     { return &message.SendRefused{Attempt: n, Class: "invalid"} }
func unknown(n int) domain.Fact      { return &message.OutcomeUnknown{Attempt: n} }
func redriven() domain.Fact          { return &message.SendRedriven{By: "admin"} }
func dead(reason string) domain.Fact { return &message.SendDeadLettered{Reason: reason} }
func busy(n int) domain.Fact {
	return &message.SendRefused{Attempt: n, Class: "throttled", Retry: true, Wait: 30 * time.Second}
}

func held(n int) domain.Fact { return &message.SendRefused{Attempt: n, Class: "tenant", Hold: true} }
func later() domain.Fact     { return asked(message.Options{SendAt: second(3600)}) }
func until(at time.Time) domain.Fact {
	return asked(message.Options{ExpiresAt: at})
}
func parked() domain.Fact {
	return asked(message.Options{OnUnknown: message.Park, UnknownWait: 7 * time.Second})
}
func asked(o message.Options) domain.Fact { return &message.SendRequested{Type: "text", Options: o} }

func life(facts ...domain.Fact) []domain.Fact { return facts }

// Given these facts, this is what a dispatcher must do next.
func TestNext(t *testing.T) {
	t.Parallel()
	attempt := func(n int, after string, at time.Time) message.Step {
		return message.Step{Do: message.Attempt, Attempt: n, After: after, NotBefore: at}
	}
	doubt := func(n int) message.Step { // here attempt n is event 2n
		return message.Step{Do: message.Doubt, Attempt: n, NotBefore: second(2 * n).Add(patience)}
	}
	giveUp := func(reason string, at time.Time) message.Step {
		return message.Step{Do: message.GiveUp, Reason: reason, NotBefore: at}
	}
	expire := func(at time.Time) message.Step { return message.Step{Do: message.Expire, NotBefore: at} }
	nothing, now := message.Step{}, time.Time{}

	for name, test := range map[string]struct {
		given []domain.Fact
		want  message.Step
	}{
		"a message that does not exist": {nil, nothing},
		"a request is tried":            {life(requested()), attempt(1, "", now)},
		"an open attempt is doubted":    {life(requested(), tried(1)), doubt(1)},
		"an acceptance ends it":         {life(requested(), tried(1), accepted(1)), nothing},

		"a refusal that may pass is tried again after its wait": {
			life(requested(), tried(1), busy(1)), attempt(2, "refused", second(3+30))},
		"a refusal for good is given up at once": {
			life(requested(), tried(1), declined(1)), giveUp("refused", now)},
		"the second attempt is doubted under its own number": {
			life(requested(), tried(1), busy(1), tried(2)), doubt(2)},
		"the last refusal of the budget is given up": {
			life(requested(), tried(1), busy(1), tried(2), busy(2), tried(3), busy(3)), giveUp("attempts_exhausted", now)},
		"one before the last is not": {
			life(requested(), tried(1), busy(1), tried(2), busy(2)), attempt(3, "refused", second(5+30))},
		"dead is dead": {
			life(requested(), tried(1), declined(1), dead("refused")), nothing},

		"an unknown outcome waits, then is tried again": {
			life(requested(), tried(1), unknown(1)), attempt(2, "unknown", second(3+60))},
		"an unknown outcome at the end of the budget waits, then is given up": {
			life(requested(), tried(1), unknown(1), tried(2), unknown(2), tried(3), unknown(3)),
			giveUp("outcome_unknown", second(7+60))},
		"an acceptance after a doubt ends it": {
			life(requested(), tried(1), unknown(1), accepted(1)), nothing},
		"a refusal after a doubt settles it": {
			life(requested(), tried(1), unknown(1), busy(1)), attempt(2, "refused", second(4+30))},
		"a refusal for good after a doubt is given up": {
			life(requested(), tried(1), unknown(1), declined(1)), giveUp("refused", now)},
		"a doubt after a refusal does not unsettle it": {
			life(requested(), tried(1), declined(1), unknown(1)), giveUp("refused", now)},
		"a mixed budget counts attempts, not reasons": {
			life(requested(), tried(1), busy(1), tried(2), unknown(2), tried(3), busy(3)), giveUp("attempts_exhausted", now)},

		"a late refusal of an older attempt does not close the open one": {
			life(requested(), tried(1), unknown(1), tried(2), declined(1)), doubt(2)},
		"a late doubt about an older attempt does not either": {
			life(requested(), tried(1), busy(1), tried(2), unknown(1)), doubt(2)},
		"a late refusal of an older attempt does not end the wait of the newer": {
			life(requested(), tried(1), unknown(1), tried(2), unknown(2), declined(1)), attempt(3, "unknown", second(5+60))},
		"a late acceptance of an older attempt ends it": {
			life(requested(), tried(1), unknown(1), tried(2), accepted(1)), nothing},
		"a refusal after an acceptance of an older attempt changes nothing": {
			life(requested(), tried(1), unknown(1), tried(2), accepted(1), busy(2)), nothing},
		"an acceptance after death ends it": {
			life(requested(), tried(1), unknown(1), dead("outcome_unknown"), accepted(1)), nothing},

		"a request for later waits": {
			life(later()), attempt(1, "", second(3600))},
		"one whose time is over before it is due expires then": {
			life(until(second(30)), tried(1), busy(1)), expire(second(30))},
		"and is tried again while there is time": {
			life(until(second(34)), tried(1), busy(1)), attempt(2, "refused", second(3+30))},
		"one whose time is over expires at once": {
			life(until(start)), expire(start)},
		"an unknown outcome waits for its proof, although its time is over before": {
			life(until(second(5)), tried(1), unknown(1)), expire(second(3 + 60))},
		"an attempt that is open is doubted, whatever the time": {
			life(until(second(1)), tried(1)), doubt(1)},
		"one whose time is over is not tried again": {
			life(until(second(1)), &message.SendExpired{}), nothing},
		"one that was taken back is not tried": {
			life(requested(), &message.SendCancelled{}), nothing},
		"nor one that was taken back during a call, but nobody may think it was not sent": {
			life(requested(), tried(1), &message.SendCancelled{}), doubt(1)},
		"and that ends there": {
			life(requested(), tried(1), &message.SendCancelled{}, unknown(1)), nothing},
		"the answer to that call counts": {
			life(requested(), tried(1), &message.SendCancelled{}, busy(1)), nothing},
		"an unknown outcome is parked where the tenant asked for it": {
			life(parked(), tried(1), unknown(1)), giveUp("outcome_unknown", second(3+7))},
		"a read receipt is repeated soon: no status will prove it": {
			life(&message.SendRequested{Type: message.ReadReceipt, Options: message.Options{OnUnknown: message.Park, UnknownWait: time.Hour}}, tried(1), unknown(1)),
			attempt(2, "unknown", second(3+5))},
		"but not for ever": {
			life(&message.SendRequested{Type: message.Typing}, tried(1), unknown(1), tried(2), unknown(2), tried(3), unknown(3), tried(4), unknown(4), tried(5), unknown(5)),
			giveUp("outcome_unknown", second(11+5))},
		"a refusal that holds does not count": {
			life(requested(), tried(1), held(1), tried(2), held(2), tried(3), held(3), tried(4), busy(4)),
			attempt(5, "refused", second(9+30))},
		"and is followed by an attempt when the pause ends": {
			life(requested(), tried(1), held(1)), attempt(2, "held", second(3))},

		"a redrive is tried at once": {
			life(requested(), tried(1), declined(1), dead("refused"), redriven()), attempt(2, "redriven", now)},
		"a redrive has a new budget": {
			life(requested(), tried(1), busy(1), tried(2), busy(2), tried(3), busy(3), dead("attempts_exhausted"),
				redriven(), tried(4), busy(4)), attempt(5, "refused", second(11+30))},
		"and that ends too": {
			life(requested(), tried(1), declined(1), dead("refused"),
				redriven(), tried(2), busy(2), tried(3), busy(3), tried(4), busy(4)), giveUp("attempts_exhausted", now)},
		"a redrive of what was never tried": {
			life(requested(), dead("undeliverable"), redriven()), attempt(1, "redriven", now)},
		"a redrive of an open attempt doubts it first": {
			life(requested(), tried(1), dead("undeliverable"), redriven()), doubt(1)},
		"and tries again after the doubt": {
			life(requested(), tried(1), dead("undeliverable"), redriven(), unknown(1)), attempt(2, "redriven", now)},
		"a redrive that was dead-lettered again": {
			life(requested(), dead("undeliverable"), redriven(), dead("undeliverable")), nothing},
		"a redrive of what the provider took is not sent": {
			life(requested(), tried(1), unknown(1), dead("outcome_unknown"), accepted(1), redriven()), nothing},
		"an acceptance after a redrive ends it": {
			life(requested(), tried(1), unknown(1), dead("outcome_unknown"), redriven(), accepted(1)), nothing},
		"a late answer to an older attempt does not swallow a redrive": {
			life(requested(), tried(1), unknown(1), tried(2), declined(2), dead("refused"), redriven(), declined(1)),
			attempt(3, "redriven", now)},
		"a late answer to the newest attempt does not either": {
			life(requested(), tried(1), unknown(1), dead("outcome_unknown"), redriven(), declined(1)),
			attempt(2, "redriven", now)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := message.Fold(happened(t, test.given...))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Next(rules, start); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// A budget of one is one attempt.
func TestNextWithoutASecondAttempt(t *testing.T) {
	t.Parallel()
	for reason, end := range map[string]domain.Fact{"attempts_exhausted": busy(1), "outcome_unknown": unknown(1)} {
		s, err := message.Fold(happened(t, requested(), tried(1), end))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(message.Rules{MaxAttempts: 1, UnknownWait: unknownWait}, start); got.Do != message.GiveUp || got.Reason != reason {
			t.Errorf("got %+v, want to give up: %s", got, reason)
		}
	}
}

// No attempt follows an acceptance, whatever else is recorded, and a message
// that is neither accepted nor dead is never left without a next step.
func TestFoldKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := life(requested())
		n, taken, gone := 0, false, false
		for range rapid.IntRange(0, 20).Draw(t, "length") {
			older := max(1, n-rapid.IntRange(0, 2).Draw(t, "late by"))
			switch rapid.SampledFrom([]string{"try", "accept", "busy", "decline", "doubt", "die", "redrive"}).Draw(t, "fact") {
			case "try":
				n++
				facts = append(facts, tried(n))
			case "accept":
				taken = true
				facts = append(facts, accepted(older))
			case "busy":
				facts = append(facts, busy(older))
			case "decline":
				facts = append(facts, declined(older))
			case "doubt":
				facts = append(facts, unknown(older))
			case "die":
				gone = true
				facts = append(facts, dead("x"))
			case "redrive":
				gone = false
				facts = append(facts, redriven())
			}
		}
		if n == 0 {
			return // answers without an attempt: nobody writes that
		}
		s, err := message.Fold(happened(t, facts...))
		if err != nil {
			t.Fatal(err)
		}
		next := s.Next(rules, start)
		switch {
		case (taken || gone) && next.Do != message.Nothing:
			t.Fatalf("accepted %v, dead %v, and yet %+v", taken, gone, next)
		case !taken && !gone && next.Do == message.Nothing:
			t.Fatal("the message is stuck")
		case next.Do == message.Attempt && next.Attempt != n+1:
			t.Fatalf("attempt %d follows %d", next.Attempt, n)
		case next.Do == message.Attempt && next.After == "" && n > 0:
			t.Fatal("it is sent again without a reason")
		}
	})
}

// Folding one by one, as a worker does, and all at once is the same.
func TestApplyRemembersTheRequest(t *testing.T) {
	t.Parallel()
	words := message.SendWords{To: "+14155550100", Content: []byte(`{"type":"text"}`), Fingerprint: "f"}
	s, err := message.Fold(happened(t, &message.SendRequested{Type: "text", SendWords: words}, tried(1), busy(1)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Request.To != words.To || !s.RequestedAt.Equal(second(1)) || s.Last != 30 || s.Attempt != 1 {
		t.Errorf("state %+v", s)
	}
}

// Events out of order, twice, unknown or unreadable are refused, and change
// nothing.
func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	events := happened(t, requested(), tried(1))
	broken := events[1]
	broken.Position, broken.Facts = 30, []byte(`{"attempt":"one"}`)
	foreign := events[1]
	foreign.Position, foreign.Type = 30, "SendTeleported"
	for name, e := range map[string]domain.Event{
		"the same event again": events[1], "an earlier event": events[0],
		"unreadable facts": broken, "an unknown type": foreign,
	} {
		s, err := message.Fold(events)
		if err != nil {
			t.Fatal(err)
		}
		before := s
		if err := s.Apply(e); err == nil {
			t.Errorf("%s was folded", name)
		}
		if s.Last != before.Last || s.Attempt != before.Attempt || s.Open != before.Open {
			t.Errorf("%s changed the state", name)
		}
	}
	if _, err := message.Fold([]domain.Event{events[1], events[0]}); err == nil || !strings.Contains(err.Error(), "10 after 20") {
		t.Errorf("fold in the wrong order: %v", err)
	}
}

// An attempt is doubtful until it is refused or the message accepted; the
// oldest doubtful one is where statuses must be looked for.
func TestDoubtfulSince(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given []domain.Fact
		want  domain.Position // happened puts event n at position 10n
	}{
		"nothing was tried":                     {life(requested()), 0},
		"an open attempt":                       {life(requested(), tried(1)), 20},
		"an unknown outcome":                    {life(requested(), tried(1), unknown(1)), 20},
		"a refusal":                             {life(requested(), tried(1), declined(1)), 0},
		"a refusal after an unknown outcome":    {life(requested(), tried(1), unknown(1), tried(2), declined(2)), 20},
		"a late refusal of the unknown one":     {life(requested(), tried(1), unknown(1), declined(1)), 0},
		"two unknown ones":                      {life(requested(), tried(1), unknown(1), tried(2), unknown(2)), 20},
		"an unknown one, given up and redriven": {life(requested(), tried(1), unknown(1), dead("outcome_unknown"), redriven()), 20},
	} {
		s, err := message.Fold(happened(t, test.given...))
		if err != nil {
			t.Fatal(err)
		}
		if got, any := s.DoubtfulSince(); got != test.want || any != (test.want > 0) {
			t.Errorf("%s: got %d, %t, want %d", name, got, any, test.want)
		}
	}
}
