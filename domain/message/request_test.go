package message_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// frozen is a clock that stands still.
type frozen struct{}

func (frozen) Now() time.Time                                   { return start }
func (frozen) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func newAccepter() (*message.Accepter, *logtest.Memory) {
	log := logtest.NewMemory()
	return &message.Accepter{Log: log, Clock: frozen{}, Meter: domain.NoMeter{}}, log
}

const (
	somebody = "+14155550100"
	words    = "the secret words"
)

func request(change func(*message.Request)) message.Request {
	r := message.Request{Tenant: "ten_a", Number: "106540352242922", To: somebody, Text: words, Actor: "api"}
	if change != nil {
		change(&r)
	}
	return r
}

// An accepted request is in the log under the receipt's id and position, whole.
func TestAcceptRecordsTheRequest(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	receipt, err := a.Accept(t.Context(), request(func(r *message.Request) {
		r.IdempotencyKey, r.Trace, r.Text = "order-17", "00-1-2-01", "héllo <b> \U0001f600\n"
	}))
	if err != nil {
		t.Fatal(err)
	}
	events, err := log.Load(t.Context(), message.OutgoingKey("ten_a", "106540352242922", receipt.ID))
	if err != nil || len(events) != 1 {
		t.Fatalf("the log holds %d events, %v", len(events), err)
	}
	e := events[0]
	if e.Position != receipt.Position || receipt.Replayed || e.Actor != "api" || e.Trace != "00-1-2-01" ||
		e.Correlation != string(receipt.ID) || !e.At.Equal(start) {
		t.Errorf("receipt %+v for event %+v", receipt, e)
	}
	var f message.SendRequested
	if err := e.Decode(&f); err != nil {
		t.Fatal(err)
	}
	var content struct {
		Type string
		Text struct{ Body string }
	}
	if err := json.Unmarshal(f.Content, &content); err != nil {
		t.Fatal(err)
	}
	if f.Type != "text" || !f.Keyed || f.To != somebody || f.IdempotencyKey != "order-17" ||
		content.Type != "text" || content.Text.Body != "héllo <b> \U0001f600\n" {
		t.Errorf("recorded %+v", f)
	}
}

// Nothing about the person or the words is outside the sealed part.
func TestAcceptKeepsThePersonOutOfTheFacts(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	if _, err := a.Accept(t.Context(), request(func(r *message.Request) { r.IdempotencyKey = "order-of-" + somebody })); err != nil {
		t.Fatal(err)
	}
	for _, e := range log.All() {
		e.Personal = nil
		for _, canary := range []string{somebody, somebody[1:], words, "order-of-"} {
			if shown := fmt.Sprintf("%+v %s", e, e.Facts); strings.Contains(shown, canary) {
				t.Errorf("%s shows %q", e.Type, canary)
			}
		}
		if bytes.Contains(e.Facts, []byte("fingerprint")) {
			t.Error("the fingerprint is a fact: the words can be guessed from it")
		}
	}
}

// Every fault of a request is named with a pointer to its place, and no answer
// repeats the phone or the words.
func TestAcceptValidates(t *testing.T) {
	t.Parallel()
	const emoji = "\U0001f600" // two UTF-16 units
	type r = message.Request
	for name, test := range map[string]struct {
		change func(*r)
		faults []string // pointers; none: it is accepted
	}{
		"plain":                        {func(*r) {}, nil},
		"no recipient":                 {func(q *r) { q.To = "" }, []string{"/to"}},
		"a blank recipient":            {func(q *r) { q.To = "  " }, []string{"/to"}},
		"a name for a recipient":       {func(q *r) { q.To = "Ann Example" }, []string{"/to"}},
		"no plus":                      {func(q *r) { q.To = "14155550100" }, []string{"/to"}},
		"double zero for plus":         {func(q *r) { q.To = "0014155550100" }, []string{"/to"}},
		"a country code of zero":       {func(q *r) { q.To = "+04155550100" }, []string{"/to"}},
		"seven digits":                 {func(q *r) { q.To = "+1415555" }, []string{"/to"}},
		"eight digits":                 {func(q *r) { q.To = "+14155550" }, nil},
		"fifteen digits":               {func(q *r) { q.To = "+141555501001234" }, nil},
		"sixteen digits":               {func(q *r) { q.To = "+1415555010012345" }, []string{"/to"}},
		"a line break after":           {func(q *r) { q.To = somebody + "\n" }, []string{"/to"}},
		"two numbers":                  {func(q *r) { q.To = somebody + "," + somebody }, []string{"/to"}},
		"digits of another script":     {func(q *r) { q.To = "+١٤١٥٥٥٥٠١٠٠" }, []string{"/to"}},
		"punctuation":                  {func(q *r) { q.To = "+1 (415) 555-01.00" }, nil},
		"no-break spaces":              {func(q *r) { q.To = "+1\u00a0415\u00a0555\u00a00100" }, nil},
		"placeholder of a real number": {func(q *r) { q.To = "+1415555xxxx" }, []string{"/to"}},
		"placeholder, simulated":       {func(q *r) { q.To, q.Simulated = "+1415555xxxx", true }, nil},
		"placeholder in capitals":      {func(q *r) { q.To, q.Simulated = "+1415555XXXX", true }, nil},
		"placeholder too short":        {func(q *r) { q.To, q.Simulated = "+1415xxx", true }, []string{"/to"}},
		"placeholder too long":         {func(q *r) { q.To, q.Simulated = "+141555501xxxxxxx", true }, []string{"/to"}},
		"placeholder in the middle":    {func(q *r) { q.To, q.Simulated = "+1415xxx0100", true }, []string{"/to"}},
		"nothing but placeholders":     {func(q *r) { q.To, q.Simulated = "+xxxxxxxxxxx", true }, []string{"/to"}},

		"no text":                         {func(q *r) { q.Text = "" }, []string{"/text"}},
		"a blank text":                    {func(q *r) { q.Text = " \n\t\u00a0" }, []string{"/text"}},
		"line breaks and tabs":            {func(q *r) { q.Text = "a\r\n\tb" }, nil},
		"not UTF-8":                       {func(q *r) { q.Text = "a\xff" }, []string{"/text"}},
		"4096 letters":                    {func(q *r) { q.Text = strings.Repeat("é", 4096) }, nil},
		"4097 letters":                    {func(q *r) { q.Text = strings.Repeat("é", 4097) }, []string{"/text"}},
		"2048 emoji":                      {func(q *r) { q.Text = strings.Repeat(emoji, 2048) }, nil},
		"2048 emoji and a letter":         {func(q *r) { q.Text = strings.Repeat(emoji, 2048) + "a" }, []string{"/text"}},
		"4095 letters and an emoji":       {func(q *r) { q.Text = strings.Repeat("a", 4095) + emoji }, []string{"/text"}},
		"a key of 255":                    {func(q *r) { q.IdempotencyKey = strings.Repeat("k", 255) }, nil},
		"a key of 256":                    {func(q *r) { q.IdempotencyKey = strings.Repeat("k", 256) }, []string{"/idempotency_key"}},
		"a key of all visible characters": {func(q *r) { q.IdempotencyKey = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`" }, nil},
		"a key with a space":              {func(q *r) { q.IdempotencyKey = "a b" }, []string{"/idempotency_key"}},
		"a key with a line break":         {func(q *r) { q.IdempotencyKey = "a\n" }, []string{"/idempotency_key"}},
		"a key beyond ASCII":              {func(q *r) { q.IdempotencyKey = "ü" }, []string{"/idempotency_key"}},
		"a key with DEL":                  {func(q *r) { q.IdempotencyKey = "a\x7f" }, []string{"/idempotency_key"}},
		"all at once": {func(q *r) { q.To, q.Text, q.IdempotencyKey = "Ann", "", " " },
			[]string{"/to", "/text", "/idempotency_key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, log := newAccepter()
			q := request(test.change)
			_, err := a.Accept(t.Context(), q)
			var pointers []string
			if e, ok := errors.AsType[*domain.Error](err); ok {
				for _, f := range e.Faults {
					pointers = append(pointers, f.Pointer)
				}
			}
			if !reflect.DeepEqual(pointers, test.faults) || (err == nil) != (test.faults == nil) {
				t.Errorf("faults %q, want %q: %v", pointers, test.faults, err)
			}
			if err != nil {
				if domain.KindOf(err) != domain.Invalid || len(log.All()) != 0 {
					t.Errorf("kind %s, %d events recorded", domain.KindOf(err), len(log.All()))
				}
				silent(t, err, q)
			}
		})
	}
}

// silent fails when an error repeats what a request says about a person.
func silent(t *testing.T, err error, q message.Request) {
	t.Helper()
	shown := err.Error()
	if e, ok := errors.AsType[*domain.Error](err); ok {
		shown += e.Message + fmt.Sprint(e.Faults)
	}
	shown = strings.ReplaceAll(shown, "such as "+somebody, "") // the example of the help
	for _, secret := range []string{q.To, strings.TrimPrefix(q.To, "+"), q.Text, q.IdempotencyKey} {
		// Secrets of one or two letters are in every sentence.
		if len(strings.TrimSpace(secret)) > 2 && strings.Contains(shown, secret) {
			t.Errorf("the error repeats %q: %s", secret, shown)
		}
	}
}

// The same key and the same request answer the first receipt again.
func TestRepeatAnswersTheFirstReceipt(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	keyed := func(q *message.Request) { q.IdempotencyKey = "order-17" }
	first, err := a.Accept(t.Context(), request(keyed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Accept(t.Context(), request(nil)); err != nil { // something in between
		t.Fatal(err)
	}
	for _, to := range []string{somebody, "+1 415 555 0100", "+1 (415) 555-0100", "+1.415.555.0100"} {
		again, err := a.Accept(t.Context(), request(func(q *message.Request) { keyed(q); q.To = to }))
		if err != nil {
			t.Fatal(err)
		}
		if again.ID != first.ID || again.Position != first.Position || !again.Replayed {
			t.Errorf("first %+v, again %+v", first, again)
		}
	}
	if n := len(log.All()); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// The answer stays the same while the message lives on.
func TestRepeatIsAnsweredAfterTheMessageWasSent(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	q := request(func(q *message.Request) { q.IdempotencyKey = "order-17" })
	first, err := a.Accept(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	e, err := domain.NewEvent(message.OutgoingKey(q.Tenant, q.Number, first.ID), start, "dispatch", tried(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), e, domain.After(first.Position)); err != nil {
		t.Fatal(err)
	}
	if again, err := a.Accept(t.Context(), q); err != nil || again.Position != first.Position || !again.Replayed {
		t.Errorf("again %+v, %v", again, err)
	}
}

// The same key for another request is refused, and changes nothing.
func TestAnotherRequestUnderAKeyIsRefused(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	keyed := func(q *message.Request) { q.IdempotencyKey = "order-17" }
	if _, err := a.Accept(t.Context(), request(keyed)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*message.Request){
		"another recipient": func(q *message.Request) { q.To = "+14155550199" },
		"other words":       func(q *message.Request) { q.Text = words + "!" },
	} {
		q := request(func(q *message.Request) { keyed(q); change(q) })
		_, err := a.Accept(t.Context(), q)
		if domain.KindOf(err) != domain.KeyReused {
			t.Errorf("%s: %v", name, err)
		} else {
			silent(t, err, q)
		}
	}
	if n := len(log.All()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

// Tenants do not share keys.
func TestAnotherTenantMayUseTheSameKey(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	ids := map[domain.MessageID]bool{}
	for _, tenant := range []domain.TenantID{"ten_a", "ten_b"} {
		receipt, err := a.Accept(t.Context(), request(func(q *message.Request) {
			q.Tenant, q.IdempotencyKey, q.Text = tenant, "order-17", "for "+string(tenant)
		}))
		if err != nil || receipt.Replayed {
			t.Fatalf("%s: %+v, %v", tenant, receipt, err)
		}
		ids[receipt.ID] = true
	}
	if len(ids) != 2 || len(log.All()) != 2 {
		t.Errorf("ids %v, %d events", ids, len(log.All()))
	}
}

// Without a key every request is a message of its own.
func TestUnkeyedRequestsAreNotRepeats(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	for range 3 {
		if receipt, err := a.Accept(t.Context(), request(nil)); err != nil || receipt.Replayed {
			t.Fatalf("%+v, %v", receipt, err)
		}
	}
	if n := len(log.All()); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// Of many concurrent requests under one key one is recorded, and all get its
// receipt.
func TestManyRequestsUnderOneKeyAreOne(t *testing.T) {
	t.Parallel()
	const callers = 64
	a, log := newAccepter()
	receipts := make([]message.Receipt, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			var err error
			receipts[i], err = a.Accept(t.Context(), request(func(q *message.Request) { q.IdempotencyKey = "order-17" }))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	firsts := 0
	for _, r := range receipts {
		if r.ID != receipts[0].ID || r.Position != receipts[0].Position {
			t.Errorf("receipts %+v and %+v", r, receipts[0])
		}
		if !r.Replayed {
			firsts++
		}
	}
	if n := len(log.All()); n != 1 || firsts != 1 {
		t.Errorf("%d events and %d first receipts, want one of each", n, firsts)
	}
}

// away is a log whose answers are made up.
type away struct {
	domain.Log
	appendErr error
	loadErr   error
}

func (l away) Append(context.Context, domain.Event, domain.Expect) (domain.Position, error) {
	return 0, l.appendErr
}
func (l away) Load(context.Context, domain.Key) ([]domain.Event, error) { return nil, l.loadErr }

// A log that cannot say is never taken for an acceptance.
func TestNoReceiptWithoutTheLog(t *testing.T) {
	t.Parallel()
	gone := domain.Errorf(domain.Unavailable, nil, "the log is away")
	for name, log := range map[string]away{
		"append fails":                   {appendErr: gone},
		"conflict, and load fails":       {appendErr: domain.ErrConflict, loadErr: gone},
		"conflict, and nothing is there": {appendErr: domain.ErrConflict},
	} {
		a := &message.Accepter{Log: log, Clock: frozen{}, Meter: domain.NoMeter{}}
		receipt, err := a.Accept(t.Context(), request(nil))
		if domain.KindOf(err) != domain.Unavailable || !reflect.ValueOf(receipt).IsZero() {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
	}
}

// Any text within the limit comes back from the log letter by letter, and a
// repeat is known as one.
func TestAnyTextSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, log := newAccepter()
		text := "." + rapid.StringN(0, 200, -1).Draw(t, "text")
		q := request(func(q *message.Request) { q.Text, q.IdempotencyKey = text, "k" })
		if _, err := a.Accept(context.Background(), q); err != nil {
			t.Fatal(err)
		}
		if r, err := a.Accept(context.Background(), q); err != nil || !r.Replayed {
			t.Fatalf("repeat: %+v, %v", r, err)
		}
		var f message.SendRequested
		if err := log.All()[0].Decode(&f); err != nil {
			t.Fatal(err)
		}
		var content struct{ Text struct{ Body string } }
		if err := json.Unmarshal(f.Content, &content); err != nil || content.Text.Body != text {
			t.Fatalf("%q came back as %q, %v", text, content.Text.Body, err)
		}
	})
}

// Digits without a plus are what webhooks call a wa_id: the fault says what is
// missing. A limit that is ours is not said to be WhatsApp's.
func TestFaultsSayWhatHelps(t *testing.T) {
	t.Parallel()
	for words, r := range map[string]message.Request{
		"write + before its digits": {To: "14155550100", Text: "x"},
		"write + and 8 to 15":       {To: "4155", Text: "x"},
		"at most 128 are kept":      {To: "+14155550100", Text: "x", Wanted: message.Wanted{Reference: strings.Repeat("r", 129)}},
	} {
		r.Tenant, r.Number = "ten_a", "106540352242922"
		_, err := (&message.Accepter{Log: logtest.NewMemory(), Clock: domain.SystemClock{}, Meter: domain.NoMeter{}}).Accept(t.Context(), r)
		e, ok := errors.AsType[*domain.Error](err)
		if !ok || len(e.Faults) != 1 || !strings.Contains(e.Faults[0].Detail, words) || strings.Contains(e.Faults[0].Detail, "WhatsApp") {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}
