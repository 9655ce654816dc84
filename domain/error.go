package domain

import (
	"errors"
	"fmt"
	"time"
)

// ErrKind tells a program what to do about an error.
type ErrKind string

// The kinds of errors. api/problem.go gives each its HTTP status.
const (
	Invalid     ErrKind = "invalid"      // the request is wrong; repeating it will not help
	Malformed   ErrKind = "malformed"    // the bytes are not what they claim to be
	Unknown     ErrKind = "not_found"    // no such thing, or not yours
	Denied      ErrKind = "unauthorized" // no credential, or a wrong one
	Forbidden   ErrKind = "forbidden"    // the credential does not reach this far
	Taken       ErrKind = "conflict"     // somebody else has it
	KeyReused   ErrKind = "key_reused"   // same idempotency key, other request
	Unwelcome   ErrKind = "unwelcome"    // the person it is for has not opened the door for it
	TooLarge    ErrKind = "too_large"    // a named limit was passed
	Limited     ErrKind = "rate_limited" // too much, later is fine
	Unavailable ErrKind = "unavailable"  // a dependency did not answer in time; try again
	Bug         ErrKind = "bug"          // one of our own invariants broke
)

// Fault points at one wrong place of a request.
type Fault struct {
	Pointer string // JSON pointer (RFC 6901) into the request body, or "" for all of it
	Detail  string // a sentence for the person who wrote the request
}

// Error has three readers: Kind for the program, Message for the tenant, and
// the wrapped cause for the operator. Message never holds personal data or a
// secret, because it leaves the house.
type Error struct {
	Kind       ErrKind
	Message    string
	Faults     []Fault
	RetryAfter time.Duration // when trying again makes sense; 0 = not said
	Cause      error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.Cause)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of a kind; a %w argument becomes its cause and is not
// shown to the tenant.
func Errorf(kind ErrKind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// KindOf returns the kind of err, or [Bug] for an error nobody gave a kind.
func KindOf(err error) ErrKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Bug
}

// ErrConflict is returned by an append whose expectation was not met. Load the
// key, look at what is there, decide again.
var ErrConflict = errors.New("the key holds other events than expected")
