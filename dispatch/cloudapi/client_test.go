package cloudapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
)

const token = "EAAG-secret-token"

func aCall() cloudapi.Call {
	return cloudapi.Call{
		Number: "106540352242922", Token: token, To: "+16505551234",
		Content: json.RawMessage(`{"type":"text","text":{"body":"a<b & ä"}}`),
		Message: "msg_1", Tenant: "ten_1", Attempt: 1,
	}
}

// serve starts a server with a handler and a client that calls it.
func serve(t *testing.T, h http.HandlerFunc) *cloudapi.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, cloudapi.Config{BaseURL: s.URL, Version: "v25.0"})
}

func client(t *testing.T, cfg cloudapi.Config) *cloudapi.Client {
	t.Helper()
	c, err := cloudapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer serves a status, headers given as pairs, and a body.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func replay(e envelope) http.HandlerFunc {
	var headers []string
	for k, v := range e.Headers {
		headers = append(headers, k, v)
	}
	return answer(e.Status, string(e.Body), headers...)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []cloudapi.Config{
		{}, {BaseURL: cloudapi.MetaURL}, {BaseURL: cloudapi.MetaURL, Version: "25.0"}, {BaseURL: cloudapi.MetaURL, Version: "v25.0/x"},
		{BaseURL: "graph.facebook.com", Version: "v25.0"}, {BaseURL: "ftp://x", Version: "v25.0"},
		{BaseURL: "https://x?y=z", Version: "v25.0"}, {BaseURL: "https://a:b@x", Version: "v25.0"},
	} {
		if _, err := cloudapi.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// The request is what section 2.1 asks for, and a tenant's content cannot
// change whom it goes to or what comes back with its statuses.
func TestSendRequest(t *testing.T) {
	t.Parallel()
	type seen struct {
		method, uri, auth, mime, raw string
		body                         map[string]any
	}
	requests := make(chan seen, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s := seen{method: r.Method, uri: r.RequestURI, auth: r.Header.Get("Authorization"), mime: r.Header.Get("Content-Type")}
		b, _ := io.ReadAll(r.Body)
		s.raw = string(b)
		if err := json.Unmarshal(b, &s.body); err != nil {
			t.Error(err)
		}
		requests <- s
		answer(200, `{"messages":[{"id":"wamid.1"}]}`)(w, r)
	})
	call := aCall()
	call.Content = json.RawMessage(`{"type":"text","text":{"body":"a<b & ä"},"to":"+999","recipient":"US.9","biz_opaque_callback_data":"mine","messaging_product":"x","recipient_type":"group","context":{"message_id":"wamid.0"}}`)
	if o := c.Send(t.Context(), call); o.Kind != cloudapi.Accepted || o.Wamid != "wamid.1" {
		t.Fatalf("got %v", o)
	}
	got := <-requests
	if got.method != "POST" || got.uri != "/v25.0/106540352242922/messages" || got.auth != "Bearer "+token || got.mime != "application/json" {
		t.Errorf("got %+v", got)
	}
	want := map[string]string{"messaging_product": "whatsapp", "recipient_type": "individual", "to": "+16505551234", "type": "text",
		"biz_opaque_callback_data": `{"t":"ten_1","m":"msg_1","a":1}`}
	for k, v := range want {
		if got.body[k] != v {
			t.Errorf("%s is %v, want %s", k, got.body[k], v)
		}
	}
	if got.body["recipient"] != nil || got.body["context"] == nil || !strings.Contains(got.raw, "a<b & ä") {
		t.Errorf("got %s", got.raw)
	}

	call.To = "US.13491208655302741918"
	c.Send(t.Context(), call)
	got = <-requests
	if got.body["recipient"] != call.To || got.body["to"] != nil {
		t.Errorf("a user id goes into recipient: %s", got.raw)
	}
}

func TestSendResponses(t *testing.T) {
	t.Parallel()
	want := map[string]cloudapi.Outcome{
		"ok_text.json":                 {WaID: "16505551234"},
		"ok_wa_id_differs_brazil.json": {WaID: "551112345678"},
		"ok_template_held.json":        {WaID: "16505551234", State: "held_for_quality_assessment"},
		"ok_template_accepted.json":    {WaID: "16505551234", State: "accepted"},
		"ok_to_bsuid.json":             {},
		"ok_parent_bsuid.json":         {State: "accepted"},
		"ok_group.json":                {WaID: "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"},
	}
	for _, name := range names(t, "send-responses") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := readEnvelope(t, "send-responses/"+name)
			o := serve(t, replay(e)).Send(t.Context(), aCall())
			w, isSend := want[name]
			if !isSend {
				// The answer to another call: it names no message, so as the
				// answer to a send it proves nothing.
				if o.Kind != cloudapi.Unknown || o.Detail != "answer without a message id" {
					t.Errorf("got %v", o)
				}
				return
			}
			if o.Kind != cloudapi.Accepted || !strings.HasPrefix(o.Wamid, "wamid.") || !strings.Contains(string(e.Body), o.Wamid) ||
				o.WaID != w.WaID || o.State != w.State || o.Version != "v25.0" || o.TraceID != "E7riEe9OW2e" || string(o.Raw) != string(e.Body) {
				t.Errorf("got %v %q %q %q", o, o.Wamid, o.WaID, o.State)
			}
		})
	}
}

// Every error fixture is judged as its manifest says.
func TestErrorFixtures(t *testing.T) {
	t.Parallel()
	var manifest struct {
		Files []struct{ File, Klass, Note string }
	}
	if err := json.Unmarshal(read(t, "manifest.json"), &manifest); err != nil {
		t.Fatal(err)
	}
	words := map[string]cloudapi.Class{
		"tenant": cloudapi.Account, "tenant-level, templates paused; not a quick retry": cloudapi.Account,
		"permanent": cloudapi.Permanent, "permanent for Direct Send": cloudapi.Permanent,
		"permanent for the recipient country, tenant not paused": cloudapi.Permanent,
		"retry": cloudapi.Retry, "retry after a minute": cloudapi.Retry, "ambiguous": cloudapi.Ambiguous,
	}
	wait := map[string]time.Duration{
		"131057_maintenance.json": time.Minute, "80007_waba_rate_limit.json": 7 * time.Minute, "131056_pair_rate.json": time.Second,
	}
	judged := 0
	for _, f := range manifest.Files {
		name, isError := strings.CutPrefix(f.File, "errors/")
		if !isError {
			continue
		}
		judged++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := words[f.Klass+f.Note]
			if !ok {
				t.Fatalf("no class for %q %q", f.Klass, f.Note)
			}
			e := readEnvelope(t, f.File)
			o := serve(t, replay(e)).Send(t.Context(), aCall())
			kind := cloudapi.Refused
			if want == cloudapi.Ambiguous {
				kind = cloudapi.Unknown
			}
			if o.Kind != kind || o.Class != want || o.Retry != (want == cloudapi.Retry) || o.Reason == "" || string(o.Raw) != string(e.Body) {
				t.Errorf("got %v, want %s %s", o, kind, want)
			}
			if !strings.HasPrefix(name, fmt.Sprint(o.Code)) || !strings.Contains(string(e.Body), `"`+o.TraceID+`"`) || o.TraceID == "" {
				t.Errorf("code %d, trace %s", o.Code, o.TraceID)
			}
			if w := wait[name]; w != 0 && o.Wait != w {
				t.Errorf("waits %v, want %v", o.Wait, w)
			}
		})
	}
	if judged != len(names(t, "errors")) {
		t.Errorf("judged %d of %d fixtures", judged, len(names(t, "errors")))
	}
}

// TestAnswers states the outcome of every kind of answer (sections 3 and 7.1).
func TestAnswers(t *testing.T) {
	t.Parallel()
	const html = `<html><body><h1>502 Bad Gateway</h1></body></html>`
	long := `{"messages":[{"id":"wamid.1"}],"x":"` + strings.Repeat("x", 64<<10) + `"}`
	tests := []struct {
		name   string
		h      http.HandlerFunc
		kind   cloudapi.Kind
		class  cloudapi.Class
		code   int
		detail string
		wait   time.Duration
	}{
		{"html 502", answer(502, html), cloudapi.Unknown, cloudapi.Ambiguous, 0, "http 502", 0},
		{"html 400", answer(400, html), cloudapi.Refused, cloudapi.Permanent, 0, "", 0},
		{"html 403", answer(403, html), cloudapi.Refused, cloudapi.Account, 0, "", 0},
		{"empty 401", answer(401, ""), cloudapi.Refused, cloudapi.Account, 0, "", 0},
		{"empty 200", answer(200, ""), cloudapi.Unknown, cloudapi.Ambiguous, 0, "unreadable answer", 0},
		{"204", answer(204, ""), cloudapi.Unknown, cloudapi.Ambiguous, 0, "unreadable answer", 0},
		{"html 200", answer(200, html), cloudapi.Unknown, cloudapi.Ambiguous, 0, "unreadable answer", 0},
		{"list 200", answer(200, `[]`), cloudapi.Unknown, cloudapi.Ambiguous, 0, "unreadable answer", 0},
		{"too long 200", answer(200, long), cloudapi.Unknown, cloudapi.Ambiguous, 0, "unreadable answer", 0},
		{"200 without id", answer(200, `{"messages":[{}]}`), cloudapi.Unknown, cloudapi.Ambiguous, 0, "answer without a message id", 0},
		{"200 with id of nobody", answer(200, `{"messages":[{"id":null}]}`), cloudapi.Unknown, cloudapi.Ambiguous, 0, "answer without a message id", 0},
		{"200 with an error", answer(200, `{"error":{"code":131009}}`), cloudapi.Unknown, cloudapi.Ambiguous, 131009, "answer without a message id", 0},
		{"201 with id", answer(201, `{"messages":[{"id":"wamid.1"}]}`), cloudapi.Accepted, "", 0, "", 0},
		{"bare 429", answer(429, ""), cloudapi.Refused, cloudapi.Retry, 0, "", 5 * time.Second},
		{"429 with Retry-After", answer(429, "", "Retry-After", "17"), cloudapi.Refused, cloudapi.Retry, 0, "", 17 * time.Second},
		{"429 with a date", answer(429, "", "Retry-After", "Mon, 23 Nov 2026 10:00:30 GMT", "Date", "Mon, 23 Nov 2026 10:00:00 GMT"), cloudapi.Refused, cloudapi.Retry, 0, "", 30 * time.Second},
		{"429 with nonsense", answer(429, "", "Retry-After", "soon"), cloudapi.Refused, cloudapi.Retry, 0, "", 5 * time.Second},
		{"429 for ever", answer(429, "", "Retry-After", "999999999"), cloudapi.Refused, cloudapi.Retry, 0, "", 72 * time.Hour},
		{"Retry-After of a refusal for good", answer(400, `{"error":{"code":131009}}`, "Retry-After", "17"), cloudapi.Refused, cloudapi.Permanent, 131009, "", 0},
		{"throughput as 403", answer(403, `{"error":{"code":130429}}`), cloudapi.Refused, cloudapi.Retry, 130429, "", time.Second},
		{"code as text", answer(400, `{"error":{"code":"190"}}`), cloudapi.Refused, cloudapi.Account, 190, "", 0},
		{"code 0", answer(401, `{"error":{"code":0}}`), cloudapi.Refused, cloudapi.Account, 0, "", 0},
		{"code 1 as 400", answer(400, `{"error":{"code":1}}`), cloudapi.Unknown, cloudapi.Ambiguous, 1, "error 1", 0},
		{"131000 as 500", answer(500, `{"error":{"code":131000}}`), cloudapi.Unknown, cloudapi.Ambiguous, 131000, "error 131000", 0},
		{"error without code", answer(400, `{"error":{"message":"x"}}`), cloudapi.Refused, cloudapi.Permanent, 0, "", 0},
		{"error is a text", answer(500, `{"error":"x"}`), cloudapi.Unknown, cloudapi.Ambiguous, 0, "http 500", 0},
		{"unlisted code, 400", answer(400, `{"error":{"code":987654}}`), cloudapi.Refused, cloudapi.Permanent, 987654, "", 0},
		{"unlisted code, transient", answer(400, `{"error":{"code":987654,"is_transient":true}}`), cloudapi.Refused, cloudapi.Retry, 987654, "", 10 * time.Second},
		{"unlisted code, 500", answer(500, `{"error":{"code":987654,"is_transient":true}}`), cloudapi.Unknown, cloudapi.Ambiguous, 987654, "error 987654", 0},
		{"not modified", answer(304, ""), cloudapi.Unknown, cloudapi.Ambiguous, 0, "http 304", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, test.h).Send(t.Context(), aCall())
			if o.Kind != test.kind || o.Class != test.class || o.Code != test.code || o.Detail != test.detail || o.Wait != test.wait {
				t.Errorf("got %v wait=%v", o, o.Wait)
			}
			if o.Retry != (o.Kind == cloudapi.Refused && o.Class == cloudapi.Retry) || (o.Kind != cloudapi.Accepted && o.Reason == "") {
				t.Errorf("got %v retry=%v reason=%q", o, o.Retry, o.Reason)
			}
			if o.Raw != nil && !json.Valid(o.Raw) {
				t.Errorf("raw is not JSON: %s", o.Raw)
			}
		})
	}
}

// What Meta says of a refusal in its own words is kept, wherever it says it, up
// to a bound and without our token; a log line never shows it.
func TestDetailsAreKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<10-1)
	for body, want := range map[string]string{
		`{"code":100,"message":"(#100) Invalid parameter","error_data":{"details":"+16505551234 is no type"}}`: "+16505551234 is no type",
		`{"code":100,"message":"(#100) Invalid parameter","error_data":"as a text"}`:                           "as a text",
		`{"code":100,"message":"(#100) Invalid parameter","error_data":{"details":""}}`:                        "(#100) Invalid parameter",
		`{"code":131000,"error_data":{"details":"Something went wrong"}}`:                                      "Something went wrong",
		`{"code":100,"error_data":{"details":"` + long + `éy"}}`:                                               long, // not half a letter
		`{"code":100,"error_data":{"details":"` + long[:1020] + token + `"}}`:                                  long[:1020] + "[tok",
		`{"code":100,"error_data":{"details":{}},"message":7}`:                                                 "7",
		`{"code":100}`: "",
	} {
		o := serve(t, answer(400, `{"error":`+body+`}`)).Send(t.Context(), aCall())
		if o.Details != want {
			t.Errorf("%s: %q", body, o.Details)
		}
		if want != "" && strings.Contains(fmt.Sprintf("%v %+v %#v", o, o, o), want) {
			t.Errorf("shown: %v", o)
		}
	}
}

func TestPairRateWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	c := serve(t, answer(400, `{"error":{"code":131056}}`))
	call := aCall()
	for n, want := range []time.Duration{1, 4, 16, 64} {
		call.Attempt = n + 1
		if o := c.Send(t.Context(), call); o.Wait != want*time.Second {
			t.Errorf("attempt %d waits %v", call.Attempt, o.Wait)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(other.Close)
	c := serve(t, answer(307, "", "Location", other.URL))
	if o := c.Send(t.Context(), aCall()); o.Kind != cloudapi.Unknown || o.Detail != "http 307" || followed.Load() != 0 {
		t.Errorf("got %v after %d redirects", o, followed.Load())
	}
	// A client handed in cannot bring redirects back.
	c = client(t, cloudapi.Config{BaseURL: other.URL, Version: "v25.0", HTTP: &http.Client{}})
	if o := c.Send(t.Context(), aCall()); o.Kind != cloudapi.Unknown {
		t.Errorf("got %v", o)
	}
}

func TestUnusableCallIsNotMade(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	for name, change := range map[string]func(*cloudapi.Call){
		"number with a path":     func(c *cloudapi.Call) { c.Number = "1/../2" },
		"no number":              func(c *cloudapi.Call) { c.Number = "" },
		"no recipient":           func(c *cloudapi.Call) { c.To = "" },
		"no token":               func(c *cloudapi.Call) { c.Token = "" },
		"token with a line feed": func(c *cloudapi.Call) { c.Token = "a\nb" },
		"content is a list":      func(c *cloudapi.Call) { c.Content = json.RawMessage(`[]`) },
		"content is null":        func(c *cloudapi.Call) { c.Content = json.RawMessage(`null`) },
		"no content":             func(c *cloudapi.Call) { c.Content = nil },
		"no attempt":             func(c *cloudapi.Call) { c.Attempt = 0 },
		"no message":             func(c *cloudapi.Call) { c.Message = "" },
	} {
		call := aCall()
		change(&call)
		for _, o := range []cloudapi.Outcome{c.Send(t.Context(), call), cloudapi.Simulate(call)} {
			if o.Kind != cloudapi.Refused || o.Class != cloudapi.Permanent || o.Retry || o.Reason == "" {
				t.Errorf("%s: got %v", name, o)
			}
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d calls were made", calls.Load())
	}
}

// Whatever Meta echoes, our token is not kept.
func TestAnswerNeverHoldsTheToken(t *testing.T) {
	t.Parallel()
	escaped := strings.ReplaceAll(token, "-", `\u002d`)
	for name, body := range map[string]string{
		"plain":      `{"error":{"message":"Malformed access token ` + token + `","code":190,"fbtrace_id":"` + token + `"}}`,
		"escaped":    `{"error":{"message":"bad ` + escaped + `","code":190}}`,
		"in a key":   `{"error":{"` + token + `":[{"` + escaped + `":1}],"code":190}}`,
		"other text": `{"error":{"message":"line\nfeed \/","code":190}}`,
	} {
		o := serve(t, answer(401, body)).Send(t.Context(), aCall())
		var decoded any
		if err := json.Unmarshal(o.Raw, &decoded); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all := fmt.Sprintf("%s %v %s %s %s %s", o.Raw, decoded, o.TraceID, o.Reason, o.Detail, o.Details)
		if strings.Contains(all, token) || o.Code != 190 {
			t.Errorf("%s: %s", name, all)
		}
		if name == "other text" && string(o.Raw) != body {
			t.Errorf("raw is not verbatim: %s", o.Raw)
		}
	}
}

// A call or outcome that ends up in a log line shows neither token nor person.
func TestPrintingShowsNobody(t *testing.T) {
	t.Parallel()
	call := aCall()
	o := cloudapi.Simulate(call)
	var b strings.Builder
	log := slog.New(slog.NewJSONHandler(&b, nil))
	log.Info("x", "call", call, "outcome", o)
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v", call, call, call, call, o, o, o)
	for _, secret := range []string{token, "1650555", "wamid", "a<b"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%q is shown: %s", secret, b.String())
		}
	}
	if !strings.Contains(b.String(), "msg_1") {
		t.Errorf("the message is not named: %s", b.String())
	}
}
