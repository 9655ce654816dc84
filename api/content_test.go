package api

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Each of Meta's own samples is accepted as a send when what is ours stands
// beside it, and all of it reaches the log.
func TestSendTakesEverySample(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../domain/message/testdata/send-requests/*.json")
	if err != nil || len(files) < 38 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	w := newWorld(t)
	for _, file := range files {
		var body map[string]any
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decodeInto(t, string(raw), &body)
		delete(body, "biz_opaque_callback_data")
		key := strings.TrimSuffix(filepath.Base(file), ".json")
		body["idempotency_key"], body["reference"] = key, key
		sent, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: string(sent)}); r.StatusCode != 202 {
			t.Errorf("%s: %d %s", key, r.StatusCode, r.body)
			continue
		}
		got := w.house.requests[len(w.house.requests)-1]
		to, _ := body["to"].(string)
		recipient, _ := body["recipient"].(string)
		if got.To != to || got.Recipient != recipient || got.IdempotencyKey != key || got.Reference != key || got.Unvalidated {
			t.Errorf("%s: asked for %+v", key, got)
		}
	}
}

// What is ours beside a message object is read, and what is wrong in either is
// told with its place, as far as it can be seen at once.
func TestSendLongForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	send := func(body string) ask { return ask{method: "POST", path: "/tenants/$A/send", body: body} }
	const to = `"to":"+` + canaryPhone + `",`
	deep := strings.Repeat(`{"a":`, maxJSONDepth-5) + `1` + strings.Repeat(`}`, maxJSONDepth-5)
	flow := func(data string) string {
		return `{` + to + `"type":"interactive","interactive":{"type":"flow","body":{"text":"b"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1","flow_cta":"Go","flow_action_payload":{"screen":"A","data":` + data + `}}}}}`
	}
	for _, c := range []struct {
		name, body string
		status     int
		kind       domain.ErrKind
		pointers   []string
	}{
		{"a picture", `{` + to + `"type":"image","image":{"id":"1"}}`, 202, "", nil},
		{"a text in Meta's form", `{` + to + `"text":{"body":"hi"},"priority":"bulk","ttl":60,"on_unknown":"park","unknown_wait":5}`, 202, "", nil},
		{"a short text that answers", `{` + to + `"text":"hi","context":{"message_id":"wamid.1"}}`, 202, "", nil},
		{"to a user", `{"recipient":"US.1","text":"hi"}`, 202, "", nil},
		{"to a group", `{"to":"Y2FwaV9","recipient_type":"group","text":"hi"}`, 202, "", nil},
		{"read", `{"status":"read","message_id":"wamid.1"}`, 202, "", nil},
		{"nulls are not there", `{` + to + `"text":"hi","recipient":null,"send_at":null,"ttl":null,"validate":null}`, 202, "", nil},
		{"a newer type", `{` + to + `"type":"hologram","hologram":{"x":1},"validate":false}`, 202, "", nil},
		{"a newer type, looked at", `{` + to + `"type":"hologram","hologram":{"x":1}}`, 400, domain.Invalid, []string{"/type"}},
		{"deep data", flow(deep), 202, "", nil},
		{"too deep data", flow(`{"a":` + deep + `}`), 400, domain.Malformed, []string{""}},
		{"wrong kinds", `{"to":1,"text":{"body":1},"ttl":"60","validate":"no","unknown_wait":1.5}`, 400, domain.Invalid, []string{"/to", "/ttl", "/unknown_wait", "/validate"}},
		{"wrong in both", `{` + to + `"type":"image","image":{"caption":5},"priority":"urgent"}`, 400, domain.Invalid, []string{"/image", "/image/caption", "/priority"}},
		{"a stranger", `{` + to + `"type":"image","image":{"id":"1"},"captoin":"x"}`, 400, domain.Invalid, []string{"/captoin"}},
		{"callback data", `{` + to + `"text":"hi","biz_opaque_callback_data":"x"}`, 400, domain.Invalid, []string{"/biz_opaque_callback_data"}},
	} {
		r := w.do(t, send(c.body))
		if c.status == 202 {
			if r.StatusCode != 202 {
				t.Errorf("%s: %d %s", c.name, r.StatusCode, r.body)
			}
			continue
		}
		t.Run(c.name, func(t *testing.T) { checkProblem(t, r, c.status, c.kind, c.pointers...) })
	}
	var newer *message.Request
	for i, q := range w.house.requests {
		if q.Unvalidated {
			newer = &w.house.requests[i]
		}
	}
	if newer == nil || string(newer.Content) != `{"hologram":{"x":1},"type":"hologram"}` {
		t.Errorf("unvalidated: %+v", newer)
	}
}

// Whoever misspells a member is told all there are: the message's, and beside
// it those of the request. Further inside only the message's are.
func TestMembersAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	said := func(pointer, body string) string {
		return checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: body}), 400, domain.Invalid, pointer).Errors[0].Detail
	}
	outside := said("/colour", `{"colour":1,"to":"+14155550100","text":"x"}`)
	for _, name := range []string{"type", "text", "context", "to", "recipient", "recipient_type", "from", "idempotency_key", "send_at", "expires_at", "ttl",
		"priority", "reference", "on_unknown", "unknown_wait", "enforce_window", "validate"} {
		if !slices.Contains(strings.FieldsFunc(outside, func(r rune) bool { return r == ' ' || r == ',' }), name) {
			t.Errorf("%q does not name %s", outside, name)
		}
	}
	foreign := w.do(t, ask{method: "POST", path: "/v25.0/111111111111111/messages", key: w.a.APIKey,
		body: `{"messaging_product":"whatsapp","to":"14155550100","text":{"body":"x"},"send_at":"2026-03-04T12:00:00Z"}`})
	if foreign.StatusCode != 400 || !strings.Contains(foreign.body, "/send_at is not a field here") || !strings.Contains(foreign.body, "recipient_type") ||
		strings.Contains(foreign.body, "idempotency_key") {
		t.Errorf("Meta's own call: %d %s", foreign.StatusCode, foreign.body)
	}
	if inside := said("/text/colour", `{"text":{"body":"x","colour":1},"to":"+14155550100"}`); strings.Contains(inside, "idempotency_key") || !strings.Contains(inside, "preview_url") {
		t.Errorf("inside: %q", inside)
	}
}
