package streams_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// followed hands over what a follower of jobs is told, once it has caught up.
func followed(t *testing.T, j *streams.Jobs) <-chan streams.Job {
	t.Helper()
	told, ready, ended := make(chan streams.Job, 64), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- j.Follow(ctx, func(job streams.Job) { told <- job }, func() { close(ready) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-ready:
	case <-within(t, soon).Done():
		t.Fatal("it never caught up")
	}
	return told
}

// The record of a job is written by whoever knows its newest version; everybody
// is told of each before it is written over, and who comes later of the newest
// alone.
func TestJobs(t *testing.T) {
	t.Parallel()
	oneAndThree(t, func(t *testing.T, b *streams.Broker) {
		jobs := b.Jobs("redrive")
		early := followed(t, jobs)
		write := func(id, record string, version uint64) uint64 {
			t.Helper()
			v, err := jobs.Write(t.Context(), streams.Job{ID: id, Record: []byte(record), Version: version})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		refused := func(id string, version uint64) {
			t.Helper()
			if _, err := jobs.Write(t.Context(), streams.Job{ID: id, Record: []byte("late"), Version: version}); !errors.Is(err, domain.ErrConflict) {
				t.Errorf("over version %d of %s: %v", version, id, err)
			}
		}
		// Told before the next one is written over it: there is no other copy.
		told := func(want streams.Job) {
			t.Helper()
			select {
			case got := <-early:
				if got.ID != want.ID || string(got.Record) != string(want.Record) || got.Version != want.Version {
					t.Errorf("told %+v, want %+v", got, want)
				}
			case <-within(t, soon).Done():
				t.Fatalf("never told %+v", want)
			}
		}
		a1 := write("a", "begun", 0)
		told(streams.Job{ID: "a", Record: []byte("begun"), Version: a1})
		refused("a", 0)
		b1 := write("b", "begun", 0)
		told(streams.Job{ID: "b", Record: []byte("begun"), Version: b1})
		a2 := write("a", "further", a1)
		told(streams.Job{ID: "a", Record: []byte("further"), Version: a2})
		refused("a", a1)
		b2 := write("b", "", b1) // forgotten
		told(streams.Job{ID: "b", Version: b2})
		late := followed(t, b.Jobs("redrive"))
		for _, want := range []string{"further", ""} {
			select {
			case got := <-late:
				if string(got.Record) != want {
					t.Errorf("told %q, want %q", got.Record, want)
				}
			case <-within(t, soon).Done():
				t.Fatalf("never told %q", want)
			}
		}
		if other := followed(t, b.Jobs("other")); len(other) != 0 {
			t.Error("told of another kind of job")
		}
		if _, err := jobs.Write(t.Context(), streams.Job{ID: "a.b"}); domain.KindOf(err) != domain.Bug {
			t.Errorf("an id that fits no subject: %v", err)
		}
	})
}
