package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

var statuses = message.StatusKey(tenantA, number)

// delivered is the status that proves attempt n of a message.
func delivered(k domain.Key, n int) *message.StatusReceived {
	return &message.StatusReceived{Status: "delivered", Message: domain.MessageID(k.ID), Attempt: n,
		StatusNames: message.StatusNames{Wamid: "wamid.proof"}}
}

func lost(cloudapi.Call) cloudapi.Outcome {
	return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "timeout"}
}

// wantProven fails unless a message was accepted by a status after one call.
func (w *world) wantProven(k domain.Key, calls int) {
	w.t.Helper()
	var f message.SendAccepted
	if err := w.await(k, message.TypeSendAccepted).Decode(&f); err != nil || f.Via != "status" {
		w.t.Errorf("accepted %+v, %v", f, err)
	}
	n := 0
	for _, c := range w.provider.made() {
		if string(c.Message) == k.ID {
			n++
		}
	}
	if n != calls {
		w.t.Errorf("%d calls, want %d; the log has %v", n, calls, w.types(k))
	}
}

// A status that arrives while the call still hangs, and is read on behalf of
// another message, proves the attempt all the same.
func TestStatusBeforeTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Hour // a proof ends the wait, not the clock
	hang := make(chan struct{})
	first := w.request("+14155550001", "first")
	second := w.request("+14155550002", "second")
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if string(c.Message) == second.ID {
			<-hang
		}
		return lost(c)
	})
	w.run(w.d)
	w.await(second, message.TypeSendAttempted)
	w.await(first, message.TypeOutcomeUnknown) // its follower reads on
	w.append(statuses, delivered(second, 1))
	w.append(statuses, delivered(first, 1))
	w.wantProven(first, 1) // so the follower is past the second's status
	close(hang)
	w.wantProven(second, 1)
}

// A process that starts long after the wait is over looks at the statuses
// before it sends again.
func TestRestartAfterTheWaitAsksTheLogFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Nanosecond
	k := w.request("+14155550100", "hello")
	w.append(k, &message.SendAttempted{Attempt: 1})
	w.append(k, &message.OutcomeUnknown{Attempt: 1, Reason: "timeout"})
	w.append(statuses, delivered(k, 1))
	w.run(w.d)
	w.wantProven(k, 0)
}

// While the statuses cannot be read nothing is sent again.
func TestUnreadableStatusesStopTheResend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := &brokenFacts{Memory: w.log, broken: true, asked: make(chan struct{}, 100)}
	w.d.Facts, w.d.reconcile = broken, newReconciler(broken, w.d.Logger)
	w.d.Policy.UnknownWait = time.Nanosecond
	k := w.request("+14155550100", "hello")
	w.append(k, &message.SendAttempted{Attempt: 1})
	w.append(k, &message.OutcomeUnknown{Attempt: 1, Reason: "timeout"})
	w.append(statuses, delivered(k, 1))
	w.run(w.d)
	<-broken.asked
	<-broken.asked // it asks again rather than send
	broken.mend()
	w.wantProven(k, 0)
}

// A status of the first attempt that comes when the second is already unknown
// stops the third.
func TestProofOfAnOlderAttemptCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = time.Nanosecond
	k := w.request("+14155550100", "hello")
	for n := 1; n <= 2; n++ {
		w.append(k, &message.SendAttempted{Attempt: n})
		if n == 2 {
			w.append(statuses, delivered(k, 1))
		}
		w.append(k, &message.OutcomeUnknown{Attempt: n, Reason: "timeout"})
	}
	w.run(w.d)
	w.wantProven(k, 0)
}

// A redrive asks the log as well: what a status proves is not sent again.
func TestRedriveAsksTheLogFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait, w.d.Policy.MaxAttempts = time.Nanosecond, 1
	w.provider.answer(lost)
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendDeadLettered)
	w.append(statuses, delivered(k, 1))
	r := message.Redriver{Clock: domain.SystemClock{}, Log: w.log, Proofs: Proofs{w.log}}
	if err := r.Redrive(t.Context(), k, "test", "redrive_1"); domain.KindOf(err) != domain.Taken {
		t.Errorf("redrive of a delivered message: %v", err)
	}
	w.wantProven(k, 1)
	other := w.request("+14155550100", "other")
	w.await(other, message.TypeSendDeadLettered)
	if err := r.Redrive(t.Context(), other, "test", "redrive_1"); err != nil {
		t.Errorf("redrive of a message nothing proves: %v", err)
	}
	w.await(other, message.TypeSendRedriven)
}

// Many messages with lost answers and statuses that come at any time around
// them: none is sent a second time once its status is in the log.
func TestManyLostAnswersManyProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.UnknownWait = 100 * time.Millisecond
	var mu sync.Mutex
	proven := map[string]bool{}
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if proven[string(c.Message)] {
			t.Errorf("%s was called as attempt %d although its status is in the log", c.Message, c.Attempt)
		}
		w.append(statuses, delivered(message.OutgoingKey(tenantA, number, c.Message), c.Attempt))
		proven[string(c.Message)] = true
		return lost(c)
	})
	var keys []domain.Key
	for i := range 300 {
		keys = append(keys, w.request(fmt.Sprintf("+1415555%04d", i), "x"))
	}
	w.run(w.d)
	for _, k := range keys {
		w.wantProven(k, 1)
	}
}

// An outcome whose append was stored, but reported as failed, is recorded once.
func TestOutcomeIsRecordedOnceWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Config.Log = &forgetful{Memory: w.log, every: 2}
	var keys []domain.Key
	for i := range 20 {
		keys = append(keys, w.request(fmt.Sprintf("+1415555%04d", i), "x"))
	}
	w.run(w.d)
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
		wantTypes(t, w, k, "SendRequested", "SendAttempted", "SendAccepted")
	}
}

// A log that is away while a message is given up loses nothing: it is
// dead-lettered in the log, not only dropped.
func TestGivingUpWaitsForTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Tokens = noToken{}
	w.d.Config.Log = &forgetful{Memory: w.log, every: 2}
	k := w.request("+14155550100", "hello")
	w.run(w.d)
	w.await(k, message.TypeSendDeadLettered)
	wantTypes(t, w, k, "SendRequested", "SendDeadLettered")
}

// A fresh attempt of another process is left to it for the patience.
func TestPatienceWithAnOpenAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.Patience = time.Hour
	k := w.request("+14155550100", "hello")
	w.append(k, &message.SendAttempted{Attempt: 1})
	stop := w.run(w.d)
	w.append(k, &message.SendAccepted{Attempt: 1, Via: "answer"}) // by whoever made it
	stop()
	wantTypes(t, w, k, "SendRequested", "SendAttempted", "SendAccepted")
}

type noToken struct{}

func (noToken) Token(domain.NumberID) (string, error) {
	return "", domain.Errorf(domain.Bug, nil, "the token cannot be opened")
}

// forgetful stores every append, and says of every so-manieth that it failed.
type forgetful struct {
	*logtest.Memory
	every int

	mu sync.Mutex
	n  int
}

func (f *forgetful) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	p, err := f.Memory.Append(ctx, e, x)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; err == nil && f.n%f.every == 0 {
		return 0, domain.Errorf(domain.Unavailable, nil, "the answer was lost")
	}
	return p, err
}

// brokenFacts fails every reading until it is mended.
type brokenFacts struct {
	*logtest.Memory
	asked chan struct{}

	mu     sync.Mutex
	broken bool
}

func (b *brokenFacts) mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = false
}

func (b *brokenFacts) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	b.mu.Lock()
	broken := b.broken
	b.mu.Unlock()
	if broken {
		select {
		case b.asked <- struct{}{}:
		default:
		}
		return errors.New("the log is away")
	}
	return b.Memory.Follow(ctx, k, after, fn)
}

// However many others the provider reports on, who asks about an attempt long ago
// is answered once all of that has been read.
func TestSettledBehindMoreThanIsRemembered(t *testing.T) {
	t.Parallel()
	facts := flood(2*maxSeen + 10)
	r := newReconciler(facts, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for id, want := range map[string]bool{"msg_5": true, "msg_none": false} {
		q := r.ask(message.OutgoingKey(tenantA, number, domain.MessageID(id)), 0)
		defer q.close()
		if _, proven, err := q.settle(ctx); err != nil || proven != want {
			t.Errorf("%s: %v, %v", id, proven, err)
		}
	}
}

// flood is a log of so many statuses, each of another message.
type flood int

func (f flood) Last(context.Context, domain.Key) (domain.Position, error) {
	return domain.Position(f), nil
}

func (f flood) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	for at := after + 1; at <= domain.Position(f); at++ {
		e := domain.Event{Key: k, Type: message.TypeStatusReceived, Version: 1, Position: at, Facts: fmt.Appendf(nil, `{"message":"msg_%d","status":"sent"}`, at)}
		if err := fn(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}
