package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"golang.org/x/sync/errgroup"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantA domain.TenantID = "ten_a"
	number  domain.NumberID = "106540352242922"
)

// world is a dispatcher on a log in memory, with a provider that says what the
// test tells it to.
type world struct {
	t        *testing.T
	log      *logtest.Memory
	provider *scripted
	graves   *graves
	work     *lanes
	backlogs *spill
	schedule *calendar
	gate     *gate
	breaker  *breaker
	sending  sending
	d        *Dispatcher
}

// newWorld builds a world whose waits are short enough to happen and long
// enough to be seen in the recorded facts.
func newWorld(t *testing.T) *world {
	w := &world{t: t, log: logtest.NewMemory(), provider: &scripted{}, graves: &graves{}, gate: newGate(), sending: sending{}}
	w.breaker = &breaker{gate: w.gate}
	w.provider.log = w.log
	w.work = newLanes(w.log)
	w.backlogs = &spill{log: w.log, open: map[lineKey]Backlog{}, opens: make(chan struct{}, 1), closed: make(chan struct{}, 1)}
	w.schedule = newCalendar()
	w.work.schedule = w.schedule
	w.d = w.dispatcher()
	return w
}

func (w *world) dispatcher() *Dispatcher {
	d := New(Config{
		Backlogs: w.backlogs, Breaker: w.breaker, Clock: domain.SystemClock{}, Facts: w.log, Gate: w.gate, Graveyard: w.graves, Log: w.log,
		Logger: slog.New(slog.NewTextHandler(testWriter{}, nil)), Meter: domain.NoMeter{},
		Policy:   Policy{FirstWait: time.Millisecond, MostWait: 4 * time.Millisecond, UnknownWait: 20 * time.Millisecond, Drain: 5 * time.Second},
		Provider: w.provider, Rates: rates(0), Schedule: w.schedule, Settings: w.sending, Tokens: tokens{}, Work: w.work, HoldEvery: time.Hour,
	})
	d.wakeEvery = time.Millisecond
	return d
}

// testWriter shows logs only when somebody asks for them.
type testWriter struct{}

func (testWriter) Write(p []byte) (int, error) {
	if os.Getenv("SENDLOG_TEST_LOG") != "" {
		return os.Stderr.Write(p)
	}
	return io.Discard.Write(p)
}

// gate is open until a test closes it.
type gate struct {
	mu     sync.Mutex
	closed bool
	moved  chan struct{}
	waited chan struct{} // receives when somebody finds it closed
}

func newGate() *gate { return &gate{moved: make(chan struct{}), waited: make(chan struct{}, 100)} }

func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	close(g.moved)
	g.moved = make(chan struct{})
}

func (g *gate) Open(domain.NumberID, bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

func (g *gate) Pass(ctx context.Context, _ domain.NumberID, _ bool) error {
	for {
		g.mu.Lock()
		closed, moved := g.closed, g.moved
		g.mu.Unlock()
		if !closed {
			return nil
		}
		select {
		case g.waited <- struct{}{}:
		default: // nobody looks
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// templateGate is a gate for templates only.
type templateGate struct{ *gate }

func (g templateGate) Open(n domain.NumberID, template bool) bool {
	return !template || g.gate.Open(n, template)
}

func (g templateGate) Pass(ctx context.Context, n domain.NumberID, template bool) error {
	if !template {
		return nil
	}
	return g.gate.Pass(ctx, n, template)
}

// breaker remembers what it was told, and closes the gate.
type breaker struct {
	gate *gate

	mu     sync.Mutex
	blocks []tenant.BlockWish
	ends   []tenant.UnblockWish
}

func (b *breaker) Block(_ context.Context, c tenant.BlockWish) ([]domain.NumberID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = append(b.blocks, c)
	b.gate.set(true)
	return []domain.NumberID{c.Number}, nil
}

func (b *breaker) Unblock(_ context.Context, c tenant.UnblockWish) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = append(b.ends, c)
	return nil
}

func (b *breaker) told() ([]tenant.BlockWish, []tenant.UnblockWish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.blocks), slices.Clone(b.ends)
}

// sending is how each tenant wants it.
type sending map[domain.TenantID]tenant.Sending

func (s sending) Sending(t domain.TenantID) tenant.Sending { return s[t] }

// rates is the rate of every number.
type rates int

func (r rates) PerSecond(domain.NumberID) int { return int(r) }

type tokens struct{}

func (tokens) Token(domain.NumberID) (string, error) { return "token", nil }

// run runs the dispatcher until the test ends, or stop is called.
func (w *world) run(d *Dispatcher) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("run: %v", err)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// request records a wish to send and returns its key.
func (w *world) request(to, text string) domain.Key {
	w.t.Helper()
	a := message.Accepter{Log: w.log, Clock: domain.SystemClock{}, Meter: domain.NoMeter{}}
	r, err := a.Accept(w.t.Context(), message.Request{Tenant: tenantA, Number: number, To: to, Text: text, Actor: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return message.OutgoingKey(tenantA, number, r.ID)
}

// append records a fact on a message, as another process would have.
func (w *world) append(k domain.Key, f domain.Fact) {
	w.t.Helper()
	e, err := domain.NewEvent(k, time.Now(), "test", f)
	if err != nil {
		w.t.Fatal(err)
	}
	x := domain.Any()
	if k.Kind == domain.KindMessage {
		x = domain.After(w.state(k).Last)
	}
	if _, err := w.log.Append(w.t.Context(), e, x); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state(k domain.Key) message.State {
	w.t.Helper()
	events, err := w.log.Load(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := message.Fold(events)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// await returns when the log holds an event of a type for a key.
func (w *world) await(k domain.Key, eventType string) domain.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	var found domain.Event
	err := w.log.Follow(ctx, k, 0, func(e domain.Event) error {
		if e.Type == eventType {
			found = e
			return io.EOF
		}
		return nil
	})
	if err != io.EOF {
		w.t.Fatalf("waiting for %s: %v; the log has %v", eventType, err, w.types(k))
	}
	return found
}

// types lists the events of a key in order.
func (w *world) types(k domain.Key) []string {
	events, _ := w.log.Load(context.Background(), k)
	var out []string
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}

// scripted is a provider that answers call by call.
type scripted struct {
	log *logtest.Memory

	mu     sync.Mutex
	script func(cloudapi.Call) cloudapi.Outcome
	calls  []cloudapi.Call
}

func (s *scripted) answer(f func(cloudapi.Call) cloudapi.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

func (s *scripted) Send(_ context.Context, c cloudapi.Call) cloudapi.Outcome {
	s.mu.Lock()
	s.calls = append(s.calls, c)
	script := s.script
	s.mu.Unlock()
	if script == nil {
		return accepted(c)
	}
	return script(c)
}

func (s *scripted) made() []cloudapi.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]cloudapi.Call(nil), s.calls...)
}

// calledOnce says that no attempt was called more than once.
func (w *world) calledOnce() {
	w.t.Helper()
	calls := map[string]int{}
	for _, c := range w.provider.made() {
		calls[fmt.Sprint(c.Message, " as attempt ", c.Attempt)]++
	}
	for call, times := range calls {
		if times > 1 {
			w.t.Errorf("%s was called %d times", call, times)
		}
	}
}

func accepted(c cloudapi.Call) cloudapi.Outcome {
	return cloudapi.Outcome{Kind: cloudapi.Accepted, Wamid: fmt.Sprintf("wamid.%s.%d", c.Message, c.Attempt), WaID: "14155550100"}
}

func refusedFor(retry bool) cloudapi.Outcome {
	return cloudapi.Outcome{Kind: cloudapi.Refused, Code: 130429, Class: cloudapi.Retry, Reason: "too fast", Retry: retry, Raw: json.RawMessage(`{}`)}
}

// graves remembers what was buried.
type graves struct {
	mu   sync.Mutex
	list []string
}

func (g *graves) Bury(_ context.Context, _ domain.Key, id string, _ []byte, reason string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, id+" "+reason)
	return nil
}

func (g *graves) buried() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.list...)
}

// lanes hands out the message events of a log in memory. Every Work call
// begins at the first event that was not done, like a reset consumer.
type lanes struct {
	log     *logtest.Memory
	pending int // how many events of a lane are handed out and not done; 0: any number
	// schedule hands out what is due, while it is on.
	schedule *calendar

	mu       sync.Mutex
	done     map[domain.Position]bool
	rejected map[domain.Position]string
	moved    chan struct{} // closed and replaced when something is done
	finished chan struct{} // receives when something is done
}

func newLanes(log *logtest.Memory) *lanes {
	return &lanes{log: log, done: map[domain.Position]bool{}, rejected: map[domain.Position]string{},
		moved: make(chan struct{}), finished: make(chan struct{}, 1)}
}

func (l *lanes) Work(ctx context.Context, begin func(context.Context, int) (func(Delivery), func())) error {
	g, ctx := errgroup.WithContext(ctx)
	for lane := range domain.Lanes {
		take, finish := begin(ctx, lane)
		defer finish()
		var one sync.Mutex
		pass := func(v Delivery) {
			one.Lock()
			defer one.Unlock()
			take(v)
		}
		g.Go(func() error { return l.lane(ctx, lane, pass) })
		if l.schedule.on {
			g.Go(func() error { return l.schedule.lane(ctx, lane, pass) })
		}
	}
	return g.Wait()
}

func (l *lanes) lane(ctx context.Context, lane int, take func(Delivery)) error {
	var out []domain.Event
	return l.log.Each(ctx, 0, func(e domain.Event) error {
		if e.Key.Kind != domain.KindMessage || domain.Lane(e.Key.Number) != lane || l.isDone(e.Position) {
			return nil
		}
		for {
			l.mu.Lock()
			moved := l.moved
			out = slices.DeleteFunc(out, func(e domain.Event) bool { return l.done[e.Position] })
			l.mu.Unlock()
			if l.pending == 0 || len(out) < l.pending {
				break
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		out = append(out, e)
		take(l.delivery(e))
		if l.pending > 0 && e.Position%7 == 0 { // handed out again, as after a long silence
			again := l.delivery(out[int(e.Position/7)%len(out)])
			again.Deliveries = 2
			take(again)
		}
		return nil
	})
}

func (l *lanes) delivery(e domain.Event) Delivery {
	return Delivery{Event: e, Deliveries: 1, Raw: []byte("raw"),
		Done:   func() error { l.finish(e.Position, ""); return nil },
		Hold:   func() error { return nil },
		Reject: func(reason string) error { l.finish(e.Position, reason); return nil },
	}
}

func (l *lanes) finish(p domain.Position, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[p] = true
	if reason != "" {
		l.rejected[p] = reason
	}
	close(l.moved)
	l.moved = make(chan struct{})
	select {
	case l.finished <- struct{}{}:
	default:
	}
}

func (l *lanes) isDone(p domain.Position) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[p]
}

// spill remembers backlogs and reads them from a log in memory.
type spill struct {
	log *logtest.Memory

	mu      sync.Mutex
	open    map[lineKey]Backlog
	version uint64
	opened  int
	opens   chan struct{} // receives when one is opened,
	closed  chan struct{} // and when one is closed
}

func (s *spill) Backlogs(_ context.Context, lane int) (out []Backlog, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, b := range s.open {
		if domain.Lane(k.number) == lane { // it is the caller's from now on
			s.version++
			b.Version = s.version
			s.open[k] = b
			out = append(out, b)
		}
	}
	return out, nil
}

func (s *spill) write(b Backlog) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := lineKey{b.Number, b.Bulk}
	if s.open[k].Version != b.Version {
		return 0, domain.ErrConflict
	}
	if b.Version == 0 {
		s.opened++
		select {
		case s.opens <- struct{}{}:
		default:
		}
	}
	s.version++
	b.Version = s.version
	s.open[k] = b
	return b.Version, nil
}

func (s *spill) OpenBacklog(_ context.Context, b Backlog) (uint64, error) { return s.write(b) }

func (s *spill) AdvanceBacklog(_ context.Context, b Backlog) (uint64, error) {
	return s.write(b)
}

func (s *spill) CloseBacklog(_ context.Context, b Backlog) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := lineKey{b.Number, b.Bulk}
	if s.open[k].Version != b.Version {
		return domain.ErrConflict
	}
	delete(s.open, k)
	select {
	case s.closed <- struct{}{}:
	default:
	}
	return nil
}

// ReadBacklog looks at few events at a time, so that some readings find none.
func (s *spill) ReadBacklog(_ context.Context, b Backlog, most int) (page []Delivery, next domain.Position, end bool, err error) {
	events := s.log.All()
	from := max(b.From, 1)
	for _, e := range events[from-1:] {
		if len(page) == most || e.Position >= from+50 {
			return page, e.Position, false, nil
		}
		asks := e.Type == message.TypeSendRequested || e.Type == message.TypeSendRedriven
		if asks && e.Key.Number == b.Number && message.AsksBulk(e.Type, e.Facts) == b.Bulk &&
			!(b.NoTemplates && message.AsksTemplate(e.Type, e.Facts)) && (b.Expired.IsZero() || expires(e, b.Expired)) {
			page = append(page, Delivery{Event: e, Deliveries: 1, Raw: []byte("raw"),
				Done: func() error { return nil }, Hold: func() error { return nil }, Reject: func(string) error { return nil }})
		}
	}
	return page, domain.Position(len(events) + 1), true, nil
}

func expires(e domain.Event, by time.Time) bool {
	until := message.AsksUntil(e.Type, e.Facts)
	return !until.IsZero() && !until.After(by)
}

func (s *spill) count() (open, opened int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), s.opened
}
