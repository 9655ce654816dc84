package cloudapitest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// TestFaults states for every fault what the caller believes, what really
// happened, and which statuses arrive.
func TestFaults(t *testing.T) {
	t.Parallel()
	const all = "[sent delivered read]"
	tests := []struct {
		name     string
		fault    cloudapitest.Fault
		kind     cloudapi.Kind
		detail   string
		code     int
		wait     time.Duration
		accepted int
		told     string
	}{
		{"none", cloudapitest.Fault{}, cloudapi.Accepted, "", 0, 0, 1, all},
		{"lose answer", cloudapitest.Fault{Answer: cloudapitest.LoseAnswer}, cloudapi.Unknown, "connection lost", 0, 0, 1, all},
		{"lose request", cloudapitest.Fault{Answer: cloudapitest.LoseRequest}, cloudapi.Unknown, "connection lost", 0, 0, 0, "[]"},
		{"throughput", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 130429}, cloudapi.Refused, "", 130429, time.Second, 0, "[]"},
		{"pair rate as 403, with Retry-After", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131056, HTTPStatus: 403, RetryAfter: 9 * time.Second}, cloudapi.Refused, "", 131056, 9 * time.Second, 0, "[]"},
		{"token", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 190}, cloudapi.Refused, "", 190, 0, 0, "[]"},
		{"waba limit", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 80007}, cloudapi.Refused, "", 80007, 7 * time.Minute, 0, "[]"},
		{"something went wrong", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131000}, cloudapi.Unknown, "error 131000", 131000, 0, 0, "[]"},
		{"code without a fixture", cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131047}, cloudapi.Refused, "", 131047, 0, 0, "[]"},
		{"html 502", cloudapitest.Fault{Answer: cloudapitest.HTML502}, cloudapi.Unknown, "http 502", 0, 0, 0, "[]"},
		{"late html 502", cloudapitest.Fault{Answer: cloudapitest.LateHTML502}, cloudapi.Unknown, "http 502", 0, 0, 1, all},
		{"reset in the body", cloudapitest.Fault{Answer: cloudapitest.ResetMidBody}, cloudapi.Unknown, "connection lost", 0, 0, 1, all},
		{"empty answer", cloudapitest.Fault{Answer: cloudapitest.EmptyAnswer}, cloudapi.Unknown, "unreadable answer", 0, 0, 1, all},
		{"patient drip", cloudapitest.Fault{Answer: cloudapitest.SlowDrip, Every: time.Nanosecond}, cloudapi.Accepted, "", 0, 0, 1, all},
		{"delay", cloudapitest.Fault{Delay: time.Millisecond}, cloudapi.Accepted, "", 0, 0, 1, all},
		{"no statuses", cloudapitest.Fault{Drop: true}, cloudapi.Accepted, "", 0, 0, 1, "[]"},
		{"twice", cloudapitest.Fault{Duplicate: true}, cloudapi.Accepted, "", 0, 0, 1, "[sent sent delivered delivered read read]"},
		{"backwards", cloudapitest.Fault{Reorder: true}, cloudapi.Accepted, "", 0, 0, 1, "[read delivered sent]"},
		{"fails later", cloudapitest.Fault{FailWith: 131049}, cloudapi.Accepted, "", 0, 0, 1, "[failed]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			s := start(t, a, nil)
			s.Script(func(cloudapitest.Call) cloudapitest.Fault { return test.fault })
			o := client(t, s).Send(t.Context(), call("msg_1"))
			settle(t, s)
			if o.Kind != test.kind || o.Detail != test.detail || o.Code != test.code || o.Wait != test.wait {
				t.Errorf("the caller believes %v, wait %v", o, o.Wait)
			}
			ledger := s.Ledger()
			if len(ledger) != 1 || s.Accepted("msg_1") != test.accepted || ledger[0].Accepted != (test.accepted == 1) || ledger[0].Answer != test.fault.Answer {
				t.Errorf("the ledger says %+v", ledger)
			}
			if got := fmt.Sprint(a.statuses(t, "msg_1")); got != test.told {
				t.Errorf("statuses %s, want %s", got, test.told)
			}
			if test.fault.FailWith != 0 {
				if f := a.items(t)[0].Fact.(*message.StatusReceived); f.Code != test.fault.FailWith || f.Reason == "" {
					t.Errorf("failed with %d %q", f.Code, f.Reason)
				}
			}
		})
	}
}

// Statuses may arrive before the answer (section 5.4): they are all there when
// the caller learns the wamid, however long they would have taken.
func TestStatusesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, func(c *cloudapitest.Config) { c.StatusDelay = time.Hour })
	s.Script(func(cloudapitest.Call) cloudapitest.Fault { return cloudapitest.Fault{First: true} })
	if o := client(t, s).Send(t.Context(), call("msg_1")); o.Kind != cloudapi.Accepted {
		t.Fatalf("got %v", o)
	}
	if got := a.statuses(t, "msg_1"); fmt.Sprint(got) != "[sent delivered read]" {
		t.Errorf("got %v", got)
	}
}

// A slow drip outlasts the caller, who does not know what happened.
func TestSlowDripOutlastsTheCaller(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	s.Script(func(cloudapitest.Call) cloudapitest.Fault {
		cancel()
		return cloudapitest.Fault{Answer: cloudapitest.SlowDrip, Every: time.Hour}
	})
	if o := client(t, s).Send(ctx, call("msg_1")); o.Kind != cloudapi.Unknown || o.Detail != "cancelled" {
		t.Errorf("got %v", o)
	}
}

func TestScriptSeesTheCall(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	seen := make(chan cloudapitest.Call, 1)
	s.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		seen <- c
		return cloudapitest.Fault{}
	})
	k := call("msg_1")
	k.Attempt = 4
	client(t, s).Send(t.Context(), k)
	if c := <-seen; c.Seq != 1 || c.Number != number || c.To != k.To || c.Tenant != "ten_1" || c.Message != "msg_1" || c.Attempt != 4 || len(c.Body) == 0 {
		t.Errorf("got %+v", c)
	}
}

// The same seed gives the same fault for the same attempt, whenever it comes,
// and about as many of each as its rate says.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	rates := cloudapitest.Rates{LoseAnswer: 0.1, LoseRequest: 0.1, Refuse: 0.2, HTML502: 0.05, LateHTML502: 0.05, ResetMidBody: 0.05,
		SlowDrip: 0.05, EmptyAnswer: 0.05, Codes: []int{130429, 131056}, Drop: 0.1, Duplicate: 0.3, Reorder: 0.3, First: 0.3,
		Delay: 0.5, MaxDelay: time.Second, Every: time.Millisecond}
	one, two, other := cloudapitest.RandomFaults(42, rates), cloudapitest.RandomFaults(42, rates), cloudapitest.RandomFaults(43, rates)
	const n = 10_000
	at := func(i int) cloudapitest.Call {
		return cloudapitest.Call{Message: domain.MessageID(fmt.Sprintf("msg_%d", i)), Attempt: 1}
	}
	backwards := map[int]cloudapitest.Fault{}
	for i := n; i > 0; i-- {
		backwards[i] = two(at(i))
	}
	answers, differ, duplicates := map[cloudapitest.Answer]int{}, 0, 0
	for i := 1; i <= n; i++ {
		f := one(at(i))
		if f != backwards[i] {
			t.Fatalf("call %d: %+v, then %+v", i, f, backwards[i])
		}
		if f != other(at(i)) {
			differ++
		}
		if f.Delay < 0 || f.Delay >= time.Second || (f.Code != 130429 && f.Code != 131056) {
			t.Fatalf("got %+v", f)
		}
		if f.Duplicate {
			duplicates++
		}
		answers[f.Answer]++
	}
	near := func(what any, got int, rate float64) {
		if want := rate * n; float64(got) < 0.8*want || float64(got) > 1.2*want {
			t.Errorf("%v: %d of %d", what, got, n)
		}
	}
	near(cloudapitest.LoseAnswer, answers[cloudapitest.LoseAnswer], 0.1)
	near(cloudapitest.Refuse, answers[cloudapitest.Refuse], 0.2)
	near(cloudapitest.EmptyAnswer, answers[cloudapitest.EmptyAnswer], 0.05)
	near(cloudapitest.Normal, answers[cloudapitest.Normal], 0.35)
	near("duplicates", duplicates, 0.3)
	if differ < n/2 {
		t.Error("another seed gives the same faults")
	}
	if f := cloudapitest.RandomFaults(1, cloudapitest.Rates{})(cloudapitest.Call{Seq: 1}); f.Answer != cloudapitest.Normal || f.Drop || f.Delay != 0 {
		t.Errorf("no rates: %+v", f)
	}
}
