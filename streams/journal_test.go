package streams_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/streams"
)

func registered(t *testing.T, n int) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(tenant.Key(domain.TenantID(fmt.Sprint("ten_", n))), time.Now(), "admin",
		&tenant.Registered{Name: fmt.Sprint(n), Number: domain.NumberID(fmt.Sprint(n)), Token: []byte("sealed")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// journalOf appends the first n events of a journal.
func journalOf(t *testing.T, b *streams.Broker, n int) []domain.Event {
	t.Helper()
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = registered(t, i)
		at, err := b.Tenants().Append(t.Context(), events[i], domain.Position(i))
		if err != nil || at != domain.Position(i+1) {
			t.Fatalf("event %d is at %d, %v", i, at, err)
		}
		events[i].Position = at
	}
	return events
}

// follower is one follower of the journal.
type follower struct {
	heard  chan domain.Event
	caught chan int // how many were heard before it had caught up
	cancel context.CancelFunc
	ended  chan error
}

func follow(t *testing.T, b *streams.Broker) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{heard: make(chan domain.Event, 1000), caught: make(chan int, 1000), cancel: cancel, ended: make(chan error, 1)}
	t.Cleanup(cancel)
	go func() {
		f.ended <- b.Tenants().Follow(ctx, func(e domain.Event) error { f.heard <- e; return nil },
			func() { f.caught <- len(f.heard) })
	}()
	return f
}

func (f *follower) expect(t *testing.T, events ...domain.Event) {
	t.Helper()
	for _, want := range events {
		select {
		case got := <-f.heard:
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Fatalf("heard\n%+v\nwant\n%+v", got, want)
			}
		case <-time.After(soon):
			t.Fatalf("waited in vain for %s", want.ID)
		}
	}
}

// An append that expects another newest event than there is changes nothing;
// the identical append again answers its first position.
func TestJournalHasOneOrder(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	events := journalOf(t, b, 2)
	for _, after := range []domain.Position{0, 1, 3} {
		if _, err := b.Tenants().Append(t.Context(), registered(t, 9), after); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("after %d: %v, want a conflict", after, err)
		}
	}
	if at, err := b.Tenants().Append(t.Context(), events[0], 0); err != nil || at != 1 {
		t.Errorf("the first again: %d, %v", at, err)
	}
	follow(t, b).expect(t, events...)
}

// Of many appends at once after one event, one succeeds.
func TestJournalRace(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Strict)
	var mu sync.Mutex
	var wg sync.WaitGroup
	wins := 0
	for i := range 32 {
		e := registered(t, i)
		wg.Go(func() {
			_, err := b.Tenants().Append(t.Context(), e, 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins++
			} else if !errors.Is(err, domain.ErrConflict) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if wins != 1 {
		t.Errorf("%d won", wins)
	}
}

// A follower hears every event once, in order, with its whole key; it is told
// once that it has caught up, after the past and before the future.
func TestJournalFollow(t *testing.T) {
	t.Parallel()
	for _, past := range []int{0, 1, 40} {
		t.Run(fmt.Sprint(past), func(t *testing.T) {
			t.Parallel()
			b := oneNode(t, streams.Interval)
			events := journalOf(t, b, past)
			f := follow(t, b)
			f.expect(t, events...)
			select {
			case <-f.caught:
			case <-time.After(soon):
				t.Fatal("it never catches up")
			}
			next := registered(t, past)
			var err error
			if next.Position, err = b.Tenants().Append(t.Context(), next, domain.Position(past)); err != nil {
				t.Fatal(err)
			}
			f.expect(t, next)
			f.cancel()
			if err := <-f.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			if len(f.caught) != 0 || len(f.heard) != 0 {
				t.Errorf("caught up %d times more, heard %d events more", len(f.caught), len(f.heard))
			}
		})
	}
}

// What the follower does not want ends it; what is not of this build, or
// missing, does too.
func TestJournalFollowStops(t *testing.T) {
	t.Parallel()
	refuse := errors.New("no")
	for name, test := range map[string]struct {
		harm  func(*testing.T, *streams.Broker)
		apply error
		want  error
	}{
		"refused":         {func(*testing.T, *streams.Broker) {}, refuse, refuse},
		"a missing event": {func(t *testing.T, b *streams.Broker) { remove(t, b, "TENANTS", 2) }, nil, streams.ErrGap},
		"a version to come": {func(t *testing.T, b *streams.Broker) {
			put(t, b, "tenant.ten_x.registered", `{"v":2,"tenant":"ten_x"}`)
		}, nil, nil},
		"a foreign subject": {func(t *testing.T, b *streams.Broker) {
			put(t, b, "tenant.ten_x.registered", `{"v":1,"tenant":"ten_y"}`)
		}, nil, nil},
		"something unrelated": {func(t *testing.T, b *streams.Broker) { put(t, b, "tenant.ten_x.registered", `hello`) }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := oneNode(t, streams.Interval)
			journalOf(t, b, 3)
			test.harm(t, b)
			err := b.Tenants().Follow(within(t, soon), func(domain.Event) error { return test.apply }, func() {})
			if err == nil || errors.Is(err, context.DeadlineExceeded) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func remove(t *testing.T, b *streams.Broker, name string, seq uint64) {
	t.Helper()
	if err := stream(t, b, name).DeleteMsg(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, b *streams.Broker, subject, data string) {
	t.Helper()
	if _, err := b.JetStream().Publish(t.Context(), subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// Only what belongs to the journal is appended to it.
func TestJournalRefuses(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	for name, change := range map[string]func(*domain.Event){
		"an event of a message": func(e *domain.Event) { e.Key = outgoing(number) },
		"any tenant":            func(e *domain.Event) { e.Key.Tenant = "*" },
		"no id":                 func(e *domain.Event) { e.Key.ID = "" },
		"a personal part":       func(e *domain.Event) { e.Personal = []byte(`{}`) },
	} {
		e := registered(t, 0)
		change(&e)
		if _, err := b.Tenants().Append(t.Context(), e, 0); domain.KindOf(err) != domain.Bug {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One tenant's events are read in pages, oldest first, without its neighbours'.
func TestJournalOf(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	journalOf(t, b, 5)
	var want []domain.Event
	for i := range 7 {
		e, err := domain.NewEvent(domain.Key{Kind: tenant.KindTenant, Tenant: "ten_2", ID: "quota_set"}, time.Now(), "admin", &tenant.QuotaSet{PerDay: i})
		if err != nil {
			t.Fatal(err)
		}
		if e.Position, err = b.Tenants().Append(t.Context(), e, domain.Position(5+i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	var got []domain.Event
	for after := domain.Position(0); ; {
		page, err := b.Tenants().Of(t.Context(), "ten_2", after, 3)
		if err != nil || len(page) > 3 {
			t.Fatal(len(page), err)
		}
		if len(page) == 0 {
			break
		}
		got, after = append(got, page...), page[len(page)-1].Position
	}
	if len(got) != 8 || got[0].Type != tenant.TypeRegistered || fmt.Sprintf("%+v", got[1:]) != fmt.Sprintf("%+v", want) {
		t.Errorf("read %+v\nwant the registration and %+v", got, want)
	}
	if none, err := b.Tenants().Of(t.Context(), "ten_9", 0, 3); err != nil || len(none) != 0 {
		t.Errorf("of nobody: %v, %v", none, err)
	}
	if _, err := b.Tenants().Of(t.Context(), "*", 0, 3); domain.KindOf(err) != domain.Bug {
		t.Errorf("of anybody: %v", err)
	}
}

// A real journal is folded into a directory whole, and its rate is shown.
// JOURNAL_TENANTS=100000 runs it at full size, where it must take less than
// three seconds.
func TestJournalReplay(t *testing.T) {
	t.Parallel()
	n, err := strconv.Atoi(os.Getenv("JOURNAL_TENANTS"))
	measured := err == nil
	if !measured {
		n = 2000
	}
	b := oneNode(t, streams.Interval)
	futures := make([]jetstream.PubAckFuture, n)
	for i := range futures {
		f := tenant.Registered{Name: fmt.Sprint("Tenant ", i), Number: domain.NumberID(fmt.Sprint(100000000000000 + i)),
			DataKey: make([]byte, 170), Token: make([]byte, 230)}
		facts, err := json.Marshal(&f)
		if err != nil {
			t.Fatal(err)
		}
		id := domain.NewTenantID()
		data := fmt.Appendf(nil, `{"id":%q,"type":%q,"v":1,"tenant":%q,"key":"tenant.registered","at":"2026-11-03T12:00:00Z","actor":"admin","facts":%s}`,
			domain.NewEventID(), f.EventType(), id, facts)
		if futures[i], err = b.JetStream().PublishAsync("tenant."+string(id)+".registered", data, jetstream.WithStallWait(soon)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			t.Fatal(err)
		}
	}
	d := tenant.NewDirectory()
	ctx := within(t, soon)
	caught := make(chan struct{})
	began := time.Now()
	go func() { _ = b.Tenants().Follow(ctx, d.Apply, func() { close(caught) }) }()
	select {
	case <-caught:
	case <-ctx.Done():
		t.Fatal("the journal was not read")
	}
	took := time.Since(began)
	t.Logf("%d tenants in %s, %.0f a second", n, took, float64(n)/took.Seconds())
	if d.Position() != domain.Position(n) || len(d.List("", n+1)) != n {
		t.Errorf("position %d, %d tenants", d.Position(), len(d.List("", n+1)))
	}
	if most := 3 * time.Second * time.Duration(n) / 100_000; measured && took > most {
		t.Errorf("it took %s, at most %s may be", took, most)
	}
}
