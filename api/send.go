package api

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// receiptJSON answers a send.
type receiptJSON struct {
	ID       domain.MessageID `json:"id"`
	Status   string           `json:"status"`
	Position domain.Position  `json:"position"` // for Sendlog-Min-Position
	Warnings []warningJSON    `json:"warnings,omitempty"`
}

func viewReceipt(own tenant.View, wish message.Request, r message.Receipt) receiptJSON {
	out := receiptJSON{ID: r.ID, Status: message.Queued, Position: r.Position, Warnings: heldBack(own, wish)}
	for _, w := range r.Warnings {
		out.Warnings = append(out.Warnings, warningJSON{w, w.Words()})
	}
	return out
}

func (s *Server) sendRoutes() []route {
	return []route{
		{fiber.MethodPost, tenantPath + "/send", toSend, s.send},
		{fiber.MethodPost, tenantPath + batchPath, toSend, s.sendBatch},
		{fiber.MethodPost, tenantPath + "/messages/:messageId/cancel", toSend, s.cancel},
		{fiber.MethodPost, graphPath, toSend, s.graphSend},
	}
}

// send records a request to send. 202 means that it is in the log.
func (s *Server) send(ctx context.Context, r request) error {
	if err := requireJSON(r.c.Get(fiber.HeaderContentType)); err != nil {
		return err
	}
	body := bytes.Clone(r.c.BodyRaw())
	if err := wellFormed(body); err != nil {
		return err
	}
	wish, err := wishOf(r, body)
	if err != nil {
		return err
	}
	if wish.IdempotencyKey, err = s.idempotencyKey(r.c, wish.IdempotencyKey); err != nil {
		return err
	}
	receipt, err := s.acceptOne(ctx, r, wish)
	if err != nil {
		return err
	}
	r.c.Set(fiber.HeaderLocation, "/tenants/"+string(r.tenant.ID)+"/messages/"+string(receipt.ID))
	out := viewReceipt(r.tenant, wish, receipt)
	if wait := preferredWait(r.c); wait > 0 {
		return s.answerSettled(ctx, r, out, dueAt(wish), wait)
	}
	return answer(r.c, fiber.StatusAccepted, out)
}

// dueAt is when an accepted wish is to be sent; zero: at once.
func dueAt(wish message.Request) (due time.Time) {
	_ = due.UnmarshalText([]byte(wish.SendAt)) // it was read before; of none it stays zero
	return due
}

// wishOf is requestOf for the tenant, and from a number, of a request.
func wishOf(r request, body []byte) (message.Request, error) {
	wish, from, err := requestOf(body)
	if err != nil {
		return wish, err
	}
	wish.Tenant, wish.Actor, wish.Trace = r.tenant.ID, r.actor, traceparent(r.c)
	return wish, sendFrom(&wish, r, from)
}

// besideMessage are the members that requestOf reads beside Meta's.
var besideMessage = []string{"to", "recipient", "recipient_type", "from", "idempotency_key", "send_at", "expires_at", "ttl", "priority",
	"reference", "on_unknown", "unknown_wait", "enforce_window", "validate"}

// requestOf reads one request to send from a JSON object that is well formed:
// what is ours to know, and beside it Meta's own message object, whose rules
// [message.Accepter] knows. The short form is a text that is a string.
// Pointers of faults begin at the object.
func requestOf(body []byte) (wish message.Request, from domain.NumberID, err error) {
	var key *string
	validate := true
	rest, faults, err := take(body,
		text("from", (*string)(&from)), maybeText("idempotency_key", &key), flag("validate", &validate),
		text("to", &wish.To), text("recipient", &wish.Recipient), text("recipient_type", &wish.RecipientType),
		text("priority", &wish.Priority), text("reference", &wish.Reference),
		text("send_at", &wish.SendAt), text("expires_at", &wish.ExpiresAt), maybe("ttl", &wish.TTL),
		text("on_unknown", &wish.OnUnknown), maybe("unknown_wait", &wish.UnknownWait), flag("enforce_window", &wish.EnforceWindow),
	)
	if err != nil {
		return message.Request{}, "", err
	}
	if words, there := rest["text"]; there && words[0] != '{' {
		if json.Unmarshal(words, &wish.Text) != nil {
			faults = append(faults, domain.Fault{Pointer: "/text", Detail: "must be a string, or an object with a body"})
		}
		delete(rest, "text")
	}
	if len(faults) == 0 && key != nil && *key == "" {
		// A caller whose variable is empty believes in a key that nobody has.
		faults = append(faults, domain.Fault{Pointer: "/idempotency_key", Detail: "must not be empty; leave it out to send without a key"})
	}
	if len(faults) > 0 {
		return message.Request{}, "", misshapen(faults)
	}
	if key != nil {
		wish.IdempotencyKey = *key
	}
	wish.Unvalidated, wish.Beside = !validate, besideMessage
	if len(rest) > 0 {
		if wish.Content, err = json.Marshal(rest); err != nil {
			return message.Request{}, "", domain.Errorf(domain.Bug, err, "something broke on our side")
		}
	}
	return wish, from, nil
}

// sendFrom finds the number a request leaves from: the one it names, or the
// only one. Among several it is left to the log, which may know the request.
func sendFrom(wish *message.Request, r request, from domain.NumberID) error {
	if from != "" {
		n, ok := r.tenant.Number(from)
		if !ok {
			return &domain.Error{Kind: domain.Invalid, Message: "the message cannot be sent as it is",
				Faults: []domain.Fault{{Pointer: "/from", Detail: "is not the phone number id of a number of this tenant"}}}
		}
		if r.who.Test && !n.Simulated {
			return domain.Errorf(domain.Forbidden, nil, "a test key sends from simulated numbers only")
		}
		wish.Number, wish.Simulated = n.ID, n.Simulated
		return nil
	}
	for _, n := range r.tenant.Numbers {
		if n.Simulated || !r.who.Test {
			wish.Among = append(wish.Among, message.Sender{Number: n.ID, Simulated: n.Simulated})
		}
	}
	switch len(wish.Among) {
	case 0:
		return domain.Errorf(domain.Forbidden, nil, "a test key sends from simulated numbers only")
	case 1:
		wish.Number, wish.Simulated = wish.Among[0].Number, wish.Among[0].Simulated
	}
	return nil
}

// idempotencyKey returns the key of a request, from its body, its header, or
// both when they agree; empty when it has none and need not have one.
func (s *Server) idempotencyKey(c *fiber.Ctx, inBody string) (string, error) {
	shown := c.Request().Header.PeekAll(headerIdempotencyKey)
	if len(shown) > 1 {
		return "", invalid("send the header %s once", headerIdempotencyKey)
	}
	if len(shown) == 0 {
		return inBody, s.requireKey(inBody)
	}
	inHeader := string(shown[0])
	if inHeader == "" {
		return "", invalid("the header %s is empty; give it a key, or leave it out to send without one", headerIdempotencyKey)
	}
	if inBody != "" && inBody != inHeader {
		return "", &domain.Error{Kind: domain.Invalid, Message: "the request has two different idempotency keys",
			Faults: []domain.Fault{{Pointer: "/idempotency_key", Detail: "differs from the header " + headerIdempotencyKey + "; send one of them, or the same key in both"}}}
	}
	return inHeader, nil
}

// requireKey refuses a request without an idempotency key where they are
// required.
func (s *Server) requireKey(key string) error {
	if key != "" || !s.cfg.RequireKey {
		return nil
	}
	return &domain.Error{Kind: domain.Invalid, Message: "requests need an idempotency key here, so that a repeat sends nothing twice",
		Faults: []domain.Fault{{Pointer: "/idempotency_key", Detail: "is required: here or, for a single message, as the header " + headerIdempotencyKey}}}
}

var goodTrace = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent returns the W3C trace context of a request, if it is well formed.
func traceparent(c *fiber.Ctx) string {
	if v := c.Get(headerTrace); goodTrace.MatchString(v) {
		return strings.Clone(v)
	}
	return ""
}
