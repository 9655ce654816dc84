package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// verdict is what an answer of the servers means for the append, or the
// question, behind it.
type verdict uint8

const (
	stored   verdict = iota // it is in the log
	conflict                // the expectation was not met, or our own earlier try was stored: look
	askAgain                // nothing can be said yet: repeat the identical publish
	refused                 // it is not in the log and repeating will not help now
	tooLarge                // it will never fit
)

// answers is the one table of what JetStream answers. Learnt from
// nats-server 2.15.2, on one node and on three.
var answers = map[jetstream.ErrorCode]verdict{
	10071: conflict, // wrong last sequence: the expectation, or our own first try whose ack was lost (one node)
	10164: askAgain, // wrong last sequence, constant: another publish to the subject is in flight (three nodes)
	10158: askAgain, // duplicate id in process: our own first try is in flight (three nodes)
	10167: askAgain, // too many requests: the ingest queue is full
	10005: askAgain, // no suitable peers: a node is joining or away (making a stream)
	10008: askAgain, // JetStream temporarily unavailable: an election
	10004: askAgain, // incomplete results: a node did not answer (a list)
	10009: askAgain, // cannot handle request: the leader has just changed
	10118: askAgain, // stream offline: an election or a restart
	10023: refused,  // insufficient resources
	10047: refused,  // storage resources exceeded
	10077: refused,  // store failed: disk full, MaxBytes reached, read-only
	10122: refused,  // stream limits
	10054: tooLarge, // message exceeds maximum
}

// judge reads the answer to one publish, or one question.
func judge(err error) verdict {
	if err == nil {
		return stored
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		if v, known := answers[api.ErrorCode]; known {
			return v
		}
		return refused
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge
	case errors.Is(err, context.Canceled), errors.Is(err, nats.ErrConnectionClosed):
		return refused // by the caller, who has gone
	}
	// Time-outs, lost connections, no responders: the publish may have landed.
	return askAgain
}

// Retries of a publish whose answer said nothing.
const (
	retryFirst = 5 * time.Millisecond
	retryMost  = 250 * time.Millisecond
	// tryTimeout bounds one publish, and the first try of a question, so that a
	// lost answer is asked for again within the deadline of the caller.
	tryTimeout = 2 * time.Second
)

// unavailable is the answer for everything the log could not settle in time.
func unavailable(cause error) error {
	return &domain.Error{Kind: domain.Unavailable, Cause: cause, RetryAfter: time.Second,
		Message: "the log did not confirm the request in time; nothing was promised, try again with the same idempotency key"}
}

// unreadable is the answer of a log that could not be read just now.
func unreadable(cause error) error {
	return &domain.Error{Kind: domain.Unavailable, Cause: cause, RetryAfter: time.Second,
		Message: "the log cannot be read at the moment; try again"}
}

// lost reports a gap. It is of kind [domain.Bug]: a reader must not go on.
func lost(stream string, last, next uint64) error {
	return domain.Errorf(domain.Bug, fmt.Errorf("%w: in %s %d follows %d", ErrGap, stream, next, last),
		"the log has lost events")
}

// ErrGap says that the log misses an event in its middle. EVENTS never deletes
// there, so it is data loss: the reader stops. Restore the log from a replica
// or a backup.
var ErrGap = errors.New("the log has a gap")
