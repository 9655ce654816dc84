package streams_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// holed is a log of 40 events, the first 30 of them archived, in streams of
// some size, and no longer hot but the last, with one kind of damage.
func holed(t *testing.T, part int, damage func(*streams.Broker)) *streams.Broker {
	t.Helper()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 30)...)
	// Made by hand, because the archiver's own streams let nobody delete.
	name := "ARCHIVE_" + time.Now().UTC().Format("2006_01")
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: name, FirstSeq: 1,
		Subjects: []string{"arc." + strings.TrimPrefix(name, "ARCHIVE_") + ".>"}, Compression: jetstream.S2Compression}); err != nil {
		t.Fatal(err)
	}
	a := archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1, Part: part})
	archive(t, a, 30)
	purge(t, b, a, 30)
	a.Close()
	record(t, b, statuses(t, 30, 10)...)
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	damage(b)
	return b
}

// An event that is missing anywhere stops every reader in front of it, stops
// the archiver and the purge, and turns readiness off with words that name the
// place and the remedy.
func TestGapAnywhereStopsEverything(t *testing.T) {
	t.Parallel()
	month := "ARCHIVE_" + time.Now().UTC().Format("2006_01")
	for name, test := range map[string]struct {
		damage  func(*testing.T, *streams.Broker)
		before  domain.Position // the first position that is missing
		words   []string
		archive bool // the archiver can still go on: it has read past it
		part    int  // events of one archive stream
	}{
		"in the archive": {func(t *testing.T, b *streams.Broker) {
			must(t, stream(t, b, month).DeleteMsg(t.Context(), 5))
		}, 5, []string{"missing in the middle of " + month, "backup"}, true, 100}, // a finished stream lets nobody delete
		"a stream of the archive": {func(t *testing.T, b *streams.Broker) {
			must(t, b.JetStream().DeleteStream(t.Context(), month+"_p02"))
		}, 11, []string{month + "_p03 begins at 21 instead of 11", "backup"}, true, 10},
		"the beginning of the archive": {func(t *testing.T, b *streams.Broker) {
			must(t, b.JetStream().DeleteStream(t.Context(), month))
		}, 1, []string{month + "_p02 begins at 11 instead of 1", "backup"}, true, 10},
		"the whole archive": {func(t *testing.T, b *streams.Broker) {
			for _, m := range months(t, b) {
				must(t, b.JetStream().DeleteStream(t.Context(), m))
			}
		}, 1, []string{"positions 1 to 29", "ARCHIVE_", "backup"}, false, 10},
		"between archive and hot log": {func(t *testing.T, b *streams.Broker) {
			for seq := range uint64(3) {
				must(t, stream(t, b, "EVENTS").DeleteMsg(t.Context(), 30+seq))
			}
		}, 31, []string{"positions 31 to 32", "EVENTS", "backup"}, false, 10},
		"in the hot log": {func(t *testing.T, b *streams.Broker) {
			must(t, stream(t, b, "EVENTS").DeleteMsg(t.Context(), 35))
		}, 35, []string{"1 events are missing in the middle of EVENTS", "backup"}, false, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := holed(t, test.part, func(b *streams.Broker) { test.damage(t, b) })
			err := b.Ready(t.Context())
			if !errors.Is(err, streams.ErrGap) {
				t.Fatalf("ready: %v", err)
			}
			for _, w := range test.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if last, err := readUntil(t, b, 0); last != test.before-1 || !errors.Is(err, streams.ErrGap) || domain.KindOf(err) != domain.Bug {
				t.Errorf("a reader stopped after %d, %v; want %d", last, err, test.before-1)
			}
			a := archiver(t, b)
			if at, err := a.Copy(t.Context()); test.archive != (err == nil && at == 40) || err != nil && !errors.Is(err, streams.ErrGap) {
				t.Errorf("archived up to %d, %v", at, err)
			}
			if first, err := a.Purge(t.Context()); !errors.Is(err, streams.ErrGap) {
				t.Errorf("purged to %d, %v", first, err)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readUntil reads from a position until something stops it.
func readUntil(t testing.TB, b *streams.Broker, after domain.Position) (domain.Position, error) {
	t.Helper()
	ctx := within(t, soon)
	c, err := b.Reader().Open(ctx, after)
	if err != nil {
		return after, err
	}
	defer c.Close()
	for {
		events, err := c.Next(ctx, 7)
		if err != nil {
			return after, err
		}
		for _, e := range events {
			if e.Position != after+1 {
				t.Fatalf("%d follows %d", e.Position, after)
			}
			after = e.Position
		}
	}
}

// A log that was made anew beside an archive of the former one is not mixed
// with it: nothing is archived or purged, and readiness says why.
func TestArchiveOfAnotherLog(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 20)...)
	a := archiver(t, b)
	archive(t, a, 20)
	a.Close()
	must(t, b.JetStream().DeleteStream(t.Context(), "EVENTS"))
	_, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"evt.>"}})
	must(t, err)
	record(t, b, statuses(t, 100, 5)...)
	if err := b.Ready(t.Context()); !errors.Is(err, streams.ErrGap) || !strings.Contains(err.Error(), "EVENTS ends at 5") {
		t.Errorf("ready: %v", err)
	}
	if _, err := a.Copy(t.Context()); !errors.Is(err, streams.ErrGap) {
		t.Errorf("copy: %v", err)
	}
	record(t, b, statuses(t, 200, 25)...) // now it is longer than the archive
	if at, err := a.Copy(t.Context()); !errors.Is(err, streams.ErrGap) || !strings.Contains(err.Error(), "different events at 20") {
		t.Errorf("copied up to %d: %v", at, err)
	}
	if first, err := a.Purge(t.Context()); err == nil && first > 1 {
		t.Errorf("purged to %d", first)
	}
}

// What somebody else puts on our subjects is archived as it is, and stops a
// reader in the archive as it does in the hot log.
func TestArchiveKeepsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 3)...)
	for _, subject := range []string{"evt.strange", "evt.02.msg.ten_a.msg_x"} {
		if _, err := b.JetStream().Publish(t.Context(), subject, []byte(`{"v":7}`)); err != nil {
			t.Fatal(err)
		}
	}
	record(t, b, statuses(t, 10, 3)...)
	settled(t, b, laneTwo(t))
	a := archiver(t, b)
	archive(t, a, 8)
	purge(t, b, a, 8)
	if last, err := readUntil(t, b, 0); last != 3 || domain.KindOf(err) != domain.Bug || errors.Is(err, streams.ErrGap) {
		t.Errorf("it stopped after %d, %v", last, err)
	}
	if got := read(t, b, 5, 3); got[0].Position != 6 {
		t.Errorf("behind it begins %d", got[0].Position)
	}
}

// laneTwo is a number of lane 2.
func laneTwo(t testing.TB) domain.NumberID {
	t.Helper()
	for i := 0; ; i++ {
		if n := domain.NumberID(strings.Repeat("1", i+1)); domain.Lane(n) == 2 {
			return n
		}
	}
}
