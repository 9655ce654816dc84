package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain/message"
)

// An answer that is held says the outcome as soon as it is known, and never
// misses one that came before it listened.
func TestPreferWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := `{"to":"+` + canaryPhone + `","text":"x"}`
	held := make(chan reply, 1)
	go func() {
		held <- w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: body, header: []string{"Prefer", "respond-async, wait=10"}})
	}()
	heard := within(t, w.house.subscribed, "somebody who waits")
	w.house.shows(message.View{ID: heard.about, Tenant: heard.tenant, Status: message.Queued, LastPosition: 98})
	heard.feed <- Live{ID: "evt_1"} // no news yet, unless the next line is quicker than the look
	w.house.shows(message.View{ID: heard.about, Tenant: heard.tenant, Status: message.Accepted, Wamids: []string{"wamid.9"}, LastPosition: 99})
	select {
	case heard.feed <- Live{ID: "evt_2"}:
	case <-heard.ctx.Done():
	}
	r := within(t, held, "the answer")
	var got outcomeJSON
	decodeInto(t, r.body, &got)
	if r.StatusCode != http.StatusOK || got.Status != message.Accepted || got.Wamid == nil || *got.Wamid != "wamid.9" || got.Position != 99 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if got := r.Header.Get("Preference-Applied"); got != "wait=10" {
		t.Errorf("applied %q", got)
	}
}

// When the time is over before the outcome is known, the answer is the 202 it
// would have been, with what is known.
func TestPreferWaitEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x"}`, header: []string{"Prefer", "wait=1"}})
	var got outcomeJSON
	decodeInto(t, r.body, &got)
	if r.StatusCode != http.StatusAccepted || got.Status != message.Queued || got.ID == "" || got.Position == 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// The answer comes at once when no outcome can come: for a message that was
// given up while nobody knew, and for one that is due after the wait.
func TestPreferWaitEndsInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := make(chan reply, 1)
	go func() {
		held <- w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x"}`, header: []string{"Prefer", "wait=15"}})
	}()
	heard := within(t, w.house.subscribed, "somebody who waits")
	w.house.shows(message.View{ID: heard.about, Tenant: heard.tenant, Status: message.Unknown, DeadAt: noon, ErrorReason: "parked", LastPosition: 99})
	select {
	case heard.feed <- Live{ID: "evt_1"}:
	case <-heard.ctx.Done():
	}
	r := within(t, held, "the answer")
	if context.Cause(heard.ctx) == context.DeadlineExceeded {
		t.Error("it was held until the end")
	}
	var got outcomeJSON
	decodeInto(t, r.body, &got)
	if r.StatusCode != http.StatusAccepted || got.Status != message.Unknown || got.DeadLetteredAt == nil || !got.DeadLetteredAt.Equal(noon) || got.Error == nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}

	at := w.house.clock.Now().Add(time.Hour).Format(time.RFC3339)
	r = w.do(t, ask{method: "POST", path: "/tenants/$A/send", header: []string{"Prefer", "wait=15"},
		body: `{"to":"+` + canaryPhone + `","text":"x","send_at":"` + at + `"}`})
	decodeInto(t, r.body, &got)
	if later := within(t, w.house.subscribed, "the look"); context.Cause(later.ctx) == context.DeadlineExceeded {
		t.Error("it was held until the end")
	}
	if r.StatusCode != http.StatusAccepted || got.Status != message.Queued {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// A tenant holds no more answers than its share: past it the answer comes at
// once.
func TestPreferWaitIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range maxWaitsPerTenant {
		leave, ok := w.server.waits.enter(w.a.Tenant.ID)
		if !ok {
			t.Fatal("no place")
		}
		defer leave()
	}
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/send", body: `{"to":"+` + canaryPhone + `","text":"x"}`, header: []string{"Prefer", "wait=15"}})
	var got receiptJSON
	decodeInto(t, r.body, &got)
	if r.StatusCode != http.StatusAccepted || got.ID == "" || r.Header.Get("Preference-Applied") != "" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if len(w.house.subscribed) > 0 {
		t.Error("somebody waits")
	}
}

// What the field Prefer may say, and what of it is heeded.
func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]time.Duration{
		"":                     0,
		"wait=3":               3 * time.Second,
		"Wait = 3 ":            3 * time.Second,
		`wait="3"`:             3 * time.Second,
		"wait=3; foo=bar":      3 * time.Second,
		"respond-async,wait=2": 2 * time.Second,
		"wait=9999":            maxWait,
		"wait=0":               0,
		"wait=-1":              0,
		"wait":                 0,
		"wait=soon":            0,
		"return=minimal":       0,
	} {
		if got := preferred(field); got != want {
			t.Errorf("%q: %s, want %s", field, got, want)
		}
	}
}
