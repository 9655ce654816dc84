package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

const (
	oldMaster = "0123456789abcdef0123456789abcdef" // of alone
	newMaster = "fedcba9876543210fedcba9876543210"
)

// two starts two houses on one external log, as two processes behind one
// address. Each has read models of its own.
func two(t *testing.T, pairs ...string) (a, b *running) {
	t.Helper()
	env := alone(t).with("NATS_URL", externalNATS(t), "ADMIN_KEY", "an admin key of length").with(pairs...)
	return start(t, env, quick), start(t, env.with("DATA_DIR", t.TempDir()), quick)
}

// issue issues an API key.
func (r *running) issue(tenant, body string) (id, key string) {
	r.t.Helper()
	a := r.want(201, "POST", "/tenants/"+tenant+"/keys", body).json(r.t)
	return a["id"].(string), a["apiKey"].(string)
}

// status asks for a path with a key of its own.
func (r *running) status(method, path, body, key string) int {
	r.t.Helper()
	a, err := request(r.t.Context(), r.http, method, r.url+path, body, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return a.status
}

// A key that one process revokes opens nothing in another within a second, nor
// does an event stream opened with it go on there.
func TestRevokedInEveryProcess(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	tenant, _ := a.register("A", "111111111111111", "mock_a")
	for range 5 {
		id, key := a.issue(tenant, `{"scopes":["read","stream"]}`)
		eventually(t, "the other process to know the key", func() bool { return b.status("GET", "/tenants/"+tenant, "", key) == 200 })
		req, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/tenants/"+tenant+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		stream, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan time.Time, 1)
		go func() {
			defer stream.Body.Close()
			for buf := make([]byte, 256); ; {
				if _, err := stream.Body.Read(buf); err != nil {
					ended <- time.Now()
					return
				}
			}
		}()
		a.want(204, "DELETE", "/tenants/"+tenant+"/keys/"+id, "")
		revoked := time.Now()
		eventually(t, "the other process to refuse the key", func() bool { return b.status("GET", "/tenants/"+tenant, "", key) == 401 })
		if took := time.Since(revoked); took > time.Second {
			t.Errorf("the other process refused the key after %s", took)
		}
		select {
		case at := <-ended:
			if took := at.Sub(revoked); took > time.Second {
				t.Errorf("the stream there ended after %s", took)
			}
		case <-time.After(10 * time.Second):
			t.Error("the stream there goes on")
		}
		if got := a.status("GET", "/tenants/"+tenant, "", key); got != 401 {
			t.Errorf("the process that revoked it answers %d", got)
		}
	}
}

// Listening over NATS needs the scope stream, and ends with the key.
func TestNATSNeedsTheScope(t *testing.T) {
	t.Parallel()
	r := start(t, alone(t).with("NATS_LISTEN", "127.0.0.1:0"), quick)
	tenant, _ := r.register("A", "111111111111111", "mock_a")
	_, deaf := r.issue(tenant, `{"scopes":["send","read","manage"]}`)
	if nc, err := nats.Connect(r.liveURL, nats.Token(deaf), nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("a key without the scope was let in")
	}
	id, key := r.issue(tenant, `{"scopes":["stream"]}`)
	gone := make(chan struct{})
	nc, err := nats.Connect(r.liveURL, nats.Token(key), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r.want(204, "DELETE", "/tenants/"+tenant+"/keys/"+id, "")
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the connection outlived its key")
	}
}

// A paused tenant's requests are accepted and wait, through a restart; nothing
// is called meanwhile, and others are served. Resumed, they leave.
func TestPauseKeepsTheQueueAndResumeSendsIt(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	other, _ := r.register("B", "109876543210987", "EAAtoken")
	send := func(r *running, tenant string, i int) string {
		return r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, i)).json(t)["id"].(string)
	}
	for name, path := range map[string]string{"tenant": "", "number": "/numbers/106540352242922"} {
		r.want(200, "POST", "/tenants/"+tenant+path+"/pause", `{"reason":"unpaid bill"}`)
		var ids []string
		for i := range 10 {
			ids = append(ids, send(r, tenant, i))
		}
		served := send(r, other, 0)
		r.awaitStatus(other, served, message.Read)
		if name == "tenant" {
			r.stop()
			r = start(t, env, quick)
		}
		for _, id := range ids {
			if n := pretend.AcceptedByMessage()[domain.MessageID(id)]; n != 0 {
				t.Errorf("paused %s: %s was sent", name, id)
			}
			if got := r.awaitStatus(tenant, id, message.Queued); got["attempts"] != 0.0 {
				t.Errorf("paused %s: %v", name, got)
			}
		}
		r.want(200, "POST", "/tenants/"+tenant+path+"/resume", `{}`)
		for _, id := range ids {
			r.awaitStatus(tenant, id, message.Read)
			if n := pretend.AcceptedByMessage()[domain.MessageID(id)]; n != 1 {
				t.Errorf("resumed %s: %s was sent %d times", name, id, n)
			}
		}
	}
}

// One idempotency key is one message, also when two processes are asked at once
// to send it from two numbers in different lanes: the number is part of the
// request, so whoever asks for the other number is refused.
func TestOneKeyTwoNumbers(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("NATS_URL", externalNATS(t)), 0)
	a := start(t, env, quick)
	b := start(t, env.with("DATA_DIR", t.TempDir(), "PORT", "0"), quick)
	numbers := []string{"106540352242922", "109876543210987"} // lanes 2 and 1
	tenant, _ := a.register("A", numbers[0], "EAAtoken")
	a.want(201, "POST", "/tenants/"+tenant+"/numbers", `{"phoneNumberId":"`+numbers[1]+`","accessToken":"EAAtoken"}`)
	eventually(t, "the other process to know both numbers", func() bool {
		known, ok := b.do("GET", "/tenants/"+tenant, "").json(t)["numbers"].([]any) // at first it knows not even the tenant
		return ok && len(known) == 2
	})
	for round := range 10 {
		var (
			mu    sync.Mutex
			wg    sync.WaitGroup
			won   = map[string]bool{} // numbers that were accepted
			ids   = map[string]bool{}
			other int
		)
		for i := range 16 {
			r, number := []*running{a, b}[i%2], numbers[i/2%2]
			wg.Go(func() {
				body := fmt.Sprintf(`{"to":"+14155550100","text":"x","idempotency_key":"k%d","from":%q}`, round, number)
				answer := r.do("POST", "/tenants/"+tenant+"/send", body)
				mu.Lock()
				defer mu.Unlock()
				switch answer.status {
				case 202:
					won[number] = true
					ids[answer.json(t)["id"].(string)] = true
				case 422:
					other++
				default:
					t.Errorf("%d %s", answer.status, answer.body)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || len(ids) != 1 || other != 8 {
			t.Errorf("round %d: numbers %v, messages %v, %d refused", round, won, ids, other)
		}
		for id := range ids {
			// Without "from" a repeat means the number of the first.
			again := b.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+14155550100","text":"x","idempotency_key":"k%d"}`, round))
			if again.json(t)["id"] != id || again.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("round %d: the repeat answers %s", round, again.body)
			}
			a.awaitStatus(tenant, id, message.Read)
		}
	}
	for id, n := range pretend.AcceptedByMessage() {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}

// A quota holds over processes: together they accept no more of a day than it
// allows, and of a second about as much.
func TestQuotaOverProcesses(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	tenant, _ := a.register("A", "111111111111111", "mock_a")
	a.want(200, "PUT", "/tenants/"+tenant+"/quota", `{"per_day":30}`)
	eventually(t, "the other process to know the quota", func() bool {
		quota, ok := b.do("GET", "/tenants/"+tenant, "").json(t)["quota"].(map[string]any)
		return ok && quota["per_day"] == 30.0
	})
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for i := range 90 {
		r := []*running{a, b}[i%2]
		wg.Go(func() {
			switch got := r.do("POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, i)); got.status {
			case 202:
				accepted.Add(1)
			case 429:
				if got.header.Get("Retry-After") == "" || !strings.Contains(got.header.Get("RateLimit-Policy"), `"day";q=30;w=86400`) {
					t.Errorf("429 with %v", got.header)
				}
			default:
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 30 {
		t.Errorf("%d accepted on a day of 30", n)
	}
}

// The master key is changed with requests going on: every accepted message is
// sent once, what was sealed before stays readable, and afterwards the old key
// is needed no more. Before it, a house without the old key does not start.
func TestRotateUnderLoad(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("NATS_URL", externalNATS(t), "ADMIN_KEY", "an admin key of length"), 0)
	first := start(t, env, quick)
	var tenants []string
	var early []string
	for i := range 12 {
		id, _ := first.register(fmt.Sprint("T", i), fmt.Sprint(106540352242900+i), "EAAtoken")
		tenants = append(tenants, id)
		early = append(early, first.want(202, "POST", "/tenants/"+id+"/send", `{"to":"+14155550100","text":"before"}`).json(t)["id"].(string))
	}
	for i, id := range early {
		first.awaitStatus(tenants[i], id, message.Read)
	}
	first.want(200, "POST", "/whatsapp/webhook", `{"entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"nobody"}}}]}]}`)
	first.stop()

	c, err := readConfig(env.with("MASTER_KEY", newMaster).get)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := openHouse(t.Context(), c, quick, first.house.log); err == nil || !strings.Contains(err.Error(), "MASTER_KEY does not open the data") || !strings.Contains(err.Error(), "ten_") {
		t.Errorf("without the former key: %v, %v", h, err)
	}
	both := env.with("MASTER_KEY", newMaster, "MASTER_KEY_PREVIOUS", oldMaster)
	a, b := start(t, both, quick), start(t, both.with("DATA_DIR", t.TempDir(), "PORT", "0"), quick)

	done := make(chan struct{})
	var mu sync.Mutex
	sent := map[string]string{}
	var load sync.WaitGroup
	for i, r := range []*running{a, b} {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				tenant := tenants[n%len(tenants)]
				id := r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"during %d"}`, n%1000, i)).json(t)["id"].(string)
				mu.Lock()
				sent[id] = tenant
				mu.Unlock()
			}
		})
	}
	admin := "http://" + a.adminAddr
	for a.want(202, "POST", admin+"/keys/rotate", `{}`); ; {
		s := a.want(200, "GET", admin+"/keys/rotate", "").json(t)
		if s["state"] == "done" {
			if s["done"] != 12.0 || s["total"] != 12.0 || s["error"] != nil {
				t.Errorf("done as %v", s)
			}
			break
		}
		if s["state"] != "running" {
			t.Fatalf("the rotation is %v", s)
		}
	}
	mu.Lock()
	during := len(sent)
	mu.Unlock()
	eventually(t, "more requests after the rotation", func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) > during+50 })
	close(done)
	load.Wait()
	for id, tenant := range sent {
		a.awaitStatus(tenant, id, message.Read)
		if n := pretend.AcceptedByMessage()[domain.MessageID(id)]; n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	if s := b.want(200, "GET", "http://"+b.adminAddr+"/keys/rotate", "").json(t); s["state"] != "done" {
		t.Errorf("the other process says %v", s)
	}
	// Done again, nothing is left to do.
	a.want(202, "POST", admin+"/keys/rotate", `{}`)
	eventually(t, "the second rotation", func() bool {
		return a.want(200, "GET", admin+"/keys/rotate", "").json(t)["state"] == "done"
	})
	kept := a.list(admin + "/quarantine")
	if len(kept) == 0 {
		t.Fatal("nothing is in quarantine")
	}
	a.want(200, "GET", admin+"/quarantine/"+kept[0]["id"].(string), "")
	trail := a.list("/tenants/" + tenants[0] + "/audit")
	rewrapped := 0
	for _, e := range trail {
		if e["type"] == "DataKeyRewrapped" && e["actor"] == "admin" {
			rewrapped++
		}
	}
	if rewrapped != 1 {
		t.Errorf("the audit trail tells of %d rotations: %v", rewrapped, trail)
	}
	a.stop()
	b.stop()

	after := start(t, env.with("MASTER_KEY", newMaster, "DATA_DIR", t.TempDir()), quick) // read models anew, from the log
	for i, id := range early {
		got := after.awaitStatus(tenants[i], id, message.Read)
		if got["text"] != "before" {
			t.Errorf("what was sealed before reads %v", got["text"])
		}
	}
	id := after.want(202, "POST", "/tenants/"+tenants[0]+"/send", `{"to":"+14155550100","text":"after"}`).json(t)["id"].(string)
	after.awaitStatus(tenants[0], id, message.Read)
	after.stop()
	if h, err := openHouse(t.Context(), mustConfig(t, env), quick, first.house.log); err == nil || !strings.Contains(err.Error(), "ten_") {
		t.Errorf("with the former key alone: %v, %v", h, err)
	}
}

func mustConfig(t *testing.T, env settings) config {
	t.Helper()
	c, err := readConfig(env.get)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A keyset file is a master key; with the former one beside it the data moves
// over to it.
func TestKeysetFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	write := func(mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(testKeyset), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := alone(t)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "1", "mock_x")
	nobodys := `{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"999"},"messages":[{"from":"14155550100","id":"wamid.9","type":"text"}]}}]}]}`
	r.want(200, "POST", "/whatsapp/webhook", nobodys)
	r.stop()
	write(0o600)
	moved := env.with("MASTER_KEY", "", "KEYSET_FILE", path)
	r = start(t, moved.with("MASTER_KEY_PREVIOUS", oldMaster), quick)
	r.want(202, "POST", "http://"+r.adminAddr+"/keys/rotate", `{}`)
	eventually(t, "the rotation", func() bool {
		s := r.want(200, "GET", "http://"+r.adminAddr+"/keys/rotate", "").json(t)
		return s["state"] == "done" && s["resealed"] == 1.0
	})
	r.stop()
	r = start(t, moved, quick)
	kept := r.list("http://" + r.adminAddr + "/quarantine")
	if len(kept) != 1 {
		t.Fatalf("quarantine holds %v", kept)
	}
	if a := r.want(200, "GET", "http://"+r.adminAddr+"/quarantine/"+kept[0]["id"].(string), ""); !strings.Contains(string(a.body), "wamid.9") {
		t.Errorf("quarantined %s", a.body)
	}
	id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"}`).json(t)["id"].(string)
	r.awaitStatus(tenant, id, message.Read)

	for name, c := range map[string]struct {
		env  settings
		mode os.FileMode
		want string
	}{
		"readable by others": {settings{"KEYSET_FILE": path}, 0o644, "KEYSET_FILE can be read by others"},
		"missing":            {settings{"KEYSET_FILE": path + "x"}, 0o600, "KEYSET_FILE cannot be read"},
		"beside MASTER_KEY":  {settings{"KEYSET_FILE": path, "MASTER_KEY": oldMaster}, 0o600, "KEYSET_FILE and MASTER_KEY are both set"},
		"bad former key":     {settings{"KEYSET_FILE": path, "MASTER_KEY_PREVIOUS": "secretsecret"}, 0o600, "MASTER_KEY_PREVIOUS must be 32 characters"},
	} {
		write(c.mode)
		_, err := readConfig(c.env.with("DATA_DIR", t.TempDir()).get)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(0o600) // whichever case came last
	if err := os.WriteFile(path, []byte(strings.Replace(testKeyset, "ENABLED", "ASLEEP", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(moved.get); err == nil || !strings.Contains(err.Error(), "KEYSET_FILE is not a Tink keyset") {
		t.Errorf("no keyset: %v", err)
	}
}

// testKeyset is a Tink keyset with one AES256-GCM key, made for this test.
var testKeyset = func() string {
	key := map[string]any{"primaryKeyId": 42, "key": []any{map[string]any{
		"keyData": map[string]any{"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "keyMaterialType": "SYMMETRIC",
			"value": "GiAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw=="}, // field 3, 32 bytes: 0 to 31
		"status": "ENABLED", "keyId": 42, "outputPrefixType": "TINK",
	}}}
	b, err := json.Marshal(key)
	if err != nil {
		panic(err)
	}
	return string(b)
}()

// A rotation tries again what may pass, and says meanwhile what it waits for.
func TestRotationPersists(t *testing.T) {
	t.Parallel()
	r := newRotation(nil, nil, domain.SystemClock{}, slog.New(slog.DiscardHandler))
	tries, said := 0, ""
	err := r.persist(t.Context(), func() error {
		said += r.trouble
		if tries++; tries < 3 {
			return domain.Errorf(domain.Unavailable, errors.New("no leader"), "not now")
		}
		return nil
	})
	if err != nil || tries != 3 || r.trouble != "" {
		t.Errorf("%d tries, %v, %q", tries, err, r.trouble)
	}
	bug := domain.Errorf(domain.Bug, nil, "never")
	if err := r.persist(t.Context(), func() error { tries++; return bug }); !errors.Is(err, bug) || tries != 4 {
		t.Errorf("what never passes was tried %d times, %v", tries-3, err)
	}
}
