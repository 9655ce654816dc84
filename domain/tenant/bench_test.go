package tenant_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// journalOf makes the events of n tenants as they are stored, sealed parts as
// large as real ones.
func journalOf(b *testing.B, n int) []domain.Event {
	b.Helper()
	events := make([]domain.Event, n)
	for i := range events {
		_, id, hash := tenant.NewAPIKey()
		f := &tenant.Registered{Name: fmt.Sprint("Tenant ", i), Number: domain.NumberID(fmt.Sprint(100000000000000 + i)),
			WABA: fmt.Sprint(200000000000000 + i), KEK: "key-0123456789ab", DataKey: make([]byte, 170), Token: make([]byte, 230), KeyID: id, KeyHash: hash}
		e, err := domain.NewEvent(tenant.Key(domain.NewTenantID()), start, "admin", f)
		if err != nil {
			b.Fatal(err)
		}
		e.Position = domain.Position(i + 1)
		events[i] = e
	}
	return events
}

// BenchmarkDirectory100k is a directory of 100,000 tenants: the time to fold
// it, its memory, and the first and every further page of a list.
func BenchmarkDirectory100k(b *testing.B) {
	const n = 100_000
	events := journalOf(b, n)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		d := tenant.NewDirectory()
		for _, e := range events {
			if err := d.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(time.Since(began).Seconds(), "fold-s")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/tenant")
		began = time.Now()
		page := d.List("", 50)
		b.ReportMetric(float64(time.Since(began).Microseconds()), "first-page-µs")
		began = time.Now()
		for range 1000 {
			page = d.List(page[len(page)-1].ID, 50)
		}
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/1000/1000, "page-µs")
		runtime.KeepAlive(d)
	}
}
