package streams_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// Whatever the server was interrupted in when it wrote the settings of a
// stream, the stream is the same after the next start, events and all.
func TestInterruptedSettingsAreFinished(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"no checksum": func(dir string) error { return os.Remove(filepath.Join(dir, "meta.sum")) },
		"an old checksum": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.sum"), []byte("0123456789abcdef"), 0o600)
		},
		"half a checksum": func(dir string) error { return os.WriteFile(filepath.Join(dir, "meta.sum"), nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, sealer := t.TempDir(), newVault(t)
			e := embed(t, dir, streams.Interval)
			b := open(t, streams.Config{Embedded: e, Sealer: sealer})
			record(t, b, statuses(t, 0, 10)...)
			archive(t, archiver(t, b), 10)
			before, err := b.Reader().Incarnation(t.Context())
			must(t, err)
			archived := months(t, b)
			b.Close()
			e.Shutdown()
			for _, stream := range append(archived, "EVENTS") {
				must(t, damage(filepath.Join(dir, "jetstream", "$G", "streams", stream)))
			}

			e = embed(t, dir, streams.Interval)
			t.Cleanup(e.Shutdown)
			b = open(t, streams.Config{Embedded: e, Sealer: sealer})
			after, err := b.Reader().Incarnation(t.Context())
			if err != nil || after != before {
				t.Errorf("the log is %s, was %s, %v", after, before, err)
			}
			if x, err := b.Extent(t.Context()); err != nil || x != (streams.Extent{First: 1, Last: 10, Archived: 10}) {
				t.Errorf("it holds %+v, %v", x, err)
			}
			must(t, b.Ready(t.Context()))
		})
	}
}

// Settings that were torn are written anew when the stream is made again, over
// the events that are there.
func TestTornSettingsLoseNoEvent(t *testing.T) {
	t.Parallel()
	dir, sealer := t.TempDir(), newVault(t)
	e := embed(t, dir, streams.Interval)
	b := open(t, streams.Config{Embedded: e, Sealer: sealer})
	sendMany(t, b, number, 10)
	b.Close()
	e.Shutdown()
	must(t, os.WriteFile(filepath.Join(dir, "jetstream", "$G", "streams", "EVENTS", "meta.inf"), []byte(`{"name":"EV`), 0o600))
	for range 2 {
		e = embed(t, dir, streams.Interval)
		b = open(t, streams.Config{Embedded: e, Sealer: sealer})
		if got := read(t, b, 0, 10); got[9].Position != domain.Position(10) {
			t.Errorf("the last one is at %d", got[9].Position)
		}
		b.Close()
		e.Shutdown()
	}
}
