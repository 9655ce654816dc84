package streams_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// inLane returns count numbers of one lane.
func inLane(lane, count int) []domain.NumberID {
	var numbers []domain.NumberID
	for i := 0; len(numbers) < count; i++ {
		if n := domain.NumberID(fmt.Sprint(5000 + i)); domain.Lane(n) == lane {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// then appends a fact to a message.
func then(t testing.TB, b *streams.Broker, after domain.Event, f domain.Fact) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(after.Key, time.Now(), "test", f)
	if err != nil {
		t.Fatal(err)
	}
	if e.Position, err = b.Events().Append(t.Context(), e, domain.After(after.Position)); err != nil {
		t.Fatal(err)
	}
	return e
}

// readBacklog reads a backlog to its end.
func readBacklog(t testing.TB, b *streams.Broker, l streams.Backlog, most int) ([]streams.Delivery, domain.Position) {
	t.Helper()
	var all []streams.Delivery
	for {
		some, next, end, err := b.ReadBacklog(t.Context(), l, most)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) > most || next < l.From {
			t.Fatalf("%d of %d, from %d to %d", len(some), most, l.From, next)
		}
		all, l.From = append(all, some...), next
		if end {
			return all, next
		}
	}
}

// opened records a backlog and returns it as its owner's.
func opened(t testing.TB, b *streams.Broker, l streams.Backlog) streams.Backlog {
	t.Helper()
	var err error
	if l.Version, err = b.OpenBacklog(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return l
}

// sendBulk is send of a bulk request.
func sendBulk(t testing.TB, b *streams.Broker, n domain.NumberID, text string) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(outgoing(n), time.Now(), "test", &message.SendRequested{Type: "text", Options: message.Options{Priority: message.Bulk},
		SendWords: message.SendWords{To: "+14155550100", Content: fmt.Appendf(nil, "%q", text)}})
	if err != nil {
		t.Fatal(err)
	}
	if e.Position, err = b.Events().Append(t.Context(), e, domain.First()); err != nil {
		t.Fatal(err)
	}
	return e
}

// A backlog is read as it was requested: what is interactive of its number, or
// what is bulk or redriven, from its position on, in order, whatever lies
// between them and however many are taken at once.
func TestBacklogIsReadInOrder(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	ns := inLane(3, 2)
	want := map[bool][]domain.Event{} // by bulk
	l := streams.Backlog{Tenant: tenantA, Number: ns[0]}
	for i := range 60 {
		mine := send(t, b, ns[0], fmt.Sprint(i))
		bulk := sendBulk(t, b, ns[0], fmt.Sprint(i))
		send(t, b, ns[1], "of another number")
		foreign := newEvent(t, outgoing(ns[0]), "of another tenant")
		foreign.Key.Tenant = tenantB
		if _, err := b.Events().Append(t.Context(), foreign, domain.First()); err != nil {
			t.Fatal(err)
		}
		if i < 10 { // before the backlog begins
			l.From = bulk.Position + 1
			continue
		}
		want[false], want[true] = append(want[false], mine), append(want[true], bulk)
		if i%3 == 0 {
			dead := then(t, b, then(t, b, mine, &message.SendAttempted{Attempt: 1}), &message.SendDeadLettered{Reason: "refused"})
			want[true] = append(want[true], then(t, b, dead, &message.SendRedriven{By: "test"}))
		}
	}
	tail, err := b.Reader().Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for l.Bulk = range want {
		want := want[l.Bulk]
		for _, most := range []int{1, 7, 1000} {
			got, next := readBacklog(t, b, l, most)
			if len(got) != len(want) || next != tail+1 {
				t.Fatalf("%d at a time: %d of %d, up to %d of %d", most, len(got), len(want), next, tail)
			}
			for i, d := range got {
				if d.Err != nil || d.Event.ID != want[i].ID || d.Event.Position != want[i].Position || len(d.Raw) == 0 {
					t.Errorf("%d at a time: %d is %+v", most, i, d)
				}
				if err := errors.Join(d.Hold(), d.Done()); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if n := b.Marks(); n != 0 {
		t.Errorf("%d positions are remembered of backlogs that were read", n)
	}
	late := send(t, b, ns[0], "later")
	l.From, l.Bulk = tail+1, false
	if got, next := readBacklog(t, b, l, 10); len(got) != 1 || got[0].Event.ID != late.ID || next != late.Position+1 {
		t.Errorf("what came later: %v, up to %d", got, next)
	}
}

// A reading may leave out requests of templates, or all that do not expire until
// some time, and goes past them.
func TestBacklogIsReadInPart(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	over := time.Now()
	var texts, expired []domain.EventID
	for i := range 30 {
		texts = append(texts, send(t, b, number, fmt.Sprint(i)).ID)
		f := &message.SendRequested{Type: message.Template, SendWords: message.SendWords{To: "+14155550100"}}
		f.ExpiresAt = []time.Time{{}, over, over.Add(time.Second)}[i%3]
		e, err := domain.NewEvent(outgoing(number), time.Now(), "test", f)
		if err == nil {
			_, err = b.Events().Append(t.Context(), e, domain.First())
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 1 {
			expired = append(expired, e.ID)
		}
	}
	read := func(l streams.Backlog) (got []domain.EventID, next domain.Position) {
		l.Tenant, l.Number, l.From = tenantA, number, 1
		some, next := readBacklog(t, b, l, 7)
		for _, d := range some {
			got = append(got, d.Event.ID)
		}
		return got, next
	}
	all, end := read(streams.Backlog{})
	if len(all) != 60 {
		t.Errorf("%d of 60", len(all))
	}
	if got, next := read(streams.Backlog{NoTemplates: true}); !slices.Equal(got, texts) || next != end {
		t.Errorf("without templates %v up to %d, want %v up to %d", got, next, texts, end)
	}
	if got, next := read(streams.Backlog{Expired: over}); !slices.Equal(got, expired) || next != end {
		t.Errorf("expired are %v up to %d, want %v up to %d", got, next, expired, end)
	}
}

// What others sent of the lane is passed over, however much it is.
func TestReadingABacklogAmongOthers(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	var others []domain.Event
	for range 2 * streams.BacklogLook {
		e := newEvent(t, outgoing(number), "of another tenant")
		e.Key.Tenant = tenantB
		others = append(others, e)
	}
	first := send(t, b, number, "the first")
	record(t, b, others...)
	last := send(t, b, number, "the last")
	got, next := readBacklog(t, b, streams.Backlog{Tenant: tenantA, Number: number, From: 1}, 100)
	if len(got) != 2 || got[0].Event.ID != first.ID || got[1].Event.ID != last.ID || next != last.Position+1 {
		t.Fatalf("%d, up to %d", len(got), next)
	}
}

// One reading looks at a bounded number of events, also when nothing of the
// number is among them.
func TestReadingABacklogIsBounded(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	ns := inLane(3, 2)
	first := send(t, b, ns[0], "the first")
	var others []domain.Event
	for range streams.BacklogLook + 500 {
		others = append(others, newEvent(t, outgoing(ns[1]), "of another number"))
	}
	record(t, b, others...)
	last := send(t, b, ns[0], "the last")
	l := streams.Backlog{Tenant: tenantA, Number: ns[0], From: first.Position}
	got, next, end, err := b.ReadBacklog(t.Context(), l, 100)
	if err != nil || len(got) != 1 || end || next != first.Position+streams.BacklogLook {
		t.Fatalf("%d, next %d, end %v, %v", len(got), next, end, err)
	}
	l.From = next
	if got, next := readBacklog(t, b, l, 100); len(got) != 1 || got[0].Event.ID != last.ID || next != last.Position+1 {
		t.Fatalf("%d, up to %d", len(got), next)
	}
}

// What cannot be read is handed out as such, and the rest is read.
func TestUnreadableWorkOfABacklog(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	l := streams.Backlog{Tenant: tenantA, Number: number, From: 1}
	for _, raw := range []string{
		`{"v":0,"type":"SendRequested","number":"` + string(number) + `"}`,
		`{"v":1,"type":"SendRequested"`, // whose, nobody can tell
	} {
		subject := fmt.Sprintf("evt.%02d.msg.ten_a.msg_%d", domain.Lane(number), len(raw))
		if _, err := b.JetStream().Publish(t.Context(), subject, []byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	good := send(t, b, number, "good")
	got, _ := readBacklog(t, b, l, 10)
	if len(got) != 2 || got[0].Err == nil || got[0].Event.Position != 1 || got[0].Event.Key.Number != number || got[1].Event.ID != good.ID {
		t.Errorf("read %+v", got)
	}
	if err := got[0].Reject("unreadable"); err != nil {
		t.Error(err)
	}
}

// Backlogs are there after the process and its server were killed, until they
// are closed; moved ones begin where they were moved to.
func TestBacklogsSurviveKill(t *testing.T) {
	t.Parallel()
	dir, sealer := t.TempDir(), newVault(t)
	ns := inLane(3, 3)
	in := func(use func(b *streams.Broker)) {
		e := embed(t, dir, streams.Strict)
		defer e.Shutdown()
		b := open(t, streams.Config{Embedded: e, Sealer: sealer})
		defer b.Close()
		use(b)
		// As it lies on disk at this moment, without a last word.
		left := t.TempDir()
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		dir = left
	}
	in(func(b *streams.Broker) {
		for i, n := range ns {
			l := opened(t, b, streams.Backlog{Tenant: tenantA, Number: n, From: domain.Position(10 + i)})
			var err error
			switch i {
			case 0:
				l.From = 77
				_, err = b.AdvanceBacklog(t.Context(), l)
			case 1:
				err = b.CloseBacklog(t.Context(), l)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	in(func(b *streams.Broker) {
		got, err := b.Backlogs(t.Context(), 3)
		if err != nil || len(got) != 2 {
			t.Fatalf("%v, %v", got, err)
		}
		for _, l := range got {
			switch {
			case l.Tenant == tenantA && l.Number == ns[0] && l.From == 77:
			case l.Tenant == tenantA && l.Number == ns[2] && l.From == 12:
			default:
				t.Errorf("open: %+v", l)
			}
			if err := b.CloseBacklog(t.Context(), l); err != nil {
				t.Error(err)
			}
		}
		if other, err := b.Backlogs(t.Context(), 4); err != nil || len(other) != 0 {
			t.Errorf("another lane has %v, %v", other, err)
		}
	})
	in(func(b *streams.Broker) { // the stream is empty now, and takes new ones
		if got, err := b.Backlogs(t.Context(), 3); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := b.OpenBacklog(t.Context(), streams.Backlog{Tenant: tenantA, Number: ns[0], From: 1}); err != nil {
			t.Error(err)
		}
	})
}

// What is interactive and what is bulk of one number have a record each, which
// are moved and closed apart.
func TestBacklogsOfOneNumber(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	interactive := opened(t, b, streams.Backlog{Tenant: tenantA, Number: number, From: 5})
	bulk := opened(t, b, streams.Backlog{Tenant: tenantA, Number: number, Bulk: true, From: 7})
	var err error
	bulk.From = 9
	if bulk.Version, err = b.AdvanceBacklog(t.Context(), bulk); err != nil {
		t.Fatal(err)
	}
	open, err := b.Backlogs(t.Context(), domain.Lane(number))
	if err != nil || len(open) != 2 {
		t.Fatalf("%+v, %v", open, err)
	}
	for _, l := range open {
		if l.Tenant != tenantA || l.Number != number || l.From != map[bool]domain.Position{false: 5, true: 9}[l.Bulk] {
			t.Errorf("open: %+v", l)
		}
		if old := map[bool]streams.Backlog{false: interactive, true: bulk}[l.Bulk]; !errors.Is(b.CloseBacklog(t.Context(), old), domain.ErrConflict) {
			t.Errorf("closed by a former owner: %+v", old)
		}
		if !l.Bulk {
			err = b.CloseBacklog(t.Context(), l)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if open, err = b.Backlogs(t.Context(), domain.Lane(number)); err != nil || len(open) != 1 || !open[0].Bulk {
		t.Errorf("left: %+v, %v", open, err)
	}
}

// A record that this build does not understand is told, and not passed over: it
// may cover messages.
func TestUnknownBacklogIsToldOf(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	if _, err := b.JetStream().Publish(t.Context(), fmt.Sprintf("spill.%02d.%s.later", domain.Lane(number), number), []byte(`{"tenant":"ten_a","from":3}`)); err != nil {
		t.Fatal(err)
	}
	if open, err := b.Backlogs(t.Context(), domain.Lane(number)); domain.KindOf(err) != domain.Bug {
		t.Errorf("%+v, %v", open, err)
	}
}

// A backlog is moved and closed by the owner of its lane only: who lost the
// lane finds out, and what it does not know to be covered stays covered.
func TestBacklogHasOneOwner(t *testing.T) {
	t.Parallel()
	oneAndThree(t, func(t *testing.T, b *streams.Broker) {
		lane := domain.Lane(number)
		l := streams.Backlog{Tenant: tenantA, Number: number, From: 5}
		old := opened(t, b, l)
		if _, err := b.OpenBacklog(t.Context(), l); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("opened twice: %v", err)
		}
		taken, err := b.Backlogs(t.Context(), lane)
		if err != nil || len(taken) != 1 || taken[0].From != 5 {
			t.Fatalf("%v, %v", taken, err)
		}
		old.From = 9
		if _, err := b.AdvanceBacklog(t.Context(), old); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("moved by a former owner: %v", err)
		}
		if err := b.CloseBacklog(t.Context(), old); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("closed by a former owner: %v", err)
		}
		now := taken[0]
		if now.Version, err = b.AdvanceBacklog(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if err := b.CloseBacklog(t.Context(), now); err != nil {
			t.Error(err)
		}
		if left, err := b.Backlogs(t.Context(), lane); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if err := b.CloseBacklog(t.Context(), now); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if _, err := b.OpenBacklog(t.Context(), l); err != nil {
			t.Errorf("opening again: %v", err)
		}
	})
}
