package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// Two numbers of one lane: who floods the one must not be felt at the other.
const floodedNumber, quietNumber = domain.NumberID("106540352242922"), domain.NumberID("106540352242931")

// fairWorld is a house in a process of its own, and the pretend Meta it calls.
type fairWorld struct {
	t       *testing.T
	env     settings
	pretend *cloudapitest.Server
	p       *process
	client  *http.Client
}

func newFairWorld(t *testing.T) *fairWorld {
	if domain.Lane(floodedNumber) != domain.Lane(quietNumber) {
		t.Fatal("the numbers are of two lanes")
	}
	w := &fairWorld{t: t, client: &http.Client{Timeout: 60 * time.Second}}
	w.pretend, w.env = meta(t, alone(t).with("APP_SECRET", "app secret", "UNKNOWN_WAIT", "5s"), time.Millisecond)
	w.p = spawn(t, w.env, "serve")
	return w
}

func (w *fairWorld) want(status int, method, path, body string) answer {
	w.t.Helper()
	a, err := request(w.t.Context(), w.client, method, w.p.url+path, body, "")
	if err != nil || a.status != status {
		w.t.Fatalf("%s %s: %d %.300s, %v", method, path, a.status, a.body, err)
	}
	return a
}

// insist sends until there is an answer other than "not now, try again with the
// same key", which a crowded machine may give.
func (w *fairWorld) insist(path, body string) domain.MessageID {
	w.t.Helper()
	var a answer
	eventually(w.t, "a request to be accepted", func() (answered bool) {
		var err error
		a, err = request(w.t.Context(), w.client, "POST", w.p.url+path, body, "")
		return err == nil && a.status != 503
	})
	if a.status != 202 {
		w.t.Fatalf("%d %.300s", a.status, a.body)
	}
	return domain.MessageID(a.json(w.t)["id"].(string))
}

func (w *fairWorld) register(name string, n domain.NumberID) (tenant string) {
	w.t.Helper()
	return w.want(201, "POST", "/tenants/register", fmt.Sprintf(`{"name":%q,"phoneNumberId":%q,"accessToken":"EAA%s"}`, name, n, name)).json(w.t)["id"].(string)
}

// flood has n messages accepted, to a thousand people in turn, and
// returns their ids in the order of the log. It may run beside the test's own
// goroutine, so it does not end the test when it fails.
func (w *fairWorld) flood(tenant, content string, n int) (ids []domain.MessageID) {
	w.t.Helper()
	at := map[domain.MessageID]domain.Position{}
	for done := 0; done < n; {
		items := make([]string, min(1000, n-done))
		for i := range items {
			items[i] = fmt.Sprintf(`{"to":"+1415556%04d","idempotency_key":"flood-%d",%s}`, i, done+i, content)
		}
		var out struct {
			Accepted int
			Data     []struct {
				Receipt struct {
					ID       domain.MessageID
					Position domain.Position
				}
				Problem struct{ Status int }
			}
		}
		a, err := request(w.t.Context(), w.client, "POST", w.p.url+"/tenants/"+tenant+"/send/batch", `{"messages":[`+strings.Join(items, ",")+`]}`, "")
		if err == nil {
			err = json.Unmarshal(a.body, &out)
		}
		if err != nil || a.status != 200 || len(out.Data) != len(items) {
			w.t.Errorf("%d: %d of %d, %v: %.300s", a.status, len(out.Data), len(items), err, a.body)
			return nil
		}
		for _, d := range out.Data {
			switch {
			case d.Receipt.ID != "":
				at[d.Receipt.ID] = d.Receipt.Position
			case d.Problem.Status != 503: // else the same batch again
				w.t.Errorf("not accepted: %.300s", a.body)
				return nil
			}
		}
		if out.Accepted == len(items) {
			done += len(items)
		}
	}
	return slices.SortedFunc(maps.Keys(at), func(a, b domain.MessageID) int { return cmp.Compare(at[a], at[b]) })
}

// quietly sends messages, one at a time, while more is true of how many it has
// sent, and returns how long after its request began each reached Meta.
func (w *fairWorld) quietly(tenant, phase string, more func(sent int) bool) (called []time.Duration) {
	w.t.Helper()
	asked := map[domain.MessageID]time.Time{}
	var accepted []time.Duration
	for i := 0; more(i); i++ {
		began := time.Now()
		id := w.insist("/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415557%04d","text":"quiet","idempotency_key":"%s-%d"}`, i%5000, strings.ReplaceAll(phase, " ", "-"), i))
		asked[id] = began
		accepted = append(accepted, time.Since(began))
		_ = domain.SystemClock{}.Sleep(w.t.Context(), 25*time.Millisecond-time.Since(began)) // 40 a second, half of what the number may
	}
	var calls []cloudapitest.Entry
	eventually(w.t, "the quiet tenant's messages at Meta", func() bool {
		calls = slices.DeleteFunc(w.calls(quietNumber), func(e cloudapitest.Entry) bool { return asked[e.Message].IsZero() })
		return len(calls) >= len(asked)
	})
	for _, c := range calls {
		called = append(called, c.At.Sub(asked[c.Message]))
	}
	w.t.Logf("%-24s %5d messages: request to 202 %s, to call %s", phase+":", len(called), spread(accepted), spread(called))
	return called
}

// times says that a phase has n messages.
func times(n int) func(sent int) bool { return func(sent int) bool { return sent < n } }

// until says that a phase lasts until something has happened.
func until(happened <-chan struct{}) func(sent int) bool {
	return func(int) bool {
		select {
		case <-happened:
			return false
		default:
			return true
		}
	}
}

// quantile returns what a part of them stay below, and 0 of none.
func quantile(took []time.Duration, part float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[int(float64(len(took)-1)*part)].Round(100 * time.Microsecond)
}

func spread(took []time.Duration) string {
	return fmt.Sprintf("p50 %s, p99 %s, longest %s", quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1))
}

func (w *fairWorld) calls(n domain.NumberID) []cloudapitest.Entry {
	return slices.DeleteFunc(w.pretend.Ledger(), func(e cloudapitest.Entry) bool { return e.Number != n })
}

// resident is the memory of the process in MiB, 0 where nobody tells.
func (w *fairWorld) resident() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
	return kb >> 10
}

// A tenant that sends now and then does not wait behind one whose number, of
// the same lane, has a hundred thousand messages waiting. These wait in the log
// and not in memory, survive kill -9, and leave in order, none twice under one
// attempt number.
//
// It asserts what does not depend on how fast the machine is; how long the quiet
// tenant's messages take alone, while the flood is accepted, while it is folded
// and while it is called is shown. As a part of the suite it floods with few,
// `make fair` with QUEUED (100,000).
func TestQuietTenant(t *testing.T) {
	t.Parallel()
	queued, asks, pace := 2000, 40, 10 // slow enough that few last as long as a slow machine needs
	long, err := strconv.Atoi(os.Getenv("SENDLOG_FAIR"))
	if err == nil {
		queued, asks, pace = long, 2000, 80 // of which 20 are above the p99
	}
	w := newFairWorld(t)
	busy, quiet := w.register("Busy", floodedNumber), w.register("Quiet", quietNumber)
	paced := func(perSecond int) {
		w.want(200, "PUT", "/tenants/"+busy+"/numbers/"+string(floodedNumber)+"/throughput", fmt.Sprintf(`{"per_second":%d}`, perSecond))
	}
	paced(pace)
	w.quietly(quiet, "warming up", times(asks/4))
	alone := w.quietly(quiet, "alone", times(asks))
	t.Logf("resident: %d MiB", w.resident())

	began, accepted := time.Now(), make(chan struct{})
	var ids []domain.MessageID
	go func() {
		defer close(accepted)
		ids = w.flood(busy, `"text":"flood"`, queued)
	}()
	meanwhile := w.quietly(quiet, "while these are accepted", until(accepted))
	if len(ids) != queued {
		t.Fatalf("%d of %d were accepted", len(ids), queued)
	}
	t.Logf("%d messages accepted on one number in %s; resident: %d MiB", queued, time.Since(began).Round(time.Millisecond), w.resident())
	folded := func() bool {
		a, err := request(t.Context(), w.client, "GET", w.p.url+"/tenants/"+busy+"/messages/"+string(ids[queued-1]), "", "")
		return err == nil && a.status == 200
	}
	// On a machine that folds slower than these few come, there would be no end.
	w.quietly(quiet, "while these are folded", func(sent int) bool { return sent < asks && !folded() })
	eventually(t, "the read models to have them", folded)
	beside := w.quietly(quiet, "while these are called", times(asks))
	called := len(w.calls(floodedNumber))
	t.Logf("%d of the %d were called by then; resident: %d MiB", called, queued, w.resident())
	if most := (int(time.Since(began)/time.Second) + 2) * pace; called > most {
		t.Errorf("%d calls of the busy number in %s, at %d a second at most %d", called, time.Since(began), pace, most)
	}
	if called == 0 || called >= queued {
		t.Errorf("%d of %d were called: the quiet tenant was not beside them", called, queued)
	}
	a := quantile(alone, 0.99)
	for phase, took := range map[string][]time.Duration{"accepted": meanwhile, "called": beside} {
		p99 := quantile(took, 0.99)
		t.Logf("the quiet tenant's p99 is %s while the flood is %s and %s alone: %.1f times; wanted are 100 ms and 2 times", p99, phase, a, float64(p99)/float64(a))
	}

	w.p.kill()
	again := time.Now()
	w.p = spawn(t, w.env, "serve")
	t.Logf("started again after kill -9 in %s; resident: %d MiB", time.Since(again).Round(time.Millisecond), w.resident())
	w.quietly(quiet, "after kill -9", times(asks/4))
	t.Logf("resident: %d MiB", w.resident())
	if queued > 10_000 {
		return // at 80 a second the rest takes a while
	}
	paced(1000)
	eventually(t, "everybody's messages at Meta", func() bool {
		accepted := w.pretend.AcceptedByMessage()
		return !slices.ContainsFunc(ids, func(id domain.MessageID) bool { return accepted[id] == 0 })
	})
	for call, n := range w.pretend.CallsByAttempt() {
		if n != 1 {
			t.Errorf("%s was called %d times as attempt %d", call.Message, n, call.Attempt)
		}
	}
	w.inOrder(ids)
}

// inOrder says that messages of the flooded number reached each person in this
// order.
func (w *fairWorld) inOrder(ids []domain.MessageID) {
	w.t.Helper()
	place := map[domain.MessageID]int{}
	for i, id := range ids {
		place[id] = i
	}
	last := map[string]int{}
	for _, c := range w.calls(floodedNumber) {
		i, ours := place[c.Message]
		if !ours {
			continue
		}
		if i < last[c.To] {
			w.t.Errorf("%s, accepted as number %d, was called after number %d to the same person", c.Message, i, last[c.To])
		}
		last[c.To] = max(last[c.To], i)
	}
}
