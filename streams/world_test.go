package streams_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// soon bounds waiting for what must happen at once. It is generous: a test
// that needs it has failed.
const soon = 30 * time.Second

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// newEvent makes an event of any key; its text names it.
func newEvent(t testing.TB, k domain.Key, text string) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(k, time.Now(), "test", &message.SendRequested{Type: "text",
		SendWords: message.SendWords{To: "+14155550100", Content: fmt.Appendf(nil, "%q", text)}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// outgoing is the key of a fresh message.
func outgoing(n domain.NumberID) domain.Key {
	return message.OutgoingKey(tenantA, n, domain.OutgoingID(tenantA, ""))
}

// send appends one fresh message and returns its event.
func send(t testing.TB, b *streams.Broker, n domain.NumberID, text string) domain.Event {
	t.Helper()
	e := newEvent(t, outgoing(n), text)
	var err error
	if e.Position, err = b.Events().Append(t.Context(), e, domain.First()); err != nil {
		t.Fatalf("append %s: %v", text, err)
	}
	return e
}

func sendMany(t testing.TB, b *streams.Broker, n domain.NumberID, count int) []domain.Event {
	t.Helper()
	events := make([]domain.Event, count)
	for i := range events {
		events[i] = send(t, b, n, fmt.Sprint(i))
	}
	return events
}

// textOf is the inverse of newEvent.
func textOf(t testing.TB, e domain.Event) string {
	t.Helper()
	var f message.SendRequested
	if err := e.Decode(&f); err != nil {
		t.Fatal(err)
	}
	var text string
	if _, err := fmt.Sscanf(string(f.Content), "%q", &text); err != nil {
		t.Fatal(err)
	}
	return text
}

// stream looks at a stream behind the log's back.
func stream(t testing.TB, b *streams.Broker, name string) jetstream.Stream {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored returns every message of a stream, subject and headers included, as
// it lies on disk.
func stored(t testing.TB, b *streams.Broker, name string) []byte {
	t.Helper()
	s := stream(t, b, name)
	var all []byte
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		all = fmt.Appendf(all, "%s\n%v\n%s\n", m.Subject, m.Header, m.Data)
	}
	return all
}

// read reads count events after a position.
func read(t testing.TB, b *streams.Broker, after domain.Position, count int) []domain.Event {
	t.Helper()
	ctx := within(t, soon)
	c, err := b.Reader().Open(ctx, after)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var events []domain.Event
	for len(events) < count {
		more, err := c.Next(ctx, count-len(events))
		if err != nil {
			t.Fatalf("read after %d events: %v", len(events), err)
		}
		events = append(events, more...)
	}
	return events
}

// servedOn starts a server of somebody else's on a loopback port; stop may be
// called more than once.
func servedOn(t testing.TB, port int, dir string) (url string, stop func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "external", Host: "127.0.0.1", Port: port,
		JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	stop = func() { s.Shutdown(); s.WaitForShutdown() }
	t.Cleanup(stop)
	if !s.ReadyForConnections(soon) {
		t.Fatal("the server did not start")
	}
	return s.ClientURL(), stop
}
