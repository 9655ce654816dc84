package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/api"
)

// `sendlog doctor` asks the running server, and with --offline it looks at
// what a stopped one left; a check that fails makes it end with 1.
func TestDoctor(t *testing.T) {
	t.Parallel()
	admin := "127.0.0.1:" + freePort(t)
	env := alone(t).with("ADMIN_ADDR", admin, "DURABILITY", "strict", "GRAPH_URL", "http://"+admin, "SENDLOG_URL", "http://"+admin)
	p := spawn(t, env, "serve")
	client := &http.Client{Timeout: 10 * time.Second}
	a, err := request(t.Context(), client, "POST", p.url+"/tenants/register", `{"name":"A","phoneNumberId":"1","accessToken":"mock_x"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	doctor := func(env settings, args ...string) (string, error) {
		t.Helper()
		out, err := binary(t, env, append([]string{"doctor"}, args...)...).CombinedOutput()
		return string(out), err
	}
	said := func(env settings, args ...string) map[string][]api.Finding {
		t.Helper()
		out, err := doctor(env, append(args, "--json")...)
		if err != nil {
			t.Fatalf("doctor %v: %v\n%s", args, err, out)
		}
		var answer struct {
			Server   string
			Findings []api.Finding
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if want := "http://" + admin; len(args) == 0 && answer.Server != want {
			t.Errorf("it asked %q, not %s", answer.Server, want)
		}
		byCheck := map[string][]api.Finding{}
		for _, f := range answer.Findings {
			byCheck[f.Check] = append(byCheck[f.Check], f)
		}
		return byCheck
	}
	whole := func(got map[string][]api.Finding, verdicts map[string]string) {
		t.Helper()
		for check, want := range verdicts {
			if len(got[check]) == 0 || got[check][0].Verdict != want {
				t.Errorf("%s: %+v, want %s", check, got[check], want)
			}
		}
		if len(got) != len(verdicts) {
			t.Errorf("%d checks, want %d: %v", len(got), len(verdicts), got)
		}
		if means := got["durability"][0].Means; !strings.Contains(means, "a 202 is on this disk") {
			t.Errorf("durability: %s", means)
		}
		if means := got["master_key"][0].Means; !strings.Contains(means, "all 1 tenants") {
			t.Errorf("master_key: %s", means)
		}
	}
	running := map[string]string{"server": "ok", "durability": "ok", "lock": "ok", "disk": "ok", "limits": "ok", "clock": "ok", "streams": "ok",
		"lanes": "ok", "gaps": "ok", "archive": "ok", "store": "ok", "read_models": "ok", "master_key": "ok",
		"admin_key": "warn", "app_secret": "warn", "verify_token": "ok", "graph": "ok"}
	whole(said(env), running)
	if out, err := doctor(env, "--offline"); err == nil || !strings.Contains(out, "in use by another sendlog process") || !strings.Contains(out, "sendlog: 1 of 1 checks failed") {
		t.Errorf("offline beside a running server: %v\n%s", err, out)
	}
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	if out, err := doctor(env); err == nil || !strings.Contains(out, "no sendlog answers") {
		t.Errorf("without a server: %v\n%s", err, out)
	}
	running["graph"] = "warn" // it was the server itself
	whole(said(env, "--offline"), running)
	if out, err := doctor(env.with("MASTER_KEY", "fedcba9876543210fedcba9876543210"), "--offline"); err == nil || !strings.Contains(out, "fail") || !strings.Contains(out, "MASTER_KEY does not open") {
		t.Errorf("with another master key: %v\n%s", err, out)
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	if out, err := doctor(env.with("DATA_DIR", nowhere, "MASTER_KEY", ""), "--offline"); err == nil || !strings.Contains(out, "there is no log in") {
		t.Errorf("without data: %v\n%s", err, out)
	}
	if _, err := os.Stat(nowhere); !os.IsNotExist(err) {
		t.Errorf("it made something: %v", err)
	}
}

// On servers of others' it says what a 202 is worth there, and finds what
// somebody changed or lost behind sendlog's back.
func TestDoctorOnServersOfOthers(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{ServerName: "external", Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: -1,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	env := alone(t).with("NATS_URL", s.ClientURL())
	blind := start(t, env, quick)
	seeing := start(t, env.with("DATA_DIR", t.TempDir(), "NATS_MONITOR_URL", fmt.Sprintf("http://%s", s.MonitorAddr())), quick)
	finds := func(r *running, verdict, check, words string) {
		t.Helper()
		for _, f := range r.Examine(t.Context()) {
			if f.Check == check && f.Verdict == verdict && strings.Contains(f.Means, words) {
				return
			}
		}
		t.Errorf("no %s %s with %q: %+v", verdict, check, words, r.Examine(t.Context()))
	}
	finds(blind, "warn", "replicas", "EVENTS has one copy")
	finds(blind, "warn", "sync", "cannot be asked without NATS_MONITOR_URL")
	finds(seeing, "warn", "sync", "external syncs every 2m0s")
	finds(seeing, "ok", "streams", "none misses an event")
	finds(seeing, "ok", "gaps", "every event")

	tenant, _ := blind.register("A", "111111111111111", "mock_a")
	for range 3 {
		blind.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"}`)
	}
	blind.settle()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	events, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	changed := events.CachedInfo().Config
	changed.Discard = jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	lane, err := js.Consumer(t.Context(), "EVENTS", "lane07")
	if err != nil {
		t.Fatal(err)
	}
	narrow := lane.CachedInfo().Config
	narrow.MaxAckPending = 5
	if _, err := js.UpdateConsumer(t.Context(), "EVENTS", narrow); err != nil {
		t.Fatal(err)
	}
	finds(seeing, "fail", "streams", "EVENTS: discard is DiscardOld, not DiscardNew")
	finds(seeing, "fail", "lanes", "lane 7: max ack pending is 5, not 2000")
	blind.brought, seeing.brought = "the log has a gap", "the log has a gap" // an archiver may still be reading there
	if err := events.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	finds(seeing, "fail", "gaps", "1 events are missing in the middle of EVENTS")
	finds(seeing, "fail", "streams", "1 of EVENTS")
}
