package projections_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// Given events of one message, a tenant reads this.
func TestFoldMessages(t *testing.T) {
	t.Parallel()
	const m, wamid = domain.MessageID("msg_1"), "wamid.1"
	refused := func(w *world, n, code int) domain.Event {
		return w.event(out(m), &message.SendRefused{Attempt: n, Code: code, Reason: fmt.Sprint("refused ", code), Retry: true})
	}
	unknown := func(w *world, n int) domain.Event {
		return w.event(out(m), &message.OutcomeUnknown{Attempt: n, Reason: "timeout"})
	}
	dead := func(w *world) domain.Event {
		return w.event(out(m), &message.SendDeadLettered{Attempts: 2, Reason: "refused", Code: 131047, Detail: "window closed"})
	}
	redriven := func(w *world) domain.Event { return w.event(out(m), &message.SendRedriven{By: "admin"}) }
	type want struct {
		status   string
		attempts int
		statuses string
		code     int
		timeline int
		wamids   int
		heard    string
	}
	for _, c := range []struct {
		name   string
		events func(w *world) []domain.Event
		want   want
	}{
		{"only asked for", func(w *world) []domain.Event { return nil },
			want{"queued", 0, "", 0, 1, 0, "queued"}},
		{"called, no outcome yet", func(w *world) []domain.Event { return []domain.Event{w.attempt(m, 1)} },
			want{"queued", 1, "", 0, 2, 0, "queued"}},
		{"accepted and read", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), w.accept(m, 1, wamid), w.status("sent", 1, m, wamid), w.status("delivered", 2, m, wamid), w.status("read", 3, m, wamid)}
		}, want{"read", 1, "delivered@2 read@3 sent@1", 0, 6, 1, "queued accepted sent delivered read"}},
		{"the same status twice, the earlier time later", func(w *world) []domain.Event {
			return []domain.Event{w.accept(m, 1, wamid), w.status("sent", 5, m, wamid), w.status("sent", 5, m, wamid), w.status("sent", 4, m, wamid), w.status("sent", 9, m, wamid)}
		}, want{"sent", 1, "sent@4", 0, 3, 1, "queued accepted sent"}},
		{"delivered before sent", func(w *world) []domain.Event {
			return []domain.Event{w.accept(m, 1, wamid), w.status("delivered", 2, m, wamid), w.status("sent", 1, m, wamid)}
		}, want{"delivered", 1, "delivered@2 sent@1", 0, 4, 1, "queued accepted delivered"}},
		{"a status with our id before the answer", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), w.status("delivered", 2, m, wamid), w.accept(m, 1, wamid)}
		}, want{"delivered", 1, "delivered@2", 0, 4, 1, "queued delivered"}},
		{"statuses without our id before the answer", func(w *world) []domain.Event {
			return []domain.Event{w.status("sent", 1, "", wamid), w.attempt(m, 1), w.status("read", 3, "", wamid), w.status("read", 2, "", wamid), w.accept(m, 1, wamid)}
		}, want{"read", 1, "read@2 sent@1", 0, 5, 1, "queued read"}},
		{"a status without our id, after one with it told the wamid", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), unknown(w, 1), w.status("sent", 1, m, wamid), w.status("delivered", 2, "", wamid)}
		}, want{"delivered", 1, "delivered@2 sent@1", 0, 5, 1, "queued unknown sent delivered"}},
		{"refused, then accepted", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), refused(w, 1, 130429), w.attempt(m, 2), w.accept(m, 2, wamid)}
		}, want{"accepted", 2, "", 0, 5, 1, "queued accepted"}},
		{"refused twice, dead", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), refused(w, 1, 130429), w.attempt(m, 2), refused(w, 2, 131047), dead(w)}
		}, want{"failed", 2, "", 131047, 6, 0, "queued dead_lettered"}},
		{"dead, redriven", func(w *world) []domain.Event { return []domain.Event{w.attempt(m, 1), dead(w), redriven(w)} },
			want{"queued", 1, "", 0, 4, 0, "queued dead_lettered queued"}},
		{"outcome unknown", func(w *world) []domain.Event { return []domain.Event{w.attempt(m, 1), unknown(w, 1)} },
			want{"unknown", 1, "", 0, 3, 0, "queued unknown"}},
		{"outcome unknown, then refused after all", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), unknown(w, 1), refused(w, 1, 131026)}
		}, want{"queued", 1, "", 131026, 4, 0, "queued unknown queued"}},
		{"a late refusal of an older attempt", func(w *world) []domain.Event {
			return []domain.Event{w.attempt(m, 1), unknown(w, 1), w.attempt(m, 2), unknown(w, 2), refused(w, 1, 131026)}
		}, want{"unknown", 2, "", 0, 6, 0, "queued unknown"}},
		{"sent again after an unknown outcome, both arrived", func(w *world) []domain.Event {
			return []domain.Event{
				w.attempt(m, 1), unknown(w, 1), w.attempt(m, 2), w.accept(m, 2, wamid),
				w.status("sent", 4, m, wamid), w.status("sent", 2, m, "wamid.2"), w.status("delivered", 7, "", "wamid.2"),
			}
		}, want{"delivered", 2, "delivered@7 sent@2", 0, 7, 2, "queued unknown accepted sent delivered"}},
		{"failed after acceptance; the first failure counts", func(w *world) []domain.Event {
			return []domain.Event{w.accept(m, 1, wamid), w.status("failed", 3, m, wamid), w.status("failed", 9, m, wamid)}
		}, want{"failed", 1, "failed@3", 131026, 3, 1, "queued accepted failed"}},
		{"failed and delivered are both true", func(w *world) []domain.Event {
			return []domain.Event{w.accept(m, 1, wamid), w.status("failed", 3, m, wamid), w.status("delivered", 2, m, wamid)}
		}, want{"delivered", 1, "delivered@2 failed@3", 131026, 4, 1, "queued accepted failed delivered"}},
		{"a status nobody knows yet, with an odd name", func(w *world) []domain.Event {
			return []domain.Event{w.accept(m, 1, wamid), w.status("$set.a", 3, m, wamid)}
		}, want{"accepted", 1, "$set.a@3", 0, 3, 1, "queued accepted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			l := w.library() // live, so that notices are announced
			w.log.add(append([]domain.Event{w.request(m, "+15550001111", "hello")}, c.events(w)...)...)
			w.wait(l)
			v, err := l.Message(t.Context(), tenA, m)
			must(t, err)
			entries, err := l.Timeline(t.Context(), tenA, m)
			must(t, err)
			var heard []string
			for _, kind := range w.heard.kinds(m) {
				heard = append(heard, strings.TrimPrefix(kind, "message."))
			}
			got := want{v.Status, v.Attempts, spell(v.Statuses), v.ErrorCode, len(entries), len(v.Wamids), strings.Join(heard, " ")}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if v.Status == message.Unknown && v.ErrorReason != "It is not known whether WhatsApp took the message: timeout." {
				t.Errorf("unknown because %q", v.ErrorReason)
			}
			if !slices.IsSortedFunc(entries, func(a, b message.Entry) int { return int(a.Position) - int(b.Position) }) {
				t.Errorf("the timeline is out of order: %+v", entries)
			}
			if v.Text != "hello" || v.To != "+15550001111" || v.Direction != message.Out || v.Person.Phone != "15550001111" || v.Type != "text" {
				t.Errorf("the request is not all there: %+v", v)
			}
			if string(v.Content) != `{"text":{"body":"hello"},"type":"text"}` {
				t.Errorf("content %s", v.Content)
			}
		})
	}
}

// spell writes statuses as "status@seconds after noon".
func spell(statuses map[string]time.Time) string {
	var all []string
	for s, at := range statuses {
		all = append(all, fmt.Sprintf("%s@%d", s, int(at.Sub(noon(0)).Seconds())))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// The headline, the statuses and the error of a message do not depend on the
// order in which its acceptance and its statuses arrive, by our id or by
// wamid, or how often they are told; nor on how events fall into batches.
func TestAnyOrderSameHeadline(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.batch = rapid.IntRange(1, 8).Draw(rt, "batch")
		const m = domain.MessageID("msg_1")
		told := []domain.Event{w.accept(m, 1, "wamid.1")}
		standing := message.Standing{Accepted: true, Statuses: map[string]time.Time{}}
		for i := range rapid.IntRange(0, 7).Draw(rt, "statuses") {
			s := rapid.SampledFrom([]string{"sent", "delivered", "read", "played", "failed", "deleted"}).Draw(rt, "status")
			said := rapid.IntRange(0, 3).Draw(rt, "said")
			about := rapid.SampledFrom([]domain.MessageID{"", m}).Draw(rt, "about")
			told = append(told, w.status(s, said, about, "wamid.1"))
			if i%3 == 2 {
				told = append(told, told[len(told)-1])
			}
			if at, ok := standing.Statuses[s]; !ok || noon(said).Before(at) {
				standing.Statuses[s] = noon(said)
			}
		}
		told = rapid.Permutation(told).Draw(rt, "order")
		// Our own events keep their order; statuses may come even before them.
		first := rapid.IntRange(0, len(told)).Draw(rt, "requested after")
		events := slices.Concat(told[:first], []domain.Event{w.request(m, "+15550001111", "hi"), w.attempt(m, 1)}, told[first:])
		w.log.add(events...)

		l, stop := w.start(w.config())
		defer stop()
		w.wait(l)
		v, err := l.Message(t.Context(), tenA, m)
		must(t, err)
		if want := message.Headline(standing); v.Status != want || spell(v.Statuses) != spell(standing.Statuses) {
			rt.Fatalf("got %s %s, want %s %s", v.Status, spell(v.Statuses), want, spell(standing.Statuses))
		}
		if at, failed := standing.Statuses["failed"]; failed {
			if want := fmt.Sprint("undeliverable ", at.Second()); v.ErrorReason != want {
				rt.Fatalf("error %q, want %q", v.ErrorReason, want)
			}
		}
	})
}

// A status that names a message of another tenant, or comes under a wamid of
// one, changes nothing of that tenant's, and neither does a foreign question.
func TestTenantsDoNotMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.add(w.request("msg_1", "+15550001111", "hello"), w.attempt("msg_1", 1), w.accept("msg_1", 1, "wamid.1"))
	before := func() message.View {
		l, stop := w.start(w.config())
		defer stop()
		w.wait(l)
		v, err := l.Message(t.Context(), tenA, "msg_1")
		must(t, err)
		return v
	}()
	for _, n := range []domain.NumberID{numA, numB} {
		for _, about := range []domain.MessageID{"msg_1", ""} {
			w.log.add(w.event(message.StatusKey(tenB, n), &message.StatusReceived{
				Status: "read", SaidAt: noon(1), Message: about, StatusNames: message.StatusNames{Wamid: "wamid.1"},
			}))
		}
	}
	l := w.library()
	after, err := l.Message(t.Context(), tenA, "msg_1")
	must(t, err)
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("another tenant's status changed the message:\nfrom %+v\nto   %+v", before, after)
	}
	_, err = l.Message(t.Context(), tenB, "msg_1")
	wantKind(t, err, domain.Unknown)
	_, err = l.Timeline(t.Context(), tenB, "msg_1")
	wantKind(t, err, domain.Unknown)
	if all, _, err := l.Messages(t.Context(), tenB, projections.MessageFilter{}, projections.Page{}); err != nil || len(all) != 0 {
		t.Errorf("tenant B sees %+v (%v)", all, err)
	}
	people, _, err := l.Customers(t.Context(), tenA, projections.Page{})
	must(t, err)
	_, err = l.Customer(t.Context(), tenB, people[0].ID)
	wantKind(t, err, domain.Unknown)
	_, _, err = l.Messages(t.Context(), tenB, projections.MessageFilter{Customer: people[0].ID}, projections.Page{})
	wantKind(t, err, domain.Unknown)
}

// An incoming message, an echo of the phone app with its status, and a
// message told twice.
func TestFoldInbound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.library()
	person := message.Person{Phone: "+15550001111", UserID: "US.1", Name: "Ada"}
	in := w.inbound("wamid.in", person, 5, "hello there")
	echoID := message.InboundID(numA, "wamid.echo", true)
	echo := w.event(message.InboundKey(tenA, numA, echoID), &message.InboundReceived{
		Message: echoID, Type: "text", Echo: true, SaidAt: noon(6),
		InboundWords: message.InboundWords{Wamid: "wamid.echo", Person: message.Person{Phone: "15550001111"}, Text: "from the phone", Raw: json.RawMessage(`{}`)},
	})
	w.log.add(w.status("delivered", 7, "", "wamid.echo"), in, in, echo, w.status("read", 8, "", "wamid.echo"))
	w.wait(l)

	inID := message.InboundID(numA, "wamid.in", false)
	v, err := l.Message(t.Context(), tenA, inID)
	must(t, err)
	if v.Status != message.Received || v.Direction != message.In || v.Text != "hello there" || v.Person.Phone != "15550001111" ||
		v.Person.Name != "Ada" || string(v.Content) != `{"type":"text"}` || v.Position != 2 || v.LastPosition != 2 || len(v.Wamids) != 1 {
		t.Errorf("incoming: %+v", v)
	}
	entries, err := l.Timeline(t.Context(), tenA, inID)
	must(t, err)
	if len(entries) != 1 || !entries[0].SaidAt.Equal(noon(5)) || entries[0].Wamid != "wamid.in" {
		t.Errorf("timeline: %+v", entries)
	}
	v, err = l.Message(t.Context(), tenA, echoID)
	must(t, err)
	if v.Status != message.Read || v.Direction != message.Out || spell(v.Statuses) != "delivered@7 read@8" {
		t.Errorf("echo: %+v", v)
	}
	if got := w.heard.kinds(inID); !slices.Equal(got, []string{"message.received"}) {
		t.Errorf("heard of the incoming message: %q", got)
	}
	if got := w.heard.kinds(echoID); !slices.Equal(got, []string{"message.delivered", "message.read"}) {
		t.Errorf("heard of the echo: %q", got)
	}
	for _, n := range w.heard.notices {
		if news, ok := n.Data.(projections.MessageNews); n.Subject == inID && (!ok || news.Text != "hello there" || news.From != "15550001111" || n.ID != in.ID || n.Tenant != tenA) {
			t.Errorf("notice %+v", n)
		}
	}
}

// A timeline is bounded and keeps how the message began; bad words in an
// event's payload do not matter to its neighbours.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.add(w.request("msg_1", "+15550001111", "hello"))
	for n := range domain.MaxTimeline + 50 {
		w.log.add(w.attempt("msg_1", n+1))
	}
	entries, err := w.library().Timeline(t.Context(), tenA, "msg_1")
	must(t, err)
	last := entries[len(entries)-1]
	if len(entries) != domain.MaxTimeline || entries[0].Type != message.TypeSendRequested || last.Attempt != domain.MaxTimeline+50 {
		t.Errorf("%d entries from %s to attempt %d", len(entries), entries[0].Type, last.Attempt)
	}
}

// Lists are newest first, complete, narrowed by status, direction and person,
// and paged without repeating or missing anything.
func TestListMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 30 {
		id := domain.MessageID(fmt.Sprintf("msg_%02d", i))
		w.log.add(w.request(id, fmt.Sprintf("+1555000%04d", i%3), "hello"))
		if i%2 == 0 {
			w.log.add(w.accept(id, 1, "wamid."+string(id)))
		}
		w.log.add(w.inbound(fmt.Sprint("wamid.in", i), message.Person{UserID: fmt.Sprint("US.", i%3)}, i, "hi"))
	}
	// Person 0 turns out to be US.0 as well.
	w.log.add(w.inbound("wamid.both", message.Person{Phone: "15550000000", UserID: "US.0"}, 99, "it is me"))
	l := w.library()
	people, _, err := l.Customers(t.Context(), tenA, projections.Page{})
	must(t, err)
	var both customer.ID
	for _, p := range people {
		if p.WaID == "15550000000" {
			both = p.ID
		}
	}
	for _, c := range []struct {
		filter projections.MessageFilter
		want   int
	}{
		{projections.MessageFilter{}, 61},
		{projections.MessageFilter{Direction: message.Out}, 30},
		{projections.MessageFilter{Direction: message.In}, 31},
		{projections.MessageFilter{Status: message.Accepted}, 15},
		{projections.MessageFilter{Status: message.Accepted, Direction: message.Out}, 15},
		{projections.MessageFilter{Status: message.Accepted, Direction: message.In}, 0},
		{projections.MessageFilter{Status: message.Received}, 31},
		{projections.MessageFilter{Status: message.Delivered}, 0},
		{projections.MessageFilter{Customer: both}, 21},
		{projections.MessageFilter{Customer: both, Direction: message.Out}, 10},
		{projections.MessageFilter{Customer: both, Status: message.Accepted}, 5},
	} {
		var all []message.View
		for page := (projections.Page{Limit: 7}); ; {
			views, next, err := l.Messages(t.Context(), tenA, c.filter, page)
			must(t, err)
			all = append(all, views...)
			if next == nil {
				break
			}
			page.After = next
		}
		if len(all) != c.want {
			t.Errorf("%+v: %d messages, want %d", c.filter, len(all), c.want)
		}
		for i, v := range all {
			if i > 0 && v.Position >= all[i-1].Position {
				t.Errorf("%+v: position %d after %d", c.filter, v.Position, all[i-1].Position)
			}
		}
	}
	for _, f := range []projections.MessageFilter{{Status: "nonsense"}, {Direction: "SIDEWAYS"}} {
		_, _, err := l.Messages(t.Context(), tenA, f, projections.Page{})
		wantKind(t, err, domain.Invalid)
	}
}

// Account notices are kept verbatim and announced without their contents.
func TestNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.library()
	raw := json.RawMessage(`{"event":"DISABLED_UPDATE","ban_info":{"$odd.key":1.0}}`)
	e := w.event(message.AccountKey(tenA, ""), &message.AccountNotice{
		Field: "account_update", Event: "DISABLED_UPDATE", SaidAt: noon(1), Notice: message.Notice{WABA: "waba-1", Raw: raw},
	})
	w.log.add(e)
	w.wait(l)
	all, next, err := l.Notices(t.Context(), tenA, projections.Page{})
	must(t, err)
	if len(all) != 1 || next != nil || string(all[0].Raw) != string(raw) || all[0].ID != e.ID || all[0].WABA != "waba-1" || !all[0].SaidAt.Equal(noon(1)) {
		t.Errorf("got %+v", all)
	}
	if len(w.heard.notices) != 1 || w.heard.notices[0].Kind != "account.notice" {
		t.Errorf("heard %+v", w.heard.notices)
	}
	if all, _, err := l.Notices(t.Context(), tenB, projections.Page{}); err != nil || len(all) != 0 {
		t.Errorf("another tenant reads %+v (%v)", all, err)
	}
}

// Whatever an outgoing message ends as, it is found among the outgoing ones.
func TestEveryEndIsOutgoing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := map[domain.MessageID]string{"msg_1": message.Cancelled, "msg_2": message.Expired, "msg_3": message.Unknown, "msg_4": message.Failed}
	for id := range ends {
		w.log.add(w.request(id, "+15550001111", "hi"))
	}
	w.log.add(
		w.event(out("msg_1"), &message.SendCancelled{}), w.event(out("msg_2"), &message.SendExpired{}),
		w.attempt("msg_3", 1), w.event(out("msg_3"), &message.OutcomeUnknown{Attempt: 1}), w.event(out("msg_3"), &message.SendDeadLettered{Attempts: 1, Reason: "outcome_unknown"}),
		w.event(out("msg_4"), &message.SendDeadLettered{Reason: "undeliverable"}),
	)
	all, _, err := w.library().Messages(t.Context(), tenA, projections.MessageFilter{Direction: message.Out}, projections.Page{})
	must(t, err)
	if len(all) != len(ends) {
		t.Errorf("%d of %d are listed", len(all), len(ends))
	}
	for _, v := range all {
		if v.Status != ends[v.ID] {
			t.Errorf("%s is %s, want %s", v.ID, v.Status, ends[v.ID])
		}
	}
}
