package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// example makes a request that fits a route.
func example(rt route, admin bool, tenantID string) ask {
	a := ask{admin: admin, method: rt.method, path: strings.NewReplacer(tenantParam, tenantID,
		":messageId", "msg_0", ":customerId", "cus_1", ":payloadId", "17", ":rebuildId", "reb_1", ":letterId", "msg_9", ":redriveId", "redrive_1", ":numberId", "111111111111111",
		":keyId", "nobodyhs", ":version<regex(^v[0-9]+\\.[0-9]+$)>", "v25.0").Replace(rt.path)}
	if rt.method == http.MethodPost || rt.method == http.MethodPut {
		a.body = "{}"
	}
	if strings.HasSuffix(rt.path, "/events") {
		a.method = http.MethodHead // a stream would not end
	}
	return a
}

// Who may do what, for every route of both listeners and every credential.
// What counts here is whether a request gets past the guard: 401, 403 and the
// 404 of the tenant say no, anything else says yes.
func TestAccess(t *testing.T) {
	t.Parallel()
	guarded, open := newWorld(t, withAuth), newWorld(t)
	stranger, _, _ := tenant.NewAPIKey()
	for _, admin := range []bool{false, true} {
		for _, rt := range guarded.server.routes(admin) {
			if rt.path == webhookPath {
				continue // TestWebhook
			}
			needAdmin := rt.access == ofAdmin || admin && rt.access != probe
			for _, c := range []struct {
				name    string
				w       *world
				key     string
				scheme  string
				allowed bool
				refusal int
			}{
				{"nobody", guarded, "", "", rt.access == probe, 401},
				{"a stranger", guarded, stranger, "Bearer", rt.access == probe, 401},
				{"garbage", guarded, "sl_live_x", "Bearer", rt.access == probe, 401},
				{"another scheme", guarded, adminKey, "Basic", rt.access == probe, 401},
				{"the tenant", guarded, guarded.a.APIKey, "Bearer", rt.access == probe || !needAdmin, 403},
				{"the operator", guarded, adminKey, "bearer", true, 0},
				{"nobody, open", open, "", "", true, 0},
				{"a stranger, open", open, stranger, "Bearer", rt.access == probe, 401},
				{"an empty key, open", open, "", "Bearer", rt.access == probe, 401},
				{"an admin key, open", open, adminKey, "Bearer", rt.access == probe, 401},
				{"the tenant, open", open, open.a.APIKey, "Bearer", rt.access == probe || !needAdmin, 403},
			} {
				a := example(rt, admin, "$A")
				if c.scheme != "" {
					a.header = []string{"Authorization", c.scheme + " " + c.key}
				}
				r := c.w.do(t, a)
				got := r.StatusCode != 401 && r.StatusCode != 403
				if got != c.allowed || !got && r.StatusCode != c.refusal {
					t.Errorf("%s %s (admin listener %t) as %s: %d", rt.method, rt.path, admin, c.name, r.StatusCode)
				}
				if r.StatusCode == 401 && r.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s as %s: 401 without WWW-Authenticate", rt.method, rt.path, c.name)
				}
				if r.StatusCode == 401 && strings.Contains(r.body, `\u00`) {
					t.Errorf("%s %s as %s: not for people to read: %s", rt.method, rt.path, c.name, r.body)
				}
			}
		}
	}
	twice := guarded.do(t, ask{method: "GET", path: "/tenants/$A", header: []string{"Authorization", "Bearer " + adminKey, "Authorization", "Bearer x"}})
	checkProblem(t, twice, 401, domain.Denied)
}

// With a key of A, every route of B answers byte for byte what a tenant that
// does not exist answers, except for the request id. The routes come from the
// table, so a new one cannot be forgotten.
func TestForeignTenantIsUnknown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){"guarded": withAuth, "open": func(*Config) {}} {
		w := newWorld(t, change)
		tested := 0
		for _, rt := range w.server.routes(false) {
			if !strings.Contains(rt.path, tenantParam) {
				continue
			}
			tested++
			answer := func(id string) (reply, string) {
				a := example(rt, false, id)
				if rt.method == http.MethodGet {
					a.method = http.MethodGet
				}
				a.key, a.header = w.a.APIKey, []string{"X-Request-Id", "same-for-both"}
				r := w.do(t, a)
				r.Header.Del("Date")
				var lines strings.Builder
				if err := r.Header.Write(&lines); err != nil {
					t.Fatal(err)
				}
				return r, lines.String() + r.body
			}
			r, foreign := answer("$B")
			checkProblem(t, r, 404, domain.Unknown)
			for _, id := range []string{"ten_aaaaaaaaaaaaaaaaaaaaaaaaaa", "x"} {
				if _, unknown := answer(id); foreign != unknown {
					t.Errorf("%s: %s %s: foreign\n%s\nunknown\n%s", name, rt.method, rt.path, foreign, unknown)
				}
			}
		}
		if tested < 21 {
			t.Errorf("%s: only %d routes tested", name, tested)
		}
	}
}

// A webhook needs no credential on the public listener, but a signature.
func TestWebhook(t *testing.T) {
	t.Parallel()
	const question = "/whatsapp/webhook?hub.mode=subscribe&hub.challenge=1&hub.verify_token="
	post := ask{method: "POST", path: "/whatsapp/webhook", body: `{"entry":[{"text":"` + canaryText + `"}]}`,
		header: []string{"X-Hub-Signature-256", "sha256=00"}}
	for _, c := range []struct {
		name   string
		ask    ask
		change func(*Config, *house)
		status int
		kind   domain.ErrKind
	}{
		{"signed", post, nil, 200, ""},
		{"not signed", post, func(_ *Config, h *house) { h.unsigned = true }, 401, domain.Denied},
		{"log away", post, func(_ *Config, h *house) {
			h.inboxErr = domain.Errorf(domain.Unavailable, nil, "the log does not answer; send it again")
		}, 503, domain.Unavailable},
		{"not JSON", ask{method: "POST", path: "/whatsapp/webhook", body: `{"entry"`}, nil, 400, domain.Malformed},
		{"empty", ask{method: "POST", path: "/whatsapp/webhook"}, nil, 400, domain.Malformed},
		{"compressed", ask{method: "POST", path: "/whatsapp/webhook", body: "x", header: []string{"Content-Encoding", "gzip"}}, nil, 415, badMediaType},
		{"3 MB", ask{method: "POST", path: "/whatsapp/webhook", body: `"` + strings.Repeat("x", 3<<20) + `"`}, nil, 200, ""},
		{"over the limit", ask{method: "POST", path: "/whatsapp/webhook", body: `"` + strings.Repeat("x", domain.MaxWebhookBody) + `"`}, nil, 413, domain.TooLarge},
		{"on the admin listener", ask{admin: true, method: "POST", path: "/whatsapp/webhook", body: "{}"}, nil, 401, domain.Denied},
		{"subscribed", ask{method: "GET", path: question + canaryVerify}, nil, 200, ""},
		{"wrong token", ask{method: "GET", path: question + "x"}, nil, 403, domain.Forbidden},
		{"no token", ask{method: "GET", path: "/whatsapp/webhook"}, nil, 403, domain.Forbidden},
		{"wrong mode", ask{method: "GET", path: "/whatsapp/webhook?hub.mode=x&hub.verify_token=" + canaryVerify}, nil, 403, domain.Forbidden},
		{"long challenge", ask{method: "GET", path: question + canaryVerify + "&hub.mode=subscribe&hub.challenge=" + strings.Repeat("x", 9)}, nil, 200, ""},
		{"too long challenge", ask{method: "GET", path: "/whatsapp/webhook?hub.mode=subscribe&hub.verify_token=" + canaryVerify +
			"&hub.challenge=" + strings.Repeat("x", maxChallenge+1)}, nil, 413, domain.TooLarge},
		{"none configured", ask{method: "GET", path: question}, func(c *Config, _ *house) { c.VerifyToken = "" }, 403, domain.Forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withAuth, func(cfg *Config) {
				if c.change != nil {
					c.change(cfg, cfg.Ports.Inbox.(*house))
				}
			})
			r := w.do(t, c.ask)
			if c.status == 200 {
				if r.StatusCode != 200 {
					t.Errorf("status %d, body %s", r.StatusCode, r.body)
				}
				return
			}
			checkProblem(t, r, c.status, c.kind)
			if c.status == 503 && r.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if c.name == "none configured" && !strings.Contains(w.house.logs.String(), "VERIFY_TOKEN is not set") {
				t.Error("nothing in the log says why")
			}
		})
	}
}
