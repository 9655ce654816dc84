package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// These ports are satisfied by the domain itself.
var (
	_ Directory = (*tenant.Directory)(nil)
	_ Governor  = (*tenant.Registry)(nil)
	_ Issuer    = (*tenant.Registry)(nil)
	_ Registrar = (*tenant.Registry)(nil)
	_ Sender    = (*message.Accepter)(nil)
	_ Throttle  = (*tenant.Throttle)(nil)
)

// What must never be logged. Every test sends these and no others; the keys
// of the tenants are added as they are made.
const (
	canaryPhone  = "14155550177"
	canaryText   = "canary words of a person"
	canaryToken  = "mock_canary_access_token"
	canaryVerify = "canary-verify-token"
	adminKey     = "canary-admin-key-0123456789"
)

var canaries = struct {
	sync.Mutex
	words []string
}{words: []string{canaryPhone, canaryText, canaryToken, canaryVerify, adminKey}}

// allLogs is what every server of every test has logged.
var allLogs = &syncBuffer{}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(
		// fasthttp keeps one clock for the whole process, and a sweeper per
		// server that notices the end of its server within 10 s.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	); err != nil {
		fmt.Println("goroutines left behind:", err)
		code = 1
	}
	for _, word := range canaries.words {
		if strings.Contains(allLogs.String(), word) {
			fmt.Printf("a log line holds %q\n", word)
			code = 1
		}
	}
	os.Exit(code)
}

// world is one server with a house behind it and two tenants in it.
type world struct {
	*testing.T
	house  *house
	server *Server
	public string // host:port
	admin  string
	client *http.Client
	a, b   tenant.Welcome
}

// newWorld starts a server. change may alter its configuration.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	h := newHouse()
	cfg := Config{
		Clock: h.clock, CursorKey: bytes.Repeat([]byte{7}, CursorKeySize),
		Log:   slog.New(slog.NewJSONHandler(io.MultiWriter(allLogs, &h.logs), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Meter: &h.meter, VerifyToken: canaryVerify,
		Ports: Ports{
			Audit: h, Canceller: &message.Canceller{Clock: h.clock, Log: h.accepter.Log, Proofs: nothingProven{}}, Customers: h, DeadLetters: h, Directory: h.registry.Directory, Doctor: h, Feed: h, Freshness: h, Governor: h.registry,
			Inbox: h, Issuer: h, Messages: h,
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "sendlog_up 1") }),
			Notices: h, Quarantine: h, Rebuilds: h, Redrives: h, Registrar: h, Rotation: h, Sender: h,
			Throttle: &tenant.Throttle{Clock: h.clock, Ledger: h.ledger, Shares: func() int { return h.shares }}, Verifier: h,
			Checks: []Check{
				{"log", func(context.Context) error { return nil }},
				{"store", func(context.Context) error { return h.storeErr }},
			},
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	w := &world{T: t, house: h, server: New(cfg), client: &http.Client{
		Transport: &http.Transport{DisableCompression: true},
		Timeout:   30 * time.Second,
	}}
	w.a, w.b = w.register("A", "111111111111111"), w.register("B", "222222222222222")
	w.house.fill(w.a.Tenant.ID)

	var serving sync.WaitGroup
	serve := func(d *Door) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := d.Serve(ln); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return ln.Addr().String()
	}
	w.public, w.admin = serve(w.server.Public()), serve(w.server.Admin())
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		// Background: the test's context has ended when cleanups run.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
	return w
}

// withAuth asks for credentials.
func withAuth(c *Config) { c.AdminKey = adminKey }

func (w *world) register(name, number string) tenant.Welcome {
	w.Helper()
	welcome, err := w.house.registry.Register(w.Context(), tenant.Registration{
		Name: "Tenant " + name, Number: domain.NumberID(number), WABA: "waba-" + name, AccessToken: canaryToken,
	})
	if err != nil {
		w.Fatal(err)
	}
	canaries.Lock()
	defer canaries.Unlock()
	canaries.words = append(canaries.words, welcome.APIKey)
	return welcome
}

// ask is one request.
type ask struct {
	admin   bool // of the admin listener
	method  string
	path    string // $A and $B stand for the tenants' ids
	header  []string
	body    string
	key     string // bearer credential
	noType  bool   // do not say application/json
	context context.Context
}

// reply is one answer, read completely.
type reply struct {
	*http.Response
	body string
}

func (w *world) do(t *testing.T, a ask) reply {
	t.Helper()
	resp := w.start(t, a)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read answer: %v", a.method, a.path, err)
	}
	return reply{resp, string(body)}
}

// start sends a request and returns when the header of its answer is there.
func (w *world) start(t *testing.T, a ask) *http.Response {
	t.Helper()
	host := w.public
	if a.admin {
		host = w.admin
	}
	ctx := a.context
	if ctx == nil {
		ctx = t.Context()
	}
	req, err := http.NewRequestWithContext(ctx, a.method, "http://"+host+w.expand(a.path), strings.NewReader(w.expand(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	if a.body != "" && !a.noType {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	for i := 0; i < len(a.header); i += 2 {
		req.Header.Add(a.header[i], a.header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	return resp
}

func (w *world) expand(s string) string {
	return strings.NewReplacer("$A", string(w.a.Tenant.ID), "$B", string(w.b.Tenant.ID)).Replace(s)
}

// checkCommon checks what every answer promises.
func checkCommon(t *testing.T, r reply) {
	t.Helper()
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if r.Header.Get("X-Request-Id") == "" {
		t.Error("the answer has no X-Request-Id")
	}
}

// checkProblem checks that r is a problem of a kind, with faults at exactly
// the given places.
func checkProblem(t *testing.T, r reply, status int, kind domain.ErrKind, pointers ...string) problem {
	t.Helper()
	checkCommon(t, r)
	if r.StatusCode != status {
		t.Errorf("status %d, want %d; body %s", r.StatusCode, status, r.body)
	}
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if strings.Contains(r.body, `\u00`) {
		t.Errorf("not for people to read: %s", r.body)
	}
	var p problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	if p.Type != "/problems/"+string(kind) || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v, want kind %s and status %d", p, kind, status)
	}
	if p.Instance != r.Header.Get("X-Request-Id") {
		t.Errorf("instance %q is not the request id %q", p.Instance, r.Header.Get("X-Request-Id"))
	}
	var got []string
	for _, f := range p.Errors {
		got = append(got, f.Pointer)
		if f.Detail == "" {
			t.Errorf("the fault at %q has no words", f.Pointer)
		}
	}
	if strings.Join(got, " ") != strings.Join(pointers, " ") || len(got) != len(pointers) {
		t.Errorf("faults at %q, want %q", got, pointers)
	}
	return p
}

// checkJSON compares two JSON texts by meaning.
func checkJSON(t *testing.T, got, want string) {
	t.Helper()
	if normal(t, got) != normal(t, want) {
		t.Errorf("got\n%s\nwant\n%s", normal(t, got), normal(t, want))
	}
}

func normal(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// within fails the test when ch says nothing for too long.
func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited too long for %s", what)
		panic("unreachable")
	}
}

// house is every port, as simple as can be. Its fields are set before the
// server is asked anything.
type house struct {
	registry *tenant.Registry
	accepter *message.Accepter
	journal  *memoryJournal
	clock    *steppedClock
	ledger   *memoryLedger
	shares   int // processes that share a quota
	meter    meter
	logs     syncBuffer

	messages  []message.View
	timeline  []message.Entry
	customers []customer.View
	notices   []message.NoticeView
	dead      []message.DeadLetter
	deathline []message.Entry // of all of them
	kept      []Kept
	payload   []byte
	owner     domain.TenantID // of all of the above

	inboxErr error
	storeErr error
	unsigned bool // the verifier says no
	position domain.Position
	onAccept func(ctx context.Context) error // before a send is accepted, when set
	onPage   func(Page)                      // when a list is read, when set
	onList   func()

	mu       sync.Mutex
	requests []message.Request
	bodies   [][]byte
	asked    []string // filters and ids, as received
	redrives []RedriveWish

	subscribed chan subscription
}

type subscription struct {
	ctx    context.Context
	tenant domain.TenantID
	feed   chan Live
	about  domain.MessageID // one message only; empty: all
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func newHouse() *house {
	h := &house{position: 100, shares: 1, clock: &steppedClock{now: noon}, ledger: &memoryLedger{taken: map[string]int{}}, subscribed: make(chan subscription, 2*maxStreamsPerTenant)}
	journal := &memoryJournal{directory: tenant.NewDirectory()}
	h.journal = journal
	h.registry = &tenant.Registry{Directory: journal.directory, Journal: journal, Vault: plainVault{}, Clock: fixedClock{}}
	h.accepter = &message.Accepter{Log: logtest.NewMemory(), Clock: fixedClock{}, Meter: domain.NoMeter{}}
	return h
}

// fill gives a tenant one of everything, and five messages.
func (h *house) fill(owner domain.TenantID) {
	h.owner = owner
	for i := range 5 {
		h.messages = append(h.messages, message.View{
			ID: domain.MessageID(fmt.Sprintf("msg_%d", i)), Tenant: owner, Number: "111111111111111", Direction: message.Out,
			Type: "text", Status: message.Delivered, Text: canaryText, Content: json.RawMessage(`{"type":"text"}`),
			To: "+" + canaryPhone, Wamids: []string{"wamid.1", "wamid.2"}, IdempotencyKey: "order-1", Attempts: 2,
			Reference: "invoice-7", Priority: message.Bulk, SendAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(24 * time.Hour),
			Statuses:  map[string]time.Time{"sent": noon, "delivered": noon.Add(time.Second)},
			ErrorCode: 131000, ErrorReason: "try later", ErrorDetails: "+1415 is busy", CreatedAt: noon, UpdatedAt: noon.Add(time.Second), Position: 3, LastPosition: 9,
		})
	}
	h.messages = append(h.messages, message.View{
		ID: "in_1", Tenant: owner, Number: "111111111111111", Direction: message.In, Type: "text", Status: message.Received,
		Person: message.Person{Phone: canaryPhone, Name: "Ada"}, Wamids: []string{"wamid.3"}, CreatedAt: noon, Position: 4, LastPosition: 4,
	})
	h.timeline = []message.Entry{{EventID: "evt_1", Position: 3, Type: "SendRequested", At: noon, Actor: "api"},
		{EventID: "evt_3", Position: 9, Type: "SendRefused", At: noon, Attempt: 1, Code: 131000, Reason: "try later", Details: "+1415 is busy"}}
	h.customers = []customer.View{{ID: "cus_1", Tenant: owner, WaID: canaryPhone, Phones: []string{canaryPhone}, Name: "Ada",
		LastSeenAt: noon, MessageCount: 1, CreatedAt: noon}}
	h.notices = []message.NoticeView{{ID: "evt_2", Tenant: owner, Field: "account_update", Event: "DISABLED", WABA: "waba-A",
		SaidAt: noon, At: noon, Raw: json.RawMessage(`{"x":1}`), Position: 5}}
	h.dead = []message.DeadLetter{{Message: "msg_9", Tenant: owner, Number: "111111111111111", Reason: "refused", Code: 131026,
		Detail: "not on WhatsApp", Details: "1415 has no account", Attempts: 1, InDoubt: true, At: noon, Position: 6, State: message.LetterDead, FirstAt: noon.Add(-time.Hour), Redrives: 1}}
	hour := noon.Add(-time.Hour)
	h.deathline = []message.Entry{{Type: message.TypeSendAttempted, At: hour, Attempt: 1},
		{Type: message.TypeSendRefused, At: hour.Add(time.Second), Attempt: 1, Code: 131026, Reason: "not on WhatsApp", Details: "1415 has no account", TraceID: "AbC"},
		{Type: message.TypeSendRedriven, At: hour.Add(2 * time.Second), Reason: "admin", Batch: "redrive_0"}}
	h.kept = []Kept{{ID: "17", Reason: "no_tenant", At: noon, Size: 9}}
	h.payload = []byte(`{"x": 1 }`)
}

func (h *house) Accept(ctx context.Context, r message.Request) (message.Receipt, error) {
	h.mu.Lock()
	h.requests = append(h.requests, r)
	h.mu.Unlock()
	if h.onAccept != nil {
		if err := h.onAccept(ctx); err != nil {
			return message.Receipt{}, err
		}
	}
	return h.accepter.Accept(ctx, r)
}

func (h *house) Register(ctx context.Context, r tenant.Registration) (tenant.Welcome, error) {
	welcome, err := h.registry.Register(ctx, r)
	if err == nil {
		canaries.Lock()
		canaries.words = append(canaries.words, welcome.APIKey)
		canaries.Unlock()
	}
	return welcome, err
}

func (h *house) AddNumber(ctx context.Context, a tenant.Addition) (tenant.View, error) {
	return h.registry.AddNumber(ctx, a)
}

func (h *house) ReplaceToken(ctx context.Context, t domain.TenantID, n domain.NumberID, token, actor string) (tenant.View, error) {
	return h.registry.ReplaceToken(ctx, t, n, token, actor)
}

func (h *house) IssueKey(ctx context.Context, k tenant.KeyWish) (tenant.IssuedKey, error) {
	issued, err := h.registry.IssueKey(ctx, k)
	if err == nil {
		canaries.Lock()
		canaries.words = append(canaries.words, issued.Key)
		canaries.Unlock()
	}
	return issued, err
}

func (h *house) RevokeKey(ctx context.Context, t domain.TenantID, keyID, actor string) error {
	return h.registry.RevokeKey(ctx, t, keyID, actor)
}

func (h *house) Audit(_ context.Context, t domain.TenantID, p Page) (Part[tenant.Entry], error) {
	var all []tenant.Entry
	for _, e := range h.journal.all() {
		if e.Key.Tenant != t {
			continue
		}
		entry, err := tenant.Audit(e)
		if err != nil {
			return Part[tenant.Entry]{}, err
		}
		all = append(all, entry)
	}
	return pageOf(h, "", all, p)
}

func (h *house) Examine(context.Context) []Finding {
	return []Finding{{Check: "log", Verdict: FindingOK, Means: "it is there"}, {Check: "clock", Verdict: FindingWarn, Means: "is late", Remedy: "set it"}}
}

func (h *house) Rotate(_ context.Context, actor string) error {
	h.note("rotate by " + actor)
	return nil
}

func (h *house) Rewrapping() Rewrapping {
	return Rewrapping{State: "running", KEK: "key-0123456789ab", Done: 3, Total: 7, Resealed: 2}
}

// pageOf serves any list; Next is the index to go on with.
func pageOf[T any](h *house, t domain.TenantID, items []T, p Page) (Part[T], error) {
	if h.onPage != nil {
		h.onPage(p)
	}
	if t != "" && t != h.owner {
		return Part[T]{}, nil
	}
	start := 0
	if p.After != "" {
		if _, err := fmt.Sscanf(p.After, "index %d", &start); err != nil {
			return Part[T]{}, err
		}
	}
	end := min(start+p.Limit, len(items))
	part := Part[T]{Items: items[start:end]}
	if end < len(items) {
		part.Next = fmt.Sprintf("index %d", end)
	}
	return part, nil
}

func (h *house) note(words ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, words...)
}

func (h *house) Messages(_ context.Context, t domain.TenantID, f MessageFilter, p Page) (Part[message.View], error) {
	if h.onList != nil {
		h.onList()
	}
	h.note(string(t), f.Status, f.Direction, string(f.Customer))
	var items []message.View
	for _, m := range h.messages {
		if (f.Status == "" || f.Status == m.Status) && (f.Direction == "" || f.Direction == m.Direction) {
			items = append(items, m)
		}
	}
	return pageOf(h, t, items, p)
}

func (h *house) Message(_ context.Context, t domain.TenantID, id domain.MessageID) (message.View, error) {
	h.note(string(t), string(id))
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.messages {
		if m.ID == id && m.Tenant == t {
			return m, nil
		}
	}
	return message.View{}, domain.Errorf(domain.Unknown, nil, "there is no such message")
}

// shows makes a message look so from now on.
func (h *house) shows(v message.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append([]message.View{v}, h.messages...)
}

func (h *house) Timeline(ctx context.Context, t domain.TenantID, id domain.MessageID) ([]message.Entry, error) {
	if _, err := h.Message(ctx, t, id); err != nil {
		return nil, err
	}
	return h.timeline, nil
}

func (h *house) Customers(_ context.Context, t domain.TenantID, p Page) (Part[customer.View], error) {
	return pageOf(h, t, h.customers, p)
}

func (h *house) Customer(_ context.Context, t domain.TenantID, id customer.ID) (customer.View, error) {
	for _, c := range h.customers {
		if c.ID == id && c.Tenant == t {
			return c, nil
		}
	}
	return customer.View{}, domain.Errorf(domain.Unknown, nil, "there is no such customer")
}

func (h *house) Notices(_ context.Context, t domain.TenantID, p Page) (Part[message.NoticeView], error) {
	return pageOf(h, t, h.notices, p)
}

func (h *house) DeadLetters(_ context.Context, f message.LetterFilter, p Page) (Part[message.DeadLetter], error) {
	var found []message.DeadLetter
	for _, d := range h.dead {
		if f.Accepts(d) {
			found = append(found, d)
		}
	}
	return pageOf(h, "", found, p)
}

func (h *house) DeadLetter(_ context.Context, t domain.TenantID, id domain.MessageID) (message.DeadLetter, []message.Entry, error) {
	for _, d := range h.dead {
		if d.Message == id && (t == "" || d.Tenant == t) {
			return d, h.deathline, nil
		}
	}
	return message.DeadLetter{}, nil, domain.Errorf(domain.Unknown, nil, "there is no such dead letter")
}

func (h *house) StartRedrive(_ context.Context, w RedriveWish) (Redriving, error) {
	if len(w.IDs) == 1 && w.IDs[0] == "msg_taken" {
		return Redriving{}, domain.Errorf(domain.Taken, nil, "the redrive redrive_1 is running; wait for its end, or cancel it")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.redrives = append(h.redrives, w)
	return h.Redrive("", "redrive_1")
}

func (h *house) Redrives(t domain.TenantID) []Redriving {
	one, err := h.Redrive(t, "redrive_1")
	if err != nil {
		return nil
	}
	return []Redriving{one}
}

func (h *house) Redrive(t domain.TenantID, id string) (Redriving, error) {
	if id != "redrive_1" || t != "" && t != h.owner {
		return Redriving{}, domain.Errorf(domain.Unknown, nil, "there is no such redrive")
	}
	return Redriving{ID: id, State: "running", By: "admin", Rate: 20, Matched: 3, Redriven: 1, InDoubt: 1, StartedAt: noon, ETA: 3900 * time.Millisecond,
		Skipped: []Skipped{{Reason: "it is not dead-lettered", Count: 1, Example: "msg_0"}},
		Counts:  []LetterCount{{Tenant: h.owner, Code: 131026, Count: 2}, {Count: 1}}}, nil
}

func (h *house) CancelRedrive(_ context.Context, t domain.TenantID, id string) (Redriving, error) {
	v, err := h.Redrive(t, id)
	v.State, v.ETA, v.EndedAt = "cancelled", 0, noon
	return v, err
}

func (h *house) Await(ctx context.Context, p domain.Position) error {
	if p <= h.position {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *house) Verify([]byte, string) bool { return !h.unsigned }

func (h *house) Receive(_ context.Context, body []byte) error {
	if !json.Valid(body) {
		return domain.Errorf(domain.Malformed, nil, "the body is not JSON")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, body)
	return h.inboxErr
}

func (h *house) Quarantined(_ context.Context, p Page) (Part[Kept], error) {
	return pageOf(h, "", h.kept, p)
}

func (h *house) Payload(_ context.Context, id string) ([]byte, error) {
	if id != "17" {
		return nil, domain.Errorf(domain.Unknown, nil, "there is no such payload in quarantine")
	}
	return h.payload, nil
}

func (h *house) Start(_ context.Context, model string) (string, error) {
	if model == "customers" {
		return "", domain.Errorf(domain.Taken, nil, "a rebuild of customers is running")
	}
	return "reb_1", nil
}

func (h *house) Rebuild(_ context.Context, id string) (Rebuild, error) {
	if id != "reb_1" {
		return Rebuild{}, domain.Errorf(domain.Unknown, nil, "there is no such rebuild")
	}
	return Rebuild{ID: id, Model: "all", State: "running", Done: 50, Tail: 100, Events: 40, PerSecond: 12.5, ETA: 3900 * time.Millisecond}, nil
}

func (h *house) Subscribe(ctx context.Context, t domain.TenantID) (<-chan Live, error) {
	feed := make(chan Live)
	h.subscribed <- subscription{ctx: ctx, tenant: t, feed: feed}
	return feed, nil
}

// nothingProven is a provider that has reported nothing.
type nothingProven struct{}

func (nothingProven) Find(context.Context, domain.Key, domain.Position) (message.StatusReceived, bool, error) {
	return message.StatusReceived{}, false, nil
}

// strangers is a tenant whom nobody has ever written to.
type strangers struct{}

func (strangers) Contact(context.Context, domain.TenantID, domain.NumberID, string) (message.Contact, error) {
	return message.Contact{}, nil
}

// About implements Feed, closing the channel with its context as the port
// promises.
func (h *house) About(ctx context.Context, t domain.TenantID, id domain.MessageID) (<-chan Live, error) {
	in, out := make(chan Live), make(chan Live)
	go func() {
		defer close(out)
		for {
			select {
			case l := <-in:
				select {
				case out <- l:
				case <-ctx.Done(): // nobody listens any more
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	h.subscribed <- subscription{ctx: ctx, tenant: t, feed: in, about: id}
	return out, nil
}

// memoryJournal applies what it records at once.
type memoryJournal struct {
	mu        sync.Mutex
	directory *tenant.Directory
	events    []domain.Event
}

func (j *memoryJournal) all() []domain.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]domain.Event(nil), j.events...)
}

func (j *memoryJournal) Append(_ context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if after != j.directory.Position() {
		return 0, domain.ErrConflict
	}
	e.Position = after + 1
	j.events = append(j.events, e)
	return e.Position, j.directory.Apply(e)
}

// plainVault seals nothing; nobody here reads what it made.
type plainVault struct{}

func (plainVault) KEK() string { return "key-of-test" }
func (plainVault) RotateDataKey(wrapped []byte, _ domain.TenantID) ([]byte, error) {
	return wrapped, nil
}
func (plainVault) NewDataKey(domain.TenantID) ([]byte, error) { return []byte("key"), nil }
func (plainVault) SealSecret(_ []byte, _ domain.TenantID, _ string, plain []byte) ([]byte, error) {
	return plain, nil
}
func (plainVault) OpenSecret(_ []byte, _ domain.TenantID, _ string, sealed []byte) ([]byte, error) {
	return sealed, nil
}

type fixedClock struct{}

func (fixedClock) Now() time.Time                                   { return noon }
func (fixedClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// steppedClock stands still until a test moves it.
type steppedClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *steppedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *steppedClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func (c *steppedClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memoryLedger keeps daily allowances.
type memoryLedger struct {
	mu    sync.Mutex
	taken map[string]int
	err   error
}

func (l *memoryLedger) Take(_ context.Context, t domain.TenantID, day string, want, limit int) (got, left int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := string(t) + " " + day
	got = max(0, min(want, limit-l.taken[key]))
	l.taken[key] += got
	return got, limit - l.taken[key], l.err
}

// meter remembers the labels it saw.
type meter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (m *meter) Add(c domain.Counter, n int, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[string]int{}
	}
	m.seen[string(c)+" "+strings.Join(labels, " ")] += n
}

func (m *meter) Observe(h domain.Histogram, _ float64, labels ...string) {
	m.Add(domain.Counter(h), 1, labels...)
}

func (m *meter) counts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int{}
	for k, n := range m.seen {
		out[k] = n
	}
	return out
}
