package streams_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// Three nodes, whose leader is made to step down every 400 ms while one of
// them is killed, under 32 callers who repeat what was not confirmed: every
// confirmed request is in the log, once, and no key has two.
func TestThreeNodesUnderFire(t *testing.T) {
	t.Parallel()
	servers, url := cluster(t)
	b := open(t, streams.Config{URL: url, Sealer: newVault(t)})
	log := b.Events()
	const callers, enough = 32, 6 // step-downs; the node is killed after a third of them
	var (
		mu        sync.Mutex
		confirmed = map[domain.Key]domain.Position{}
		all       sync.WaitGroup
		unsure    atomic.Int64
		downs     atomic.Int64
	)
	for c := range callers {
		all.Go(func() {
			for n := 0; downs.Load() < enough; n++ {
				k := message.OutgoingKey(tenantA, number, domain.OutgoingID(tenantA, fmt.Sprintf("%d-%d", c, n)))
				for { // as a client repeats a 503 under the same idempotency key
					e, err := domain.NewEvent(k, time.Now(), "test", &message.SendRequested{Type: "text"})
					if err != nil {
						t.Error(err)
						return
					}
					at, err := log.Append(t.Context(), e, domain.First())
					if errors.Is(err, domain.ErrConflict) { // an earlier try had landed
						events, lerr := log.Load(t.Context(), k)
						if lerr != nil || len(events) == 0 {
							unsure.Add(1)
							continue
						}
						at, err = events[0].Position, nil
					}
					if err == nil {
						mu.Lock()
						confirmed[k] = at
						mu.Unlock()
						break
					}
					if domain.KindOf(err) != domain.Unavailable {
						t.Errorf("append: %v", err)
						return
					}
					unsure.Add(1)
				}
			}
		})
	}
	fire, stop := context.WithCancel(t.Context())
	var firing sync.WaitGroup
	firing.Go(func() { stepDowns(fire, b, &downs) })
	waitFor(t, "the first step-downs", func() bool { return downs.Load() >= enough/3 })
	servers[2].Shutdown()
	all.Wait()
	stop()
	firing.Wait()
	t.Logf("%d confirmed over %d step-downs and one node killed, %d answers said nothing", len(confirmed), downs.Load(), unsure.Load())
	counted := map[domain.Key]int{}
	for _, e := range read(t, b, 0, len(confirmed)) {
		counted[e.Key]++
		if counted[e.Key] > 1 || confirmed[e.Key] != e.Position {
			t.Errorf("%s is at %d, confirmed at %d, seen %d times", e.Key.ID, e.Position, confirmed[e.Key], counted[e.Key])
		}
	}
	if tail, err := b.Reader().Tail(t.Context()); err != nil || int(tail) != len(confirmed) {
		t.Errorf("the log ends at %d, want %d: %v", tail, len(confirmed), err)
	}
}

// stepDowns makes the leader of EVENTS step down every 400 ms and counts how
// often it did, until ctx ends.
func stepDowns(ctx context.Context, b *streams.Broker, n *atomic.Int64) {
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			try, cancel := context.WithTimeout(ctx, time.Second)
			if _, err := b.JetStream().Conn().RequestWithContext(try, "$JS.API.STREAM.LEADER.STEPDOWN.EVENTS", nil); err == nil {
				n.Add(1)
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}
