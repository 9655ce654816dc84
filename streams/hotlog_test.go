package streams_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// Sizes of the measurement (events): in the log, and left hot after the purge.
const (
	hotLogEvents = "SENDLOG_HOTLOG"
	hotLogWindow = "SENDLOG_HOTLOG_WINDOW"
)

func sizeOf(t testing.TB, name string, fallback int) int {
	t.Helper()
	if os.Getenv(name) == "" {
		return fallback
	}
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil || n < 1 {
		t.Fatalf("%s is not a number of events", name)
	}
	return n
}

// A restart after an unclean stop costs what is hot, not what was ever
// recorded. `make hotlog` runs it with a million events and prints what it
// took; by itself it is a small check that the way works.
func TestRestartCostsTheHotWindow(t *testing.T) {
	events := sizeOf(t, hotLogEvents, 5000)
	window := sizeOf(t, hotLogWindow, events/10)
	if events < 100_000 {
		t.Parallel()
	}
	dir := t.TempDir()
	began := time.Now()
	e, b := openUnsealed(t, dir)
	fillRaw(t, b, events)
	t.Logf("recorded %d events, a subject each, in %s", events, time.Since(began).Round(time.Millisecond))
	b.Close()
	e.Shutdown()
	before := restart(t, dir, "all of it hot")

	e, b = openUnsealed(t, dir)
	// As it is after days with this window: a stream holds as many as are hot.
	a := b.Archiver(streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: window, Part: max(window, streams.ArchivePart)})
	began = time.Now()
	if at, err := a.Copy(t.Context()); err != nil || int(at) != events {
		t.Fatalf("archived up to %d, %v", at, err)
	}
	took := time.Since(began)
	t.Logf("archived %d events in %s (%.0f events/s)", events, took.Round(time.Millisecond), float64(events)/took.Seconds())
	began = time.Now()
	if first, err := a.Purge(t.Context()); err != nil || int(first) != events-window+1 {
		t.Fatalf("purged to %d, %v", first, err)
	}
	t.Logf("purged %d events in %s", events-window, time.Since(began).Round(time.Millisecond))
	a.Close()
	b.Close()
	e.Shutdown()
	after := restart(t, dir, "archived, and the window hot")

	e, b = openUnsealed(t, dir)
	defer e.Shutdown()
	defer b.Close()
	began = time.Now()
	c, err := b.Reader().Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for last := domain.Position(0); int(last) < events; {
		got, err := c.Next(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		last = got[len(got)-1].Position
	}
	took = time.Since(began)
	t.Logf("read archive and hot log in %s (%.0f events/s)", took.Round(time.Millisecond), float64(events)/took.Seconds())
	if events >= 100_000 && after.heap > before.heap/2 {
		t.Errorf("the heap after a restart is %d MiB, %d MiB before: it does not follow the window", after.heap>>20, before.heap>>20)
	}
}

func openUnsealed(t testing.TB, dir string) (*streams.Embedded, *streams.Broker) {
	t.Helper()
	e := embed(t, dir, streams.Interval)
	b, err := streams.Open(t.Context(), streams.Config{Embedded: e, Sealer: unsealed{}, Log: quiet(), Meter: domain.NoMeter{}})
	if err != nil {
		t.Fatal(err)
	}
	return e, b
}

// fillRaw records events as fast as the server takes them. Each has a subject
// of its own, which is what memory is spent on; none is work for a lane.
func fillRaw(t testing.TB, b *streams.Broker, count int) {
	t.Helper()
	for from := 0; from < count; from += 10_000 {
		events := make([]domain.Event, min(10_000, count-from))
		for i := range events {
			n := domain.NumberID(fmt.Sprint((from + i) % 64))
			k := message.InboundKey(tenantA, n, message.InboundID(n, fmt.Sprint("wamid.", from+i), false))
			e, err := domain.NewEvent(k, time.Now(), "bench", &message.InboundReceived{Message: domain.MessageID(k.ID), Type: "text",
				InboundWords: message.InboundWords{Wamid: fmt.Sprint("wamid.", from+i), Text: "a message of some words, as people write them",
					Raw: []byte(`{"from":"14155550100","id":"wamid.x","timestamp":"1795435602","type":"text","text":{"body":"a message of some words"}}`)}})
			if err != nil {
				t.Fatal(err)
			}
			events[i] = e
		}
		if err := b.Events().Record(context.Background(), events); err != nil {
			t.Fatal(err)
		}
	}
}

// cost is what one restart took.
type cost struct {
	time time.Duration
	heap uint64 // bytes in use once it is open
}

// restart opens the log as after a kill: the index that a clean stop leaves is
// gone from the streams that were being written.
func restart(t testing.TB, dir, what string) cost {
	t.Helper()
	root := filepath.Join(dir, "jetstream", "$G", "streams")
	streamsThere, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	archived := ""
	for _, s := range streamsThere { // sorted: the last archive stream is the one being filled
		if s.Name() > "ARCHIVE_" && s.Name() < "ARCHIVE_a" {
			archived = s.Name()
		}
	}
	for _, s := range []string{"EVENTS", archived} {
		if s == "" {
			continue
		}
		if err := os.Remove(filepath.Join(root, s, "msgs", "index.db")); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	began := time.Now()
	e, b := openUnsealed(t, dir)
	c := cost{time: time.Since(began)}
	after := heap()
	c.heap = after - min(before, after)
	s, err := b.JetStream().Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	report(t, what, c, s.CachedInfo().State, dir)
	b.Close()
	e.Shutdown()
	return c
}

// heap returns what is in use (bytes). Pools give their contents back at the
// second collection only.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func report(t testing.TB, what string, c cost, hot jetstream.StreamState, dir string) {
	t.Helper()
	var disk int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error { // a figure for people
		if info, infoErr := d.Info(); err == nil && infoErr == nil && !d.IsDir() {
			disk += info.Size()
		}
		return nil
	})
	t.Logf("restart after an unclean stop, %s: %s, heap %d MiB, %d events and %d subjects hot, %d MiB on disk",
		what, c.time.Round(time.Millisecond), c.heap>>20, hot.Msgs, hot.NumSubjects, disk>>20)
}
