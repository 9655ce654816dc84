package streams_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

func requested(t testing.TB) (domain.Key, domain.Event) {
	t.Helper()
	k := message.OutgoingKey(tenantA, number, domain.OutgoingID(tenantA, ""))
	e, err := domain.NewEvent(k, time.Now(), "test", &message.SendRequested{Type: "text"})
	if err != nil {
		t.Fatal(err)
	}
	return k, e
}

// Under strict durability nothing is promised that an fsync did not confirm,
// by whatever way it came in: new, repeated, told by others, or kept.
func TestStrictPromisesNothingWithoutAnFsync(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	log := b.Events()
	k, e := requested(t)
	if _, err := log.Append(t.Context(), e, domain.First()); err != nil {
		t.Fatal(err)
	}
	q := b.Quarantine(newVault(t))
	if err := b.Dead().Bury(t.Context(), k, "one", []byte("x"), "test"); err != nil {
		t.Fatal(err)
	}
	b.FailSyncs(errors.New("the disk is dying"))
	_, fresh := requested(t)
	for name, try := range map[string]func() error{
		"append":        func() error { _, err := log.Append(t.Context(), fresh, domain.First()); return err },
		"same again":    func() error { _, err := log.Append(t.Context(), e, domain.First()); return err },
		"load":          func() error { _, err := log.Load(t.Context(), k); return err },
		"record":        func() error { return log.Record(t.Context(), []domain.Event{fresh}) },
		"quarantine":    func() error { return q.Keep(t.Context(), "test", []byte("y"), time.Now()) },
		"bury":          func() error { return b.Dead().Bury(t.Context(), k, "two", []byte("x"), "test") },
		"bury again":    func() error { return b.Dead().Bury(t.Context(), k, "one", []byte("x"), "test") },
		"journal entry": func() error { _, err := b.Tenants().Append(t.Context(), registered(t, 1), 0); return err },
	} {
		if err := try(); domain.KindOf(err) != domain.Unavailable {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
}

// The group commit knows the files the embedded server writes: when a new
// version keeps them elsewhere, this fails before a promise does.
func TestStrictKnowsTheBlocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := embed(t, dir, streams.Strict)
	t.Cleanup(e.Shutdown)
	b := open(t, streams.Config{Embedded: e, Sealer: newVault(t)})
	var all sync.WaitGroup
	for range 64 { // about 14 MiB: the 8 MiB blocks roll over while appends wait for each other's fsyncs
		all.Go(func() {
			for range 4 {
				k := message.AccountKey(tenantA, number)
				notice := &message.AccountNotice{Field: "test", Notice: message.Notice{Raw: []byte(`"` + string(filler()) + `"`)}}
				ev, err := domain.NewEvent(k, time.Now(), "test", notice)
				if err == nil {
					_, err = b.Events().Append(t.Context(), ev, domain.Any())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", "EVENTS", "msgs", "*.blk"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	newest := ""
	for _, p := range blocks {
		if info, err := os.Stat(p); err == nil && (newest == "" || info.ModTime().After(modTime(t, newest))) {
			newest = p
		}
	}
	if got := b.SyncedBlock("EVENTS"); got != newest {
		t.Errorf("the group commit syncs %s, the server writes %s", got, newest)
	}
}

func filler() []byte {
	b := make([]byte, 40_000)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

func modTime(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
