package sqlitestore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/sqlitestore"
	"github.com/sendlog/sendlog/projections/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) projections.Store { return open(t, t.TempDir()) })
}

// What people wrote is readable by the owner of the process only, also in the
// files SQLite adds; and odd directory names are names.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "read models? 100% #1")
	s := open(t, dir)
	fill(t, s, 10)
	for name, want := range map[string]os.FileMode{".": 0o700, "documents.db": 0o600, "documents.db-wal": 0o600, "documents.db-shm": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

// What was applied is there after the process ended.
func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := sqlitestore.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	at, found, err := s.Checkpoint(t.Context(), "messages_g1")
	if err != nil || !found || at.Position != 1 {
		t.Errorf("checkpoint %+v %v %v", at, found, err)
	}
	if docs := storetest.Dump(t, s, "messages_g1"); len(docs) != 10 {
		t.Errorf("%d documents", len(docs))
	}
}

// fill writes n documents like those of messages, in one batch per thousand.
func fill(t testing.TB, s *sqlitestore.Store, n int) {
	t.Helper()
	indexes := projections.Models()[0].Collections[0].Indexes
	err := s.Create(t.Context(), "messages_g1", projections.Checkpoint{}, []projections.Collection{{Name: "messages_g1", Indexes: indexes}})
	if err != nil {
		t.Fatal(err)
	}
	words := []string{"queued", "sent", "delivered", "read", "failed", "received"}
	for from := 0; from < n; from += 1000 {
		b := projections.Batch{Generation: "messages_g1", From: domain.Position(from / 1000), To: domain.Position(from/1000 + 1)}
		for i := from; i < min(n, from+1000); i++ {
			id := "msg_" + domain.Digest(fmt.Sprint(i))
			body, err := json.Marshal(map[string]any{
				"id": id, "tenant": fmt.Sprint("ten_", i%3), "position": i + 1, "last_position": i + 1, "status": words[i%len(words)],
				"contact": fmt.Sprint(15550000000 + i%500), "text": "hello, this is a message of ordinary length, as people write them",
				"content": `{"type":"text","text":{"body":"hello, this is a message of ordinary length, as people write them"}}`,
				"timeline": []map[string]any{
					{"event_id": "evt_" + id, "position": i, "type": "SendRequested", "at": "2026-11-23T17:10:00.000000001Z", "actor": "api"},
					{"event_id": "evt_" + id, "position": i, "type": "SendAttempted", "at": "2026-11-23T17:10:00.000000001Z", "actor": "dispatch"},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			b.Puts = append(b.Puts, projections.Put{Collection: "messages_g1", Doc: projections.Doc{ID: id, Last: domain.Position(i + 1), Body: body}, Fresh: true})
		}
		if err := s.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkPut writes batches of 1000 documents with the indexes of messages.
func BenchmarkPut(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 0)
	b.ResetTimer()
	began := time.Now()
	n := max(b.N, 1000)
	fill(b, s, n)
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "docs/s")
}

// BenchmarkPage reads a page of 20 among 100 000 documents.
func BenchmarkPage(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 100_000)
	match := func(field string, values ...string) projections.Match {
		return projections.Match{Field: field, AnyOf: values}
	}
	after := &projections.Mark{Value: 50_000, ID: "msg"}
	every := []string{"queued", "unknown", "accepted", "sent", "delivered", "read", "played", "failed", "cancelled", "expired", "received"}
	for _, one := range []struct {
		name  string
		where []projections.Match
		after *projections.Mark
	}{
		{"all statuses", []projections.Match{match("tenant", "ten_1"), match("status", every...)}, nil},
		{"all statuses, from the middle", []projections.Match{match("tenant", "ten_1"), match("status", every...)}, after},
		{"status", []projections.Match{match("tenant", "ten_1"), match("status", "sent")}, after},
		{"contact, three aliases", []projections.Match{match("tenant", "ten_1"), match("contact", "15550000001", "15550000004", "US.1")}, after},
		{"contact and status", []projections.Match{match("tenant", "ten_1"), match("contact", "15550000001"), match("status", "sent")}, after},
	} {
		b.Run(one.name, func(b *testing.B) {
			for b.Loop() {
				docs, err := s.Range(b.Context(), projections.Query{
					Collection: "messages_g1", Where: one.where, Sort: "position", Desc: true, After: one.after, Limit: 20,
				})
				if err != nil || len(docs) != 20 {
					b.Fatal(len(docs), err)
				}
			}
		})
	}
}

// What a former build left behind is no more than room on the disk: the read
// models are folded anew.
func TestFormerFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	former := []string{"readmodels.db", "readmodels.db-wal", "readmodels.db-shm"}
	for _, name := range former {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a former layout"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	for _, name := range former {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	if p, err := s.Live(t.Context(), "messages"); err != nil || p != (projections.Pointer{}) {
		t.Errorf("a generation is live: %+v %v", p, err)
	}
}
