package api

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Taking a request back answers yes, nobody knows, or too late; what is no
// outgoing message of the tenant does not exist.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := func() domain.MessageID {
		r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x"}`})
		var got receiptJSON
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != http.StatusAccepted {
			t.Fatal(r.StatusCode, r.body)
		}
		return got.ID
	}
	happens := func(id domain.MessageID, facts ...domain.Fact) {
		key := message.OutgoingKey(w.a.Tenant.ID, "111111111111111", id)
		events, err := w.house.accepter.Log.Load(t.Context(), key)
		if err != nil || len(events) == 0 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		last := events[len(events)-1].Position
		for _, f := range facts {
			e, err := domain.NewEvent(key, noon, "test", f)
			if err != nil {
				t.Fatal(err)
			}
			if last, err = w.house.accepter.Log.Append(t.Context(), e, domain.After(last)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel := func(id domain.MessageID) reply {
		return w.do(t, ask{method: "POST", path: "/tenants/$A/messages/" + string(id) + "/cancel"})
	}
	result := func(r reply) string {
		var got cancelledJSON
		decodeInto(t, r.body, &got)
		if got.Position == 0 || got.ID == "" {
			t.Errorf("%s names no message or position", r.body)
		}
		return got.Result
	}

	waiting := sent()
	for range 2 {
		if r := cancel(waiting); r.StatusCode != http.StatusOK || result(r) != "cancelled" {
			t.Error(r.StatusCode, r.body)
		}
	}
	calling := sent()
	happens(calling, &message.SendAttempted{Attempt: 1})
	if r := cancel(calling); r.StatusCode != http.StatusAccepted || result(r) != "unknown" {
		t.Error(r.StatusCode, r.body)
	}
	done := sent()
	happens(done, &message.SendAttempted{Attempt: 1}, &message.SendAccepted{Attempt: 1})
	checkProblem(t, cancel(done), http.StatusConflict, domain.Taken)
	for _, id := range []domain.MessageID{"msg_none", "in_1", "wrong.shape"} {
		checkProblem(t, cancel(id), http.StatusNotFound, domain.Unknown)
	}
	checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/messages/" + string(waiting) + "/cancel", body: `{"sure":true}`}),
		http.StatusBadRequest, domain.Invalid, "/sure")
}
