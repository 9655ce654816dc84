package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/valyala/fasthttp"

	"github.com/sendlog/sendlog/domain/message"
)

// From the request to the recorded outcome of its call, with everything in a
// process of its own: the house, a pretend Meta, and here the load. Who has two
// cores shares them between the three.

const (
	benchNumbers = 128 // their pace (80 messages a second each) is not what is measured
	benchTime    = 6 * time.Second
)

// BenchmarkSend measures as fast as 64 clients can ask, and at fixed rates,
// where a request counts from the moment it was due. `make bench-peer` measures
// the peer beside it.
func BenchmarkSend(b *testing.B) {
	for _, rate := range []int{0, 500, 1000, 2000, 4000} {
		name := "closed"
		if rate > 0 {
			name = fmt.Sprintf("%d-a-second", rate)
		}
		var ours float64
		b.Run(name+"/sendlog", func(b *testing.B) {
			for range b.N {
				s := newSendlogBench(b)
				raw := newRawLog(b, false)
				r := s.measure(b, rate)
				r.report(b)
				ours = r.rate()
				b.ReportMetric(raw.publish(b, 20000).rate(), "raw/s")
			}
		})
		if dir := os.Getenv(peerEnv); dir != "" {
			b.Run(name+"/peer", func(b *testing.B) {
				for range b.N {
					r := newPeerBench(b, dir).measure(b, rate)
					r.report(b)
					b.ReportMetric(ours/r.rate(), "ours/peer")
				}
			})
		}
	}
}

// BenchmarkIdle is what a house with [benchNumbers] tenants costs while nobody
// asks it for anything: what is paid by the moment and not by the message.
func BenchmarkIdle(b *testing.B) {
	for range b.N {
		s := newSendlogBench(b)
		s.post(b, 0, "warm")
		s.await(b)
		before, began := s.cpu(b)["ours"], time.Now()
		time.Sleep(2 * benchTime) // the moments are the load
		b.ReportMetric(float64((s.cpu(b)["ours"]-before).Microseconds())/1000/time.Since(began).Seconds(), "ours-cpu-ms/s")
		b.ReportMetric(0, "ns/op")
		s.outcomes() // stops it
	}
}

// sendBench is a system that takes messages and sends them to a pretend Meta.
type sendBench struct {
	parts    map[string]int // process ids
	send     []string       // URLs that take a message: one for each number
	posted   atomic.Int64   // messages taken
	settled  func() bool    // nothing is left to do, and all can be read
	outcomes func() map[string]time.Time
}

// sendResult is what one run of a sendBench showed.
type sendResult struct {
	accepted, recorded int
	elapsed            time.Duration // from the first request to the last outcome
	accepting          time.Duration // from the first request to the last answer
	settling           time.Duration // from the last outcome to everything being readable
	accept, outcome    []time.Duration
	cpu                map[string]time.Duration // by process, for all messages
}

// rate is how many outcomes were recorded a second.
func (s sendResult) rate() float64 { return float64(s.recorded) / s.elapsed.Seconds() }

func (s sendResult) report(b *testing.B) {
	slices.Sort(s.accept)
	slices.Sort(s.outcome)
	ms := func(all []time.Duration, percent int) float64 {
		return float64(all[len(all)*percent/100].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op") // a rate says it better
	b.ReportMetric(s.rate(), "sends/s")
	b.ReportMetric(float64(s.accepted)/s.accepting.Seconds(), "accepts/s")
	b.ReportMetric(ms(s.accept, 99), "accept-p99-ms")
	b.ReportMetric(ms(s.outcome, 50), "outcome-p50-ms")
	b.ReportMetric(ms(s.outcome, 99), "outcome-p99-ms")
	b.ReportMetric(s.settling.Seconds()*1000, "readable-ms")
	for part, spent := range s.cpu {
		b.ReportMetric(float64(spent.Microseconds())/float64(s.accepted), part+"-cpu-us")
	}
}

// measure sends for [benchTime] at a rate (messages a second), or as fast as 64
// clients can when it is 0.
func (s *sendBench) measure(b *testing.B, rate int) sendResult {
	b.Helper()
	for i := range 500 { // connections, caches
		s.post(b, i, "warm")
	}
	s.await(b)
	before := s.cpu(b)
	var (
		r       = sendResult{cpu: map[string]time.Duration{}}
		mu      sync.Mutex
		due     = map[string]time.Time{}
		next    atomic.Int64
		clients sync.WaitGroup
		began   = time.Now()
		most    = benchClients
	)
	if rate > 0 {
		most = 512 // enough that nobody is late because all clients are waiting
	}
	for range most {
		clients.Go(func() {
			for !b.Failed() {
				i := int(next.Add(1)) - 1
				at := time.Now()
				if rate > 0 {
					at = began.Add(time.Duration(i) * time.Second / time.Duration(rate))
				}
				if at.Sub(began) > benchTime {
					return
				}
				time.Sleep(time.Until(at)) // the moment it is due is the load
				id := s.post(b, i, "load")
				took := time.Since(at)
				mu.Lock()
				due[id] = at
				r.accept = append(r.accept, took)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	r.accepting = time.Since(began)
	s.await(b)
	end := time.Now()
	for part, spent := range s.cpu(b) {
		r.cpu[part] = spent - before[part]
	}
	r.accepted = len(due)
	last := began
	for id, at := range s.outcomes() {
		if from, ours := due[id]; ours {
			r.recorded++
			r.outcome = append(r.outcome, at.Sub(from))
			last = later(last, at)
		}
	}
	if r.recorded != r.accepted {
		b.Fatalf("%d outcomes of %d messages", r.recorded, r.accepted)
	}
	r.elapsed, r.settling = last.Sub(began), end.Sub(last)
	return r
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// post sends message i and returns its id.
func (s *sendBench) post(b *testing.B, i int, word string) string {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(s.send[i%len(s.send)])
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.SetBodyString(fmt.Sprintf(`{"to":"+1415%07d","text":"Hello %d","idempotency_key":"%s-%d"}`, i%10000000, i, word, i))
	if err := loadClient.Do(req, res); err != nil {
		b.Error(err)
		return ""
	}
	var answer struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(res.Body(), &answer); err != nil || res.StatusCode() != 202 || answer.ID == "" {
		b.Errorf("%d %s", res.StatusCode(), res.Body())
	}
	s.posted.Add(1)
	return answer.ID
}

// loadClient costs as little as it can: it runs on the cores that are measured.
var loadClient = &fasthttp.Client{MaxConnsPerHost: 1024, NoDefaultUserAgentHeader: true}

// await returns when everything is done. It asks seldom: asking costs the
// processor time that is measured.
func (s *sendBench) await(b *testing.B) {
	for began := time.Now(); !s.settled(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 5*time.Minute {
			b.Fatal("waited in vain for everything to be done")
		}
	}
}

// cpu is what each process has used so far.
func (s *sendBench) cpu(b *testing.B) map[string]time.Duration {
	spent := map[string]time.Duration{}
	for part, pid := range s.parts {
		spent[part] = processorTime(b, pid)
	}
	return spent
}

// processorTime is what a process has used so far; nothing where there is no
// /proc.
func processorTime(b *testing.B, pid int) (spent time.Duration) {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		spent += time.Duration(n) * 10 * time.Millisecond
	}
	return spent
}

// newSendlogBench starts a pretend Meta and a house that sends to it.
func newSendlogBench(b *testing.B) *sendBench {
	meta := spawnUntil(b, settings{}, "listens", "mock-graph", "--addr", "127.0.0.1:0")
	env := alone(b).with("GRAPH_URL", meta.url, "ADMIN_ADDR", "127.0.0.1:"+freePort(b), profileEnv, os.Getenv(profileEnv))
	house := spawn(b, env, "serve")
	s := &sendBench{parts: map[string]int{"load": os.Getpid(), "meta": meta.cmd.Process.Pid, "ours": house.cmd.Process.Pid}}
	client := &http.Client{Timeout: 10 * time.Second}
	for i := range benchNumbers {
		a, err := request(b.Context(), client, "POST", house.url+"/tenants/register",
			fmt.Sprintf(`{"name":"Bench","phoneNumberId":"1065403522%05d","accessToken":"EAAbench"}`, i), "")
		if err != nil || a.status != 201 {
			b.Fatalf("register: %d %s %v", a.status, a.body, err)
		}
		s.send = append(s.send, house.url+"/tenants/"+a.json(b)["id"].(string)+"/send")
	}
	s.settled = func() bool {
		a, err := request(b.Context(), client, "GET", "http://"+env["ADMIN_ADDR"]+"/metrics", "", "")
		if err != nil {
			return false
		}
		concluded, lag := 0.0, 0.0
		for line := range strings.SplitSeq(string(a.body), "\n") {
			name, value, _ := strings.Cut(line, " ")
			n, _ := strconv.ParseFloat(value, 64)
			switch name {
			case `sendlog_attempts_total{outcome="accepted"}`:
				concluded = n
			case `sendlog_model_lag{model="messages"}`, `sendlog_model_lag{model="customers"}`:
				lag += n
			}
		}
		return concluded == float64(s.posted.Load()) && lag == 0
	}
	s.outcomes = func() map[string]time.Time {
		if err := house.interrupt(); err != nil {
			b.Fatalf("%v\n%s", err, house.said)
		}
		return recordedOutcomes(b, filepath.Join(env["DATA_DIR"], "log"))
	}
	return s
}

// recordedOutcomes reads when the log of a house that has stopped took each
// outcome, by message.
func recordedOutcomes(b *testing.B, dir string) map[string]time.Time {
	s, err := server.NewServer(&server.Options{ServerName: "sendlog-embedded", JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	all, err := js.OrderedConsumer(b.Context(), "EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"evt.*.msg.>"}})
	if err != nil {
		b.Fatal(err)
	}
	at := map[string]time.Time{}
	for left := all.CachedInfo().NumPending; left > 0; left-- {
		m, err := all.Next(jetstream.FetchContext(context.WithoutCancel(b.Context())))
		if err != nil {
			b.Fatal(err)
		}
		var e struct {
			Type string `json:"type"`
		}
		meta, err := m.Metadata()
		if err != nil || json.Unmarshal(m.Data(), &e) != nil {
			b.Fatal(err)
		}
		if e.Type == message.TypeSendAccepted {
			at[m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]] = meta.Timestamp
		}
	}
	return at
}
