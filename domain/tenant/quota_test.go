package tenant_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// hand is a clock that a test moves.
type hand struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hand) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hand) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func (h *hand) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// book is a ledger in memory.
type book struct {
	mu    sync.Mutex
	taken map[string]int
	asked int
}

func (b *book) Take(_ context.Context, t domain.TenantID, day string, want, limit int) (got, left int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken == nil {
		b.taken = map[string]int{}
	}
	b.asked++
	key := string(t) + day
	got = max(0, min(want, limit-b.taken[key]))
	b.taken[key] += got
	return got, max(0, limit-b.taken[key]), nil
}

// throttles makes n processes that share one ledger and one clock.
func throttles(n int) ([]*tenant.Throttle, *hand, *book) {
	clock, ledger := &hand{now: start}, &book{}
	out := make([]*tenant.Throttle, n)
	for i := range out {
		out[i] = &tenant.Throttle{Clock: clock, Ledger: ledger, Shares: func() int { return n }}
	}
	return out, clock, ledger
}

// take asks once and fails on an error.
func take(t rapid.TB, h *tenant.Throttle, q tenant.Quota) tenant.Allowance {
	t.Helper()
	a, err := h.Take(context.Background(), "ten_a", q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Whatever the order and the times of the requests, the processes together
// accept, in any stretch of time, no more than the quota of that time and one
// bucket; and no more than the day's quota on a day, restarts included.
func TestThrottleNeverExceedsTheQuota(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "processes")
		q := tenant.Quota{PerSecond: rapid.IntRange(0, 20).Draw(t, "per second"), PerDay: rapid.IntRange(0, 60).Draw(t, "per day")}
		house, clock, ledger := throttles(n)
		days := map[string]int{}
		accepted := 0
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			clock.move(time.Duration(rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(t, "later")))
			if rapid.IntRange(0, 40).Draw(t, "night") == 0 {
				clock.move(9 * time.Hour)
			}
			i := rapid.IntRange(0, n-1).Draw(t, "process")
			if rapid.IntRange(0, 20).Draw(t, "restart") == 0 {
				house[i] = &tenant.Throttle{Clock: clock, Ledger: ledger, Shares: func() int { return n }}
				continue
			}
			a := take(t, house[i], q)
			if !a.OK {
				if a.Wait <= 0 {
					t.Fatalf("refused without saying for how long: %+v", a)
				}
				continue
			}
			accepted++
			days[clock.Now().Format("20060102")]++
		}
		for day, sent := range days {
			if q.PerDay > 0 && sent > q.PerDay {
				t.Fatalf("%d accepted on %s, the quota is %d", sent, day, q.PerDay)
			}
		}
	})
}

// In any second the processes together accept no more than what fills their
// buckets in it, and what they held.
func TestThrottlePerSecond(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "processes")
		q := tenant.Quota{PerSecond: rapid.IntRange(1, 50).Draw(t, "per second")}
		house, clock, _ := throttles(n)
		accepted, elapsed := 0, time.Duration(0)
		for range rapid.IntRange(1, 400).Draw(t, "requests") {
			d := time.Duration(rapid.Int64Range(0, int64(50*time.Millisecond)).Draw(t, "later"))
			clock.move(d)
			elapsed += d
			if take(t, house[rapid.IntRange(0, n-1).Draw(t, "process")], q).OK {
				accepted++
			}
		}
		if most := elapsed.Seconds()*float64(q.PerSecond) + float64(max(q.PerSecond, n)) + 1e-6; float64(accepted) > most {
			t.Fatalf("%d accepted in %s, at most %.1f may be", accepted, elapsed, most)
		}
	})
}

// Whoever keeps to the rate is never refused, and a share that is less than one
// is still one request at a time.
func TestThrottleLetsTheRateThrough(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		house, clock, _ := throttles(n)
		q := tenant.Quota{PerSecond: 2}
		for i := range 50 {
			for _, h := range house {
				if !take(t, h, q).OK {
					t.Fatalf("request %d of %d processes was refused", i, n)
				}
			}
			clock.move(time.Duration(n) * time.Second / 2)
		}
	}
}

// A day's quota is used to its end, in few portions, and anew the next day.
func TestThrottlePerDay(t *testing.T) {
	t.Parallel()
	house, clock, ledger := throttles(2)
	q := tenant.Quota{PerDay: 1000}
	for day := range 2 {
		accepted := 0
		for i := range 3000 {
			if take(t, house[i%2], q).OK {
				accepted++
			}
		}
		if accepted != 1000 {
			t.Errorf("day %d: %d accepted", day, accepted)
		}
		clock.move(24 * time.Hour)
	}
	if ledger.asked > 100 {
		t.Errorf("the ledger was asked %d times for 2000 requests", ledger.asked)
	}
}

// What is given back can be used; what was never limited costs nothing.
func TestThrottleReturn(t *testing.T) {
	t.Parallel()
	house, _, ledger := throttles(1)
	q := tenant.Quota{PerSecond: 1, PerDay: 1}
	for i := range 5 {
		if !take(t, house[0], q).OK {
			t.Fatalf("time %d: refused", i)
		}
		if take(t, house[0], q).OK {
			t.Fatalf("time %d: a second one was accepted", i)
		}
		house[0].Return("ten_a", q)
	}
	for range 100 {
		house[0].Return("ten_b", tenant.Quota{})
		if a, err := house[0].Take(t.Context(), "ten_b", tenant.Quota{}); err != nil || !a.OK {
			t.Fatal(a, err)
		}
	}
	if ledger.asked != 1 {
		t.Errorf("the ledger was asked %d times", ledger.asked)
	}
}

// Requests of one tenant at once never get more than there is.
func TestThrottleConcurrently(t *testing.T) {
	t.Parallel()
	house, _, _ := throttles(3)
	var (
		mu  sync.Mutex
		got int
		wg  sync.WaitGroup
	)
	for i := range 64 {
		wg.Go(func() {
			for range 20 {
				if a, err := house[i%3].Take(t.Context(), "ten_a", tenant.Quota{PerDay: 500}); err == nil && a.OK {
					mu.Lock()
					got++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if got != 500 {
		t.Errorf("%d accepted, want 500", got)
	}
}

// BenchmarkThrottle is what a request with a quota costs.
func BenchmarkThrottle(b *testing.B) {
	for _, q := range []tenant.Quota{{}, {PerSecond: tenant.MaxQuota}, {PerSecond: tenant.MaxQuota, PerDay: tenant.MaxQuota}} {
		b.Run(fmt.Sprintf("%+v", q), func(b *testing.B) {
			house, _, _ := throttles(1)
			for b.Loop() {
				if _, err := house[0].Take(context.Background(), "ten_a", q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
