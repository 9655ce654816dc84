package streams_test

import (
	"context"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// Processes that take of one day's allowance at once take all of it together,
// and not one more; a limit that is raised is heeded, and every day and tenant
// has its own.
func TestLedger(t *testing.T) {
	t.Parallel()
	oneAndThree(t, func(t *testing.T, b *streams.Broker) {
		var ledgers []*streams.Ledger
		for range 3 {
			l, err := b.Ledger(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ledgers = append(ledgers, l)
		}
		take := func(l *streams.Ledger, tenant domain.TenantID, day string, want, limit int) (int, int) {
			got, left, err := l.Take(t.Context(), tenant, day, want, limit)
			if err != nil {
				t.Error(err)
			}
			return got, left
		}
		var (
			mu  sync.Mutex
			sum int
			wg  sync.WaitGroup
		)
		for i := range 24 {
			wg.Go(func() {
				got, _ := take(ledgers[i%3], tenantA, "20261103", 7, 100)
				mu.Lock()
				defer mu.Unlock()
				sum += got
			})
		}
		wg.Wait()
		if sum != 100 {
			t.Errorf("%d taken of 100", sum)
		}
		if got, left := take(ledgers[0], tenantA, "20261103", 1, 100); got != 0 || left != 0 {
			t.Errorf("after the end: %d, %d left", got, left)
		}
		if got, left := take(ledgers[0], tenantA, "20261103", 3, 105); got != 3 || left != 2 {
			t.Errorf("of a raised limit: %d, %d left", got, left)
		}
		if got, left := take(ledgers[0], tenantA, "20261103", 3, 50); got != 0 || left != 0 {
			t.Errorf("of a lowered limit: %d, %d left", got, left)
		}
		for _, other := range [][2]string{{string(tenantB), "20261103"}, {string(tenantA), "20261104"}} {
			if got, left := take(ledgers[1], domain.TenantID(other[0]), other[1], 4, 5); got != 4 || left != 1 {
				t.Errorf("%v: %d, %d left", other, got, left)
			}
		}
		if _, _, err := ledgers[0].Take(t.Context(), "*", "20261103", 1, 1); domain.KindOf(err) != domain.Bug {
			t.Errorf("any tenant: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := ledgers[0].Take(ctx, tenantA, "20261105", 1, 1); domain.KindOf(err) != domain.Unavailable {
			t.Errorf("an ended context: %v", err)
		}
	})
}

// What was taken survives a restart of the log.
func TestLedgerSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, want := range []int{4, 1} {
		e := embed(t, dir, streams.Strict)
		b := open(t, streams.Config{Embedded: e, Sealer: newVault(t)})
		l, err := b.Ledger(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := l.Take(t.Context(), tenantA, "20261103", 4, 5); err != nil || got != want {
			t.Errorf("took %d, %v, want %d", got, err, want)
		}
		b.Close()
		e.Shutdown()
	}
}
