package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// sizeFrom reads a size that `make storm` sets.
func sizeFrom(t testing.TB, name string, fallback int) int {
	t.Helper()
	if os.Getenv(name) == "" {
		return fallback
	}
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		t.Fatalf("%s is not a number", name)
	}
	return n
}

// verdicts is what clients were told about one key.
type verdicts struct {
	id       string
	position domain.Position
	accepted map[int]int // 202s, by body
	refused  map[int]int // 422s, by body
	spoken   bool        // a request was made
}

// Requests with idempotency keys, repeated with the same and with other bodies
// by clients that give up and ask again, while the process is killed -9 again
// and again: every key has one event at most, every 202 is the one of its key,
// and every 422 had another body than the event.
func TestKeysUnderKills(t *testing.T) {
	t.Parallel()
	kills, requests := sizeFrom(t, "SENDLOG_KILLS", 5), sizeFrom(t, "SENDLOG_REQUESTS", 1000)
	seed := uint64(sizeFrom(t, "SENDLOG_SEED", int(rand.Uint32())))
	t.Logf("SENDLOG_SEED=%d", seed)
	env := alone(t).with("DURABILITY", "strict", "PORT", freePort(t))
	p := spawn(t, env, "serve")
	base := p.url
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	a, err := request(t.Context(), client, "POST", base+"/tenants/register", `{"name":"A","phoneNumberId":"1","accessToken":"mock_x"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenantID := a.json(t)["id"].(string)

	var (
		mu       sync.Mutex
		told     = make([]verdicts, requests/2) // by key: each is asked for about twice
		answered atomic.Int64
		lost     atomic.Int64 // tries without an answer
		clients  sync.WaitGroup
	)
	ask := func(rng *rand.Rand) bool {
		key, body := rng.IntN(len(told)), max(0, rng.IntN(10)-7) // two of ten have another body
		text := fmt.Sprintf(`{"to":"+1415555%04d","text":"%d/%d","idempotency_key":"k%d"}`, key%10000, key, body, key)
		for t.Context().Err() == nil {
			patience := 10 * time.Second
			if rng.IntN(20) == 0 { // this client is in a hurry
				patience = time.Duration(rng.IntN(20)) * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			a, err := request(ctx, client, "POST", base+"/tenants/"+tenantID+"/send", text, "")
			cancel()
			if err != nil || a.status == 503 {
				lost.Add(1)
				_ = domain.SystemClock{}.Sleep(t.Context(), time.Duration(rng.IntN(20))*time.Millisecond)
				continue
			}
			var got struct {
				ID       string
				Position domain.Position
			}
			mu.Lock()
			defer mu.Unlock()
			v := &told[key]
			if !v.spoken {
				*v = verdicts{accepted: map[int]int{}, refused: map[int]int{}, spoken: true}
			}
			switch a.status {
			case 422:
				v.refused[body]++
			case 202:
				if err := json.Unmarshal(a.body, &got); err != nil || v.id != "" && (v.id != got.ID || v.position != got.Position) {
					t.Errorf("key %d is %s at %d, and %s", key, v.id, v.position, a.body)
				}
				v.id, v.position = got.ID, got.Position
				v.accepted[body]++
			default:
				t.Errorf("%d %s", a.status, a.body)
				return false
			}
			return true
		}
		return false
	}
	for c := range 16 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			for answered.Load() < int64(requests) && ask(rng) {
				answered.Add(1)
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 1<<32))
	began := time.Now()
	for k := range kills {
		goal := int64((k + 1) * requests / (kills + 1))
		eventually(t, "the next kill", func() bool { return answered.Load() >= goal || t.Failed() })
		_ = domain.SystemClock{}.Sleep(t.Context(), time.Duration(rng.IntN(20))*time.Millisecond) // the moment of the kill is what is random here
		p.kill()
		p = spawn(t, env, "serve")
	}
	clients.Wait()
	took := time.Since(began)
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
	if t.Failed() {
		return
	}

	wrote := requestsIn(t, env)
	keys, oks, others, unspoken := 0, 0, 0, 0
	for key := range told {
		v, events := &told[key], wrote[string(domain.OutgoingID(domain.TenantID(tenantID), fmt.Sprintf("k%d", key)))]
		delete(wrote, string(domain.OutgoingID(domain.TenantID(tenantID), fmt.Sprintf("k%d", key))))
		if !v.spoken {
			continue
		}
		keys++
		if len(events) != 1 {
			t.Errorf("key %d has %d events", key, len(events))
			continue
		}
		if v.id == "" { // whoever was first never heard of it: all others had other bodies
			unspoken++
		} else if events[0].position != v.position {
			t.Errorf("key %d was accepted at %d, and is at %d", key, v.position, events[0].position)
		}
		for body, n := range v.accepted {
			if oks += n; events[0].text != fmt.Sprintf("%d/%d", key, body) {
				t.Errorf("key %d: %d accepted with body %d, the event says %q", key, n, body, events[0].text)
			}
		}
		for body, n := range v.refused {
			if others += n; events[0].text == fmt.Sprintf("%d/%d", key, body) {
				t.Errorf("key %d: %d refused with body %d, which is that of the event", key, n, body)
			}
		}
	}
	if len(wrote) > 0 {
		t.Errorf("%d events are of no key", len(wrote))
	}
	t.Logf("%d kills, %d requests for %d keys in %s: %d accepted or replayed, %d refused as another request, %d tries without an answer; %d keys were never answered 202; %d keys have one event each",
		kills, oks+others, keys, took.Round(time.Second), oks, others, lost.Load(), unspoken, keys)
	if int64(oks+others) != answered.Load() || answered.Load() < int64(requests) {
		t.Errorf("%d answers are accounted for, %d were given", oks+others, answered.Load())
	}
}

// recorded is one request in the log.
type recorded struct {
	position domain.Position
	text     string
}

// requestsIn reads every request from the log of a house that does not run.
func requestsIn(t *testing.T, env settings) map[string][]recorded {
	t.Helper()
	c, err := readConfig(env.get)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	h := &house{config: c, log: log, clock: domain.SystemClock{}, meter: newMeter(), directory: tenant.NewDirectory(), services: newGroup(log)}
	defer func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, open := range []func(context.Context) error{h.openVault, h.openLog, h.openTenants} {
		if err := open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tail, err := h.broker.Reader().Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := h.broker.Reader().Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer cursor.Close()
	all := map[string][]recorded{}
	for last := domain.Position(0); last < tail; {
		events, err := cursor.Next(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			last = e.Position
			var f message.SendRequested
			if e.Type != f.EventType() {
				continue
			}
			if err := e.Decode(&f); err != nil {
				t.Fatal(err)
			}
			var said struct {
				Text struct{ Body string }
			}
			if err := json.Unmarshal(f.Content, &said); err != nil {
				t.Fatal(err)
			}
			all[e.Key.ID] = append(all[e.Key.ID], recorded{e.Position, said.Text.Body})
		}
	}
	return all
}
