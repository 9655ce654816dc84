package cloudapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
)

// sent returns the path and the body of the request that a call becomes.
func sent(t *testing.T, call cloudapi.Call) (path string, body map[string]any) {
	t.Helper()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(b, &body)
		}
		if err != nil {
			t.Error(err)
		}
		path = r.URL.Path
		answer(200, `{"messages":[{"id":"wamid.1"}]}`)(w, r)
	})
	c.Send(t.Context(), call)
	return path, body
}

// The envelope says whom a message is to: a phone, a user id or a group.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]struct {
		group       bool
		field, kind string
	}{
		"+16505551234":              {false, "to", "individual"},
		"US.13491208655302741918":   {false, "recipient", "individual"},
		"US.ENT.118157992122868448": {false, "recipient", "individual"},
		"Y2FwaV9ncm91cDoxNzA1NTU1":  {true, "to", "group"},
		"US.group":                  {true, "to", "group"},
	} {
		call := aCall()
		call.To, call.Group = to, want.group
		_, body := sent(t, call)
		other := map[string]string{"to": "recipient", "recipient": "to"}[want.field]
		if _, both := body[other]; body[want.field] != to || both || body["recipient_type"] != want.kind {
			t.Errorf("%s: %v", to, body)
		}
	}
}

// What marks a message as read is to nobody, carries nothing of ours, and is
// accepted without an id; any other answer proves nothing.
func TestReadReceipt(t *testing.T) {
	t.Parallel()
	call := aCall()
	call.To, call.Content = "", json.RawMessage(`{"message_id":"wamid.IN","status":"read","typing_indicator":{"type":"text"}}`)
	path, body := sent(t, call)
	if path != "/v25.0/106540352242922/messages" || len(body) != 4 || body["messaging_product"] != "whatsapp" || body["message_id"] != "wamid.IN" {
		t.Errorf("%s %v", path, body)
	}
	for said, want := range map[string]cloudapi.Kind{
		`{"success":true}`:               cloudapi.Accepted,
		`{"success":false}`:              cloudapi.Unknown,
		`{"success":"true"}`:             cloudapi.Unknown,
		`{}`:                             cloudapi.Unknown,
		``:                               cloudapi.Unknown,
		`{"messages":[{"id":"wamid.1"}]`: cloudapi.Unknown,
	} {
		o := serve(t, answer(200, said)).Send(t.Context(), call)
		if o.Kind != want || o.Wamid != "" {
			t.Errorf("%s: %v %q", said, o, o.Wamid)
		}
	}
	if o := serve(t, answer(200, `{"success":true}`)).Send(t.Context(), aCall()); o.Kind != cloudapi.Unknown {
		t.Errorf("a message was sent, and the answer names none: %v", o)
	}
	typed := aCall()
	typed.Content = json.RawMessage(`{"type":"hologram","status":"read"}`) // of a type nobody here knows
	if _, body := sent(t, typed); body["to"] != typed.To || body["biz_opaque_callback_data"] == nil {
		t.Errorf("a message is taken for a read receipt: %v", body)
	}
	o := cloudapi.Simulate(call)
	if o.Kind != cloudapi.Accepted || o.Wamid != "" || cloudapi.SimulatedStatuses(call, o, at) != nil {
		t.Errorf("simulated: %v %q", o, o.Wamid)
	}
}

// A message with a policy of the Marketing Messages API goes there.
func TestMarketingMessages(t *testing.T) {
	t.Parallel()
	call := aCall()
	call.Content = json.RawMessage(`{"type":"template","template":{"name":"n","language":{"code":"en"}},"product_policy":"STRICT"}`)
	if path, body := sent(t, call); path != "/v25.0/106540352242922/marketing_messages" || body["product_policy"] != "STRICT" {
		t.Errorf("%s %v", path, body)
	}
}
