package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// places bounds what each tenant has open at once.
type places struct {
	most int // of one tenant

	mu    sync.Mutex
	taken map[domain.TenantID]int
}

func newPlaces(most int) places { return places{most: most, taken: map[domain.TenantID]int{}} }

// enter takes one of a tenant's places; leave gives it back.
func (p *places) enter(t domain.TenantID) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[t] >= p.most {
		return nil, false
	}
	p.taken[t]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.taken[t]--; p.taken[t] == 0 {
			delete(p.taken, t)
		}
	}, true
}

func (s *Server) streamRoutes() []route {
	return []route{{fiber.MethodGet, tenantPath + "/events", toStream, s.stream}}
}

// stream answers a tenant's events as they happen (server-sent events), until
// the client leaves, the server shuts down, or the client reads too slowly.
// The last says event: reset, after which the client reads what it missed
// from the lists.
func (s *Server) stream(_ context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	r.c.Set(fiber.HeaderContentType, "text/event-stream")
	if r.c.Method() == fiber.MethodHead {
		return nil
	}
	leave, ok := s.streams.enter(r.tenant.ID)
	if !ok {
		return domain.Errorf(domain.Limited, nil, "this tenant has %d event streams open, which is the limit", maxStreamsPerTenant)
	}
	// The stream outlives its handler, and with it the handler's context.
	ctx, cancel := context.WithCancel(s.streaming)
	end := func() { cancel(); leave() }
	feed, err := s.ports.Feed.Subscribe(ctx, r.tenant.ID)
	if err != nil {
		end()
		return err
	}
	w, err := s.claim(r.c)
	if err != nil {
		end()
		return domain.Errorf(domain.Bug, err, "something broke on our side")
	}
	r.c.Set(fiber.HeaderConnection, "close")
	r.c.Set("X-Accel-Buffering", "no") // proxies of the nginx family hold events back otherwise
	go watch(w.conn, cancel)
	if r.who.KeyID != "" {
		go s.guardStream(ctx, r.who, cancel)
	}
	id := requestID(r.c)
	r.c.Context().SetBodyStreamWriter(func(out *bufio.Writer) {
		defer end()
		w.out = out
		if err := w.run(ctx, feed, s.cfg.Heartbeat); err != nil {
			s.cfg.Log.Debug("api: event stream broken", slog.String("request_id", id), slog.String("tenant", string(r.tenant.ID)))
		}
	})
	return nil
}

// claim takes the deadlines of a connection out of fasthttp's hands: its
// write timeout is for the whole answer, and a stream's has no end. From here
// on each write sets its own.
func (s *Server) claim(c *fiber.Ctx) (*eventWriter, error) {
	w := &eventWriter{conn: c.Context().Conn(), timeout: s.cfg.WriteTimeout}
	if err := c.Context().SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear read deadline: %w", err)
	}
	if err := c.Context().SetWriteDeadline(w.deadline()); err != nil {
		return nil, fmt.Errorf("set write deadline: %w", err)
	}
	return w, nil
}

// watch calls gone as soon as the client closes its side, or says anything
// more on a connection that will be closed after this answer. Without it a
// silent client is noticed only after the second heartbeat that nobody reads.
//
// fasthttp reads the connection between answers only, so nobody else reads
// now; it closes the connection after this one, which ends the watch.
func watch(conn net.Conn, gone func()) {
	var b [1]byte
	_, _ = conn.Read(b[:]) // either way the stream is over
	gone()
}

// guardStream ends a stream as soon as the key it was opened with no longer
// reaches it: a listener must not outlive its permission.
func (s *Server) guardStream(ctx context.Context, who caller, end func()) {
	expired := make(<-chan time.Time)
	if !who.ExpiresAt.IsZero() {
		t := time.NewTimer(who.ExpiresAt.Sub(s.cfg.Clock.Now()))
		defer t.Stop()
		expired = t.C
	}
	for {
		narrowed := s.ports.Directory.Narrowed()
		own, ok := s.ports.Directory.Get(who.Tenant)
		if !ok || !s.ports.Directory.Holds(who.KeyID, s.cfg.Clock.Now()) || permits(who.Principal, toStream, own) != nil {
			end()
			return
		}
		select {
		case <-narrowed:
		case <-expired:
			end()
			return
		case <-ctx.Done():
			return
		}
	}
}

// eventWriter writes one event stream.
type eventWriter struct {
	conn    net.Conn
	timeout time.Duration
	out     *bufio.Writer
}

// run writes what feed delivers until it or ctx ends, and returns an error
// only when the client cannot be written to.
func (w *eventWriter) run(ctx context.Context, feed <-chan Live, heartbeat time.Duration) error {
	hello := fmt.Sprintf("retry: %d\n: connected\n\n", reconnectAfter.Milliseconds())
	if err := w.write(hello); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			err = w.write(": heartbeat\n\n")
		case e, ok := <-feed:
			switch {
			case ok:
				err = w.write(frame(e))
				beat.Reset(heartbeat)
			case ctx.Err() != nil:
				return nil
			default:
				return w.write(frame(Live{Type: "reset", Data: []byte(`{"reason":"events were not read fast enough; read the lists and subscribe again"}`)}))
			}
		}
		if err != nil {
			return err
		}
	}
}

// write sends words at once. It fails when the client did not take them, or
// those before them, in time.
func (w *eventWriter) write(words string) error {
	if err := w.conn.SetWriteDeadline(w.deadline()); err != nil {
		return err
	}
	_, err := w.out.WriteString(words)
	return errors.Join(err, w.out.Flush())
}

// deadline is for the kernel: it has to be the machine's time.
func (w *eventWriter) deadline() time.Time { return time.Now().Add(w.timeout) }

var oneLine = strings.NewReplacer("\r", "", "\n", "", "\x00", "")

// frame writes one event as the stream's format wants it. A line break ends a
// field, so data is brought to one line; whitespace means nothing in JSON.
func frame(e Live) string {
	data := e.Data
	if bytes.ContainsAny(data, "\r\n") {
		var b bytes.Buffer
		if json.Compact(&b, data) == nil {
			data = b.Bytes()
		}
	}
	var b strings.Builder
	if e.ID != "" {
		b.WriteString("id: " + oneLine.Replace(e.ID) + "\n")
	}
	b.WriteString("event: " + oneLine.Replace(e.Type) + "\ndata: " + oneLine.Replace(string(data)) + "\n\n")
	return b.String()
}
