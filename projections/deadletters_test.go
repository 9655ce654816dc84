package projections_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/mongostore"
	"github.com/sendlog/sendlog/projections/storetest"
)

// onBothStores runs a test on SQLite and on the MongoDB wire.
func onBothStores(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t))
	})
	t.Run("mongo", func(t *testing.T) {
		t.Parallel()
		mongo, err := mongostore.Open(t.Context(), storetest.MongoURI(t), storetest.MongoDatabase(t))
		must(t, err)
		t.Cleanup(func() {
			must(t, mongo.DropDatabase(context.Background()))
			must(t, mongo.Close())
		})
		w := newWorld(t)
		w.store = mongo
		test(t, w)
	})
}

// die makes the death of a message.
func (w *world) die(k domain.Key, code int, reason string) domain.Event {
	return w.event(k, &message.SendDeadLettered{Attempts: 5, Reason: reason, Code: code, Detail: "words"})
}

// letterIDs reads a list to its end, in pages of a size.
func letterIDs(t *testing.T, l *projections.Library, f message.LetterFilter, limit int) string {
	t.Helper()
	var ids []string
	for page := (projections.Page{Limit: limit}); ; {
		found, next, err := l.DeadLetters(t.Context(), f, page)
		must(t, err)
		if len(found) > limit {
			t.Fatalf("%+v: a page of %d", f, len(found))
		}
		for _, d := range found {
			ids = append(ids, string(d.Message))
		}
		if next == nil {
			return strings.Join(ids, " ")
		}
		page.After = next
	}
}

// Dead letters are narrowed by each filter and by several, newest death first,
// in pages of any size, on both stores.
func TestDeadLetterFilters(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, w *world) {
		begun := w.now
		for i, one := range []struct {
			tenant domain.TenantID
			number domain.NumberID
			code   int
			reason string
		}{
			{tenA, numA, 7, "refused"}, {tenA, numA, 0, "undeliverable"}, {tenA, numB, 7, "refused"},
			{tenB, "1000003", 7, "refused"}, {tenA, numA, 8, "attempts_exhausted"},
		} {
			w.log.add(w.die(message.OutgoingKey(one.tenant, one.number, domain.MessageID(fmt.Sprintf("msg_%d", i))), one.code, one.reason))
		}
		w.log.add(w.event(out("msg_1"), &message.SendRedriven{By: "admin", Batch: "redrive_1"}))
		l := w.library()
		code := func(n int) *int { return &n }
		second := func(n int) time.Time { return begun.Add(time.Duration(n) * time.Second) } // letter i died at i+1
		for _, c := range []struct {
			filter message.LetterFilter
			want   string
		}{
			{message.LetterFilter{}, "msg_4 msg_3 msg_2 msg_1 msg_0"},
			{message.LetterFilter{State: message.LetterDead}, "msg_4 msg_3 msg_2 msg_0"},
			{message.LetterFilter{State: message.LetterRedriven}, "msg_1"},
			{message.LetterFilter{State: message.LetterSettled}, ""},
			{message.LetterFilter{Tenant: tenA}, "msg_4 msg_2 msg_1 msg_0"},
			{message.LetterFilter{Tenant: "ten_none"}, ""},
			{message.LetterFilter{Number: numA}, "msg_4 msg_1 msg_0"},
			{message.LetterFilter{Number: numA, Tenant: tenB}, ""},
			{message.LetterFilter{Code: code(7)}, "msg_3 msg_2 msg_0"},
			{message.LetterFilter{Code: code(0)}, "msg_1"},
			{message.LetterFilter{Code: code(7), Tenant: tenA, State: message.LetterDead}, "msg_2 msg_0"},
			{message.LetterFilter{Reason: "refused"}, "msg_3 msg_2 msg_0"},
			{message.LetterFilter{Since: second(3)}, "msg_4 msg_3 msg_2"},
			{message.LetterFilter{Since: second(2), Until: second(4)}, "msg_2 msg_1"},
			{message.LetterFilter{Until: second(1)}, ""},
		} {
			for _, limit := range []int{1, 2, 200} {
				if got := letterIDs(t, l, c.filter, limit); got != c.want {
					t.Errorf("%+v in pages of %d: got %q, want %q", c.filter, limit, got, c.want)
				}
			}
		}
	})
}

// A dead letter keeps its first death and counts its redrives; one that dies
// again is dead again, and newest; one that ends is settled.
func TestDeadLetterLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	redrive := func(id domain.MessageID) domain.Event {
		return w.event(out(id), &message.SendRedriven{By: "admin", Batch: "redrive_1"})
	}
	first := w.now.Add(time.Second)
	w.log.add(w.die(out("msg_1"), 7, "refused"), w.die(out("msg_2"), 7, "refused"), w.die(out("msg_3"), 7, "refused"),
		w.die(out("msg_4"), 7, "refused"), w.die(out("msg_5"), 7, "refused"), w.die(out("msg_6"), 7, "refused"))
	w.log.add(redrive("msg_1"), w.die(out("msg_1"), 8, "attempts_exhausted")) // 7 and 8
	w.log.add(redrive("msg_2"))
	w.log.add(redrive("msg_3"), w.attempt("msg_3", 2), w.accept("msg_3", 2, "wamid.3"))
	w.log.add(redrive("msg_4"), w.event(out("msg_4"), &message.SendCancelled{}))
	w.log.add(redrive("msg_5"), w.event(out("msg_5"), &message.SendExpired{}))
	w.log.add(w.accept("msg_6", 1, "wamid.6")) // proven after all
	w.log.add(w.request("msg_7", "+15550001111", "fine"), w.attempt("msg_7", 1), w.accept("msg_7", 1, "wamid.7"))
	l := w.library()
	found, err := l.DeadLettersByID(t.Context(), "", []string{"msg_1", "msg_2", "msg_3", "msg_4", "msg_5", "msg_6", "msg_7"})
	must(t, err)
	for id, want := range map[string]struct {
		state    string
		redrives int
	}{
		"msg_1": {message.LetterDead, 1}, "msg_2": {message.LetterRedriven, 1}, "msg_3": {message.LetterSettled, 1},
		"msg_4": {message.LetterSettled, 1}, "msg_5": {message.LetterSettled, 1}, "msg_6": {message.LetterSettled, 0}, "msg_7": {},
	} {
		if d := found[id]; d.State != want.state || d.Redrives != want.redrives {
			t.Errorf("%s: %+v, want %+v", id, d, want)
		}
	}
	one := found["msg_1"]
	if !one.FirstAt.Equal(first) || one.Position != 8 || one.Code != 8 || one.Reason != "attempts_exhausted" || one.Detail != "words" || !one.RedrivenAt.IsZero() {
		t.Errorf("dead again: %+v", one)
	}
	if found["msg_2"].RedrivenAt.IsZero() {
		t.Error("nobody knows when msg_2 was redriven")
	}
	if got := letterIDs(t, l, message.LetterFilter{}, 50); got != "msg_1 msg_6 msg_5 msg_4 msg_3 msg_2" {
		t.Errorf("in order: %s", got)
	}
	timeline, err := l.Timeline(t.Context(), tenA, "msg_1")
	must(t, err)
	if _, redriven := message.History(timeline); len(redriven) != 1 || redriven[0].Batch != "redrive_1" || redriven[0].By != "admin" {
		t.Errorf("timeline tells %+v", redriven)
	}
	foreign, err := l.DeadLettersByID(t.Context(), tenB, []string{"msg_1"})
	must(t, err)
	if len(foreign) != 0 {
		t.Errorf("another tenant reads %+v", foreign)
	}
}

// What Meta says in its own words, and its code, are read wherever the error is:
// in the message, its timeline, its dead letter and the attempts of that.
func TestErrorsSayWhatMetaSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const said = "+14155550100 is not one"
	refused := func(id domain.MessageID, n int) domain.Event {
		return w.event(out(id), &message.SendRefused{Attempt: n, Code: 100, Reason: "words", Provider: message.Provider{Details: said}})
	}
	failed := func(id domain.MessageID) domain.Event {
		return w.event(message.StatusKey(tenA, numA), &message.StatusReceived{Status: message.Failed, SaidAt: noon(1), Message: id, Code: 131026, Reason: "words",
			StatusNames: message.StatusNames{Wamid: "wamid." + string(id), Details: said}})
	}
	w.log.add(w.request("msg_refused", "+14155550100", "x"), w.attempt("msg_refused", 1), refused("msg_refused", 1),
		w.event(out("msg_refused"), &message.SendDeadLettered{Attempts: 1, Reason: "refused", Code: 100, Detail: "words"}))
	w.log.add(w.request("msg_failed", "+14155550100", "x"), w.attempt("msg_failed", 1), w.accept("msg_failed", 1, "wamid.msg_failed"), failed("msg_failed"))
	w.log.add(failed("msg_early"), w.request("msg_early", "+14155550100", "x"), w.attempt("msg_early", 1), w.accept("msg_early", 1, "wamid.msg_early"))
	w.log.add(w.request("msg_unknown", "+14155550100", "x"), w.attempt("msg_unknown", 1), refused("msg_unknown", 1), w.attempt("msg_unknown", 2),
		w.event(out("msg_unknown"), &message.OutcomeUnknown{Attempt: 2, Reason: "error 131000", Code: 131000}),
		w.event(out("msg_unknown"), &message.SendDeadLettered{Attempts: 2, Reason: message.ReasonUnknown, Code: 131000, Detail: "lost"}))
	l := w.library()
	for id, want := range map[domain.MessageID]struct {
		code    int
		details string
		told    string // by the timeline
	}{
		"msg_refused": {100, said, "SendRefused 100"},
		"msg_failed":  {131026, said, "StatusReceived 131026"},
		"msg_early":   {131026, said, "StatusReceived 131026"},
		"msg_unknown": {131000, "", "SendRefused 100"},
	} {
		v, err := l.Message(t.Context(), tenA, id)
		must(t, err)
		if v.ErrorCode != want.code || v.ErrorDetails != want.details {
			t.Errorf("%s: %d %q", id, v.ErrorCode, v.ErrorDetails)
		}
		timeline, err := l.Timeline(t.Context(), tenA, id)
		must(t, err)
		i := slices.IndexFunc(timeline, func(e message.Entry) bool { return e.Details == said })
		if i < 0 || fmt.Sprint(timeline[i].Type, " ", timeline[i].Code) != want.told {
			t.Errorf("%s: %+v", id, timeline)
		}
	}
	letters, err := l.DeadLettersByID(t.Context(), tenA, []string{"msg_refused", "msg_unknown"})
	must(t, err)
	if d := letters["msg_refused"]; d.Code != 100 || d.Details != said {
		t.Errorf("refused: %+v", d)
	}
	if d := letters["msg_unknown"]; d.Code != 131000 || d.Details != "" {
		t.Errorf("unknown: %+v", d)
	}
	timeline, err := l.Timeline(t.Context(), tenA, "msg_unknown")
	must(t, err)
	if tried, _ := message.History(timeline); len(tried) != 2 || tried[0].Details != said || tried[1].Code != 131000 || tried[1].Details != "" {
		t.Errorf("tried %+v", tried)
	}
}

// A message says when it was given up, for as long as it is: whether it was
// refused, or parked and still unknown.
func TestMessageSaysItIsDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost := func(id domain.MessageID) domain.Event {
		return w.event(out(id), &message.OutcomeUnknown{Attempt: 1, Reason: "timeout"})
	}
	parked := func(id domain.MessageID) domain.Event {
		return w.event(out(id), &message.SendDeadLettered{Attempts: 1, Reason: message.ReasonUnknown})
	}
	redriven := w.event(out("msg_redriven"), &message.SendRedriven{By: "admin"})
	w.log.add(w.request("msg_waits", "+14155550100", "x"), w.attempt("msg_waits", 1), lost("msg_waits"))
	died := w.event(out("msg_parked"), &message.SendDeadLettered{Attempts: 1, Reason: message.ReasonUnknown})
	w.log.add(w.request("msg_parked", "+14155550100", "x"), w.attempt("msg_parked", 1), lost("msg_parked"), died, w.status("hidden", 9, "msg_parked", ""))
	w.log.add(w.request("msg_redriven", "+14155550100", "x"), w.attempt("msg_redriven", 1), lost("msg_redriven"), parked("msg_redriven"), redriven)
	w.log.add(w.request("msg_proven", "+14155550100", "x"), w.attempt("msg_proven", 1), lost("msg_proven"), parked("msg_proven"), w.accept("msg_proven", 1, "wamid.1"))
	w.log.add(w.request("msg_refused", "+14155550100", "x"), w.die(out("msg_refused"), 7, "refused"))
	l := w.library()
	for id, want := range map[domain.MessageID]struct {
		status        string
		dead, settled bool
	}{
		"msg_waits": {message.Unknown, false, false}, "msg_parked": {message.Unknown, true, true}, "msg_redriven": {message.Unknown, false, false},
		"msg_proven": {message.Accepted, false, true}, "msg_refused": {message.Failed, true, true},
	} {
		v, err := l.Message(t.Context(), tenA, id)
		must(t, err)
		if v.Status != want.status || v.DeadAt.IsZero() == want.dead || v.Settled() != want.settled {
			t.Errorf("%s: %s, dead at %s, settled %v", id, v.Status, v.DeadAt, v.Settled())
		}
		if id == "msg_parked" && !v.DeadAt.Equal(died.At) {
			t.Errorf("it died at %s, not %s", died.At, v.DeadAt)
		}
	}
}

// A dead letter tells whether the provider may have taken it: some attempt has
// no outcome, or an unknown one. One that ends tells all its attempts.
func TestDeadLetterDoubts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuse := func(id domain.MessageID, n int) domain.Event {
		return w.event(out(id), &message.SendRefused{Attempt: n, Code: 7})
	}
	lose := func(id domain.MessageID, n int) domain.Event {
		return w.event(out(id), &message.OutcomeUnknown{Attempt: n, Reason: "timeout"})
	}
	die := func(id domain.MessageID, n int, reason string) domain.Event {
		return w.event(out(id), &message.SendDeadLettered{Attempts: n, Reason: reason})
	}
	w.log.add(w.attempt("msg_refused", 1), refuse("msg_refused", 1), die("msg_refused", 1, message.ReasonRefused))
	w.log.add(w.attempt("msg_lost", 1), lose("msg_lost", 1), die("msg_lost", 1, message.ReasonUnknown))
	w.log.add(w.attempt("msg_first", 1), lose("msg_first", 1), w.attempt("msg_first", 2), refuse("msg_first", 2), die("msg_first", 2, message.ReasonRefused))
	w.log.add(w.attempt("msg_open", 1), die("msg_open", 1, message.ReasonPoison))
	w.log.add(die("msg_new", 0, message.ReasonUndeliverable))
	w.log.add(die("msg_headless", 5, message.ReasonUnknown))
	w.log.add(w.attempt("msg_sent", 1), lose("msg_sent", 1), die("msg_sent", 1, message.ReasonUnknown),
		w.event(out("msg_sent"), &message.SendRedriven{By: "admin"}), w.attempt("msg_sent", 2), w.accept("msg_sent", 2, "wamid.2"))
	want := map[string]bool{"msg_refused": false, "msg_lost": true, "msg_first": true, "msg_open": true, "msg_new": false, "msg_headless": true, "msg_sent": true}
	found, err := w.library().DeadLettersByID(t.Context(), "", slices.Collect(maps.Keys(want)))
	must(t, err)
	for id, doubt := range want {
		if got := found[id]; got.InDoubt != doubt || got.Message == "" {
			t.Errorf("%s: in doubt %t, want %t", id, got.InDoubt, doubt)
		}
	}
	if got := found["msg_sent"]; got.State != message.LetterSettled || got.Attempts != 2 {
		t.Errorf("%+v, want two attempts", got)
	}
}

// A filter that its index does not narrow looks at a bounded number of letters
// for one page, and is read to its end all the same; a time ends the list.
func TestManyDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const all, looked = 5000, 2000
	middle := time.Time{}
	var events []domain.Event
	for i := range all {
		code := 1
		if i%1000 == 0 {
			code = 7
		}
		e := w.die(out(domain.MessageID(fmt.Sprintf("msg_%04d", i))), code, "refused")
		if i == all-1000 {
			middle = e.At
		}
		events = append(events, e)
	}
	w.log.add(events...)
	l := w.library()
	rare := 7
	f := message.LetterFilter{Tenant: tenA, Code: &rare}
	found, next, err := l.DeadLetters(t.Context(), f, projections.Page{Limit: 50})
	must(t, err)
	if len(found) != looked/1000 || next == nil {
		t.Errorf("the first page has %d letters, next %v", len(found), next)
	}
	if got := letterIDs(t, l, f, 50); got != "msg_4000 msg_3000 msg_2000 msg_1000 msg_0000" {
		t.Errorf("got %s", got)
	}
	if found, next, err := l.DeadLetters(t.Context(), message.LetterFilter{Since: w.now}, projections.Page{}); len(found) != 1 || next != nil || err != nil {
		t.Errorf("since the last death: %d letters, next %v, %v", len(found), next, err)
	}
	ids := strings.Fields(letterIDs(t, l, message.LetterFilter{Since: middle}, 200))
	if len(ids) != 1000 || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("%d letters since %s", len(ids), middle)
	}
}

// told is what the provider reported of a message, for a redrive that asks the
// log.
type told []message.StatusReceived

func (t told) Find(context.Context, domain.Key, domain.Position) (message.StatusReceived, bool, error) {
	if len(t) == 0 {
		return message.StatusReceived{}, false, nil
	}
	return t[0], true, nil
}

// What the read model tells of dead letters is what a redrive finds in the log,
// whatever their lives were.
func TestCorpsesAreWhatARedriveMeets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := domain.SystemClock{}
	request := func(over time.Time) domain.Fact {
		return &message.SendRequested{Type: "text", Options: message.Options{ExpiresAt: over},
			SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{}`)}}
	}
	tried := func(n int) domain.Fact { return &message.SendAttempted{Attempt: n} }
	refused := func(n int) domain.Fact { return &message.SendRefused{Attempt: n} }
	lost := func(n int) domain.Fact { return &message.OutcomeUnknown{Attempt: n} }
	dead, redriven := &message.SendDeadLettered{Reason: "x"}, &message.SendRedriven{By: "admin"}
	sent := &message.StatusReceived{Status: "sent", Attempt: 1, StatusNames: message.StatusNames{Wamid: "wamid.x"}}
	never, over := time.Time{}, clock.Now().Add(-time.Hour)
	lives := map[domain.MessageID][]domain.Fact{
		"msg_refused":      {request(never), tried(1), refused(1), dead},
		"msg_untried":      {request(never), dead},
		"msg_odd":          {request(never), tried(1), refused(1), dead, sent},
		"msg_doubt":        {request(never), tried(1), lost(1), dead},
		"msg_proven":       {request(never), tried(1), lost(1), dead, sent},
		"msg_open":         {request(never), tried(1), dead, sent},
		"msg_proven_early": {request(never), tried(1), sent, lost(1), tried(2), refused(2), dead},
		"msg_accepted":     {request(never), tried(1), lost(1), dead, &message.SendAccepted{Attempt: 1}},
		"msg_redriven":     {request(never), dead, redriven},
		"msg_dead_anew":    {request(never), dead, redriven, tried(1), refused(1), dead},
		"msg_over":         {request(over), dead},
		"msg_over_proven":  {request(over), tried(1), lost(1), dead, sent},
		"msg_waiting":      {request(never)},
		"msg_cancelled":    {request(never), dead, redriven, &message.SendCancelled{}},
	}
	want, first, ids := map[domain.MessageID]string{}, map[domain.MessageID]domain.Position{}, []string{"msg_nobody"}
	for id, life := range lives {
		log, last, proofs := logtest.NewMemory(), domain.Position(0), told(nil)
		for _, f := range life {
			if s, ok := f.(*message.StatusReceived); ok {
				one := *s
				one.Message, one.Wamid = id, "wamid."+string(id)
				w.log.add(w.event(message.StatusKey(tenA, numA), &one))
				proofs = append(proofs, one)
				continue
			}
			e := w.event(out(id), f)
			at := w.log.add(e)
			if _, known := first[id]; !known {
				first[id] = at
			}
			var err error
			last, err = log.Append(t.Context(), e, domain.After(last))
			must(t, err)
		}
		r := message.Redriver{Clock: clock, Log: log, Proofs: proofs}
		want[id] = fmt.Sprint(r.Check(t.Context(), out(id)))
		ids = append(ids, string(id))
	}
	l := w.library()
	corpses, err := l.Corpses(t.Context(), ids, 1)
	must(t, err)
	if len(corpses) != len(lives) {
		t.Errorf("%d are told of", len(corpses))
	}
	for id, refusal := range want {
		if got := fmt.Sprint(corpses[string(id)].Refusal(clock.Now())); got != refusal {
			t.Errorf("%s: %s, want %s", id, got, refusal)
		}
	}
	corpses, err = l.Corpses(t.Context(), []string{"msg_refused"}, first["msg_refused"]+1)
	must(t, err)
	wantKind(t, corpses["msg_refused"].Refusal(clock.Now()), domain.Unknown)
}
