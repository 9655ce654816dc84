package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain/message"
)

// sendlog mock-graph is a Meta for a sendlog in another process: messages are
// accepted, refused and lost as planned, statuses come back signed, the ledger
// tells what happened, and Ctrl-C ends it well.
func TestMockGraph(t *testing.T) {
	t.Parallel()
	env := alone(t).with("PORT", freePort(t), "APP_SECRET", "app secret", "UNKNOWN_WAIT", "5s")
	pretend := spawnUntil(t, env, "listens", "mock-graph", "--addr", "127.0.0.1:0", "--webhook", "http://127.0.0.1:"+env["PORT"]+"/whatsapp/webhook",
		"--seed", "7", "--fault", "lose=0.2,130429=0.2,duplicate=0.5,late=0.1:20ms", "--status-delay", "1ms", "--token", "EAAtoken")
	p := spawn(t, env.with("GRAPH_URL", pretend.url), "serve")
	client := &http.Client{Timeout: 30 * time.Second}
	post := func(path, body string) map[string]any {
		t.Helper()
		a, err := request(t.Context(), client, "POST", p.url+path, body, "")
		if err != nil || a.status >= 300 {
			t.Fatalf("%s: %d %s %v", path, a.status, a.body, err)
		}
		return a.json(t)
	}
	tenant := post("/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`)["id"].(string)
	var ids []string
	for i := range 20 {
		ids = append(ids, post("/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x","idempotency_key":"k%d"}`, i, i))["id"].(string))
	}
	for _, id := range ids {
		eventually(t, "message "+id+" to be read", func() bool {
			a, err := request(t.Context(), client, "GET", p.url+"/tenants/"+tenant+"/messages/"+id, "", "")
			return err == nil && a.status == 200 && a.json(t)["status"] == message.Read
		})
	}
	a, err := request(t.Context(), client, "GET", pretend.url+"/_pretend/ledger", "", "")
	if err != nil || a.status != 200 {
		t.Fatalf("ledger: %d %v", a.status, err)
	}
	ledger := a.json(t)
	for _, id := range ids {
		if n := ledger["accepted"].(map[string]any)[id]; n != 1.0 {
			t.Errorf("%s was accepted %v times", id, n)
		}
	}
	if got := ledger["received"].(float64); ledger["taken"] != 20.0 || got <= 20 {
		t.Errorf("of %v calls %v were accepted: the plan refuses a fifth", got, ledger["taken"])
	}
	if err := pretend.interrupt(); err != nil || !strings.Contains(pretend.said.String(), fmt.Sprintf("%v calls, 20 accepted", ledger["received"])) {
		t.Errorf("Ctrl-C: %v\n%s", err, pretend.said.String())
	}
	for _, wrong := range []struct {
		args []string
		want string
	}{
		{[]string{"--addr", "127.0.0.1:0", "--fault", "loose=0.1"}, "is no fault"},
		{[]string{"--addr", "0.0.0.0:0"}, "others can reach"},
		{[]string{"--addr", "127.0.0.1:0", "--webhook", "x"}, "webhook URL"},
	} {
		text, err := binary(t, env, append([]string{"mock-graph"}, wrong.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(text), wrong.want) {
			t.Errorf("%v: %v\n%s", wrong.args, err, text)
		}
	}
}
