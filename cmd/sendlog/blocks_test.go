package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// numberOf shows one of a tenant's numbers.
func (r *running) numberOf(tenant, number string) map[string]any {
	r.t.Helper()
	for _, n := range r.want(200, "GET", "/tenants/"+tenant, "").json(r.t)["numbers"].([]any) {
		if n := n.(map[string]any); n["phoneNumberId"] == number {
			return n
		}
	}
	r.t.Fatalf("%s has no number %s", tenant, number)
	return nil
}

// awaitNumber returns a number when it has a status.
func (r *running) awaitNumber(tenant, number, status string) (n map[string]any) {
	r.t.Helper()
	eventually(r.t, "number "+number+" to be "+status, func() bool {
		n = r.numberOf(tenant, number)
		return n["status"] == status
	})
	return n
}

func (r *running) send(tenant, to, text string) string {
	r.t.Helper()
	return r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":%q,"text":%q}`, to, text)).json(r.t)["id"].(string)
}

// A dead token stops its number with the reason, and nobody else's; what is
// asked for meanwhile waits, through a restart too. A new token lets the queue
// drain in order, each message called once per attempt number.
func TestDeadTokenStopsUntilANewOne(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	const number, others = "106540352242922", "109876543210987"
	tenant, _ := r.register("A", number, "EAAdead")
	other, _ := r.register("B", others, "EAAgood")
	pretend.Revoke("EAAdead")
	var ids []string
	want := map[string][]string{}
	for i := range 20 {
		to := fmt.Sprintf("+1415555010%d", i%4)
		id := r.send(tenant, to, "x")
		ids, want[to] = append(ids, id), append(want[to], id)
	}
	n := r.awaitNumber(tenant, number, "paused")
	blocks := n["blocks"].([]any)
	if block := blocks[0].(map[string]any); len(blocks) != 1 || block["cause"] != "token" || block["code"] != 190.0 || n["pause_reason"] != block["reason"] || block["reason"] == "" {
		t.Errorf("number %v", n)
	}
	r.awaitStatus(other, r.send(other, "+14155550200", "y"), message.Read)
	if v := r.want(200, "GET", "/tenants/"+other, "").json(t); v["status"] != "active" || r.numberOf(other, others)["status"] != "active" {
		t.Errorf("the other tenant: %v", v)
	}
	r.stop()
	r = start(t, env, quick)
	for _, id := range ids {
		if m := r.awaitStatus(tenant, id, message.Queued); m["attempts"].(float64) > 1 {
			t.Errorf("waiting: %v", m)
		}
	}
	told := 0
	for _, id := range ids { // those that met the dead token say so while they wait
		m := r.want(200, "GET", "/tenants/"+tenant+"/messages/"+id, "").json(t)
		if e, _ := m["error"].(map[string]any); e != nil && e["code"] == 190.0 {
			told++
		}
	}
	if told == 0 {
		t.Error("no message says why it waits")
	}
	r.want(200, "POST", "/tenants/"+tenant+"/numbers/"+number+"/token", `{"accessToken":"EAAnew"}`)
	for _, id := range ids {
		r.awaitStatus(tenant, id, message.Read)
	}
	if n := r.numberOf(tenant, number); n["status"] != "active" || len(n["blocks"].([]any)) != 0 {
		t.Errorf("number %v", n)
	}
	for to, ids := range want {
		var got []string
		for _, e := range pretend.Calls(cloudapitest.Query{To: to, Accepted: true}) {
			got = append(got, string(e.Message))
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%s got %v, want %v", to, got, ids)
		}
	}
	for attempt, calls := range pretend.CallsByAttempt() {
		if calls != 1 {
			t.Errorf("%+v was called %d times", attempt, calls)
		}
	}
	var acts []string
	for _, e := range r.list("/tenants/" + tenant + "/audit") {
		acts = append(acts, fmt.Sprint(e["type"], " by ", e["actor"]))
	}
	if !slices.Equal(acts[1:], []string{"NumberBlocked by dispatch", "TokenSealed by api"}) {
		t.Errorf("audit %v", acts)
	}
}

// An unpaid account stops all its numbers; Meta is asked, without a message of
// anybody, until it says that the account can send again, and how fast.
func TestProbeResumesAnAccount(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	policy := quick
	policy.ProbeEvery = 10 * time.Millisecond
	r := start(t, env, policy)
	const number, sibling = "106540352242922", "106540352242923"
	a := r.want(201, "POST", "/tenants/register", `{"name":"A","phoneNumberId":"`+number+`","wabaId":"w1","accessToken":"EAAa"}`).json(t)
	tenant := a["id"].(string)
	r.want(201, "POST", "/tenants/"+tenant+"/numbers", `{"phoneNumberId":"`+sibling+`","wabaId":"w1","accessToken":"EAAb"}`)
	for _, n := range []domain.NumberID{number, sibling} {
		pretend.SetHealth(n, cloudapitest.Blocked)
		pretend.SetPace(n, 1000)
	}
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131042}
	})
	id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x","from":"`+number+`"}`).json(t)["id"].(string)
	r.awaitNumber(tenant, number, "paused")
	r.awaitNumber(tenant, sibling, "paused")
	eventually(t, "a probe that teaches the throughput", func() bool {
		return r.numberOf(tenant, number)["throughput"].(map[string]any)["per_second"] == 1000.0
	})
	if n := r.numberOf(tenant, number); n["status"] != "paused" {
		t.Errorf("an unpaid account sends: %v", n)
	}
	calls := len(pretend.Ledger())
	pretend.Script(nil)
	for _, n := range []domain.NumberID{number, sibling} {
		pretend.SetHealth(n, cloudapitest.Available)
	}
	r.awaitStatus(tenant, id, message.Read)
	r.awaitNumber(tenant, sibling, "active")
	throughput := "/tenants/" + tenant + "/numbers/" + number + "/throughput"
	r.want(200, "PUT", throughput, `{"per_second":4}`)
	r.want(200, "PUT", throughput, `{"per_second":null}`)
	eventually(t, "the throughput to be learnt again", func() bool {
		return maps.Equal(r.numberOf(tenant, number)["throughput"].(map[string]any), map[string]any{"per_second": 1000.0, "set": false})
	})
	if calls != 1 || len(pretend.Ledger()) != 2 {
		t.Errorf("%d calls before, %d in all", calls, len(pretend.Ledger()))
	}
}

// What Meta's webhooks say of an account stops and starts its numbers, and
// changes how fast one may send.
func TestAccountWebhooks(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	const number = "106540352242922"
	a := r.want(201, "POST", "/tenants/register", `{"name":"A","phoneNumberId":"`+number+`","wabaId":"w1","accessToken":"EAAa"}`).json(t)
	tenant := a["id"].(string)
	at := time.Now().Unix()
	tell := func(field, value string) {
		t.Helper()
		at++
		r.want(200, "POST", "/whatsapp/webhook", fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":"w1","time":%d,"changes":[{"field":%q,"value":%s}]}]}`, at, field, value))
	}
	tell("account_update", `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"DISABLE","waba_ban_date":"November 22, 2026"}}`)
	if n := r.numberOf(tenant, number); n["status"] != "paused" {
		t.Errorf("disabled: %v", n)
	}
	id := r.send(tenant, "+14155550100", "x")
	tell("account_update", `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"REINSTATE"}}`)
	if n := r.numberOf(tenant, number); n["status"] != "active" {
		t.Errorf("reinstated: %v", n)
	}
	r.awaitStatus(tenant, id, message.Read)
	pretend.SetPace(number, 1000)
	tell("phone_number_quality_update", `{"display_phone_number":"15550783881","event":"THROUGHPUT_UPGRADE","max_daily_conversations_per_business":"TIER_UNLIMITED"}`)
	if n := r.numberOf(tenant, number)["throughput"].(map[string]any); n["per_second"] != 1000.0 || n["set"] != false {
		t.Errorf("upgraded: %v", n)
	}
	tell("account_update", `{"event":"ACCOUNT_OFFBOARDED"}`)
	if n := r.numberOf(tenant, number); n["status"] != "paused" {
		t.Errorf("offboarded: %v", n)
	}
	tell("account_update", `{"event":"ACCOUNT_RECONNECTED"}`)
	if n := r.numberOf(tenant, number); n["status"] != "active" {
		t.Errorf("reconnected: %v", n)
	}
}

// A lost answer is shown as unknown, with the reason, and ends as the tenant
// wants: parked here, with no second call.
func TestUnknownIsParkedAsTheTenantWants(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAa")
	r.want(200, "PUT", "/tenants/"+tenant+"/settings", `{"on_unknown":"park","unknown_wait":1}`)
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.LoseRequest}
	})
	id := r.send(tenant, "+14155550100", "x")
	m := r.awaitStatus(tenant, id, message.Unknown)
	if e, _ := m["error"].(map[string]any); e == nil || !strings.Contains(e["reason"].(string), "connection lost") {
		t.Errorf("unknown because of %v", m["error"])
	}
	eventually(t, "the message to be parked", func() bool { return len(r.list("/tenants/"+tenant+"/dlq")) == 1 })
	if dead := r.list("/tenants/" + tenant + "/dlq")[0]; dead["id"] != id || dead["reason"] != "outcome_unknown" {
		t.Errorf("dead letter %v", dead)
	}
	if calls := pretend.CallsByAttempt(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

// What one process learns of a dead token stops the number in every process,
// and so does its repair let it go on.
func TestBlockInEveryProcess(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("NATS_URL", externalNATS(t)), 0)
	a := start(t, env, quick)
	b := start(t, env.with("DATA_DIR", t.TempDir(), "PORT", "0"), quick)
	const number = "106540352242922"
	tenant, _ := a.register("A", number, "EAAdead")
	eventually(t, "the other process to know the tenant", func() bool { return b.do("GET", "/tenants/"+tenant, "").status == 200 })
	pretend.Revoke("EAAdead")
	var ids []string
	for i := range 10 {
		ids = append(ids, []*running{a, b}[i%2].send(tenant, fmt.Sprintf("+1415555010%d", i), "x"))
	}
	a.awaitNumber(tenant, number, "paused")
	b.awaitNumber(tenant, number, "paused")
	b.want(200, "POST", "/tenants/"+tenant+"/numbers/"+number+"/token", `{"accessToken":"EAAnew"}`)
	a.awaitNumber(tenant, number, "active")
	for _, id := range ids {
		a.awaitStatus(tenant, id, message.Read)
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
	blocked := 0
	for _, e := range a.list("/tenants/" + tenant + "/audit") {
		if e["type"] == "NumberBlocked" {
			blocked++
		}
	}
	if blocked != 1 {
		t.Errorf("blocked %d times", blocked)
	}
}
