package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

func (w *world) addNumber(t *testing.T, number string) {
	t.Helper()
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/numbers", body: `{"phoneNumberId":"` + number + `","accessToken":"mock_x"}`})
	if r.StatusCode != 201 {
		t.Fatal(r.StatusCode, r.body)
	}
}

// A tenant may have several numbers; a number has one tenant, and a token that
// is replaced is never shown.
func TestNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	post := func(key, path, body string) reply {
		return w.do(t, ask{method: "POST", path: path, key: key, body: body})
	}
	r := post(adminKey, "/tenants/$A/numbers", `{"phoneNumberId":"900","accessToken":"`+canaryToken+`","wabaId":"w2"}`)
	if r.StatusCode != 201 || strings.Contains(r.body, canaryToken) {
		t.Fatal(r.StatusCode, r.body)
	}
	for _, want := range []string{`"phoneNumberId":"111111111111111"`, `{"phoneNumberId":"900","wabaId":"w2","simulated":true,"status":"active","pause_reason":null,"blocks":[],"throughput":{"per_second":80,"set":false}}`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("%s does not have %s", r.body, want)
		}
	}
	for _, path := range []string{"/tenants/$A/numbers", "/tenants/$B/numbers"} {
		for _, number := range []string{"900", "111111111111111"} {
			checkProblem(t, post(adminKey, path, `{"phoneNumberId":"`+number+`","accessToken":"x"}`), 409, domain.Taken)
		}
	}
	checkProblem(t, post(adminKey, "/tenants/$A/numbers", `{}`), 400, domain.Invalid, "/phoneNumberId", "/accessToken")
	checkProblem(t, post(w.a.APIKey, "/tenants/$A/numbers", `{"phoneNumberId":"901","accessToken":"x"}`), 403, domain.Forbidden)

	if r := post(w.a.APIKey, "/tenants/$A/numbers/900/token", `{"accessToken":"EAAnew"}`); r.StatusCode != 200 || strings.Contains(r.body, "EAAnew") {
		t.Error(r.StatusCode, r.body)
	}
	if token, err := w.house.registry.Token("900"); err != nil || token != "EAAnew" {
		t.Errorf("the token is %q, %v", token, err)
	}
	for path, body := range map[string]string{
		"/tenants/$A/numbers/222222222222222/token": `{"accessToken":"EAAstolen"}`, "/tenants/$A/numbers/902/token": `{"accessToken":"x"}`,
		"/tenants/$A/numbers/222222222222222/pause": `{"reason":"x"}`, "/tenants/$A/numbers/902/resume": `{}`,
	} {
		checkProblem(t, post(adminKey, path, body), 404, domain.Unknown)
	}
	checkProblem(t, post(adminKey, "/tenants/$A/numbers/900/token", `{"accessToken":"a b"}`), 400, domain.Invalid, "/accessToken")
}

// With several numbers a request says from which; a repeat of one that did not
// have to means the number it left from then.
func TestSendFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	send := func(words string) reply {
		return w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x"` + words + `}`})
	}
	before := send(`,"idempotency_key":"old"`)
	if before.StatusCode != 202 {
		t.Fatal(before.StatusCode, before.body)
	}
	w.addNumber(t, "900")
	checkProblem(t, send(""), 400, domain.Invalid, "/from")
	checkProblem(t, send(`,"idempotency_key":"new"`), 400, domain.Invalid, "/from")
	checkProblem(t, send(`,"from":"222222222222222"`), 400, domain.Invalid, "/from")
	if r := send(`,"idempotency_key":"old"`); r.StatusCode != 202 || r.body != before.body || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat: %d %s", r.StatusCode, r.body)
	}
	if r := send(`,"idempotency_key":"old","from":"111111111111111"`); r.StatusCode != 202 || r.body != before.body {
		t.Errorf("the repeat that names its number: %d %s", r.StatusCode, r.body)
	}
	// The number is part of the request.
	checkProblem(t, send(`,"idempotency_key":"old","from":"900"`), 422, domain.KeyReused)
	if r := send(`,"idempotency_key":"new","from":"900"`); r.StatusCode != 202 || w.lastRequest().Number != "900" {
		t.Errorf("from the second: %d %s", r.StatusCode, r.body)
	}
	if r := send(`,"idempotency_key":"new"`); r.StatusCode != 202 || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("its repeat without the number: %d %s", r.StatusCode, r.body)
	}
	checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"y","idempotency_key":"new"}`}), 422, domain.KeyReused)
}

// A pause has a reason that is shown, and ends; requests are accepted
// meanwhile.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	w.house.registry.Clock = w.house.clock
	post := func(path, body string) reply {
		return w.do(t, ask{method: "POST", path: path, key: adminKey, body: body})
	}
	for _, path := range []string{"/tenants/$A", "/tenants/$A/numbers/111111111111111"} {
		checkProblem(t, post(path+"/pause", `{}`), 400, domain.Invalid, "/reason")
		checkProblem(t, post(path+"/pause", `{"reason":"`+strings.Repeat("x", 501)+`"}`), 400, domain.Invalid, "/reason")
		r := post(path+"/pause", `{"reason":"unpaid bill"}`)
		if r.StatusCode != 200 || strings.Count(r.body, `"status":"paused","pause_reason":"unpaid bill"`) != 1 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		if w.house.registry.Directory.Open("111111111111111", false) {
			t.Errorf("%s paused: messages may be sent", path)
		}
		send := w.do(t, ask{method: "POST", path: "/tenants/$A/send", key: w.a.APIKey, body: `{"to":"+` + canaryPhone + `","text":"x"}`})
		if send.StatusCode != 202 {
			t.Errorf("send while paused: %d %s", send.StatusCode, send.body)
		}
		if r := post(path+"/resume", `{"reason":"paid"}`); r.StatusCode != 200 || strings.Contains(r.body, "paused") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		if !w.house.registry.Directory.Open("111111111111111", false) {
			t.Errorf("%s resumed: nothing may be sent", path)
		}
	}
	if r := w.do(t, ask{method: "POST", path: "/tenants/$A/pause", key: w.a.APIKey, body: `{"reason":"x"}`}); r.StatusCode != 403 {
		t.Errorf("a tenant pauses itself: %d", r.StatusCode)
	}
}

// blocked records that Meta lets nothing be sent from a number of tenant A.
func (w *world) blocked(t *testing.T, n domain.NumberID, b tenant.Block) {
	t.Helper()
	b.Told = w.house.registry.Clock.Now().Add(time.Second)
	if _, err := w.house.registry.Block(t.Context(), tenant.BlockWish{Tenant: w.a.Tenant.ID, Number: n, Block: b, Actor: "dispatch"}); err != nil {
		t.Fatal(err)
	}
}

// mended records that it does again.
func (w *world) mended(t *testing.T, n domain.NumberID, c tenant.Cause) {
	t.Helper()
	err := w.house.registry.Unblock(t.Context(), tenant.UnblockWish{Tenant: w.a.Tenant.ID, Number: n, Causes: []tenant.Cause{c},
		Told: w.house.registry.Clock.Now().Add(2 * time.Second), Reason: "it is mended", Actor: "dispatch"})
	if err != nil {
		t.Fatal(err)
	}
}

// A request that will wait is told so, with the reason: alone, in a batch, and
// while the answer is held. A reply is not, while only templates wait.
func TestSendSaysWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	w.house.registry.Clock = w.house.clock
	const text = `{"to":"+` + canaryPhone + `","text":"x"}`
	const template = `{"to":"+` + canaryPhone + `","type":"template","template":{"name":"hello","language":{"code":"en"}}}`
	check := func(when, body, code, reason string) {
		t.Helper()
		post := func(path, body string, header ...string) reply {
			r := w.do(t, ask{method: "POST", path: path, key: w.a.APIKey, body: body, header: header})
			if r.StatusCode != 202 && r.StatusCode != 200 {
				t.Fatalf("%s: %d %s", when, r.StatusCode, r.body)
			}
			return r
		}
		var one, held struct{ Warnings []warningJSON }
		decodeInto(t, post("/tenants/$A/send", body).body, &one)
		later := strings.Replace(body, "{", `{"send_at":"`+w.house.clock.Now().Add(time.Hour).Format(time.RFC3339)+`",`, 1)
		decodeInto(t, post("/tenants/$A/send", later, "Prefer", "wait=15").body, &held)
		var many struct {
			Data []struct{ Receipt receiptJSON }
		}
		decodeInto(t, post("/tenants/$A/send/batch", `{"messages":[`+body+`]}`).body, &many)
		for _, got := range [][]warningJSON{one.Warnings, held.Warnings, many.Data[0].Receipt.Warnings} {
			if code == "" && len(got) == 0 {
				continue
			}
			if len(got) != 1 || string(got[0].Code) != code || !strings.HasSuffix(got[0].Detail, ": "+reason) {
				t.Errorf("%s: told %+v", when, got)
			}
		}
	}
	operate := func(path, body string) {
		t.Helper()
		if r := w.do(t, ask{method: "POST", path: path, key: adminKey, body: body}); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	check("nothing waits", text, "", "")
	for _, path := range []string{"/tenants/$A", "/tenants/$A/numbers/111111111111111"} {
		operate(path+"/pause", `{"reason":"unpaid bill"}`)
		check(path+" is paused", text, "number_paused", "unpaid bill")
		operate(path+"/resume", `{"reason":"paid"}`)
		check(path+" is resumed", template, "", "")
	}
	w.blocked(t, "111111111111111", tenant.Block{Cause: tenant.ByTemplates, Event: "ACCOUNT_RESTRICTION", Reason: "no templates"})
	check("templates wait", template, "templates_restricted", "no templates")
	check("a reply meanwhile", text, "", "")
	w.blocked(t, "111111111111111", tenant.Block{Cause: tenant.ByAccount, Code: 131042, Reason: "locked"})
	check("the number is blocked", text, "number_paused", "locked")
}

// A number that Meta blocks says so, with the reason, beside an operator's
// pause; a resumption ends both.
func TestBlockIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	w.house.registry.Clock = w.house.clock
	number := func(r reply) map[string]any {
		t.Helper()
		var v struct{ Numbers []map[string]any }
		decodeInto(t, r.body, &v)
		if r.StatusCode != 200 || len(v.Numbers) != 1 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return v.Numbers[0]
	}
	show := func() map[string]any {
		return number(w.do(t, ask{method: "GET", path: "/tenants/$A", key: w.a.APIKey}))
	}
	w.blocked(t, "111111111111111", tenant.Block{Cause: tenant.ByTemplates, Event: "ACCOUNT_RESTRICTION", Reason: "no templates", Until: w.house.clock.Now().Add(time.Hour)})
	if n := show(); n["status"] != "restricted" || n["pause_reason"] != "no templates" {
		t.Errorf("number %v", n)
	}
	w.blocked(t, "111111111111111", tenant.Block{Cause: tenant.ByAccount, Code: 131042, Reason: "unpaid"})
	n := show()
	blocks, _ := n["blocks"].([]any)
	if n["status"] != "paused" || len(blocks) != 2 {
		t.Fatalf("number %v", n)
	}
	first, second := blocks[0].(map[string]any), blocks[1].(map[string]any)
	if first["cause"] != "templates" || first["event"] != "ACCOUNT_RESTRICTION" || first["code"] != nil || first["until"] == nil || first["probed"] != false {
		t.Errorf("block %v", first)
	}
	if second["cause"] != "account" || second["code"] != 131042.0 || second["event"] != nil || second["until"] != nil || second["probed"] != true || second["since"] == nil {
		t.Errorf("block %v", second)
	}
	pause := ask{method: "POST", path: "/tenants/$A/numbers/111111111111111/pause", key: adminKey, body: `{"reason":"mine"}`}
	if n := number(w.do(t, pause)); n["pause_reason"] != "mine" || len(n["blocks"].([]any)) != 2 {
		t.Errorf("number %v", n)
	}
	resume := ask{method: "POST", path: "/tenants/$A/numbers/111111111111111/resume", key: adminKey}
	if n := number(w.do(t, resume)); n["status"] != "active" || n["pause_reason"] != nil || len(n["blocks"].([]any)) != 0 {
		t.Errorf("number %v", n)
	}
}

// A tenant's settings and a number's throughput are shown as they were set; who
// may set them, and to what, is said.
func TestSettingsAndThroughput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	_, reader := w.issue(t, w.a.APIKey, `{"scopes":["read"]}`)
	put := func(path, key, body string) reply {
		return w.do(t, ask{method: "PUT", path: path, key: key, body: body})
	}
	const settings, pace = "/tenants/$A/settings", "/tenants/$A/numbers/111111111111111/throughput"
	if r := put(settings, w.a.APIKey, `{"on_unknown":"park","unknown_wait":300}`); r.StatusCode != 200 ||
		!strings.Contains(r.body, `"settings":{"on_unknown":"park","unknown_wait":300}`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := put(settings, w.a.APIKey, `{"unknown_wait":null}`); r.StatusCode != 200 || !strings.Contains(r.body, `"settings":{"on_unknown":null,"unknown_wait":null}`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, body := range []string{`{"unknown_wait":0}`, `{"unknown_wait":-5}`, `{"unknown_wait":86401}`, `{"unknown_wait":9223372036854775807}`} {
		checkProblem(t, put(settings, w.a.APIKey, body), 400, domain.Invalid, "/unknown_wait")
	}
	checkProblem(t, put(settings, w.a.APIKey, `{"on_unknown":"forget"}`), 400, domain.Invalid, "/on_unknown")
	if r := put(pace, adminKey, `{"per_second":1000}`); r.StatusCode != 200 || !strings.Contains(r.body, `"throughput":{"per_second":1000,"set":true}`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, body := range []string{`{"per_second":0}`, `{"per_second":-1}`, `{"per_second":1001}`, `{"per_second":"80"}`} {
		checkProblem(t, put(pace, adminKey, body), 400, domain.Invalid, "/per_second")
	}
	for _, body := range []string{`{"per_second":null}`, `{}`} {
		if r := put(pace, adminKey, `{"per_second":20}`); r.StatusCode != 200 || !strings.Contains(r.body, `"throughput":{"per_second":20,"set":true}`) {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		if r := put(pace, adminKey, body); r.StatusCode != 200 || !strings.Contains(r.body, `"throughput":{"per_second":80,"set":false}`) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	if r := put("/tenants/$A/numbers/900/throughput", adminKey, `{"per_second":20}`); r.StatusCode != 404 {
		t.Errorf("a number of nobody: %d", r.StatusCode)
	}
	for path, key := range map[string]string{settings: reader, pace: w.a.APIKey} {
		if r := put(path, key, `{}`); r.StatusCode != 403 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}

// The audit trail says who did what to a tenant, oldest first, in pages, with
// no secret in it and nothing of others.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	first := w.house.registry.Directory.Keys(w.a.Tenant.ID)[0].ID
	do := func(method, path, key, body string) {
		t.Helper()
		if r := w.do(t, ask{method: method, path: path, key: key, body: body}); r.StatusCode >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, r.StatusCode, r.body)
		}
	}
	do("POST", "/tenants/$A/numbers", adminKey, `{"phoneNumberId":"900","accessToken":"`+canaryToken+`"}`)
	do("POST", "/tenants/$B/pause", adminKey, `{"reason":"not yours"}`)
	do("POST", "/tenants/$A/numbers/900/token", w.a.APIKey, `{"accessToken":"`+canaryToken+`"}`)
	id, _ := w.issue(t, w.a.APIKey, `{"scopes":["send"],"test":true,"expires_at":"2026-12-01T00:00:00Z"}`)
	do("DELETE", "/tenants/$A/keys/"+id, adminKey, "")
	do("PUT", "/tenants/$A/quota", adminKey, `{"per_second":5}`)
	do("POST", "/tenants/$A/numbers/900/pause", adminKey, `{"reason":"why"}`)
	do("POST", "/tenants/$A/numbers/900/resume", adminKey, `{}`)
	do("PUT", "/tenants/$A/settings", w.a.APIKey, `{"on_unknown":"park","unknown_wait":90}`)
	do("PUT", "/tenants/$A/numbers/900/throughput", adminKey, `{"per_second":20}`)
	w.blocked(t, "900", tenant.Block{Cause: tenant.ByToken, Code: 190, Reason: "a dead token"})
	w.mended(t, "900", tenant.ByToken)
	want := []string{
		`"type":"TenantRegistered","actor":null,"detail":{"phoneNumberId":"111111111111111","wabaId":"waba-A","simulated":true,"key_id":"` + first + `","scopes":["send","read","manage","stream"]}`,
		`"type":"NumberAdded","actor":"admin","detail":{"phoneNumberId":"900","simulated":true}`,
		`"type":"TokenSealed","actor":"` + first + `","detail":{"phoneNumberId":"900","simulated":true}`,
		`"type":"KeyIssued","actor":"` + first + `","detail":{"key_id":"` + id + `","scopes":["send"],"test":true,"expires_at":"2026-12-01T00:00:00Z"}`,
		`"type":"KeyRevoked","actor":"admin","detail":{"key_id":"` + id + `"}`,
		`"type":"QuotaSet","actor":"admin","detail":{"quota":{"per_second":5,"per_day":null}}`,
		`"type":"TenantPaused","actor":"admin","detail":{"phoneNumberId":"900","reason":"why"}`,
		`"type":"TenantResumed","actor":"admin","detail":{"phoneNumberId":"900"}`,
		`"type":"SendingSet","actor":"` + first + `","detail":{"settings":{"on_unknown":"park","unknown_wait":90}}`,
		`"type":"NumberPaced","actor":"admin","detail":{"phoneNumberId":"900","per_second":20}`,
		`"type":"NumberBlocked","actor":"dispatch","detail":{"numbers":["900"],"reason":"a dead token","block":{"cause":"token","code":190,`,
		`"type":"NumberUnblocked","actor":"dispatch","detail":{"numbers":["900"],"reason":"it is mended","causes":["token"]}`,
	}
	cursor, got := "", ""
	for range len(want) {
		r := w.do(t, ask{method: "GET", path: "/tenants/$A/audit?limit=3" + cursor, key: w.a.APIKey})
		var page struct {
			NextCursor *string `json:"next_cursor"`
		}
		decodeInto(t, r.body, &page)
		got += r.body
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	at := 0
	for i, words := range want {
		n := strings.Index(got[at:], words)
		if n < 0 {
			t.Fatalf("entry %d, %s, is not (in order) in\n%s", i, words, got)
		}
		at += n
	}
	if n := strings.Count(got, `"type"`); n != len(want) || strings.Contains(got, "not yours") {
		t.Errorf("%d entries, want %d: %s", n, len(want), got)
	}
	for _, secret := range []string{canaryToken, w.a.APIKey, "token\":", "hash"} {
		if strings.Contains(got, secret) {
			t.Errorf("the audit trail holds %q", secret)
		}
	}
}

// The master key is rotated from the second listener, by the operator.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	const state = `{"state":"running","master_key":"key-0123456789ab","done":3,"total":7,"resealed":2,"error":null}`
	for _, c := range []struct {
		method, body string
		status       int
	}{{"POST", "{}", 202}, {"GET", "", 200}} {
		r := w.do(t, ask{admin: true, method: c.method, path: "/keys/rotate", body: c.body, key: adminKey})
		if r.StatusCode != c.status {
			t.Fatal(r.StatusCode, r.body)
		}
		checkJSON(t, r.body, state)
		checkProblem(t, w.do(t, ask{method: c.method, path: "/keys/rotate", body: c.body, key: adminKey}), 404, domain.Unknown)
	}
	if got := fmt.Sprint(w.house.asked); got != "[rotate by admin]" {
		t.Errorf("asked %s", got)
	}
}
