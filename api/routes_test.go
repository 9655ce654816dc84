package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// Every route answers what its document says, with these exact fields.
func TestRoutesAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := `{"phoneNumberId":"111111111111111","wabaId":"waba-A","simulated":true,"status":"active","pause_reason":null,"blocks":[],"throughput":{"per_second":80,"set":false}}`
	tenantA := `{"id":"$A","name":"Tenant A","status":"active","pause_reason":null,"phoneNumberId":"111111111111111","wabaId":"waba-A",
		"numbers":[` + number + `],"quota":{"per_second":null,"per_day":null},"settings":{"on_unknown":null,"unknown_wait":null},"created_at":"2026-03-04T12:00:00Z"}`
	msg0 := `{"id":"msg_0","direction":"OUT","type":"text","status":"delivered","text":"` + canaryText + `","content":{"type":"text"},
		"to":"+` + canaryPhone + `","from":null,"customer":null,"wamid":"wamid.1","wamids":["wamid.1","wamid.2"],
		"phone_number_id":"111111111111111","idempotency_key":"order-1","reference":"invoice-7","priority":"bulk","send_at":"2026-03-04T11:00:00Z","expires_at":"2026-03-05T12:00:00Z","attempts":2,
		"statuses":{"sent":"2026-03-04T12:00:00Z","delivered":"2026-03-04T12:00:01Z"},"error":{"code":131000,"reason":"try later","details":"+1415 is busy"},"dead_lettered_at":null,
		"reply_to":null,"group_id":null,"created_at":"2026-03-04T12:00:00Z","updated_at":"2026-03-04T12:00:01Z","position":9}`
	in1 := `{"id":"in_1","direction":"IN","type":"text","status":"received","text":null,"content":null,"to":null,"from":"` + canaryPhone + `",
		"customer":{"wa_id":"` + canaryPhone + `","user_id":null,"name":"Ada","username":null},"wamid":"wamid.3","wamids":["wamid.3"],
		"phone_number_id":"111111111111111","idempotency_key":null,"reference":null,"priority":null,"send_at":null,"expires_at":null,"attempts":0,"statuses":{},"error":null,"dead_lettered_at":null,
		"reply_to":null,"group_id":null,"created_at":"2026-03-04T12:00:00Z","updated_at":null,"position":4}`
	cus := `{"id":"cus_1","wa_id":"` + canaryPhone + `","user_id":null,"phones":["` + canaryPhone + `"],"user_ids":[],"name":"Ada",
		"username":null,"last_seen_at":"2026-03-04T12:00:00Z","message_count":1,"opted_out":false,"created_at":"2026-03-04T12:00:00Z"}`
	letter := `"id":"msg_9","tenant":"$A","phone_number_id":"111111111111111","state":"dead","reason":"refused","code":131026,
		"detail":"not on WhatsApp","details":"1415 has no account","attempts":1,"in_doubt":true,"at":"2026-03-04T12:00:00Z","first_at":"2026-03-04T11:00:00Z","position":6,"redrives":1,"redriven_at":null`
	dead := `{"data":[{` + letter + `}],"next_cursor":null}`
	story := `{` + letter + `,"tried":[{"attempt":1,"at":"2026-03-04T11:00:00Z","outcome":"refused","ended_at":"2026-03-04T11:00:01Z","code":131026,
		"reason":"not on WhatsApp","details":"1415 has no account","fbtrace_id":"AbC"}],"redriven":[{"at":"2026-03-04T11:00:02Z","by":"admin","redrive":"redrive_0"}]}`
	job := `"tenant":null,"rate":20,"matched":3,"redriven":1,"would_redrive":null,"in_doubt":1,"skipped":[{"reason":"it is not dead-lettered","count":1,"example":"msg_0"}],
		"counts":[{"tenant":"$A","code":131026,"count":2},{"tenant":null,"code":0,"count":1}],"started_at":"2026-03-04T12:00:00Z","error":null,`
	redriving := `{"id":"redrive_1",` + job + `"state":"running","dry_run":false,"by":"admin","eta_seconds":4,"ended_at":null}`
	stopped := `{"id":"redrive_1",` + job + `"state":"cancelled","dry_run":false,"by":"admin","eta_seconds":null,"ended_at":"2026-03-04T12:00:00Z"}`

	for _, c := range []struct {
		ask
		status int
		want   string // JSON, or verbatim when it does not begin with {
		header []string
	}{
		{ask: ask{method: "GET", path: "/livez"}, status: 200, want: `{"status":"ok"}`},
		{ask: ask{method: "GET", path: "/readyz"}, status: 200, want: `{"status":"ok","checks":{"log":"ok","store":"ok"}}`},
		{ask: ask{method: "GET", path: "/tenants/$A"}, status: 200, want: tenantA},
		{ask: ask{method: "GET", path: "/tenants/$A/messages/msg_0"}, status: 200, want: msg0},
		{ask: ask{method: "GET", path: "/tenants/$A/messages/in_1", header: []string{"Sendlog-Min-Position", "100"}}, status: 200, want: in1},
		{ask: ask{method: "GET", path: "/tenants/$A/messages?direction=in"}, status: 200, want: `{"data":[` + in1 + `],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/messages?status=failed&customer=cus_1&direction=OUT&limit=200"}, status: 200, want: `{"data":[],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$B/messages"}, status: 200, want: `{"data":[],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/messages/msg_0/timeline"}, status: 200, want: `{"data":[{"id":"evt_1","position":3,
			"type":"SendRequested","at":"2026-03-04T12:00:00Z","said_at":null,"actor":"api","status":null,"reason":null,"wamid":null},
			{"id":"evt_3","position":9,"type":"SendRefused","at":"2026-03-04T12:00:00Z","said_at":null,"actor":null,"attempt":1,"status":null,"code":131000,
			"reason":"try later","details":"+1415 is busy","wamid":null}],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/customers"}, status: 200, want: `{"data":[` + cus + `],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/customers/cus_1"}, status: 200, want: cus},
		{ask: ask{method: "GET", path: "/tenants/$A/notices"}, status: 200, want: `{"data":[{"id":"evt_2","phone_number_id":null,"field":"account_update",
			"event":"DISABLED","wabaId":"waba-A","said_at":"2026-03-04T12:00:00Z","at":"2026-03-04T12:00:00Z","raw":{"x":1},"position":5}],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq"}, status: 200, want: dead},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq?code=131026&number=111111111111111&reason=refused&since=2026-01-01T00:00:00Z&until=2027-01-01T00:00:00Z&state=any"}, status: 200, want: dead},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq?state=settled"}, status: 200, want: `{"data":[],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq/msg_9"}, status: 200, want: story},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq/redrives"}, status: 200, want: `{"data":[` + redriving + `],"next_cursor":null}`},
		{ask: ask{method: "GET", path: "/tenants/$A/dlq/redrives/redrive_1"}, status: 200, want: redriving},
		{ask: ask{method: "POST", path: "/tenants/$A/dlq/redrive", body: `{"all":true}`}, status: 202, want: redriving,
			header: []string{"Location", "/tenants/$A/dlq/redrives/redrive_1"}},
		{ask: ask{method: "GET", path: "/whatsapp/webhook?hub.mode=subscribe&hub.verify_token=" + canaryVerify + "&hub.challenge=11%3C58"},
			status: 200, want: "11<58", header: []string{"Content-Type", "text/plain; charset=utf-8"}},
		{ask: ask{method: "POST", path: "/whatsapp/webhook", body: `{"entry":[]}`}, status: 200, want: "ok"},
		{ask: ask{method: "POST", path: "/whatsapp/webhook", body: `{"entry":[]}`, noType: true}, status: 200, want: "ok"},

		{ask: ask{admin: true, method: "GET", path: "/livez"}, status: 200, want: `{"status":"ok"}`},
		{ask: ask{admin: true, method: "GET", path: "/tenants/$A"}, status: 200, want: tenantA},
		{ask: ask{admin: true, method: "GET", path: "/metrics"}, status: 200, want: "sendlog_up 1\n"},
		{ask: ask{admin: true, method: "GET", path: "/dlq?tenant=$A"}, status: 200, want: dead},
		{ask: ask{admin: true, method: "GET", path: "/dlq"}, status: 200, want: dead},
		{ask: ask{admin: true, method: "GET", path: "/dlq?tenant=$B"}, status: 200, want: `{"data":[],"next_cursor":null}`},
		{ask: ask{admin: true, method: "GET", path: "/dlq/msg_9"}, status: 200, want: story},
		{ask: ask{admin: true, method: "POST", path: "/dlq/redrive", body: `{"ids":["msg_9","msg_0"]}`}, status: 202, want: redriving,
			header: []string{"Location", "/dlq/redrives/redrive_1"}},
		{ask: ask{admin: true, method: "GET", path: "/dlq/redrives"}, status: 200, want: `{"data":[` + redriving + `],"next_cursor":null}`},
		{ask: ask{admin: true, method: "GET", path: "/dlq/redrives/redrive_1"}, status: 200, want: redriving},
		{ask: ask{admin: true, method: "POST", path: "/dlq/redrives/redrive_1/cancel"}, status: 200, want: stopped},
		{ask: ask{admin: true, method: "GET", path: "/quarantine"}, status: 200,
			want: `{"data":[{"id":"17","reason":"no_tenant","at":"2026-03-04T12:00:00Z","size":9}],"next_cursor":null}`},
		{ask: ask{admin: true, method: "GET", path: "/quarantine/17"}, status: 200, want: `{"x": 1 }`, header: []string{"Content-Length", "9"}},
		{ask: ask{admin: true, method: "GET", path: "/doctor"}, status: 200, want: `{"verdict":"warn","findings":[
			{"check":"log","verdict":"ok","means":"it is there"},{"check":"clock","verdict":"warn","means":"is late","remedy":"set it"}]}`},
		{ask: ask{admin: true, method: "POST", path: "/rebuilds", body: `{"model":"all"}`}, status: 202, want: `{"id":"reb_1"}`,
			header: []string{"Location", "/rebuilds/reb_1"}},
		{ask: ask{admin: true, method: "GET", path: "/rebuilds/reb_1"}, status: 200, want: `{"id":"reb_1","model":"all","state":"running",
			"done":50,"tail":100,"events":40,"per_second":12.5,"eta_seconds":4,"error":null}`},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			r := w.do(t, c.ask)
			checkCommon(t, r)
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d; body %s", r.StatusCode, c.status, r.body)
			}
			want := w.expand(c.want)
			if strings.HasPrefix(want, "{") {
				if got := r.Header.Get("Content-Type"); got != "application/json" {
					t.Errorf("content type %q", got)
				}
				checkJSON(t, r.body, want)
			} else if r.body != want {
				t.Errorf("body %q, want %q", r.body, want)
			}
			for i := 0; i < len(c.header); i += 2 {
				if got, want := r.Header.Get(c.header[i]), w.expand(c.header[i+1]); got != want {
					t.Errorf("%s: %q, want %q", c.header[i], got, want)
				}
			}
		})
	}
}

// Whatever GET answers, HEAD answers without a body.
func TestHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, rt := range w.server.routes(true) {
		if rt.method != http.MethodGet || rt.path == webhookPath {
			continue
		}
		path := strings.NewReplacer(tenantParam, "$A", ":messageId", "msg_0", ":customerId", "cus_1", ":payloadId", "17", ":rebuildId", "reb_1", ":letterId", "msg_9", ":redriveId", "redrive_1").Replace(rt.path)
		r := w.do(t, ask{admin: true, method: "HEAD", path: path})
		if r.StatusCode != 200 || r.body != "" {
			t.Errorf("HEAD %s: %d %q", rt.path, r.StatusCode, r.body)
		}
	}
	select {
	case <-w.house.subscribed:
		t.Error("HEAD of the event stream opened a subscription")
	default:
	}
}

// A registration answers the tenant and its key, and the key works.
func TestRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	body := `{"name":"Tenant C","phoneNumberId":"333333333333333","accessToken":"` + canaryToken + `"}`
	r := w.do(t, ask{method: "POST", path: "/tenants/register", body: body, key: adminKey})
	if r.StatusCode != 201 {
		t.Fatal(r.StatusCode, r.body)
	}
	var got struct{ ID, APIKey string }
	decodeInto(t, r.body, &got)
	checkJSON(t, r.body, `{"id":"`+got.ID+`","name":"Tenant C","phoneNumberId":"333333333333333","wabaId":"","status":"active","apiKey":"`+got.APIKey+`"}`)
	if r := w.do(t, ask{method: "GET", path: r.Header.Get("Location"), key: got.APIKey}); r.StatusCode != 200 {
		t.Errorf("the new tenant with its new key: %d", r.StatusCode)
	}
	checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/register", body: body, key: adminKey}), 409, domain.Taken)
}

// The same key and body answer the first answer again, wherever the key
// stands; another body is refused.
func TestSendIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	words := `"to":"+` + canaryPhone + `","text":"` + canaryText + `"`
	first := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{` + words + `,"idempotency_key":"order-1234"}`})
	if first.StatusCode != 202 || first.Header.Get("Idempotency-Replayed") != "" {
		t.Fatal(first.StatusCode, first.body)
	}
	var got struct {
		ID       string
		Position int
	}
	decodeInto(t, first.body, &got)
	checkJSON(t, first.body, `{"id":"`+got.ID+`","status":"queued","position":1}`)
	if want := w.expand("/tenants/$A/messages/" + got.ID); first.Header.Get("Location") != want {
		t.Errorf("Location %q, want %q", first.Header.Get("Location"), want)
	}

	for name, again := range map[string]ask{
		"body":   {body: `{` + words + `,"idempotency_key":"order-1234"}`},
		"header": {body: `{` + words + `}`, header: []string{"Idempotency-Key", "order-1234"}},
		"both":   {body: `{` + words + `,"idempotency_key":"order-1234"}`, header: []string{"Idempotency-Key", "order-1234"}},
	} {
		again.method, again.path = "POST", "/tenants/$A/send"
		r := w.do(t, again)
		if r.StatusCode != 202 || r.body != first.body || r.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("key in %s: %d %s", name, r.StatusCode, r.body)
		}
	}
	other := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x","idempotency_key":"order-1234"}`})
	checkProblem(t, other, 422, domain.KeyReused)
}

// Where keys are required, a request without one is refused, says where the key
// goes, and records nothing; with one it is as ever.
func TestRequiredKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.RequireKey = true })
	words := `{"to":"+` + canaryPhone + `","text":"` + canaryText + `"`
	for _, body := range []string{words + `}`, words + `,"idempotency_key":null}`} {
		checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: body}), 400, domain.Invalid, "/idempotency_key")
	}
	for i, keyed := range []ask{{body: words + `}`, header: []string{"Idempotency-Key", "order-1"}}, {body: words + `,"idempotency_key":"order-2"}`}} {
		keyed.method, keyed.path = "POST", "/tenants/$A/send"
		r := w.do(t, keyed)
		var got struct{ Position int }
		if decodeInto(t, r.body, &got); r.StatusCode != 202 || got.Position != i+1 {
			t.Errorf("with a key: %d %s", r.StatusCode, r.body)
		}
	}
}

// A list is read to its end through its cursors, each item once.
func TestListIsReadToTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		path string
		want int
	}{
		{"/tenants/$A/messages?limit=2", 6},
		{"/tenants/$A/messages?limit=2&status=delivered", 5},
		{"/tenants?limit=1", 2},
	} {
		seen := map[string]bool{}
		cursor := ""
		for {
			path := c.path
			if cursor != "" {
				path += "&cursor=" + cursor
			}
			r := w.do(t, ask{admin: true, method: "GET", path: path})
			var got struct {
				Data       []struct{ ID string }
				NextCursor *string `json:"next_cursor"`
			}
			decodeInto(t, r.body, &got)
			for _, item := range got.Data {
				if seen[item.ID] {
					t.Fatalf("%s: %s twice", c.path, item.ID)
				}
				seen[item.ID] = true
			}
			if got.NextCursor == nil {
				break
			}
			cursor = *got.NextCursor
		}
		if len(seen) != c.want {
			t.Errorf("%s: %d items, want %d", c.path, len(seen), c.want)
		}
	}
}

// A request that is counted is counted under its pattern; a path that
// somebody made up is never a label.
func TestMetricsKnowPatternsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, ask{method: "GET", path: "/tenants/$A/messages/msg_0"})
	w.do(t, ask{method: "GET", path: "/" + canaryPhone})
	w.do(t, ask{method: "POST", path: "/whatsapp/webhook", body: "{}"})
	w.do(t, ask{method: "GET", path: "/livez", header: []string{"X-Big", strings.Repeat("x", 2*maxHeader)}})
	want := map[string]int{
		"sendlog_http_requests_total /tenants/:tenantId/messages/:messageId 2xx": 1,
		"sendlog_http_seconds /tenants/:tenantId/messages/:messageId":            1,
		"sendlog_http_requests_total none 4xx":                                   1,
		"sendlog_http_seconds none":                                              1,
		"sendlog_http_requests_total /whatsapp/webhook 2xx":                      1,
		"sendlog_http_seconds /whatsapp/webhook":                                 1,
		"sendlog_webhook_posts_total ok":                                         1,
		"sendlog_http_requests_total unread 4xx":                                 1,
	}
	got := w.house.meter.counts()
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d, want %d", k, got[k], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
