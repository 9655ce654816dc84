package message_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// forgetful is a log that has lost sight of its first events.
type forgetful struct {
	*logtest.Memory
	upTo domain.Position
}

func (l forgetful) Load(ctx context.Context, k domain.Key) ([]domain.Event, error) {
	all, err := l.Memory.Load(ctx, k)
	for len(all) > 0 && all[0].Position <= l.upTo {
		all = all[1:]
	}
	return all, err
}

func (l forgetful) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	known, err := l.Load(ctx, e.Key)
	if err != nil {
		return 0, err
	}
	if last, expects := x.Sequence(); expects && last == 0 && len(known) == 0 {
		x = domain.Any() // what it has forgotten does not stand in the way
	}
	return l.Memory.Append(ctx, e, x)
}

// memory is a past.
type memory struct {
	known map[domain.MessageID]message.PastRequest
	err   error
	asked int
}

func (m *memory) Find(_ context.Context, t domain.TenantID, id domain.MessageID) (message.PastRequest, bool, error) {
	m.asked++
	r, ok := m.known[id]
	return r, ok && t == "ten_a", m.err
}

// A key that the log has forgotten answers the first receipt, or that it was
// used for something else; nothing is recorded again.
func TestKeysOutliveTheLog(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	keyed := func(change func(*message.Request)) message.Request {
		return request(func(q *message.Request) {
			q.IdempotencyKey = "order-17"
			if change != nil {
				change(q)
			}
		})
	}
	first, err := a.Accept(t.Context(), keyed(nil))
	if err != nil {
		t.Fatal(err)
	}
	var f message.SendRequested
	if err := log.All()[0].Decode(&f); err != nil {
		t.Fatal(err)
	}
	past := &memory{known: map[domain.MessageID]message.PastRequest{
		first.ID: {Number: "106540352242922", Fingerprint: f.Fingerprint, Position: first.Position}}}
	a.Log, a.Past = forgetful{log, first.Position}, past

	again, err := a.Accept(t.Context(), keyed(nil))
	if err != nil || !again.Replayed || again.ID != first.ID || again.Position != first.Position {
		t.Errorf("the same again: %+v, %v; first %+v", again, err, first)
	}
	if _, err := a.Accept(t.Context(), keyed(func(q *message.Request) { q.Text = "other" })); domain.KindOf(err) != domain.KeyReused {
		t.Errorf("another request: %v", err)
	}
	several := keyed(func(q *message.Request) {
		q.Number, q.Among = "", []message.Sender{{Number: "1"}, {Number: "106540352242922"}}
	})
	if again, err := a.Accept(t.Context(), several); err != nil || !again.Replayed || again.ID != first.ID {
		t.Errorf("the same without its number: %+v, %v", again, err)
	}
	past.known[first.ID] = message.PastRequest{Position: first.Position}
	if _, err := a.Accept(t.Context(), keyed(nil)); domain.KindOf(err) != domain.KeyReused {
		t.Errorf("a request nobody remembers: %v", err)
	}
	if n := len(log.All()); n != 1 {
		t.Errorf("%d events are recorded", n)
	}

	asked := past.asked
	if r, err := a.Accept(t.Context(), request(nil)); err != nil || r.Replayed {
		t.Errorf("without a key: %+v, %v", r, err)
	}
	if past.asked != asked {
		t.Error("the past is asked about a request without a key")
	}
	fresh, err := a.Accept(t.Context(), keyed(func(q *message.Request) { q.IdempotencyKey = "order-18" }))
	if err != nil || fresh.Replayed || fresh.ID == first.ID {
		t.Errorf("a fresh key: %+v, %v", fresh, err)
	}
}

// While the log has a request at hand it is what answers: the past may be ahead
// of what is durable.
func TestLogAnswersBeforeThePast(t *testing.T) {
	t.Parallel()
	a, _ := newAccepter()
	q := request(func(q *message.Request) { q.IdempotencyKey = "order-17" })
	first, err := a.Accept(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	a.Past = &memory{known: map[domain.MessageID]message.PastRequest{first.ID: {Fingerprint: "other", Position: 99}}}
	if r, err := a.Accept(t.Context(), q); err != nil || !r.Replayed || r.Position != first.Position {
		t.Errorf("%+v, %v", r, err)
	}
	a.Log = away{appendErr: domain.ErrConflict, loadErr: domain.Errorf(domain.Unavailable, nil, "the log is away")}
	if _, err := a.Accept(t.Context(), q); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("without a log: %v", err)
	}
}

// A past that cannot answer leaves the decision to the log; and where the log
// only knows that there was something, nobody is told a lie.
func TestPastThatCannotAnswer(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	a.Past = &memory{err: errors.New("the read models are away")}
	q := request(func(q *message.Request) { q.IdempotencyKey = "order-17" })
	first, err := a.Accept(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Accept(t.Context(), q); err != nil || !again.Replayed || again.ID != first.ID {
		t.Errorf("repeat: %+v, %v", again, err)
	}
	k := message.OutgoingKey("ten_a", "106540352242922", first.ID)
	e, err := domain.NewEvent(k, start, "test", &message.SendAttempted{Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), e, domain.After(first.Position)); err != nil {
		t.Fatal(err)
	}
	a.Log = forgetful{log, first.Position}
	if _, err := a.Accept(t.Context(), q); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("half forgotten: %v", err)
	}
	if n := len(log.All()); n != 2 {
		t.Errorf("%d events are recorded", n)
	}
}

// A dead letter whose request the log has forgotten, all of it or only the
// request, is not tried again, and the operator is told what to do.
func TestRedriveOfWhatIsForgotten(t *testing.T) {
	t.Parallel()
	for name, upTo := range map[string]domain.Position{"the request": 1, "everything": 9} {
		log := logtest.NewMemory()
		for i, f := range life(requested(), tried(1), declined(1), dead("refused")) {
			e, err := domain.NewEvent(key, second(i), "test", f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Append(t.Context(), e, domain.Any()); err != nil {
				t.Fatal(err)
			}
		}
		r := &message.Redriver{Clock: frozen{}, Log: forgetful{log, upTo}}
		if err := r.Redrive(t.Context(), key, "admin", "redrive_1"); domain.KindOf(err) != domain.Unknown {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(log.All()); n != 4 {
			t.Errorf("%s: %d events are recorded", name, n)
		}
	}
}

// A message whose request is not at hand is never sent: it ends where it would
// be.
func TestNextWithoutTheRequest(t *testing.T) {
	t.Parallel()
	rules := message.Rules{MaxAttempts: maxAttempts, UnknownWait: unknownWait}
	for name, test := range map[string]struct {
		given []domain.Fact
		want  message.Do
	}{
		"redriven":           {life(declined(1), dead("refused"), redriven()), message.GiveUp},
		"refused for a time": {life(tried(1), busy(1)), message.GiveUp},
		"in doubt":           {life(tried(1), unknown(1)), message.GiveUp},
		"open":               {life(tried(1)), message.Doubt},
		"dead":               {life(declined(1), dead("refused")), message.Nothing},
		"accepted":           {life(accepted(1)), message.Nothing},
	} {
		s, err := message.Fold(happened(t, test.given...))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(rules, start); got.Do != test.want || !s.Headless {
			t.Errorf("%s: %+v, headless %t", name, got, s.Headless)
		}
	}
}
