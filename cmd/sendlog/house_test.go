package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/storetest"
)

// onEachStore runs a test with read models in SQLite and over the Mongo wire:
// nobody may notice which.
func onEachStore(t *testing.T, test func(t *testing.T, env settings)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, alone(t))
	})
	t.Run("mongo", func(t *testing.T) {
		t.Parallel()
		test(t, alone(t).with("MONGO_URI", withDatabase(storetest.MongoURI(t), storetest.MongoDatabase(t))))
	})
}

// withDatabase names a database in the path of a URI.
func withDatabase(uri, database string) string {
	base, query, _ := strings.Cut(uri, "?")
	scheme, rest, _ := strings.Cut(base, "://")
	host, _, _ := strings.Cut(rest, "/")
	if query != "" {
		query = "?" + query
	}
	return scheme + "://" + host + "/" + database + query
}

// freePort finds a loopback port that is free now, for an address that
// somebody must know before it is listened on.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		// Below the range from which the system takes the ports of connections:
		// one of those could take it before its process does.
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// meta starts a pretend Meta that posts to the house of env, and returns env
// with its address.
func meta(t testing.TB, env settings, delay time.Duration) (*cloudapitest.Server, settings) {
	t.Helper()
	port := freePort(t)
	s, err := cloudapitest.New(cloudapitest.Config{AppSecret: env["APP_SECRET"], StatusDelay: delay,
		WebhookURL: "http://127.0.0.1:" + port + "/whatsapp/webhook"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, env.with("PORT", port, "GRAPH_URL", s.URL())
}

// The curl lines of the original's document work as they stand.
func TestSeedCurlLines(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		r := start(t, env, quick)
		a := r.want(201, "POST", "/tenants/register", `{"name":"Tenant A","phoneNumberId":"111111111111111","accessToken":"mock_token_tenant_A"}`).json(t)
		tenant := a["id"].(string)
		if a["status"] != "active" || a["phoneNumberId"] != "111111111111111" || !strings.HasPrefix(a["apiKey"].(string), "sl_live_") {
			t.Errorf("registered %v", a)
		}
		r.want(409, "POST", "/tenants/register", `{"name":"Tenant B","phoneNumberId":"111111111111111","accessToken":"mock_token_tenant_B"}`)

		send := `{"to":"+919xxxxxxxxx","text":"Hello from tenant A", "idempotency_key":"order-1234"}`
		first := r.want(202, "POST", "/tenants/"+tenant+"/send", send).json(t)
		again := r.want(202, "POST", "/tenants/"+tenant+"/send", send)
		if first["status"] != "queued" || again.json(t)["id"] != first["id"] || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("first %v, again %s", first, again.body)
		}
		r.want(422, "POST", "/tenants/"+tenant+"/send", `{"to":"+919xxxxxxxxx","text":"Something else", "idempotency_key":"order-1234"}`)
		m := r.awaitStatus(tenant, first["id"].(string), message.Read)
		if m["direction"] != "OUT" || m["text"] != "Hello from tenant A" || m["idempotency_key"] != "order-1234" || m["wamid"] == "" {
			t.Errorf("message %v", m)
		}

		r.want(200, "POST", "/whatsapp/webhook", `{
			"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"111111111111111"},
			"messages":[{"from":"+919111111111","id":"wamid.123","type":"text","text":{"body":"hi"}}]}}]}]}`)
		r.settle()
		in := r.list("/tenants/" + tenant + "/messages?direction=IN")
		if len(in) != 1 || in[0]["text"] != "hi" || in[0]["from"] == nil {
			t.Errorf("inbound %v", in)
		}
		customers := r.list("/tenants/" + tenant + "/customers")
		found := false
		for _, c := range customers {
			if c["wa_id"] == "919111111111" {
				found = true
				one := r.want(200, "GET", "/tenants/"+tenant+"/customers/"+c["id"].(string), "").json(t)
				theirs := r.list("/tenants/" + tenant + "/messages?customer=" + c["id"].(string))
				if one["wa_id"] != c["wa_id"] || len(theirs) != 1 || theirs[0]["id"] != in[0]["id"] {
					t.Errorf("customer %v has %v", one, theirs)
				}
			}
		}
		if !found {
			t.Errorf("customers %v", customers)
		}

		challenge := "/whatsapp/webhook?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
		if a := r.want(200, "GET", challenge+"verify%20me", ""); string(a.body) != "1158201444" {
			t.Errorf("challenge answered with %q", a.body)
		}
		r.want(403, "GET", challenge+"wrong", "")
		r.want(404, "POST", "/tenants/ten_nobody/send", send)
	})
}

// A message goes to Meta, its statuses come back signed, and its timeline
// tells all of it in order; the live feed told it as it happened.
func TestSendThroughMeta(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		pretend, env := meta(t, env.with("APP_SECRET", "app secret"), 0)
		r := start(t, env, quick)
		tenant, _ := r.register("A", "106540352242922", "EAAtoken")
		live := r.events(tenant)
		id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+1 (415) 555-0100","text":"Grüße 😀 </b>"}`).json(t)["id"].(string)
		r.awaitStatus(tenant, id, message.Read)
		ledger := pretend.Ledger()
		if len(ledger) != 1 || string(ledger[0].Message) != id || ledger[0].To != "+14155550100" {
			t.Fatalf("ledger %+v", ledger)
		}
		var types []string
		for _, e := range r.list("/tenants/" + tenant + "/messages/" + id + "/timeline") {
			types = append(types, e["type"].(string))
		}
		text := strings.Join(types, " ")
		if !strings.HasPrefix(text, "SendRequested SendAttempted ") || strings.Count(text, "StatusReceived") != 3 || strings.Count(text, "SendAccepted") != 1 {
			t.Errorf("timeline %s", text)
		}
		for e := range live {
			if e["type"] == "message.read" {
				if e["subject"] != id {
					t.Errorf("live event %v", e)
				}
				break
			}
		}
		a := r.do("POST", "/whatsapp/webhook", `{"entry":[]}`)
		b := r.do("POST", "/whatsapp/webhook", `{"entry":[]}`, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		if a.status != 401 || b.status != 401 {
			t.Errorf("unsigned webhooks answered %d and %d", a.status, b.status)
		}
	})
}

// events opens the live feed of a tenant.
func (r *running) events(tenant string) <-chan map[string]any {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", r.url+"/tenants/"+tenant+"/events", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := r.http.Do(req) // its deadline ends a wait in vain
	if err != nil {
		r.t.Fatal(err)
	}
	out := make(chan map[string]any, 1000)
	go func() {
		defer close(out)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e map[string]any
				if json.Unmarshal([]byte(data), &e) == nil {
					out <- e
				}
			}
		}
	}()
	return out
}

// Twenty clients send two hundred keyed messages, every key twice: Meta is
// called two hundred times.
func TestKeyedSendsReachMetaOnce(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	ids := make([][2]string, 200)
	var wg sync.WaitGroup
	for client := range 20 {
		wg.Go(func() {
			for i := range 20 { // each of its ten keys twice, interleaved with its neighbour's
				n := (client*10 + i) % 200
				a := r.do("POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"n %d","idempotency_key":"key-%d"}`, n, n, n))
				if a.status != 202 {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				ids[n][i/10] = a.json(t)["id"].(string)
			}
		})
	}
	wg.Wait()
	for n, pair := range ids {
		if pair[0] == "" || pair[0] != pair[1] {
			t.Fatalf("key %d gave ids %v", n, pair)
		}
		r.awaitStatus(tenant, pair[0], message.Read)
	}
	if n := len(pretend.Ledger()); n != 200 {
		t.Errorf("Meta was called %d times, want 200", n)
	}
	if got := r.list("/tenants/" + tenant + "/messages?limit=200&status=read"); len(got) != 200 {
		t.Errorf("%d messages read, want 200", len(got))
	}
}

// fixtureTenants are the businesses of the fixtures: number and account.
var fixtureTenants = [][2]string{
	{"106540352242922", "102290129340398"}, {"241938562345019", "419561257915477"}, {"409552778964973", "880480571844883"},
	{"530114982760144", "771209334881120"}, {"287740991004455", "351902284467713"},
}

// Every webhook we have a sample of, posted twice and signed, is in a read
// model or in quarantine: each provider id it holds is found again there, and
// the repeat changed nothing.
func TestEveryWebhookFixtureIsAccountedFor(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		r := start(t, env.with("APP_SECRET", "app secret"), quick)
		for _, n := range fixtureTenants {
			r.want(201, "POST", "/tenants/register",
				fmt.Sprintf(`{"name":"T","phoneNumberId":%q,"accessToken":"mock_x","wabaId":%q}`, n[0], n[1]))
		}
		all := fixtures(t)
		post := func() {
			for name, body := range all {
				if name == "verification_get.json" || name == "signature_vectors.json" {
					continue // not webhook bodies
				}
				if a := r.do("POST", "/whatsapp/webhook", string(body), "X-Hub-Signature-256", signed("app secret", body)); a.status != 200 {
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
			}
			r.settle()
		}
		post()
		kept := r.everything()
		for name, body := range all {
			if name == "verification_get.json" || name == "signature_vectors.json" {
				continue
			}
			for _, id := range providerIDs(body) {
				if !bytes.Contains(kept, id) {
					t.Errorf("%s: %s is nowhere", name, id)
				}
			}
		}
		before := r.documents()
		post()
		if after := r.documents(); after != before {
			t.Errorf("posting all again changed the read models from %d to %d documents' bytes", len(before), len(after))
		}
	})
}

// providerIDs finds what must survive of a webhook: every message, call and
// template it names, and every event of an account.
func providerIDs(body []byte) [][]byte {
	var out [][]byte
	for _, m := range regexp.MustCompile(`"(?:wam|wac)id\.[^"]+"|"(?:message_template_id|event)":\s*"?([^",}\s]+)`).FindAllSubmatch(body, -1) {
		if id := m[1]; id == nil {
			out = append(out, bytes.Trim(m[0], `"`))
		} else {
			out = append(out, id)
		}
	}
	return out
}

func signed(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// everything returns all read-model documents and all quarantined payloads.
func (r *running) everything() []byte {
	r.t.Helper()
	out := []byte(r.documents())
	q := r.broker.Quarantine(r.vault)
	kept, err := q.List(r.t.Context(), 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, k := range kept {
		one, err := q.Get(r.t.Context(), k.Position)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, one.Payload...)
	}
	return out
}

// documents dumps every document of every live read model, in order.
func (r *running) documents() string {
	r.t.Helper()
	var b strings.Builder
	for _, m := range projections.Models() {
		p, err := r.store.Live(r.t.Context(), m.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range m.Collections {
			all := storetest.Dump(r.t, r.store, fmt.Sprintf("%s_g%d", c.Name, p.Live))
			for _, id := range slices.Sorted(maps.Keys(all)) {
				fmt.Fprintf(&b, "%s %s %s\n", c.Name, id, all[id])
			}
		}
	}
	return b.String()
}

// Rebuilding gives the same documents, while messages keep coming, and is
// started and watched over HTTP.
func TestRebuildGivesEqualDocuments(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		_, env = meta(t, env, 0)
		r := start(t, env, quick)
		tenant, _ := r.register("A", "106540352242922", "EAAtoken")
		mock, _ := r.register("B", "241938562345019", "mock_b")
		for name, body := range fixtures(t) {
			if name != "verification_get.json" && name != "signature_vectors.json" {
				r.want(200, "POST", "/whatsapp/webhook", string(body))
			}
		}
		var ids []string
		for i := range 20 {
			for _, id := range []string{tenant, mock} {
				ids = append(ids, id, r.want(202, "POST", "/tenants/"+id+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"n %d"}`, i, i)).json(t)["id"].(string))
			}
		}
		for i := 0; i < len(ids); i += 2 {
			r.awaitStatus(ids[i], ids[i+1], message.Read)
		}
		r.settle()
		before := r.documents()
		rebuild := r.want(202, "POST", "http://"+r.adminAddr+"/rebuilds", `{"model":"all"}`).json(t)["id"].(string)
		eventually(t, "the rebuild", func() bool {
			s := r.want(200, "GET", "http://"+r.adminAddr+"/rebuilds/"+rebuild, "").json(t)
			if s["state"] == "failed" {
				t.Fatalf("rebuild failed: %v", s)
			}
			return s["state"] == "done"
		})
		if after := r.documents(); after != before {
			t.Errorf("rebuilding changed documents:\n%s", firstDifference(before, after))
		}
		id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"after"}`).json(t)["id"].(string)
		r.awaitStatus(tenant, id, message.Read)
	})
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// Meta losing answers sends nothing twice: the status proves the attempt.
func TestLostAnswersAreNotSentAgain(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	policy := quick
	policy.UnknownWait = time.Minute // only a proof ends it within the test
	r := start(t, env, policy)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	answers := []cloudapitest.Answer{cloudapitest.LoseAnswer, cloudapitest.ResetMidBody, cloudapitest.LateHTML502, cloudapitest.EmptyAnswer}
	pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: answers[c.Seq%len(answers)]}
	})
	var ids []string
	for i := range 40 {
		ids = append(ids, r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, i)).json(t)["id"].(string))
	}
	for _, id := range ids {
		r.awaitStatus(tenant, id, message.Read)
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
}

// Nothing personal and no secret is in what the house logs or measures.
func TestOutputHoldsNothingPersonal(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, key := r.register("A", "106540352242922", "EAAcanarytoken")
	pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: []cloudapitest.Answer{cloudapitest.Normal, cloudapitest.LoseAnswer, cloudapitest.HTML502}[c.Seq%3]}
	})
	for i := range 6 {
		r.do("POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+4477009001%02d","text":"canary text","idempotency_key":"canary-key-%d"}`, i, i))
	}
	r.do("POST", "/tenants/"+tenant+"/send", `{"to":"+447700900100 canary","text":"canary text"}`)
	r.do("POST", "/tenants/"+tenant+"/send", `{"to":"+447700900100","text":"canary text",}`)
	r.want(200, "POST", "/whatsapp/webhook", `{"entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"1"},"messages":[{"id":"wamid.canary","from":"447700900100"}]}}]}]}`)
	r.settle()
	metrics := r.want(200, "GET", "http://"+r.adminAddr+"/metrics", "")
	r.stop()
	for _, canary := range []string{"44770090", "canary", key[8:], "sl_live_"} {
		if strings.Contains(r.log.String(), canary) {
			t.Errorf("the log holds %q", canary)
		}
		if bytes.Contains(metrics.body, []byte(canary)) {
			t.Errorf("the metrics hold %q", canary)
		}
	}
}

// A port that is taken is all a start says, and it has opened nothing.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for variable, env := range map[string]settings{
		"PORT":       alone(t).with("PORT", port),
		"ADMIN_ADDR": alone(t).with("ADMIN_ADDR", taken.Addr().String()),
	} {
		c, err := readConfig(env.get)
		if err != nil {
			t.Fatal(err)
		}
		log := &lockedBuffer{}
		_, err = openHouse(t.Context(), c, quick, slog.New(slog.NewJSONHandler(log, nil)))
		if fault, ok := errors.AsType[configError](err); !ok || fault.variable != variable || log.String() != "" {
			t.Errorf("%s: %v\n%s", variable, err, log.String())
		}
		if left, err := filepath.Glob(filepath.Join(c.DataDir, "*")); err != nil || len(left) != 0 {
			t.Errorf("%s: it opened %v, %v", variable, left, err)
		}
	}
}
