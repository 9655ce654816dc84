package dispatch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
)

// handClock stands still until a test moves it.
type handClock struct {
	mu       sync.Mutex
	now      time.Time
	moved    chan struct{}
	sleeping chan struct{}     // receives when somebody goes to sleep
	until    map[time.Time]int // how many sleep until then
}

func newHandClock() *handClock {
	return &handClock{now: time.Unix(1_800_000_000, 0), moved: make(chan struct{}), sleeping: make(chan struct{}, 100), until: map[time.Time]int{}}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	close(c.moved)
	c.moved = make(chan struct{})
}

func (c *handClock) Sleep(ctx context.Context, d time.Duration) error {
	until := c.Now().Add(d)
	for {
		c.mu.Lock()
		now, moved := c.now, c.moved
		if now.Before(until) {
			c.until[until]++
		}
		c.mu.Unlock()
		if !now.Before(until) {
			return ctx.Err()
		}
		select {
		case c.sleeping <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
		c.mu.Lock()
		c.until[until]--
		c.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// wakes reports whether moving it so far wakes somebody.
func (c *handClock) wakes(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for until, n := range c.until {
		if n > 0 && !until.After(c.now.Add(d)) {
			return true
		}
	}
	return false
}

// crowd is a turnstile on a clock that a test moves, and those who came to it.
type crowd struct {
	*turnstile
	t     *testing.T
	clock *handClock
	came  []*waiter
	ended int // of these, the first ones
	n     int
}

func newCrowd(t *testing.T, perSecond, slots int) *crowd {
	clock := newHandClock()
	p := Policy{Calls: slots}.withDefaults()
	return &crowd{turnstile: newTurnstile(clock, rates(perSecond), p), t: t, clock: clock}
}

// come brings n messages of a tenant, whose number is named like it, each to
// a person of its own.
func (c *crowd) come(n int, tenant string) []*waiter {
	from := len(c.came)
	for range n {
		c.n++
		c.claim(claim{tenant: domain.TenantID(tenant), number: domain.NumberID(tenant), to: fmt.Sprint(c.n)})
	}
	return c.came[from:]
}

func (c *crowd) claim(x claim) *waiter {
	w := c.enter(x)
	c.came = append(c.came, w)
	return w
}

func through(w *waiter) bool {
	select {
	case <-w.granted:
		return true
	default:
		return false
	}
}

func count(ws []*waiter) (n int) {
	for _, w := range ws {
		if through(w) {
			n++
		}
	}
	return n
}

// pass moves the clock, and ends the calls of all who got through.
func (c *crowd) pass(d time.Duration) {
	c.clock.move(d)
	c.mu.Lock()
	c.settle(c.clock.Now())
	c.mu.Unlock()
	c.end()
}

func (c *crowd) end() {
	for c.ended < len(c.came) && c.came[c.ended].state == gone {
		c.ended++
	}
	var calls []*waiter
	ends := c.calls()
	for _, w := range c.came[c.ended:] {
		if len(calls) == ends {
			break
		}
		if w.state == running {
			calls = append(calls, w)
		}
	}
	for _, w := range calls { // not those that get through meanwhile
		c.leave(w)
	}
}

func (c *crowd) want(what string, got, want int) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// A number calls at its rate; a tenth of a second's worth may come at once.
func TestPaceOfANumber(t *testing.T) {
	t.Parallel()
	for perSecond, burst := range map[int]int{20: 2, 80: 8, 1000: 100} {
		c := newCrowd(t, perSecond, 4096)
		all := c.come(12*perSecond, "a")
		c.want("at once", count(all), burst)
		for range 10 {
			for range 100 {
				c.pass(10 * time.Millisecond)
			}
		}
		c.want("after ten seconds", count(all), burst+10*perSecond)
	}
}

// Nobody counts the calls of a simulated number.
func TestNoPaceWithoutARate(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0, 4096)
	for range 1000 {
		c.claim(claim{tenant: "a", number: "a", to: "one person"})
	}
	c.want("at once", count(c.came), 1000)
}

// A pair calls 45 times at once and then every six seconds; others of the same
// number do not wait for it.
func TestPaceOfAPair(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1000, 4096)
	for range 100 {
		c.claim(claim{tenant: "a", number: "a", to: "one person"})
	}
	pair := c.came
	others := c.come(30, "a")
	c.want("at once", count(pair), 45)
	c.want("others", count(others), 30)
	if w := c.waiting(); w != (Waiting{Pair: 55}) {
		t.Errorf("waiting: %+v", w)
	}
	c.pass(6*time.Second - 1)
	c.want("before six seconds", count(pair), 45)
	c.pass(1)
	c.want("after six seconds", count(pair), 46)
	for range 10 {
		c.pass(6 * time.Second)
	}
	c.want("after a minute", count(pair), 56)
}

// When Meta says that a number is too fast it rests, is half as fast, and as
// fast as before after a minute; many refusals at one moment are one.
func TestRefusalsSlowANumberDown(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 80, 4096)
	c.come(20000, "a")
	c.end()
	for range 100 {
		c.heed(claim{tenant: "a", number: "a"}, cloudapi.BrakeNumber, time.Second)
	}
	calls := func(d time.Duration) int {
		before := count(c.came)
		for range d / (10 * time.Millisecond) {
			c.pass(10 * time.Millisecond)
		}
		return count(c.came) - before
	}
	c.want("resting", calls(time.Second-10*time.Millisecond), 0)
	if n := calls(5 * time.Second); n < 200 || n > 240 {
		t.Errorf("%d calls in five seconds right after, want about 210: half of 80 a second, rising", n)
	}
	calls(time.Minute)
	c.want("a minute later", calls(10*time.Second), 800)
	// One that is refused time and again does not starve: an eighth of its pace
	// is left, because refusals that fall at random would never let it rise.
	for range 20 {
		c.heed(claim{tenant: "a", number: "a"}, cloudapi.BrakeNumber, 0)
		calls(time.Second)
	}
	if n := calls(5 * time.Second); n < 50 || n > 80 {
		t.Errorf("%d calls in five seconds after twenty refusals, want about 60: an eighth of 80 a second, rising", n)
	}
}

// That a number is held up is told once a minute, also when it was quiet
// meanwhile; that a pair is, to nobody.
func TestHeldUpNumbersAreTold(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 80, 4096)
	a, b := claim{tenant: "a", number: "a"}, claim{tenant: "a", number: "b"}
	for _, step := range []struct {
		claim claim
		brake cloudapi.Brake
		after time.Duration
		news  bool
	}{
		{a, "", 0, false},
		{a, cloudapi.BrakePair, 0, false},
		{a, cloudapi.BrakeNumber, 0, true},
		{a, cloudapi.BrakeNumber, time.Second, false},
		{a, cloudapi.BrakeRest, 58 * time.Second, false},
		{b, cloudapi.BrakeRest, 0, true},
		{a, cloudapi.BrakeRest, time.Second, true},
		{b, cloudapi.BrakeNumber, 58 * time.Second, false},
	} {
		c.clock.move(step.after)
		if news := c.heed(step.claim, step.brake, time.Second); news != step.news {
			t.Errorf("%s of %s, %s later: told %t", step.brake, step.claim.number, step.after, news)
		}
	}
}

// When Meta says that a pair talks too much, that pair waits and starts from
// an empty bucket; the number goes on.
func TestRefusalsQuietAPair(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1000, 4096)
	one := claim{tenant: "a", number: "a", to: "one person"}
	c.heed(one, cloudapi.BrakePair, 16*time.Second)
	for range 10 {
		c.claim(one)
	}
	pair := c.came
	c.want("others", count(c.come(10, "a")), 10)
	c.pass(16*time.Second - 1)
	c.want("before its wait is over", count(pair), 0)
	c.pass(1)
	c.want("after it", count(pair), 1)
	c.pass(6 * time.Second)
	c.want("six seconds later", count(pair), 2)
}

// An account that Meta lets rest calls no one, and then goes on as fast as
// before.
func TestRest(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 80, 4096)
	c.heed(claim{tenant: "a", number: "a"}, cloudapi.BrakeRest, time.Minute)
	c.heed(claim{tenant: "a", number: "a"}, cloudapi.BrakeRest, time.Second) // a shorter wait does not end a longer one
	all := c.come(10, "a")
	c.pass(time.Minute - 1)
	c.want("resting", count(all), 0)
	c.pass(1)
	c.want("rested", count(all), 8)
}

// Tenants with equal calls get equal parts of the slots, however much each has
// waiting and however many numbers it waits with.
func TestEqualShares(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0, 30)
	busy := c.come(10000, "busy")
	var many []*waiter
	for i := range 1000 {
		c.n++
		many = append(many, c.claim(claim{tenant: "many", number: domain.NumberID(fmt.Sprint("many", i)), to: fmt.Sprint(c.n)}))
	}
	c.end()
	few := c.come(100, "few")
	before, beforeMany := count(busy), count(many)
	rounds := 0
	for ; count(few) < 100; rounds++ {
		c.pass(time.Millisecond)
	}
	if n := count(busy) - before; n < 80 || n > 130 {
		t.Errorf("while few made 100 calls busy made %d", n)
	}
	if n := count(many) - beforeMany; n < 80 || n > 130 {
		t.Errorf("while few made 100 calls many made %d", n)
	}
	if rounds > 15 {
		t.Errorf("30 slots took %d rounds for three times 100 calls", rounds)
	}
}

// A tenant whose calls hang leaves as many slots as it holds; one who was quiet
// gets through at once, however many hang.
func TestHangingCallsLeaveRoom(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0, 1000)
	a := c.come(10000, "a")
	c.want("alone", count(a), 500)
	b := c.come(10000, "b")
	c.want("beside another", count(b), 250)
	for i := range 30 {
		if quiet := c.come(1, fmt.Sprint("quiet", i)); count(quiet) != 1 {
			t.Fatalf("quiet tenant %d waits, %d slots are free", i, c.free)
		}
	}
	c.leave(a[0])
	c.want("a after one of its calls ended", count(a), 500) // its turn comes when it holds less than what is free
}

// Interactive messages of a number go before the bulk ones, each kind in its
// order.
func TestInteractiveBeforeBulk(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 10, 100) // one at a time
	at := func(name string, bulk bool) *waiter {
		return c.claim(claim{tenant: "a", number: "a", to: name, bulk: bulk})
	}
	first := at("first", false)
	b1, b2, i1, i2 := at("b1", true), at("b2", true), at("i1", false), at("i2", false)
	var order []*waiter
	for _, w := range []*waiter{first, i1, i2, b1, b2} {
		if !through(w) {
			t.Fatalf("%s did not go after %d others", w.to, len(order))
		}
		order = append(order, w)
		c.want("through", count(c.came), len(order))
		c.pass(100 * time.Millisecond)
	}
}

// Whoever stops waiting takes nobody's turn.
func TestLeavingGivesTheTurnOn(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0, 1)
	a := c.come(3, "a")
	c.leave(a[1])
	c.leave(a[0])
	c.want("through", count(a[2:]), 1)
	c.leave(a[2])
	c.want("free slots", c.free, 1)
	c.want("tenants remembered", len(c.tenants), 0)
}

// run wakes up when somebody's time has come, and a wait ends with its context.
func TestTurnsComeByTheClock(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 10, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.run(ctx) }()
	<-c.clock.sleeping
	got := make(chan error, 2)
	next := func(ctx context.Context) {
		done, err := c.wait(ctx, claim{tenant: "a", number: "a", to: "x"})
		if err == nil {
			done()
		}
		got <- err
	}
	next(ctx)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	go next(ctx)
	<-c.clock.sleeping // roused, it sleeps until the second turn
	select {
	case err := <-got:
		t.Fatalf("went before its time: %v", err)
	default:
	}
	c.clock.move(100 * time.Millisecond)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	go next(ctx)
	<-c.clock.sleeping
	cancel()
	if err := <-got; err == nil {
		t.Error("went although its context ended")
	}
	if err := <-ended; err == nil {
		t.Error("run returned nil")
	}
}

// What is as if it had never been is forgotten: a million people written to
// once leave no million buckets.
func TestTurnstileForgets(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1000, 100)
	most := 0
	for i := range 100_000 {
		tenant := domain.TenantID(fmt.Sprint(i % 2000))
		w := c.enter(claim{tenant: tenant, number: domain.NumberID(tenant), to: fmt.Sprint(i)})
		if !through(w) {
			t.Fatalf("message %d waits", i)
		}
		c.leave(w)
		c.clock.move(time.Millisecond)
		most = max(most, len(c.pairs)+len(c.numbers))
	}
	if most > 4*6000 { // six seconds at a thousand a second, twice for the sweep
		t.Errorf("up to %d entries were kept", most)
	}
}
