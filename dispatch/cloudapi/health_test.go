package cloudapi_test

import (
	"net/http"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// The answer about a number says whether it can send, and how fast; anything
// else than a whole answer about that very number says nothing.
func TestHealth(t *testing.T) {
	t.Parallel()
	const number domain.NumberID = "106540352242922"
	blocked, connected := readEnvelope(t, "send-responses/health_status_blocked.json"), readEnvelope(t, "send-responses/phone_number_get.json")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   cloudapi.Health
		fails  bool
	}{
		"blocked":          {answer: replay(blocked), want: cloudapi.Health{CanSend: "BLOCKED"}},
		"connected":        {answer: replay(connected), want: cloudapi.Health{Status: "CONNECTED", Pace: 80}},
		"upgraded":         {answer: answer(200, `{"id":"106540352242922","throughput":{"level":"HIGH"}}`), want: cloudapi.Health{Pace: 1000}},
		"on a phone app":   {answer: answer(200, `{"id":"106540352242922","throughput":{"level":"STANDARD"},"is_on_biz_app":true}`), want: cloudapi.Health{Pace: 20}},
		"an odd throttle":  {answer: answer(200, `{"id":"106540352242922","throughput":"x","status":7}`), want: cloudapi.Health{Status: "7"}},
		"a dead token":     {answer: replay(readEnvelope(t, "errors/190_token_expired.json")), fails: true},
		"an error in 200":  {answer: answer(200, `{"id":"106540352242922","error":{"code":190}}`), fails: true},
		"another number":   {answer: answer(200, `{"id":"1","status":"CONNECTED"}`), fails: true},
		"no JSON":          {answer: answer(200, `<html>`), fails: true},
		"a gateway":        {answer: answer(502, `{"id":"106540352242922"}`), fails: true},
		"its own redirect": {answer: answer(302, "", "Location", "/elsewhere"), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked *http.Request
			client := serve(t, func(w http.ResponseWriter, r *http.Request) { asked = r; c.answer(w, r) })
			got, err := client.Health(t.Context(), number, token)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %+v, %v", got, err)
			}
			if asked.Method != http.MethodGet || asked.URL.Path != "/v25.0/106540352242922" || asked.Header.Get("Authorization") != "Bearer "+token ||
				asked.URL.Query().Get("fields") == "" {
				t.Errorf("asked %s %s", asked.Method, asked.URL)
			}
		})
	}
	if _, err := client(t, cloudapi.Config{BaseURL: "http://127.0.0.1:1", Version: "v25.0"}).Health(t.Context(), number, token); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// Which cause a good answer clears, and which it cannot see.
func TestHealthClears(t *testing.T) {
	t.Parallel()
	good := cloudapi.Health{Status: "CONNECTED", CanSend: "AVAILABLE"}
	for cause, cleared := range map[tenant.Cause]bool{tenant.ByToken: true, tenant.ByNumber: true, tenant.ByAccount: true,
		tenant.ByAccess: false, tenant.ByRestriction: false, tenant.ByTemplates: false} {
		if good.Clears(cause) != cleared || cause.Probed() != cleared {
			t.Errorf("%s: cleared %t, probed %t", cause, good.Clears(cause), cause.Probed())
		}
	}
}
