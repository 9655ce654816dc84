package streams_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// BenchmarkAppend is our append beside a plain JetStream publish of the same
// durability and size, with the same callers. Both take turns, so that what the
// machine does meanwhile meets both.
func BenchmarkAppend(b *testing.B) {
	const turns = 20
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		for _, callers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", d, callers), func(b *testing.B) {
				log := oneNode(b, d).Events()
				raw := plain(b, d == streams.Strict)
				var ours, base time.Duration
				b.ResetTimer()
				for turn := range turns {
					n := b.N*(turn+1)/turns - b.N*turn/turns
					ours += timed(b, n, callers, func(int) error {
						k := message.OutgoingKey(tenantA, number, domain.OutgoingID(tenantA, ""))
						e, err := domain.NewEvent(k, time.Now(), "bench", &message.SendRequested{Type: "text",
							SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{"type":"text","text":{"body":"hello"}}`)}})
						if err == nil {
							_, err = log.Append(context.Background(), e, domain.First())
						}
						return err
					})
					base += timed(b, n, callers, func(i int) error {
						_, err := raw[i%len(raw)].Publish(context.Background(), "raw."+domain.NewUUID(), make([]byte, 600))
						return err
					})
				}
				b.ReportMetric(float64(b.N)/ours.Seconds(), "ours/s")
				b.ReportMetric(float64(b.N)/base.Seconds(), "raw/s")
				b.ReportMetric(base.Seconds()/ours.Seconds(), "ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// timed calls fn n times from a number of callers.
func timed(b *testing.B, n, callers int, fn func(i int) error) time.Duration {
	b.Helper()
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// plain is JetStream without us: the same server, in process, four connections.
func plain(b *testing.B, always bool) []jetstream.JetStream {
	b.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "plain", JetStream: true, StoreDir: b.TempDir(), DontListen: true,
		NoSigs: true, NoLog: true, SyncInterval: 100 * time.Millisecond, SyncAlways: always})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	var out []jetstream.JetStream
	for range 4 {
		nc, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, js)
	}
	if _, err := out[0].CreateStream(b.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}}); err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkReadBacklog reads one number's backlog in portions, from a log of
// SENDLOG_HOTLOG requests of 64 numbers and two tenants: what is looked at are
// the requests of one tenant in one lane.
func BenchmarkReadBacklog(b *testing.B) {
	const portion = 256
	events := sizeOf(b, hotLogEvents, 100_000)
	e, log := openUnsealed(b, b.TempDir())
	defer e.Shutdown()
	defer log.Close()
	for from := 0; from < events; from += 10_000 {
		batch := make([]domain.Event, min(10_000, events-from))
		for i := range batch {
			k := outgoing(domain.NumberID(fmt.Sprint((from + i) % 64)))
			if i%2 == 1 {
				k.Tenant = tenantB
			}
			batch[i] = newEvent(b, k, "a message of some words, as people write them")
		}
		if err := log.Events().Record(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	l := streams.Backlog{Tenant: tenantA, Number: "2", From: 1}
	requests := 0
	for b.Loop() {
		got, next, end, err := log.ReadBacklog(b.Context(), l, portion)
		if err != nil {
			b.Fatal(err)
		}
		if requests += len(got); end {
			next = 1
		}
		l.From = next
	}
	b.ReportMetric(float64(requests)/b.Elapsed().Seconds(), "requests/s")
}
