package streams_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

func news(tenant domain.TenantID, n int) streams.Announcement {
	return streams.Announcement{Tenant: tenant, Type: "message.delivered", Subject: fmt.Sprint("msg_", n),
		ID: domain.EventID(fmt.Sprint("evt_", n)), Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

func announce(t *testing.T, b *streams.Broker, as ...streams.Announcement) {
	t.Helper()
	if err := b.Live().Announce(t.Context(), as); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, b *streams.Broker, tenant domain.TenantID) (<-chan streams.Announcement, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c, err := b.Live().Subscribe(ctx, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return c, cancel
}

// hears fails unless these announcements come next.
func hears(t *testing.T, c <-chan streams.Announcement, want ...streams.Announcement) {
	t.Helper()
	for _, w := range want {
		select {
		case got, open := <-c:
			if !open || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", w) {
				t.Fatalf("heard %+v (open: %v), want %+v", got, open, w)
			}
		case <-time.After(soon):
			t.Fatalf("waited in vain for %s", w.ID)
		}
	}
}

// A listener hears its own tenant and nobody else, whole and in order, until
// its context ends.
func TestLiveIsPerTenant(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	a, leave := subscribe(t, b, tenantA)
	also, _ := subscribe(t, b, tenantA)
	other, _ := subscribe(t, b, tenantB)
	announce(t, b, news(tenantA, 1), news(tenantB, 2), news("ten_a2", 3), news(tenantA, 4))
	hears(t, a, news(tenantA, 1), news(tenantA, 4))
	hears(t, also, news(tenantA, 1), news(tenantA, 4))
	hears(t, other, news(tenantB, 2))

	leave()
	for range a { // what was under way, and then the end
	}
	announce(t, b, news(tenantA, 5))
	hears(t, also, news(tenantA, 5))
}

// The subject says tenant, type and what it is about, so that any NATS client
// can choose.
func TestLiveSubject(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	got, err := b.JetStream().Conn().SubscribeSync("live.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.JetStream().Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	announce(t, b, news(tenantA, 1))
	m, err := got.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "live.ten_a.message.delivered.msg_1" || string(m.Data) != `{"n":1}` || m.Header.Get("Sendlog-Event-Id") != "evt_1" {
		t.Errorf("%s %v %s", m.Subject, m.Header, m.Data)
	}
}

// Nothing that could be read as another tenant's subject is announced or
// listened to.
func TestLiveRefusesWildcards(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	for _, tenant := range []domain.TenantID{"", "*", ">", "ten_a.>", "ten_a.x"} {
		if _, err := b.Live().Subscribe(t.Context(), tenant); domain.KindOf(err) != domain.Bug {
			t.Errorf("subscribe to %q: %v", tenant, err)
		}
		if err := b.Live().Announce(t.Context(), []streams.Announcement{news(tenant, 1)}); domain.KindOf(err) != domain.Bug {
			t.Errorf("announce to %q: %v", tenant, err)
		}
	}
	for _, change := range []func(*streams.Announcement){
		func(a *streams.Announcement) { a.Type = "" },
		func(a *streams.Announcement) { a.Type = "message..delivered" },
		func(a *streams.Announcement) { a.Subject = "a.b" },
		func(a *streams.Announcement) { a.Subject = "+14155550100" },
	} {
		a := news(tenantA, 1)
		change(&a)
		if err := b.Live().Announce(t.Context(), []streams.Announcement{a}); domain.KindOf(err) != domain.Bug {
			t.Errorf("announce %+v: %v", a, err)
		}
	}
}

// drops counts listeners that were cut off.
type drops struct {
	domain.NoMeter
	n atomic.Int32
}

func (d *drops) Add(c domain.Counter, n int, _ ...string) {
	if c == domain.LiveDropped {
		d.n.Add(int32(n))
	}
}

// A listener that does not listen is cut off after its buffer; it is told by
// the end of its channel, counted, and nobody else notices.
func TestSlowListenerIsCutOff(t *testing.T) {
	t.Parallel()
	e := embed(t, t.TempDir(), streams.Interval)
	t.Cleanup(e.Shutdown)
	meter := &drops{}
	b, err := streams.Open(t.Context(), streams.Config{Embedded: e, Sealer: newVault(t), Log: quiet(), Meter: meter})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	slow, _ := subscribe(t, b, tenantA)
	quick, _ := subscribe(t, b, tenantA)
	const count = streams.LiveBuffer + 10
	for i := range count {
		announce(t, b, news(tenantA, i))
		hears(t, quick, news(tenantA, i))
	}
	heard := 0
	for range slow {
		heard++
	}
	if heard != streams.LiveBuffer || meter.n.Load() != 1 {
		t.Errorf("the slow one heard %d, want %d; %d were cut off", heard, streams.LiveBuffer, meter.n.Load())
	}
	announce(t, b, news(tenantA, count))
	hears(t, quick, news(tenantA, count))
}

// Who listens for one message hears that one only, of its own tenant.
func TestLiveAboutOneMessage(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	c, err := b.Live().About(t.Context(), tenantA, "msg_1")
	if err != nil {
		t.Fatal(err)
	}
	announce(t, b, news(tenantA, 11), news(tenantB, 1), news(tenantA, 2), news(tenantA, 1))
	hears(t, c, news(tenantA, 1))
	for _, id := range []domain.MessageID{"", "*", "a.b", ">"} {
		if _, err := b.Live().About(t.Context(), tenantA, id); domain.KindOf(err) != domain.Bug {
			t.Errorf("%q: %v", id, err)
		}
	}
}
