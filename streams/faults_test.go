package streams_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// patience is how long an append may take at most, with a margin for a busy
// machine.
const patience = domain.AppendTimeout + 3*time.Second

// The log goes away in the middle of appends: each is answered Unavailable
// within its deadline, and what was acknowledged before is there after a
// restart.
func TestLogGoesAway(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			dir, sealer := t.TempDir(), newVault(t)
			e := embed(t, dir, d)
			b := open(t, streams.Config{Embedded: e, Sealer: sealer})
			var (
				mu    sync.Mutex
				acked = map[domain.Position]domain.EventID{}
				busy  = make(chan struct{}, 1000)
				all   sync.WaitGroup
			)
			for i := range 16 {
				n := domain.NumberID(fmt.Sprint(i))
				all.Go(func() {
					for {
						event := newEvent(t, outgoing(n), "x")
						start := time.Now()
						at, err := b.Events().Append(t.Context(), event, domain.First())
						if err != nil {
							if took := time.Since(start); domain.KindOf(err) != domain.Unavailable || took > patience {
								t.Errorf("after %s: %v", took, err)
							}
							return
						}
						mu.Lock()
						acked[at] = event.ID
						mu.Unlock()
						select {
						case busy <- struct{}{}:
						default:
						}
					}
				})
			}
			for range 100 {
				<-busy
			}
			e.Shutdown()
			all.Wait()
			if err := b.Ready(within(t, patience)); err == nil {
				t.Error("ready without a log")
			}
			b.Close()

			e = embed(t, dir, d)
			t.Cleanup(e.Shutdown)
			b = open(t, streams.Config{Embedded: e, Sealer: sealer})
			tail, err := b.Reader().Tail(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range read(t, b, 0, int(tail)) {
				if id, ok := acked[e.Position]; ok && id == e.ID {
					delete(acked, e.Position)
				}
			}
			if len(acked) > 0 {
				t.Errorf("%d acknowledged events are lost", len(acked))
			}
		})
	}
}

// External servers stop and come back: meanwhile appends are refused in time,
// and afterwards the same Broker goes on with everything, by itself.
func TestBrokerOutlivesItsServer(t *testing.T) {
	t.Parallel()
	port, dir := freePorts(t, 1)[0], t.TempDir()
	url, stop := servedOn(t, port, dir)
	b := open(t, streams.Config{URL: url, Sealer: newVault(t)})
	lane := work(t, b, domain.Lane(number))
	tenants := follow(t, b)
	registrations := journalOf(t, b, 1)
	tenants.expect(t, registrations...)
	live, _ := subscribe(t, b, tenantA)
	before := send(t, b, number, "before")
	finish(t, lane.expect(t, before)...)

	stop()
	meanwhile := newEvent(t, outgoing(number), "meanwhile")
	start := time.Now()
	if _, err := b.Events().Append(t.Context(), meanwhile, domain.First()); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("append without a server: %v", err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("it took %s", took)
	}
	servedOn(t, port, dir)

	appended := func(e domain.Event) (at domain.Position) {
		t.Helper()
		waitFor(t, "an append to succeed", func() bool {
			var err error
			at, err = b.Events().Append(t.Context(), e, domain.First())
			return err == nil
		})
		return at
	}
	meanwhile.Position = appended(meanwhile)
	if again := appended(meanwhile); again != meanwhile.Position {
		t.Errorf("the same event is at %d and %d", meanwhile.Position, again)
	}
	after := send(t, b, number, "after")
	for _, e := range []domain.Event{meanwhile, after} {
		d := lane.next(t)
		for d.Event.Position < e.Position { // handed out again: its answer was lost with the server
			finish(t, d)
			d = lane.next(t)
		}
		if d.Event.ID != e.ID {
			t.Errorf("handed out %s at %d, want %s at %d", d.Event.ID, d.Event.Position, e.ID, e.Position)
		}
		finish(t, d)
	}
	for i, e := range read(t, b, 0, 3) {
		if want := []domain.Event{before, meanwhile, after}[i]; e.ID != want.ID {
			t.Errorf("event %d is %s", i, e.ID)
		}
	}
	next := registered(t, 1)
	waitFor(t, "a registration to succeed", func() bool {
		var err error
		next.Position, err = b.Tenants().Append(t.Context(), next, 1)
		return err == nil
	})
	tenants.expect(t, next)
	// What was announced meanwhile is lost, so the listener is told by the end
	// of its channel; a new one hears.
	if a, open := <-live; open {
		t.Errorf("the listener heard %v and does not know that it missed something", a)
	}
	live, _ = subscribe(t, b, tenantA)
	waitFor(t, "an announcement to be taken", func() bool {
		return b.Live().Announce(t.Context(), []streams.Announcement{news(tenantA, 1)}) == nil
	})
	hears(t, live, news(tenantA, 1))
}

// The log is full: appends are refused at once and nothing is half written;
// reading goes on; with more room it goes on as if nothing had been.
func TestFullLog(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			b := oneNode(t, d)
			sendMany(t, b, number, 5)
			room := func(bytes int64) {
				t.Helper()
				c := stream(t, b, "EVENTS").CachedInfo().Config
				c.MaxBytes = bytes
				if _, err := b.JetStream().UpdateStream(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			room(int64(stream(t, b, "EVENTS").CachedInfo().State.Bytes) + 10)

			refused := newEvent(t, outgoing(number), "refused")
			start := time.Now()
			var all sync.WaitGroup
			for range 20 { // alone and in a group
				all.Go(func() {
					if _, err := b.Events().Append(t.Context(), newEvent(t, outgoing(number), "x"), domain.First()); domain.KindOf(err) != domain.Unavailable {
						t.Errorf("append to a full log: %v", err)
					}
				})
			}
			all.Wait()
			if _, err := b.Events().Append(t.Context(), refused, domain.First()); domain.KindOf(err) != domain.Unavailable {
				t.Errorf("append to a full log: %v", err)
			}
			if err := b.Events().Record(t.Context(), statuses(t, 0, 3)); domain.KindOf(err) != domain.Unavailable {
				t.Errorf("record to a full log: %v", err)
			}
			if took := time.Since(start); took > domain.AppendTimeout {
				t.Errorf("they took %s to say so", took)
			}
			if got := read(t, b, 0, 5); len(got) != 5 {
				t.Errorf("read %d", len(got))
			}
			room(-1)
			if at, err := b.Events().Append(t.Context(), refused, domain.First()); err != nil || at != 6 {
				t.Errorf("with room again: %d, %v", at, err)
			}
			if err := b.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// An append whose answer was not waited for may be repeated: the event is in
// the log once, wherever the answer was lost.
func TestRepeatAfterALostAnswer(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			b := oneNode(t, d)
			const count = 100
			var all sync.WaitGroup
			for range count {
				hurry := time.Duration(random.IntN(2000)) * time.Microsecond
				all.Go(func() {
					e := newEvent(t, outgoing(number), "x")
					ctx, cancel := context.WithTimeout(t.Context(), hurry)
					defer cancel()
					first, err := b.Events().Append(ctx, e, domain.First())
					if err != nil && domain.KindOf(err) != domain.Unavailable {
						t.Errorf("in a hurry: %v", err)
					}
					again, err2 := b.Events().Append(t.Context(), e, domain.First())
					if err2 != nil || err == nil && again != first {
						t.Errorf("first %d, %v; again %d, %v", first, err, again, err2)
					}
					if events, err := b.Events().Load(t.Context(), e.Key); err != nil || len(events) != 1 || events[0].Position != again {
						t.Errorf("the key holds %v, %v; want one event at %d", events, err, again)
					}
				})
			}
			all.Wait()
			if info, err := stream(t, b, "EVENTS").Info(t.Context(), jetstream.WithSubjectFilter("evt.>")); err != nil || info.State.Msgs != count {
				t.Errorf("the log holds %d events, want %d, %v", info.State.Msgs, count, err)
			}
		})
	}
}

// A reader whose server is away ends with its context.
func TestReaderEndsWithoutAServer(t *testing.T) {
	t.Parallel()
	url, stop := servedOn(t, freePorts(t, 1)[0], t.TempDir())
	b := open(t, streams.Config{URL: url, Sealer: newVault(t)})
	ctx, cancel := context.WithCancel(t.Context())
	c, err := b.Reader().Open(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 2)
	go func() {
		_, err := c.Next(ctx, 1)
		done <- err
	}()
	go func() { done <- b.Tenants().Follow(ctx, func(domain.Event) error { return nil }, func() {}) }()
	stop()
	cancel()
	for range 2 {
		select {
		case err := <-done:
			if err == nil {
				t.Error("it ended without a word")
			}
		case <-time.After(soon):
			t.Fatal("it does not end")
		}
	}
}
