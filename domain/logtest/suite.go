package logtest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Run checks every promise of [domain.Log]. open returns a log that may hold
// other keys already; tenant must be known to its sealer.
func Run(t *testing.T, tenant domain.TenantID, open func(t *testing.T) domain.Log) {
	for name, check := range map[string]func(*testing.T, world){
		"first append wins and is read back whole":          readBack,
		"an expectation that is not met changes nothing":    conflict,
		"the same event again answers its first position":   repeat,
		"one of many concurrent first appends wins":         race,
		"of many workers at one message one passes a fence": fence,
		"one message of several numbers wins":               lanes,
		"a message is found under any number":               anyNumber,
		"any expects nothing":                               anything,
		"keys do not see each other":                        apart,
		"an ended context is unavailable, not a promise":    ended,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, world{log: open(t), tenant: tenant})
		})
	}
}

type world struct {
	log    domain.Log
	tenant domain.TenantID
}

func (w world) key() domain.Key {
	return message.OutgoingKey(w.tenant, "106540352242922", domain.OutgoingID(w.tenant, ""))
}

func (w world) event(t *testing.T, k domain.Key, text string) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(k, time.Now(), "test", &message.SendRequested{Type: "<text> & \u2028",
		SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{"type":"text","text":{"body":"` + text + `"}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	e.Causation, e.Correlation, e.Trace = "evt_cause", "corr", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	return e
}

func (w world) append(t *testing.T, e domain.Event, x domain.Expect) domain.Position {
	t.Helper()
	p, err := w.log.Append(t.Context(), e, x)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return p
}

func (w world) load(t *testing.T, k domain.Key) []domain.Event {
	t.Helper()
	events, err := w.log.Load(t.Context(), k)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return events
}

func readBack(t *testing.T, w world) {
	k := w.key()
	if got := w.load(t, k); len(got) != 0 {
		t.Fatalf("a fresh key holds %d events", len(got))
	}
	first := w.event(t, k, "héllo 😀 </script>")
	p1 := w.append(t, first, domain.First())
	second := w.event(t, k, "two")
	p2 := w.append(t, second, domain.After(p1))
	if p1 == 0 || p2 <= p1 {
		t.Fatalf("positions %d, %d do not rise", p1, p2)
	}
	got := w.load(t, k)
	if len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
	first.Position, second.Position = p1, p2
	for i, want := range []domain.Event{first, second} {
		if !reflect.DeepEqual(got[i].Shared(), want.Shared()) { // whether decoding is shared is not part of an event
			t.Errorf("event %d came back as\n%+v\nwant\n%+v", i, got[i], want)
		}
	}
}

func conflict(t *testing.T, w world) {
	k := w.key()
	p := w.append(t, w.event(t, k, "one"), domain.First())
	for _, x := range []domain.Expect{domain.First(), domain.After(p + 1), domain.After(p - 1)} {
		if _, err := w.log.Append(t.Context(), w.event(t, k, "other"), x); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
	}
	if got := w.load(t, k); len(got) != 1 {
		t.Fatalf("%d events, want 1", len(got))
	}
}

func repeat(t *testing.T, w world) {
	k := w.key()
	e := w.event(t, k, "one")
	p := w.append(t, e, domain.First())
	w.append(t, w.event(t, k, "two"), domain.After(p))
	if again := w.append(t, e, domain.First()); again != p {
		t.Errorf("the repeat is at %d, the first at %d", again, p)
	}
	if got := w.load(t, k); len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
}

func race(t *testing.T, w world) {
	k := w.key()
	wins, _ := w.rush(t, 32, func() (domain.Event, domain.Expect) { return w.event(t, k, "x"), domain.First() })
	if wins != 1 {
		t.Errorf("%d appends succeeded, want 1", wins)
	}
	if got := w.load(t, k); len(got) != 1 {
		t.Errorf("%d events, want 1", len(got))
	}
}

// Workers write the same fact, each under its own event id: none may take
// another's success for its own.
func fence(t *testing.T, w world) {
	k := w.key()
	p := w.append(t, w.event(t, k, "one"), domain.First())
	for n := 1; n <= 3; n++ {
		wins, at := w.rush(t, 16, func() (domain.Event, domain.Expect) {
			e, err := domain.NewEvent(k, time.Now(), "test", &message.SendAttempted{Attempt: n})
			if err != nil {
				t.Error(err)
			}
			return e, domain.After(p)
		})
		if wins != 1 {
			t.Fatalf("attempt %d passed the fence %d times", n, wins)
		}
		p = at
	}
}

func (w world) rush(t *testing.T, workers int, make func() (domain.Event, domain.Expect)) (wins int, at domain.Position) {
	t.Helper()
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			e, x := make()
			p, err := w.log.Append(t.Context(), e, x)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins, at = wins+1, p
			case !errors.Is(err, domain.ErrConflict):
				t.Errorf("got %v, want ErrConflict", err)
			}
		})
	}
	wg.Wait()
	return wins, at
}

// numbers are one tenant's, in the lanes 2, 1, 14 and 3, and two in lane 5.
var numbers = []domain.NumberID{"106540352242922", "109876543210987", "123456123", "PHONE_ID-1", "b", ""}

// One idempotency key is one message, whichever of its tenant's numbers the
// requests name and whichever come first.
func lanes(t *testing.T, w world) {
	for range 4 {
		id := domain.OutgoingID(w.tenant, "")
		var mu sync.Mutex
		next := 0
		wins, at := w.rush(t, 24, func() (domain.Event, domain.Expect) {
			mu.Lock()
			defer mu.Unlock()
			next++
			return w.event(t, message.OutgoingKey(w.tenant, numbers[next%len(numbers)], id), "x"), domain.First()
		})
		if wins != 1 {
			t.Fatalf("%d appends succeeded, want 1", wins)
		}
		for _, n := range numbers {
			if got := w.load(t, message.OutgoingKey(w.tenant, n, id)); len(got) != 1 || got[0].Position != at {
				t.Fatalf("under number %q the log shows %d events, want the one at %d", n, len(got), at)
			}
		}
	}
}

// Who knows a message's id finds all of it, and learns its number; what comes
// later belongs where the first event is.
func anyNumber(t *testing.T, w world) {
	k := w.key()
	first := w.event(t, k, "one")
	p1 := w.append(t, first, domain.First())
	p2 := w.append(t, w.event(t, k, "two"), domain.After(p1))
	elsewhere := k
	elsewhere.Number = numbers[1]
	got := w.load(t, elsewhere)
	if len(got) != 2 || got[0].Key != k || got[1].Key != k || got[0].Position != p1 || got[1].Position != p2 {
		t.Fatalf("under another number the log shows %+v", got)
	}
	if _, err := w.log.Append(t.Context(), w.event(t, elsewhere, "three"), domain.After(p2)); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("an event of another number followed: %v", err)
	}
	if _, err := w.log.Append(t.Context(), w.event(t, elsewhere, "first again"), domain.First()); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("another number began the message anew: %v", err)
	}
	if at, err := w.log.Append(t.Context(), first, domain.First()); err != nil || at != p1 {
		t.Errorf("the first append again: %d, %v", at, err)
	}
}

func anything(t *testing.T, w world) {
	k := message.StatusKey(w.tenant, "106540352242922")
	a := w.event(t, k, "a")
	p := w.append(t, a, domain.Any())
	if next := w.append(t, w.event(t, k, "b"), domain.Any()); next <= p {
		t.Errorf("positions %d, %d do not rise", p, next)
	}
	if again := w.append(t, a, domain.Any()); again != p {
		t.Errorf("the repeat is at %d, the first at %d", again, p)
	}
}

func apart(t *testing.T, w world) {
	a, b := w.key(), w.key()
	w.append(t, w.event(t, a, "a"), domain.First())
	w.append(t, w.event(t, b, "b"), domain.First())
	if got := w.load(t, a); len(got) != 1 || got[0].Key != a {
		t.Errorf("key a holds %v", got)
	}
}

func ended(t *testing.T, w world) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.log.Append(ctx, w.event(t, w.key(), "x"), domain.First())
	if domain.KindOf(err) != domain.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}
