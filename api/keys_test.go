package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// issue issues a key of tenant A and returns it with its id.
func (w *world) issue(t *testing.T, key, body string) (id, secret string) {
	t.Helper()
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/keys", body: body, key: key})
	if r.StatusCode != http.StatusCreated {
		t.Fatalf("issue %s: %d %s", body, r.StatusCode, r.body)
	}
	var out struct{ ID, APIKey string }
	if err := json.Unmarshal([]byte(r.body), &out); err != nil {
		t.Fatal(err)
	}
	return out.ID, out.APIKey
}

// A key does what its scopes say and nothing else, on every route; the answer
// names the scope that is missing.
func TestScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	for name, scope := range map[string]tenant.Scopes{
		"send": tenant.ScopeSend, "read": tenant.ScopeRead, "manage": tenant.ScopeManage, "stream": tenant.ScopeStream,
	} {
		_, key := w.issue(t, adminKey, `{"scopes":["`+name+`"]}`)
		for _, rt := range w.server.routes(false) {
			need, ofTenant := scopes[rt.access]
			if !ofTenant {
				continue
			}
			a := example(rt, false, "$A")
			a.key = key
			if rt.access != toStream {
				a.method = rt.method
			}
			r := w.do(t, a)
			switch {
			case need == scope && (r.StatusCode == 401 || r.StatusCode == 403):
				t.Errorf("%s %s with scope %s: %d", rt.method, rt.path, name, r.StatusCode)
			case need != scope && r.StatusCode != 403:
				t.Errorf("%s %s with scope %s: %d, want 403", rt.method, rt.path, name, r.StatusCode)
			case need != scope && rt.path == graphPath:
				checkGraphError(t, r, 403, 200, need.String())
			case need != scope && a.method != http.MethodHead:
				if p := checkProblem(t, r, 403, domain.Forbidden); !strings.Contains(p.Detail, need.String()) {
					t.Errorf("%s %s with scope %s: %q does not name %s", rt.method, rt.path, name, p.Detail, need)
				}
			}
		}
	}
}

// The life of a key: shown once, listed without its secret, several at once,
// revoked for good.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	id, key := w.issue(t, adminKey, `{"scopes":["read","send"],"expires_at":"2026-03-05T12:00:00+01:00"}`)
	r := w.do(t, ask{method: "GET", path: "/tenants/$A/keys", key: adminKey})
	first := w.house.registry.Directory.Keys(w.a.Tenant.ID)[0]
	checkJSON(t, r.body, `{"data":[
		{"id":"`+first.ID+`","scopes":["send","read","manage","stream"],"test":false,"created_at":"2026-03-04T12:00:00Z","expires_at":null},
		{"id":"`+id+`","scopes":["send","read"],"test":false,"created_at":"2026-03-04T12:00:00Z","expires_at":"2026-03-05T11:00:00Z"}],"next_cursor":null}`)
	read := func(key string) int {
		return w.do(t, ask{method: "GET", path: "/tenants/$A", key: key}).StatusCode
	}
	if read(key) != 200 || read(w.a.APIKey) != 200 {
		t.Error("two keys do not work side by side")
	}
	w.house.clock.step(23*time.Hour - time.Second)
	if read(key) != 200 {
		t.Error("the key ended before its time")
	}
	w.house.clock.step(time.Second)
	if read(key) != 401 || read(w.a.APIKey) != 200 {
		t.Error("the key outlived its time")
	}
	_, second := w.issue(t, w.a.APIKey, `{"scopes":["manage"]}`)
	gone := w.do(t, ask{method: "DELETE", path: "/tenants/$A/keys/" + first.ID, key: second})
	if gone.StatusCode != 204 || gone.body != "" || read(w.a.APIKey) != 401 {
		t.Errorf("revoke: %d %s; the key answers %d", gone.StatusCode, gone.body, read(w.a.APIKey))
	}
	checkProblem(t, w.do(t, ask{method: "DELETE", path: "/tenants/$A/keys/" + first.ID, key: second}), 404, domain.Unknown)
	other := w.house.registry.Directory.Keys(w.b.Tenant.ID)[0].ID
	checkProblem(t, w.do(t, ask{method: "DELETE", path: "/tenants/$A/keys/" + other, key: second}), 404, domain.Unknown)
	if r := w.do(t, ask{method: "GET", path: "/tenants/$B", key: w.b.APIKey}); r.StatusCode != 200 {
		t.Error("a tenant revoked another's key")
	}
}

// What cannot be issued says why.
func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	for body, pointers := range map[string][]string{
		`{}`:                    {"/scopes"},
		`{"scopes":[]}`:         {"/scopes"},
		`{"scopes":["admin"]}`:  {"/scopes"},
		`{"scopes":"send"}`:     {"/scopes"},
		`{"scopes":["send",1]}`: {"/scopes"},
		`{"scopes":["send"],"expires_at":"tomorrow"}`:             {"/expires_at"},
		`{"scopes":["send"],"expires_at":"2026-03-04T12:00:00Z"}`: {"/expires_at"},
		`{"scopes":["x"],"expires_at":"x"}`:                       {"/scopes", "/expires_at"},
		`{"scopes":["send"],"test":"yes"}`:                        {"/test"},
		`{"scopes":["send"],"name":"x"}`:                          {"/name"},
	} {
		r := w.do(t, ask{method: "POST", path: "/tenants/$A/keys", body: body, key: adminKey})
		checkProblem(t, r, 400, domain.Invalid, pointers...)
	}
	_, narrow := w.issue(t, adminKey, `{"scopes":["manage","read"]}`)
	_, test := w.issue(t, adminKey, `{"scopes":["manage","read"],"test":true}`)
	for _, c := range []struct{ key, body string }{{narrow, `{"scopes":["send"]}`}, {test, `{"scopes":["read"]}`}} {
		checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/keys", body: c.body, key: c.key}), 403, domain.Forbidden)
	}
	w.issue(t, test, `{"scopes":["read"],"test":true}`)
	for range tenant.MaxKeys {
		if r := w.do(t, ask{method: "POST", path: "/tenants/$A/keys", body: `{"scopes":["read"]}`, key: adminKey}); r.StatusCode != 201 {
			checkProblem(t, r, 409, domain.Taken)
			return
		}
	}
	t.Error("a tenant may have any number of keys")
}

// A test key sends from simulated numbers only, and reads and takes back only
// where there are no others.
func TestTestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	_, key := w.issue(t, adminKey, `{"scopes":["send","read","manage","stream"],"test":true}`)
	if !strings.HasPrefix(key, "sl_test_") {
		t.Errorf("the key begins with %q", key[:8])
	}
	send := func(from string) reply {
		return w.do(t, ask{method: "POST", path: "/tenants/$A/send", key: key, body: `{"to":"+` + canaryPhone + `","text":"x"` + from + `}`})
	}
	if r := send(""); r.StatusCode != 202 {
		t.Errorf("from a simulated number: %d %s", r.StatusCode, r.body)
	}
	real := ask{method: "POST", path: "/tenants/$A/numbers/111111111111111/token", key: key, body: `{"accessToken":"EAAreal"}`}
	checkProblem(t, w.do(t, real), 403, domain.Forbidden)
	if r := w.do(t, ask{method: "GET", path: "/tenants/$A/messages", key: key}); r.StatusCode != 200 {
		t.Errorf("reading of simulated numbers: %d", r.StatusCode)
	}
	add := ask{method: "POST", path: "/tenants/$A/numbers", key: adminKey, body: `{"phoneNumberId":"900","accessToken":"EAAreal"}`}
	if r := w.do(t, add); r.StatusCode != 201 {
		t.Fatal(r.StatusCode, r.body)
	}
	checkProblem(t, send(`,"from":"900"`), 403, domain.Forbidden)
	if r := send(`,"from":"111111111111111"`); r.StatusCode != 202 {
		t.Errorf("named: %d %s", r.StatusCode, r.body)
	}
	if r := send(""); r.StatusCode != 202 || w.lastRequest().Number != "111111111111111" {
		t.Errorf("the only simulated one: %d %s", r.StatusCode, r.body)
	}
	checkProblem(t, w.do(t, ask{method: "GET", path: "/tenants/$A/messages", key: key}), 403, domain.Forbidden)
	checkProblem(t, w.do(t, ask{method: "POST", path: "/tenants/$A/messages/msg_1/cancel", key: key}), 403, domain.Forbidden)
	real.key = adminKey
	if r := w.do(t, real); r.StatusCode != 200 {
		t.Fatal(r.StatusCode, r.body)
	}
	checkProblem(t, send(""), 403, domain.Forbidden)
}

// An event stream ends with the key it was opened with, revoked or expired.
func TestStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, w *world, id string){
		"revoked": func(t *testing.T, w *world, id string) {
			if r := w.do(t, ask{method: "DELETE", path: "/tenants/$A/keys/" + id, key: adminKey}); r.StatusCode != 204 {
				t.Error(r.StatusCode, r.body)
			}
		},
		"expired": func(t *testing.T, w *world, _ string) {
			w.house.clock.step(2 * time.Hour)
			w.addRealNumber(t, "$B") // news of any tenant's makes it look at the clock
		},
		"a test key beside a real number": func(t *testing.T, w *world, _ string) { w.addRealNumber(t, "$A") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withAuth)
			id, key := w.issue(t, adminKey, `{"scopes":["stream"],"test":true,"expires_at":"2026-03-04T13:00:00Z"}`)
			resp := w.start(t, ask{method: "GET", path: "/tenants/$A/events", key: key})
			defer resp.Body.Close()
			sub := within(t, w.house.subscribed, "the subscription")
			// News about somebody else changes nothing.
			other := w.house.registry.Directory.Keys(w.b.Tenant.ID)[0].ID
			if r := w.do(t, ask{method: "DELETE", path: "/tenants/$B/keys/" + other, key: adminKey}); r.StatusCode != 204 {
				t.Fatal(r.StatusCode, r.body)
			}
			select {
			case <-sub.ctx.Done():
				t.Fatal("the stream ended early")
			default:
			}
			end(t, w, id)
			within(t, sub.ctx.Done(), "the end of the stream")
		})
	}
}

func (w *world) addRealNumber(t *testing.T, tenant string) {
	t.Helper()
	r := w.do(t, ask{method: "POST", path: "/tenants/" + tenant + "/numbers", key: adminKey, body: `{"phoneNumberId":"900","accessToken":"EAAreal"}`})
	if r.StatusCode != 201 {
		t.Error(r.StatusCode, r.body)
	}
}

// The actor of a request is the id of its key.
func TestActorIsTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	id, key := w.issue(t, adminKey, `{"scopes":["send"]}`)
	for key, want := range map[string]string{key: id, adminKey: "admin"} {
		if r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", key: key, body: `{"to":"+` + canaryPhone + `","text":"x"}`}); r.StatusCode != 202 {
			t.Fatal(r.StatusCode, r.body)
		}
		if got := w.lastRequest().Actor; got != want {
			t.Errorf("actor %q, want %q", got, want)
		}
	}
}

func (w *world) lastRequest() (out struct {
	Number domain.NumberID
	Actor  string
}) {
	w.house.mu.Lock()
	defer w.house.mu.Unlock()
	last := w.house.requests[len(w.house.requests)-1]
	out.Number, out.Actor = last.Number, last.Actor
	return out
}
