package streams_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// A question whose answer is lost on its way is asked again: that costs a part
// of the caller's deadline and not all of it.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	url, _ := servedOn(t, freePorts(t, 1)[0], t.TempDir())
	sealer := newVault(t)
	e := send(t, open(t, streams.Config{URL: url, Sealer: sealer}), number, "first")
	for what, question := range map[string]func(context.Context, *streams.Broker) error{
		"tail":  func(ctx context.Context, b *streams.Broker) error { _, err := b.Reader().Tail(ctx); return err },
		"made":  func(ctx context.Context, b *streams.Broker) error { _, err := b.Reader().Made(ctx); return err },
		"last":  func(ctx context.Context, b *streams.Broker) error { _, err := b.Reader().Last(ctx, e.Key); return err },
		"lanes": func(ctx context.Context, b *streams.Broker) error { _, err := b.Lanes(ctx); return err },
		"dead":  func(ctx context.Context, b *streams.Broker) error { _, err := b.Dead().Count(ctx); return err },
		"ready": func(ctx context.Context, b *streams.Broker) error { return b.Ready(ctx) },
		"history": func(ctx context.Context, b *streams.Broker) error {
			_, err := b.Tenants().Of(ctx, tenantA, 0, 1)
			return err
		},
		"read": func(ctx context.Context, b *streams.Broker) error {
			c, err := b.Reader().Open(ctx, 0)
			if err == nil {
				defer c.Close()
				_, err = c.Next(ctx, 1)
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := wireTo(t, url)
			b := open(t, streams.Config{URL: w.url, Sealer: sealer})
			w.loses(t, domain.AppendTimeout, func() error { return question(within(t, soon), b) })
		})
	}
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		w := wireTo(t, url)
		w.loses(t, soon, func() error { // it makes everything there is
			open(t, streams.Config{URL: w.url, Sealer: newVault(t)})
			return nil
		})
	})
}

// wire is a connection to a server on which answers get lost, or nothing gets
// through at all.
type wire struct {
	url   string
	lose  atomic.Int64 // answers still to be lost
	stall sync.RWMutex // while it is locked nothing arrives at either end, and nothing is lost, as while a process is stopped
}

// loses calls fn, which the first answer does not reach and which may take a
// while all the same.
func (w *wire) loses(t *testing.T, most time.Duration, fn func() error) {
	t.Helper()
	w.lose.Store(1)
	start := time.Now()
	if err := fn(); err != nil {
		t.Error(err)
	}
	if w.lose.Load() != 0 {
		t.Error("nothing was lost")
	}
	if took := time.Since(start); took > most {
		t.Errorf("it took %s", took)
	}
}

// wireTo lays a wire to a server.
func wireTo(t *testing.T, server string) *wire {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{url: "nats://" + l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", u.Host)
			if err != nil {
				client.Close()
				return
			}
			go func() { defer backend.Close(); _, _ = io.Copy(stallable{backend, &w.stall}, client) }()
			go func() { defer client.Close(); w.carry(stallable{client, &w.stall}, bufio.NewReader(backend)) }()
		}
	}()
	return w
}

// carry hands on what the server says, but for the answers that get lost:
// messages to an inbox.
func (w *wire) carry(client io.Writer, server *bufio.Reader) {
	for {
		line, err := server.ReadString('\n')
		if err != nil {
			return
		}
		var payload []byte
		if f := strings.Fields(line); len(f) > 3 && (f[0] == "MSG" || f[0] == "HMSG") {
			var size int
			if _, err := fmt.Sscan(f[len(f)-1], &size); err != nil {
				return
			}
			payload = make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(server, payload); err != nil {
				return
			}
			if strings.HasPrefix(f[1], "_INBOX.") && w.lose.Load() > 0 {
				w.lose.Add(-1)
				continue
			}
		}
		if _, err := client.Write(append([]byte(line), payload...)); err != nil {
			return
		}
	}
}

// stallable writes when nothing stalls it.
type stallable struct {
	io.Writer
	stall *sync.RWMutex
}

func (s stallable) Write(b []byte) (int, error) {
	s.stall.RLock()
	defer s.stall.RUnlock()
	return s.Writer.Write(b)
}
