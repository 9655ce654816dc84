package streams_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// A cursor returns every event of every key, in the order of their positions,
// from any point on.
func TestReaderReadsInOrderFromAnywhere(t *testing.T) {
	t.Parallel()
	const count = 60
	b := oneNode(t, streams.Interval)
	var want []domain.Event
	for i := range count {
		n := domain.NumberID(fmt.Sprint(i % 7)) // several lanes and connections
		want = append(want, send(t, b, n, fmt.Sprint(i)))
	}
	for _, after := range []int{0, 1, count / 2, count - 1} {
		for i, e := range read(t, b, domain.Position(after), count-after) {
			w := want[after+i]
			if e.ID != w.ID || e.Position != w.Position || e.Key != w.Key {
				t.Fatalf("after %d: event %d is %s at %d, want %s at %d", after, i, e.ID, e.Position, w.ID, w.Position)
			}
		}
	}
}

// A batch is never larger than asked for, and never empty.
func TestReaderBatches(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	sendMany(t, b, number, 10)
	ctx := within(t, soon)
	c, err := b.Reader().Open(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for last := domain.Position(0); last < 10; {
		events, err := c.Next(ctx, 4)
		if err != nil || len(events) == 0 || len(events) > 4 {
			t.Fatalf("a batch of %d, %v", len(events), err)
		}
		for _, e := range events {
			if e.Position != last+1 {
				t.Fatalf("%d follows %d", e.Position, last)
			}
			last = e.Position
		}
	}
}

// What a reader had on the server is gone soon after it is closed: there is room
// for 1,000 consumers on a stream, and a busy house opens a few cursors a second.
func TestReaderLeavesNoConsumer(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	sendMany(t, b, number, 3)
	consumers := func() int {
		info, err := stream(t, b, "EVENTS").Info(within(t, soon))
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Consumers
	}
	before := consumers()
	for range 20 {
		read(t, b, 0, 3)
	}
	waitFor(t, "the consumers of the readers to go", func() bool { return consumers() <= before })
}

// More may read at once than a server allows by default.
func TestReadersAreManyAtOnce(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	sendMany(t, b, number, 1)
	for range 1100 {
		c, err := b.Reader().Open(within(t, soon), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
}

// A cursor at the end of the log blocks until an event is appended.
func TestReaderWaitsForTheNextEvent(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	ctx := within(t, soon)
	c, err := b.Reader().Open(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		got := make(chan domain.Event, 1)
		go func() {
			events, err := c.Next(ctx, 100)
			if err != nil || len(events) != 1 {
				t.Errorf("%d events, %v", len(events), err)
			}
			got <- append(events, domain.Event{})[0]
		}()
		select {
		case e := <-got:
			t.Fatalf("it did not wait: %+v", e)
		default:
		}
		e := send(t, b, number, "news")
		if g := <-got; g.ID != e.ID || g.Position != e.Position {
			t.Errorf("got %s at %d, want %s at %d", g.ID, g.Position, e.ID, e.Position)
		}
	}
}

// A cursor gives up with its context, and its reader can be opened again.
func TestReaderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := b.Reader().Open(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		_, err := c.Next(ctx, 1)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	e := send(t, b, number, "later")
	if got := read(t, b, 0, 1); got[0].ID != e.ID {
		t.Errorf("read %s", got[0].ID)
	}
}

// An event that is missing in the middle is data loss: what comes before it is
// read, then the reader stops, for good, wherever it starts from; readiness
// names the loss.
func TestGapStopsTheReader(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	sendMany(t, b, number, 9)
	if err := b.Ready(t.Context()); err != nil {
		t.Fatalf("ready: %v", err)
	}
	if err := stream(t, b, "EVENTS").DeleteMsg(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, after := range []domain.Position{0, 3, 4} {
		ctx := within(t, soon)
		c, err := b.Reader().Open(ctx, after)
		if err != nil {
			t.Fatal(err)
		}
		for last := after; ; {
			events, err := c.Next(ctx, 100)
			if err != nil {
				if _, again := c.Next(ctx, 100); !errors.Is(err, streams.ErrGap) || !errors.Is(again, streams.ErrGap) ||
					domain.KindOf(err) != domain.Bug || last != 4 {
					t.Errorf("after %d it stopped at %d: %v, then %v", after, last, err, again)
				}
				break
			}
			last = events[len(events)-1].Position
		}
		c.Close()
	}
	if got := read(t, b, 5, 4); got[0].Position != 6 {
		t.Errorf("behind the gap begins %d", got[0].Position)
	}
	if err := b.Ready(t.Context()); !errors.Is(err, streams.ErrGap) {
		t.Errorf("ready: %v, want the loss", err)
	}
}

// An event this build cannot read stops the reader in front of it.
func TestUnreadableEventStopsTheReader(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	send(t, b, number, "good")
	if _, err := b.JetStream().Publish(t.Context(), "evt.02.msg.ten_a.msg_x", []byte(`{"v":7}`)); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, soon)
	c, err := b.Reader().Open(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if events, err := c.Next(ctx, 100); err != nil || len(events) != 1 {
		t.Errorf("first %d events, %v", len(events), err)
	}
	if _, err := c.Next(ctx, 100); domain.KindOf(err) != domain.Bug {
		t.Errorf("then %v", err)
	}
}

// The tail is the newest position; the incarnation stays while the log is the
// same, also over a restart, and changes when it is made anew.
func TestTailAndIncarnation(t *testing.T) {
	t.Parallel()
	look := func(b *streams.Broker) (domain.Position, string) {
		t.Helper()
		tail, err := b.Reader().Tail(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		incarnation, err := b.Reader().Incarnation(t.Context())
		if err != nil || incarnation == "" {
			t.Fatalf("incarnation %q, %v", incarnation, err)
		}
		return tail, incarnation
	}
	dir, sealer := t.TempDir(), newVault(t)
	e := embed(t, dir, streams.Interval)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	if tail, _ := look(b); tail != 0 {
		t.Errorf("the tail of an empty log is %d", tail)
	}
	sendMany(t, b, number, 3)
	tail, first := look(b)
	if tail != 3 {
		t.Errorf("tail %d", tail)
	}
	b.Close()
	e.Shutdown()

	e = embed(t, dir, streams.Interval)
	t.Cleanup(e.Shutdown)
	b = open(t, streams.Config{Embedded: e, Sealer: sealer})
	if tail, again := look(b); tail != 3 || again != first {
		t.Errorf("after a restart: tail %d, incarnation %s, was %s", tail, again, first)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	b = open(t, streams.Config{Embedded: e, Sealer: sealer})
	if tail, second := look(b); tail != 0 || second == first {
		t.Errorf("made anew: tail %d, incarnation %s, was %s", tail, second, first)
	}
}

// Follow hears of one key only, from a position on, the past and what is yet
// to come.
func TestFollowHearsOneKey(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	k := message.StatusKey(tenantA, number)
	record := func(text string) domain.Event {
		e := newEvent(t, k, text)
		send(t, b, number, "something else")
		if err := b.Events().Record(t.Context(), []domain.Event{e}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	record("before")
	tail, err := b.Reader().Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	past := record("past")
	heard, enough := make(chan domain.Event, 9), errors.New("enough")
	done := make(chan error, 1)
	go func() {
		done <- b.Reader().Follow(within(t, soon), k, tail, func(e domain.Event) error {
			heard <- e
			if textOf(t, e) == "last" {
				return enough
			}
			return nil
		})
	}()
	if e := <-heard; e.ID != past.ID || e.Key != k {
		t.Errorf("heard %+v first", e)
	}
	for _, text := range []string{"next", "last"} {
		want := record(text)
		if e := <-heard; e.ID != want.ID {
			t.Errorf("heard %s, want %s", e.ID, want.ID)
		}
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("it ended with %v", err)
	}
}
