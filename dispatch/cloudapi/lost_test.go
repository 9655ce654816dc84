package cloudapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
)

// expiring is a context whose deadline passes when the test says so.
type expiring struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func newExpiring(t *testing.T) *expiring {
	e := &expiring{Context: t.Context(), done: make(chan struct{})}
	t.Cleanup(e.expire)
	return e
}

func (e *expiring) expire()               { e.once.Do(func() { close(e.done) }) }
func (e *expiring) Done() <-chan struct{} { return e.done }
func (e *expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Before the request was written nothing can have been sent: retry.
func TestNotWrittenIsRefused(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	tls := httptest.NewTLSServer(answer(200, `{"messages":[{"id":"wamid.1"}]}`))
	t.Cleanup(tls.Close)
	noName := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	}}}
	for name, cfg := range map[string]cloudapi.Config{
		"connection refused":   {BaseURL: "http://" + gone.Addr().String()},
		"untrusted server":     {BaseURL: tls.URL},
		"name does not exist":  {BaseURL: "http://graph.invalid", HTTP: noName},
		"plain server, by TLS": {BaseURL: "https://" + plainServer(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Version = "v25.0"
			o := client(t, cfg).Send(t.Context(), aCall())
			if o.Kind != cloudapi.Refused || !o.Retry || o.Class != cloudapi.Retry || o.Code != 0 || o.Wait <= 0 || o.Raw != nil {
				t.Errorf("got %v", o)
			}
		})
	}
	t.Run("context already over", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if o := serve(t, answer(200, "")).Send(ctx, aCall()); o.Kind != cloudapi.Refused || !o.Retry {
			t.Errorf("got %v", o)
		}
	})
}

// plainServer answers any greeting with words that are no TLS.
func plainServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(answer(200, ""))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// raw serves one connection by hand: it reads the request and then does what
// the test says.
func raw(t *testing.T, then func(net.Conn)) *cloudapi.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		then(conn)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return client(t, cloudapi.Config{BaseURL: "http://" + l.Addr().String(), Version: "v25.0"})
}

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

// Once the request was written, a lost answer says nothing.
func TestLostAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
	tests := map[string]struct {
		then func(net.Conn)
		want cloudapi.Kind
	}{
		"closed without an answer": {func(net.Conn) {}, cloudapi.Unknown},
		"reset without an answer":  {reset, cloudapi.Unknown},
		"reset in the body": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+`{"messages":[{"id":"wa`)
			reset(c)
		}, cloudapi.Unknown},
		"reset in the body of a 400": {func(c net.Conn) {
			_, _ = io.WriteString(c, strings.Replace(head, "200 OK", "400 Bad Request", 1)+`{"error":{"code":1310`)
			reset(c)
		}, cloudapi.Unknown},
		"closed after a whole answer, before its announced end": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+`{"messages":[{"id":"wamid.1"}]}`)
		}, cloudapi.Accepted},
		"no HTTP": {func(c net.Conn) { _, _ = io.WriteString(c, "hello\r\n\r\n") }, cloudapi.Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := raw(t, test.then).Send(t.Context(), aCall())
			if o.Kind != test.want || (o.Kind == cloudapi.Unknown && o.Detail != "connection lost") {
				t.Errorf("got %v", o)
			}
		})
	}
}

func TestTimeoutIsUnknown(t *testing.T) {
	t.Parallel()
	for name, drip := range map[string]bool{"no answer": false, "slow drip": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := newExpiring(t)
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if drip {
					_, _ = io.WriteString(w, `{"messages":`)
					_ = http.NewResponseController(w).Flush()
				}
				ctx.expire()
				<-r.Context().Done() // the client hangs up
			})
			if o := c.Send(ctx, aCall()); o.Kind != cloudapi.Unknown || o.Detail != "timeout" {
				t.Errorf("got %v", o)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		if o := c.Send(ctx, aCall()); o.Kind != cloudapi.Unknown || o.Detail != "cancelled" {
			t.Errorf("got %v", o)
		}
	})
}

// The same holds over HTTP/2, where connections are counted differently.
func TestLostAnswerOverHTTP2(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("spoke %s", r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		calls.Add(1)
		panic(http.ErrAbortHandler)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := client(t, cloudapi.Config{BaseURL: s.URL, Version: "v25.0", HTTP: s.Client()})
	for range 2 { // a fresh connection and a used one
		if o := c.Send(t.Context(), aCall()); o.Kind != cloudapi.Unknown {
			t.Errorf("got %v", o)
		}
	}
	if calls.Load() != 2 {
		t.Errorf("two calls reached the server %d times", calls.Load())
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that does not say whether it wrote proves nothing.
func TestForeignTransportIsNotTrusted(t *testing.T) {
	t.Parallel()
	broken := tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") })
	c := client(t, cloudapi.Config{BaseURL: "http://x", Version: "v25.0", HTTP: &http.Client{Transport: broken}})
	if o := c.Send(t.Context(), aCall()); o.Kind != cloudapi.Unknown || o.Detail != "connection lost" {
		t.Errorf("got %v", o)
	}
}
