package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
)

// messageJSON is one message on the wire. What does not apply is null.
type messageJSON struct {
	ID             domain.MessageID     `json:"id"`
	Direction      string               `json:"direction"` // IN or OUT
	Type           string               `json:"type"`
	Status         string               `json:"status"`
	Text           *string              `json:"text"`
	Content        json.RawMessage      `json:"content"` // the message object in Meta's words
	To             *string              `json:"to"`      // the person, OUT only
	From           *string              `json:"from"`    // the person, IN only
	Customer       *personJSON          `json:"customer"`
	Wamid          *string              `json:"wamid"` // the first of wamids
	Wamids         []string             `json:"wamids"`
	PhoneNumberID  domain.NumberID      `json:"phone_number_id"`
	IdempotencyKey *string              `json:"idempotency_key"`
	Reference      *string              `json:"reference"`
	Priority       *string              `json:"priority"` // bulk, or null
	SendAt         *time.Time           `json:"send_at"`
	ExpiresAt      *time.Time           `json:"expires_at"`
	Attempts       int                  `json:"attempts"`
	Statuses       map[string]time.Time `json:"statuses"` // what Meta said, with its own time of each
	Error          *errorJSON           `json:"error"`
	DeadLetteredAt *time.Time           `json:"dead_lettered_at"` // null unless it is a dead letter now
	ReplyTo        *string              `json:"reply_to"`
	GroupID        *string              `json:"group_id"`
	CreatedAt      *time.Time           `json:"created_at"`
	UpdatedAt      *time.Time           `json:"updated_at"`
	Position       domain.Position      `json:"position"` // of the newest event in it
}

// personJSON is what a message tells about who the customer is.
type personJSON struct {
	WaID     *string `json:"wa_id"`
	UserID   *string `json:"user_id"`
	Name     *string `json:"name"`
	Username *string `json:"username"`
}

type errorJSON struct {
	Code    int     `json:"code"` // Meta's, or 0
	Reason  string  `json:"reason"`
	Details *string `json:"details"` // in Meta's own words
}

// entryJSON is one event of a timeline on the wire.
type entryJSON struct {
	ID       domain.EventID  `json:"id"`
	Position domain.Position `json:"position"`
	Type     string          `json:"type"`
	At       *time.Time      `json:"at"`      // recorded here
	SaidAt   *time.Time      `json:"said_at"` // Meta's time
	Actor    *string         `json:"actor"`
	Attempt  int             `json:"attempt,omitempty"`
	Status   *string         `json:"status"`
	Code     int             `json:"code,omitempty"`    // the provider's, of a refusal or failed status
	Reason   *string         `json:"reason"`            // words: why it was refused, tried again, or how it was accepted
	Details  string          `json:"details,omitempty"` // in Meta's own words, of a refusal or failed status
	Wamid    *string         `json:"wamid"`
	TraceID  string          `json:"fbtrace_id,omitempty"` // of a refusal: what Meta's support asks for
	Redrive  string          `json:"redrive,omitempty"`    // the id of the one it was a part of
}

func viewMessage(v message.View) messageJSON {
	out := messageJSON{
		ID: v.ID, Direction: v.Direction, Type: v.Type, Status: v.Status, Text: orNull(v.Text), Content: v.Content,
		Customer: viewPerson(v.Person), Wamids: orEmpty(v.Wamids), PhoneNumberID: v.Number,
		IdempotencyKey: orNull(v.IdempotencyKey), Attempts: v.Attempts, Statuses: map[string]time.Time{},
		Reference: orNull(v.Reference), Priority: orNull(v.Priority), SendAt: when(v.SendAt), ExpiresAt: when(v.ExpiresAt),
		Error: viewError(v), DeadLetteredAt: when(v.DeadAt), ReplyTo: orNull(v.ReplyTo), GroupID: orNull(v.GroupID),
		CreatedAt: when(v.CreatedAt), UpdatedAt: when(v.UpdatedAt), Position: v.LastPosition,
	}
	for status, at := range v.Statuses {
		out.Statuses[status] = at.UTC()
	}
	if len(v.Wamids) > 0 {
		out.Wamid = orNull(v.Wamids[0])
	}
	person := v.Person.Phone
	if person == "" {
		person = v.Person.UserID
	}
	switch {
	case v.Direction == message.In:
		out.From = orNull(person)
	case v.To != "":
		out.To = orNull(v.To)
	default: // sent from the phone app
		out.To = orNull(person)
	}
	return out
}

func viewPerson(p message.Person) *personJSON {
	if p.Phone == "" && p.UserID == "" && p.Name == "" && p.Username == "" {
		return nil
	}
	return &personJSON{WaID: orNull(p.Phone), UserID: orNull(p.UserID), Name: orNull(p.Name), Username: orNull(p.Username)}
}

func viewError(v message.View) *errorJSON {
	if v.ErrorCode == 0 && v.ErrorReason == "" && v.ErrorDetails == "" {
		return nil
	}
	return &errorJSON{Code: v.ErrorCode, Reason: v.ErrorReason, Details: orNull(v.ErrorDetails)}
}

func viewEntry(e message.Entry) entryJSON {
	return entryJSON{
		ID: e.EventID, Position: e.Position, Type: e.Type, At: when(e.At), SaidAt: when(e.SaidAt), Actor: orNull(e.Actor),
		Attempt: e.Attempt, Status: orNull(e.Status), Code: e.Code, Reason: orNull(e.Reason), Details: e.Details, Wamid: orNull(e.Wamid),
		TraceID: e.TraceID, Redrive: e.Batch,
	}
}

func (s *Server) messageRoutes() []route {
	return []route{
		{fiber.MethodGet, tenantPath + "/messages", toRead, s.listMessages},
		{fiber.MethodGet, tenantPath + "/messages/:messageId", toRead, s.showMessage},
		{fiber.MethodGet, tenantPath + "/messages/:messageId/timeline", toRead, s.showTimeline},
	}
}

// headlines are what a filter by status may say.
var headlines = []string{
	message.Queued, message.Unknown, message.Accepted, message.Sent, message.Delivered,
	message.Read, message.Played, message.Failed, message.Cancelled, message.Expired, message.Received,
}

func (s *Server) listMessages(ctx context.Context, r request) error {
	choose := func(q query) (fetch[message.View], error) {
		f, err := messageFilter(q)
		return func(ctx context.Context, p Page) (Part[message.View], error) {
			return s.ports.Messages.Messages(ctx, r.tenant.ID, f, p)
		}, err
	}
	return list(ctx, s, r, []string{"status", "direction", "customer"}, choose, viewMessage)
}

func messageFilter(q query) (MessageFilter, error) {
	var f MessageFilter
	if v, given := q["status"]; given {
		if !slices.Contains(headlines, v) {
			return f, invalid("status must be one of %s", strings.Join(headlines, ", "))
		}
		f.Status = v
	}
	if v, given := q["direction"]; given {
		f.Direction = strings.ToUpper(v)
		if f.Direction != message.In && f.Direction != message.Out {
			return f, invalid("direction must be %s or %s", message.In, message.Out)
		}
	}
	if v, given := q["customer"]; given {
		if !strings.HasPrefix(v, "cus_") || !domain.ValidToken(v) {
			return f, invalid("customer must be the id of a customer, which begins with cus_")
		}
		f.Customer = customer.ID(v)
	}
	return f, nil
}

func (s *Server) showMessage(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "messageId", "there is no such message")
	if err != nil {
		return err
	}
	v, err := s.ports.Messages.Message(ctx, r.tenant.ID, domain.MessageID(id))
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewMessage(v))
}

func (s *Server) showTimeline(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "messageId", "there is no such message")
	if err != nil {
		return err
	}
	entries, err := s.ports.Messages.Timeline(ctx, r.tenant.ID, domain.MessageID(id))
	if err != nil {
		return err
	}
	out := listJSON[entryJSON]{Data: make([]entryJSON, len(entries))}
	for i, e := range entries {
		out.Data[i] = viewEntry(e)
	}
	return answer(r.c, fiber.StatusOK, out)
}

// one prepares reading one thing: its id from the path, no query, and the
// wait for a position. An id that cannot be one is not found.
func (s *Server) one(ctx context.Context, r request, param, notFound string) (string, error) {
	if _, err := parseQuery(r.c); err != nil {
		return "", err
	}
	id := strings.Clone(r.c.Params(param))
	if !domain.ValidToken(id) {
		return "", domain.Errorf(domain.Unknown, nil, "%s", notFound)
	}
	return id, s.await(ctx, r.c)
}
