package cloudapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// MetaURL is where the real Cloud API lives (section 1).
const MetaURL = "https://graph.facebook.com"

// Limits of one call. Meta publishes none; section 3 gives the reasons.
const (
	// connectTimeout bounds finding, reaching and greeting the host: nothing
	// was written yet, so giving up early costs nothing.
	connectTimeout = 5 * time.Second
	// CallTimeout bounds the whole call. Media by link and heavy templates
	// answer in seconds, and giving up leaves an unknown outcome: Meta's own
	// samples wait as long.
	CallTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer (bytes); real ones are below
	// 4 KB (section 2.7).
	maxAnswer = 64 << 10

	// maxDetails bounds what is kept of Meta's own words for an error (bytes);
	// real ones are a sentence or two.
	maxDetails = 1 << 10
	// idlePerHost is how many idle connections are kept: all calls go to one
	// host, and a burst of 16 lanes must not pay a handshake each.
	idlePerHost = 512
	// idleTimeout ends idle connections before middleboxes forget them.
	idleTimeout = 90 * time.Second
	// maxWait bounds any wait we pass on, whoever asked for it.
	maxWait = 72 * time.Hour
)

// Config of a [Client].
type Config struct {
	BaseURL string       // required: scheme and host, such as [MetaURL]
	Version string       // required: version of the Graph API, such as "v25.0"
	HTTP    *http.Client // optional; redirects are never followed, whatever it says
}

// Client calls the Cloud API. It is safe for concurrent use.
type Client struct {
	base    string // BaseURL and version, without a slash at the end
	http    *http.Client
	timeout time.Duration
}

var versionShape = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)

// New returns a client. It touches no network. The error is of kind
// [domain.Invalid] when the configuration makes no sense.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, domain.Errorf(domain.Invalid, nil, "the base URL of the Cloud API must be a scheme and a host, such as %s", MetaURL)
	}
	if !versionShape.MatchString(c.Version) {
		return nil, domain.Errorf(domain.Invalid, nil, "the version of the Cloud API must look like v25.0")
	}
	h := http.Client{Transport: newTransport()}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: strings.TrimRight(c.BaseURL, "/") + "/" + c.Version, http: &h, timeout: CallTimeout}, nil
}

// newTransport takes no proxy from the environment: the Authorization header
// goes to Meta or nowhere.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2 * idlePerHost,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true, // answers are small, and maxAnswer then bounds what travelled
		// A silently dead HTTP/2 connection is found by a ping, not by every
		// call on it running into its timeout.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: connectTimeout},
	}
}

// Close drops idle connections. Calls in flight are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call is one attempt to send one message.
type Call struct {
	Number  domain.NumberID
	Token   string          // Meta's access token: never logged, never stored here
	To      string          // "+" and digits, a BSUID (section 6), or a group; empty when Content marks a message as read
	Group   bool            // To is a group (section 2.6)
	Content json.RawMessage // Meta's message object: {"type":"text","text":{…}}, or {"status":"read",…}
	Message domain.MessageID
	Tenant  domain.TenantID
	Attempt int // 1 or more
}

// String names the call by its ids only, so that a Call in a log line or an
// error shows neither the token nor the person.
func (c Call) String() string {
	return fmt.Sprintf("call(%s %s #%d)", c.Number, c.Message, c.Attempt)
}

// GoString implements fmt.GoStringer for the same reason.
func (c Call) GoString() string { return c.String() }

// LogValue implements slog.LogValuer for the same reason.
func (c Call) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Send makes the call, once, and says what is known afterwards. It returns
// within 30 seconds, or when ctx ends; ending ctx after the request was
// written leaves the outcome unknown.
func (c *Client) Send(ctx context.Context, call Call) Outcome {
	what, err := newRequest(call)
	if err != nil {
		return refused(unusable, call)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if ctx.Err() != nil {
		return refused(unreachable, call)
	}
	var wire wire
	req, err := http.NewRequestWithContext(wire.trace(ctx), http.MethodPost,
		c.base+"/"+string(call.Number)+"/"+what.edge, bytes.NewReader(what.body))
	if err != nil {
		return refused(unusable, call)
	}
	req.Header.Set("Authorization", "Bearer "+call.Token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")

	res, err := c.http.Do(req)
	if err != nil {
		if wire.untouched() {
			return refused(unreachable, call)
		}
		return unknown(lossOf(ctx, err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	// A complete JSON answer counts even if the connection broke right after
	// it: what it says is true. Anything less proves nothing.
	if err != nil && !json.Valid(answer) {
		return unknown(lossOf(ctx, err))
	}
	return conclude(res.StatusCode, res.Header, answer, call, what.read)
}

// wire watches whether a request may have left the house.
//
// The transport asks for a connection, gets one, and only then writes. It asks
// again by itself only when it knows that nothing was processed, because a
// POST is not repeatable, so the newest question counts. A transport that
// never reports asking proves nothing.
type wire struct{ asked, got atomic.Bool }

func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true); w.got.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { w.got.Store(true) },
	})
}

// untouched reports that no byte of the request was written: looking up,
// reaching or greeting the host failed.
func (w *wire) untouched() bool { return w.asked.Load() && !w.got.Load() }

// lossOf says in closed words how an answer was lost; the error's own text
// holds addresses.
func lossOf(ctx context.Context, err error) string {
	var netErr net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	}
	return "connection lost"
}
