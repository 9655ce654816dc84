package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sendlog/sendlog/projections"
)

func opened(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(id, tenant string, last int) projections.Put {
	body := fmt.Sprintf(`{"id":%q,"tenant":%q,"position":1,"last_position":%d}`, id, tenant, last)
	return projections.Put{Collection: "things_g1", Doc: projections.Doc{ID: id, Last: 1, Body: json.RawMessage(body)}}
}

var things = []projections.Collection{{Name: "things_g1", Indexes: []projections.Index{{Fields: []string{"tenant"}, Sort: "position"}}}}

// Two texts that have the same number are two texts: no document takes the
// place of another one, and none is in a list of another tenant.
func TestSameNumber(t *testing.T) {
	t.Parallel()
	s, ctx := opened(t, t.TempDir()), t.Context()
	must(t, s.Create(ctx, "things_g1", projections.Checkpoint{}, things))
	must(t, s.Apply(ctx, projections.Batch{Generation: "things_g1", To: 1, Puts: []projections.Put{put("other", "ten_b", 1)}}))
	_, err := s.write.ExecContext(ctx, `UPDATE things_g1 SET hash = ?, "key:tenant" = ?`, hash("mine"), hash("ten_a"))
	must(t, err)

	want := func(present string, ids ...string) {
		t.Helper()
		docs, err := s.Get(ctx, "things_g1", ids)
		must(t, err)
		if _, ok := docs[present]; len(docs) != 1 || !ok {
			t.Errorf("got %v, want only %s", docs, present)
		}
	}
	if docs, err := s.Get(ctx, "things_g1", []string{"mine"}); err != nil || len(docs) != 0 {
		t.Errorf("another document was found: %v %v", docs, err)
	}
	list := projections.Query{Collection: "things_g1", Where: []projections.Match{{Field: "tenant", AnyOf: []string{"ten_a"}}}, Sort: "position", Limit: 5}
	if docs, err := s.Range(ctx, list); err != nil || len(docs) != 0 {
		t.Errorf("another tenant's document was listed: %v %v", docs, err)
	}
	must(t, s.Apply(ctx, projections.Batch{Generation: "things_g1", From: 1, To: 2, Puts: []projections.Put{put("mine", "ten_a", 1)}}))
	want("mine", "mine")
	if docs, err := s.Range(ctx, list); err != nil || len(docs) != 1 || docs[0].ID != "mine" {
		t.Errorf("listed %v %v", docs, err)
	}
	must(t, s.Apply(ctx, projections.Batch{Generation: "things_g1", From: 2, To: 3, Deletes: []projections.Ref{{Collection: "things_g1", ID: "mine"}}}))
	if rows := count(t, s); rows != 1 {
		t.Errorf("%d documents are left, want the other one", rows)
	}
}

// A batch that fails in the middle leaves nothing of itself.
func TestHalfABatch(t *testing.T) {
	t.Parallel()
	s, ctx := opened(t, t.TempDir()), t.Context()
	must(t, s.Create(ctx, "things_g1", projections.Checkpoint{}, things))
	broken := put("b", "ten_a", 1)
	broken.Body = json.RawMessage(`{"id":`)
	b := projections.Batch{Generation: "things_g1", To: 1, Puts: []projections.Put{put("a", "ten_a", 1), broken}}
	if err := s.Apply(ctx, b); err == nil {
		t.Fatal("a broken document was taken")
	}
	if at, _, err := s.Checkpoint(ctx, "things_g1"); err != nil || at.Position != 0 || count(t, s) != 0 {
		t.Errorf("checkpoint %d, %d documents (%v)", at.Position, count(t, s), err)
	}
	b.Puts = b.Puts[:1]
	must(t, s.Apply(ctx, b))
	if n := count(t, s); n != 1 {
		t.Errorf("%d documents after the repeat", n)
	}
}

func count(t *testing.T, s *Store) (n int) {
	t.Helper()
	must(t, s.read.QueryRowContext(context.WithoutCancel(t.Context()), `SELECT count(*) FROM things_g1`).Scan(&n))
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
