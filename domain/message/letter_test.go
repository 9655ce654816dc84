package message_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// A filter selects by each of its fields, and by all of them together.
func TestLetterFilter(t *testing.T) {
	t.Parallel()
	letter := message.DeadLetter{Tenant: "ten_a", Number: "1", Code: 7, Reason: "refused", State: message.LetterDead, At: second(10)}
	code := func(n int) *int { return &n }
	for name, test := range map[string]struct {
		filter message.LetterFilter
		want   bool
	}{
		"nothing":           {message.LetterFilter{}, true},
		"all of it":         {message.LetterFilter{Tenant: "ten_a", Number: "1", Code: code(7), Reason: "refused", Since: second(10), Until: second(11), State: "dead"}, true},
		"another tenant":    {message.LetterFilter{Tenant: "ten_b"}, false},
		"another number":    {message.LetterFilter{Number: "2"}, false},
		"another code":      {message.LetterFilter{Code: code(8)}, false},
		"no code":           {message.LetterFilter{Code: code(0)}, false},
		"another reason":    {message.LetterFilter{Reason: "undeliverable"}, false},
		"another state":     {message.LetterFilter{State: message.LetterSettled}, false},
		"died before":       {message.LetterFilter{Since: second(11)}, false},
		"did not die until": {message.LetterFilter{Until: second(10)}, false},
	} {
		if got := test.filter.Accepts(letter); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

// A timeline tells each attempt with its outcome: a late answer belongs to the
// attempt it is about, and nothing takes an acceptance back.
func TestHistory(t *testing.T) {
	t.Parallel()
	entry := func(at int, kind string, attempt int) message.Entry {
		return message.Entry{At: second(at), Type: kind, Attempt: attempt}
	}
	refusal := entry(3, message.TypeSendRefused, 1)
	refusal.Code, refusal.Reason, refusal.TraceID = 131026, "not on WhatsApp", "AbC"
	redrive := entry(5, message.TypeSendRedriven, 0)
	redrive.Reason, redrive.Batch = "admin", "redrive_1"
	tried, redriven := message.History([]message.Entry{
		entry(1, message.TypeSendRequested, 0),
		entry(2, message.TypeSendAttempted, 1), refusal,
		entry(4, message.TypeSendDeadLettered, 1), redrive,
		entry(6, message.TypeSendAttempted, 2), entry(7, message.TypeOutcomeUnknown, 2),
		entry(8, message.TypeSendAttempted, 3), entry(9, message.TypeSendAccepted, 2), entry(10, message.TypeOutcomeUnknown, 2),
		entry(11, message.TypeSendRefused, 9), // of an attempt the timeline has lost
	})
	want := []message.Tried{
		{Number: 1, At: second(2), Outcome: message.OutcomeRefused, EndedAt: second(3), Code: 131026, Reason: "not on WhatsApp", TraceID: "AbC"},
		{Number: 2, At: second(6), Outcome: message.OutcomeAccepted, EndedAt: second(9)},
		{Number: 3, At: second(8), Outcome: message.OutcomeOpen},
	}
	if !reflect.DeepEqual(tried, want) {
		t.Errorf("tried %+v, want %+v", tried, want)
	}
	if want := []message.Redriven{{At: second(5), By: "admin", Batch: "redrive_1"}}; !reflect.DeepEqual(redriven, want) {
		t.Errorf("redriven %+v, want %+v", redriven, want)
	}
}

// proof is what the provider is found to have said, if anything.
type proof struct {
	status message.StatusReceived
	found  bool
	err    error
}

func (p proof) Find(context.Context, domain.Key, domain.Position) (message.StatusReceived, bool, error) {
	return p.status, p.found, p.err
}

// What a redrive does after these facts, and that a check says the same
// beforehand and records nothing. What was sent is never sent again.
func TestRedrive(t *testing.T) {
	t.Parallel()
	delivered := proof{status: message.StatusReceived{Status: message.Delivered, Attempt: 1}, found: true}
	for name, test := range map[string]struct {
		given   []domain.Fact
		proof   proof
		kind    domain.ErrKind // of the refusal
		records string         // the type of the new event
	}{
		"refused for good":             {given: life(requested(), tried(1), declined(1), dead("refused")), records: message.TypeSendRedriven},
		"never tried":                  {given: life(requested(), dead("undeliverable")), records: message.TypeSendRedriven},
		"unknown, and nothing proves":  {given: life(requested(), tried(1), unknown(1), dead("outcome_unknown")), records: message.TypeSendRedriven},
		"unknown, and proven":          {given: life(requested(), tried(1), unknown(1), dead("outcome_unknown")), proof: delivered, kind: domain.Taken, records: message.TypeSendAccepted},
		"unknown, and nobody answers":  {given: life(requested(), tried(1), unknown(1), dead("x")), proof: proof{err: domain.Errorf(domain.Unavailable, nil, "away")}, kind: domain.Unavailable},
		"accepted after it was dead":   {given: life(requested(), tried(1), unknown(1), dead("x"), accepted(1)), kind: domain.Taken},
		"accepted":                     {given: life(requested(), tried(1), accepted(1)), kind: domain.Taken},
		"waiting":                      {given: life(requested()), kind: domain.Taken},
		"redriven already":             {given: life(requested(), dead("x"), redriven()), kind: domain.Taken},
		"its time is over":             {given: life(until(frozen{}.Now()), dead("x")), kind: domain.Taken},
		"its time is over soon":        {given: life(until(second(1)), dead("x")), records: message.TypeSendRedriven},
		"over, and a status proves it": {given: life(until(frozen{}.Now()), tried(1), unknown(1), dead("x")), proof: delivered, kind: domain.Taken, records: message.TypeSendAccepted},
		"unheard of":                   {kind: domain.Unknown},
		"refused, and a status is odd": {given: life(requested(), tried(1), declined(1), dead("refused")), proof: delivered, records: message.TypeSendRedriven},
	} {
		log := logtest.NewMemory()
		record(t, log, test.given...)
		r := message.Redriver{Clock: frozen{}, Log: log, Proofs: test.proof}
		check := r.Check(t.Context(), key)
		if n := len(log.All()); n != len(test.given) {
			t.Errorf("%s: the check recorded something", name)
		}
		err := r.Redrive(t.Context(), key, "admin", "redrive_1")
		if (err == nil) != (test.kind == "") || err != nil && domain.KindOf(err) != test.kind {
			t.Errorf("%s: %v, want %q", name, err, test.kind)
		}
		if (check == nil) != (err == nil) || err != nil && check.Error() != err.Error() {
			t.Errorf("%s: the check says %v, the redrive %v", name, check, err)
		}
		all := log.All()
		if test.records == "" {
			if len(all) != len(test.given) {
				t.Errorf("%s: recorded %s", name, all[len(all)-1].Type)
			}
			continue
		}
		if len(all) != len(test.given)+1 || all[len(all)-1].Type != test.records {
			t.Fatalf("%s: %d events, want one more, %s", name, len(all), test.records)
		}
		var f message.SendRedriven
		if test.records == message.TypeSendRedriven && (all[len(all)-1].Decode(&f) != nil || f.By != "admin" || f.Batch != "redrive_1") {
			t.Errorf("%s: recorded %+v", name, f)
		}
	}
}

// Of several redrives of one message at the same time one is recorded.
func TestRedriveAtOnce(t *testing.T) {
	t.Parallel()
	log := logtest.NewMemory()
	record(t, log, life(requested(), dead("undeliverable"))...)
	r := message.Redriver{Clock: frozen{}, Log: log}
	errs := make(chan error)
	for i := range 8 {
		go func() { errs <- r.Redrive(context.Background(), key, "admin", fmt.Sprint("redrive_", i)) }()
	}
	done := 0
	for range 8 {
		switch err := <-errs; {
		case err == nil:
			done++
		case domain.KindOf(err) != domain.Taken:
			t.Errorf("%v", err)
		}
	}
	if done != 1 || len(log.All()) != 3 {
		t.Errorf("%d were told it is done, %d events", done, len(log.All()))
	}
}

// A redrive that asks for a message twice, at the same time, later, after it
// died again or was sent, is told both times that it is done; it is recorded once.
func TestRedriveTwice(t *testing.T) {
	t.Parallel()
	log := logtest.NewMemory()
	record(t, log, life(requested(), dead("undeliverable"))...)
	r := message.Redriver{Clock: frozen{}, Log: log}
	errs := make(chan error)
	for range 8 {
		go func() { errs <- r.Redrive(context.Background(), key, "admin", "redrive_1") }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	died := happened(t, dead("undeliverable"))[0]
	if _, err := log.Append(t.Context(), died, domain.After(3)); err != nil {
		t.Fatal(err)
	}
	if err := r.Redrive(t.Context(), key, "admin", "redrive_1"); err != nil || len(log.All()) != 4 {
		t.Errorf("%v, %d events", err, len(log.All()))
	}
	if err := r.Redrive(t.Context(), key, "admin", "redrive_2"); err != nil || len(log.All()) != 5 {
		t.Errorf("by another: %v, %d events", err, len(log.All()))
	}
	for _, f := range []domain.Fact{tried(1), accepted(1)} {
		if _, err := log.Append(t.Context(), happened(t, f)[0], domain.After(domain.Position(len(log.All())))); err != nil {
			t.Fatal(err)
		}
	}
	for batch, kind := range map[string]domain.ErrKind{"redrive_1": "", "redrive_2": "", "redrive_3": domain.Taken} {
		if err := r.Redrive(t.Context(), key, "admin", batch); (err == nil) != (kind == "") || err != nil && domain.KindOf(err) != kind || len(log.All()) != 7 {
			t.Errorf("sent, and %s asks again: %v, %d events", batch, err, len(log.All()))
		}
	}
}

// archive holds all that a forgetful log was ever told.
type archive struct {
	*logtest.Memory
	statuses []message.StatusReceived
	err      error
}

func (a archive) Life(ctx context.Context, k domain.Key) (message.Life, error) {
	own, err := a.Load(ctx, k)
	return message.Life{Own: own, Statuses: a.statuses, Until: 100}, errors.Join(a.err, err)
}

// A redrive of a message that has left the log, as a whole or its beginning,
// decides by the archive as it would have by the log; what it records is enough
// to send it: the request, the number of attempts, the doubts.
func TestRedriveFromTheArchive(t *testing.T) {
	t.Parallel()
	sent := []message.StatusReceived{{Status: "sent", Message: "msg_a", Attempt: 1, StatusNames: message.StatusNames{Wamid: "wamid.a"}}}
	for name, test := range map[string]struct {
		given    []domain.Fact
		statuses []message.StatusReceived
		err      error
		kind     domain.ErrKind
		records  string
		doubtful bool
	}{
		"refused for good":   {given: life(requested(), tried(1), declined(1), dead("refused")), records: message.TypeSendRedriven},
		"tried twice":        {given: life(requested(), tried(1), busy(1), tried(2), busy(2), dead("x")), records: message.TypeSendRedriven},
		"in doubt":           {given: life(requested(), tried(1), unknown(1), dead("x")), records: message.TypeSendRedriven, doubtful: true},
		"in doubt, proven":   {given: life(requested(), tried(1), unknown(1), dead("x")), statuses: sent, kind: domain.Taken, records: message.TypeSendAccepted},
		"accepted":           {given: life(requested(), tried(1), unknown(1), dead("x"), accepted(1)), kind: domain.Taken},
		"redriven before":    {given: life(requested(), dead("x"), redriven()), kind: domain.Taken},
		"its time is over":   {given: life(until(frozen{}.Now()), dead("x")), kind: domain.Taken},
		"an attempt is lost": {given: life(requested(), tried(2), declined(2), dead("refused")), kind: domain.Unknown},
		"no longer kept":     {given: life(requested(), dead("x")), err: domain.Errorf(domain.Unknown, nil, "gone"), kind: domain.Unknown},
		"nobody can say now": {given: life(requested(), dead("x")), err: domain.Errorf(domain.Unavailable, nil, "away"), kind: domain.Unavailable},
	} {
		for upTo := range len(test.given) {
			whole := logtest.NewMemory()
			record(t, whole, test.given...)
			log := forgetful{whole, domain.Position(upTo + 1)}
			r := message.Redriver{Clock: frozen{}, Log: log, Proofs: proof{}, Archive: archive{whole, test.statuses, test.err}}
			check := r.Check(t.Context(), key)
			err := r.Redrive(t.Context(), key, "admin", "redrive_1")
			if (err == nil) != (test.kind == "") || err != nil && (domain.KindOf(err) != test.kind || check.Error() != err.Error()) {
				t.Fatalf("%s, %d gone: %v, want %q; the check %v", name, upTo+1, err, test.kind, check)
			}
			all := whole.All()
			if test.records == "" {
				if len(all) != len(test.given) {
					t.Errorf("%s: recorded %s", name, all[len(all)-1].Type)
				}
				continue
			}
			if len(all) != len(test.given)+1 || all[len(all)-1].Type != test.records {
				t.Fatalf("%s: %d events, want one more, %s", name, len(all), test.records)
			}
			if err != nil {
				continue
			}
			if err := r.Redrive(t.Context(), key, "admin", "redrive_1"); err != nil || len(whole.All()) != len(all) {
				t.Errorf("%s: again: %v, %d events more", name, err, len(whole.All())-len(all))
			}
			want, err := message.Fold(all)
			if err != nil {
				t.Fatal(err)
			}
			got, err := message.Fold(all[min(upTo+1, len(all)-1):])
			if err != nil {
				t.Fatal(err)
			}
			_, doubtful := got.DoubtfulSince()
			if !reflect.DeepEqual(got.Request, want.Request) || got.Attempt != want.Attempt || got.Headless || doubtful != test.doubtful {
				t.Errorf("%s, %d gone: %+v, want %+v", name, upTo+1, got, want)
			}
			if step := got.Next(message.Rules{MaxAttempts: 5}, frozen{}.Now()); step.Do != message.Attempt || step.Attempt != want.Attempt+1 {
				t.Errorf("%s: next is %+v", name, step)
			}
			if since, _ := got.DoubtfulSince(); doubtful && since != 100 {
				t.Errorf("%s: in doubt since %d, which has left the log", name, since)
			}
		}
	}
}

// A request says without its personal part whether it is a template's.
func TestAsksTemplate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given domain.Fact
		want  bool
	}{
		"a template": {&message.SendRequested{Type: message.Template}, true},
		"a text":     {&message.SendRequested{Type: "text"}, false},
		"a redrive":  {redriven(), false},
	} {
		for _, e := range happened(t, test.given) {
			if got := message.AsksTemplate(e.Type, e.Facts); got != test.want {
				t.Errorf("%s: %t, want %t", name, got, test.want)
			}
		}
	}
	if message.AsksTemplate(message.TypeSendRequested, []byte("{")) {
		t.Error("facts that cannot be read ask for a template")
	}
}

// A request says without its personal part when it expires.
func TestAsksUntil(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, f := range map[time.Time]domain.Fact{at: asked(message.Options{ExpiresAt: at}), {}: requested()} {
		if e := happened(t, f)[0]; !message.AsksUntil(e.Type, e.Facts).Equal(want) {
			t.Errorf("until %s, want %s", message.AsksUntil(e.Type, e.Facts), want)
		}
	}
	if u := message.AsksUntil(message.TypeSendRequested, []byte("{")); !u.IsZero() {
		t.Errorf("facts that cannot be read ask until %s", u)
	}
}

// What was redriven is bulk from then on, whatever its request asked for.
func TestRedrivenIsBulk(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given []domain.Fact
		want  bool
	}{
		"new":                    {life(requested()), false},
		"asked for as bulk":      {life(asked(message.Options{Priority: message.Bulk})), true},
		"dead":                   {life(requested(), dead("x")), false},
		"redriven":               {life(requested(), dead("x"), redriven()), true},
		"from the archive":       {life(&message.SendRedriven{By: "admin", Original: &message.Original{SendRequested: message.SendRequested{Type: "text"}}}), true},
		"redriven and tried":     {life(requested(), dead("x"), redriven(), tried(1), busy(1)), true},
		"redriven and dead anew": {life(requested(), dead("x"), redriven(), dead("x")), true},
	} {
		events := happened(t, test.given...)
		s, err := message.Fold(events)
		if err != nil || s.Bulk() != test.want {
			t.Errorf("%s: bulk %t, want %t (%v)", name, s.Bulk(), test.want, err)
		}
		var asks bool // by the newest event that asks for work
		for _, e := range events {
			if e.Type == message.TypeSendRequested || e.Type == message.TypeSendRedriven {
				asks = message.AsksBulk(e.Type, e.Facts)
			}
		}
		if asks != test.want {
			t.Errorf("%s: asks for bulk %t, want %t", name, asks, test.want)
		}
	}
}
