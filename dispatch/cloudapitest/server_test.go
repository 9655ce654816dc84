package cloudapitest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// Without faults every call is accepted, answered, in the ledger, and its
// statuses arrive signed, in order, with our callback data.
func TestSendAndStatuses(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	c := client(t, s)
	wamids := map[string]bool{}
	for n := range 20 {
		m := domain.MessageID(fmt.Sprintf("msg_%d", n))
		o := c.Send(t.Context(), call(m))
		if o.Kind != cloudapi.Accepted || o.WaID != "16505551234" || o.Version != "v25.0" || o.TraceID == "" || wamids[o.Wamid] {
			t.Fatalf("got %v %s", o, o.Wamid)
		}
		wamids[o.Wamid] = true
	}
	settle(t, s)
	for n := range 20 {
		m := domain.MessageID(fmt.Sprintf("msg_%d", n))
		if got := a.statuses(t, m); fmt.Sprint(got) != "[sent delivered read]" {
			t.Errorf("%s: %v", m, got)
		}
		if s.Accepted(m) != 1 {
			t.Errorf("%s was accepted %d times", m, s.Accepted(m))
		}
	}
	for n, e := range s.Ledger() {
		if e.Seq != n+1 || !e.Accepted || !wamids[e.Wamid] || e.Number != number || e.To != "+16505551234" || e.Tenant != "ten_1" || e.Attempt != 1 || e.At.IsZero() {
			t.Errorf("got %+v", e)
		}
	}
	if items := a.items(t); len(items) != 60 || items[0].OpaqueTenant != "ten_1" || !wamids[items[0].Key] {
		t.Errorf("%d items", len(items))
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	o := call("msg_1")
	o.To = "US.13491208655302741918"
	if got := client(t, s).Send(t.Context(), o); got.Kind != cloudapi.Accepted || got.WaID != "" || !strings.Contains(string(got.Raw), `"user_id":"US.13491208655302741918"`) {
		t.Errorf("got %v %s", got, got.Raw)
	}
	status, _, body := post(t, s.URL()+"/v25.0/"+string(number)+"/messages", "Bearer "+token,
		`{"messaging_product":"whatsapp","recipient_type":"group","to":"Y2Fw","type":"text","text":{"body":"x"}}`)
	if status != 200 || !strings.Contains(string(body), `"group_id":"Y2Fw"`) {
		t.Errorf("%d %s", status, body)
	}
	status, _, body = post(t, s.URL()+"/v25.0/"+string(number)+"/messages", "Bearer "+token,
		`{"messaging_product":"whatsapp","to":"+16505551234","type":"template","template":{"name":"x","language":{"code":"en"}}}`)
	if status != 200 || !strings.Contains(string(body), `"message_status":"accepted"`) {
		t.Errorf("%d %s", status, body)
	}
	status, _, body = post(t, s.URL()+"/v25.0/"+string(number)+"/messages", "Bearer "+token,
		`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.1","typing_indicator":{"type":"text"}}`)
	if status != 200 || string(body) != `{"success":true}` {
		t.Errorf("%d %s", status, body)
	}
	settle(t, s)
	if len(s.Ledger()) != 3 {
		t.Errorf("marking as read is no send: %d entries", len(s.Ledger()))
	}
}

// Requests are judged as section 2 does, with the codes of section 7.3.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	const good = `{"messaging_product":"whatsapp","to":"+16505551234","type":"text","text":{"body":"x"}}`
	with := func(old, now string) string { return strings.Replace(good, old, now, 1) }
	path := "/v25.0/" + string(number) + "/messages"
	tests := []struct {
		name, path, bearer, body string
		status, code             int
	}{
		{"no token", path, "", good, 401, 190},
		{"no bearer", path, token, good, 401, 190},
		{"wrong token", path, "Bearer x", good, 401, 190},
		{"token of another number", "/v25.0/999/messages", "Bearer " + token, good, 401, 190},
		{"version", "/25/" + string(number) + "/messages", "Bearer " + token, good, 400, 100},
		{"path", "/v25.0/" + string(number) + "/mesages", "Bearer " + token, good, 400, 100},
		{"no JSON", path, "Bearer " + token, `x`, 400, 100},
		{"a list", path, "Bearer " + token, `[]`, 400, 100},
		{"too large", path, "Bearer " + token, `{"x":"` + strings.Repeat("x", 300<<10) + `"}`, 400, 100},
		{"unknown field", path, "Bearer " + token, with(`"type"`, `"idempotency_key":"x","type"`), 400, 100},
		{"object of another type", path, "Bearer " + token, with(`"type"`, `"image":{"id":"1"},"type"`), 400, 100},
		{"no product", path, "Bearer " + token, with(`"messaging_product":"whatsapp",`, ``), 400, 100},
		{"no recipient", path, "Bearer " + token, with(`"to":"+16505551234",`, ``), 400, 100},
		{"recipient type", path, "Bearer " + token, with(`"to"`, `"recipient_type":"all","to"`), 400, 100},
		{"number as number", path, "Bearer " + token, with(`"+16505551234"`, `16505551234`), 400, 100},
		{"no phone", path, "Bearer " + token, with(`+16505551234`, `bob`), 400, 131009},
		{"no user id", path, "Bearer " + token, with(`"to":"+16505551234"`, `"recipient":"bob"`), 400, 131009},
		{"unknown type", path, "Bearer " + token, with(`"type":"text"`, `"type":"poll"`), 400, 100},
		{"no object", path, "Bearer " + token, with(`,"text":{"body":"x"}`, ``), 400, 131008},
		{"null object", path, "Bearer " + token, with(`{"body":"x"}`, `null`), 400, 131008},
		{"object is a text", path, "Bearer " + token, with(`{"body":"x"}`, `"x"`), 400, 100},
		{"empty text", path, "Bearer " + token, with(`"x"`, `""`), 400, 100},
		{"long text", path, "Bearer " + token, with(`"x"`, `"`+strings.Repeat("😀", 2049)+`"`), 400, 100},
		{"long callback data", path, "Bearer " + token, with(`"to"`, `"biz_opaque_callback_data":"`+strings.Repeat("x", 513)+`","to"`), 400, 100},
		{"image without source", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"image","image":{}}`, 400, 131008},
		{"template without name", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"template","template":{}}`, 400, 131008},
		{"location without place", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"location","location":{}}`, 400, 131008},
		{"reaction to nothing", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"reaction","reaction":{}}`, 400, 131008},
		{"no contacts", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"contacts","contacts":[]}`, 400, 131008},
		{"interactive of no type", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"interactive","interactive":{}}`, 400, 131008},
		{"button without title", path, "Bearer " + token, `{"messaging_product":"whatsapp","to":"+16505551234","type":"interactive","interactive":{"type":"button","body":{"text":"x"},"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":""}}]}}}`, 400, 131009},
		{"read of nothing", path, "Bearer " + token, `{"messaging_product":"whatsapp","status":"read"}`, 400, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			status, header, body := post(t, s.URL()+test.path, test.bearer, test.body)
			var e struct {
				Error struct {
					Code  int    `json:"code"`
					Trace string `json:"fbtrace_id"`
				} `json:"error"`
			}
			if err := json.Unmarshal(body, &e); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if status != test.status || e.Error.Code != test.code || e.Error.Trace == "" || header.Get("X-Fb-Trace-Id") == "" {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// Every request of the fixtures' kinds that the client can make is taken.
func TestTakesRealContent(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	c := client(t, s)
	for n, content := range []string{
		`{"type":"text","text":{"preview_url":true,"body":"x"},"context":{"message_id":"wamid.1"}}`,
		`{"text":{"body":"type may be missing"}}`,
		`{"type":"image","image":{"link":"https://x.example/a.png","caption":"c"}}`,
		`{"type":"audio","audio":{"id":"1","voice":true}}`,
		`{"type":"location","location":{"latitude":"37.44","longitude":-122.16,"name":"n"}}`,
		`{"type":"reaction","reaction":{"message_id":"wamid.1","emoji":""}}`,
		`{"type":"contacts","contacts":[{"name":{"formatted_name":"A B","first_name":"A"}}]}`,
		`{"type":"interactive","interactive":{"type":"list","header":{"type":"text","text":"h"},"body":{"text":"b"},"action":{"button":"Open","sections":[{"rows":[{"id":"r","title":"R"}]}]}}}`,
		`{"type":"template","template":{"name":"n","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"x"}]}]}}`,
	} {
		k := call(domain.MessageID(fmt.Sprintf("msg_%d", n)))
		k.Content = json.RawMessage(content)
		if o := c.Send(t.Context(), k); o.Kind != cloudapi.Accepted {
			t.Errorf("%s: %v %s", content, o, o.Raw)
		}
	}
}

// A business number tells the fields that are asked for: what a sender probes
// to learn whether it may go on.
func TestNumber(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.SetPace(number, 1000)
	ask := func(bearer, query string) (int, map[string]any) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/v25.0/"+string(number)+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", bearer)
		status, _, body := do(t, req)
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		return status, answer
	}
	status, answer := ask("Bearer "+token, "?fields=health_status,status,throughput")
	health, _ := answer["health_status"].(map[string]any)
	if status != 200 || len(answer) != 4 || answer["id"] != string(number) || answer["status"] != "CONNECTED" ||
		health["can_send_message"] != "AVAILABLE" || fmt.Sprint(answer["throughput"]) != "map[level:HIGH]" {
		t.Errorf("%d %v", status, answer)
	}
	s.SetHealth(number, cloudapitest.Blocked)
	if _, answer := ask("Bearer "+token, "?fields=health_status"); !strings.Contains(fmt.Sprint(answer), "can_send_message:BLOCKED") || !strings.Contains(fmt.Sprint(answer), "141006") {
		t.Errorf("%v", answer)
	}
	if status, answer := ask("Bearer "+token, ""); status != 200 || answer["verified_name"] == nil || answer["health_status"] != nil {
		t.Errorf("%d %v", status, answer)
	}
	if status, _ := ask("Bearer "+token, "?fields=mood"); status != 400 {
		t.Errorf("a field that is not there: %d", status)
	}
	if status, _ := ask("Bearer x", ""); status != 401 {
		t.Errorf("with another token: %d", status)
	}
}

// The ledger over HTTP tells the same as in process, page by page.
func TestLedgerOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		if c.Attempt == 1 {
			return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131056}
		}
		return cloudapitest.Fault{}
	})
	c := client(t, s)
	for attempt := range 3 {
		k := call("msg_1")
		k.Attempt = attempt + 1
		c.Send(t.Context(), k)
	}
	get := func(query string) (int, cloudapitest.Page) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/_pretend/ledger"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		status, _, body := do(t, req)
		var p cloudapitest.Page
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		return status, p
	}
	status, p := get("")
	if status != 200 || len(p.Calls) != 3 || p.Next != 0 || p.Accepted["msg_1"] != 2 || p.Calls[0].Code != 131056 || p.Calls[0].Accepted || !p.Calls[2].Accepted {
		t.Errorf("%d %+v", status, p)
	}
	if _, p := get("?after=2"); len(p.Calls) != 1 || p.Calls[0].Attempt != 3 {
		t.Errorf("%+v", p)
	}
	for query, want := range map[string]int{"?message=msg_1": 3, "?message=msg_2": 0, "?accepted=true": 2, "?number=" + string(number) + "&to=%2B16505551234": 3, "?to=1": 0} {
		if _, p := get(query); len(p.Calls) != want || p.Received != 3 || p.Taken != 2 {
			t.Errorf("%s: %+v", query, p)
		}
	}
	if got := s.CallsByAttempt(); len(got) != 3 || got[cloudapitest.AttemptID{Message: "msg_1", Attempt: 1}] != 1 {
		t.Errorf("by attempt %v", got)
	}
	if status, _ := get("?after=x"); status != 400 {
		t.Errorf("after=x: %d", status)
	}
}

// Another process changes what goes wrong over HTTP, revokes tokens and lets
// go of what hangs.
func TestDirectedOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(c *cloudapitest.Config) { c.Authorize = nil })
	direct := func(path, body string, want int) {
		t.Helper()
		if status, _, answer := post(t, s.URL()+"/_pretend/"+path, "", body); status != want {
			t.Errorf("%s %s: %d %s", path, body, status, answer)
		}
	}
	c := client(t, s)
	send := func(m domain.MessageID) cloudapi.Outcome { return c.Send(t.Context(), call(m)) }
	direct("faults", `{"plan":"131031=1","seed":7}`, 200)
	if o := send("msg_1"); o.Code != 131031 {
		t.Errorf("got %v", o)
	}
	direct("faults", `{"plan":"hang=1"}`, 200)
	hanging := make(chan cloudapi.Outcome, 1)
	go func() { hanging <- send("msg_2") }()
	for answered := false; !answered; {
		direct("release", "", 200)
		select {
		case o := <-hanging:
			answered = true
			if o.Kind != cloudapi.Accepted {
				t.Errorf("got %v", o)
			}
		default:
		}
	}
	direct("faults", `{"plan":""}`, 200)
	if o := send("msg_3"); o.Kind != cloudapi.Accepted {
		t.Errorf("got %v", o)
	}
	direct("revoke", `{"token":"`+token+`"}`, 200)
	if o := send("msg_4"); o.Code != 190 {
		t.Errorf("got %v", o)
	}
	direct("faults", `{"plan":"loose=1"}`, 400)
	direct("faults", `x`, 400)
	direct("revoke", `{}`, 400)
}

// The same seed gives the same ids; no seed, others.
func TestSeed(t *testing.T) {
	t.Parallel()
	wamid := func(seed int64) string {
		s := start(t, nil, func(c *cloudapitest.Config) { c.Seed = seed })
		return client(t, s).Send(t.Context(), call("msg_1")).Wamid
	}
	one, again, other := wamid(1), wamid(1), wamid(2)
	if one != again || one == other {
		t.Errorf("ids do not follow from the seed: %s %s %s", one, again, other)
	}
	if first, second := wamid(0), wamid(0); first == second {
		t.Errorf("two starts without a seed gave %s", first)
	}
}

// Many callers at once: every call is in the ledger once, with its own wamid.
func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	c := client(t, s)
	var group sync.WaitGroup
	for n := range 64 {
		group.Go(func() {
			if o := c.Send(t.Context(), call(domain.MessageID(fmt.Sprintf("msg_%d", n)))); o.Kind != cloudapi.Accepted {
				t.Errorf("got %v", o)
			}
		})
	}
	group.Wait()
	settle(t, s)
	seen := map[string]bool{}
	for n, e := range s.Ledger() {
		if seen[e.Wamid] || e.Seq != n+1 {
			t.Errorf("entry %d: %+v", n, e)
		}
		seen[e.Wamid] = true
	}
	if len(seen) != 64 || len(a.items(t)) != 192 {
		t.Errorf("%d calls, %d statuses", len(seen), len(a.items(t)))
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"x", "/hook", "ftp://x/", "http://"} {
		if _, err := cloudapitest.New(cloudapitest.Config{WebhookURL: url}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%q: %v", url, err)
		}
	}
	s, err := cloudapitest.New(cloudapitest.Config{})
	if err != nil || s.URL() != "" || s.Close() != nil {
		t.Errorf("a server that never ran: %v", err)
	}
	if err := s.Start("256.0.0.1:0"); err == nil {
		t.Error("listened nowhere")
	}
}
