package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

func decodeInto(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
}

// Every wrong request has its status, its kind, and its faults in the right
// places.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const to, words = `"to":"+` + canaryPhone + `"`, `"text":"` + canaryText + `"`
	send := func(body string, header ...string) ask {
		return ask{method: "POST", path: "/tenants/$A/send", body: body, header: header}
	}
	get := func(path string, header ...string) ask {
		return ask{admin: true, method: "GET", path: path, header: header}
	}
	register := func(body string) ask { return ask{method: "POST", path: "/tenants/register", body: body} }
	redrive := func(body string) ask { return ask{admin: true, method: "POST", path: "/dlq/redrive", body: body} }
	typed := func(media string) ask {
		return ask{method: "POST", path: "/tenants/$A/send", body: `{` + to + `,` + words + `}`, noType: true, header: []string{"Content-Type", media}}
	}

	for _, c := range []struct {
		name     string
		ask      ask
		status   int
		kind     domain.ErrKind
		pointers []string
	}{
		{"not JSON", send(`{"to":`), 400, domain.Malformed, []string{""}},
		{"no body", ask{method: "POST", path: "/tenants/$A/send", noType: true, header: []string{"Content-Type", "application/json"}}, 400, domain.Malformed, []string{""}},
		{"an array", send(`[]`), 400, domain.Malformed, []string{""}},
		{"null", send(`null`), 400, domain.Malformed, []string{""}},
		{"a string", send(`"x"`), 400, domain.Malformed, []string{""}},
		{"two values", send(`{` + to + `,` + words + `} {}`), 400, domain.Malformed, []string{""}},
		{"garbage after", send(`{` + to + `,` + words + `}x`), 400, domain.Malformed, []string{""}},
		{"trailing comma", send(`{` + to + `,}`), 400, domain.Malformed, []string{""}},
		{"invalid UTF-8", send("{" + to + ",\"text\":\"\xff\"}"), 400, domain.Malformed, []string{""}},
		{"half a character", send(`{` + to + `,"text":"\ud83d"}`), 400, domain.Malformed, []string{""}},
		{"too deep", send(`{"to":` + strings.Repeat("[", maxJSONDepth) + strings.Repeat("]", maxJSONDepth) + `}`), 400, domain.Malformed, []string{""}},
		{"repeated name", send(`{` + to + `,` + words + `,"to":"+1"}`), 400, domain.Malformed, []string{"/to"}},
		{"repeated name, escaped", send(`{` + to + `,` + words + `,"t\u006f":"+1"}`), 400, domain.Malformed, []string{"/to"}},
		{"repeated name, inside", send(`{"to":[{"a":1,"a":2}]}`), 400, domain.Malformed, []string{"/to/0/a"}},
		{"unknown field", send(`{` + to + `,` + words + `,"zz/x":1}`), 400, domain.Invalid, []string{"/zz~1x"}},
		{"other case", send(`{"TO":"+` + canaryPhone + `",` + words + `}`), 400, domain.Invalid, []string{"/to", "/TO"}},
		{"wrong types", send(`{"to":{"$gt":""},"text":5,"idempotency_key":["x"]}`), 400, domain.Invalid, []string{"/idempotency_key", "/text", "/to"}},
		{"missing to", send(`{` + words + `}`), 400, domain.Invalid, []string{"/to"}},
		{"null to", send(`{"to":null,` + words + `}`), 400, domain.Invalid, []string{"/to"}},
		{"to is no phone number", send(`{"to":"hello",` + words + `}`), 400, domain.Invalid, []string{"/to"}},
		{"empty text", send(`{` + to + `,"text":" "}`), 400, domain.Invalid, []string{"/text"}},
		{"missing text and to", send(`{}`), 400, domain.Invalid, []string{"/to", "/text"}},
		{"text over the limit", send(`{` + to + `,"text":"` + strings.Repeat("x", 4097) + `"}`), 400, domain.Invalid, []string{"/text"}},
		{"key with spaces", send(`{` + to + `,` + words + `,"idempotency_key":"a b"}`), 400, domain.Invalid, []string{"/idempotency_key"}},
		{"two keys", send(`{`+to+`,`+words+`,"idempotency_key":"a"}`, "Idempotency-Key", "b"), 400, domain.Invalid, []string{"/idempotency_key"}},
		{"two key headers", send(`{`+to+`,`+words+`}`, "Idempotency-Key", "a", "Idempotency-Key", "b"), 400, domain.Invalid, nil},
		{"empty key", send(`{` + to + `,` + words + `,"idempotency_key":""}`), 400, domain.Invalid, []string{"/idempotency_key"}},
		{"empty key header", send(`{`+to+`,`+words+`}`, "Idempotency-Key", ""), 400, domain.Invalid, nil},
		{"empty key header beside a key", send(`{`+to+`,`+words+`,"idempotency_key":"a"}`, "Idempotency-Key", ""), 400, domain.Invalid, nil},
		{"body over the limit", send(`{` + to + `,"text":"` + strings.Repeat("x", domain.MaxRequestBody) + `"}`), 413, domain.TooLarge, nil},
		{"a form", typed("application/x-www-form-urlencoded"), 415, badMediaType, nil},
		{"multipart", typed("multipart/form-data; boundary=x"), 415, badMediaType, nil},
		{"text", typed("text/plain"), 415, badMediaType, nil},
		{"JSON in Latin-1", typed("application/json; charset=iso-8859-1"), 415, badMediaType, nil},
		{"no content type", ask{method: "POST", path: "/tenants/$A/send", body: "{}", noType: true}, 415, badMediaType, nil},
		{"gzip", send("x", "Content-Encoding", "gzip"), 415, badMediaType, nil},
		{"unknown tenant", ask{method: "POST", path: "/tenants/ten_x/send", body: `{` + to + `,` + words + `}`}, 404, domain.Unknown, nil},
		{"unknown tenant, odd id", get("/tenants/%2e%2e"), 404, domain.Unknown, nil},

		{"register nothing", register(`{}`), 400, domain.Invalid, []string{"/name", "/phoneNumberId", "/accessToken"}},
		{"register: snake case", register(`{"name":"x","phone_number_id":"1","accessToken":"` + canaryToken + `"}`), 400, domain.Invalid, []string{"/phone_number_id"}},
		{"register: taken", register(`{"name":"x","phoneNumberId":"111111111111111","accessToken":"` + canaryToken + `"}`), 409, domain.Taken, nil},
		{"register: letters for an id", register(`{"name":"x","phoneNumberId":"abc","accessToken":"mock_x"}`), 400, domain.Invalid, []string{"/phoneNumberId"}},
		{"register: a phone for an id", register(`{"name":"x","phoneNumberId":"+14155550100","accessToken":"mock_x"}`), 400, domain.Invalid, []string{"/phoneNumberId"}},
		{"register: 33 digits", register(`{"name":"x","phoneNumberId":"` + strings.Repeat("1", 33) + `","accessToken":"mock_x"}`), 400, domain.Invalid, []string{"/phoneNumberId"}},
		{"register: bad id", register(`{"name":"x","phoneNumberId":"a.b","accessToken":"` + canaryToken + `"}`), 400, domain.Invalid, []string{"/phoneNumberId"}},

		{"unknown filter", get("/tenants/$A/messages?stauts=sent"), 400, domain.Invalid, nil},
		{"bad status", get("/tenants/$A/messages?status=lost"), 400, domain.Invalid, nil},
		{"empty status", get("/tenants/$A/messages?status="), 400, domain.Invalid, nil},
		{"bad direction", get("/tenants/$A/messages?direction=up"), 400, domain.Invalid, nil},
		{"bad customer", get("/tenants/$A/messages?customer=%2B" + canaryPhone), 400, domain.Invalid, nil},
		{"filter twice", get("/tenants/$A/messages?status=sent&status=read"), 400, domain.Invalid, nil},
		{"filter not UTF-8", get("/tenants/$A/messages?status=%ff"), 400, domain.Invalid, nil},
		{"filter not decodable", get("/tenants/$A/messages?status=%zz"), 400, domain.Invalid, nil},
		{"limit 0", get("/tenants/$A/messages?limit=0"), 400, domain.Invalid, nil},
		{"limit 201", get("/tenants/$A/messages?limit=201"), 400, domain.Invalid, nil},
		{"limit ten", get("/tenants/$A/messages?limit=ten"), 400, domain.Invalid, nil},
		{"made-up cursor", get("/tenants/$A/messages?cursor=abc"), 400, domain.Invalid, nil},
		{"empty cursor", get("/tenants/$A/messages?cursor="), 400, domain.Invalid, nil},
		{"query where none is", get("/tenants/$A/messages/msg_0?x=1"), 400, domain.Invalid, nil},
		{"dlq of nobody", get("/dlq?tenant=ten_x"), 400, domain.Invalid, nil},
		{"dlq of a tenant in another's", get("/tenants/$A/dlq?tenant=$B"), 400, domain.Invalid, nil},
		{"dlq by a word as code", get("/dlq?code=x"), 400, domain.Invalid, nil},
		{"dlq by a wrong state", get("/dlq?state=alive"), 400, domain.Invalid, nil},
		{"dlq by no state", get("/dlq?state="), 400, domain.Invalid, nil},
		{"dlq by a wrong time", get("/dlq?since=noon"), 400, domain.Invalid, nil},
		{"dlq by a wrong number", get("/dlq?number=a%20b"), 400, domain.Invalid, nil},
		{"unknown dead letter", get("/dlq/msg_x"), 404, domain.Unknown, nil},
		{"another tenant's dead letter", get("/tenants/$B/dlq/msg_9"), 404, domain.Unknown, nil},
		{"position is no number", get("/tenants/$A/messages/msg_0", "Sendlog-Min-Position", "-1"), 400, domain.Invalid, nil},
		{"unknown message", get("/tenants/$A/messages/msg_x"), 404, domain.Unknown, nil},
		{"another tenant's message", get("/tenants/$B/messages/msg_0"), 404, domain.Unknown, nil},
		{"another tenant's timeline", get("/tenants/$B/messages/msg_0/timeline"), 404, domain.Unknown, nil},
		{"impossible message", get("/tenants/$A/messages/a%20b"), 404, domain.Unknown, nil},
		{"unknown customer", get("/tenants/$A/customers/cus_x"), 404, domain.Unknown, nil},
		{"unknown payload", get("/quarantine/18"), 404, domain.Unknown, nil},
		{"unknown rebuild", get("/rebuilds/x"), 404, domain.Unknown, nil},
		{"unknown path", get("/nothing"), 404, domain.Unknown, nil},
		{"path in other case", get("/TENANTS/$A"), 404, domain.Unknown, nil},
		{"trailing slash", get("/tenants/$A/"), 404, domain.Unknown, nil},
		{"admin path on the public listener", ask{method: "GET", path: "/quarantine"}, 404, domain.Unknown, nil},
		{"metrics on the public listener", ask{method: "GET", path: "/metrics"}, 404, domain.Unknown, nil},

		{"redrive nothing", redrive(`{}`), 400, domain.Invalid, []string{""}},
		{"redrive nobody", redrive(`{"ids":[]}`), 400, domain.Invalid, []string{""}},
		{"redrive two ways", redrive(`{"ids":["msg_1"],"all":true}`), 400, domain.Invalid, []string{""}},
		{"redrive no id", redrive(`{"ids":["a b"]}`), 400, domain.Invalid, []string{"/ids"}},
		{"redrive wrong type", redrive(`{"ids":"msg_1","all":1}`), 400, domain.Invalid, []string{"/all", "/ids"}},
		{"redrive too many", redrive(`{"ids":["m"` + strings.Repeat(`,"m"`, maxRedriveIDs) + `]}`), 400, domain.Invalid, []string{"/ids"}},
		{"redrive of nobody", redrive(`{"filter":{"tenant":"ten_x"}}`), 400, domain.Invalid, []string{"/filter/tenant"}},
		{"redrive by everything", redrive(`{"filter":{}}`), 400, domain.Invalid, []string{"/filter"}},
		{"redrive by no filter", redrive(`{"filter":[]}`), 400, domain.Invalid, []string{"/filter"}},
		{"redrive by what is not dead", redrive(`{"filter":{"state":"settled"}}`), 400, domain.Invalid, []string{"/filter/state"}},
		{"redrive by wrong words", redrive(`{"filter":{"code":"x","number":7}}`), 400, domain.Invalid, []string{"/filter/code", "/filter/number"}},
		{"redrive by wrong values", redrive(`{"filter":{"since":"noon","until":"1","reason":"foo","number":"a b"}}`), 400, domain.Invalid,
			[]string{"/filter/number", "/filter/reason", "/filter/since", "/filter/until"}},
		{"redrive at no pace", redrive(`{"all":true,"rate":0}`), 400, domain.Invalid, []string{"/rate"}},
		{"redrive too fast", redrive(`{"all":true,"rate":1001}`), 400, domain.Invalid, []string{"/rate"}},
		{"redrive of another tenant", ask{method: "POST", path: "/tenants/$A/dlq/redrive", body: `{"filter":{"tenant":"$B"}}`}, 400, domain.Invalid, []string{"/filter/tenant"}},
		{"redrive in a tenant's name", redrive(`{"tenant":"$A"}`), 400, domain.Invalid, []string{"/tenant"}},
		{"redrive that runs already", redrive(`{"ids":["msg_taken"]}`), 409, domain.Taken, nil},
		{"unknown redrive", get("/dlq/redrives/x"), 404, domain.Unknown, nil},
		{"another tenant's redrive", get("/tenants/$B/dlq/redrives/redrive_1"), 404, domain.Unknown, nil},
		{"cancel of an unknown redrive", ask{admin: true, method: "POST", path: "/dlq/redrives/x/cancel"}, 404, domain.Unknown, nil},
		{"cancel of another tenant's redrive", ask{method: "POST", path: "/tenants/$B/dlq/redrives/redrive_1/cancel"}, 404, domain.Unknown, nil},
		{"rebuild of nothing", ask{admin: true, method: "POST", path: "/rebuilds", body: `{"model":"x"}`}, 400, domain.Invalid, []string{"/model"}},
		{"rebuild twice", ask{admin: true, method: "POST", path: "/rebuilds", body: `{"model":"customers"}`}, 409, domain.Taken, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkProblem(t, w.do(t, c.ask), c.status, c.kind, c.pointers...)
		})
	}
}

// What this room accepts in a body reaches the port unchanged.
func TestDecodeKeepsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", noType: true,
		header: []string{"Content-Type", "Application/JSON; charset=UTF-8", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		body:   `{"to":"+` + canaryPhone + `","text":"\ud83d\ude00 \\ud83d \"<&>\u2028 ok\\"}`})
	if r.StatusCode != 202 {
		t.Fatal(r.StatusCode, r.body)
	}
	got := w.house.requests[0]
	if want := "😀 \\ud83d \"<&>\u2028 ok\\"; got.Text != want {
		t.Errorf("text %q, want %q", got.Text, want)
	}
	if got.Trace != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" || got.Actor != "api" || got.Number != "111111111111111" || !got.Simulated {
		t.Errorf("request %+v", got)
	}
}

// A method that a path does not have is refused with those it has.
func TestMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		r := w.do(t, ask{method: method, path: "/tenants/$A"})
		checkProblem(t, r, 405, badMethod)
		if got := r.Header.Get("Allow"); got != "GET, HEAD" {
			t.Errorf("%s: Allow %q", method, got)
		}
		checkProblem(t, w.do(t, ask{method: method, path: "/nothing"}), 404, domain.Unknown)
	}
	r := w.do(t, ask{method: "GET", path: "/tenants/$A/send"})
	checkProblem(t, r, 405, badMethod)
	if got := r.Header.Get("Allow"); got != "POST" {
		t.Errorf("Allow %q", got)
	}
}

// A read waits for the position it names, but not for ever.
func TestMinPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.ReadWait = 1 })
	for _, path := range []string{"/tenants/$A/messages", "/tenants/$A/messages/msg_0", "/tenants/$A/messages/msg_0/timeline", "/tenants/$A/customers", "/tenants/$A/notices", "/tenants/$A/dlq"} {
		at := func(position int) reply {
			return w.do(t, ask{method: "GET", path: path, header: []string{"Sendlog-Min-Position", strconv.Itoa(position)}})
		}
		if r := at(100); r.StatusCode != 200 {
			t.Errorf("%s at 100: %d", path, r.StatusCode)
		}
		r := at(101)
		p := checkProblem(t, r, 503, domain.Unavailable)
		if r.Header.Get("Retry-After") != "1" || !strings.Contains(p.Detail, "101") {
			t.Errorf("%s at 101: Retry-After %q, %q", path, r.Header.Get("Retry-After"), p.Detail)
		}
	}
}
