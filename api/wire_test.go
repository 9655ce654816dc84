package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// raw sends bytes as they are and returns the statuses of all answers until
// the server closes the connection.
func raw(t *testing.T, addr, bytes string) []int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	var statuses []int
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return statuses
		}
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, resp.StatusCode)
	}
}

// Two readers must not see two different requests in the same bytes: what is
// ambiguous is refused and the connection closed (reference security B.4).
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const get = "GET /livez HTTP/1.1\r\nHost: x\r\n"
	const post = "POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\n"
	const second = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, bytes string
		want        string // statuses until the connection closed
	}{
		{"plain pipeline", get + "\r\n" + second, "[200 200]"},
		{"chunked", post + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "[200]"},
		{"Content-Length and Transfer-Encoding", post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second, "[200]"},
		{"two Content-Lengths", post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} " + second, "[400]"},
		{"Content-Length with sign", post + "Content-Length: +2\r\n\r\n{}" + second, "[400]"},
		{"Content-Length negative", post + "Content-Length: -2\r\n\r\n{}" + second, "[400]"},
		{"Content-Length with words", post + "Content-Length: 2x\r\n\r\n{}" + second, "[400]"},
		{"Content-Length too large for a number", post + "Content-Length: 99999999999999999999\r\n\r\n{}" + second, "[400]"},
		{"Transfer-Encoding in HTTP/1.0", "POST /whatsapp/webhook HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"unknown Transfer-Encoding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"two Transfer-Encodings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"bare LF", "GET /livez HTTP/1.1\nHost: x\n\n" + second, "[400]"},
		{"bare LF in one line", get + "X-A: b\nX-C: d\r\n\r\n" + second, "[400]"},
		{"bare LF before the body", post + "Content-Length: 2\r\n\n{}" + second, "[400]"},
		{"bare LF in chunks", post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" + second, "[400]"},
		{"no Host", "GET /livez HTTP/1.1\r\n\r\n" + second, "[400]"},
		{"two Hosts", get + "Host: y\r\n\r\n" + second, "[400]"},
		{"NUL in a value", get + "X-A: a\x00b\r\n\r\n" + second, "[400]"},
		{"space before the colon", get + "X-A : b\r\n\r\n" + second, "[400]"},
		{"LF in a chunk extension", post + "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"negative chunk", post + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"endless chunk size", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + second, "[400]"},
		{"no request", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "[400]"},
		// fasthttp unfolds these two, so there is one reading of them here.
		{"folded header", get + "X-A: a\r\n b\r\nConnection: close\r\n\r\n", "[200]"},
		{"HTTP/9.9", "GET /livez HTTP/9.9\r\nHost: x\r\nConnection: close\r\n\r\n", "[200]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := fmt.Sprint(raw(t, w.public, c.bytes)); got != c.want {
				t.Errorf("statuses %s, want %s", got, c.want)
			}
		})
	}
}

// What is refused before it is a request is a problem too, and reaches a
// client that is still sending.
func TestRefusedUnread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: strings.Repeat("x", 6<<20)})
	checkProblem(t, big, 413, domain.TooLarge)
	head := w.do(t, ask{method: "GET", path: "/livez", header: []string{"X-Big", strings.Repeat("x", 2*maxHeader)}})
	checkProblem(t, head, 431, headTooLarge)
}

// A request that does not arrive in time is refused.
func TestSlowRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.ReadTimeout = 50 * time.Millisecond })
	got := raw(t, w.public, "POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
	if fmt.Sprint(got) != "[408]" {
		t.Errorf("statuses %v", got)
	}
}

// A small body that inflates to a large one is never inflated.
func TestGzipBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "x"} {
		for _, path := range []string{"/tenants/$A/send", "/whatsapp/webhook", "/tenants/register"} {
			r := w.do(t, ask{method: "POST", path: path, body: bomb.String(), header: []string{"Content-Encoding", encoding}})
			checkProblem(t, r, 415, badMediaType)
		}
	}
	r := w.do(t, ask{method: "POST", path: "/whatsapp/webhook", body: "{}", header: []string{"Content-Encoding", "identity"}})
	if r.StatusCode != 200 {
		t.Errorf("identity: %d", r.StatusCode)
	}
}

// What a port was given stays what it was when the same connection carries
// the next request: five requests that differ in every part, kept by
// reference (reference security 0.3).
func TestNothingAliasesTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	send := func(format string, args ...any) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, format, args...); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	var want, wantBodies, wantAsked []string
	for i, c := range "abcde" {
		id := string(w.register(string(c), fmt.Sprintf("99%d", i)).Tenant.ID)
		text, key := strings.Repeat(string(c), 40), strings.Repeat(string(c), 20)
		trace := "00-" + strings.Repeat(string(c), 32) + "-" + strings.Repeat(string(c), 16) + "-01"
		body := fmt.Sprintf(`{"to":"+%s","text":"%s"}`, canaryPhone, text)
		send("POST /tenants/%s/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: %s\r\nTraceparent: %s\r\nContent-Length: %d\r\n\r\n%s",
			id, key, trace, len(body), body)
		send("POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		send("GET /tenants/%s/messages?customer=cus_%s&status=sent HTTP/1.1\r\nHost: x\r\n\r\n", id, key)
		send("GET /tenants/%s/messages/msg_%s HTTP/1.1\r\nHost: x\r\n\r\n", id, key)
		want = append(want, id+" "+text+" "+key+" "+trace)
		wantBodies = append(wantBodies, body)
		wantAsked = append(wantAsked, id, "sent", "", "cus_"+key, id, "msg_"+key)
	}
	var got, bodies []string
	for _, r := range w.house.requests {
		got = append(got, string(r.Tenant)+" "+r.Text+" "+r.IdempotencyKey+" "+r.Trace)
	}
	for _, b := range w.house.bodies {
		bodies = append(bodies, string(b))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sends:\n%q\nwant\n%q", got, want)
	}
	if fmt.Sprint(bodies) != fmt.Sprint(wantBodies) {
		t.Errorf("webhooks:\n%q\nwant\n%q", bodies, wantBodies)
	}
	if fmt.Sprint(w.house.asked) != fmt.Sprint(wantAsked) {
		t.Errorf("reads:\n%q\nwant\n%q", w.house.asked, wantAsked)
	}
}

// A request id that is well formed is kept; any other is replaced, as is one
// that could be a phone number.
func TestRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for shown, kept := range map[string]bool{
		"0190b3e1-aaaa-7bbb": true, "short": false, canaryPhone: false, "a b c d e f g h": false, strings.Repeat("x", 65): false,
	} {
		r := w.do(t, ask{method: "GET", path: "/livez", header: []string{"X-Request-Id", shown}})
		got := r.Header.Get("X-Request-Id")
		if (got == shown) != kept || got == "" {
			t.Errorf("%q became %q", shown, got)
		}
	}
	first, second := w.do(t, ask{method: "GET", path: "/livez"}), w.do(t, ask{method: "GET", path: "/livez"})
	if first.Header.Get("X-Request-Id") == second.Header.Get("X-Request-Id") {
		t.Error("two requests have one id")
	}
}

// A panic is a 500 that tells nothing, a log line with its id, and not the
// end of the server.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, bad := range map[string]func(){
		"words": func() { panic(canaryText) },
		"index": func() { var empty []int; _ = empty[len(name(w))] },
	} {
		w.house.onList = bad
		r := w.do(t, ask{method: "GET", path: "/tenants/$A/messages"})
		p := checkProblem(t, r, 500, domain.Bug)
		if strings.Contains(r.body, "index") || strings.Contains(r.body, canaryText) {
			t.Errorf("%s: the answer tells about the panic: %s", name, r.body)
		}
		if !strings.Contains(w.house.logs.String(), p.Instance) {
			t.Errorf("%s: the log does not know the request id", name)
		}
	}
	if r := w.do(t, ask{method: "GET", path: "/livez"}); r.StatusCode != 200 {
		t.Error("the server is gone")
	}
}

func name(w *world) string { return w.T.Name() }

// Every kind of error of a port has its answer; an error without a kind is a
// 500 whose words stay inside.
func TestErrorsOfPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := errors.New("dial tcp 10.0.0.7: refused")
	for _, c := range []struct {
		err    error
		status int
		kind   domain.ErrKind
		retry  string
		logged bool
	}{
		{domain.Errorf(domain.Invalid, secret, "words"), 400, domain.Invalid, "", false},
		{domain.Errorf(domain.Forbidden, secret, "words"), 403, domain.Forbidden, "", false},
		{domain.Errorf(domain.Taken, secret, "words"), 409, domain.Taken, "", false},
		{domain.Errorf(domain.TooLarge, secret, "words"), 413, domain.TooLarge, "", false},
		{&domain.Error{Kind: domain.Limited, Message: "words", RetryAfter: 1500 * time.Millisecond}, 429, domain.Limited, "2", false},
		{domain.Errorf(domain.Limited, nil, "words"), 429, domain.Limited, "2", false},
		{fmt.Errorf("wrapped: %w", domain.Errorf(domain.Unavailable, secret, "words")), 503, domain.Unavailable, "2", true},
		{context.DeadlineExceeded, 503, domain.Unavailable, "2", true},
		{secret, 500, domain.Bug, "", true},
		{domain.Errorf("unheard_of", secret, "words"), 500, domain.Bug, "", true},
	} {
		w.house.onAccept = func(context.Context) error { return c.err }
		r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"` + canaryText + `"}`})
		p := checkProblem(t, r, c.status, c.kind)
		if r.Header.Get("Retry-After") != c.retry {
			t.Errorf("%v: Retry-After %q, want %q", c.err, r.Header.Get("Retry-After"), c.retry)
		}
		if strings.Contains(r.body, "10.0.0.7") {
			t.Errorf("%v: the cause is in the answer: %s", c.err, r.body)
		}
		if got := strings.Contains(w.house.logs.String(), p.Instance); got != c.logged {
			t.Errorf("%v: logged %t, want %t", c.err, got, c.logged)
		}
	}
	if !strings.Contains(w.house.logs.String(), "10.0.0.7") {
		t.Error("the operator does not see the cause")
	}
}

// Readiness says which part is missing, in words for everybody.
func TestNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for words, err := range map[string]error{
		"is 900 events behind": domain.Errorf(domain.Unavailable, nil, "is 900 events behind"),
		"does not answer":      errors.New("dial tcp 10.0.0.7: refused"),
	} {
		w.house.storeErr = err
		r := w.do(t, ask{method: "GET", path: "/readyz"})
		if r.StatusCode != 503 {
			t.Error(r.StatusCode)
		}
		checkJSON(t, r.body, `{"status":"unavailable","checks":{"log":"ok","store":"`+words+`"}}`)
	}
	if r := w.do(t, ask{method: "GET", path: "/livez"}); r.StatusCode != 200 {
		t.Error("a process whose store is away is not dead")
	}
}

// Shutdown answers what it was asked before it returns, and cancels what
// takes longer than it may wait.
func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	for _, patient := range []bool{true, false} {
		w := newWorld(t)
		started, release := make(chan struct{}), make(chan struct{})
		w.house.onAccept = func(ctx context.Context) error {
			close(started)
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		answers := make(chan reply, 1)
		go func() {
			answers <- w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"` + canaryText + `"}`})
		}()
		within(t, started, "the request")

		ctx, cancel := context.WithCancel(t.Context())
		down := make(chan error, 1)
		go func() { down <- w.server.Shutdown(ctx) }()
		if patient {
			close(release)
			if r := within(t, answers, "the answer"); r.StatusCode != 202 {
				t.Errorf("drained request: %d", r.StatusCode)
			}
			if err := within(t, down, "shutdown"); err != nil {
				t.Error(err)
			}
		} else {
			cancel()
			if err := within(t, down, "shutdown"); !errors.Is(err, context.Canceled) {
				t.Errorf("shutdown cut short: %v", err)
			}
			if r := within(t, answers, "the answer"); r.StatusCode != 503 {
				t.Errorf("cancelled request: %d", r.StatusCode)
			}
		}
		cancel()
		if err := w.server.Public().Serve(mustListen(t)); err != nil {
			t.Errorf("serve after shutdown: %v", err)
		}
	}
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// A configuration without its required parts is refused when it is built.
func TestNewRefusesHalfAConfiguration(t *testing.T) {
	t.Parallel()
	whole := newWorld(t).server.cfg
	for name, breakIt := range map[string]func(*Config){
		"key":  func(c *Config) { c.CursorKey = c.CursorKey[:16] },
		"port": func(c *Config) { c.Ports.Sender = nil },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("New took it")
				}
			}()
			cfg := whole
			breakIt(&cfg)
			New(cfg)
		})
	}
}
