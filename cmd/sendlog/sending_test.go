package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain/message"
)

// An answer that is held says what Meta answered: the outcome itself, or that
// it is not known yet.
func TestPreferWait(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), time.Hour) // no statuses within this test
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	send := func(words string) (int, map[string]any) {
		a := r.do("POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"`+words+`"}`, "Prefer", "wait=10")
		return a.status, a.json(t)
	}
	if status, got := send("hello"); status != 200 || got["status"] != message.Accepted || got["wamid"] == nil {
		t.Errorf("accepted: %d %v", status, got)
	}
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131026}
	})
	status, got := send("to nobody")
	if why, _ := got["error"].(map[string]any); status != 200 || got["status"] != message.Failed || why["code"] != 131026.0 || why["reason"] == "" {
		t.Errorf("refused: %d %v", status, got)
	}
}

// A request for later is not sent before its time, and can be taken back until
// then; one whose time is over is not sent at all.
func TestTimesOfAMessage(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), time.Millisecond)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	send := func(to, options string) string {
		return r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":%q,"text":"x",%s}`, to, options)).json(t)["id"].(string)
	}
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

	due := time.Now().Add(1500 * time.Millisecond)
	soon := send("+14155550101", `"send_at":"`+due.UTC().Format(time.RFC3339Nano)+`"`)
	far := send("+14155550102", `"send_at":"`+at(9*365*24*time.Hour)+`"`)
	near := send("+14155550103", `"send_at":"`+at(30*time.Second)+`"`)
	r.want(200, "POST", "/tenants/"+tenant+"/numbers/106540352242922/pause", `{"reason":"let it wait"}`)
	late := send("+14155550104", `"ttl":1`)
	r.awaitStatus(tenant, late, message.Expired)
	r.want(200, "POST", "/tenants/"+tenant+"/numbers/106540352242922/resume", `{}`)

	for _, id := range []string{far, near} {
		if got := r.want(200, "POST", "/tenants/"+tenant+"/messages/"+id+"/cancel", "").json(t); got["result"] != "cancelled" {
			t.Errorf("cancel: %v", got)
		}
		r.awaitStatus(tenant, id, message.Cancelled)
	}
	r.awaitStatus(tenant, soon, message.Read)
	r.want(409, "POST", "/tenants/"+tenant+"/messages/"+soon+"/cancel", "")
	calls := pretend.Ledger()
	if len(calls) != 1 || string(calls[0].Message) != soon {
		t.Fatalf("Meta was called %d times", len(calls))
	}
	if calls[0].At.Before(due.Truncate(time.Second)) {
		t.Errorf("called at %s, due at %s", calls[0].At, due)
	}
}

// A message whose outcome is unknown for long holds what is to the same person
// after it and nobody else, also through a restart; when it is taken back, the
// other goes.
func TestLongUnknown(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), time.Millisecond)
	pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		if strings.Contains(string(c.Body), "lost") {
			return cloudapitest.Fault{Answer: cloudapitest.LoseRequest}
		}
		return cloudapitest.Fault{}
	})
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	send := func(to, text string) string {
		return r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":%q,"text":%q,"unknown_wait":3600}`, to, text)).json(t)["id"].(string)
	}
	lost := send("+14155550101", "lost")
	r.awaitStatus(tenant, lost, message.Unknown)
	behind := send("+14155550101", "behind")
	r.awaitStatus(tenant, send("+14155550102", "another"), message.Read)
	r.stop()
	r = start(t, env, quick)
	r.awaitStatus(tenant, send("+14155550102", "another"), message.Read)
	for _, c := range pretend.Ledger() {
		if string(c.Message) == behind {
			t.Fatal("it overtook the one before it")
		}
	}
	r.want(202, "POST", "/tenants/"+tenant+"/messages/"+lost+"/cancel", "")
	r.awaitStatus(tenant, behind, message.Read)
}

// A batch goes the whole way: every accepted item is at Meta once, those of one
// person in the order of the batch, however often the batch is repeated.
func TestBatchReachesMeta(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), time.Millisecond)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	type item map[string]any
	var items []item
	for i := range 60 {
		items = append(items, item{"to": fmt.Sprintf("+1415555010%d", i%5), "text": fmt.Sprint(i), "idempotency_key": fmt.Sprint("k-", i)})
	}
	items = append(items, item{"to": "nobody", "text": "x"})
	body, err := json.Marshal(map[string]any{"messages": items})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 2 {
		var out struct {
			Accepted, Refused int
			Data              []struct{ Receipt struct{ ID string } }
		}
		if err := json.Unmarshal(r.want(200, "POST", "/tenants/"+tenant+"/send/batch", string(body)).body, &out); err != nil {
			t.Fatal(err)
		}
		if out.Accepted != 60 || out.Refused != 1 {
			t.Fatalf("%d accepted, %d refused", out.Accepted, out.Refused)
		}
		ids = ids[:0]
		for _, d := range out.Data[:60] {
			ids = append(ids, d.Receipt.ID)
		}
	}
	for _, id := range ids {
		r.awaitStatus(tenant, id, message.Read)
	}
	place := map[string]int{}
	for i, id := range ids {
		place[id] = i
	}
	newest := map[string]int{}
	for _, c := range pretend.Ledger() {
		at := place[string(c.Message)]
		if before, met := newest[c.To]; met && at <= before {
			t.Errorf("%s got item %d after item %d", c.To, at, before)
		}
		newest[c.To] = at
	}
	if received, _ := pretend.Totals(); received != 60 {
		t.Errorf("Meta was called %d times", received)
	}
}

// What a person wrote opens the window, and what they want is heeded: told at
// accept, in the real house.
func TestWindowIsTold(t *testing.T) {
	t.Parallel()
	_, env := meta(t, alone(t), time.Millisecond)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	text := `{"to":"+16505551234","text":"x"`
	if got := r.want(202, "POST", "/tenants/"+tenant+"/send", text+`}`).json(t); got["warnings"] == nil {
		t.Errorf("nobody wrote, and no warning: %v", got)
	}
	r.want(422, "POST", "/tenants/"+tenant+"/send", text+`,"enforce_window":true}`)
	r.want(200, "POST", "/whatsapp/webhook", fmt.Sprintf(`{"entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"106540352242922"},
		"messages":[{"from":"16505551234","id":"wamid.1","timestamp":"%d","type":"text","text":{"body":"hi"}}]}}]}]}`, time.Now().Unix()))
	r.settle()
	if got := r.want(202, "POST", "/tenants/"+tenant+"/send", text+`,"enforce_window":true}`).json(t); got["warnings"] != nil {
		t.Errorf("they just wrote: %v", got)
	}
	r.want(200, "POST", "/whatsapp/webhook", string(fixtures(t)["user_preferences_stop.json"]))
	r.settle()
	template := `{"to":"+16505551234","type":"template","template":{"name":"hello","language":{"code":"en"}}}`
	got := r.want(202, "POST", "/tenants/"+tenant+"/send", template).json(t)
	if warnings, _ := got["warnings"].([]any); len(warnings) != 1 || warnings[0].(map[string]any)["code"] != string(message.OptedOut) {
		t.Errorf("they want no marketing: %v", got)
	}
}
