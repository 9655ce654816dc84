package cloudapitest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// A person writes, with all that Meta escapes: the body on the wire is ASCII,
// signed as it is, and reads as it was written.
func TestInbound(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	const text = "¡Hola! äöå 😀 a/b <ok> \"q\" \\ \n & \u2028"
	wamid, err := s.Inbound(cloudapitest.Inbound{From: "+34 600 11 22 33", Name: "Lucía", Text: text, Number: number})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	f := a.items(t)[0].Fact.(*message.InboundReceived)
	if f.Text != text || f.Wamid != wamid || f.Person.Phone != "34600112233" || f.Person.Name != "Lucía" || f.SaidAt.IsZero() || f.Type != "text" {
		t.Errorf("got %+v", f)
	}
	wire := string(a.bodies[0])
	for _, r := range wire {
		if r > 0x7e || r < ' ' {
			t.Fatalf("%q stands unescaped in %s", r, wire)
		}
	}
	for _, want := range []string{`\u00a1Hola! \u00e4\u00f6\u00e5 \ud83d\ude00 a\/b <ok>`, `\u2028`} {
		if !strings.Contains(wire, want) {
			t.Errorf("%s is not in %s", want, wire)
		}
	}
	if regexp.MustCompile(`[^\\]/|\\u[0-9a-f]*[A-F]`).MatchString(wire) {
		t.Errorf("not as Meta writes: %s", wire)
	}
}

func TestInboundOverHTTP(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	status, _, body := post(t, s.URL()+"/_pretend/inbound", "", `{"from":"US.1349","name":"N","text":"hi","number":"106540352242922"}`)
	var answer struct{ Wamid string }
	if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	settle(t, s)
	f := a.items(t)[0].Fact.(*message.InboundReceived)
	if f.Wamid != answer.Wamid || f.Person.UserID != "US.1349" || f.Person.Phone != "" || strings.Contains(string(a.bodies[0]), "wa_id") {
		t.Errorf("got %+v", f)
	}
	for _, bad := range []string{`x`, `{}`, `{"from":"bob","text":"x","number":"1"}`, `{"from":"+4917000000","number":"1"}`, `{"from":"+4917000000","text":"x","number":"a b"}`} {
		if status, _, _ := post(t, s.URL()+"/_pretend/inbound", "", bad); status != 400 {
			t.Errorf("%s: %d", bad, status)
		}
	}
	deaf := start(t, nil, nil)
	if status, _, _ := post(t, deaf.URL()+"/_pretend/inbound", "", `{"from":"+4917000000","text":"x","number":"1"}`); status != 503 {
		t.Errorf("nobody to tell: %d", status)
	}
}

// An app that is down gets everything when it is back, in order.
func TestRetryUntilTaken(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.refuse = func(post int) bool { return post <= 12 }
	s := start(t, a, func(c *cloudapitest.Config) { c.Clock = &clock{now: time.Unix(1795435200, 0)} })
	if o := client(t, s).Send(t.Context(), call("msg_1")); o.Kind != cloudapi.Accepted {
		t.Fatalf("got %v", o)
	}
	settle(t, s)
	if got := a.statuses(t, "msg_1"); fmt.Sprint(got) != "[sent delivered read]" || a.posts != 15 || s.GivenUp() != 0 {
		t.Errorf("%v after %d posts", got, a.posts)
	}
}

// After the horizon a webhook is dropped and counted; the next has its own.
func TestRetryEnds(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.refuse = func(int) bool { return true }
	s := start(t, a, func(c *cloudapitest.Config) {
		c.Clock = &clock{now: time.Unix(1795435200, 0)}
		c.RetryFor = time.Minute
	})
	client(t, s).Send(t.Context(), call("msg_1"))
	settle(t, s)
	if s.GivenUp() != 3 || len(a.items(t)) != 0 {
		t.Errorf("gave up %d", s.GivenUp())
	}
}

// Statuses come at their own time, and a message that is due earlier does not
// wait for them.
func TestStatusDelay(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	at := time.Unix(1795435200, 0)
	s := start(t, a, func(c *cloudapitest.Config) {
		c.Clock = &clock{now: at}
		c.StatusDelay = 10 * time.Second
	})
	client(t, s).Send(t.Context(), call("msg_1"))
	settle(t, s)
	for n, i := range a.items(t) {
		if f := i.Fact.(*message.StatusReceived); !f.SaidAt.Equal(at.Add(time.Duration(n+1) * 10 * time.Second)) {
			t.Errorf("%s at %v", f.Status, f.SaidAt)
		}
	}

	// On the real clock statuses of an hour from now wait; the person does not.
	b := newApp(t)
	s = start(t, b, func(c *cloudapitest.Config) { c.StatusDelay = time.Hour })
	client(t, s).Send(t.Context(), call("msg_1"))
	if _, err := s.Inbound(cloudapitest.Inbound{From: "+4917000000", Text: "x", Number: number}); err != nil {
		t.Fatal(err)
	}
	<-b.took
	if got := b.items(t); len(got) != 1 || got[0].Kind != domain.KindInbound {
		t.Errorf("got %d items", len(got))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Settle(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("settled while statuses wait: %v", err)
	}
}

// Close returns while webhooks wait, answers drip and calls are delayed, and
// nothing is told afterwards.
func TestCloseStopsEverything(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, func(c *cloudapitest.Config) { c.StatusDelay = time.Hour })
	taken := make(chan struct{}, 3)
	s.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		taken <- struct{}{}
		switch c.Message {
		case "msg_drip":
			return cloudapitest.Fault{Answer: cloudapitest.SlowDrip, Every: time.Hour}
		case "msg_late":
			return cloudapitest.Fault{Delay: time.Hour}
		}
		return cloudapitest.Fault{First: true, Duplicate: true}
	})
	c := client(t, s)
	results := make(chan cloudapi.Outcome, 2)
	for _, m := range []domain.MessageID{"msg_drip", "msg_late"} {
		go func() { results <- c.Send(t.Context(), call(m)) }()
	}
	<-taken
	<-taken
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if o := <-results; o.Kind == cloudapi.Accepted {
			t.Errorf("got %v", o)
		}
	}
	if o := c.Send(t.Context(), call("msg_after")); o.Kind != cloudapi.Refused || !o.Retry {
		t.Errorf("after Close: %v", o)
	}
	if _, err := s.Inbound(cloudapitest.Inbound{From: "+4917000000", Text: "x", Number: number}); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	if a.posts != 0 {
		t.Errorf("%d webhooks were posted", a.posts)
	}
}

// Under load one webhook holds many updates of many numbers. Each number's
// keep their order, and a webhook that is not taken comes again as it was.
func TestBatch(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var refused [][]byte
	a.heard = func(post int, body []byte) bool {
		if post <= 3 {
			refused = append(refused, body)
		}
		return post > 3
	}
	s := start(t, a, func(c *cloudapitest.Config) {
		c.Batch, c.Authorize, c.Clock = 1000, nil, &clock{now: time.Unix(1795435200, 0)}
	})
	c := client(t, s)
	const numbers, each = 5, 20
	for i := range numbers * each {
		k := call(domain.MessageID(fmt.Sprintf("msg_%d", i)))
		k.Number = domain.NumberID(fmt.Sprint(i % numbers))
		if o := c.Send(t.Context(), k); o.Kind != cloudapi.Accepted {
			t.Fatal(o)
		}
	}
	settle(t, s)
	told, changes := map[domain.MessageID][]string{}, 0
	for _, body := range a.bodies {
		d, err := cloudapi.ParseWebhook(body)
		if err != nil {
			t.Fatal(err)
		}
		changes += len(d.Changes)
		for _, c := range d.Changes {
			for _, i := range c.Items {
				f := i.Fact.(*message.StatusReceived)
				if n, err := strconv.Atoi(strings.TrimPrefix(string(f.Message), "msg_")); err != nil || c.Number != domain.NumberID(fmt.Sprint(n%numbers)) {
					t.Errorf("%s was told of number %s", f.Message, c.Number)
				}
				told[f.Message] = append(told[f.Message], f.Status)
			}
		}
	}
	for i := range numbers * each {
		if got := told[domain.MessageID(fmt.Sprintf("msg_%d", i))]; fmt.Sprint(got) != "[sent delivered read]" {
			t.Errorf("msg_%d was told %v", i, got)
		}
	}
	if len(a.bodies) > numbers*each || changes == 3*numbers*each {
		t.Errorf("%d webhooks with %d changes hold %d statuses", len(a.bodies), changes, 3*numbers*each)
	}
	taken := map[string]bool{}
	for _, body := range a.bodies {
		taken[string(body)] = true
	}
	for _, body := range refused {
		if !taken[string(body)] {
			t.Errorf("this came once and never again: %s", body)
		}
	}
}
