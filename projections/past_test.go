package projections_test

import (
	"reflect"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// A request is found by its message id, with what tells a repeat from a reuse
// of its key, whatever followed it; another tenant's is not. Nobody else is
// shown the fingerprint.
func TestFindRemembersRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.log.add(w.event(out("msg_a"), &message.SendRequested{Type: "text", Keyed: true, SendWords: message.SendWords{
		To: "+14155550100", Content: []byte(`{}`), IdempotencyKey: "order-17", Fingerprint: "f1"}}))
	w.log.add(w.attempt("msg_a", 1), w.accept("msg_a", 1, "wamid.a"), w.attempt("msg_headless", 1))
	l := w.library()
	got, found, err := l.Find(t.Context(), tenA, "msg_a")
	if want := (message.PastRequest{Number: numA, Fingerprint: "f1", Position: at,
		Fate: message.Fate{Last: 3, Accepted: true}}); err != nil || !found || !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, %t, %v; want %+v", got, found, err, want)
	}
	if got, found, err := l.Find(t.Context(), tenA, "msg_headless"); err != nil || !found || got.Fingerprint != "" {
		t.Errorf("a message without its request: %+v, %t, %v", got, found, err)
	}
	for _, who := range []domain.TenantID{tenA, tenB} {
		id := domain.MessageID("msg_a")
		if who == tenA {
			id = "msg_nobody"
		}
		if got, found, err := l.Find(t.Context(), who, id); err != nil || found {
			t.Errorf("%s of %s: %+v, %t, %v", id, who, got, found, err)
		}
	}
}

// Without a model to trust nobody can say.
func TestFindWithoutAModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := projections.NewLibrary(w.config())
	must(t, err)
	_, found, err := l.Find(t.Context(), tenA, "msg_a")
	wantKind(t, err, domain.Unavailable)
	if found {
		t.Error("found")
	}
}

// What is remembered of how a message ended is what the fold of its own events
// tells, whatever the provider said meanwhile.
func TestFindTellsTheFate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	request := func() domain.Fact {
		return &message.SendRequested{Type: "text", SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{}`)}}
	}
	tried := func(n int) domain.Fact { return &message.SendAttempted{Attempt: n} }
	lives := map[domain.MessageID][]domain.Fact{
		"msg_new":       {request()},
		"msg_cancelled": {request(), &message.SendCancelled{}},
		"msg_open":      {request(), tried(1), &message.SendCancelled{}},
		"msg_refused":   {request(), tried(1), &message.SendCancelled{}, &message.SendRefused{Attempt: 1}},
		"msg_doubt":     {request(), tried(1), &message.OutcomeUnknown{Attempt: 1}, tried(2), &message.SendRefused{Attempt: 2}, &message.SendCancelled{}},
		"msg_after_all": {request(), tried(1), &message.SendCancelled{}, &message.SendAccepted{Attempt: 1}},
		"msg_dead":      {request(), tried(1), &message.SendRefused{Attempt: 1}, &message.SendDeadLettered{Reason: "refused"}},
		"msg_redriven":  {request(), &message.SendDeadLettered{Reason: "poison"}, &message.SendRedriven{}},
		"msg_expired":   {request(), &message.SendExpired{}},
	}
	held := []domain.Fact{request(), tried(1), &message.OutcomeUnknown{Attempt: 1}}
	for n := 2; n < domain.MaxTimeline; n++ { // more than a timeline keeps
		held = append(held, tried(n), &message.SendRefused{Attempt: n, Hold: true})
	}
	lives["msg_held"] = append(held, &message.SendCancelled{})
	want := map[domain.MessageID]message.Fate{}
	for id, life := range lives {
		var own []domain.Event
		for _, f := range life {
			e := w.event(out(id), f)
			e.Position = w.log.add(e)
			own = append(own, e)
		}
		w.log.add(w.event(message.StatusKey(tenA, numA), &message.StatusReceived{Status: "sent", Message: id}))
		s, err := message.Fold(own)
		must(t, err)
		want[id] = s.Fate()
	}
	l := w.library()
	for id, fate := range want {
		if got, found, err := l.Find(t.Context(), tenA, id); err != nil || !found || got.Fate != fate {
			t.Errorf("%s: %+v, %t, %v; want %+v", id, got.Fate, found, err, fate)
		}
	}
}
