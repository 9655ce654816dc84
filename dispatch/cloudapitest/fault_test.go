package cloudapitest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
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
		{"server error", cloudapitest.Fault{Answer: cloudapitest.ServerError}, cloudapi.Unknown, "error 131000", 131000, 0, 0, "[]"},
		{"late server error", cloudapitest.Fault{Answer: cloudapitest.LateServerError}, cloudapi.Unknown, "error 131000", 131000, 0, 1, all},
		{"unreadable answer", cloudapitest.Fault{Answer: cloudapitest.UnreadableAnswer}, cloudapi.Unknown, "unreadable answer", 0, 0, 1, all},
		{"statuses late", cloudapitest.Fault{StatusDelay: time.Millisecond}, cloudapi.Accepted, "", 0, 0, 1, all},
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

// Every error of the reference is answered as it stands there, but for the
// trace, and stands in the ledger under its code.
func TestErrorsAreTheSamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("errors/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			type errorBody = map[string]map[string]any
			var want struct {
				Status  int `json:"http_status"`
				Headers map[string]string
				Body    errorBody
			}
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			code := int(want.Body["error"]["code"].(float64))
			ask := code
			if subcode, ok := want.Body["error"]["error_subcode"].(float64); ok {
				ask = int(subcode)
			}
			s := start(t, nil, nil)
			s.Script(func(cloudapitest.Call) cloudapitest.Fault {
				return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: ask}
			})
			status, header, answer := post(t, s.URL()+messages, "Bearer "+token, fixture(t, "send-requests/text.json"))
			var got errorBody
			if err := json.Unmarshal(answer, &got); err != nil {
				t.Fatal(err)
			}
			for _, e := range []errorBody{got, want.Body} {
				if e["error"]["fbtrace_id"] == "" {
					t.Error("no trace")
				}
				delete(e["error"], "fbtrace_id")
			}
			if status != want.Status || !reflect.DeepEqual(got, want.Body) {
				t.Errorf("%d %v, want %d %v", status, got, want.Status, want.Body)
			}
			for name, value := range want.Headers {
				if have := header.Get(name); have == "" || !strings.HasPrefix(name, "x-fb-") && have != value {
					t.Errorf("header %s is %q, want %q", name, have, value)
				}
			}
			if calls := s.Ledger(); len(calls) != 1 || calls[0].Code != code {
				t.Errorf("the ledger says %+v", calls)
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
func TestSeededFaults(t *testing.T) {
	t.Parallel()
	plan := cloudapitest.Faults{Seed: 42, LoseAnswer: 0.1, LoseRequest: 0.1, ServerError: 0.05, LateServerError: 0.05, HTML502: 0.05, LateHTML502: 0.05,
		ResetMidBody: 0.05, SlowDrip: 0.05, EmptyAnswer: 0.05, UnreadableAnswer: 0.05, Refuse: map[int]float64{130429: 0.1, 131056: 0.1},
		Drop: 0.1, Duplicate: 0.3, Reorder: 0.3, First: 0.3, Fail: map[int]float64{131026: 0.1, 131049: 0.1},
		Delay: 0.5, MaxDelay: time.Second, StatusDelay: 0.2, MaxStatusDelay: time.Minute, Every: time.Millisecond}
	another := plan
	another.Seed = 43
	one, two, other := plan.Script(), plan.Script(), another.Script()
	const n = 10_000
	at := func(i int) cloudapitest.Call {
		return cloudapitest.Call{Message: domain.MessageID(fmt.Sprintf("msg_%d", i)), Attempt: 1, Seq: n - i}
	}
	backwards := map[int]cloudapitest.Fault{}
	for i := n; i > 0; i-- {
		c := at(i)
		c.Seq = i
		backwards[i] = two(c)
	}
	counts, differ := map[any]int{}, 0
	for i := 1; i <= n; i++ {
		f := one(at(i))
		if f != backwards[i] {
			t.Fatalf("call %d: %+v, then %+v", i, f, backwards[i])
		}
		if f != other(at(i)) {
			differ++
		}
		if f.Delay < 0 || f.Delay >= time.Second || f.StatusDelay < 0 || f.StatusDelay >= time.Minute {
			t.Fatalf("got %+v", f)
		}
		counts[f.Answer]++
		for name, happens := range map[any]bool{f.Code: true, f.FailWith: true, "duplicate": f.Duplicate, "late": f.Delay > 0, "status late": f.StatusDelay > 0} {
			if happens {
				counts[name]++
			}
		}
	}
	for name, rate := range map[any]float64{
		cloudapitest.Normal: 0.25, cloudapitest.LoseAnswer: 0.1, cloudapitest.Refuse: 0.2, cloudapitest.EmptyAnswer: 0.05, cloudapitest.UnreadableAnswer: 0.05,
		cloudapitest.LateServerError: 0.05, 131056: 0.1, 130429: 0.1, 131026: 0.1, 131049: 0.1, "duplicate": 0.3, "late": 0.5, "status late": 0.2,
	} {
		if got := float64(counts[name]) / n; got < 0.8*rate || got > 1.2*rate {
			t.Errorf("%v: %v, want %v", name, got, rate)
		}
	}
	if differ < n/2 {
		t.Error("another seed gives the same faults")
	}
	if f := (cloudapitest.Faults{}).Script()(cloudapitest.Call{Seq: 1}); f != (cloudapitest.Fault{}) {
		t.Errorf("no rates: %+v", f)
	}
}

// A plan is written in one line; what makes no sense is refused with a reason.
func TestParseFaults(t *testing.T) {
	t.Parallel()
	got, err := cloudapitest.ParseFaults("lose=0.01, late=0.02:3s,130429=0.05,fail=0.01:131049,drip=0.1:5ms,status-late=1,500=0.125,late-500=0.125,duplicate=0.5")
	want := cloudapitest.Faults{LoseAnswer: 0.01, Delay: 0.02, MaxDelay: 3 * time.Second, Refuse: map[int]float64{130429: 0.05}, Fail: map[int]float64{131049: 0.01},
		SlowDrip: 0.1, Every: 5 * time.Millisecond, StatusDelay: 1, MaxStatusDelay: 2 * time.Second, ServerError: 0.125, LateServerError: 0.125, Duplicate: 0.5}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if f, err := cloudapitest.ParseFaults(""); err != nil || !reflect.DeepEqual(f, cloudapitest.Faults{}) {
		t.Errorf("nothing: %+v, %v", f, err)
	}
	for word := range strings.SplitSeq(strings.NewReplacer("; of statuses: ", ", ").Replace(cloudapitest.FaultNames), ", ") {
		if f, err := cloudapitest.ParseFaults(word + "=0.5"); err != nil || reflect.DeepEqual(f, cloudapitest.Faults{}) {
			t.Errorf("%s: %+v, %v", word, f, err)
		}
		if !strings.Contains(cloudapitest.FaultHelp, "\n  "+word+"  ") {
			t.Errorf("the help does not say what %s does", word)
		}
	}
	for _, bad := range []string{"lose", "lose=2", "lose=NaN", "lose=-0.1", "loose=0.1", "lose=0.1:3s", "late=0.1:soon", "fail=0.1:x", "lose=0.6,html=0.6"} {
		if _, err := cloudapitest.ParseFaults(bad); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A call that hangs is accepted, and answered when the server is released.
func TestHang(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	hung := make(chan struct{})
	s.Script(func(cloudapitest.Call) cloudapitest.Fault {
		close(hung)
		return cloudapitest.Fault{Answer: cloudapitest.Hang}
	})
	outcome := make(chan cloudapi.Outcome, 1)
	go func() { outcome <- client(t, s).Send(t.Context(), call("msg_1")) }()
	<-hung
	for s.Accepted("msg_1") == 0 {
		runtime.Gosched()
	}
	select {
	case o := <-outcome:
		t.Fatalf("answered too early: %v", o)
	default:
	}
	// It hangs a moment after it was accepted: release until it is answered.
	for {
		s.Release()
		select {
		case o := <-outcome:
			if o.Kind != cloudapi.Accepted {
				t.Errorf("got %v", o)
			}
			return
		default:
			runtime.Gosched()
		}
	}
}

// A revoked token opens nothing, neither for sending nor for asking, until
// another one is shown.
func TestRevokedToken(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(c *cloudapitest.Config) { c.Authorize = nil })
	s.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		if c.Message == "msg_1" {
			return cloudapitest.Fault{Answer: cloudapitest.RevokeToken}
		}
		return cloudapitest.Fault{}
	})
	c := client(t, s)
	send := func(m domain.MessageID, token string) int {
		k := call(m)
		k.Token = token
		return c.Send(t.Context(), k).Code
	}
	for _, step := range []struct {
		message domain.MessageID
		token   string
		code    int
	}{{"msg_0", "old", 0}, {"msg_1", "old", 190}, {"msg_2", "old", 190}, {"msg_2", "new", 0}, {"msg_3", "old", 190}} {
		if got := send(step.message, step.token); got != step.code {
			t.Errorf("%s with the %s token: %d", step.message, step.token, got)
		}
	}
	if got := s.CallsByAttempt()[cloudapitest.AttemptID{Message: "msg_2", Attempt: 1}]; got != 2 {
		t.Errorf("the ledger has %d calls of msg_2, one of them refused for its token", got)
	}
}
