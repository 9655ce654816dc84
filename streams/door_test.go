package streams_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// doorman knows keys.
type doorman map[string]domain.TenantID

func (d doorman) Authenticate(key string) (domain.TenantID, bool) { t, ok := d[key]; return t, ok }

// listening starts an embedded log that tenants may connect to.
func listening(t *testing.T, keys doorman) (*streams.Broker, string) {
	t.Helper()
	e, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: t.TempDir(), Durability: streams.Interval,
		Listen: "127.0.0.1:0", Tenants: keys, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	return open(t, streams.Config{Embedded: e, Sealer: newVault(t)}), e.ListenURL()
}

// guest is a tenant's connection, and what the server said against it.
type guest struct {
	*nats.Conn
	denied chan error
}

func connect(t *testing.T, url string, credential nats.Option) guest {
	t.Helper()
	g := guest{denied: make(chan error, 100)}
	nc, err := nats.Connect(url, credential, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { g.denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	g.Conn = nc
	return g
}

func (g guest) refused(t *testing.T, what string) {
	t.Helper()
	select {
	case err := <-g.denied:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(soon):
		t.Errorf("%s was not refused", what)
	}
}

// A tenant's key, as password or as token, hears that tenant's announcements.
func TestTenantsMayListenToThemselves(t *testing.T) {
	t.Parallel()
	b, url := listening(t, doorman{"key-a": tenantA})
	for name, credential := range map[string]nats.Option{
		"password": nats.UserInfo("anything", "key-a"), "token": nats.Token("key-a"),
	} {
		g := connect(t, url, credential)
		for _, subject := range []string{"live.ten_a.>", "live.ten_a.message.*.msg_1", "live.ten_a.message.delivered.msg_1"} {
			sub, err := g.SubscribeSync(subject)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Flush(); err != nil {
				t.Fatal(err)
			}
			announce(t, b, news(tenantB, 1), news(tenantA, 1))
			if m, err := sub.NextMsg(soon); err != nil || m.Subject != "live.ten_a.message.delivered.msg_1" {
				t.Errorf("%s, %s: %v, %v", name, subject, m, err)
			}
			if err := sub.Unsubscribe(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A tenant's key hears nobody else, reads no log, asks the JetStream API
// nothing, and says nothing.
func TestTenantsMayNothingElse(t *testing.T) {
	t.Parallel()
	b, url := listening(t, doorman{"key-a": tenantA})
	g := connect(t, url, nats.Token("key-a"))
	for _, subject := range []string{
		"live.ten_b.>", "live.>", "live.*.>", ">", "*", "evt.>", "evt.*.msg.ten_a.*", "tenant.>", "quarantine.>", "dlq.>",
		"$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>", "$SYS.>", "_INBOX.>", "live.ten_a", "live.ten_ab.>",
	} {
		if _, err := g.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		g.refused(t, "subscribing to "+subject)
	}
	if _, err := g.QueueSubscribeSync("live.ten_b.>", "q"); err != nil {
		t.Fatal(err)
	}
	g.refused(t, "a queue on live.ten_b.>")
	for _, subject := range []string{
		"live.ten_a.message.delivered.msg_1", "live.ten_b.x.y", "evt.02.msg.ten_a.msg_a", "tenant.ten_a.registered", "quarantine.x",
		"$JS.API.STREAM.INFO.EVENTS", "$JS.API.CONSUMER.CREATE.EVENTS", "$JS.API.STREAM.MSG.GET.EVENTS", "$JS.API.STREAM.PURGE.EVENTS",
		"$JS.ACK.EVENTS.lane02.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "hello",
	} {
		if err := g.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		g.refused(t, "publishing to "+subject)
	}
	if tail, err := b.Reader().Tail(t.Context()); err != nil || tail != 0 {
		t.Errorf("the log holds %d events, %v", tail, err)
	}
}

// Whoever has no key stays outside, also under the name of the house.
func TestStrangersStayOutside(t *testing.T) {
	t.Parallel()
	_, url := listening(t, doorman{"key-a": tenantA, "key-of-a-wildcard": ">"})
	for name, credential := range map[string]nats.Option{
		"nothing":              nats.Name("x"),
		"a wrong key":          nats.Token("key-b"),
		"a key as user":        nats.UserInfo("key-a", ""),
		"the house's name":     nats.UserInfo("sendlog", ""),
		"with a guess":         nats.UserInfo("sendlog", "sendlog"),
		"a tenant's name":      nats.UserInfo("ten_a", "ten_a"),
		"a tenant of anything": nats.Token("key-of-a-wildcard"),
	} {
		nc, err := nats.Connect(url, credential)
		if err == nil {
			nc.Close()
			t.Errorf("%s: came in", name)
		} else if !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "key-") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without anybody who knows keys, nobody comes in.
func TestListenerWithoutADirectory(t *testing.T) {
	t.Parallel()
	e, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: t.TempDir(), Durability: streams.Interval, Listen: "127.0.0.1:0", Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	if nc, err := nats.Connect(e.ListenURL(), nats.Token("key-a")); err == nil {
		nc.Close()
		t.Error("came in")
	}
}

// A key that is no longer good ends the connections it opened, and no others.
func TestRecheckEndsConnections(t *testing.T) {
	t.Parallel()
	keys := &changing{keys: doorman{"key-a": tenantA, "key-b": tenantB}}
	e, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: t.TempDir(), Durability: streams.Interval,
		Listen: "127.0.0.1:0", Tenants: keys, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	connect := func(key string) (*nats.Conn, chan struct{}) {
		gone := make(chan struct{})
		nc, err := nats.Connect(e.ListenURL(), nats.Token(key), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc, gone
	}
	_, goneA := connect("key-a")
	b, goneB := connect("key-b")
	left, _ := connect("key-a")
	left.Close() // one that has left by itself is no trouble
	e.Recheck()
	keys.drop("key-a")
	e.Recheck()
	select {
	case <-goneA:
	case <-time.After(soon):
		t.Fatal("the connection outlived its key")
	}
	if err := b.Flush(); err != nil {
		t.Errorf("another's connection: %v", err)
	}
	select {
	case <-goneB:
		t.Error("another's connection ended")
	default:
	}
	e.Recheck()
}

// changing is a doorman whose keys can be taken away.
type changing struct {
	mu   sync.Mutex
	keys doorman
}

func (c *changing) Authenticate(key string) (domain.TenantID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.Authenticate(key)
}

func (c *changing) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, key)
}
