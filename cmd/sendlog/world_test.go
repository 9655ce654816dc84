package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch"
	"github.com/sendlog/sendlog/streams"
)

// settings is an environment for readConfig.
type settings map[string]string

func (s settings) get(name string) string { return s[name] }

// with returns a copy with some values changed.
func (s settings) with(pairs ...string) settings {
	out := settings{}
	for k, v := range s {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// alone is the environment of an embedded house in a directory of the test's
// own, on ports the system chooses.
func alone(t testing.TB) settings {
	return settings{
		"DATA_DIR": t.TempDir(), "PORT": "0", "ADMIN_ADDR": "127.0.0.1:0",
		"MASTER_KEY": "0123456789abcdef0123456789abcdef", "VERIFY_TOKEN": "verify me", "DURABILITY": string(streams.Interval),
	}
}

// quick is a policy whose waits a test can sit through.
var quick = dispatch.Policy{FirstWait: 5 * time.Millisecond, MostWait: 20 * time.Millisecond, UnknownWait: 2 * time.Second}

// running is a house under test and an HTTP client for it.
type running struct {
	*house
	t    testing.TB
	log  *lockedBuffer
	url  string
	key  string // shown as credential, if any
	http *http.Client
	once sync.Once

	brought string // part of an error that the test brings about
}

// start opens a house and closes it with the test.
func start(t testing.TB, env settings, policy dispatch.Policy) *running {
	t.Helper()
	c, err := readConfig(env.get)
	if err != nil {
		t.Fatal(err)
	}
	return startConfig(t, c, policy)
}

func startConfig(t testing.TB, c config, policy dispatch.Policy) *running {
	t.Helper()
	log := &lockedBuffer{}
	h, err := openHouse(t.Context(), c, policy, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{house: h, t: t, log: log, url: "http://" + h.publicAddr, key: c.AdminKey,
		http: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	t.Cleanup(r.stop)
	return r
}

// stop closes the house; its log must hold no error but the one that the test
// brings about.
func (r *running) stop() {
	r.once.Do(func() {
		r.http.CloseIdleConnections()
		if err := r.close(); err != nil {
			r.t.Errorf("close: %v", err)
		}
		for line := range strings.SplitSeq(r.log.String(), "\n") {
			if strings.Contains(line, `"level":"ERROR"`) && (r.brought == "" || !strings.Contains(line, r.brought)) {
				r.t.Errorf("logged: %s", line)
			}
		}
	})
}

// lockedBuffer keeps what is logged.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return out
}

// do sends a request; a path without a host goes to the public listener.
func (r *running) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = r.url + path
	}
	a, err := request(r.t.Context(), r.http, method, path, body, r.key, headers...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func request(ctx context.Context, c *http.Client, method, url, body, key string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// want sends a request and fails unless it answers with a status.
func (r *running) want(status int, method, path, body string, headers ...string) answer {
	r.t.Helper()
	a := r.do(method, path, body, headers...)
	if a.status != status {
		r.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// register registers a tenant and returns its id and API key.
func (r *running) register(name, number, token string) (id, key string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"phoneNumberId":%q,"accessToken":%q}`, name, number, token)
	a := r.want(201, "POST", "/tenants/register", body).json(r.t)
	return a["id"].(string), a["apiKey"].(string)
}

// awaitStatus returns when a message has a status. It reads with the position
// of each answer it gets, so it waits for facts and polls only between them.
func (r *running) awaitStatus(tenant, id, status string) map[string]any {
	r.t.Helper()
	var last map[string]any
	eventually(r.t, "status "+status+" of "+id, func() bool {
		a := r.do("GET", "/tenants/"+tenant+"/messages/"+id, "")
		if a.status != 200 {
			return false
		}
		last = a.json(r.t)
		return last["status"] == status
	})
	return last
}

// settle returns when the read models hold all that is in the log.
func (r *running) settle() {
	r.t.Helper()
	tail, err := r.broker.Reader().Tail(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.library.WaitFor(r.t.Context(), tail); err != nil {
		r.t.Fatal(err)
	}
}

// eventually polls a fact that has no signal of its own.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// list reads all pages of a list.
func (r *running) list(path string) []map[string]any {
	r.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	var out []map[string]any
	for cursor := ""; ; {
		a := r.want(200, "GET", path+cursor, "")
		var page struct {
			Data []map[string]any `json:"data"`
			Next *string          `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, page.Data...)
		if page.Next == nil {
			return out
		}
		cursor = sep + "cursor=" + *page.Next
	}
}

// fixtures returns the webhook bodies kept with the provider's package, by
// file name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../dispatch/cloudapi/testdata/webhooks/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no webhook fixtures: %v", err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(p)] = b
	}
	return out
}
