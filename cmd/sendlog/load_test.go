package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/valyala/fasthttp"

	"github.com/sendlog/sendlog/domain"
)

// loadEnv makes the test binary a process that makes load, so that what is
// measured does not pay for it. Its value is a [wish] in JSON.
const loadEnv = "SENDLOG_TEST_LOAD"

// wish is what load to make: closed loop, or open loop when there is a rate.
type wish struct {
	HTTP    string        // address to post to; or
	NATS    string        // server to publish to, on subjects below "raw."
	Clients int           // connections, each with one request under way
	For     time.Duration // how long
	Rate    float64       // requests a second of all clients; 0: as many as are answered
	Size    int           // of a message to NATS (bytes)
}

// outcome is what the load came to.
type outcome struct {
	Rate     float64 // answers a second
	P50, P99 time.Duration
}

// makeLoad runs the load and prints its outcome.
func makeLoad(text string) error {
	var w wish
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	var (
		all    sync.WaitGroup
		failed error
		once   sync.Once
		took   = make([][]time.Duration, w.Clients)
	)
	begin := time.Now().Add(50 * time.Millisecond)
	for c := range w.Clients {
		one, err := w.client(c)
		if err != nil {
			return err
		}
		all.Go(func() {
			// Open loop: a late answer makes the next ones late too, and all of that
			// counts.
			step := time.Duration(0)
			due := begin
			if w.Rate > 0 {
				step = time.Duration(float64(w.Clients) / w.Rate * float64(time.Second))
				due = due.Add(step * time.Duration(c) / time.Duration(w.Clients))
			}
			_ = domain.SystemClock{}.Sleep(context.Background(), time.Until(due))
			for n := 0; time.Since(begin) < w.For; n++ {
				if w.Rate == 0 {
					due = time.Now()
				}
				if err := one(n); err != nil {
					once.Do(func() { failed = err })
					return
				}
				took[c] = append(took[c], time.Since(due))
				if due = due.Add(step); w.Rate > 0 {
					_ = domain.SystemClock{}.Sleep(context.Background(), time.Until(due))
				}
			}
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	if failed != nil {
		return failed
	}
	each := slices.Concat(took...)
	slices.Sort(each)
	if len(each) == 0 {
		return fmt.Errorf("nothing was answered")
	}
	return json.NewEncoder(os.Stdout).Encode(outcome{
		Rate: float64(len(each)) / elapsed.Seconds(), P50: each[len(each)/2], P99: each[len(each)*99/100]})
}

// client connects and returns what makes its n-th request.
func (w wish) client(c int) (func(n int) error, error) {
	if w.NATS != "" {
		nc, err := nats.Connect(w.NATS)
		if err != nil {
			return nil, err
		}
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, err
		}
		payload, run := make([]byte, w.Size), domain.NewUUID()
		return func(n int) error {
			_, err := js.Publish(context.Background(), fmt.Sprintf("raw.%s.%d", run, n), payload)
			return err
		}, nil
	}
	http := &fasthttp.Client{MaxConnsPerHost: 1}
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI(w.HTTP)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.Header.SetContentType("application/json")
	return func(n int) error {
		req.SetBodyString(fmt.Sprintf(`{"to":"+1415555%04d","text":"Hello %d from %d"}`, n%10000, n, c))
		if err := http.Do(req, res); err != nil {
			return err
		}
		if res.StatusCode() != fasthttp.StatusAccepted {
			return fmt.Errorf("%d %s", res.StatusCode(), res.Body())
		}
		return nil
	}, nil
}

// loadFrom makes load in a process of its own.
func loadFrom(b *testing.B, w wish) outcome {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(w)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), loadEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		b.Fatalf("load: %v %s", err, said)
	}
	var o outcome
	if err := json.Unmarshal(said, &o); err != nil {
		b.Fatal(err)
	}
	return o
}
