package mongostore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, database string) *Store {
	t.Helper()
	s, err := Open(t.Context(), storetest.MongoURI(t), database)
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

// fresh opens a database of the test's own, which is dropped afterwards.
func fresh(t *testing.T) *Store {
	t.Helper()
	s := open(t, storetest.MongoDatabase(t))
	t.Cleanup(func() {
		if err := s.DropDatabase(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) projections.Store { return fresh(t) })
}

var errKilled = errors.New("killed")

// A process that dies at any point of a batch leaves either nothing of it, or
// all of it as soon as a writer resumes: what it folds on is never half a
// batch, and the checkpoint is never ahead of its documents.
func TestCrashInsideBatch(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"decided", "written"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			collections := []projections.Collection{{Name: "things_g1"}}
			must(t, s.Create(t.Context(), "things_g1", projections.Checkpoint{Incarnation: "log-1", Version: 1}, collections))
			must(t, s.Apply(t.Context(), batch(0, 1, "a", "b", "gone")))

			s.at = func(at string) error {
				if at == stage {
					return errKilled
				}
				return nil
			}
			dying := batch(1, 2, "a", "b", "c")
			dying.Deletes = []projections.Ref{{Collection: "things_g1", ID: "gone"}}
			if err := s.Apply(t.Context(), dying); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			var raw checkpointDoc
			must(t, s.checkpoints.FindOne(t.Context(), bson.D{{Key: "_id", Value: "things_g1"}}).Decode(&raw))
			if raw.Position != 1 {
				t.Errorf("the stored checkpoint is %d before the batch is finished", raw.Position)
			}

			next := open(t, s.db.Name()) // the next process
			at, _, err := next.Checkpoint(t.Context(), "things_g1")
			must(t, err)
			if at.Position != 1 {
				t.Errorf("a reader sees checkpoint %d, want 1: not all documents may be there", at.Position)
			}
			at, _, err = next.Resume(t.Context(), "things_g1")
			must(t, err)
			if at.Position != 2 {
				t.Errorf("checkpoint %d, want 2: the batch was decided", at.Position)
			}
			want := map[string]string{"a": body("a", 2), "b": body("b", 2), "c": body("c", 2)}
			if got := storetest.Dump(t, next, "things_g1"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if err := next.Apply(t.Context(), dying); !errors.Is(err, projections.ErrRepeated) { // its writer tries again
				t.Errorf("repeating what was finished: %v", err)
			}
			must(t, next.Apply(t.Context(), batch(2, 3, "a")))

			// The dead process comes back to life in the middle of its batch.
			s.at = nil
			must(t, s.writeDocs(t.Context(), dying))
			if got := storetest.Dump(t, next, "things_g1")["a"]; got != body("a", 3) {
				t.Errorf("an old batch overwrote a newer document: %s", got)
			}
			if err := s.Apply(t.Context(), dying); !errors.Is(err, projections.ErrMoved) {
				t.Errorf("an old batch after newer ones: %v", err)
			}
		})
	}
}

// Operators see fields, not a blob: integers are int64, texts are texts.
func TestStoredFields(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	must(t, s.Create(t.Context(), "things_g1", projections.Checkpoint{}, []projections.Collection{{Name: "things_g1"}}))
	must(t, s.Apply(t.Context(), batch(0, 7, "a")))
	var doc bson.D
	must(t, s.db.Collection("things_g1").FindOne(t.Context(), bson.D{{Key: "_id", Value: "a"}}).Decode(&doc))
	want := bson.D{
		{Key: "_id", Value: "a"}, {Key: "id", Value: "a"}, {Key: "last_position", Value: int64(7)},
		{Key: "at", Value: "2026-11-23T17:10:00.000000001Z"}, {Key: "person", Value: bson.D{{Key: "name", Value: "$gt"}}},
	}
	if fmt.Sprintf("%#v", doc) != fmt.Sprintf("%#v", want) {
		t.Errorf("got  %#v\nwant %#v", doc, want)
	}
}

// A server that is not there is an error of kind Unavailable, in time, and no
// error repeats the password of the URI.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	for uri, kind := range map[string]domain.ErrKind{
		"mongodb://user:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=100&connectTimeoutMS=100": domain.Unavailable,
		"mongodb://user:s3cret@@/%%": domain.Invalid,
	} {
		_, err := Open(t.Context(), uri, "")
		if domain.KindOf(err) != kind {
			t.Errorf("got %v, want kind %s", err, kind)
		}
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error %v", err)
		}
	}
}

func batch(from, to domain.Position, ids ...string) projections.Batch {
	b := projections.Batch{Generation: "things_g1", From: from, To: to}
	for _, id := range ids {
		b.Puts = append(b.Puts, projections.Put{Collection: "things_g1", Doc: projections.Doc{ID: id, Last: to, Body: []byte(body(id, to))}})
	}
	return b
}

func body(id string, last domain.Position) string {
	return fmt.Sprintf(`{"id":%q,"last_position":%d,"at":"2026-11-23T17:10:00.000000001Z","person":{"name":"$gt"}}`, id, last)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
