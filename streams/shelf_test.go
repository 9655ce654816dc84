package streams_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// shelve puts due copies on their shelf, and finishes them.
func shelve(t testing.TB, b *streams.Broker, on streams.Shelf, due ...streams.Delivery) (places []uint64) {
	t.Helper()
	places, err := b.Shelve(t.Context(), on, due)
	if err != nil || len(places) != len(due) {
		t.Fatalf("%d places, %v", len(places), err)
	}
	finish(t, due...)
	return places
}

// onShelf reads a whole shelf in small portions.
func onShelf(t testing.TB, b *streams.Broker, s streams.Shelf) (all []streams.Delivery) {
	t.Helper()
	for after := uint64(0); ; after = all[len(all)-1].Place {
		page, end, err := b.ReadShelf(t.Context(), s, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if end {
			return all
		}
	}
}

// What is put on a shelf is no longer due, is read as it was and in order until
// it is taken off, and what is older and still due is told.
func TestShelf(t *testing.T) {
	t.Parallel()
	oneAndThree(t, func(t *testing.T, b *streams.Broker) {
		w := labour(t, b)
		var due []streams.Delivery
		for i := range 6 {
			d := w.expect(t, send(t, b, number, fmt.Sprint(i)))[0]
			schedule(t, b, d, time.Now())
			due = append(due, w.due(t, d))
		}
		lane := domain.Lane(number)
		if full, err := b.Shelves(t.Context(), lane); err != nil || len(full) != 0 {
			t.Fatalf("shelves %v, %v", full, err)
		}
		s := streams.Shelf{Tenant: tenantA, Number: number}
		bulk := streams.Shelf{Tenant: tenantA, Number: number, Bulk: true}
		shelve(t, b, bulk, due[5])
		places := shelve(t, b, s, due[2:5]...) // the first two are being worked
		waitFor(t, "the acknowledgements", func() bool {
			_, err := stream(t, b, "SCHED").GetMsg(t.Context(), due[5].Order)
			return err != nil
		})
		full, err := b.Shelves(t.Context(), lane)
		slices.SortFunc(full, func(a, _ streams.Shelf) int { return map[bool]int{false: -1, true: 1}[a.Bulk] })
		bulk.First, s.First, s.Older = due[5].Order, due[2].Order, due[1].Order
		if err != nil || !slices.Equal(full, []streams.Shelf{s, bulk}) {
			t.Fatalf("shelves %+v, %v, want %+v", full, err, []streams.Shelf{s, bulk})
		}
		read := onShelf(t, b, s)
		if len(read) != 3 {
			t.Fatalf("%d on the shelf", len(read))
		}
		for i, d := range read {
			want := due[2+i]
			if !d.Due || d.Err != nil || d.Place != places[i] || d.Order != want.Order || d.Event.ID != want.Event.ID ||
				d.Event.Position != want.Event.Position || d.Event.Key != want.Event.Key || string(d.Raw) != string(want.Raw) {
				t.Errorf("read %+v, want %+v", d, want)
			}
		}
		for range 2 { // a repeat is harmless
			if err := b.Unshelve(t.Context(), places[1]); err != nil {
				t.Fatal(err)
			}
		}
		if read := onShelf(t, b, s); len(read) != 2 || read[0].Place != places[0] || read[1].Place != places[2] {
			t.Errorf("left %+v", read)
		}
	})
}

// What is on a shelf survives a kill, and keeps hot whatever was recorded since
// it was put there.
func TestShelfOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	w := labour(t, b)
	d := w.expect(t, send(t, b, number, "put aside"))[0]
	schedule(t, b, d, time.Now())
	s := streams.Shelf{Tenant: tenantA, Number: number}
	place := shelve(t, b, s, w.due(t, d))[0]
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, number) >= 1 })
	record(t, b, statuses(t, 0, 10)...)
	cancel, err := domain.NewEvent(d.Event.Key, time.Now(), "test", &message.SendCancelled{})
	if err != nil {
		t.Fatal(err)
	}
	if cancel.Position, err = b.Events().Append(t.Context(), cancel, domain.After(d.Event.Position)); err != nil {
		t.Fatal(err)
	}
	finish(t, w.expect(t, cancel)...)
	record(t, b, statuses(t, 20, 10)...)
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, number) >= uint64(cancel.Position) })
	a := archiver(t, b)
	archive(t, a, cancel.Position+10)
	purge(t, b, a, 1) // its minute is not over
	if hot, err := b.Events().Load(t.Context(), d.Event.Key); err != nil || len(hot) != 2 {
		t.Errorf("hot: %v, %v", hot, err)
	}
	if err := w.stop(); err == nil {
		t.Error("the worker ended by itself")
	}
	if read := onShelf(t, b, s); len(read) != 1 || read[0].Event.ID != d.Event.ID {
		t.Fatalf("on the shelf: %+v", read)
	}
	if err := b.Unshelve(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	purge(t, b, a, cancel.Position+10)
}

// What is parked is listed in the order it was, survives its owner, stays when its
// message is taken back, which it has to find out, and keeps hot what was tried of it shortly before.
func TestParked(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	w := labour(t, b)
	d := w.expect(t, sendMany(t, b, number, 3)...)
	attempt, err := domain.NewEvent(d[0].Event.Key, time.Now(), "test", &message.SendAttempted{Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if attempt.Position, err = b.Events().Append(t.Context(), attempt, domain.After(d[0].Event.Position)); err != nil {
		t.Fatal(err)
	}
	finish(t, w.expect(t, attempt)...)
	var places []uint64
	for _, d := range d {
		place, err := b.Park(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, place)
	}
	finish(t, d...)
	lane := domain.Lane(number)
	idle(t, b, lane)
	page, end, err := b.Parked(t.Context(), lane, places[0], 1)
	if err != nil || end || len(page) != 1 || page[0].Place != places[1] || page[0].Event.ID != d[1].Event.ID || !page[0].Due {
		t.Fatalf("parked %+v, %v, %v", page, end, err)
	}
	if err := b.Unschedule(t.Context(), d[1].Event.Key); err != nil {
		t.Fatal(err)
	}
	if page, end, err = b.Parked(t.Context(), lane, 0, 10); err != nil || !end || len(page) != 3 || page[2].Place != places[2] {
		t.Fatalf("parked %+v, %v, %v", page, end, err)
	}
	record(t, b, statuses(t, 0, 10)...)
	a := archiver(t, b)
	archive(t, a, attempt.Position+10)
	purge(t, b, a, 1)
	for _, place := range places {
		if err := b.Unshelve(t.Context(), place); err != nil {
			t.Fatal(err)
		}
	}
	purge(t, b, a, attempt.Position+10)
}

// BenchmarkShelve puts due copies on a shelf, a hundred at a time.
func BenchmarkShelve(b *testing.B) {
	for _, durability := range []streams.Durability{streams.Strict, streams.Interval} {
		b.Run(fmt.Sprint(durability), func(b *testing.B) {
			log := oneNode(b, durability)
			e := newEvent(b, outgoing(number), "due")
			due := slices.Repeat([]streams.Delivery{{Event: e, Raw: make([]byte, 600)}}, 100)
			s := streams.Shelf{Tenant: tenantA, Number: number}
			for b.Loop() {
				if _, err := log.Shelve(b.Context(), s, due); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "copies/s")
		})
	}
}
