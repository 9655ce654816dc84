package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/mongostore"
	"github.com/sendlog/sendlog/projections/storetest"
)

// traffic returns n events of an ordinary day: messages with refusals,
// unknown outcomes, statuses in any order, answers, people who change.
func traffic(w *world, seed uint64, n int) []domain.Event {
	r := rand.New(rand.NewPCG(seed, 1))
	person := func() message.Person {
		i := r.IntN(20)
		p := message.Person{Phone: fmt.Sprint(15550000000 + i), UserID: fmt.Sprint("US.", i), Name: fmt.Sprint("name ", r.IntN(3))}
		switch r.IntN(4) {
		case 0:
			p.Phone = ""
		case 1:
			p.UserID = ""
		case 2:
			p.FormerPhone = fmt.Sprint(15550000000 + r.IntN(20))
		}
		return p
	}
	var events []domain.Event
	for i := 0; len(events) < n; i++ {
		id := domain.MessageID(fmt.Sprintf("msg_%d_%d", seed, i))
		wamid := "wamid." + string(id)
		statuses := []domain.Event{w.status("sent", r.IntN(50), id, wamid), w.status("delivered", r.IntN(50), "", wamid), w.status("read", r.IntN(50), "", wamid)}
		events = append(events, w.request(id, fmt.Sprint("+", 15550000000+r.IntN(20)), "hello <"+string(id)+"> & শুভ সকাল"))
		events = append(events, statuses[:r.IntN(2)]...)
		events = append(events, w.attempt(id, 1))
		switch r.IntN(5) {
		case 0:
			events = append(events, w.event(out(id), &message.SendRefused{Attempt: 1, Code: 131047, Reason: "window"}),
				w.event(out(id), &message.SendDeadLettered{Attempts: 1, Reason: "refused", Code: 131047}))
			if r.IntN(2) == 0 {
				events = append(events, w.event(out(id), &message.SendRedriven{By: "admin"}), w.attempt(id, 2), w.accept(id, 2, wamid))
			}
		case 1:
			events = append(events, w.event(out(id), &message.OutcomeUnknown{Attempt: 1, Reason: "timeout"}), statuses[0], w.accept(id, 1, wamid))
		default:
			r.Shuffle(len(statuses), func(i, j int) { statuses[i], statuses[j] = statuses[j], statuses[i] })
			events = append(events, statuses[:r.IntN(3)]...)
			events = append(events, w.accept(id, 1, wamid))
			events = append(events, statuses...)
		}
		if r.IntN(2) == 0 {
			events = append(events, w.inbound(fmt.Sprintf("wamid.in%d-%d", seed, i), person(), r.IntN(50), "answer"))
		}
		if r.IntN(10) == 0 {
			events = append(events, w.event(message.AccountKey(tenA, numA), &message.AccountNotice{Field: "account_update",
				Notice: message.Notice{WABA: "1", Raw: json.RawMessage(`{"a.b":{"$c":[1.50]}}`)}}))
		}
	}
	return events[:n]
}

// flaky is a store whose calls fail now and then: before they did anything,
// or after they did everything and the answer was lost.
type flaky struct {
	projections.Store
	mu sync.Mutex
	r  *rand.Rand
}

var errAway = domain.Errorf(domain.Unavailable, nil, "the store is away")

func (f *flaky) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.IntN(3) == 0
}

func (f *flaky) Apply(ctx context.Context, b projections.Batch) error {
	if f.fails() {
		return errAway
	}
	if err := f.Store.Apply(ctx, b); err != nil {
		return err
	}
	if f.fails() {
		return errAway
	}
	return nil
}

func (f *flaky) Get(ctx context.Context, collection string, ids []string) (map[string]projections.Doc, error) {
	if f.fails() {
		return nil, errAway
	}
	return f.Store.Get(ctx, collection, ids)
}

func (f *flaky) Switch(ctx context.Context, model string, p projections.Pointer, live int) error {
	if f.fails() {
		return errAway
	}
	return f.Store.Switch(ctx, model, p, live)
}

// hurried is a clock whose sleeps end at once.
type hurried struct{ domain.SystemClock }

func (hurried) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// straight folds events at once into a store of its own and returns the
// documents: what every other way of folding them must arrive at.
func straight(t *testing.T, events []domain.Event) map[string]string {
	t.Helper()
	w := newWorld(t)
	w.log.add(events...)
	l, stop := w.start(w.config())
	w.wait(l)
	stop()
	return dump(t, w.store)
}

// However batches fall, whatever fails in between and however often the
// process is started again, the documents are the same, byte for byte; and
// what happened while nothing failed is announced once.
func TestSameDocumentsThroughFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := traffic(w, 1, 600)
	want := straight(t, events)
	w.store = &flaky{Store: w.store, r: rand.New(rand.NewPCG(7, 7))}
	for i, part := range slices.Collect(slices.Chunk(events, 150)) {
		w.batch = []int{1, 7, 40, 1000}[i%4]
		c := w.config()
		c.Clock = hurried{}
		l, stop := w.start(c) // the process starts …
		must(t, l.WaitFor(t.Context(), 0))
		w.log.mu.Lock()
		w.log.failures = 2
		w.log.mu.Unlock()
		w.log.add(part...)
		if i%2 == 1 {
			w.wait(l)
		}
		stop() // … and ends, in two cases somewhere in the middle
	}
	c := w.config()
	c.Clock = hurried{}
	l, stop := w.start(c)
	w.wait(l)
	stop()
	sameDocuments(t, dump(t, w.store.(*flaky).Store), want)
	seen := map[string]bool{}
	for _, n := range w.heard.notices {
		key := string(n.ID)
		if seen[key] {
			t.Errorf("%s of %s was announced twice", n.Kind, n.Subject)
		}
		seen[key] = true
	}
}

// Both stores end with the same documents, byte for byte.
func TestStoresAgree(t *testing.T) {
	t.Parallel()
	uri := storetest.MongoURI(t)
	w := newWorld(t)
	events := traffic(w, 2, 120)
	want := straight(t, events)
	mongo, err := mongostore.Open(t.Context(), uri, storetest.MongoDatabase(t))
	must(t, err)
	defer func() {
		must(t, mongo.DropDatabase(context.WithoutCancel(t.Context())))
		must(t, mongo.Close())
	}()
	w.store, w.batch = mongo, 50
	l, stop := w.start(w.config())
	must(t, l.WaitFor(t.Context(), 0))
	w.log.add(events...)
	w.wait(l)
	must(t, l.Rebuild(t.Context(), "messages", nil))
	stop()
	sameDocuments(t, dump(t, mongo), want)
}

// An event nobody knows, or a version from next year, stops the model that
// meets it, after everything before it is folded. The others go on, and
// whoever waits is told instead of left waiting.
func TestUnknownEventStops(t *testing.T) {
	t.Parallel()
	future := func(w *world) domain.Event {
		e := w.request("msg_9", "+15550009999", "from next year")
		e.Version = 2
		return e
	}
	stranger := func(w *world) domain.Event {
		e := w.attempt("msg_9", 1)
		e.Type = "SendTeleported"
		return e
	}
	broken := func(w *world) domain.Event {
		e := w.request("msg_9", "+15550009999", "broken")
		e.Facts = json.RawMessage(`{"type":7}`)
		return e
	}
	refusal := func(w *world) domain.Event {
		e := w.event(out("msg_9"), &message.SendRefused{Attempt: 1})
		e.Facts = json.RawMessage(`{"attempt":"x"}`)
		return e
	}
	for _, c := range []struct {
		name      string
		event     func(*world) domain.Event
		customers bool // stops too
	}{
		{"a version from next year", future, true},
		{"an unknown type", stranger, true},
		{"a payload that is not what it says", broken, true},
		{"a broken payload that is not the customers' business", refusal, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.add(w.request("msg_1", "+15550001111", "fine"))
			l := w.library()
			w.log.add(w.request("msg_2", "+15550002222", "fine"), c.event(w), w.request("msg_3", "+15550003333", "not reached"))
			err := l.WaitFor(t.Context(), 4)
			wantKind(t, err, domain.Unavailable)
			if strings.Contains(err.Error(), "1555000") {
				t.Errorf("the error tells a phone number: %v", err)
			}
			must(t, l.WaitFor(t.Context(), 2))
			h := l.Health()
			if h[0].Ready() || domain.KindOf(h[0].Err) != domain.Bug || h[0].Position != 2 {
				t.Errorf("messages: %+v", h[0])
			}
			if _, err := l.Message(t.Context(), tenA, "msg_2"); err != nil {
				t.Errorf("what came before cannot be read: %v", err)
			}
			_, err = l.Message(t.Context(), tenA, "msg_3")
			wantKind(t, err, domain.Unknown)
			if !c.customers {
				for l.Health()[1].Position < 4 { // the customers go on to the end of the log
					if err := l.Health()[1].Err; err != nil {
						t.Fatalf("customers: %v", err)
					}
				}
				people, _, err := l.Customers(t.Context(), tenA, projections.Page{})
				if err != nil || len(people) != 3 {
					t.Errorf("%d customers (%v)", len(people), err)
				}
			}
		})
	}
}

// A follower reads what another process writes, and sees a switch.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := traffic(w, 3, 60)
	c := w.config()
	c.Announcer = nil
	follower, err := projections.NewLibrary(c)
	must(t, err)
	_, err = follower.Message(t.Context(), tenA, "msg_3_0")
	wantKind(t, err, domain.Unavailable)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- follower.Follow(ctx) }()
	defer func() { cancel(); must(t, <-done) }()

	l := w.library()
	w.log.add(events...)
	w.wait(follower)
	if _, err := follower.Message(t.Context(), tenA, "msg_3_0"); err != nil {
		t.Error(err)
	}
	must(t, l.Rebuild(t.Context(), "messages", nil))
	w.log.add(w.request("msg_new", "+15550001111", "after the switch"))
	w.wait(follower)
	if _, err := follower.Message(t.Context(), tenA, "msg_new"); err != nil || follower.Health()[0].Generation != 2 {
		t.Errorf("after the switch: %v, %+v", err, follower.Health()[0])
	}
	lag, err := follower.Lag(t.Context())
	if err != nil || lag["messages"] != 0 || lag["customers"] != 0 {
		t.Errorf("lag %v (%v)", lag, err)
	}
}

// Two processes that run the same models by mistake do no harm.
func TestTwoRunners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.batch = 10
	events := traffic(w, 4, 400)
	first := w.library()
	second := w.library()
	for part := range slices.Chunk(events, 50) {
		w.log.add(part...)
	}
	w.wait(first)
	w.wait(second)
	sameDocuments(t, dump(t, w.store), straight(t, events))
}
