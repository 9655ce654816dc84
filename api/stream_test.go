package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// listener is one client of an event stream.
type listener struct {
	*http.Response
	lines  *bufio.Scanner
	leave  context.CancelFunc
	server subscription
}

// listen opens the stream of tenant A and reads its greeting.
func (w *world) listen(t *testing.T) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	resp := w.start(t, ask{method: "GET", path: "/tenants/$A/events", key: w.a.APIKey, context: ctx})
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("status %d, content type %q", resp.StatusCode, got)
	}
	l := &listener{resp, bufio.NewScanner(resp.Body), cancel, within(t, w.house.subscribed, "a subscription")}
	if l.server.tenant != w.a.Tenant.ID {
		t.Errorf("subscribed for %s", l.server.tenant)
	}
	l.expect(t, "retry: 2000", ": connected", "")
	return l
}

// expect reads exactly these lines.
func (l *listener) expect(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !l.lines.Scan() {
			t.Fatalf("the stream ended (%v) before %q", l.lines.Err(), want)
		}
		if l.lines.Text() != want {
			t.Fatalf("line %q, want %q", l.lines.Text(), want)
		}
	}
}

func (l *listener) expectEnd(t *testing.T) {
	t.Helper()
	if l.lines.Scan() {
		t.Errorf("after the end: %q", l.lines.Text())
	}
	if err := l.lines.Err(); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
}

// An event arrives as it happens, each field on one line.
func TestStreamTellsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.listen(t)
	l.server.feed <- Live{ID: "evt_1", Type: "message.status", Data: []byte(`{"a":"x y"}`)}
	l.expect(t, "id: evt_1", "event: message.status", `data: {"a":"x y"}`, "")
	l.server.feed <- Live{ID: "evt\n_2", Type: "in\rbound", Data: []byte("{\n \"a\": 1\r\n}")}
	l.expect(t, "id: evt_2", "event: inbound", `data: {"a":1}`, "")
}

// A quiet stream is kept alive, and lives longer than any answer may take to
// be written or any request to arrive.
func TestStreamOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	w := newWorld(t, func(c *Config) {
		c.Heartbeat, c.WriteTimeout, c.ReadTimeout, c.IdleTimeout = timeout/4, timeout, timeout, timeout
	})
	l := w.listen(t)
	for range 20 { // five times the timeout
		l.expect(t, ": heartbeat", "")
	}
	l.server.feed <- Live{Type: "x", Data: []byte("1")}
	for l.lines.Scan() && l.lines.Text() != "event: x" {
	}
	l.expect(t, "data: 1")
}

// A heartbeat slower than the write timeout is no reason to lose a stream.
func TestStreamSurvivesSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Heartbeat, c.WriteTimeout = 200*time.Millisecond, 20*time.Millisecond })
	l := w.listen(t)
	l.expect(t, ": heartbeat", "", ": heartbeat", "")
}

// A client that leaves is noticed at once, not at the next heartbeat.
func TestStreamEndsWithItsClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.listen(t)
	l.leave()
	within(t, l.server.ctx.Done(), "the end of the subscription")
}

// A listener the feed cut off is told to read what it missed.
func TestStreamResetsASlowListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.listen(t)
	close(l.server.feed)
	l.expect(t, "event: reset", `data: {"reason":"events were not read fast enough; read the lists and subscribe again"}`, "")
	l.expectEnd(t)
	within(t, l.server.ctx.Done(), "the end of the subscription")
}

// A client that does not read holds its stream for one write timeout.
func TestStreamDropsAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", w.public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /tenants/%s/events HTTP/1.1\r\nHost: x\r\n\r\n", w.a.Tenant.ID); err != nil {
		t.Fatal(err)
	}
	s := within(t, w.house.subscribed, "a subscription")
	big := Live{Type: "x", Data: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}
	limit := time.After(20 * time.Second)
	for {
		select {
		case s.feed <- big:
		case <-s.ctx.Done():
			return
		case <-limit:
			t.Fatal("the stream is still open")
		}
	}
}

// Shutdown does not wait for streams; it ends them cleanly.
func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.listen(t)
	down := make(chan error, 1)
	go func() { down <- w.server.Shutdown(t.Context()) }()
	l.expectEnd(t)
	if err := within(t, down, "shutdown"); err != nil {
		t.Error(err)
	}
	within(t, l.server.ctx.Done(), "the end of the subscription")
}

// A tenant has so many streams and no more; one that ends makes room.
func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first *listener
	for range maxStreamsPerTenant {
		first = w.listen(t)
	}
	full := ask{method: "GET", path: "/tenants/$A/events"}
	r := w.do(t, full)
	checkProblem(t, r, 429, domain.Limited)
	if r.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	other := w.start(t, ask{method: "GET", path: "/tenants/$B/events"})
	defer other.Body.Close()
	if other.StatusCode != 200 {
		t.Errorf("another tenant: %d", other.StatusCode)
	}
	within(t, w.house.subscribed, "the other tenant's subscription")

	close(first.server.feed)
	if _, err := io.Copy(io.Discard, first.Body); err != nil {
		t.Error(err)
	}
	w.listen(t)
}

// A tenant has as many places as it may, and gets back each it gave back.
func TestPlaces(t *testing.T) {
	t.Parallel()
	s := newPlaces(maxStreamsPerTenant)
	var leaves []func()
	for range maxStreamsPerTenant {
		leave, ok := s.enter("a")
		if !ok {
			t.Fatal("refused below the limit")
		}
		leaves = append(leaves, leave)
	}
	if _, ok := s.enter("a"); ok {
		t.Error("let in above the limit")
	}
	for _, leave := range leaves {
		leave()
	}
	if len(s.taken) != 0 {
		t.Errorf("left behind: %v", s.taken)
	}
}
