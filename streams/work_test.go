package streams_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// crew is several processes that share the lanes, and the accounts of what they
// did.
type crew struct {
	t testing.TB

	mu    sync.Mutex
	owner map[int][]string    // by lane: who holds it; more than one is too many
	done  map[string][]string // by number: the texts that were finished, in order, repeats left out
	known map[domain.EventID]bool
	begun int // tenures
}

// hand is one process of a crew.
type hand struct {
	name   string
	broker *streams.Broker
	hold   func(lane int) // called before a tenure is finished; nil: nothing holds it up
	stop   context.CancelFunc
	ended  chan struct{}
	err    error
}

func newCrew(t testing.TB) *crew {
	return &crew{t: t, owner: map[int][]string{}, done: map[string][]string{}, known: map[domain.EventID]bool{}}
}

// join lets a process work its share.
func (c *crew) join(name string, b *streams.Broker, hold func(lane int)) *hand {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hand{name: name, broker: b, hold: hold, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.err = b.Work(ctx, func(_ context.Context, lane int) (func(streams.Delivery), func()) { return c.begin(h, lane) })
	}()
	c.t.Cleanup(h.leave)
	return h
}

func (h *hand) leave() {
	h.stop()
	<-h.ended
}

func (c *crew) begin(h *hand, lane int) (func(streams.Delivery), func()) {
	c.mu.Lock()
	c.begun++
	c.owner[lane] = append(c.owner[lane], h.name)
	c.mu.Unlock()
	return c.finish, func() {
		if h.hold != nil {
			h.hold(lane)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, o := range c.owner[lane] {
			if o == h.name {
				c.owner[lane] = append(c.owner[lane][:i:i], c.owner[lane][i+1:]...)
				return
			}
		}
	}
}

// finish works an event at once.
func (c *crew) finish(d streams.Delivery) {
	text := textOf(c.t, d.Event)
	c.mu.Lock()
	if n := string(d.Event.Key.Number); !c.known[d.Event.ID] {
		c.known[d.Event.ID] = true
		c.done[n] = append(c.done[n], text)
	}
	c.mu.Unlock()
	_ = d.Done() // when it is lost the event comes again
}

// shares waits until every lane has exactly one owner and the shares are these.
func (c *crew) shares(want map[string]int) {
	c.t.Helper()
	waitFor(c.t, fmt.Sprint("shares ", want), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		got := map[string]int{}
		for _, owners := range c.owner {
			if len(owners) != 1 {
				return false
			}
			got[owners[0]]++
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
}

// has waits until a number's first count messages are finished, in order.
func (c *crew) has(n domain.NumberID, count int) {
	c.t.Helper()
	waitFor(c.t, "the messages to be worked", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.done[string(n)]) >= count
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, text := range c.done[string(n)] {
		if text != fmt.Sprint(i) {
			c.t.Fatalf("number %s: %q is number %d", n, text, i)
		}
	}
}

// three opens three brokers on one server of somebody else's.
func three(t testing.TB) []*streams.Broker {
	t.Helper()
	url, _ := servedOn(t, -1, t.TempDir())
	sealer := newVault(t)
	var brokers []*streams.Broker
	for range 3 {
		brokers = append(brokers, open(t, streams.Config{URL: url, Sealer: sealer}))
	}
	return brokers
}

// Processes share the lanes evenly, whoever comes and leaves, each lane has one
// owner, and every message is worked in the order of its number meanwhile.
func TestLanesAreSharedEvenly(t *testing.T) {
	t.Parallel()
	b, c := three(t), newCrew(t)
	numbers := make([]domain.NumberID, domain.Lanes)
	for lane := range numbers {
		numbers[lane] = inLane(lane, 1)[0]
	}
	sent := 0
	sendAll := func() {
		for range 5 {
			for _, n := range numbers {
				send(t, b[0], n, fmt.Sprint(sent))
			}
			sent++
		}
	}
	first := c.join("first", b[0], nil)
	sendAll()
	c.shares(map[string]int{"first": 16})
	second := c.join("second", b[1], nil)
	sendAll()
	c.shares(map[string]int{"first": 8, "second": 8})
	c.join("third", b[2], nil)
	sendAll()
	waitFor(t, "three shares", func() bool { // which one has the sixth depends on their ids
		c.mu.Lock()
		defer c.mu.Unlock()
		got := map[string]int{}
		for _, owners := range c.owner {
			for _, o := range owners {
				got[o]++
			}
		}
		return len(got) == 3 && got["first"]+got["second"]+got["third"] == 16 && min(got["first"], got["second"], got["third"]) == 5
	})
	second.leave()
	sendAll()
	c.shares(map[string]int{"first": 8, "third": 8})
	first.leave()
	if !errors.Is(first.err, context.Canceled) {
		t.Errorf("it ended with %v", first.err)
	}
	sendAll()
	c.shares(map[string]int{"third": 16})
	for _, n := range numbers {
		c.has(n, sent)
	}
}

// While the server restarts nobody hears anybody. Afterwards each process has
// its old share, in new tenures, because it cannot know what happened meanwhile.
func TestLanesSurviveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	port, dir, sealer := freePorts(t, 1)[0], t.TempDir(), newVault(t)
	url, halt := servedOn(t, port, dir)
	c := newCrew(t)
	a, b := open(t, streams.Config{URL: url, Sealer: sealer}), open(t, streams.Config{URL: url, Sealer: sealer})
	c.join("a", a, nil)
	c.join("b", b, nil)
	c.shares(map[string]int{"a": 8, "b": 8})
	for i := range 10 {
		send(t, a, number, fmt.Sprint(i))
	}
	c.has(number, 10)
	c.mu.Lock()
	begun := c.begun
	c.mu.Unlock()
	halt()
	if err := (domain.SystemClock{}).Sleep(t.Context(), streams.PresenceLife+time.Second); err != nil {
		t.Fatal(err)
	}
	servedOn(t, port, dir)
	waitFor(t, "every tenure to be a new one", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.begun >= begun+domain.Lanes
	})
	c.shares(map[string]int{"a": 8, "b": 8})
	for i := range 10 {
		send(t, b, number, fmt.Sprint(10+i))
	}
	c.has(number, 20)
}

// A process that stops hands its lanes over as soon as it has finished what it
// began, long before its pin would end; until then nobody else works them.
func TestLanesAreHandedOver(t *testing.T) {
	t.Parallel()
	b, c := three(t), newCrew(t)
	release := make(chan struct{})
	busy := domain.Lane(number)
	first := c.join("first", b[0], func(lane int) {
		if lane == busy {
			<-release
		}
	})
	c.shares(map[string]int{"first": 16})
	for i := range 10 {
		send(t, b[0], number, fmt.Sprint(i))
	}
	c.has(number, 10) // it is pinned now
	c.join("second", b[1], nil)
	first.stop()
	waitFor(t, "all lanes but the busy one to be handed over", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, owners := range c.owner {
			if len(owners) == 1 && owners[0] == "second" {
				n++
			}
		}
		return n == 15
	})
	c.mu.Lock()
	if owners := c.owner[busy]; len(owners) != 1 || owners[0] != "first" {
		t.Errorf("the lane in work is %v's", owners)
	}
	c.mu.Unlock()
	began := time.Now()
	close(release)
	send(t, b[1], number, "10")
	c.has(number, 11)
	t.Logf("taken over after %s; a silent owner is waited for %s", time.Since(began), streams.PinnedTTL)
	c.shares(map[string]int{"second": 16})
}

// A process that is stopped without a word is replaced, and loses nothing. When
// it is continued it learns that its tenure is over before it works on, and
// gets its share back.
func TestSilentOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	url, _ := servedOn(t, -1, t.TempDir())
	sealer, c, wire := newVault(t), newCrew(t), wireTo(t, url)
	frozen := open(t, streams.Config{URL: wire.url, Sealer: sealer})
	other := open(t, streams.Config{URL: url, Sealer: sealer})
	c.join("frozen", frozen, nil)
	c.shares(map[string]int{"frozen": 16})
	for i := range 10 {
		send(t, other, number, fmt.Sprint(i))
	}
	c.has(number, 10)
	wire.stall.Lock()
	for i := range 10 {
		send(t, other, number, fmt.Sprint(10+i))
	}
	c.join("other", other, nil)
	c.has(number, 20)
	wire.stall.Unlock()
	c.shares(map[string]int{"frozen": 8, "other": 8})
	for i := range 10 {
		send(t, other, number, fmt.Sprint(20+i))
	}
	c.has(number, 30)
}
