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
	"sync/atomic"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Limits of the server.
const (
	// maxBody bounds a request (bytes): the largest legal message is far
	// smaller.
	maxBody = 256 << 10
	// maxLedger bounds the ledger (calls); when it is full, the oldest
	// ledgerChunk are forgotten.
	maxLedger   = 1 << 20
	ledgerChunk = 1 << 13
	// ledgerPage bounds one answer of GET /_pretend/ledger (calls).
	ledgerPage = 10_000
	// maxQueued bounds the updates that wait to be told. Beyond it sends are
	// refused with 130429 and inbound messages with 503.
	maxQueued = 500_000
	// lanes is how many webhooks are in flight at once, over all numbers;
	// batchLanes is the same when a POST takes many updates, fewer so that each
	// is fuller.
	lanes      = 32
	batchLanes = 8
	// batchTick is how long updates gather for one POST when it takes many.
	batchTick = 25 * time.Millisecond
	// maxPost bounds a webhook (bytes), as Meta says (section 4.3), and
	// maxBatch its updates.
	maxPost  = 3 << 20
	maxBatch = 1000
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
	// defaultDrip is the pause between two bytes of a slow answer.
	defaultDrip = time.Second
	// headerTimeout bounds reading the headers of a request.
	headerTimeout = 10 * time.Second
)

// Config of a [Server]. The zero value takes any token, posts no webhooks and
// tells statuses at once.
type Config struct {
	// Authorize says whether a token may act for a number; nil = any token.
	Authorize func(token string, number domain.NumberID) bool
	// Registered says whether anybody hears of what is written to a number;
	// nil = who knows, so it is written.
	Registered func(domain.NumberID) bool
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
	// Batch is how many updates one webhook may hold, at most 1000. 0 = 1: each
	// status comes alone. With more, what becomes due within 25 ms comes
	// together, of several numbers too, as Meta does under load.
	Batch int
	// Pace is how fast messages are taken; zero = as fast as they come.
	Pace Pace
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
	buckets  *buckets
	usage    string        // of the header x-business-use-case-usage
	ids      atomic.Uint64 // ids made

	mu      sync.Mutex
	script  func(Call) Fault
	seq     int             // calls taken
	closing bool            // no request begins any more
	release chan struct{}   // closed by Release
	revoked map[string]bool // tokens that open nothing any more
	health  map[domain.NumberID]Health

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
	cfg.Batch = min(max(cfg.Batch, 1), maxBatch)
	refusals, err := loadRefusals()
	if err != nil {
		return nil, domain.Errorf(domain.Bug, err, "the error answers cannot be read")
	}
	s := &Server{
		cfg: cfg, refusals: refusals, ledger: ledger{hold: maxLedger / ledgerChunk}, hooks: newHooks(cfg), buckets: newBuckets(cfg.Pace), usage: usageOf(cfg.Account),
		release: make(chan struct{}), revoked: map[string]bool{}, health: map[domain.NumberID]Health{},
	}
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

// Release lets go of every call that hangs: each is answered as if nothing had
// been wrong.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.release)
	s.release = make(chan struct{})
}

// Revoke makes a token worthless: whoever shows it gets 190, until they show
// another one.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[token] = true
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
		s.hooks.put([]*delivery{{number: o.Number, status: o.Status, value: []byte(o.Body), due: o.Due, owed: o.ID}}, func() {})
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
	mux.HandleFunc("POST /{version}/{number}/marketing_messages", s.sendMarketing)
	mux.HandleFunc("GET /{version}/{number}", s.number)
	mux.HandleFunc("POST /_pretend/inbound", s.postInbound)
	mux.HandleFunc("GET /_pretend/ledger", s.getLedger)
	mux.HandleFunc("POST /_pretend/faults", s.postFaults)
	mux.HandleFunc("POST /_pretend/release", s.postRelease)
	mux.HandleFunc("POST /_pretend/revoke", s.postRevoke)
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

// admit judges version, number and token of a request; nil = it may go on.
func (s *Server) admit(r *http.Request) (domain.NumberID, *problem) {
	n := r.PathValue("number")
	switch {
	case !versionShape.MatchString(r.PathValue("version")):
		return "", &problem{code: invalidParameter, details: "The path must begin with a version such as v25.0."}
	case !domain.ValidToken(n):
		return "", &problem{code: missingObject}
	}
	token := tokenOf(r)
	s.mu.Lock()
	revoked := s.revoked[token]
	s.mu.Unlock()
	switch {
	case revoked:
		return domain.NumberID(n), &problem{code: revokedToken}
	case token == "" || !s.cfg.Authorize(token, domain.NumberID(n)):
		return domain.NumberID(n), &problem{code: invalidToken}
	}
	return domain.NumberID(n), nil
}

func tokenOf(r *http.Request) string {
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer {
		return ""
	}
	return token
}

// fresh returns 24 letters and digits that this server never returned before
// and that follow from the seed.
func (s *Server) fresh() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	source := rand.NewPCG(uint64(s.cfg.Seed), s.ids.Add(1))
	var id [24]byte
	for i := 0; i < len(id); i += 12 { // twelve letters of five bits each
		bits := source.Uint64()
		for j := range 12 {
			id[i+j] = alphabet[bits&31]
			bits >>= 5
		}
	}
	return string(id[:])
}
