package cloudapitest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// delivery is one webhook POST that is owed to the app.
type delivery struct {
	body []byte
	due  time.Time
	owed int           // its id in the backlog; 0 = not written there yet
	done chan struct{} // closed when it was answered 200, or given up
}

func newDelivery(body []byte, due time.Time) *delivery {
	return &delivery{body: body, due: due, done: make(chan struct{})}
}

// hooks delivers webhooks: per number in order of their due time, one at a
// time, each until it is answered 200. A number has a goroutine only while
// something waits for it.
type hooks struct {
	cfg     Config
	client  *http.Client
	posts   chan struct{} // a place for each POST in flight
	backlog *backlog      // nil without Config.Backlog

	mu      sync.Mutex
	ctx     context.Context // nil until start, ended by Close
	closed  bool
	lanes   map[domain.NumberID]*lane
	queued  int // waiting or in flight
	givenUp int
	empty   chan struct{} // closed while queued is 0

	running sync.WaitGroup
}

// lane is what waits for one number, by due time.
type lane struct {
	waiting []*delivery
	wake    context.CancelFunc // ends the pause before the first
}

func newHooks(cfg Config) *hooks {
	h := &hooks{
		cfg:   cfg,
		posts: make(chan struct{}, maxPosts),
		lanes: map[domain.NumberID]*lane{},
		empty: make(chan struct{}),
		client: &http.Client{
			// No proxy of the environment: the app under test is close by.
			Transport: &http.Transport{MaxIdleConnsPerHost: maxPosts, DisableCompression: true},
			// Only 200 counts, so a redirect is a failure (section 4.3).
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	close(h.empty)
	return h
}

func (h *hooks) start(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx = ctx
}

// wait returns when every goroutine has ended, which follows the end of the
// context.
func (h *hooks) wait() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.running.Wait()
	h.client.CloseIdleConnections()
	h.logBacklog(h.backlog.close())
}

// put queues deliveries of a number, all or none, and calls before ahead of
// the first of them. It reports false, and did nothing, when they do not fit
// or the server is not running.
func (h *hooks) put(n domain.NumberID, list []*delivery, before func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.closed || h.queued+len(list) > maxQueued {
		return false
	}
	before()
	if len(list) == 0 {
		return true
	}
	for _, d := range list {
		h.remember(n, d)
	}
	if h.queued == 0 {
		h.empty = make(chan struct{})
	}
	h.queued += len(list)
	l, running := h.lanes[n]
	if !running {
		l = &lane{wake: func() {}}
		h.lanes[n] = l
	}
	for _, d := range list {
		// After all with the same time: what was queued first goes first.
		at, _ := slices.BinarySearchFunc(l.waiting, d, func(e, d *delivery) int {
			if e.due.After(d.due) {
				return 1
			}
			return -1
		})
		l.waiting = slices.Insert(l.waiting, at, d)
	}
	l.wake()
	if !running {
		h.running.Go(func() { h.run(n, l) })
	}
	return true
}

// remember writes a delivery to the backlog unless it came from there.
func (h *hooks) remember(n domain.NumberID, d *delivery) {
	if d.owed != 0 {
		return
	}
	var err error
	d.owed, err = h.backlog.owe(n, d.due, d.body)
	h.logBacklog(err)
}

// logBacklog says that a restart will tell too little or too much; telling
// goes on meanwhile.
func (h *hooks) logBacklog(err error) {
	if err != nil {
		h.cfg.Log.Error("pretend meta: backlog", "error", err)
	}
}

// run delivers one number's webhooks until none waits.
func (h *hooks) run(n domain.NumberID, l *lane) {
	for {
		d, ok := h.next(n, l)
		if !ok {
			return
		}
		delivered := h.deliver(h.ctx, n, d)
		if delivered || h.ctx.Err() == nil {
			h.logBacklog(h.backlog.told(d.owed))
		}
		h.mu.Lock()
		if !delivered {
			h.givenUp++
		}
		h.queued--
		if h.queued == 0 {
			close(h.empty)
		}
		h.mu.Unlock()
		close(d.done)
	}
}

// next takes the first delivery that is due, pausing until it is. It reports
// false when none waits or the server is closed.
func (h *hooks) next(n domain.NumberID, l *lane) (*delivery, bool) {
	for {
		h.mu.Lock()
		if len(l.waiting) == 0 || h.ctx.Err() != nil {
			delete(h.lanes, n)
			h.mu.Unlock()
			return nil, false
		}
		first := l.waiting[0]
		pause := first.due.Sub(h.cfg.Clock.Now())
		if pause <= 0 {
			l.waiting = slices.Delete(l.waiting, 0, 1)
			h.mu.Unlock()
			return first, true
		}
		ctx, cancel := context.WithCancel(h.ctx)
		l.wake = cancel
		h.mu.Unlock()
		_ = h.cfg.Clock.Sleep(ctx, pause) // over, or woken: look again
		cancel()
	}
}

// deliver posts until the answer is 200 and reports false when it gave up.
func (h *hooks) deliver(ctx context.Context, n domain.NumberID, d *delivery) bool {
	giveUp := h.cfg.Clock.Now().Add(h.cfg.RetryFor)
	pause := firstBackoff
	for try := 1; ; try++ {
		status := h.post(ctx, d.body)
		if status == http.StatusOK {
			return true
		}
		if ctx.Err() != nil || h.cfg.Clock.Now().Add(pause).After(giveUp) {
			h.cfg.Log.Warn("pretend meta: webhook given up", "number_id", string(n), "attempt", try, "status", status)
			return false
		}
		if try&(try-1) == 0 { // repetition thins out: 1, 2, 4, 8 …
			h.cfg.Log.Info("pretend meta: webhook not taken", "number_id", string(n), "attempt", try, "status", status)
		}
		if h.cfg.Clock.Sleep(ctx, pause) != nil {
			return false
		}
		pause = min(2*pause, lastBackoff)
	}
}

// post returns the HTTP status of one try, 0 when there was none.
func (h *hooks) post(ctx context.Context, body []byte) int {
	select {
	case h.posts <- struct{}{}:
		defer func() { <-h.posts }()
	case <-ctx.Done():
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.WebhookURL, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "facebookexternalua")
	if h.cfg.AppSecret != "" {
		mac := hmac.New(sha256.New, []byte(h.cfg.AppSecret))
		_, _ = mac.Write(body)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	res, err := h.client.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody)) // read, so that the connection is kept
	return res.StatusCode
}

func (h *hooks) settle(ctx context.Context) error {
	h.mu.Lock()
	empty := h.empty
	h.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
