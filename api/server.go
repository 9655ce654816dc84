package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/sendlog/sendlog/domain"
)

// CursorKeySize is the length of Config.CursorKey (bytes).
const CursorKeySize = 32

// Config is read by [New] and not changed afterwards. CursorKey and Ports are
// required; everything else has a default.
type Config struct {
	// AdminKey is the operator's credential. Empty is the open mode: nothing
	// asks for a credential, but one that is shown must be right. Only a
	// listener on loopback may be open; cmd/sendlog sees to it.
	AdminKey string

	Clock domain.Clock // for durations; default the machine's

	// CursorKey seals cursors. Every process behind one address, and the next
	// start of this one, should have the same: otherwise a client in the
	// middle of a list has to begin again.
	CursorKey []byte

	Heartbeat   time.Duration // between comments on a quiet event stream; default 15 s
	IdleTimeout time.Duration // of a connection between requests; default 60 s
	Log         *slog.Logger  // default: nowhere
	Meter       domain.Meter  // default: counts nothing
	Ports       Ports

	ReadTimeout time.Duration // for a whole request to arrive; default 10 s
	ReadWait    time.Duration // how long a read waits for Sendlog-Min-Position; default 5 s

	// RequireKey refuses requests to send without an idempotency key.
	RequireKey bool

	// VerifyToken is what Meta shows when it subscribes. Empty refuses every
	// subscription.
	VerifyToken string

	// WriteTimeout is how long an answer, or one event of a stream, may take
	// to leave; default 30 s.
	WriteTimeout time.Duration
}

// Server is both listeners. All methods are safe for concurrent use.
type Server struct {
	cfg   Config
	ports Ports // of cfg

	admin     *Door
	public    *Door
	adminHash [sha256.Size]byte // of AdminKey
	cursors   cursors
	noToken   sync.Once // says once that VERIFY_TOKEN is missing
	streams   places    // open event streams
	waits     places    // answers that are held

	// requests ends when draining took too long, streaming as soon as it
	// begins.
	requests       context.Context
	streaming      context.Context
	cancelRequests context.CancelFunc
	cancelStreams  context.CancelFunc
}

// New builds a server. It starts nothing. It panics when a required part of
// the configuration is missing, which is a bug of the caller.
func New(cfg Config) *Server {
	cfg.fill()
	cfg.mustBeComplete()
	s := &Server{
		cfg:       cfg,
		ports:     cfg.Ports,
		adminHash: sha256.Sum256([]byte(cfg.AdminKey)),
		cursors:   newCursors(cfg.CursorKey),
		streams:   newPlaces(maxStreamsPerTenant),
		waits:     newPlaces(maxWaitsPerTenant),
	}
	s.requests, s.cancelRequests = context.WithCancel(context.Background()) // the root of this server's work; Shutdown ends it
	s.streaming, s.cancelStreams = context.WithCancel(s.requests)
	s.public = &Door{app: s.app(false)}
	s.admin = &Door{app: s.app(true)}
	return s
}

func (c *Config) fill() {
	fill(&c.Heartbeat, defaultHeartbeat)
	fill(&c.IdleTimeout, defaultIdleTimeout)
	fill(&c.ReadTimeout, defaultReadTimeout)
	fill(&c.ReadWait, defaultReadWait)
	fill(&c.WriteTimeout, defaultWriteTimeout)
	if c.Clock == nil {
		c.Clock = domain.SystemClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = domain.NoMeter{}
	}
}

func fill(d *time.Duration, fallback time.Duration) {
	if *d <= 0 {
		*d = fallback
	}
}

func (c *Config) mustBeComplete() {
	if len(c.CursorKey) != CursorKeySize {
		panic("api: Config.CursorKey must have 32 bytes")
	}
	p := c.Ports
	for name, missing := range map[string]bool{
		"Audit": p.Audit == nil, "Customers": p.Customers == nil, "DeadLetters": p.DeadLetters == nil, "Directory": p.Directory == nil, "Doctor": p.Doctor == nil,
		"Feed": p.Feed == nil, "Freshness": p.Freshness == nil, "Governor": p.Governor == nil, "Inbox": p.Inbox == nil,
		"Issuer": p.Issuer == nil, "Messages": p.Messages == nil,
		"Notices": p.Notices == nil, "Quarantine": p.Quarantine == nil, "Rebuilds": p.Rebuilds == nil, "Redrives": p.Redrives == nil,
		"Registrar": p.Registrar == nil, "Rotation": p.Rotation == nil, "Sender": p.Sender == nil,
		"Throttle": p.Throttle == nil, "Verifier": p.Verifier == nil,
	} {
		if missing {
			panic("api: Config.Ports." + name + " is missing")
		}
	}
}

// Public is the listener for tenants and Meta.
func (s *Server) Public() *Door { return s.public }

// Admin is the listener for operators.
func (s *Server) Admin() *Door { return s.admin }

// Shutdown stops listening, ends every event stream at once, and returns when
// all requests are answered. When ctx ends first, their contexts are
// cancelled and the context's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancelStreams()
	defer s.cancelRequests()
	errs := make(chan error, 1)
	go func() { errs <- s.admin.shutdown(ctx) }()
	return errors.Join(s.public.shutdown(ctx), <-errs)
}

// app builds one listener's Fiber application. The settings are those of
// reference security B.4; each that is not there says why.
func (s *Server) app(admin bool) *fiber.App {
	app := fiber.New(fiber.Config{
		BodyLimit:                    domain.MaxRequestBody,
		CaseSensitive:                true,
		Concurrency:                  maxConnections,
		DisablePreParseMultipartForm: true, // otherwise a form is parsed, and spilled to disk, before anybody asked
		DisableStartupMessage:        true,
		EnableTrustedProxyCheck:      true, // with no trusted proxy: no forwarded header is believed
		ErrorHandler:                 func(c *fiber.Ctx, err error) error { s.refuseUnread(c, err); return nil },
		IdleTimeout:                  s.cfg.IdleTimeout,
		Immutable:                    true,
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  s.cfg.ReadTimeout,
		StrictRouting:                true,
		WriteTimeout:                 s.cfg.WriteTimeout,
	})
	app.Use(s.envelope)
	for _, rt := range s.routes(admin) {
		if rt.method == fiber.MethodGet {
			app.Head(rt.path, s.serve(rt, admin))
		}
		app.Add(rt.method, rt.path, s.serve(rt, admin))
	}

	server := app.Server()
	server.CloseOnShutdown = true
	server.HeaderReceived = bodyLimit
	server.Handler = s.strict(app)
	return app
}

// bodyLimit lets only webhooks and batches be larger than a JSON request.
func bodyLimit(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	switch {
	case bytes.HasPrefix(path, []byte(webhookPath)):
		return fasthttp.RequestConfig{MaxRequestBodySize: domain.MaxWebhookBody}
	case bytes.HasSuffix(path, []byte(batchPath)):
		return fasthttp.RequestConfig{MaxRequestBodySize: maxBatchBody}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: domain.MaxRequestBody}
}

// strict stands between fasthttp and Fiber and mends what neither lets us
// configure.
//
// A header line that ends in a bare LF is refused and the connection closed:
// fasthttp 1.78 takes such a line, even the empty one that ends a request,
// when a CRLF CRLF follows in its buffer, so where a request ends would depend
// on how its bytes arrived. The request line itself cannot be checked; its end
// moves no boundary.
//
// A method Fiber has never heard of, which it would answer with a 400 of its
// own, becomes one that no route has: the answer is 404, or 405 with the
// methods that would do.
func (s *Server) strict(app *fiber.App) fasthttp.RequestHandler {
	next := app.Server().Handler
	return func(fc *fasthttp.RequestCtx) {
		if bareLF(fc.Request.Header.RawHeaders()) {
			fc.SetConnectionClose()
			c := app.AcquireCtx(fc)
			defer app.ReleaseCtx(c)
			s.refuseUnread(c, fiber.ErrBadRequest)
			return
		}
		switch string(fc.Method()) {
		case fiber.MethodGet, fiber.MethodHead, fiber.MethodPost, fiber.MethodPut, fiber.MethodDelete:
		default:
			fc.Request.Header.SetMethod(fiber.MethodTrace)
		}
		next(fc)
	}
}

// bareLF reports whether a line of a header block ends without CR.
func bareLF(block []byte) bool {
	return bytes.Count(block, []byte("\n")) != bytes.Count(block, []byte("\r\n"))
}
