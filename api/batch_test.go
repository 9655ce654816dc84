package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

func (w *world) batch(t *testing.T, body string) (reply, batchJSON) {
	t.Helper()
	r := w.do(t, ask{method: "POST", path: "/tenants/$A/send/batch", body: body})
	var out batchJSON
	if r.StatusCode == http.StatusOK {
		decodeInto(t, r.body, &out)
	}
	return r, out
}

// Each message of a batch has the answer a request of its own would have had,
// in the order of the batch; what is refused does not touch its neighbours.
func TestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := `"to":"+` + canaryPhone + `"`
	body := `{"messages":[
		{` + to + `,"text":"one","idempotency_key":"k-1"},
		{"text":"to nobody"},
		{` + to + `,"text":"one","idempotency_key":"k-1"},
		{` + to + `,"text":"other words","idempotency_key":"k-1"},
		{` + to + `,"type":"image","image":{"id":"1","caption":7}},
		{` + to + `,"text":"x","colour":"red"},
		{` + to + `,"from":"222222222222222","text":"from another's number"},
		7,
		{"recipient":"US.13491208655302741918","type":"image","image":{"id":"1"}}
	]}`
	_, out := w.batch(t, body)
	want := []string{
		"accepted", "400 /messages/1/to", "accepted again", "422", "400 /messages/4/image/caption",
		"400 /messages/5/colour", "400 /messages/6/from", "400 /messages/7", "accepted",
	}
	if len(out.Data) != len(want) || out.Accepted != 3 || out.Refused != 6 {
		t.Fatalf("%d accepted, %d refused of %d", out.Accepted, out.Refused, len(out.Data))
	}
	for i, got := range out.Data {
		words := "accepted"
		if got.Replayed {
			words += " again"
		}
		if got.Problem != nil {
			words = fmt.Sprint(got.Problem.Status)
			for _, f := range got.Problem.Errors {
				words += " " + f.Pointer
			}
		} else if r := got.Receipt; r == nil || r.ID == "" || r.Position == 0 || r.Status != message.Queued {
			t.Errorf("%d: an incomplete receipt %+v", i, got)
		}
		if words != want[i] {
			t.Errorf("%d: %s, want %s", i, words, want[i])
		}
	}
	if out.Data[0].Receipt.ID != out.Data[2].Receipt.ID {
		t.Error("one key, two messages")
	}
	if _, again := w.batch(t, body); again.Accepted != 3 || !again.Data[0].Replayed || again.Data[8].Replayed {
		t.Errorf("the same batch again: %+v", again)
	}
}

// Messages of a batch to one person are recorded in its order, however many
// are recorded at once, and however the person's number is written.
func TestBatchKeepsTheOrderOfARecipient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spellings := []string{"+1415555%04d", "+1 415 555 %04d", "+1-415-555-%04d", "+1 (415) 555.%04d"}
	var items []string
	for i := range maxBatch {
		items = append(items, fmt.Sprintf(`{"to":"`+spellings[i%len(spellings)]+`","text":"%d"}`, i%7, i))
	}
	_, out := w.batch(t, `{"messages":[`+strings.Join(items, ",")+`]}`)
	if out.Accepted != maxBatch {
		t.Fatalf("%d accepted", out.Accepted)
	}
	last := map[int]domain.Position{}
	for i, got := range out.Data {
		at := got.Receipt.Position
		if at <= last[i%7] {
			t.Fatalf("message %d is at %d, the one before it to the same person at %d", i, at, last[i%7])
		}
		last[i%7] = at
	}
}

// A batch that is none is refused whole, and nothing of it is recorded.
func TestBatchRefusedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := strings.Repeat(`{"to":"+14155550100","text":"x"},`, maxBatch) + `{"to":"+14155550100","text":"x"}`
	for name, c := range map[string]struct {
		ask      ask
		status   int
		kind     domain.ErrKind
		pointers []string
	}{
		"none":        {ask{body: `{"messages":[]}`}, 400, domain.Invalid, []string{"/messages"}},
		"not said":    {ask{body: `{}`}, 400, domain.Invalid, []string{"/messages"}},
		"no list":     {ask{body: `{"messages":{}}`}, 400, domain.Invalid, []string{"/messages"}},
		"too many":    {ask{body: `{"messages":[` + many + `]}`}, 400, domain.Invalid, []string{"/messages"}},
		"other words": {ask{body: `{"messages":[{"to":"+14155550100","text":"x"}],"dry":true}`}, 400, domain.Invalid, []string{"/dry"}},
		"no JSON":     {ask{body: `{"messages":[`}, 400, domain.Malformed, []string{""}},
		"a key":       {ask{body: `{"messages":[{"to":"+14155550100","text":"x"}]}`, header: []string{"Idempotency-Key", "k"}}, 400, domain.Invalid, nil},
		"too large":   {ask{body: `{"messages":["` + strings.Repeat("x", maxBatchBody) + `"]}`}, 413, domain.TooLarge, nil},
	} {
		c.ask.method, c.ask.path = "POST", "/tenants/$A/send/batch"
		t.Run(name, func(t *testing.T) {
			checkProblem(t, w.do(t, c.ask), c.status, c.kind, c.pointers...)
		})
	}
	if len(w.house.requests) > 0 {
		t.Errorf("%d messages were recorded", len(w.house.requests))
	}
}

// What is ours to mend of a batch is in the log, by the request's id.
func TestBatchTellsTheOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.house.onAccept = func(context.Context) error { return errors.New("an error without a kind") }
	_, out := w.batch(t, `{"messages":[{"to":"+14155550100","text":"x"}]}`)
	if out.Refused != 1 || out.Data[0].Problem.Status != 500 || !strings.Contains(w.house.logs.String(), out.Data[0].Problem.Instance) {
		t.Errorf("%+v; the log has %s", out, w.house.logs.String())
	}
}

// A message that makes this build panic takes neither its neighbours nor the
// server with it.
func TestBatchSurvivesAPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := make(chan bool, 1)
	first <- true
	w.house.onAccept = func(context.Context) error {
		select {
		case <-first:
			panic(canaryText)
		default:
			return nil
		}
	}
	item := `{"to":"+14155550100","text":"x"}`
	_, out := w.batch(t, `{"messages":[`+item+`,`+item+`]}`)
	if out.Accepted != 1 || out.Refused != 1 || out.Data[0].Problem == nil || out.Data[0].Problem.Status != 500 {
		t.Errorf("%+v", out)
	}
}

// A quota that ends within a batch refuses the rest of it, one by one, and the
// answer says when there is more.
func TestBatchWithinTheQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.house.registry.SetQuota(t.Context(), w.a.Tenant.ID, tenant.Quota{PerDay: 3}, "admin"); err != nil {
		t.Fatal(err)
	}
	item := `{"to":"+14155550100","text":"x"}`
	r, out := w.batch(t, `{"messages":[`+item+`,`+item+`,`+item+`,`+item+`,`+item+`]}`)
	for name, want := range map[string]string{"Retry-After": "43200", "RateLimit-Policy": `"day";q=3;w=86400`, "RateLimit": `"day";r=0;t=43200`} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	w.house.clock.step(24 * time.Hour)
	if r, out := w.batch(t, `{"messages":[`+item+`]}`); out.Accepted != 1 || r.Header.Get("Retry-After") != "" || r.Header.Get("RateLimit") != `"day";r=2;t=43200` {
		t.Errorf("the next day: %+v, %v", out, r.Header)
	}
	if out.Accepted != 3 || out.Refused != 2 || out.Data[4].Problem == nil || out.Data[4].Problem.Status != 429 {
		t.Errorf("%+v", out)
	}
}

// Where idempotency keys are required, each message of a batch needs its own.
func TestBatchWhereKeysAreRequired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.RequireKey = true })
	_, out := w.batch(t, `{"messages":[{"to":"+14155550100","text":"x","idempotency_key":"k"},{"to":"+14155550100","text":"x"}]}`)
	if out.Accepted != 1 || out.Data[1].Problem == nil || out.Data[1].Problem.Errors[0].Pointer != "/messages/1/idempotency_key" ||
		!strings.Contains(out.Data[1].Problem.Errors[0].Detail, "for a single message, as the header") {
		t.Errorf("%+v", out)
	}
}
