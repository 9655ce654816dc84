package message_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// record appends facts to one message, each after the last.
func record(t *testing.T, log domain.Log, facts ...domain.Fact) {
	t.Helper()
	x := domain.First()
	for _, e := range happened(t, facts...) {
		at, err := log.Append(t.Context(), e, x)
		if err != nil {
			t.Fatal(err)
		}
		x = domain.After(at)
	}
}

// What taking a request back answers after these facts, and whether it leaves
// a fact of its own.
func TestCancel(t *testing.T) {
	t.Parallel()
	cancelled := func() domain.Fact { return &message.SendCancelled{} }
	for name, test := range map[string]struct {
		given   []domain.Fact
		certain bool
		kind    domain.ErrKind // of the refusal
		records bool
	}{
		"waiting":                       {given: life(requested()), certain: true, records: true},
		"waiting for its time":          {given: life(later()), certain: true, records: true},
		"refused, waiting to try again": {given: life(requested(), tried(1), busy(1)), certain: true, records: true},
		"held with its account":         {given: life(requested(), tried(1), held(1)), certain: true, records: true},
		"redriven, not yet tried":       {given: life(requested(), tried(1), declined(1), dead("refused"), redriven()), certain: true, records: true},
		"in the middle of a call":       {given: life(requested(), tried(1)), records: true},
		"in doubt":                      {given: life(requested(), tried(1), unknown(1)), records: true},
		"an older attempt in doubt":     {given: life(requested(), tried(1), unknown(1), tried(2), busy(2)), records: true},
		"taken back before":             {given: life(requested(), cancelled()), certain: true},
		"taken back in doubt before":    {given: life(requested(), tried(1), cancelled())},
		"accepted":                      {given: life(requested(), tried(1), accepted(1)), kind: domain.Taken},
		"taken back, but accepted":      {given: life(requested(), tried(1), cancelled(), accepted(1)), kind: domain.Taken},
		"given up":                      {given: life(requested(), tried(1), declined(1), dead("refused")), kind: domain.Taken},
		"its time is over":              {given: life(requested(), &message.SendExpired{}), kind: domain.Taken},
		"nobody asked for it":           {kind: domain.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := logtest.NewMemory()
			record(t, log, test.given...)
			c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Proofs: proof{}}
			for range 2 { // and again: the same answer, nothing more recorded
				got, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1")
				if (err != nil) != (test.kind != "") || err != nil && domain.KindOf(err) != test.kind {
					t.Fatalf("answered %v, want %q", err, test.kind)
				}
				if got.Certain != test.certain {
					t.Errorf("certain: %t, want %t", got.Certain, test.certain)
				}
			}
			all := log.All()
			if n := len(all) - len(test.given); n != 0 && !test.records || n != 1 && test.records {
				t.Fatalf("recorded %d facts", n)
			}
			if test.records && (all[len(all)-1].Type != message.TypeSendCancelled || all[len(all)-1].Actor != "key_1") {
				t.Errorf("recorded %s by %s", all[len(all)-1].Type, all[len(all)-1].Actor)
			}
		})
	}
}

// Another tenant's message does not exist.
func TestCancelOfAnotherTenant(t *testing.T) {
	t.Parallel()
	log := logtest.NewMemory()
	record(t, log, requested())
	c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Proofs: proof{}}
	if _, err := c.Cancel(t.Context(), "ten_b", "msg_a", "key_1"); domain.KindOf(err) != domain.Unknown {
		t.Errorf("answered %v", err)
	}
}

// racing is a log in which an attempt is recorded between the look and the
// append of whoever cancels.
type racing struct {
	*logtest.Memory
	before func()
}

func (r *racing) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Memory.Append(ctx, e, x)
}

// The fence and a cancellation exclude each other: a cancellation that loses
// sees the attempt it lost to, and does not claim that nothing was sent.
func TestCancelLosesToTheFence(t *testing.T) {
	t.Parallel()
	log := &racing{Memory: logtest.NewMemory()}
	record(t, log.Memory, requested())
	log.before = func() {
		e := happened(t, tried(1))[0]
		if _, err := log.Memory.Append(t.Context(), e, domain.After(1)); err != nil {
			t.Error(err)
		}
	}
	c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Proofs: proof{}}
	got, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1")
	if err != nil || got.Certain || got.Position != 3 {
		t.Errorf("answered %+v, %v", got, err)
	}
}

// A request for much later has left the log when it is taken back; one that is
// long done is too late, and what nobody remembers does not exist.
func TestCancelWhatLeftTheLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		past *memory
		kind domain.ErrKind
	}{
		"waiting":   {past: &memory{known: map[domain.MessageID]message.PastRequest{"msg_a": {Number: key.Number, Position: 1, Fate: message.Fate{Last: 1, Certain: true}}}}},
		"done":      {past: &memory{known: map[domain.MessageID]message.PastRequest{"msg_a": {Number: key.Number, Position: 1, Fate: message.Fate{Last: 3, Accepted: true}}}}, kind: domain.Taken},
		"forgotten": {past: &memory{}, kind: domain.Unknown},
		"not now":   {past: &memory{err: domain.Errorf(domain.Unavailable, errors.New("away"), "later")}, kind: domain.Unavailable},
	} {
		log := forgetful{logtest.NewMemory(), 1}
		record(t, log.Memory, later())
		c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Past: test.past, Proofs: proof{}}
		got, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1")
		switch {
		case test.kind != "":
			if domain.KindOf(err) != test.kind || strings.Contains(err.Error(), "msg_a") {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || !got.Certain || log.All()[1].Type != message.TypeSendCancelled || log.All()[1].Key.Number != key.Number:
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What the provider has reported on is too late, although nobody read the
// answer to the call; while that cannot be found out, nobody knows.
func TestCancelWhatAStatusProves(t *testing.T) {
	t.Parallel()
	log := logtest.NewMemory()
	record(t, log, requested(), tried(1))
	c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Proofs: proof{found: true}}
	for range 2 {
		if _, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1"); domain.KindOf(err) != domain.Taken {
			t.Errorf("answered %v", err)
		}
	}
	if all := log.All(); len(all) != 3 || all[2].Type != message.TypeSendAccepted {
		t.Errorf("recorded %d facts", len(all))
	}
	log = logtest.NewMemory()
	record(t, log, requested(), tried(1))
	c = message.Canceller{Clock: domain.SystemClock{}, Log: log, Proofs: proof{err: errors.New("away")}}
	if got, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1"); err != nil || got.Certain {
		t.Errorf("%+v, %v", got, err)
	}
}

// What cancelling answers, it answers again when the message's beginning, or
// all of it, has left the log since; nothing more is recorded.
func TestCancelAnswersTheSameLater(t *testing.T) {
	t.Parallel()
	cancelled := func() domain.Fact { return &message.SendCancelled{} }
	for name, given := range map[string][]domain.Fact{
		"not sent":              life(requested(), cancelled()),
		"refused, not sent":     life(requested(), tried(1), busy(1), cancelled()),
		"nobody knows":          life(requested(), tried(1), cancelled()),
		"nobody knew":           life(requested(), tried(1), cancelled(), busy(1)),
		"in doubt":              life(requested(), tried(1), unknown(1), cancelled()),
		"accepted":              life(requested(), tried(1), accepted(1)),
		"accepted all the same": life(requested(), tried(1), cancelled(), accepted(1)),
		"given up":              life(requested(), tried(1), declined(1), dead("refused")),
		"its time is over":      life(requested(), &message.SendExpired{}),
	} {
		log := logtest.NewMemory()
		record(t, log, given...)
		whole, err := message.Fold(log.All())
		if err != nil {
			t.Fatal(err)
		}
		past := &memory{known: map[domain.MessageID]message.PastRequest{"msg_a": {Number: key.Number, Position: 1, Fate: whole.Fate()}}}
		cancel := func(log domain.Log) (message.Cancellation, string) {
			c := message.Canceller{Clock: domain.SystemClock{}, Log: log, Past: past, Proofs: proof{}}
			got, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1")
			return got, fmt.Sprint(err)
		}
		first, refusal := cancel(log)
		for upTo := range domain.Position(len(given) + 1) {
			if again, why := cancel(forgetful{log, upTo}); again != first || why != refusal {
				t.Errorf("%s, %d events gone: %+v, %s; first %+v, %s", name, upTo, again, why, first, refusal)
			}
		}
		if n := len(log.All()); n != len(given) {
			t.Errorf("%s: recorded %d facts", name, n-len(given))
		}
	}
	log := logtest.NewMemory()
	record(t, log, requested(), tried(1), cancelled())
	behind := &memory{known: map[domain.MessageID]message.PastRequest{"msg_a": {Number: key.Number, Position: 1, Fate: message.Fate{Last: 2}}}}
	c := message.Canceller{Clock: domain.SystemClock{}, Log: forgetful{log, 1}, Past: behind, Proofs: proof{}}
	if _, err := c.Cancel(t.Context(), "ten_a", "msg_a", "key_1"); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("while the read model is behind: %v", err)
	}
}
