package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// checkGraphError checks that r is an error as Meta writes it (REFERENCE
// section 7.1), and that its words hold something.
func checkGraphError(t *testing.T, r reply, status, code int, words string) {
	t.Helper()
	checkCommon(t, r)
	var got graphError
	decodeInto(t, r.body, &got)
	if r.StatusCode != status || got.Error.Code != code || got.Error.Type != "OAuthException" || got.Error.Trace != r.Header.Get("X-Request-Id") {
		t.Errorf("%d %s, want %d and code %d", r.StatusCode, r.body, status, code)
	}
	if !strings.Contains(got.Error.Message+got.Error.Data.Details, words) {
		t.Errorf("%s does not say %q", r.body, words)
	}
}

// A client of Meta's that has our address and a tenant's key sends through us:
// same path, same body, same answer.
func TestGraphSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	send := func(body string, header ...string) reply {
		return w.do(t, ask{method: "POST", path: "/v25.0/111111111111111/messages", body: body, key: w.a.APIKey, header: header})
	}
	for name, c := range map[string]struct{ body, contacts string }{
		"a text": {`{"messaging_product":"whatsapp","recipient_type":"individual","to":"+` + canaryPhone + `","type":"text","text":{"body":"x","preview_url":true}}`,
			`[{"input":"+` + canaryPhone + `","wa_id":"` + canaryPhone + `"}]`},
		"to digits": {`{"messaging_product":"whatsapp","to":"` + canaryPhone + `","text":{"body":"x"}}`,
			`[{"input":"+` + canaryPhone + `","wa_id":"` + canaryPhone + `"}]`},
		"to a user id": {`{"messaging_product":"whatsapp","recipient":"US.13491208655302741918","type":"image","image":{"id":"1"}}`,
			`[{"input":"US.13491208655302741918","user_id":"US.13491208655302741918"}]`},
		"to a user id in to": {`{"messaging_product":"whatsapp","to":"US.13491208655302741918","text":{"body":"x"}}`,
			`[{"input":"US.13491208655302741918","user_id":"US.13491208655302741918"}]`},
	} {
		r := send(c.body)
		var got graphAccepted
		decodeInto(t, r.body, &got)
		if r.StatusCode != http.StatusOK || len(got.Messages) != 1 || !strings.HasPrefix(string(got.Messages[0].ID), "msg_") {
			t.Fatalf("%s: %d %s", name, r.StatusCode, r.body)
		}
		checkJSON(t, r.body, `{"messaging_product":"whatsapp","contacts":`+c.contacts+`,"messages":[{"id":"`+string(got.Messages[0].ID)+`"}]}`)
	}
	if r := send(`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.HBg="}`); r.StatusCode != http.StatusOK || strings.TrimSpace(r.body) != `{"success":true}` {
		t.Errorf("a read receipt: %d %s", r.StatusCode, r.body)
	}
	if last := w.lastRequest(); last.Number != "111111111111111" || last.Actor == "" {
		t.Errorf("recorded %+v", last)
	}
	keyed := `{"messaging_product":"whatsapp","to":"+` + canaryPhone + `","text":{"body":"once"}}`
	first, again := send(keyed, "Idempotency-Key", "k"), send(keyed, "Idempotency-Key", "k")
	if first.body != again.body || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
}

// What is refused there is refused in Meta's words, whoever refuses it.
func TestGraphRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	text := `{"messaging_product":"whatsapp","to":"+` + canaryPhone + `","text":{"body":"x"}}`
	for name, c := range map[string]struct {
		ask    ask
		status int
		code   int
		words  string
	}{
		"no key":              {ask{body: text}, 401, 190, "credential"},
		"another's number":    {ask{body: text, key: w.b.APIKey}, 404, 33, "no such number"},
		"nobody's number":     {ask{body: text, key: w.a.APIKey, path: "/v25.0/999/messages"}, 404, 33, "no such number"},
		"no product":          {ask{body: `{"to":"+14155550100","text":{"body":"x"}}`, key: w.a.APIKey}, 400, 100, "/messaging_product"},
		"no recipient":        {ask{body: `{"messaging_product":"whatsapp","text":{"body":"x"}}`, key: w.a.APIKey}, 400, 100, "/to"},
		"a field of ours":     {ask{body: `{"messaging_product":"whatsapp","to":"+14155550100","text":{"body":"x"},"ttl":5}`, key: w.a.APIKey}, 400, 100, "/ttl"},
		"no JSON":             {ask{body: `{`, key: w.a.APIKey}, 400, 100, "JSON value"},
		"a compressed body":   {ask{body: text, key: w.a.APIKey, header: []string{"Content-Encoding", "gzip"}}, 415, 100, "Content-Encoding"},
		"too large a body":    {ask{body: `{"text":"` + strings.Repeat("x", domain.MaxRequestBody) + `"}`, key: w.a.APIKey}, 413, 100, "larger"},
		"another method":      {ask{method: "PUT", key: w.a.APIKey}, 405, 1, "POST"},
		"another type":        {ask{body: text, key: w.a.APIKey, noType: true, header: []string{"Content-Type", "text/plain"}}, 415, 100, "application/json"},
		"the same key, other": {ask{body: text, key: w.a.APIKey, header: []string{"Idempotency-Key", "used"}}, 422, 100, "different request"},
	} {
		if name == "the same key, other" {
			w.do(t, ask{method: "POST", path: "/v25.0/111111111111111/messages", key: w.a.APIKey, header: c.ask.header,
				body: `{"messaging_product":"whatsapp","to":"+14155550100","text":{"body":"first"}}`})
		}
		if c.ask.method == "" {
			c.ask.method = "POST"
		}
		if c.ask.path == "" {
			c.ask.path = "/v25.0/111111111111111/messages"
		}
		t.Run(name, func(t *testing.T) { checkGraphError(t, w.do(t, c.ask), c.status, c.code, c.words) })
	}
	if _, err := w.house.registry.SetQuota(t.Context(), w.a.Tenant.ID, tenant.Quota{PerDay: 1}, "admin"); err != nil {
		t.Fatal(err)
	}
	ask := ask{method: "POST", path: "/v25.0/111111111111111/messages", body: text, key: w.a.APIKey}
	w.do(t, ask)
	r := w.do(t, ask)
	checkGraphError(t, r, 429, 130429, "quota")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// A path that only looks like Meta's is nobody's.
func TestGraphPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/25.0/111111111111111/messages", "/v25/111111111111111/messages", "/v25.0/111111111111111", "/tenants/$A/messages"} {
		if r := w.do(t, ask{method: "POST", path: path, body: `{}`}); r.StatusCode != 404 && r.StatusCode != 405 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

// Warnings are told with the receipt, and with its repeat; who wants to be
// refused is.
func TestWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.house.accepter.Contacts = strangers{}
	text := `"to":"+` + canaryPhone + `","text":"x","idempotency_key":"k"`
	for range 2 {
		r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{` + text + `}`})
		var got receiptJSON
		decodeInto(t, r.body, &got)
		if r.StatusCode != http.StatusAccepted || len(got.Warnings) != 1 || got.Warnings[0].Code != message.WindowClosed || got.Warnings[0].Detail == "" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x","enforce_window":true}`})
	checkProblem(t, r, 422, "unwelcome", "/to")
}
