package api

import "time"

// This room's limits, each with its unit and reason. Those shared with other
// rooms are in domain/limits.go.
const (
	// maxHeader bounds the request line and all header fields (bytes). A
	// sealed cursor and a traceparent fit many times over; more is 431.
	maxHeader = 16 << 10

	// maxConnections bounds the open connections of one listener. Past it a
	// connection is answered 503 and closed.
	maxConnections = 16 << 10

	// maxJSONDepth bounds the nesting of a JSON request (levels). A template
	// with a carousel needs 12 in a batch of messages, and the data it hands to
	// a flow is the tenant's own.
	maxJSONDepth = 24

	// maxChallenge bounds hub.challenge (bytes), which is sent back verbatim.
	maxChallenge = 4 << 10

	// maxNext bounds what a port may put into a cursor (bytes), so that the
	// cursor fits into a request line.
	maxNext = 2 << 10

	// maxStreamsPerTenant bounds the open event streams of one tenant. Each
	// costs a connection, three goroutines and a subscription.
	maxStreamsPerTenant = 32

	// maxBatch bounds the messages of one batch, and maxBatchBody their JSON
	// (bytes): 4 KiB each, when there are that many.
	maxBatch     = 1000
	maxBatchBody = 4 << 20

	// batchWorkers is how many messages of a batch are recorded at once, so
	// that they share fsyncs without one batch filling the log's queue.
	batchWorkers = 64

	// maxWait bounds how long an answer is held on request (Prefer: wait),
	// below handlerTimeout by what accepting may take.
	maxWait = 15 * time.Second

	// maxWaitsPerTenant bounds the answers of one tenant that are held at once.
	// Each costs a connection and a subscription with its buffer (90 KiB); past
	// it the preference is not heeded, and the answer comes at once.
	maxWaitsPerTenant = 256

	// maxRedriveIDs bounds the messages named in one redrive.
	maxRedriveIDs = 1000

	// maxRedriveRate bounds the pace of a redrive (messages per second), and
	// defaultRedriveRate is the pace of one that names none: a quarter of what
	// one number sends.
	maxRedriveRate     = 1000
	defaultRedriveRate = 20

	// handlerTimeout bounds everything a request waits for in other rooms,
	// except an event stream. It is above domain.AppendTimeout and the wait of
	// a read, and below what proxies wait by default (60 s).
	handlerTimeout = 20 * time.Second

	// checkTimeout bounds one check of /readyz, below the usual probe timeout
	// of an orchestrator plus its period.
	checkTimeout = 2 * time.Second

	// lingerTimeout and maxLinger bound how long, and how much, a refused
	// sender may go on sending before the connection is cut.
	lingerTimeout = time.Second
	maxLinger     = 8 << 20

	// defaultRetryAfter is what a 429 or 503 advises when the port that
	// refused did not say.
	defaultRetryAfter = 2 * time.Second

	// reconnectAfter is how long a browser waits before it opens a broken
	// event stream again.
	reconnectAfter = 2 * time.Second
)

// The defaults of Config.
const (
	defaultReadTimeout  = 10 * time.Second
	defaultWriteTimeout = 30 * time.Second
	defaultIdleTimeout  = 60 * time.Second
	defaultHeartbeat    = 15 * time.Second // below the idle timeout of common proxies (30 to 60 s)
	defaultReadWait     = 5 * time.Second
)
