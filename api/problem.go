package api

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// Kinds of errors that only HTTP has.
const (
	badMethod    domain.ErrKind = "method_not_allowed"
	badMediaType domain.ErrKind = "unsupported_media_type"
	headTooLarge domain.ErrKind = "header_too_large"
	tooSlow      domain.ErrKind = "request_timeout"
)

// kinds gives every kind of error its status and title. The kind itself ends
// the problem's type URI and is stable.
var kinds = map[domain.ErrKind]struct {
	status int
	title  string
}{
	badMediaType:       {fiber.StatusUnsupportedMediaType, "Unsupported media type"},
	badMethod:          {fiber.StatusMethodNotAllowed, "Method not allowed"},
	domain.Bug:         {fiber.StatusInternalServerError, "Internal error"},
	domain.Denied:      {fiber.StatusUnauthorized, "Not authenticated"},
	domain.Forbidden:   {fiber.StatusForbidden, "Not allowed"},
	domain.Invalid:     {fiber.StatusBadRequest, "Invalid request"},
	domain.KeyReused:   {fiber.StatusUnprocessableEntity, "Idempotency key reused"},
	domain.Limited:     {fiber.StatusTooManyRequests, "Too many requests"},
	domain.Malformed:   {fiber.StatusBadRequest, "Malformed request"},
	domain.Taken:       {fiber.StatusConflict, "Conflict"},
	domain.TooLarge:    {fiber.StatusRequestEntityTooLarge, "Too large"},
	domain.Unavailable: {fiber.StatusServiceUnavailable, "Unavailable"},
	domain.Unwelcome:   {fiber.StatusUnprocessableEntity, "Not welcome now"},
	domain.Unknown:     {fiber.StatusNotFound, "Not found"},
	headTooLarge:       {fiber.StatusRequestHeaderFieldsTooLarge, "Header too large"},
	tooSlow:            {fiber.StatusRequestTimeout, "Request timeout"},
}

// problem is RFC 9457 on the wire.
type problem struct {
	Type     string  `json:"type"`
	Title    string  `json:"title"`
	Status   int     `json:"status"`
	Detail   string  `json:"detail"`
	Instance string  `json:"instance"` // the request id
	Errors   []fault `json:"errors,omitempty"`
}

type fault struct {
	Pointer string `json:"pointer"` // RFC 6901, into the request body
	Detail  string `json:"detail"`
}

// refuse writes err as the answer, and to the log when it is ours to mend.
// route is a pattern.
func (s *Server) refuse(c *fiber.Ctx, route string, err error) {
	e, p := problemOf(c, err)
	s.tellOperator(route, e, p, err)
	switch e.Kind {
	case domain.Denied:
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="sendlog"`)
	case domain.Limited, domain.Unavailable:
		c.Set(fiber.HeaderRetryAfter, seconds(e.RetryAfter))
	}
	var words any = p
	contentType := "application/problem+json"
	if graphShape.MatchString(c.Path()) { // whose clients know Meta's errors
		words, contentType = graphProblem(e, p), fiber.MIMEApplicationJSON
	}
	body, err := domain.JSON(words) // as read by people: no letter of it is escaped for HTML
	if err != nil {
		body = []byte("{}") // strings and an int; marshalling them cannot fail
	}
	c.Status(p.Status)
	c.Set(fiber.HeaderContentType, contentType)
	c.Response().SetBodyRaw(body)
}

// tellOperator logs an error when it is ours to mend.
func (s *Server) tellOperator(route string, e *domain.Error, p problem, err error) {
	if p.Status < fiber.StatusInternalServerError {
		return
	}
	level := slog.LevelError
	if e.Kind == domain.Unavailable {
		level = slog.LevelWarn // it passes by itself
	}
	s.cfg.Log.Log(context.Background(), level, "api: request not served", slog.String("request_id", p.Instance), slog.String("route", route),
		slog.String("error_kind", string(e.Kind)), slog.Any("cause", err))
}

// problemOf puts an error into the words of this border.
func problemOf(c *fiber.Ctx, err error) (*domain.Error, problem) {
	e := kinded(c, err)
	kind, ok := kinds[e.Kind]
	if !ok {
		e = domain.Errorf(domain.Bug, err, "something broke on our side")
		kind = kinds[domain.Bug]
	}
	p := problem{
		Type: "/problems/" + string(e.Kind), Title: kind.title, Status: kind.status,
		Detail: e.Message, Instance: requestID(c),
	}
	for _, f := range e.Faults {
		p.Errors = append(p.Errors, fault(f))
	}
	return e, p
}

// kinded gives every error that may reach this border a kind and a sentence.
func kinded(c *fiber.Ctx, err error) *domain.Error {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		return ofFiber(c, e)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return domain.Errorf(domain.Unavailable, err, "this took too long; try again")
	}
	return domain.Errorf(domain.Bug, err, "something broke on our side; whoever runs this server finds it by the request id")
}

// ofFiber translates the errors of Fiber and fasthttp. Their own words are
// dropped: they quote the request.
func ofFiber(c *fiber.Ctx, e *fiber.Error) *domain.Error {
	switch e.Code {
	case fiber.StatusNotFound:
		return domain.Errorf(domain.Unknown, nil, "there is nothing at this path")
	case fiber.StatusMethodNotAllowed:
		allow := string(c.Response().Header.Peek(fiber.HeaderAllow))
		return domain.Errorf(badMethod, nil, "this path answers %s only", strings.ReplaceAll(allow, ", ", " and "))
	case fiber.StatusRequestEntityTooLarge:
		return domain.Errorf(domain.TooLarge, nil, "the body is larger than %d KiB (webhooks: %d KiB, batches: %d KiB)",
			domain.MaxRequestBody>>10, domain.MaxWebhookBody>>10, maxBatchBody>>10)
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return domain.Errorf(headTooLarge, nil, "the request line and header fields are larger than %d KiB together", maxHeader>>10)
	case fiber.StatusRequestTimeout, fiber.StatusBadGateway:
		return domain.Errorf(tooSlow, nil, "the request did not arrive completely in time")
	case fiber.StatusBadRequest:
		return domain.Errorf(domain.Malformed, nil, "this is not a well-formed HTTP/1.1 request")
	}
	return domain.Errorf(domain.Bug, e, "something broke on our side")
}

// seconds is a Retry-After value: whole seconds, 1 or more.
func seconds(d time.Duration) string {
	if d <= 0 {
		d = defaultRetryAfter
	}
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// invalid is the error of a request that has to be written differently.
func invalid(format string, args ...any) error {
	return domain.Errorf(domain.Invalid, nil, format, args...)
}
