package api

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// Header fields of our own, or that Fiber does not name.
const (
	headerIdempotencyKey = "Idempotency-Key"
	headerMinPosition    = "Sendlog-Min-Position"
	headerReplayed       = "Idempotency-Replayed"
	headerSignature      = "X-Hub-Signature-256"
	headerTrace          = "Traceparent"
)

// Labels of requests that reached no route: metrics and logs never show a
// path, which anybody may make up.
const (
	routeNone   = "none"   // no such path or method
	routeUnread = "unread" // not a request we could read
)

// local is a key of values that travel with one request inside this package.
type local string

const (
	localID    local = "request id"
	localRoute local = "route pattern"
)

// envelope is around every request that could be read: its id, the headers of
// every answer, the translation of errors and panics, and the count. It never
// returns an error.
func (s *Server) envelope(c *fiber.Ctx) error {
	start := s.cfg.Clock.Now()
	stamp(c)
	err := s.guard(c)
	route, ok := c.Locals(localRoute).(string)
	if !ok {
		route = routeNone
	}
	if err != nil {
		s.refuse(c, route, err)
	}
	s.count(c, route)
	s.cfg.Meter.Observe(domain.HTTPSeconds, s.cfg.Clock.Now().Sub(start).Seconds(), route)
	return nil
}

// guard runs the rest of the handlers. One that panics has written nothing.
func (s *Server) guard(c *fiber.Ctx) error {
	finished := false
	err := s.guarded(requestID(c), func() error {
		err := refuseEncoded(c)
		if err == nil {
			err = c.Next()
		}
		finished = true
		return err
	})
	if !finished {
		c.Response().Reset()
		stamp(c)
	}
	return err
}

// guarded runs f and makes an error of a panic. The value of a panic may quote
// a request, so only the runtime's own words are logged; the stack names
// functions and addresses.
func (s *Server) guarded(id string, f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		words := fmt.Sprintf("%T", p)
		if e, ok := p.(runtime.Error); ok {
			words = e.Error()
		}
		s.cfg.Log.Error("api: handler panicked", slog.String("request_id", id),
			slog.String("panic", words), slog.String("stack", string(debug.Stack())))
		err = domain.Errorf(domain.Bug, nil, "something broke on our side; whoever runs this server finds it by the request id")
	}()
	return f()
}

// refuseUnread answers what was no request we could read: too large, too
// slow, or not HTTP. The connection is closed after it.
func (s *Server) refuseUnread(c *fiber.Ctx, err error) {
	stamp(c)
	s.refuse(c, routeUnread, err)
	s.count(c, routeUnread)
	if conn, ok := c.Context().Conn().(*lingerConn); ok {
		conn.linger()
	}
}

func (s *Server) count(c *fiber.Ctx, route string) {
	s.cfg.Meter.Add(domain.HTTPRequests, 1, route, classes[c.Response().StatusCode()/100%len(classes)])
}

// classes are the labels of status codes, by their first digit.
var classes = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

// stamp sets what every answer carries.
func stamp(c *fiber.Ctx) {
	c.Set(fiber.HeaderXRequestID, requestID(c))
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
}

var (
	goodID    = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)
	onlyDigit = regexp.MustCompile(`^[0-9]+$`)
)

// requestID returns the id of a request: the client's, if it is well formed,
// or a fresh one. It goes to the log, so one that could be a phone number is
// not well formed.
func requestID(c *fiber.Ctx) string {
	if id, ok := c.Locals(localID).(string); ok {
		return id
	}
	id := c.Get(fiber.HeaderXRequestID)
	if id == "" || !goodID.MatchString(id) || onlyDigit.MatchString(id) {
		id = domain.NewUUID()
	}
	c.Locals(localID, id)
	return id
}

// refuseEncoded refuses a compressed body before anybody inflates it: 255 KB
// of gzip can be 256 MiB.
func refuseEncoded(c *fiber.Ctx) error {
	for _, v := range c.Request().Header.PeekAll(fiber.HeaderContentEncoding) {
		if enc := strings.TrimSpace(string(v)); enc != "" && !strings.EqualFold(enc, "identity") {
			return domain.Errorf(badMediaType, nil, "send the body as it is, without Content-Encoding")
		}
	}
	return nil
}
