package cloudapitest

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// delivery is one update that is owed to the app.
type delivery struct {
	number domain.NumberID
	status bool
	value  []byte // a status, or contacts and messages: a JSON object
	due    time.Time
	order  uint64        // of queueing: first among those due at the same time
	owed   int           // its id in the backlog; 0 = not written there yet
	done   chan struct{} // closed when it was answered 200, or given up; nil = nobody waits
}

// hooks delivers webhooks: in lanes, each in order of due time and one POST at
// a time, each POST until it is answered 200. A number has its lane for ever;
// a lane has a goroutine only while something waits in it.
type hooks struct {
	cfg     Config
	client  *http.Client
	backlog *backlog // nil without Config.Backlog

	mu      sync.Mutex
	ctx     context.Context // nil until start, ended by Close
	closed  bool
	lanes   []*lane
	order   uint64
	queued  int // waiting or in flight
	givenUp int
	empty   chan struct{} // closed while queued is 0

	running sync.WaitGroup
}

// lane is what waits for some numbers, by due time.
type lane struct {
	waiting queue
	running bool
	wake    context.CancelFunc // ends the pause before the first
}

// queue is a heap by due time.
type queue []*delivery

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].order < q[j].order
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(d any)   { *q = append(*q, d.(*delivery)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

func newHooks(cfg Config) *hooks {
	n := lanes
	if cfg.Batch > 1 {
		n = batchLanes
	}
	h := &hooks{
		cfg:   cfg,
		empty: make(chan struct{}),
		client: &http.Client{
			// No proxy of the environment: the app under test is close by.
			Transport: &http.Transport{MaxIdleConnsPerHost: n, DisableCompression: true},
			// Only 200 counts, so a redirect is a failure (section 4.3).
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for range n {
		h.lanes = append(h.lanes, &lane{wake: func() {}})
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

// put queues deliveries, all or none, and calls before ahead of the first of
// them. It reports false, and did nothing, when they do not fit or the server
// is not running.
func (h *hooks) put(list []*delivery, before func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.closed || h.queued+len(list) > maxQueued {
		return false
	}
	before()
	if len(list) == 0 {
		return true
	}
	if h.queued == 0 {
		h.empty = make(chan struct{})
	}
	h.queued += len(list)
	for _, d := range list {
		h.remember(d)
		h.order++
		d.order = h.order
		if h.cfg.Batch > 1 && d.done == nil { // together with what else is due soon
			d.due = d.due.Truncate(batchTick).Add(batchTick)
		}
		l := h.laneOf(d.number)
		heap.Push(&l.waiting, d)
		if l.waiting[0] == d {
			l.wake()
		}
		if !l.running {
			l.running = true
			h.running.Go(func() { h.run(l) })
		}
	}
	return true
}

func (h *hooks) laneOf(n domain.NumberID) *lane {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(n))
	return h.lanes[hash.Sum32()%uint32(len(h.lanes))]
}

// remember writes a delivery to the backlog unless it came from there.
func (h *hooks) remember(d *delivery) {
	if d.owed != 0 || h.backlog == nil {
		return
	}
	var err error
	d.owed, err = h.backlog.owe(owedLine{Number: d.number, Status: d.status, Due: d.due, Body: string(d.value)})
	h.logBacklog(err)
}

// logBacklog says that a restart will tell too little or too much; telling
// goes on meanwhile.
func (h *hooks) logBacklog(err error) {
	if err != nil {
		h.cfg.Log.Error("pretend meta: backlog", "error", err)
	}
}

// run delivers what waits in a lane until nothing does.
func (h *hooks) run(l *lane) {
	for {
		batch := h.next(l)
		if len(batch) == 0 {
			return
		}
		delivered := h.deliver(h.ctx, batch)
		if delivered || h.ctx.Err() == nil {
			for _, d := range batch {
				h.logBacklog(h.backlog.told(d.owed))
			}
		}
		h.mu.Lock()
		if !delivered {
			h.givenUp += len(batch)
		}
		h.queued -= len(batch)
		if h.queued == 0 {
			close(h.empty)
		}
		h.mu.Unlock()
		for _, d := range batch {
			if d.done != nil {
				close(d.done)
			}
		}
	}
}

// next takes what is due, as much as one webhook may hold, pausing until
// something is. It returns nothing when nothing waits or the server is closed.
func (h *hooks) next(l *lane) []*delivery {
	for {
		h.mu.Lock()
		if len(l.waiting) == 0 || h.ctx.Err() != nil {
			l.running = false
			h.mu.Unlock()
			return nil
		}
		now := h.cfg.Clock.Now()
		var batch []*delivery
		for size := 0; len(l.waiting) > 0 && !l.waiting[0].due.After(now) && len(batch) < h.cfg.Batch; {
			size += len(l.waiting[0].value)
			if len(batch) > 0 && size > maxPost/2 { // the other half is room for what stands around
				break
			}
			batch = append(batch, heap.Pop(&l.waiting).(*delivery))
		}
		if len(batch) > 0 {
			h.mu.Unlock()
			return batch
		}
		ctx, cancel := context.WithCancel(h.ctx)
		l.wake = cancel
		pause := l.waiting[0].due.Sub(now)
		h.mu.Unlock()
		_ = h.cfg.Clock.Sleep(ctx, pause) // over, or woken: look again
		cancel()
	}
}

// deliver posts until the answer is 200 and reports false when it gave up. It
// is the same body each time.
func (h *hooks) deliver(ctx context.Context, batch []*delivery) bool {
	body := hookBody(h.cfg.Account, batch)
	giveUp := h.cfg.Clock.Now().Add(h.cfg.RetryFor)
	pause := firstBackoff
	for try := 1; ; try++ {
		status := h.post(ctx, body)
		if status == http.StatusOK {
			return true
		}
		if ctx.Err() != nil || h.cfg.Clock.Now().Add(pause).After(giveUp) {
			h.cfg.Log.Warn("pretend meta: webhook given up", "number_id", string(batch[0].number), "updates", len(batch), "attempt", try, "status", status)
			return false
		}
		if try&(try-1) == 0 { // repetition thins out: 1, 2, 4, 8 …
			h.cfg.Log.Info("pretend meta: webhook not taken", "number_id", string(batch[0].number), "updates", len(batch), "attempt", try, "status", status)
		}
		if h.cfg.Clock.Sleep(ctx, pause) != nil {
			return false
		}
		pause = min(2*pause, lastBackoff)
	}
}

// post returns the HTTP status of one try, 0 when there was none.
func (h *hooks) post(ctx context.Context, body []byte) int {
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
