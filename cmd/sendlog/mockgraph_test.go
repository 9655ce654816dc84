package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain/message"
)

// sendlog mock-graph is a Meta for a sendlog in another process: it refuses and
// loses as planned, the plan can be changed meanwhile, statuses come back
// signed, the ledger tells what happened, and Ctrl-C ends it well.
func TestMockGraph(t *testing.T) {
	t.Parallel()
	env := alone(t).with("PORT", freePort(t), "APP_SECRET", "app secret")
	pretend := spawnUntil(t, env, "listens", "mock-graph", "--addr", "127.0.0.1:0", "--webhook", "http://127.0.0.1:"+env["PORT"]+"/whatsapp/webhook",
		"--seed", "7", "--fault", "130429=1", "--status-delay", "1ms", "--token", "EAAtoken")
	p := spawn(t, env.with("GRAPH_URL", pretend.url), "serve")
	client := &http.Client{Timeout: 30 * time.Second}
	post := func(url, body string) map[string]any {
		t.Helper()
		a, err := request(t.Context(), client, "POST", url, body, "")
		if err != nil || a.status >= 300 {
			t.Fatalf("%s: %d %s %v", url, a.status, a.body, err)
		}
		return a.json(t)
	}
	ledger := func() map[string]any {
		t.Helper()
		a, err := request(t.Context(), client, "GET", pretend.url+"/_pretend/ledger", "", "")
		if err != nil || a.status != 200 {
			t.Fatalf("ledger: %d %v", a.status, err)
		}
		return a.json(t)
	}
	tenant := post(p.url+"/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`)["id"].(string)
	var ids []string
	send := func() {
		body := fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, len(ids))
		ids = append(ids, post(p.url+"/tenants/"+tenant+"/send", body)["id"].(string))
	}
	send()
	eventually(t, "a call to be refused", func() bool { return ledger()["received"].(float64) > 0 })
	post(pretend.url+"/_pretend/faults", `{"plan":"lose=1,duplicate=1,late=1:20ms","seed":7}`)
	for range 9 {
		send()
	}
	for _, id := range ids {
		eventually(t, "message "+id+" to be read", func() bool {
			a, err := request(t.Context(), client, "GET", p.url+"/tenants/"+tenant+"/messages/"+id, "", "")
			return err == nil && a.status == 200 && a.json(t)["status"] == message.Read
		})
	}
	books := ledger()
	for _, id := range ids {
		if n := books["accepted"].(map[string]any)[id]; n != 1.0 {
			t.Errorf("%s was accepted %v times", id, n)
		}
	}
	if books["taken"] != 10.0 || books["received"].(float64) <= 10 {
		t.Errorf("of %v calls %v were accepted", books["received"], books["taken"])
	}
	if err := pretend.interrupt(); err != nil || !strings.Contains(pretend.said.String(), fmt.Sprintf("%v calls, 10 accepted", books["received"])) {
		t.Errorf("Ctrl-C: %v\n%s", err, pretend.said.String())
	}
	for _, wrong := range []struct {
		args []string
		want string
	}{
		{[]string{"--addr", "127.0.0.1:0", "--fault", "loose=0.1"}, "is no fault"},
		{[]string{"--addr", "0.0.0.0:0"}, "others can reach"},
		{[]string{"--addr", "3999"}, `--addr is "3999"; write host:port`},
		{[]string{"--addr", "127.0.0.1:0", "--rate", "-3"}, "--rate is -3"},
		{[]string{"--addr", "127.0.0.1:0", "--webhook", "x"}, "webhook URL"},
	} {
		text, err := binary(t, env, append([]string{"mock-graph"}, wrong.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(text), wrong.want) {
			t.Errorf("%v: %v\n%s", wrong.args, err, text)
		}
	}
}
