package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// found returns when a worker has found the gate closed.
func (g *gate) found(t *testing.T) {
	t.Helper()
	select {
	case <-g.waited:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody came to the gate")
	}
}

// While a number is paused nothing is called and no attempt is recorded; when
// it is resumed its messages leave in the order they were accepted.
func TestPauseKeepsTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set(true)
	var keys []domain.Key
	for range 5 {
		keys = append(keys, w.request("+14155550100", "hello"))
	}
	w.run(w.d)
	w.gate.found(t)
	for _, k := range keys {
		wantTypes(t, w, k, message.TypeSendRequested)
	}
	w.gate.set(false)
	var sent []string
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	for _, c := range w.provider.made() {
		sent = append(sent, string(c.Message))
	}
	var want []string
	for _, k := range keys {
		want = append(want, k.ID)
	}
	if !slices.Equal(sent, want) {
		t.Errorf("sent %v, accepted %v", sent, want)
	}
}

// renewed is a token that is replaced during the first call.
type renewed struct{ *scripted }

func (r renewed) Token(domain.NumberID) (string, error) {
	if len(r.made()) == 0 {
		return "dead", nil
	}
	return "new", nil
}

// What Meta says of a token that was replaced meanwhile stops nobody: the next
// call uses the new one.
func TestRefusalOfAReplacedToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Tokens = renewed{w.provider}
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Token == "dead" {
			return refusedWith(190)
		}
		return accepted(c)
	})
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendAccepted)
	if blocks, _ := w.breaker.told(); len(blocks) != 0 {
		t.Errorf("blocked: %+v", blocks)
	}
}

// A pause that comes while a message waits for a free call holds it: whoever
// paused sees no call begin.
func TestPauseWhileWaitingForACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.turns.free = 1
	release := make(chan struct{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		<-release
		return accepted(c)
	})
	first := w.request("+14155550100", "first")
	w.run(w.d)
	w.await(first, message.TypeSendAttempted)
	second := w.request("+14155550101", "second")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.d.Waiting().Slot == 0 { // it has passed the gate, and the only call is taken
		<-tick.C
	}
	w.gate.set(true)
	close(release)
	w.await(first, message.TypeSendAccepted)
	w.gate.found(t)
	wantTypes(t, w, second, message.TypeSendRequested)
	w.gate.set(false)
	w.await(second, message.TypeSendAccepted)
}

// A status that arrives during a pause proves the attempt before it: nothing is
// sent again when the pause ends.
func TestProofDuringAPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome {
		w.gate.set(true)
		return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "timeout"}
	})
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.gate.found(t) // the wait for a status is over, and the second attempt is due
	w.append(message.StatusKey(tenantA, number), &message.StatusReceived{Status: "delivered", Message: domain.MessageID(k.ID), Attempt: 1,
		StatusNames: message.StatusNames{Wamid: "wamid.proof"}})
	w.gate.set(false)
	w.await(k, message.TypeSendAccepted)
	if calls := w.provider.made(); len(calls) != 1 {
		t.Errorf("%d calls, want 1", len(calls))
	}
}

// A process that stops while a number is paused leaves its messages to the
// next one.
func TestStopDuringAPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set(true)
	k := w.request("+14155550100", "hello")
	stop := w.run(w.d)
	w.gate.found(t)
	stop()
	wantTypes(t, w, k, message.TypeSendRequested)
	w.gate.set(false)
	w.run(w.dispatcher())
	w.await(k, message.TypeSendAccepted)
}
