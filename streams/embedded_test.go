package streams_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// One directory has one owner: a second one is refused with words that name
// the directory and say what to do, and may have it once the first is gone.
func TestOneOwnerPerDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	first := embed(t, dir, streams.Interval)
	_, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: dir, Durability: streams.Interval, Log: quiet()})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another sendlog process") {
		t.Errorf("the second got %v", err)
	}
	first.Shutdown()
	embed(t, dir, streams.Interval).Shutdown()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info.Mode(), err)
	}
}

// What was acknowledged is there after a restart, and the log goes on behind
// it.
func TestRestartKeepsEvents(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			dir, sealer := t.TempDir(), newVault(t)
			var want []domain.Event
			for range 3 {
				e := embed(t, dir, d)
				b := open(t, streams.Config{Embedded: e, Sealer: sealer})
				want = append(want, sendMany(t, b, number, 5)...)
				for i, e := range read(t, b, 0, len(want)) {
					if e.ID != want[i].ID || e.Position != domain.Position(i+1) {
						t.Fatalf("event %d is %s at %d", i, e.ID, e.Position)
					}
				}
				b.Close()
				e.Shutdown()
			}
		})
	}
}

// A configuration that cannot work is refused at once, with words.
func TestStartEmbeddedRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, test := range map[string]struct {
		config streams.EmbeddedConfig
		says   string
	}{
		"no durability":       {streams.EmbeddedConfig{}, "durability"},
		"an unknown one":      {streams.EmbeddedConfig{Durability: "sometimes"}, "sometimes"},
		"an address in use":   {streams.EmbeddedConfig{Durability: streams.Interval, Listen: taken.Addr().String()}, "in use"},
		"half an address":     {streams.EmbeddedConfig{Durability: streams.Interval, Listen: "localhost"}, "listen address"},
		"a port with letters": {streams.EmbeddedConfig{Durability: streams.Interval, Listen: "localhost:nats"}, "listen address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := test.config
			c.Dir, c.Log = t.TempDir(), quiet()
			started := make(chan error, 1)
			go func() {
				e, err := streams.StartEmbedded(c)
				if err == nil {
					e.Shutdown()
				}
				started <- err
			}()
			select {
			case err := <-started:
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want words about %q", err, test.says)
				}
			case <-within(t, soon).Done():
				t.Fatal("it neither starts nor refuses")
			}
			// The directory was let go.
			embed(t, c.Dir, streams.Interval).Shutdown()
		})
	}
}

// Without a listener nobody outside can connect.
func TestNoListenerByDefault(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	if url := e.ListenURL(); url != "" {
		t.Errorf("it listens on %s", url)
	}
}

// Several processes may start at once on the same servers: the inventory of
// streams and consumers is the same for each.
func TestOpenIsRepeatable(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	sealer := newVault(t)
	opened := make(chan error, 4)
	for range cap(opened) {
		go func() {
			b, err := streams.Open(t.Context(), streams.Config{Embedded: e, Sealer: sealer, Log: quiet(), Meter: domain.NoMeter{}})
			if err == nil {
				_, err = b.Lanes(t.Context())
				b.Close()
			}
			opened <- err
		}()
	}
	for range cap(opened) {
		if err := <-opened; err != nil {
			t.Error(fmt.Errorf("open: %w", err))
		}
	}
}
