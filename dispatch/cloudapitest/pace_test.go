package cloudapitest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// paced runs a server with Meta's pace on a clock that stands still, and
// returns what sends one message and says the error code.
func paced(t *testing.T, pace cloudapitest.Pace) (*cloudapitest.Server, *clock, func(n domain.NumberID, to string) int) {
	t.Helper()
	at := &clock{now: time.Unix(1795435200, 0)}
	s := start(t, nil, func(c *cloudapitest.Config) { c.Pace, c.Clock, c.Authorize = pace, at, nil })
	meta := client(t, s)
	sent := 0
	return s, at, func(n domain.NumberID, to string) int {
		sent++
		k := call(domain.MessageID(fmt.Sprintf("msg_%d", sent)))
		k.Number, k.To = n, to
		return meta.Send(t.Context(), k).Code
	}
}

// acceptedOf sends to as many people as it can and returns how many were taken
// before the first refusal, and its code.
func acceptedOf(send func(domain.NumberID, string) int, n domain.NumberID, to func(i int) string) (taken, code int) {
	for ; taken < 3000; taken++ {
		if code = send(n, to(taken)); code != 0 {
			return taken, code
		}
	}
	return taken, 0
}

func everybody(i int) string { return fmt.Sprintf("+1415555%04d", i) }
func onePerson(int) string   { return "+14155550100" }

// A number may send so many messages a second, each number its own; beyond it
// answers 130429 until the second earns the next.
func TestPacePerNumber(t *testing.T) {
	t.Parallel()
	s, at, send := paced(t, cloudapitest.Pace{PerNumber: 80})
	s.SetPace("20", 20)
	s.SetPace("1000", 1000)
	s.SetPace("free", 0)
	for n, want := range map[domain.NumberID]int{"80": 80, "20": 20, "1000": 1000} {
		if taken, code := acceptedOf(send, n, everybody); taken != want || code != 130429 {
			t.Errorf("number %s: %d, then %d", n, taken, code)
		}
	}
	if taken, code := acceptedOf(send, "free", everybody); taken != 3000 || code != 0 {
		t.Errorf("without a pace: %d, then %d", taken, code)
	}
	if err := at.Sleep(t.Context(), time.Second/4); err != nil {
		t.Fatal(err)
	}
	if taken, code := acceptedOf(send, "20", everybody); taken != 5 || code != 130429 {
		t.Errorf("a quarter of a second earned %d, then %d", taken, code)
	}
	if err := at.Sleep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if taken, _ := acceptedOf(send, "20", everybody); taken != 20 {
		t.Errorf("an hour earned %d: more than a bucket holds", taken)
	}
}

// One person gets a burst of 45 and then one message every six seconds, from
// each number; others are not in their way, and a refusal costs the number
// nothing.
func TestPacePerPair(t *testing.T) {
	t.Parallel()
	pace := cloudapitest.MetaPace()
	_, at, send := paced(t, pace)
	if taken, code := acceptedOf(send, "1", onePerson); taken != 45 || code != 131056 {
		t.Errorf("%d, then %d", taken, code)
	}
	if code := send("1", "1 (415) 555-0100"); code != 131056 {
		t.Errorf("the same person spelled otherwise: %d", code)
	}
	if taken, code := acceptedOf(send, "1", everybody); taken != 80-45 || code != 130429 {
		t.Errorf("others: %d, then %d", taken, code)
	}
	if code := send("2", onePerson(0)); code != 0 {
		t.Errorf("from another number: %d", code)
	}
	if err := at.Sleep(t.Context(), 12*time.Second); err != nil {
		t.Fatal(err)
	}
	if taken, code := acceptedOf(send, "1", onePerson); taken != 2 || code != 131056 {
		t.Errorf("12 s earned %d, then %d", taken, code)
	}
}
