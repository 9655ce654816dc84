package message_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain/message"
)

func said(statuses ...string) map[string]time.Time {
	at := map[string]time.Time{}
	for _, s := range statuses {
		at[s] = start
	}
	return at
}

// The headline of what is known.
func TestHeadline(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		standing message.Standing
		want     string
	}{
		"nothing yet":                        {message.Standing{}, "queued"},
		"taken by the provider":              {message.Standing{Accepted: true}, "accepted"},
		"in doubt":                           {message.Standing{Unknown: true}, "unknown"},
		"in doubt, but an older try arrived": {message.Standing{Unknown: true, Accepted: true}, "accepted"},
		"given up":                           {message.Standing{Dead: true}, "failed"},
		"given up in doubt":                  {message.Standing{Dead: true, Unknown: true}, "unknown"}, // nobody knows, so nobody says that it failed
		"taken back":                         {message.Standing{Ended: "cancelled"}, "cancelled"},
		"its time was over":                  {message.Standing{Ended: "expired"}, "expired"},
		"its time was over, in doubt":        {message.Standing{Ended: "expired", Unknown: true}, "unknown"},
		"its time was over, but it was sent": {message.Standing{Ended: "expired", Statuses: said("sent")}, "sent"},
		"given up, but it was sent":          {message.Standing{Dead: true, Statuses: said("sent")}, "sent"},
		"a status before the answer":         {message.Standing{Statuses: said("sent")}, "sent"},
		"a status proves a doubt wrong":      {message.Standing{Unknown: true, Statuses: said("delivered")}, "delivered"},
		"sent":                               {message.Standing{Accepted: true, Statuses: said("sent")}, "sent"},
		"delivered, sent not told":           {message.Standing{Accepted: true, Statuses: said("delivered")}, "delivered"},
		"read":                               {message.Standing{Accepted: true, Statuses: said("read", "sent", "delivered")}, "read"},
		"played":                             {message.Standing{Accepted: true, Statuses: said("played", "read")}, "played"},
		"failed after acceptance":            {message.Standing{Accepted: true, Statuses: said("failed")}, "failed"},
		"failed after it left":               {message.Standing{Accepted: true, Statuses: said("sent", "failed")}, "failed"},
		"failed on one device, arrived":      {message.Standing{Accepted: true, Statuses: said("failed", "delivered")}, "delivered"},
		"a status from next year":            {message.Standing{Accepted: true, Statuses: said("teleported")}, "accepted"},
		"only a status from next year":       {message.Standing{Statuses: said("teleported")}, "queued"},
	} {
		if got := message.Headline(test.standing); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A proven delivery is never taken back: whatever is learnt afterwards, the
// headline stays on its rung or climbs, and no failure hides it.
func TestHeadlineNeverTakesADeliveryBack(t *testing.T) {
	t.Parallel()
	arrived := map[string]int{"delivered": 1, "read": 2, "played": 3}
	words := []string{"accepted", "sent", "delivered", "read", "played", "failed", "teleported"}
	rapid.Check(t, func(t *rapid.T) {
		s := message.Standing{
			Accepted: rapid.Bool().Draw(t, "accepted"), Unknown: rapid.Bool().Draw(t, "unknown"),
			Dead: rapid.Bool().Draw(t, "dead"), Statuses: map[string]time.Time{},
		}
		high := 0
		for _, status := range rapid.SliceOf(rapid.SampledFrom(words)).Draw(t, "statuses") {
			s.Statuses[status] = start
			s.Unknown = rapid.Bool().Draw(t, "unknown")
			s.Dead = rapid.Bool().Draw(t, "dead")
			high = max(high, arrived[status])
			if got := message.Headline(s); arrived[got] != high {
				t.Fatalf("after %s of %v the headline is %s", status, s.Statuses, got)
			}
		}
	})
}

// The order in which statuses arrive does not matter, nor how often.
func TestHeadlineDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		statuses := rapid.SliceOf(rapid.SampledFrom([]string{"sent", "delivered", "read", "played", "failed"})).Draw(t, "statuses")
		shuffled := rapid.Permutation(append(statuses, statuses...)).Draw(t, "shuffled")
		accepted := rapid.Bool().Draw(t, "accepted")
		a := message.Headline(message.Standing{Accepted: accepted, Statuses: said(statuses...)})
		b := message.Headline(message.Standing{Accepted: accepted, Statuses: said(shuffled...)})
		if a != b {
			t.Fatalf("%v says %s, %v says %s", statuses, a, shuffled, b)
		}
	})
}
