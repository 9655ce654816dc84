package api

import (
	"bytes"
	"context"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// bottomless is a log that takes everything and keeps nothing.
type bottomless struct{ at domain.Position }

func (b *bottomless) Append(context.Context, domain.Event, domain.Expect) (domain.Position, error) {
	b.at++
	return b.at, nil
}

func (b *bottomless) Load(context.Context, domain.Key) ([]domain.Event, error) { return nil, nil }

// BenchmarkAccept is what a request to send costs from its parsed header to its
// answer, without the log: all that this room and the rules of a message cost.
func BenchmarkAccept(b *testing.B) {
	h := newHouse()
	welcome, err := h.registry.Register(b.Context(), tenant.Registration{Name: "Bench", Number: "111111111111111", WABA: "waba", AccessToken: canaryToken})
	if err != nil {
		b.Fatal(err)
	}
	s := New(Config{CursorKey: bytes.Repeat([]byte{7}, CursorKeySize), Ports: Ports{
		Audit: h, Customers: h, DeadLetters: h, Directory: h.registry.Directory, Doctor: h, Feed: h, Freshness: h, Governor: h.registry,
		Inbox: h, Issuer: h, Messages: h, Notices: h, Quarantine: h, Rebuilds: h, Redrives: h, Registrar: h, Rotation: h,
		Sender:   &message.Accepter{Log: &bottomless{}, Clock: domain.SystemClock{}, Meter: domain.NoMeter{}},
		Throttle: &tenant.Throttle{Clock: domain.SystemClock{}, Ledger: h.ledger, Shares: func() int { return 1 }}, Verifier: h,
	}})
	_ = s.Public().app.Handler() // builds the routes, which serving would
	handle := s.Public().app.Server().Handler
	for name, body := range map[string]string{
		"short": `{"to":"+14155550100","text":"Hello 17","idempotency_key":"load-17"}`,
		"template": `{"to":"+14155550100","type":"template","template":{"name":"order_update","language":{"code":"en_US"},"components":[
			{"type":"body","parameters":[{"type":"text","text":"Ada"},{"type":"text","text":"17"}]}]},"idempotency_key":"load-17"}`,
	} {
		b.Run(name, func(b *testing.B) {
			var c fasthttp.RequestCtx
			c.Init(&fasthttp.Request{}, nil, nil)
			b.ReportAllocs()
			for b.Loop() {
				c.Request.Reset() // as between two requests of a connection
				c.Response.Reset()
				c.Request.Header.SetMethod(fasthttp.MethodPost)
				c.Request.Header.SetContentType("application/json")
				c.Request.SetRequestURI("/tenants/" + string(welcome.Tenant.ID) + "/send")
				c.Request.SetBodyString(body)
				if handle(&c); c.Response.StatusCode() != fasthttp.StatusAccepted {
					b.Fatalf("%d %s", c.Response.StatusCode(), c.Response.Body())
				}
			}
		})
	}
}
