package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections/storetest"
)

// stormFaults is everything that may go wrong with Meta, often.
func stormFaults(seed int64) cloudapitest.Faults {
	return cloudapitest.Faults{
		Seed: seed, LoseAnswer: 0.04, LoseRequest: 0.03, ServerError: 0.02, LateServerError: 0.02, HTML502: 0.01, LateHTML502: 0.02,
		ResetMidBody: 0.02, SlowDrip: 0.02, Every: time.Millisecond, EmptyAnswer: 0.02, UnreadableAnswer: 0.02,
		Refuse: map[int]float64{130429: 0.04, 131026: 0.02, 131049: 0.01, 131056: 0.01},
		Delay:  0.05, MaxDelay: 300 * time.Millisecond,
		Drop: 0.05, Duplicate: 0.1, Reorder: 0.1, First: 0.1, Fail: map[int]float64{131026: 0.02},
		StatusDelay: 0.1, MaxStatusDelay: time.Second,
	}
}

// asked is one request that was answered with a 202.
type asked struct {
	tenant, id, to string
	position       uint64
}

// life is what the timeline of a message says.
type life struct {
	status   string
	attempts map[int]string // number of each attempt, and why it was made
	ended    bool           // dead-lettered
	accepted bool           // some attempt, as the log knows
}

// While Meta fails in every way it can and the process is killed -9 again and
// again, no accepted request is lost: each ends, or says that nobody knows. By
// the ledger of Meta no attempt is called twice, no message is called more
// often than there are recorded decisions to, none is accepted twice without an
// outcome that was recorded as unknown, and everybody gets their messages in the
// order in which they were accepted.
func TestFaultStorm(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if asked, err := strconv.ParseUint(os.Getenv("SENDLOG_SEED"), 10, 64); err == nil {
		seed = asked
	}
	t.Logf("seed %d (SENDLOG_SEED repeats its faults)", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	pretend, env := meta(t, alone(t).with("APP_SECRET", "app secret", "UNKNOWN_WAIT", "2s"), 5*time.Millisecond)
	pretend.Script(stormFaults(int64(seed)).Script())
	p := spawn(t, env, "serve")
	client := &http.Client{Timeout: 10 * time.Second}
	var tenants []string
	for i := range 3 {
		a, err := request(t.Context(), client, "POST", p.url+"/tenants/register",
			fmt.Sprintf(`{"name":"T","phoneNumberId":"10654035224292%d","accessToken":"EAAtoken%d"}`, i, i), "")
		if err != nil || a.status != 201 {
			t.Fatalf("register: %d %s %v", a.status, a.body, err)
		}
		tenants = append(tenants, a.json(t)["id"].(string))
	}
	kills, each := 3, 60 // `make storm` asks for more
	if asked, err := strconv.Atoi(os.Getenv("SENDLOG_KILLS")); err == nil {
		kills, each = asked, asked*100
	}
	accepted := stormSend(t, client, p.url, tenants, each, func(ctx context.Context) {
		for range kills {
			_ = domain.SystemClock{}.Sleep(ctx, time.Duration(200+rng.IntN(600))*time.Millisecond) // the moment of the kill is what is random here
			p.kill()
			p = spawn(t, env, "serve")
		}
	})
	t.Logf("%d accepted over %d kills", len(accepted), kills)
	if len(accepted) < len(tenants)*each {
		t.Fatalf("%d of %d requests were accepted", len(accepted), len(tenants)*each)
	}

	lives := map[string]life{}
	ends := map[string]int{}
	for _, m := range accepted {
		var l life
		eventually(t, "message "+m.id+" to end", func() (ended bool) {
			l, ended = lifeOf(t, client, p.url, m)
			return ended
		})
		lives[m.id] = l
		ends[l.status]++
	}
	received, taken := pretend.Totals()
	t.Logf("ended as %v; %d calls, %d of them accepted by Meta", ends, received, taken)
	for _, wrong := range reckon(pretend.Ledger(), accepted, lives) {
		t.Error(wrong)
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
}

// stormSend sends from one client per tenant, each request until it is
// answered, while something happens beside it; it returns what was accepted.
// A client waits for each answer, so what one person is sent has an order.
func stormSend(t *testing.T, client *http.Client, base string, tenants []string, each int, beside func(context.Context)) []asked {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		mu       sync.Mutex
		accepted []asked
		clients  sync.WaitGroup
	)
	persons := max(23, each/20) // nobody gets so many that their pace would be what is tested
	for i, tenant := range tenants {
		clients.Go(func() {
			for n := range each {
				to := fmt.Sprintf("+1415555%02d%04d", i, n%persons)
				body := fmt.Sprintf(`{"to":%q,"text":"number %d","idempotency_key":"key-%d"}`, to, n, n)
				a, answered := insist(ctx, client, base+"/tenants/"+tenant+"/send", body)
				if !answered {
					return
				}
				if a.status != 202 {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				got := a.json(t)
				mu.Lock()
				accepted = append(accepted, asked{tenant, got["id"].(string), to, uint64(got["position"].(float64))})
				mu.Unlock()
			}
		})
	}
	beside(ctx)
	clients.Wait()
	return accepted
}

// lifeOf reads what became of a message, and false while that is not decided.
func lifeOf(t *testing.T, client *http.Client, base string, m asked) (life, bool) {
	path := base + "/tenants/" + m.tenant + "/messages/" + m.id
	a, err := request(t.Context(), client, "GET", path+"/timeline", "", "")
	if err != nil || a.status != 200 {
		return life{}, false
	}
	v, err := request(t.Context(), client, "GET", path, "", "") // at least as new as its timeline
	if err != nil || v.status != 200 {
		return life{}, false
	}
	var timeline struct {
		Data []struct {
			Type    string
			Attempt int
			Reason  string
		}
	}
	if err := json.Unmarshal(a.body, &timeline); err != nil {
		t.Fatal(err)
	}
	l := life{status: v.json(t)["status"].(string), attempts: map[int]string{}}
	for _, e := range timeline.Data {
		switch e.Type {
		case message.TypeSendAttempted:
			l.attempts[e.Attempt] = e.Reason
		case message.TypeSendAccepted:
			l.accepted = true
		case message.TypeSendDeadLettered:
			l.ended = true
		}
	}
	return l, l.accepted || l.ended
}

// reckon holds what Meta saw against what the log says, and names every
// promise that is broken.
func reckon(ledger []cloudapitest.Entry, accepted []asked, lives map[string]life) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	calls := map[cloudapitest.AttemptID]int{}
	took, first, last := map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range ledger {
		id := string(e.Message)
		l, known := lives[id]
		if calls[cloudapitest.AttemptID{Message: e.Message, Attempt: e.Attempt}]++; calls[cloudapitest.AttemptID{Message: e.Message, Attempt: e.Attempt}] == 2 {
			say("attempt %d of %s was called twice", e.Attempt, id)
		}
		if _, recorded := l.attempts[e.Attempt]; known && !recorded {
			say("attempt %d of %s was called, and is not in the log", e.Attempt, id)
		}
		if e.Accepted {
			took[id]++
		}
		if first[id] == 0 {
			first[id] = e.Seq
		}
		last[id] = e.Seq
	}
	type person struct{ tenant, to string }
	before := map[person]asked{}
	slices.SortFunc(accepted, func(a, b asked) int { return cmp.Compare(a.position, b.position) })
	for _, m := range accepted {
		l := lives[m.id]
		resent := 0
		for _, why := range l.attempts {
			if why == "unknown" {
				resent++
			}
		}
		n := took[m.id]
		switch {
		case n > 1+resent:
			say("%s was accepted by Meta %d times, with %d recorded decisions to send again in doubt", m.id, n, resent)
		case l.accepted && n == 0:
			say("%s is accepted in the log, and Meta never accepted it", m.id)
		case n > 0 && !l.accepted && l.status != message.Unknown:
			say("%s is said to be %s, and Meta accepted it", m.id, l.status)
		}
		who := person{m.tenant, m.to}
		if o, met := before[who]; met && first[m.id] > 0 && last[o.id] > first[m.id] {
			say("%s was called before %s was done, which the same person was sent earlier", m.id, o.id)
		}
		before[who] = m
	}
	return wrong
}

// The reckoning finds what it is there to find: each broken promise, seeded into
// accounts that are in order, is named, and nothing else.
func TestReckoningFindsSeededFaults(t *testing.T) {
	t.Parallel()
	type books struct {
		ledger   []cloudapitest.Entry
		accepted []asked
		lives    map[string]life
	}
	inOrder := func() books {
		return books{
			ledger: []cloudapitest.Entry{
				{Seq: 1, Message: "m1", Attempt: 1, Accepted: true}, {Seq: 2, Message: "m1", Attempt: 2, Accepted: true},
				{Seq: 3, Message: "m2", Attempt: 1, Accepted: true}, {Seq: 4, Message: "m3", Attempt: 1},
			},
			accepted: []asked{{"a", "m1", "+1", 1}, {"a", "m2", "+1", 2}, {"a", "m3", "+2", 3}},
			lives: map[string]life{
				"m1": {status: "read", attempts: map[int]string{1: "", 2: "unknown"}, accepted: true},
				"m2": {status: "sent", attempts: map[int]string{1: ""}, accepted: true},
				"m3": {status: "failed", attempts: map[int]string{1: ""}, ended: true},
			},
		}
	}
	for name, c := range map[string]struct {
		seed func(*books)
		want string // part of the one complaint; empty: none
	}{
		"in order":                     {func(*books) {}, ""},
		"an attempt called twice":      {func(b *books) { b.ledger = append(b.ledger, cloudapitest.Entry{Seq: 5, Message: "m3", Attempt: 1}) }, "called twice"},
		"a call without a fence":       {func(b *books) { delete(b.lives["m3"].attempts, 1) }, "not in the log"},
		"a blind resend":               {func(b *books) { b.lives["m1"].attempts[2] = "refused" }, "accepted by Meta 2 times"},
		"an acceptance that never was": {func(b *books) { b.ledger[2].Accepted = false }, "never accepted it"},
		"a failure that was accepted":  {func(b *books) { b.ledger[3].Accepted = true }, "said to be failed"},
		"the wrong order for a person": {func(b *books) { b.ledger[1].Seq, b.ledger[2].Seq = 3, 2 }, "was called before m1 was done"},
	} {
		b := inOrder()
		c.seed(&b)
		slices.SortFunc(b.ledger, func(a, b cloudapitest.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
		got := reckon(b.ledger, b.accepted, b.lives)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A process that is stopped in the middle of its calls, and goes on when another
// one has long taken over its lanes, sends nothing that the other has sent, and
// nothing out of order: the fence tells it what it missed.
func TestStoppedOwner(t *testing.T) {
	t.Parallel()
	mongoURI := withDatabase(storetest.MongoURI(t), storetest.MongoDatabase(t))
	natsURL := externalNATS(t)
	pretend, env := meta(t, alone(t).with("NATS_URL", natsURL, "MONGO_URI", mongoURI, "UNKNOWN_WAIT", "5s"), time.Millisecond)
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault { return cloudapitest.Fault{Delay: 50 * time.Millisecond} })
	front := spawn(t, env.with("ROLES", "api"), "serve") // nobody keeps read models: the log says it all
	dispatchers := env.with("ROLES", "dispatch", "DATA_DIR", t.TempDir())
	one, other := spawnAdmin(t, dispatchers), spawnAdmin(t, dispatchers)
	client := &http.Client{Timeout: 30 * time.Second}
	var tenants []string
	for i := range 4 { // of which each process has some
		a, err := request(t.Context(), client, "POST", front.url+"/tenants/register",
			fmt.Sprintf(`{"name":"T","phoneNumberId":"10654035224292%d","accessToken":"EAAtoken"}`, i), "")
		if err != nil || a.status != 201 {
			t.Fatalf("register: %d %s %v", a.status, a.body, err)
		}
		tenant := a.json(t)["id"].(string)
		// Slow enough that there is something to send all the time.
		a, err = request(t.Context(), client, "PUT", front.url+"/tenants/"+tenant+fmt.Sprintf("/numbers/10654035224292%d/throughput", i), `{"per_second":4}`, "")
		if err != nil || a.status != 200 {
			t.Fatalf("throughput: %d %s %v", a.status, a.body, err)
		}
		tenants = append(tenants, tenant)
	}
	signal := func(p *process, s syscall.Signal) {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	stopped, each := []*process{one}, 70 // `make storm` stops the other one too
	if os.Getenv("SENDLOG_KILLS") != "" {
		stopped, each = append(stopped, other), 130
	}
	accepted := stormSend(t, client, front.url, tenants, each, func(ctx context.Context) {
		eventually(t, "calls to be under way", func() bool { n, _ := pretend.Totals(); return n >= 20 })
		for _, p := range stopped {
			before, _ := pretend.Totals()
			signal(p, syscall.SIGSTOP)
			// Longer than the other one waits before it takes over the lanes.
			_ = domain.SystemClock{}.Sleep(ctx, 13*time.Second)
			if after, _ := pretend.Totals(); after == before {
				t.Error("nobody sent while one of two was stopped")
			}
			signal(p, syscall.SIGCONT)
			_ = domain.SystemClock{}.Sleep(ctx, time.Second)
		}
	})
	lives := map[string]life{}
	read := readLives(t, natsURL, lives)
	eventually(t, "every message to be accepted", func() bool {
		read()
		return !slices.ContainsFunc(accepted, func(m asked) bool { return !lives[m.id].accepted })
	})
	for _, wrong := range reckon(pretend.Ledger(), accepted, lives) {
		t.Error(wrong)
	}
}

// readLives returns what reads on in the log, to its end, what became of every
// message. It has one consumer for all looks: a server allows 1,000 on a stream.
func readLives(t *testing.T, url string, lives map[string]life) (readOn func()) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	all, err := js.OrderedConsumer(t.Context(), "EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"evt.*.msg.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		for n := -1; n != 0; {
			batch, err := all.FetchNoWait(1000)
			if err != nil {
				t.Fatal(err)
			}
			n = 0
			for m := range batch.Messages() {
				n++
				id, e := m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:], storedEvent{}
				if err := json.Unmarshal(m.Data(), &e); err != nil {
					t.Fatal(err)
				}
				lives[id] = lives[id].after(e)
			}
		}
	}
}

// storedEvent is what the checker reads of an event.
type storedEvent struct {
	Type  string
	Facts struct {
		Attempt int
		After   string
	}
}

// after is a life as it is after one more event.
func (l life) after(e storedEvent) life {
	if l.attempts == nil {
		l.attempts = map[int]string{}
	}
	switch e.Type {
	case message.TypeSendAttempted:
		l.attempts[e.Facts.Attempt] = e.Facts.After
	case message.TypeSendAccepted:
		l.accepted = true
	}
	return l
}
