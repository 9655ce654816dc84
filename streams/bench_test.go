package streams_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/internal/plain"
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
				raw := plain.Start(b, d == streams.Strict).Connect(4)
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

// BenchmarkArchive is what the copy of an event costs, the server that stores it
// included.
func BenchmarkArchive(b *testing.B) {
	log := oneNode(b, streams.Interval)
	fillRaw(b, log, b.N)
	a := archiver(b, log)
	before := processorTime(b)
	b.ResetTimer()
	if at, err := a.Copy(b.Context()); err != nil || int(at) != b.N {
		b.Fatalf("archived up to %d: %v", at, err)
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkLane is what outcomes cost that this process records, and what they
// cost when their lane is handed them and says that nothing is left to do; the
// server included.
func BenchmarkLane(b *testing.B) {
	for _, handed := range []bool{false, true} {
		b.Run(fmt.Sprintf("handed=%t", handed), func(b *testing.B) {
			const portion = 2000
			log := oneNode(b, streams.Interval)
			var taken atomic.Int64
			if handed {
				go log.Lane(b.Context(), domain.Lane(number), func(d streams.Delivery) {
					_ = d.Done()
					taken.Add(1)
				})
			}
			before := processorTime(b)
			for done := 0; done < b.N; done += portion {
				events := make([]domain.Event, min(portion, b.N-done))
				for i := range events {
					e, err := domain.NewEvent(message.OutgoingKey(tenantA, number, domain.OutgoingID(tenantA, "")), time.Now(), "bench",
						&message.SendAccepted{Attempt: 1, Via: "answer", AcceptNames: message.AcceptNames{Wamid: domain.NewUUID()}})
					if err != nil {
						b.Fatal(err)
					}
					events[i] = e
				}
				if err := log.Events().Record(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
			waitFor(b, "the lane", func() bool { return !handed || taken.Load() == int64(b.N) })
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what the process has used, which a busy neighbour does not
// change.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppends is what the appends of one message cost: the request, which
// expects that its key is new in every lane, and two outcomes, each of which
// expects the one before.
func BenchmarkAppends(b *testing.B) {
	log := oneNode(b, streams.Interval).Events()
	b.ReportAllocs()
	b.ResetTimer()
	timed(b, b.N, 64, func(i int) error {
		k := message.OutgoingKey(tenantA, domain.NumberID(fmt.Sprint(i%128)), domain.OutgoingID(tenantA, ""))
		x := domain.First()
		for _, f := range []domain.Fact{
			&message.SendRequested{Type: "text", SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{"text":{"body":"hello"},"type":"text"}`), IdempotencyKey: "load-17", Fingerprint: "39d0a34bc1b6f5e1d2a7c5c0f0a3b0d9c1b6f5e1d2a7c5c0f0a3b0d9e1d2a7c5"}},
			&message.SendAttempted{Attempt: 1},
			&message.SendAccepted{Attempt: 1, Via: "answer", AcceptNames: message.AcceptNames{Wamid: "wamid.HBgLMTQxNTU1NTAxMDAVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA", WaID: "14155550100"}},
		} {
			e, err := domain.NewEvent(k, time.Now(), "bench", f)
			if err != nil {
				return err
			}
			at, err := log.Append(context.Background(), e, x)
			if err != nil {
				return err
			}
			x = domain.After(at)
		}
		return nil
	})
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
