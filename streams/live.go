package streams

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
)

// Live carries announcements over core NATS: at most once, not stored. Who
// must not miss one reads the log or the read models.
type Live struct{ b *Broker }

// Live returns the live feed.
func (b *Broker) Live() *Live { return &Live{b} }

// Announcement is one public event on its way to listeners.
type Announcement struct {
	Tenant  domain.TenantID
	Type    string // e.g. "message.delivered"; its dots become subject tokens
	Subject string // the message or customer it is about: one token
	ID      domain.EventID
	Data    []byte // JSON
}

// valid reports whether an announcement fits a subject of its own tenant.
func (a Announcement) valid() bool {
	tokens := append(strings.Split(a.Type, "."), string(a.Tenant), a.Subject)
	return !slices.ContainsFunc(tokens, func(t string) bool { return !domain.ValidToken(t) })
}

// liveBuffer bounds what a slow listener may leave unread (announcements)
// before it is cut off.
const liveBuffer = 1024

// Announce publishes to live.<tenant>.<type>.<subject>.
func (l *Live) Announce(_ context.Context, as []Announcement) error {
	nc := l.b.conns[publishers]
	for _, a := range as {
		if !a.valid() {
			return domain.Errorf(domain.Bug, nil, "announcement %s does not fit a subject", a.ID)
		}
		m := &nats.Msg{Subject: fmt.Sprintf("live.%s.%s.%s", a.Tenant, a.Type, a.Subject), Data: a.Data, Header: nats.Header{}}
		m.Header.Set("Sendlog-Event-Id", string(a.ID))
		if err := nc.PublishMsg(m); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
	}
	return nil
}

// Subscribe returns the announcements of a tenant from now on. The channel is
// closed when ctx ends, or earlier when the listener is too slow.
func (l *Live) Subscribe(ctx context.Context, t domain.TenantID) (<-chan Announcement, error) {
	if !domain.ValidToken(string(t)) { // a wildcard would hear everybody
		return nil, domain.Errorf(domain.Bug, nil, "a tenant id does not fit a subject")
	}
	out := make(chan Announcement, liveBuffer)
	var (
		mu     sync.Mutex
		closed bool
	)
	nc := l.b.conns[publishers+1]
	ctx, cancel := context.WithCancel(ctx)
	sub, err := nc.Subscribe(liveSubject(t), func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			return
		}
		select {
		case out <- announcement(t, m):
		default:
			l.b.meter.Add(domain.LiveDropped, 1)
			closed = true
			close(out)
			cancel()
		}
	})
	if err != nil {
		cancel()
		return nil, unavailable(err)
	}
	// Without the flush an announcement made at once on another connection
	// could pass before the subscription exists.
	if err := flush(ctx, nc); err != nil {
		cancel()
		_ = sub.Unsubscribe()
		return nil, unavailable(err)
	}
	context.AfterFunc(ctx, func() {
		_ = sub.Unsubscribe() // fails only when the connection is closed: then it is gone as well
		mu.Lock()
		defer mu.Unlock()
		if !closed {
			closed = true
			close(out)
		}
	})
	return out, nil
}

func announcement(t domain.TenantID, m *nats.Msg) Announcement {
	rest := strings.TrimPrefix(m.Subject, "live."+string(t)+".")
	a := Announcement{Tenant: t, Data: m.Data, ID: domain.EventID(m.Header.Get("Sendlog-Event-Id"))}
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		a.Type, a.Subject = rest[:i], rest[i+1:]
	}
	return a
}

func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}
