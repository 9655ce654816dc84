package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

func wantTypes(t *testing.T, w *world, k domain.Key, want ...string) {
	t.Helper()
	if got := w.types(k); !slices.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
}

// A request becomes one recorded attempt, one call, one recorded outcome.
func TestOneRequestOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.request("+14155550100", "hello")
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendAttempted) // the attempt is recorded before the call
		return accepted(c)
	})
	w.run(w.d)
	var f message.SendAccepted
	if err := w.await(k, message.TypeSendAccepted).Decode(&f); err != nil {
		t.Fatal(err)
	}
	calls := w.provider.made()
	if len(calls) != 1 || calls[0].To != "+14155550100" || calls[0].Token != "token" || calls[0].Attempt != 1 ||
		string(calls[0].Message) != k.ID || f.Via != "answer" || !strings.Contains(f.Wamid, k.ID) {
		t.Errorf("calls %v, accepted %+v", calls, f)
	}
}

// A refusal that may pass is tried again, under rising attempt numbers, until
// it is accepted.
func TestRetriesUntilAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Attempt < 3 {
			return refusedFor(true)
		}
		return accepted(c)
	})
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendAccepted)
	wantTypes(t, w, k, "SendRequested", "SendAttempted", "SendRefused", "SendAttempted", "SendRefused", "SendAttempted", "SendAccepted")
	for i, c := range w.provider.made() {
		if c.Attempt != i+1 {
			t.Errorf("call %d has attempt number %d", i+1, c.Attempt)
		}
	}
}

// After five refusals the message is dead-lettered with its reason, and a
// redrive gives it a new budget.
func TestDeadLetterAndRedrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome { return refusedFor(true) })
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	var f message.SendDeadLettered
	if err := w.await(k, message.TypeSendDeadLettered).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.Attempts != 5 || f.Reason != "attempts_exhausted" || f.Code != 130429 || f.Detail != "too fast" {
		t.Errorf("dead-lettered as %+v", f)
	}
	if got := w.graves.buried(); !slices.Equal(got, []string{k.ID + " attempts_exhausted"}) {
		t.Errorf("buried %v", got)
	}
	w.provider.answer(accepted)
	w.append(k, &message.SendRedriven{By: "test"})
	w.await(k, message.TypeSendAccepted)
	if calls := w.provider.made(); len(calls) != 6 || calls[5].Attempt != 6 {
		t.Errorf("%d calls, the last with number %d", len(calls), calls[len(calls)-1].Attempt)
	}
}

// What Meta says in its own words goes into the sealed part of the refusal; the
// code of an answer that leaves the outcome unknown is kept with that.
func TestOutcomesKeepWhatMetaSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome {
		o := refusedFor(false)
		o.Details = "+14155550100 is not one"
		return o
	})
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	e := w.await(k, message.TypeSendRefused)
	var refused message.SendRefused
	if err := e.Decode(&refused); err != nil {
		t.Fatal(err)
	}
	if refused.Details != "+14155550100 is not one" || bytes.Contains(e.Facts, []byte("4155550100")) {
		t.Errorf("%+v, facts %s", refused, e.Facts)
	}

	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome {
		return cloudapi.Outcome{Kind: cloudapi.Unknown, Code: 131000, Detail: "error 131000"}
	})
	k = w.ask(tenantA, number, "+14155550101", aText, message.Options{OnUnknown: message.Park})
	var unknown message.OutcomeUnknown
	if err := w.await(k, message.TypeOutcomeUnknown).Decode(&unknown); err != nil {
		t.Fatal(err)
	}
	var dead message.SendDeadLettered
	if err := w.await(k, message.TypeSendDeadLettered).Decode(&dead); err != nil {
		t.Fatal(err)
	}
	if unknown.Code != 131000 || dead.Code != 131000 || dead.Reason != message.ReasonUnknown {
		t.Errorf("%+v, %+v", unknown, dead)
	}
}

// What is redriven waits behind what is new, however much of it there is.
func TestRedrivenGoesAfterNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := newHandClock()
	w.d.turns = newTurnstile(clock, rates(10), w.d.Policy) // one at a time, every 100 ms
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome { return refusedFor(false) })
	w.run(w.d)
	const old = 4
	var dead []domain.Key
	for i := range old {
		k := w.request(fmt.Sprintf("+1415555010%d", i), "old")
		w.await(k, message.TypeSendDeadLettered)
		dead = append(dead, k)
		clock.move(100 * time.Millisecond)
	}
	w.provider.answer(accepted)
	for _, k := range dead {
		w.append(k, &message.SendRedriven{By: "test"})
	}
	waiting := func(n int) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(30 * time.Second); w.d.Waiting().Number != n; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d wait, want %d", w.d.Waiting().Number, n)
			}
		}
	}
	waiting(old - 1) // one found nobody waiting
	fresh := w.request("+14155550199", "new")
	waiting(old)
	w.until("the turnstile to sleep until the next turn", func() bool { return clock.wakes(100 * time.Millisecond) })
	clock.move(100 * time.Millisecond)
	w.await(fresh, message.TypeSendAccepted)
	if calls := w.provider.made(); len(calls) != old+2 {
		t.Errorf("%d redriven messages went before the new one, want 1", len(calls)-old-1)
	}
}

// A refusal for good is not tried again.
func TestPermanentRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome { return refusedFor(false) })
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendDeadLettered)
	wantTypes(t, w, k, "SendRequested", "SendAttempted", "SendRefused", "SendDeadLettered")
}

// An unknown outcome that a status proves is an acceptance: nothing is sent
// again.
func TestUnknownOutcomeProvenByStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Hour // the proof ends the wait, not the clock
	k := w.request("+14155550100", "hello")
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "timeout"}
	})
	w.run(w.d)
	w.await(k, message.TypeOutcomeUnknown)
	status := message.StatusKey(tenantA, number)
	w.append(status, &message.StatusReceived{Status: "delivered", Message: "msg_other", Attempt: 1})
	w.append(status, &message.StatusReceived{Status: "delivered", Message: domain.MessageID(k.ID), Attempt: 1,
		StatusNames: message.StatusNames{Wamid: "wamid.proof"}})
	var f message.SendAccepted
	if err := w.await(k, message.TypeSendAccepted).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.Via != "status" || f.Wamid != "wamid.proof" || f.Attempt != 1 || len(w.provider.made()) != 1 {
		t.Errorf("accepted %+v after %d calls", f, len(w.provider.made()))
	}
}

// An unknown outcome that nothing proves is sent again after the wait, under a
// new number that says why.
func TestUnknownOutcomeIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Attempt == 1 {
			return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "connection lost"}
		}
		return accepted(c)
	})
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendAccepted)
	wantTypes(t, w, k, "SendRequested", "SendAttempted", "OutcomeUnknown", "SendAttempted", "SendAccepted")
	events, _ := w.log.Load(t.Context(), k)
	var again message.SendAttempted
	if err := events[3].Decode(&again); err != nil || again.After != "unknown" || again.Attempt != 2 {
		t.Errorf("sent again as %+v, %v", again, err)
	}
	if waited := events[3].At.Sub(events[2].At); waited < w.d.Policy.UnknownWait {
		t.Errorf("sent again after %s", waited)
	}
}

// A process that died after recording an attempt leaves doubt, and the next
// one settles it instead of calling at once.
func TestTakeOverOfAnOpenAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Hour
	k := w.request("+14155550100", "hello")
	w.append(k, &message.SendAttempted{Attempt: 1})
	w.run(w.d)
	w.await(k, message.TypeOutcomeUnknown)
	w.append(message.StatusKey(tenantA, number), &message.StatusReceived{Status: "sent", Message: domain.MessageID(k.ID), Attempt: 1,
		StatusNames: message.StatusNames{Wamid: "wamid.x"}})
	w.await(k, message.TypeSendAccepted)
	if n := len(w.provider.made()); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}

// Two processes working the same lanes never call twice for one attempt number.
func TestTwoOwnersOneCallPerAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Attempt == 1 {
			return refusedFor(true)
		}
		return accepted(c)
	})
	var keys []domain.Key
	for i := range 100 {
		keys = append(keys, w.request(fmt.Sprintf("+1415555%04d", i%10), "hello"))
	}
	w.run(w.d)
	w.run(w.dispatcher())
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	w.calledOnce()
}

// Messages to one recipient leave in the order they were accepted, through
// their retries; other recipients do not wait for them.
func TestOrderPerRecipient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	sent := map[string][]string{}
	hold := make(chan struct{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.To == "+14155550001" && c.Attempt == 1 {
			<-hold
			return refusedFor(true)
		}
		mu.Lock()
		defer mu.Unlock()
		sent[c.To] = append(sent[c.To], string(c.Message))
		return accepted(c)
	})
	want := map[string][]string{}
	var slow, quick domain.Key
	for range 20 {
		slow = w.request("+14155550001", "hello")
		quick = w.request("+14155550002", "hello")
		want[`+14155550001`] = append(want["+14155550001"], slow.ID)
		want["+14155550002"] = append(want["+14155550002"], quick.ID)
	}
	w.run(w.d)
	w.await(quick, message.TypeSendAccepted) // while the other recipient's first call hangs
	close(hold)
	w.await(slow, message.TypeSendAccepted)
	mu.Lock()
	defer mu.Unlock()
	for to, ids := range want {
		if !slices.Equal(sent[to], ids) {
			t.Errorf("%s: order %v, want %v", to, sent[to], ids)
		}
	}
}

// Stopping lets a running call finish and records its outcome.
func TestStopRecordsRunningCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	called, answer := make(chan struct{}), make(chan struct{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		close(called)
		<-answer
		return accepted(c)
	})
	k := w.request("+14155550100", "hello")
	stop := w.run(w.d)
	<-called
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(answer)
	<-stopped
	wantTypes(t, w, k, "SendRequested", "SendAttempted", "SendAccepted")
}

// What cannot be read goes to the dead letters, and the lane goes on.
func TestUnreadableEventIsRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenure, over := context.WithCancel(t.Context())
	l := w.d.begin(domain.Lane(number), tenure, t.Context())
	k := w.request("+14155550100", "hello")
	v := w.work.delivery(domain.Event{Position: 1, Key: k})
	v.Err = errors.New("no such version")
	l.take(v)
	<-w.work.finished
	if got := w.graves.buried(); !slices.Equal(got, []string{k.ID + "-unreadable unreadable"}) || w.work.rejected[1] != "unreadable" {
		t.Errorf("buried %v, rejected %v", got, w.work.rejected)
	}
	wantTypes(t, w, k, "SendRequested", "SendDeadLettered") // its tenant sees it, and it can be redriven
	v = w.work.delivery(domain.Event{Position: 2, Key: k})
	v.Err = domain.Errorf(domain.Unavailable, nil, "no data key yet")
	l.take(v)
	over()
	l.end()
	if w.work.isDone(2) {
		t.Error("an event whose key may still come was given up")
	}
}

// What is handed out time and again without an end is buried in the end, where
// its tenant sees it, and never called; what is finished stays finished.
func TestEndlessWorkIsBuried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		t.Errorf("%s was called", c.Message)
		return accepted(c)
	})
	tenure, over := context.WithCancel(t.Context())
	l := w.d.begin(domain.Lane(number), tenure, t.Context())
	hand := func(k domain.Key) {
		events, err := w.log.Load(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		v := w.work.delivery(events[0])
		v.Deliveries = mostDeliveries + 1
		l.take(v)
		<-w.work.finished
		for held := 1; held > 0; runtime.Gosched() { // it is acknowledged a moment before it is forgotten
			l.mu.Lock()
			held = len(l.held)
			l.mu.Unlock()
		}
	}
	k := w.request("+14155550100", "hello")
	hand(k)
	wantTypes(t, w, k, "SendRequested", "SendDeadLettered")
	if got := w.graves.buried(); !slices.Equal(got, []string{k.ID + " poison"}) {
		t.Errorf("buried %v", got)
	}
	hand(k)
	wantTypes(t, w, k, "SendRequested", "SendDeadLettered")
	over()
	l.end()
}

// Waits grow exponentially within their bounds, and the provider's own word is
// the least.
func TestPolicyWait(t *testing.T) {
	t.Parallel()
	p := Policy{FirstWait: time.Second, MostWait: 10 * time.Second}.withDefaults()
	for n, most := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second} {
		for range 100 {
			if d := p.wait(n+1, cloudapi.Outcome{Code: 130429}); d < most/2 || d > most {
				t.Fatalf("wait %d is %s, want %s to %s", n+1, d, most/2, most)
			}
		}
	}
	if d := p.wait(1, cloudapi.Outcome{Code: 130429, Wait: time.Minute}); d != time.Minute {
		t.Errorf("the provider said a minute, we wait %s", d)
	}
}
