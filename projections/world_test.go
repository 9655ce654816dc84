package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/sqlitestore"
	"github.com/sendlog/sendlog/projections/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLog is a log in memory.
type memoryLog struct {
	mu          sync.Mutex
	events      []domain.Event
	grown       chan struct{}
	incarnation string
	failures    int // of the next reads
}

func newLog() *memoryLog { return &memoryLog{grown: make(chan struct{}), incarnation: "log-1"} }

// add appends events and returns the position of the last one.
func (l *memoryLog) add(events ...domain.Event) domain.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		e.Position = domain.Position(len(l.events) + 1)
		l.events = append(l.events, e)
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return domain.Position(len(l.events))
}

func (l *memoryLog) Tail(context.Context) (domain.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return domain.Position(len(l.events)), nil
}

func (l *memoryLog) Incarnation(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.incarnation, nil
}

func (l *memoryLog) Open(_ context.Context, after domain.Position) (projections.Cursor, error) {
	return &memoryCursor{l, after}, nil
}

type memoryCursor struct {
	log *memoryLog
	at  domain.Position
}

func (c *memoryCursor) Next(ctx context.Context, most int) ([]domain.Event, error) {
	for {
		c.log.mu.Lock()
		events, grown := c.log.events, c.log.grown
		failed := c.log.failures > 0
		if failed {
			c.log.failures--
		}
		c.log.mu.Unlock()
		if failed {
			return nil, domain.Errorf(domain.Unavailable, nil, "the log is away")
		}
		if int(c.at) < len(events) {
			batch := events[c.at:min(len(events), int(c.at)+most)]
			c.at += domain.Position(len(batch))
			return slices.Clone(batch), nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *memoryCursor) Close() error { return nil }

// listener collects what is announced.
type listener struct {
	mu      sync.Mutex
	notices []projections.Notice
}

func (l *listener) Announce(_ context.Context, notices []projections.Notice) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notices = append(l.notices, notices...)
	return nil
}

// kinds returns what was announced about a message, in order.
func (l *listener) kinds(id domain.MessageID) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.notices {
		if n.Subject == id {
			all = append(all, n.Kind)
		}
	}
	return all
}

// world is a log, a store and what a test does with them.
type world struct {
	t     testing.TB
	log   *memoryLog
	store projections.Store
	heard *listener
	now   time.Time
	batch int
}

func newWorld(t testing.TB) *world {
	return &world{t: t, log: newLog(), store: openStore(t, t.TempDir()), heard: &listener{},
		now: time.Date(2026, 11, 23, 17, 0, 0, 1, time.UTC)}
}

func openStore(t testing.TB, dir string) projections.Store {
	t.Helper()
	s, err := sqlitestore.Open(context.Background(), dir)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func (w *world) config() projections.Config {
	return projections.Config{Source: w.log, Store: w.store, Announcer: w.heard, Batch: w.batch}
}

// start runs a library until the returned function, or the end of the test,
// stops it.
func (w *world) start(c projections.Config) (*projections.Library, func()) {
	w.t.Helper()
	l, err := projections.NewLibrary(c)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		must(w.t, <-done)
	})
	w.t.Cleanup(stop)
	return l, stop
}

// library runs a library and waits until it has folded the whole log.
func (w *world) library() *projections.Library {
	w.t.Helper()
	l, _ := w.start(w.config())
	w.wait(l)
	return l
}

func (w *world) wait(l *projections.Library) {
	w.t.Helper()
	tail, _ := w.log.Tail(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := l.WaitFor(ctx, tail); err != nil {
		w.t.Fatalf("wait for %d: %v; %+v", tail, err, l.Health())
	}
}

// dump returns every document of the live generations, by collection without
// its generation, and id.
func dump(t testing.TB, s projections.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, m := range projections.Models() {
		p, err := s.Live(context.Background(), m.Name)
		must(t, err)
		maps.Copy(all, dumpGeneration(t, s, m, p.Live))
	}
	return all
}

func dumpGeneration(t testing.TB, s projections.Store, m projections.Model, generation int) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, c := range m.Collections {
		for id, body := range storetest.Dump(t, s, c.Name+"_g"+strconv.Itoa(generation)) {
			all[c.Name+"/"+id] = body
		}
	}
	return all
}

func sameDocuments(t testing.TB, got, want map[string]string) {
	t.Helper()
	for id, body := range want {
		if got[id] != body {
			t.Errorf("document %s:\ngot  %s\nwant %s", id, got[id], body)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("document %s should not exist: %s", id, got[id])
		}
	}
}

const (
	tenA, tenB = domain.TenantID("ten_a"), domain.TenantID("ten_b")
	numA, numB = domain.NumberID("1000001"), domain.NumberID("1000002")
)

// event makes the next event of a key, a second after the one before.
func (w *world) event(k domain.Key, f domain.Fact) domain.Event {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	e, err := domain.NewEvent(k, w.now, "test", f)
	must(w.t, err)
	return e
}

func (w *world) request(id domain.MessageID, to, text string) domain.Event {
	content, err := json.Marshal(map[string]any{"type": "text", "text": map[string]string{"body": text}})
	must(w.t, err)
	return w.event(out(id), &message.SendRequested{Type: "text", SendWords: message.SendWords{To: to, Content: content}})
}

func (w *world) attempt(id domain.MessageID, n int) domain.Event {
	return w.event(out(id), &message.SendAttempted{Attempt: n})
}

func (w *world) accept(id domain.MessageID, n int, wamid string) domain.Event {
	return w.event(out(id), &message.SendAccepted{Attempt: n, Via: "answer", AcceptNames: message.AcceptNames{Wamid: wamid}})
}

// status makes a status said a number of seconds after noon.
func (w *world) status(s string, said int, about domain.MessageID, wamid string) domain.Event {
	f := &message.StatusReceived{Status: s, SaidAt: noon(said), Message: about, StatusNames: message.StatusNames{Wamid: wamid}}
	if s == message.Failed {
		f.Code, f.Reason = 131026, fmt.Sprint("undeliverable ", said)
	}
	return w.event(message.StatusKey(tenA, numA), f)
}

func (w *world) inbound(wamid string, p message.Person, said int, text string) domain.Event {
	id := message.InboundID(numA, wamid, false)
	return w.event(message.InboundKey(tenA, numA, id), &message.InboundReceived{
		Message: id, Type: "text", SaidAt: noon(said),
		InboundWords: message.InboundWords{Wamid: wamid, Person: p, Text: text, Raw: json.RawMessage(`{"type": "text"}`)},
	})
}

func noon(seconds int) time.Time {
	return time.Date(2026, 11, 23, 12, 0, seconds, 0, time.UTC)
}

func out(id domain.MessageID) domain.Key { return message.OutgoingKey(tenA, numA, id) }

// until polls a fact that has no signal of its own.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, kind domain.ErrKind) {
	t.Helper()
	if err == nil || domain.KindOf(err) != kind {
		t.Errorf("got error %v, want kind %s", err, kind)
	}
}
