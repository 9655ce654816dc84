package message_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// A text has the fingerprint it had in the first version, when a text was all
// there was: who repeats a request of those days gets its receipt.
func TestFingerprintOfATextStays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		words:                                 "584c25990cf2895821abb9765f5debe4b27cde5e4b145146a05010b6fe2e5eb9",
		"héllo <b> & \u2028 \U0001f600\n\x01": "28700d08d5b8f99ee258bec4c11375fd48a36f3d3aef038015e15bc5e5e681e7",
	} {
		for form, change := range map[string]func(*message.Request){
			"short": func(q *message.Request) { q.Text = text },
			"long": func(q *message.Request) {
				q.Text, q.Content = "", fmt.Appendf(nil, `{"text": {"body": %s},"type":"text","messaging_product":"whatsapp"}`, quoted(text))
			},
		} {
			if got := recordedOf(t, change).Fingerprint; got != want {
				t.Errorf("%s %q: %s, want %s", form, text, got, want)
			}
		}
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, "\x01", `\u0001`).Replace(s) + `"`
}

// recordedOf returns what is recorded of a request.
func recordedOf(t testing.TB, change func(*message.Request)) message.SendRequested {
	t.Helper()
	a, log := newAccepter()
	if _, err := a.Accept(context.Background(), request(change)); err != nil {
		t.Fatal(pointers(err), err)
	}
	var f message.SendRequested
	if err := log.All()[0].Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// The fingerprint covers all that was asked, and nothing of how it was
// written.
func TestFingerprintCoversTheRequest(t *testing.T) {
	t.Parallel()
	image := func(q *message.Request) {
		q.Text, q.Content = "", []byte(`{"type":"image","image":{"id":"1","caption":"a"}}`)
	}
	same := recordedOf(t, image).Fingerprint
	for name, change := range map[string]func(*message.Request){
		"another order": func(q *message.Request) {
			q.Content = []byte(`{"image": {"caption":"\u0061", "id":"1"}, "type":"image", "messaging_product":"whatsapp"}`)
		},
		"the kind of recipient": func(q *message.Request) { q.RecipientType = "individual" },
		"punctuation":           func(q *message.Request) { q.To = "+1 (415) 555-0100" },
		"not looked at":         func(q *message.Request) { q.Unvalidated = true },
	} {
		if got := recordedOf(t, func(q *message.Request) { image(q); change(q) }).Fingerprint; got != same {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	at := "2027-01-31T09:00:00+01:00"
	seen := map[string]string{same: "the first"}
	for name, change := range map[string]func(*message.Request){
		"another caption": func(q *message.Request) { q.Content = []byte(`{"type":"image","image":{"id":"1","caption":"b"}}`) },
		"a user id":       func(q *message.Request) { q.To, q.Recipient = "", "US.1" },
		"a parent's id":   func(q *message.Request) { q.To = "US.ENT.1" },
		"a group":         func(q *message.Request) { q.To, q.RecipientType = "US.1", "group" },
		"another number":  func(q *message.Request) { q.Number = "2" },
		"priority":        func(q *message.Request) { q.Priority = "bulk" },
		"send_at":         func(q *message.Request) { q.SendAt = at },
		"expires_at":      func(q *message.Request) { q.ExpiresAt = at },
		"ttl":             func(q *message.Request) { q.TTL = new(60) },
		"on_unknown":      func(q *message.Request) { q.OnUnknown = "park" },
		"unknown_wait":    func(q *message.Request) { q.UnknownWait = new(60) },
		"reference":       func(q *message.Request) { q.Reference = "r" },
	} {
		got := recordedOf(t, func(q *message.Request) { image(q); change(q) }).Fingerprint
		if other, taken := seen[got]; taken {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[got] = name
	}
	utc := recordedOf(t, func(q *message.Request) { image(q); q.SendAt = "2027-01-31T08:00:00Z" }).Fingerprint
	if seen[utc] != "send_at" {
		t.Error("one moment in two offsets is two wishes")
	}
}

// What a request asks beyond its words is checked, and recorded as what a
// dispatcher does.
func TestOptions(t *testing.T) {
	t.Parallel()
	later := func(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }
	tenYears := start.AddDate(10, 0, 0)
	type q = message.Request
	for name, test := range map[string]struct {
		change func(*q)
		want   message.Options
		faults string
	}{
		"nothing":            {func(*q) {}, message.Options{}, ""},
		"interactive":        {func(r *q) { r.Priority = "interactive" }, message.Options{}, ""},
		"bulk":               {func(r *q) { r.Priority = "bulk" }, message.Options{Priority: message.Bulk}, ""},
		"urgent":             {func(r *q) { r.Priority = "urgent" }, message.Options{}, "/priority"},
		"later":              {func(r *q) { r.SendAt = later(time.Hour) }, message.Options{SendAt: start.Add(time.Hour)}, ""},
		"in the past":        {func(r *q) { r.SendAt = later(-time.Hour) }, message.Options{}, ""},
		"in ten years":       {func(r *q) { r.SendAt = tenYears.Format(time.RFC3339) }, message.Options{SendAt: tenYears}, ""},
		"a second after":     {func(r *q) { r.SendAt = tenYears.Add(time.Second).Format(time.RFC3339) }, message.Options{}, "/send_at"},
		"without an offset":  {func(r *q) { r.SendAt = "2027-01-31T09:00:00" }, message.Options{}, "/send_at"},
		"a day":              {func(r *q) { r.SendAt = "2027-01-31" }, message.Options{}, "/send_at"},
		"tomorrow":           {func(r *q) { r.ExpiresAt = "tomorrow" }, message.Options{}, "/expires_at"},
		"until":              {func(r *q) { r.ExpiresAt = later(time.Minute) }, message.Options{ExpiresAt: start.Add(time.Minute)}, ""},
		"until now":          {func(r *q) { r.ExpiresAt = later(0) }, message.Options{}, "/expires_at"},
		"until for ever":     {func(r *q) { r.ExpiresAt = tenYears.Add(time.Second).Format(time.RFC3339) }, message.Options{}, "/expires_at"},
		"over before it is":  {func(r *q) { r.SendAt, r.ExpiresAt = later(time.Hour), later(time.Hour) }, message.Options{}, "/expires_at"},
		"for a minute":       {func(r *q) { r.TTL = new(60) }, message.Options{ExpiresAt: start.Add(time.Minute)}, ""},
		"for a minute later": {func(r *q) { r.TTL, r.SendAt = new(60), later(time.Hour) }, message.Options{SendAt: start.Add(time.Hour), ExpiresAt: start.Add(time.Hour + time.Minute)}, ""},
		"for no time":        {func(r *q) { r.TTL = new(0) }, message.Options{}, "/ttl"},
		"for eleven years":   {func(r *q) { r.TTL = new(11 * 366 * 86400) }, message.Options{}, "/ttl"},
		"for and until":      {func(r *q) { r.TTL, r.ExpiresAt = new(60), later(time.Minute) }, message.Options{}, "/ttl"},
		"park":               {func(r *q) { r.OnUnknown = "park" }, message.Options{OnUnknown: message.Park}, ""},
		"resend, patiently":  {func(r *q) { r.OnUnknown, r.UnknownWait = "wait_then_resend", new(86400) }, message.Options{OnUnknown: message.Resend, UnknownWait: 24 * time.Hour}, ""},
		"resend at once":     {func(r *q) { r.OnUnknown, r.UnknownWait = "resend", new(0) }, message.Options{}, "/on_unknown /unknown_wait"},
		"too patiently":      {func(r *q) { r.UnknownWait = new(86401) }, message.Options{}, "/unknown_wait"},
		"a reference":        {func(r *q) { r.Reference = smiles(128) }, message.Options{}, ""},
		"too long a one":     {func(r *q) { r.Reference = smiles(128) + "x" }, message.Options{}, "/reference"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, log := newAccepter()
			r := request(test.change)
			_, err := a.Accept(t.Context(), r)
			if got := pointers(err); got != test.faults {
				t.Fatalf("faults %q, want %q: %v", got, test.faults, err)
			}
			if err != nil {
				return
			}
			var f message.SendRequested
			if err := log.All()[0].Decode(&f); err != nil || f.Options != test.want || f.Reference != r.Reference {
				t.Errorf("recorded %+v %q, want %+v: %v", f.Options, f.Reference, test.want, err)
			}
		})
	}
}

// A request repeated after its time is over is still its repeat; a new one is
// refused, and another one under its key as well.
func TestRepeatAfterItsTime(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	timed := func(q *message.Request) {
		q.IdempotencyKey, q.ExpiresAt = "order-17", start.Add(time.Minute).Format(time.RFC3339)
	}
	first, err := a.Accept(t.Context(), request(timed))
	if err != nil {
		t.Fatal(err)
	}
	a.Clock = stopped(start.Add(time.Hour))
	if again, err := a.Accept(t.Context(), request(timed)); err != nil || !again.Replayed || again.Position != first.Position {
		t.Errorf("again %+v, %v", again, err)
	}
	_, err = a.Accept(t.Context(), request(func(q *message.Request) { timed(q); q.Text = "other" }))
	if domain.KindOf(err) != domain.KeyReused {
		t.Errorf("another one: %v", err)
	}
	_, err = a.Accept(t.Context(), request(func(q *message.Request) { timed(q); q.IdempotencyKey = "" }))
	if pointers(err) != "/expires_at" || len(log.All()) != 1 {
		t.Errorf("a new one: %v, %d events", err, len(log.All()))
	}
	a.Log = away{loadErr: domain.Errorf(domain.Unavailable, nil, "the log is away")}
	if _, err = a.Accept(t.Context(), request(timed)); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("while the log is away: %v", err)
	}
}

type stopped time.Time

func (s stopped) Now() time.Time                                 { return time.Time(s) }
func (stopped) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// A recipient is a phone number, a user id or a group; each goes into its
// field, and only a phone is rewritten.
func TestRecipient(t *testing.T) {
	t.Parallel()
	const user, parent, group = "US.13491208655302741918", "US.ENT.11815799212886844830", "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"
	for name, test := range map[string]struct{ to, recipient, kind, want, faults string }{
		"phone":                 {"+1 415 555 0100", "", "", somebody, ""},
		"user id":               {"", user, "individual", user, ""},
		"user id in to":         {user, "", "", user, ""},
		"parent id":             {"", parent, "", parent, ""},
		"both":                  {somebody, user, "", somebody, ""},
		"both, one bad":         {somebody, "Ann", "", "", "/recipient"},
		"phone in recipient":    {"", somebody, "", "", "/recipient"},
		"user id in lower case": {"us.134", "", "", "", "/to"},
		"user id of 256":        {"", "US." + x(256), "", "US." + x(256), ""},
		"user id of 257":        {"", "US." + x(257), "", "", "/recipient"},
		"user id with a feed":   {"", user + "\n", "", "", "/recipient"},
		"group":                 {group, "", "group", group, ""},
		"group of spaces":       {"a b", "", "group", "", "/to"},
		"group of 257":          {x(257), "", "group", "", "/to"},
		"group of nothing":      {"", "", "group", "", "/to"},
		"group in recipient":    {"", group, "group", "", "/recipient"},
		"channel":               {somebody, "", "channel", "", "/recipient_type"},
		"nobody":                {"", "", "", "", "/to"},
	} {
		a, log := newAccepter()
		_, err := a.Accept(t.Context(), request(func(q *message.Request) { q.To, q.Recipient, q.RecipientType = test.to, test.recipient, test.kind }))
		if got := pointers(err); got != test.faults {
			t.Errorf("%s: faults %q, want %q: %v", name, got, test.faults, err)
		}
		if err != nil {
			continue
		}
		var f message.SendRequested
		if err := log.All()[0].Decode(&f); err != nil || f.To != test.want || f.Group != (test.kind == "group") {
			t.Errorf("%s: recorded %q, group %t, %v", name, f.To, f.Group, err)
		}
	}
}
