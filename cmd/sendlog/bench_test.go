package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/internal/plain"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/streams"
)

// Each benchmark prints our rate beside the rate of plain JetStream in the
// same run, because machines differ and drift: ours/s, raw/s and their ratio.

const benchClients = 64

// BenchmarkAccept is POST /send over HTTP, in a process that does nothing else
// (what is accepted is not sent or folded meanwhile), beside publishing to the
// same server over as many connections, acknowledged one by one. Both get their
// load from a process of its own, messages of one size on subjects of their
// own; rounds alternate, and the median counts. Then it is asked for half of
// what it can do, evenly spread.
func BenchmarkAccept(b *testing.B) {
	for _, d := range []streams.Durability{streams.Interval, streams.Strict} {
		for _, clients := range []int{1, benchClients} {
			b.Run(fmt.Sprintf("%s/clients=%d", d, clients), func(b *testing.B) { benchAccept(b, d, clients) })
		}
	}
}

const (
	benchRounds = 3
	benchRound  = 3 * time.Second
	// benchEvent is how large an accepted request of the load is in the log
	// (bytes).
	benchEvent = 640
)

func benchAccept(b *testing.B, d streams.Durability, clients int) {
	c, err := readConfig(alone(b).with("DURABILITY", string(d)).get)
	if err != nil {
		b.Fatal(err)
	}
	c.Roles = []string{roleAPI}
	r := startConfig(b, c, quick)
	tenant, _ := r.register("Bench", "106540352242922", "mock_bench")
	ours := wish{HTTP: r.url + "/tenants/" + tenant + "/send", Clients: clients, For: benchRound}
	raw := wish{NATS: plain.Start(b, d == streams.Strict).URL(), Clients: clients, For: benchRound, Size: benchEvent}
	warm := ours
	warm.For = time.Second
	loadFrom(b, warm)
	for b.Loop() {
		var mine, raws []outcome
		var cpu, plainCPU time.Duration // of this process for one request, summed over the rounds
		for range benchRounds {
			mine = append(mine, spending(b, ours, &cpu))
			raws = append(raws, spending(b, raw, &plainCPU))
		}
		byRate := func(x, y outcome) int { return cmp.Compare(x.Rate, y.Rate) }
		slices.SortFunc(mine, byRate)
		slices.SortFunc(raws, byRate)
		knee, base := mine[benchRounds/2], raws[benchRounds/2]
		half := ours
		half.Rate = knee.Rate / 2
		calm := loadFrom(b, half)
		b.ReportMetric(knee.Rate, "ours/s")
		b.ReportMetric(base.Rate, "raw/s")
		b.ReportMetric(knee.Rate/base.Rate, "ratio")
		b.ReportMetric((mine[benchRounds-1].Rate-mine[0].Rate)/knee.Rate, "spread")
		b.ReportMetric((raws[benchRounds-1].Rate-raws[0].Rate)/base.Rate, "raw-spread")
		b.ReportMetric(float64(cpu.Microseconds())/benchRounds, "server-cpu-us")
		b.ReportMetric(float64(plainCPU.Microseconds())/benchRounds, "raw-server-cpu-us")
		b.ReportMetric(milliseconds(knee.P99), "p99-ms")
		b.ReportMetric(milliseconds(calm.P50), "half-p50-ms")
		b.ReportMetric(milliseconds(calm.P99), "half-p99-ms")
		b.ReportMetric(0, "ns/op") // a rate says it better
	}
}

// spending makes load and adds what one request of it cost this process: on a
// machine that others use, that is the figure that holds still.
func spending(b *testing.B, w wish, cpu *time.Duration) outcome {
	b.Helper()
	before := processorTime(b, os.Getpid())
	o := loadFrom(b, w)
	*cpu += time.Duration(float64(processorTime(b, os.Getpid())-before) / (o.Rate * w.For.Seconds()))
	return o
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkAcceptToOutcome is from the request to the recorded outcome of its
// call, the provider answering in process.
func BenchmarkAcceptToOutcome(b *testing.B) {
	r := start(b, alone(b), quick)
	tenant, _ := r.register("Bench", "106540352242922", "mock_bench")
	raw := newRawLog(b, false)
	b.ResetTimer()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- awaitOutcomes(b.Context(), r, b.N) }()
	ours := load(b, b.N, func(i int) error {
		return expect(202, r, "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415%07d","text":"Hello %d"}`, i%1000000, i))
	})
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	ours.elapsed = time.Since(began)
	ours.report(b, raw.publish(b, b.N))
}

// awaitOutcomes returns when n outcomes are in the log.
func awaitOutcomes(ctx context.Context, r *running, n int) error {
	c, err := r.broker.Reader().Open(ctx, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	for n > 0 {
		events, err := c.Next(ctx, 1000)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Type == message.TypeSendAccepted {
				n--
			}
		}
	}
	return nil
}

// BenchmarkWebhookIngest is POST /whatsapp/webhook by 64 clients, one status
// each.
func BenchmarkWebhookIngest(b *testing.B) {
	r := start(b, alone(b), quick)
	r.register("Bench", "106540352242922", "mock_bench")
	raw := newRawLog(b, false)
	b.ResetTimer()
	ours := load(b, b.N, func(i int) error {
		return expect(200, r, "/whatsapp/webhook", fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{`+
			`"messaging_product":"whatsapp","metadata":{"phone_number_id":"106540352242922"},`+
			`"statuses":[{"id":"wamid.bench%d","status":"sent","timestamp":"1795435602","recipient_id":"14155550100"}]}}]}]}`, i))
	})
	ours.report(b, raw.publish(b, b.N))
}

// BenchmarkRebuild replays a log of sends and statuses into a fresh generation
// of messages, beside plain reading of the same number of JetStream messages.
func BenchmarkRebuild(b *testing.B) {
	const sends = 5000
	r := start(b, alone(b), quick)
	tenant, _ := r.register("Bench", "106540352242922", "mock_bench")
	load(b, sends, func(i int) error {
		return expect(202, r, "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415%07d","text":"Hello"}`, i))
	})
	if err := awaitOutcomes(b.Context(), r, sends); err != nil {
		b.Fatal(err)
	}
	r.settle()
	raw := newRawLog(b, false)
	raw.publish(b, sends*6)
	b.ResetTimer()
	var ours measured
	for range b.N {
		began := time.Now()
		events := 0
		if err := r.library.Rebuild(b.Context(), "messages", func(p projections.Progress) { events = p.Events }); err != nil {
			b.Fatal(err)
		}
		ours.elapsed += time.Since(began)
		ours.n += events
	}
	ours.report(b, raw.read(b))
}

// expect posts a body and wants a status.
func expect(status int, r *running, path, body string) error {
	a, err := request(context.Background(), r.http, http.MethodPost, r.url+path, body, r.key)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s: %d %s", path, a.status, a.body)
	}
	return err
}

// measured is n things done, with the time each took if it was taken.
type measured struct {
	n       int
	elapsed time.Duration
	each    []time.Duration
}

func (m measured) rate() float64 { return float64(m.n) / m.elapsed.Seconds() }

func (m measured) report(b *testing.B, raw measured) {
	b.ReportMetric(m.rate(), "ours/s")
	b.ReportMetric(raw.rate(), "raw/s")
	b.ReportMetric(m.rate()/raw.rate(), "ratio")
	b.ReportMetric(0, "ns/op") // a rate says it better
	if len(m.each) > 0 {
		slices.Sort(m.each)
		b.ReportMetric(float64(m.each[len(m.each)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(m.each[len(m.each)*99/100].Microseconds())/1000, "p99-ms")
	}
}

// load calls fn n times from 64 clients, closed loop.
func load(b *testing.B, n int, fn func(i int) error) measured {
	b.Helper()
	m := measured{n: n, each: make([]time.Duration, n)}
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	began := time.Now()
	for range benchClients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || b.Failed() {
					return
				}
				at := time.Now()
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
				m.each[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	m.elapsed = time.Since(began)
	return m
}

// rawLog is JetStream without us: the same server in process, the same number
// of connections and publishers, 300-byte messages on distinct subjects.
type rawLog struct {
	js []jetstream.JetStream
}

func newRawLog(b *testing.B, always bool) *rawLog {
	b.Helper()
	return &rawLog{js: plain.Start(b, always).Connect(4)}
}

func (r *rawLog) publish(b *testing.B, n int) measured {
	payload := make([]byte, 300)
	run := domain.NewUUID()
	return load(b, n, func(i int) error {
		_, err := r.js[i%len(r.js)].Publish(context.Background(), fmt.Sprintf("raw.%s.%d", run, i), payload)
		return err
	})
}

func (r *rawLog) read(b *testing.B) measured {
	s, err := r.js[0].Stream(b.Context(), "RAW")
	if err != nil {
		b.Fatal(err)
	}
	n := int(s.CachedInfo().State.Msgs)
	began := time.Now()
	c, err := r.js[0].OrderedConsumer(b.Context(), "RAW", jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	msgs, err := c.Messages(jetstream.PullMaxMessages(2000))
	if err != nil {
		b.Fatal(err)
	}
	defer msgs.Stop()
	for range n {
		if _, err := msgs.Next(); err != nil {
			b.Fatal(err)
		}
	}
	return measured{n: n, elapsed: time.Since(began)}
}
