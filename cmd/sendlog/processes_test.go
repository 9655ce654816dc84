package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections/storetest"
)

// The house in several processes on a log and a database of their own: one
// takes requests, one sends and projects; the sender is killed -9 and another
// takes over; nobody who uses the API notices.
func TestRolesInSeparateProcesses(t *testing.T) {
	t.Parallel()
	natsURL := externalNATS(t)
	mongoURI := withDatabase(storetest.MongoURI(t), storetest.MongoDatabase(t))
	pretend, env := meta(t, alone(t).with("NATS_URL", natsURL, "MONGO_URI", mongoURI, "UNKNOWN_WAIT", "5s"), 0)
	front := spawn(t, env.with("ROLES", "api"), "serve")
	back := env.with("ROLES", "dispatch,project", "DATA_DIR", t.TempDir())
	sender := spawnAdmin(t, back)
	client := &http.Client{Timeout: 30 * time.Second}
	post := func(path, body string) map[string]any {
		t.Helper()
		a, err := request(t.Context(), client, "POST", front.url+path, body, "")
		if err != nil || a.status >= 300 {
			t.Fatalf("%s: %d %s %v", path, a.status, a.body, err)
		}
		return a.json(t)
	}
	tenant := post("/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`)["id"].(string)
	var ids []string
	for i := range 60 {
		ids = append(ids, post("/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x","idempotency_key":"k%d"}`, i, i))["id"].(string))
		if i == 30 {
			sender.kill()
			sender = spawnAdmin(t, back)
		}
	}
	for _, id := range ids {
		eventually(t, "message "+id+" to be read", func() bool {
			a, err := request(t.Context(), client, "GET", front.url+"/tenants/"+tenant+"/messages/"+id, "", "")
			return err == nil && a.status == 200 && a.json(t)["status"] == message.Read
		})
	}
	for id, n := range pretend.AcceptedByMessage() {
		if n != 1 {
			t.Errorf("%s was accepted by Meta %d times", id, n)
		}
	}
}

// spawnAdmin starts a process that has no public listener.
func spawnAdmin(t testing.TB, env settings) *process {
	t.Helper()
	return spawnUntil(t, env, "admin", "serve")
}

// externalNATS starts a nats-server with JetStream on a loopback port.
func externalNATS(t testing.TB) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "external", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	return s.ClientURL()
}

// A tenant may subscribe to its own live events over NATS with its API key,
// and to nothing else.
func TestLiveOverNATS(t *testing.T) {
	t.Parallel()
	r := start(t, alone(t).with("NATS_LISTEN", "127.0.0.1:0"), quick)
	tenant, key := r.register("A", "111111111111111", "mock_a")
	other, _ := r.register("B", "222222222222222", "mock_b")
	nc, err := nats.Connect(r.liveURL, nats.UserInfo(tenant, key), nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("live." + tenant + ".>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.want(202, "POST", "/tenants/"+other+"/send", `{"to":"+14155550100","text":"not yours"}`)
	id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"yours"}`).json(t)["id"].(string)
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var e map[string]any
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e["subject"] != id || e["specversion"] != "1.0" || e["source"] != "/tenants/"+tenant {
			t.Errorf("event %v", e)
		}
		if e["type"] == "message.read" {
			break
		}
	}
	if _, err := nats.Connect(r.liveURL, nats.UserInfo(tenant, "sl_live_wrong"), nats.MaxReconnects(0)); err == nil {
		t.Error("a wrong key was let in")
	}
}

// The subcommands are clients of the running server.
func TestSubcommands(t *testing.T) {
	t.Parallel()
	env := alone(t).with("ADMIN_KEY", "an admin key of length")
	admin := "127.0.0.1:" + freePort(t)
	p := spawn(t, env.with("ADMIN_ADDR", admin), "serve")
	mine := settings{"SENDLOG_URL": "http://" + admin, "SENDLOG_KEY": "an admin key of length"}
	client := &http.Client{Timeout: 10 * time.Second}
	a, err := request(t.Context(), client, "POST", p.url+"/tenants/register", `{"name":"Acme","phoneNumberId":"1","accessToken":"mock_x"}`, env["ADMIN_KEY"])
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenant := a.json(t)["id"].(string)

	tail := binary(t, mine, "tail", tenant)
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case seen <- lines.Text():
			default:
			}
		}
	}()
	for _, c := range []struct {
		args []string
		want string // in the output
		fail bool
	}{
		{args: []string{"tenants"}, want: "Acme"},
		{args: []string{"tenants"}, want: "REGISTERED"},
		{args: []string{"send", tenant, "+14155550100", "hello", "--key", "k"}, want: "queued"},
		{args: []string{"send", tenant, "nobody", "hello"}, want: "/to is not a phone number", fail: true},
		{args: []string{"send", "ten_nobody", "+14155550100", "hello"}, want: "sendlog: ", fail: true},
		{args: []string{"dlq", "list"}, want: "MESSAGE"},
		{args: []string{"dlq", "list", "--tenant", tenant, "--number", "1", "--code", "131026", "--reason", "refused",
			"--since", "2026-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00Z", "--state", "any"}, want: "MESSAGE"},
		{args: []string{"dlq", "list", "--state", "alive"}, want: "state must be one of", fail: true},
		{args: []string{"dlq", "show", "msg_nobody"}, want: "not among the dead letters", fail: true},
		{args: []string{"dlq", "redrive", "msg_nobody"}, want: "not among the dead letters (msg_nobody)", fail: true},
		{args: []string{"dlq", "redrive"}, want: "MESSAGE ..., or filters (--tenant, --number, --code, --reason, --since, --until), or --all", fail: true},
		{args: []string{"dlq", "redrive", "--all", "--code", "1"}, want: "in exactly one way", fail: true},
		{args: []string{"dlq", "redrive", "--reason", "foo"}, want: "/filter/reason must be one of refused, attempts_exhausted", fail: true},
		{args: []string{"dlq", "redrive", "--number", "999", "--yes"}, want: "0 of 0"},
		{args: []string{"dlq", "redrive", "--code", "many"}, want: "--code must be", fail: true},
		{args: []string{"dlq", "redrive", "--all", "--rate", "0"}, want: "/rate must be", fail: true},
		{args: []string{"dlq", "redrive", "--tenant", tenant, "--dry-run"}, want: "0 of 0 would be tried again"},
		{args: []string{"dlq", "redrive", "--all"}, want: "add --yes", fail: true},
		{args: []string{"dlq", "redrive", "--all", "--yes"}, want: "0 of 0 are being tried again"},
		{args: []string{"dlq", "redrives"}, want: "done"},
		{args: []string{"dlq", "cancel", "redrive_nobody"}, want: "no such redrive", fail: true},
		{args: []string{"rebuild", "all"}, want: "rebuilt from"},
		{args: []string{"rebuild", "cooks"}, want: "must be one of", fail: true},
		{args: []string{"keys", "issue", tenant, "--scopes", "send,stream", "--expires", "2999-01-01T00:00:00Z"}, want: " sl_live_"},
		{args: []string{"keys", "issue", tenant, "--scopes", "cook"}, want: "/scopes must be names", fail: true},
		{args: []string{"keys", "list", tenant}, want: "send,stream"},
		{args: []string{"keys", "revoke", tenant, "nobodyhs"}, want: "no such key", fail: true},
		{args: []string{"keys", "rotate"}, want: "all 1 tenants are under key-"},
		{args: []string{"tenants", "pause", tenant}, want: "say why, for whoever finds it so: --reason", fail: true},
		{args: []string{"tenants", "pause", tenant, "--reason", "unpaid bill"}, want: "paused " + tenant},
		{args: []string{"tenants"}, want: "paused"},
		{args: []string{"tenants", "resume", tenant}, want: "resumed " + tenant},
		{args: []string{"tenants", "pause", tenant, "--number", "1", "--reason", "x"}, want: "paused number 1 of " + tenant},
		{args: []string{"tenants", "resume", tenant, "--number", "1"}, want: "resumed number 1 of " + tenant},
		{args: []string{"version"}, want: "\n"},
		{args: []string{"cook"}, want: "unknown command", fail: true},
	} {
		text, err := binary(t, mine, c.args...).CombinedOutput()
		if (err != nil) != c.fail || !strings.Contains(string(text), c.want) {
			t.Errorf("sendlog %s: %v\n%s", strings.Join(c.args, " "), err, text)
		}
	}
	// The tail may have subscribed after the first message: send until it sees one.
	eventually(t, "tail to show an event", func() bool {
		_, _ = binary(t, mine, "send", tenant, "+14155550100", "again").CombinedOutput()
		select {
		case line := <-seen:
			return strings.Contains(line, `"type":"message.`)
		default:
			return false
		}
	})
	text, err := binary(t, mine.with("SENDLOG_KEY", ""), "tenants").CombinedOutput()
	if err == nil || !bytes.Contains(text, []byte("SENDLOG_KEY")) {
		t.Errorf("without a key: %v\n%s", err, text)
	}
	text, err = binary(t, mine.with("SENDLOG_URL", "http://127.0.0.1:9"), "tenants").CombinedOutput()
	if err == nil || !bytes.Contains(text, []byte("no sendlog answers at http://127.0.0.1:9")) {
		t.Errorf("without a server: %v\n%s", err, text)
	}
	_ = tail.Process.Kill()
	_ = tail.Wait()
}

// sendlog dev is a system that works: its demo tenant's message is read, and
// what it had not been told before it was killed it is told after the restart.
func TestDev(t *testing.T) {
	t.Parallel()
	env := alone(t).with("PORT", freePort(t), "ADMIN_ADDR", "127.0.0.1:"+freePort(t))
	p := spawn(t, env, "dev", "--meta-addr", "127.0.0.1:0")
	client := &http.Client{Timeout: 10 * time.Second}
	var demo string
	eventually(t, "the demo tenant to be named", func() bool {
		_, rest, ok := strings.Cut(p.said.String(), "demo tenant")
		if ok {
			demo, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
		}
		return ok && demo != ""
	})
	send := func(key string) string {
		a, err := request(t.Context(), client, "POST", p.url+"/tenants/"+demo+"/send", `{"to":"+14155550100","text":"Hello","idempotency_key":"`+key+`"}`, "")
		if err != nil || a.status != 202 {
			t.Fatalf("send: %d %s %v", a.status, a.body, err)
		}
		return a.json(t)["id"].(string)
	}
	status := func(id string) any {
		a, err := request(context.Background(), client, "GET", p.url+"/tenants/"+demo+"/messages/"+id, "", "")
		if err != nil || a.status != 200 {
			return nil
		}
		return a.json(t)["status"]
	}
	first := send("demo-1")
	eventually(t, "the message to be accepted", func() bool { s := status(first); return s != nil && s != message.Queued })
	p.kill()
	p = spawn(t, env.with("META_ADDR", "127.0.0.1:0"), "dev")
	if again := send("demo-1"); again != first {
		t.Errorf("after the restart the key gave %s, before %s", again, first)
	}
	eventually(t, "the message to be read", func() bool { return status(first) == message.Read })
	// A tenant of one's own, with any token, sends too; until its token is revoked.
	_, rest, _ := strings.Cut(p.said.String(), "Meta ")
	metaURL, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	post := func(url, body string, want int) map[string]any {
		t.Helper()
		a, err := request(t.Context(), client, "POST", url, body, "")
		if err != nil || a.status != want {
			t.Fatalf("%s: %d %s %v", url, a.status, a.body, err)
		}
		return a.json(t)
	}
	demo = post(p.url+"/tenants/register", `{"name":"Mine","phoneNumberId":"100000000000002","accessToken":"EAAmine"}`, 201)["id"].(string)
	own := send("own-1")
	eventually(t, "the message of the own tenant to be read", func() bool { return status(own) == message.Read })
	post(metaURL+"/_pretend/inbound", `{"from":"+14155550100","text":"Hi","number":"100000000000002"}`, 200)
	if lost := post(metaURL+"/_pretend/inbound", `{"from":"+14155550100","text":"Hi","number":"100000000000003"}`, 404); !strings.Contains(lost["error"].(string), "no tenant has the number 100000000000003") {
		t.Errorf("to a number of nobody: %v", lost)
	}
	post(metaURL+"/_pretend/revoke", `{"token":"EAAmine"}`, 200)
	send("own-2")
	eventually(t, "the number to be blocked", func() bool {
		a, err := request(t.Context(), client, "GET", p.url+"/tenants/"+demo, "", "")
		return err == nil && a.status == 200 && strings.Contains(string(a.body), `"code":190`)
	})
	taken := strings.TrimPrefix(metaURL, "http://")
	for addr, want := range map[string]string{
		taken:             "sendlog: META_ADDR (or --meta-addr) cannot be listened on",
		"3002":            `sendlog: META_ADDR (or --meta-addr) is "3002"`,
		"0.0.0.0:3002":    "sendlog: META_ADDR (or --meta-addr) is an address others can reach",
		env["ADMIN_ADDR"]: "sendlog: META_ADDR (or --meta-addr) is the address of another listener",
	} {
		text, err := binary(t, env.with("META_ADDR", addr, "DATA_DIR", t.TempDir()), "dev").CombinedOutput()
		if err == nil || !strings.Contains(string(text), want) {
			t.Errorf("META_ADDR=%s: %v\n%s", addr, err, text)
		}
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

// A tail goes on through a restart of the server, and says so.
func TestTailOutlivesTheServer(t *testing.T) {
	t.Parallel()
	admin := "127.0.0.1:" + freePort(t)
	env := alone(t).with("ADMIN_ADDR", admin)
	mine := settings{"SENDLOG_URL": "http://" + admin}
	p := spawn(t, env, "serve")
	a, err := request(t.Context(), http.DefaultClient, "POST", p.url+"/tenants/register", `{"name":"A","phoneNumberId":"1","accessToken":"mock_x"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenant := a.json(t)["id"].(string)
	var out, notes lockedBuffer
	tail := binary(t, mine, "tail", tenant)
	tail.Stdout, tail.Stderr = &out, &notes
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tail.Process.Kill(); _ = tail.Wait() }()
	// It may have subscribed after a message: send until it shows one more.
	shows := func(what string) {
		t.Helper()
		before := len(out.String())
		eventually(t, what, func() bool {
			_, _ = binary(t, mine, "send", tenant, "+14155550100", "x").CombinedOutput()
			return strings.Contains(out.String()[before:], `"type":"message.`)
		})
	}
	shows("tail to show an event")
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tail to notice", func() bool { return strings.Contains(notes.String(), "the stream has ended, trying again") })
	spawn(t, env, "serve")
	shows("tail to show an event of the next server")
	if !strings.Contains(notes.String(), "connected again") {
		t.Errorf("it says %q", notes.String())
	}
	if text, err := binary(t, mine, "tail", "ten_nobody").CombinedOutput(); err == nil || !strings.Contains(string(text), "no such tenant") {
		t.Errorf("a tail of nobody: %v\n%s", err, text)
	}
}
