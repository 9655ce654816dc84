package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
)

func (w *world) quota(t *testing.T, body string) {
	t.Helper()
	if r := w.do(t, ask{method: "PUT", path: "/tenants/$A/quota", body: body}); r.StatusCode != 200 {
		t.Fatal(r.StatusCode, r.body)
	}
}

func (w *world) sendKeyed(t *testing.T, tenant, key string) reply {
	t.Helper()
	return w.do(t, ask{method: "POST", path: "/tenants/" + tenant + "/send",
		body: `{"to":"+` + canaryPhone + `","text":"x","idempotency_key":"` + key + `"}`})
}

func checkLimited(t *testing.T, r reply, retryAfter, policy, state string) {
	t.Helper()
	checkProblem(t, r, 429, domain.Limited)
	for name, want := range map[string]string{"Retry-After": retryAfter, "RateLimit-Policy": policy, "RateLimit": state} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A quota of a second is a bucket: what is beyond it is refused with the time
// to come back, and says how much is left. Others are not touched.
func TestQuotaPerSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.sendKeyed(t, "$A", "free"); r.Header.Get("RateLimit") != "" || r.Header.Get("RateLimit-Policy") != "" {
		t.Error("a tenant without quota is shown one")
	}
	w.quota(t, `{"per_second":2}`)
	for i, left := range []string{`"second";r=1;t=0`, `"second";r=0;t=1`} {
		r := w.sendKeyed(t, "$A", fmt.Sprint("a", i))
		if r.StatusCode != 202 || r.Header.Get("RateLimit") != left || r.Header.Get("RateLimit-Policy") != `"second";q=2;w=1` {
			t.Errorf("send %d: %d, %q, %q", i, r.StatusCode, r.Header.Get("RateLimit"), r.Header.Get("RateLimit-Policy"))
		}
	}
	checkLimited(t, w.sendKeyed(t, "$A", "a9"), "1", `"second";q=2;w=1`, `"second";r=0;t=1`)
	if r := w.sendKeyed(t, "$B", "b"); r.StatusCode != 202 {
		t.Errorf("another tenant: %d", r.StatusCode)
	}
	w.house.clock.step(500 * time.Millisecond)
	if r := w.sendKeyed(t, "$A", "a2"); r.StatusCode != 202 {
		t.Errorf("after half a second: %d", r.StatusCode)
	}
	checkLimited(t, w.sendKeyed(t, "$A", "a9"), "1", `"second";q=2;w=1`, `"second";r=0;t=1`)
	w.house.clock.step(-time.Hour) // a clock that goes back gives nothing
	checkLimited(t, w.sendKeyed(t, "$A", "a9"), "1", `"second";q=2;w=1`, `"second";r=0;t=1`)
	w.quota(t, `{}`)
	if r := w.sendKeyed(t, "$A", "a9"); r.StatusCode != 202 || r.Header.Get("RateLimit") != "" {
		t.Errorf("without the quota: %d", r.StatusCode)
	}
}

// A quota of a day is counted until midnight UTC.
func TestQuotaPerDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.quota(t, `{"per_day":3,"per_second":100}`)
	for i := range 3 {
		r := w.sendKeyed(t, "$A", fmt.Sprint("d", i))
		if want := fmt.Sprintf(`"day";r=%d;t=43200`, 2-i); r.StatusCode != 202 || !strings.HasSuffix(r.Header.Get("RateLimit"), want) {
			t.Errorf("send %d: %d, %q, want %q", i, r.StatusCode, r.Header.Get("RateLimit"), want)
		}
	}
	checkLimited(t, w.sendKeyed(t, "$A", "d9"), "43200", `"second";q=100;w=1, "day";q=3;w=86400`, `"second";r=97;t=0, "day";r=0;t=43200`)
	w.quota(t, `{"per_day":4}`) // a higher one is heeded at once
	if r := w.sendKeyed(t, "$A", "d3"); r.StatusCode != 202 {
		t.Errorf("after the quota was raised: %d", r.StatusCode)
	}
	if r := w.sendKeyed(t, "$A", "d4"); r.StatusCode != 429 {
		t.Errorf("past the raised quota: %d", r.StatusCode)
	}
	w.house.clock.step(12 * time.Hour)
	if r := w.sendKeyed(t, "$A", "d4"); r.StatusCode != 202 {
		t.Errorf("the next day: %d", r.StatusCode)
	}
}

// Only what is new counts: a repeat, a request that is refused, and one the log
// would not take because it is wrong, are free.
func TestOnlyNewRequestsCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.quota(t, `{"per_second":2,"per_day":2}`)
	w.sendKeyed(t, "$A", "one")
	for range 5 {
		if r := w.sendKeyed(t, "$A", "one"); r.StatusCode != 202 {
			t.Fatalf("a repeat: %d %s", r.StatusCode, r.body)
		}
		bad := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"nobody","text":"x"}`})
		checkProblem(t, bad, 400, domain.Invalid, "/to")
		reused := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"y","idempotency_key":"one"}`})
		checkProblem(t, reused, 422, domain.KeyReused)
	}
	if r := w.sendKeyed(t, "$A", "two"); r.StatusCode != 202 {
		t.Errorf("the second new one: %d", r.StatusCode)
	}
	if r := w.sendKeyed(t, "$A", "three"); r.StatusCode != 429 {
		t.Errorf("the third: %d", r.StatusCode)
	}
}

// Processes share a quota evenly; nobody gets less than one.
func TestQuotaIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.house.shares = 4
	w.quota(t, `{"per_second":8}`)
	accepted := 0
	for i := range 8 {
		if w.sendKeyed(t, "$A", fmt.Sprint(i)).StatusCode == 202 {
			accepted++
		}
	}
	if accepted != 2 {
		t.Errorf("one of four processes accepted %d of 8", accepted)
	}
}

// A ledger that does not answer is not taken for an allowance.
func TestQuotaWithoutLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.house.ledger.err = domain.Errorf(domain.Unavailable, nil, "the log is away")
	w.quota(t, `{"per_day":5}`)
	checkProblem(t, w.sendKeyed(t, "$A", "x"), 503, domain.Unavailable)
}

// A quota is one or two whole numbers.
func TestQuotaIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, pointers := range map[string][]string{
		`{"per_second":-1}`:                {"/per_second"},
		`{"per_second":1.5}`:               {"/per_second"},
		`{"per_day":"10"}`:                 {"/per_day"},
		`{"per_day":1000000001}`:           {"/per_day"},
		`{"per_second":-1,"per_day":-1}`:   {"/per_second", "/per_day"},
		`{"per_minute":1}`:                 {"/per_minute"},
		`{"per_day":99999999999999999999}`: {"/per_day"},
	} {
		checkProblem(t, w.do(t, ask{method: "PUT", path: "/tenants/$A/quota", body: body}), 400, domain.Invalid, pointers...)
	}
}
