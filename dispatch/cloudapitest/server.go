package cloudapitest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Limits of the server.
const (
	// maxBody bounds a request (bytes): the largest legal message is far
	// smaller.
	maxBody = 256 << 10
	// maxLedger bounds the ledger (calls); the oldest quarter is forgotten
	// when it is full.
	maxLedger = 1 << 20
	// ledgerPage bounds one answer of GET /_pretend/ledger (calls).
	ledgerPage = 10_000
	// maxQueued bounds the webhooks that wait (POSTs). Beyond it sends are
	// refused with 130429 and inbound messages with 503.
	maxQueued = 100_000
	// maxPosts bounds the webhooks in flight at once, over all numbers.
	maxPosts = 32
	// postTimeout bounds one webhook POST; Meta does not publish its own
	// (section 4.3).
	postTimeout = 10 * time.Second
	// firstBackoff and lastBackoff bound the pause before a webhook is
	// repeated. Meta's last pauses are hours; ours are short, so that an app
	// that comes back is caught up with at once.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	// defaultRetryFor is how long a webhook is repeated: the shorter of the two
	// horizons Meta names (section 4.3).
	defaultRetryFor = 36 * time.Hour
	// headerTimeout bounds reading the headers of a request.
	headerTimeout = 10 * time.Second
)

// Config of a [Server]. The zero value takes any token, posts no webhooks and
// tells statuses at once.
type Config struct {
	// Authorize says whether a token may act for a number; nil = any token.
	Authorize func(token string, number domain.NumberID) bool
	// AppSecret signs webhooks; "" = unsigned.
	AppSecret string
	// WebhookURL gets the webhooks; "" = none are made.
	WebhookURL string
	// Backlog is a file that remembers webhooks which are still owed, for the
	// next start; "" = they are forgotten by Close.
	Backlog string
	// Account is the WABA id in webhooks; "" = that of the fixtures.
	Account string
	// Seed makes ids repeatable; 0 = other ids on every start, so that a
	// server that is started anew never reuses one.
	Seed int64
	// StatusDelay is how long after the call sent comes, and each status after
	// the one before.
	StatusDelay time.Duration
	// RetryFor is how long a webhook is repeated; 0 = 36 hours.
	RetryFor time.Duration
	Clock    domain.Clock // nil = the machine's
	Log      *slog.Logger // nil = silent; ids only, never phones, texts or tokens
}

// Tokens is a [Config].Authorize: each number has the one token.
func Tokens(byNumber map[domain.NumberID]string) func(string, domain.NumberID) bool {
	return func(token string, n domain.NumberID) bool {
		want, ok := byNumber[n]
		return ok && token == want
	}
}

// Server is a pretend Meta.
type Server struct {
	cfg      Config
	refusals map[int]refusal
	ledger   ledger
	hooks    *hooks

	mu      sync.Mutex
	script  func(Call) Fault
	seq     int    // calls taken
	ids     uint64 // ids made
	closing bool   // no request begins any more

	http     *http.Server
	listener net.Listener
	serving  sync.WaitGroup
	stop     context.CancelFunc
}

// New returns a server that is not listening yet. The error is of kind
// [domain.Invalid] when the configuration makes no sense.
func New(cfg Config) (*Server, error) {
	if cfg.WebhookURL != "" {
		if u, err := url.Parse(cfg.WebhookURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, domain.Errorf(domain.Invalid, nil, "the webhook URL must be an absolute http or https URL")
		}
	}
	if cfg.Authorize == nil {
		cfg.Authorize = func(string, domain.NumberID) bool { return true }
	}
	if cfg.Account == "" {
		cfg.Account = "102290129340398"
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Int64()
	}
	if cfg.RetryFor <= 0 {
		cfg.RetryFor = defaultRetryFor
	}
	if cfg.Clock == nil {
		cfg.Clock = domain.SystemClock{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	refusals, err := loadRefusals()
	if err != nil {
		return nil, domain.Errorf(domain.Bug, err, "the error answers cannot be read")
	}
	s := &Server{cfg: cfg, refusals: refusals, hooks: newHooks(cfg)}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)}
	return s, nil
}

// Script sets what goes wrong from now on; nil = nothing. It is called once
// for every call that is well formed and authorised, possibly from several
// goroutines at once.
func (s *Server) Script(script func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// Start listens on addr ("" = a free port of 127.0.0.1) and serves until
// Close. It may be called once.
func (s *Server) Start(addr string) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen as pretend Meta: %w", err)
	}
	owed, err := s.openBacklog()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	// The server outlives the caller of Start; Close ends this context.
	ctx, cancel := context.WithCancel(context.Background())
	s.listener, s.stop = l, cancel
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	s.hooks.start(ctx)
	for _, o := range owed {
		s.hooks.put(o.Number, []*delivery{{body: []byte(o.Body), due: o.Due, owed: o.ID, done: make(chan struct{})}}, func() {})
	}
	s.serving.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("pretend meta: stopped serving", "error", err)
		}
	})
	return nil
}

func (s *Server) openBacklog() (owed []owedLine, err error) {
	if s.cfg.Backlog == "" {
		return nil, nil
	}
	s.hooks.backlog, owed, err = openBacklog(s.cfg.Backlog)
	return owed, err
}

// URL returns the base URL, without a slash at the end. It is "" before Start.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Close stops listening, breaks calls in flight, forgets webhooks that wait
// (but for the backlog) and returns when every goroutine has ended.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.stop()
	err := s.http.Close()
	s.serving.Wait()
	s.hooks.wait()
	return err
}

// Settle waits until no webhook waits or is in flight, or until ctx ends.
func (s *Server) Settle(ctx context.Context) error { return s.hooks.settle(ctx) }

// GivenUp returns how many webhooks were dropped after RetryFor.
func (s *Server) GivenUp() int {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	return s.hooks.givenUp
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{version}/{number}/messages", s.send)
	mux.HandleFunc("GET /{version}/{number}", s.number)
	mux.HandleFunc("POST /_pretend/inbound", s.postInbound)
	mux.HandleFunc("GET /_pretend/ledger", s.getLedger)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.writeRefusal(w, r, problem{code: missingObject}, Fault{})
	})
	return s.counted(mux)
}

// counted lets Close wait for the requests that have begun.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.serving.Add(1)
		s.mu.Unlock()
		defer s.serving.Done()
		next.ServeHTTP(w, r)
	})
}

var versionShape = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)

// admit checks version, number and token, and answers the request itself when
// one is wrong.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (domain.NumberID, bool) {
	n := r.PathValue("number")
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !versionShape.MatchString(r.PathValue("version")):
		s.writeRefusal(w, r, problem{code: invalidParameter, details: "The path must begin with a version such as v25.0."}, Fault{})
	case !domain.ValidToken(n):
		s.writeRefusal(w, r, problem{code: missingObject}, Fault{})
	case !isBearer || token == "" || !s.cfg.Authorize(token, domain.NumberID(n)):
		s.writeRefusal(w, r, problem{code: invalidToken}, Fault{})
	default:
		return domain.NumberID(n), true
	}
	return "", false
}

// fresh returns 26 characters that this server never returned before and that
// follow from the seed.
func (s *Server) fresh(kind string) string {
	s.mu.Lock()
	s.ids++
	n := s.ids
	s.mu.Unlock()
	return domain.Digest("pretend", kind, fmt.Sprint(s.cfg.Seed), fmt.Sprint(n))
}
