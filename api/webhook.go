package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

func (s *Server) webhookRoutes() []route {
	return []route{
		{fiber.MethodGet, webhookPath, signed, s.subscribe},
		{fiber.MethodPost, webhookPath, signed, s.receive},
	}
}

// subscribe answers Meta's question whether this address is ours: the
// challenge, exactly, to whoever knows the verify token.
func (s *Server) subscribe(_ context.Context, r request) error {
	if s.cfg.VerifyToken == "" {
		// Once: anybody can ask, and a log must not be anybody's to fill.
		s.noToken.Do(func() { s.cfg.Log.Warn("api: webhook subscription refused: VERIFY_TOKEN is not set") })
		return domain.Errorf(domain.Forbidden, nil, "this server does not take subscriptions")
	}
	q, err := url.ParseQuery(string(r.c.Request().URI().QueryString()))
	if err != nil {
		return invalid("the query of the URL is not well formed")
	}
	shown, want := sha256.Sum256([]byte(q.Get("hub.verify_token"))), sha256.Sum256([]byte(s.cfg.VerifyToken))
	if q.Get("hub.mode") != "subscribe" || subtle.ConstantTimeCompare(shown[:], want[:]) != 1 {
		return domain.Errorf(domain.Forbidden, nil, "hub.mode must be subscribe, and hub.verify_token the configured one")
	}
	challenge := q.Get("hub.challenge")
	if len(challenge) > maxChallenge {
		return domain.Errorf(domain.TooLarge, nil, "hub.challenge is longer than %d bytes", maxChallenge)
	}
	r.c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	return r.c.SendString(challenge)
}

// receive takes one POST of Meta. 200 means that every change in it is
// recorded or in quarantine; anything else makes Meta send it again.
//
// The content type is not looked at: the signature is over the bytes, and a
// lost webhook is worse than a mislabelled one.
func (s *Server) receive(ctx context.Context, r request) error {
	body := bytes.Clone(r.c.BodyRaw())
	if !s.ports.Verifier.Verify(body, signature(r.c)) {
		s.cfg.Meter.Add(domain.WebhooksReceived, 1, "unsigned")
		return domain.Errorf(domain.Denied, nil, "%s is missing or not the signature of this body", headerSignature)
	}
	if err := s.ports.Inbox.Receive(ctx, body); err != nil {
		s.cfg.Meter.Add(domain.WebhooksReceived, 1, string(domain.KindOf(err)))
		return err
	}
	s.cfg.Meter.Add(domain.WebhooksReceived, 1, "ok")
	r.c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	return r.c.SendString("ok")
}

// signature returns the header, or "" when there is not exactly one.
func signature(c *fiber.Ctx) string {
	shown := c.Request().Header.PeekAll(headerSignature)
	if len(shown) != 1 {
		return ""
	}
	return string(shown[0])
}
