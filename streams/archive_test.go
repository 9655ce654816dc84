package streams_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// later is a clock that is ahead of the machine's: to it, what was recorded
// just now is old.
type later struct {
	domain.SystemClock
	ahead time.Duration
}

func (c later) Now() time.Time { return time.Now().Add(c.ahead) }

const (
	hotTime = time.Hour
	old     = 2 * hotTime
)

// archiver returns an archiver to which everything is old.
func archiver(t testing.TB, b *streams.Broker) *streams.Archiver {
	return archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1})
}

func archiverOf(t testing.TB, b *streams.Broker, c streams.ArchiverConfig) *streams.Archiver {
	a := b.Archiver(c)
	t.Cleanup(a.Close)
	return a
}

// archive copies all there is.
func archive(t testing.TB, a *streams.Archiver, want domain.Position) {
	t.Helper()
	if at, err := a.Copy(within(t, soon)); err != nil || at != want {
		t.Fatalf("archived up to %d, %v; want %d", at, err, want)
	}
}

// purge shortens the hot log and wants it to begin at a position.
func purge(t testing.TB, b *streams.Broker, a *streams.Archiver, want domain.Position) {
	t.Helper()
	first, err := a.Purge(within(t, soon))
	if err != nil || first != want {
		t.Fatalf("after the purge the hot log begins at %d, %v; want %d", first, err, want)
	}
	state := stream(t, b, "EVENTS").CachedInfo().State
	if state.NumDeleted != 0 || domain.Position(state.FirstSeq) != want {
		t.Fatalf("the hot log is %d..%d with %d deleted", state.FirstSeq, state.LastSeq, state.NumDeleted)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Fatalf("after the purge: %v", err)
	}
}

// settled finishes whatever the lanes of some numbers have.
func settled(t testing.TB, b *streams.Broker, numbers ...domain.NumberID) {
	t.Helper()
	for _, n := range numbers {
		lane := work(t, b, domain.Lane(n))
		waitFor(t, "the lane to be done", func() bool {
			for len(lane.handed) > 0 {
				finish(t, <-lane.handed)
			}
			s := laneState(t, b, domain.Lane(n))
			return s.Waiting == 0 && s.Working == 0
		})
		_ = lane.stop() // canceled
	}
}

// The archive's copy is the event, once, under its own position, in few
// subjects; copying again adds nothing.
func TestArchiveCopiesOnce(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	want := sendMany(t, b, number, 30)
	facts := statuses(t, 0, 30)
	record(t, b, facts...)
	want = append(want, facts...)
	a := archiver(t, b)
	archive(t, a, 60)
	archive(t, a, 60)
	archive(t, archiver(t, b), 60)
	name := "ARCHIVE_" + time.Now().UTC().Format("2006_01")
	s := stream(t, b, name)
	if st := s.CachedInfo().State; st.Msgs != 60 || st.FirstSeq != 1 || st.LastSeq != 60 || st.NumSubjects > 2 {
		t.Fatalf("the archive holds %+v", st)
	}
	for i, e := range want {
		m, err := s.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		hot, err := stream(t, b, "EVENTS").GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		lane := fmt.Sprintf("%02d", domain.Lane(e.Key.Number))
		if string(m.Data) != string(hot.Data) || m.Header.Get("Sendlog-Position") != fmt.Sprint(i+1) || m.Header.Get("Sendlog-Subject") != hot.Subject ||
			m.Subject != fmt.Sprintf("arc.%s.%s.%s.%s", strings.TrimPrefix(name, "ARCHIVE_"), lane, e.Key.Kind, e.Key.Tenant) {
			t.Fatalf("the copy at %d is %s %v", i+1, m.Subject, m.Header)
		}
	}
}

// same fails unless two readings of the log are equal to the letter.
func same(t testing.TB, got, want []domain.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i].Shared(), want[i].Shared()) { // whether decoding is shared is not part of an event
			t.Fatalf("event %d is\n%+v\nwant\n%+v", i, got[i], want[i])
		}
	}
}

// Archive and hot log read as the one log that was before anything left the
// hot log, from every position on.
func TestReaderJoinsArchiveAndHotLog(t *testing.T) {
	t.Parallel()
	const count = 40
	b := oneNode(t, streams.Strict)
	sendMany(t, b, number, count/2)
	record(t, b, statuses(t, 0, count/2)...)
	whole := read(t, b, 0, count)
	a := archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 9, Part: 7}) // six streams
	archive(t, a, count)
	settled(t, b, number)
	purge(t, b, a, count-9+1)
	for after := range count {
		same(t, read(t, b, domain.Position(after), count-after), whole[after:])
	}
	var all []domain.Position
	for _, e := range whole {
		all = append(all, e.Position)
	}
	slices.Reverse(all)
	slices.Reverse(whole)
	found, err := b.Reader().At(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	same(t, found, whole)
	if _, err := b.Reader().At(t.Context(), []domain.Position{3, count + 1}); domain.KindOf(err) != domain.Unknown {
		t.Errorf("an event that is not there: %v", err)
	}
	if e, err := b.Extent(t.Context()); err != nil || e != (streams.Extent{First: count - 8, Last: count, Archived: count}) {
		t.Errorf("extent %+v, %v", e, err)
	}
}

// Whoever reads while the hot log is purged under them misses nothing and
// reads nothing twice, and goes on with what is appended.
func TestReaderSurvivesPurges(t *testing.T) {
	t.Parallel()
	const count = 6000
	b := oneNode(t, streams.Interval)
	fill := func(n int) {
		for i := 0; i < n; i += 500 {
			if err := b.Events().Record(t.Context(), statuses(t, i, 500)); err != nil {
				t.Error(err)
			}
		}
	}
	fill(count / 2)
	ctx := within(t, 2*soon)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			c, err := b.Reader().Open(ctx, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for last := domain.Position(0); last < count; {
				events, err := c.Next(ctx, 50)
				if err != nil {
					t.Errorf("after %d: %v", last, err)
					return
				}
				for _, e := range events {
					if e.Position != last+1 {
						t.Errorf("%d follows %d", e.Position, last)
						return
					}
					last = e.Position
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); fill(count / 2); readers.Wait() }()
	a := archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1, Part: 700})
	for busy := true; busy; {
		select {
		case <-done:
			busy = false
		default:
		}
		if _, err := a.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Purge(ctx); err != nil {
			t.Fatal(err)
		}
	}
	purge(t, b, a, count)
}

// Two archivers at once, each stopped and begun anew at random, store every
// event once and in order.
func TestArchiversCannotDoubleOrReorder(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const count = 5000
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, count)...)
	whole := read(t, b, 0, count)
	var archivers sync.WaitGroup
	for i := range 3 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		archivers.Go(func() {
			for patience := 10; ; patience += 10 { // however slow the machine is, once it suffices
				a := b.Archiver(streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1, Part: 900})
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(patience))*time.Millisecond)
				at, err := a.Copy(ctx)
				cancel()
				a.Close()
				if err == nil && at == count {
					return
				}
				if err != nil && ctx.Err() == nil && domain.KindOf(err) != domain.Unavailable {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
		})
	}
	archivers.Wait()
	if err := b.Ready(t.Context()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	a := archiver(t, b)
	purge(t, b, a, count)
	same(t, read(t, b, 0, count), whole)
}

// A process that archives and purges is killed again and again: what it
// acknowledged is in the log, archived or hot, once and in order.
func TestArchiveSurvivesKill(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			random := rand.New(rand.NewPCG(seed, 0))
			dir, acked := t.TempDir(), map[domain.Position]domain.EventID{}
			shortened := false
			for round := 0; round < 5 || !shortened && round < 20; round++ {
				some := 100 + random.IntN(1900) // 800 come before the first purge
				for at, id := range promised(t, dir, d, some, doomedArchives+"=1") {
					acked[at] = id
				}
				x := survivors(t, dir, d, acked, fmt.Sprintf("seed %d, round %d, killed after %d", seed, round, some))
				shortened = shortened || x.First > 1
			}
			if !shortened {
				t.Errorf("seed %d: nothing was purged", seed)
			}
		})
	}
}

// An event leaves the hot log only when it is archived.
func TestPurgeKeepsWhatIsNotArchived(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 10)...)
	a := archiver(t, b)
	purge(t, b, a, 1)
	archive(t, a, 10)
	record(t, b, statuses(t, 100, 10)...)
	purge(t, b, a, 10) // Keep: 1
	archive(t, a, 20)
	purge(t, b, a, 20)
	purge(t, b, a, 20)
}

// An event leaves the hot log only when it is old, by the clock handed in.
func TestPurgeKeepsWhatIsYoung(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 300)...)
	border := newestAt(t, b)
	waitFor(t, "the clock to move", func() bool { return time.Now().After(border.Add(10 * time.Millisecond)) })
	record(t, b, statuses(t, 1000, 20)...)
	young := archiverOf(t, b, streams.ArchiverConfig{Clock: domain.SystemClock{}, Hot: hotTime, Keep: 1})
	archive(t, young, 320)
	purge(t, b, young, 1)
	// To this clock exactly the first 300 are older than the hot time.
	purge(t, b, archiverOf(t, b, streams.ArchiverConfig{Clock: still(border.Add(hotTime + 5*time.Millisecond)), Hot: hotTime, Keep: 1}), 301)
}

// still is a clock that stands.
type still time.Time

func (s still) Now() time.Time { return time.Time(s) }
func (still) Sleep(ctx context.Context, d time.Duration) error {
	return domain.SystemClock{}.Sleep(ctx, d)
}

// newestAt is when the newest event was stored.
func newestAt(t testing.TB, b *streams.Broker) time.Time {
	t.Helper()
	return stream(t, b, "EVENTS").CachedInfo().State.LastTime
}

// An event leaves the hot log only when every lane is done with it, and with
// all before it. A lane that never had anything does not matter.
func TestPurgeKeepsUnfinishedWork(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 5)...)
	first := send(t, b, number, "unfinished")            // at 6
	other := send(t, b, otherLane(number), "unfinished") // at 7
	record(t, b, statuses(t, 50, 5)...)
	a := archiver(t, b)
	archive(t, a, 12)
	purge(t, b, a, 1) // nobody has taken anything yet
	lane := work(t, b, domain.Lane(number))
	finish(t, lane.expect(t, first)...)
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, number) >= 6 })
	purge(t, b, a, 1) // the other lane's consumer is still at the beginning
	otherWork := work(t, b, domain.Lane(other.Key.Number))
	held := otherWork.expect(t, other)
	purge(t, b, a, 1) // taken, not done
	finish(t, held...)
	waitFor(t, "the acknowledgement", func() bool { return floor(t, b, other.Key.Number) >= 7 })
	purge(t, b, a, 12)
}

// What a backlog covers stays hot although its lane is done with it, until the
// backlog has moved past it.
func TestPurgeKeepsBacklogs(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	events := sendMany(t, b, number, 20)
	record(t, b, statuses(t, 0, 5)...)
	l := opened(t, b, streams.Backlog{Tenant: tenantA, Number: number, From: events[5].Position})
	bulk := opened(t, b, streams.Backlog{Tenant: tenantA, Number: number, Bulk: true, From: events[8].Position})
	finish(t, work(t, b, domain.Lane(number)).expect(t, events...)...)
	waitFor(t, "the acknowledgements", func() bool { return floor(t, b, number) >= 20 })
	a := archiver(t, b)
	archive(t, a, 25)
	purge(t, b, a, events[5].Position)
	if got, _ := readBacklog(t, b, l, 100); len(got) != 15 || got[0].Event.ID != events[5].ID {
		t.Errorf("%d are left to work", len(got))
	}
	var err error
	l.From = events[10].Position
	if l.Version, err = b.AdvanceBacklog(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	purge(t, b, a, events[8].Position) // the other one of the number
	if err := b.CloseBacklog(t.Context(), bulk); err != nil {
		t.Fatal(err)
	}
	purge(t, b, a, events[10].Position)
	if err := b.CloseBacklog(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	purge(t, b, a, 25)
}

func otherLane(n domain.NumberID) domain.NumberID {
	for i := range 100 {
		if o := domain.NumberID(fmt.Sprint(i)); domain.Lane(o) != domain.Lane(n) {
			return o
		}
	}
	return ""
}

func floor(t testing.TB, b *streams.Broker, n domain.NumberID) uint64 {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), "EVENTS", fmt.Sprintf("lane%02d", domain.Lane(n)))
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo().AckFloor.Stream
}

// An event leaves the hot log only when its copy is on disk.
func TestPurgeKeepsWhatIsNotOnDisk(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	record(t, b, statuses(t, 0, 10)...)
	a := archiver(t, b)
	archive(t, a, 10)
	b.FailSyncs(errors.New("the disk is dying"))
	if first, err := a.Purge(t.Context()); err != nil || first != 10 {
		t.Errorf("the archive's disk is well: %d, %v", first, err)
	}
	if err := b.Events().Record(t.Context(), statuses(t, 50, 5)); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("recorded on a dying disk: %v", err)
	}
	if at, err := a.Copy(t.Context()); at != 10 || domain.KindOf(err) != domain.Unavailable {
		t.Errorf("archived what the hot log may lose: up to %d, %v", at, err)
	}

	b = oneNode(t, streams.Strict)
	record(t, b, statuses(t, 0, 10)...)
	a = archiver(t, b)
	archive(t, a, 10)
	b.FailSync("ARCHIVE_"+time.Now().UTC().Format("2006_01"), errors.New("the disk is dying"))
	if first, err := a.Purge(t.Context()); domain.KindOf(err) != domain.Unavailable || first != 1 {
		t.Errorf("purged to %d, %v", first, err)
	}
}

// Under strict durability the group commit follows the server when a purge
// makes it write the newest block anew.
func TestPurgeAndGroupCommitShareTheDisk(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	big := func(i int) {
		e := statuses(t, i, 1)[0]
		e.Personal = fmt.Appendf(nil, `{"wamid":"%d","raw":%q}`, i, filler())
		if err := b.Events().Record(t.Context(), []domain.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 { // about 5 MiB: one block, of which most goes
		big(i)
	}
	a := archiver(t, b)
	archive(t, a, 100)
	purge(t, b, a, 100)
	big(100)
	if holds, err := b.HoldsNewest("EVENTS"); err != nil || !holds {
		t.Errorf("the group commit syncs a file that is the log's no more (%v)", err)
	}
}

// A lane goes on after a purge, also over a restart.
func TestLanesGoOnAfterAPurge(t *testing.T) {
	t.Parallel()
	dir, sealer := t.TempDir(), newVault(t)
	e := embed(t, dir, streams.Interval)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	sendMany(t, b, number, 50)
	settled(t, b, number)
	a := archiver(t, b)
	archive(t, a, 50)
	purge(t, b, a, 50)
	a.Close()
	next := send(t, b, number, "next")
	b.Close()
	e.Shutdown()
	e = embed(t, dir, streams.Interval)
	t.Cleanup(e.Shutdown)
	b = open(t, streams.Config{Embedded: e, Sealer: sealer})
	lane := work(t, b, domain.Lane(number))
	d := lane.next(t)
	for d.Event.Position < next.Position { // its acknowledgement was lost with the process
		finish(t, d)
		d = lane.next(t)
	}
	if d.Event.ID != next.ID {
		t.Errorf("handed out %d", d.Event.Position)
	}
	finish(t, d)
}

// What leaves the hot log is gone for those who ask by key: they are told, or
// find nothing; a reader of a key's news is not left with half of them.
func TestHotLogForgetsByKey(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	first := send(t, b, number, "first")
	record(t, b, statuses(t, 0, 5)...)
	settled(t, b, number)
	a := archiver(t, b)
	archive(t, a, 6)
	purge(t, b, a, 6)
	if events, err := b.Events().Load(t.Context(), first.Key); err != nil || len(events) != 0 {
		t.Errorf("loaded %v, %v", events, err)
	}
	err := b.Reader().Follow(within(t, soon), first.Key, 1, func(domain.Event) error { return errors.New("an event") })
	if domain.KindOf(err) != domain.Unknown {
		t.Errorf("follow: %v", err)
	}
}

// months asks for the archive streams.
func months(t testing.TB, b *streams.Broker) (names []string) {
	t.Helper()
	l := b.JetStream().StreamNames(t.Context(), jetstream.WithStreamListSubject("arc.>"))
	for n := range l.Name() {
		names = append(names, n)
	}
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
	return names
}

// The month of an event decides which stream is begun with it, and never goes
// back to an older one; a full stream is followed by another of the month.
func TestMonthsFollowTheEvents(t *testing.T) {
	t.Parallel()
	day := func(s string) time.Time {
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, test := range []struct {
		newest string
		at     time.Time
		want   string
	}{
		{"ARCHIVE_2026_11", day("2026-12-01"), "ARCHIVE_2026_12"},
		{"ARCHIVE_2026_12", day("2027-01-01"), "ARCHIVE_2027_01"},
		{"ARCHIVE_2026_11", day("2026-11-30"), "ARCHIVE_2026_11_p02"},
		{"ARCHIVE_2026_11", day("1970-01-01"), "ARCHIVE_2026_11_p02"},
		{"ARCHIVE_2026_11_p09", day("2026-11-30"), "ARCHIVE_2026_11_p10"},
		{"ARCHIVE_2026_11_p99", day("2026-11-30"), "ARCHIVE_2026_11_p100"},
		{"ARCHIVE_2026_11_p100", day("2026-11-30"), "ARCHIVE_2026_11_p101"},
		{"ARCHIVE_2026_11_p02", day("2026-12-01"), "ARCHIVE_2026_12"},
	} {
		if got := streams.Following(test.newest, test.at); got != test.want {
			t.Errorf("behind %s, %s goes to %s, want %s", test.newest, test.at.Format(time.DateOnly), got, test.want)
		}
		if !streams.Before(test.newest, test.want) || streams.Before(test.want, test.newest) {
			t.Errorf("%s does not sort behind %s", test.want, test.newest)
		}
	}
}

// LOG_RETENTION drops whole streams and never the newest; what is left reads
// as a log that begins later, and nothing looks like loss.
func TestRetentionDropsOldStreams(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 35)...)
	whole := read(t, b, 0, 35)
	keeping := func(d time.Duration) *streams.Archiver {
		return archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1, Part: 10, Retention: d})
	}
	a := keeping(2 * old)
	archive(t, a, 35)
	if err := a.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := months(t, b); len(got) != 4 {
		t.Fatalf("the archive is %v", got)
	}
	kept := func(position, first domain.Position) {
		t.Helper()
		_, err := b.Reader().At(t.Context(), []domain.Position{position})
		if (err == nil) != (position >= first) || err != nil && domain.KindOf(err) != domain.Unknown {
			t.Errorf("the event at %d: %v", position, err)
		}
		if got, err := b.Reader().Kept(t.Context()); err != nil || got != first {
			t.Errorf("kept from %d, %v; want %d", got, err, first)
		}
	}
	kept(5, 1)
	if err := keeping(old / 2).Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := months(t, b); len(got) != 1 {
		t.Fatalf("the archive is %v", got)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	same(t, read(t, b, 0, 5), whole[30:])
	kept(5, 31)
	kept(33, 31)
	if _, err := b.Reader().Open(t.Context(), 20); !errors.Is(err, streams.ErrGap) {
		t.Errorf("opened in what is dropped: %v", err)
	}
	record(t, b, statuses(t, 90, 10)...)
	archive(t, archiver(t, b), 45)
}

// Archivers that run side by side archive and purge by themselves, and end with
// their context.
func TestArchiverRuns(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b, statuses(t, 0, 2500)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		a := archiver(t, b)
		go func() { done <- a.Run(ctx) }()
	}
	waitFor(t, "the hot log to be archived and purged", func() bool {
		e, err := b.Extent(t.Context())
		return err == nil && e.Archived == 2500 && e.First == 2500
	})
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// The same on three nodes, where the servers check expectations before they
// agree.
func TestArchiveOnThreeNodes(t *testing.T) {
	t.Parallel()
	const count = 2000
	b := threeNodes(t)
	record(t, b, statuses(t, 0, count)...)
	whole := read(t, b, 0, count)
	a := archiverOf(t, b, streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 1, Part: 600})
	waitFor(t, "everything to be archived", func() bool {
		at, err := a.Copy(within(t, soon))
		if err != nil && domain.KindOf(err) != domain.Unavailable {
			t.Fatal(err)
		}
		return at == count
	})
	waitFor(t, "the purge", func() bool {
		first, err := a.Purge(within(t, soon))
		return err == nil && first == count
	})
	same(t, read(t, b, 0, count), whole)
	waitFor(t, "readiness", func() bool { return b.Ready(t.Context()) == nil })
}
