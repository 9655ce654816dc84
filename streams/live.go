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
// closed when ctx ends, and earlier when the listener is too slow or the
// connection broke, because either way it has missed something.
func (l *Live) Subscribe(ctx context.Context, t domain.TenantID) (<-chan Announcement, error) {
	if !domain.ValidToken(string(t)) { // a wildcard would hear everybody
		return nil, domain.Errorf(domain.Bug, nil, "a tenant id does not fit a subject")
	}
	return l.listen(ctx, t, liveSubject(t))
}

// About is Subscribe for what is announced of one message.
func (l *Live) About(ctx context.Context, t domain.TenantID, id domain.MessageID) (<-chan Announcement, error) {
	if !domain.ValidToken(string(t)) || !domain.ValidToken(string(id)) {
		return nil, domain.Errorf(domain.Bug, nil, "an id does not fit a subject")
	}
	return l.listen(ctx, t, liveMessageSubject(t, id))
}

func (l *Live) listen(ctx context.Context, t domain.TenantID, subject string) (<-chan Announcement, error) {
	ear := &listener{out: make(chan Announcement, liveBuffer)}
	nc := l.b.conns[publishers+1]
	ctx, cancel := context.WithCancel(ctx)
	broken := l.b.away.next()
	sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if !ear.hear(announcement(t, m)) {
			l.b.meter.Add(domain.LiveDropped, 1)
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
	go func() {
		select {
		case <-ctx.Done():
		case <-broken:
		}
		cancel()
		_ = sub.Unsubscribe() // fails only when the connection is closed: then it is gone as well
		ear.leave()
	}()
	return ear.out, nil
}

// listener is one subscriber's channel.
type listener struct {
	mu   sync.Mutex
	out  chan Announcement
	gone bool
}

// hear passes an announcement on, and reports false the first time there is
// no room for it.
func (e *listener) hear(a Announcement) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return true
	}
	select {
	case e.out <- a:
		return true
	default:
		e.gone = true
		close(e.out)
		return false
	}
}

func (e *listener) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.gone {
		e.gone = true
		close(e.out)
	}
}

// breaks tells everybody who waits that a connection broke.
type breaks struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that closes at the next break.
func (b *breaks) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *breaks) happen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
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
