package cloudapitest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// TestMain holds every test to the promise that Close stops every goroutine.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	token  = "EAAG-pretend"
	secret = "b6a1f0c2d3e4958677a8b9cadbecfd0e"
	number = domain.NumberID("106540352242922")
)

// app is the webhook endpoint of a test: it keeps every body that it took.
type app struct {
	url string

	mu     sync.Mutex
	bodies [][]byte
	posts  int
	refuse func(post int) bool              // answers 503 to these; nil = takes all
	heard  func(post int, body []byte) bool // the same, of those it takes; nil = takes all
	took   chan struct{}                    // one for each body taken
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{took: make(chan struct{}, 10_000)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !cloudapi.Verify(body, r.Header.Get(cloudapi.SignatureHeader), secret) {
			t.Errorf("the webhook is not signed: %v", err)
		}
		a.mu.Lock()
		a.posts++
		refused := a.refuse != nil && a.refuse(a.posts) || a.heard != nil && !a.heard(a.posts, body)
		if !refused {
			a.bodies = append(a.bodies, body)
		}
		a.mu.Unlock()
		if refused {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
		a.took <- struct{}{}
	}))
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// items returns what the bodies taken so far say, in order.
func (a *app) items(t *testing.T) []cloudapi.Item {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var items []cloudapi.Item
	for _, body := range a.bodies {
		d, err := cloudapi.ParseWebhook(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Changes {
			if c.Number != number || c.Field != "messages" {
				t.Errorf("change of %s, field %q", c.Number, c.Field)
			}
			items = append(items, c.Items...)
		}
	}
	return items
}

// statuses returns the status words of a message, in order of arrival.
func (a *app) statuses(t *testing.T, m domain.MessageID) []string {
	t.Helper()
	var words []string
	for _, i := range a.items(t) {
		if f, ok := i.Fact.(*message.StatusReceived); ok && f.Message == m {
			words = append(words, f.Status)
		}
	}
	return words
}

// start runs a server until the test ends; a nil app gets no webhooks.
func start(t *testing.T, a *app, change func(*cloudapitest.Config)) *cloudapitest.Server {
	t.Helper()
	cfg := cloudapitest.Config{
		Authorize: cloudapitest.Tokens(map[domain.NumberID]string{number: token}),
		AppSecret: secret, Seed: 7,
	}
	if a != nil {
		cfg.WebhookURL = a.url
	}
	if change != nil {
		change(&cfg)
	}
	s, err := cloudapitest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func client(t *testing.T, s *cloudapitest.Server) *cloudapi.Client {
	t.Helper()
	c, err := cloudapi.New(cloudapi.Config{BaseURL: s.URL(), Version: "v25.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func call(m domain.MessageID) cloudapi.Call {
	return cloudapi.Call{
		Number: number, Token: token, To: "+16505551234", Tenant: "ten_1", Message: m, Attempt: 1,
		Content: json.RawMessage(`{"type":"text","text":{"body":"hello"}}`),
	}
}

// settle waits until every webhook was told.
func settle(t *testing.T, s *cloudapitest.Server) {
	t.Helper()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// post sends a body by hand and returns status, headers and answer.
func post(t *testing.T, url, bearer, body string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", bearer)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (int, http.Header, []byte) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, b
}

// clock stands still but for its sleepers, who pass the time they sleep.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return nil
}
