package cloudapitest

import (
	"encoding/json"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Call is one well-formed request to send, as a script of faults sees it.
type Call struct {
	Seq     int // of arrival, 1 for the first call
	Number  domain.NumberID
	To      string          // to or recipient, as the caller wrote it
	Type    string          // of the message: "text", "template" …
	Tenant  domain.TenantID // from the callback data, if it is of our form
	Message domain.MessageID
	Attempt int
	Opaque  string // the callback data itself, if it is not of our form
	Body    json.RawMessage
}

// Answer is how a call is answered. Each says whether the message was accepted
// behind the caller's back.
type Answer string

// The answers.
const (
	Normal           Answer = ""                  // accepted, and said so
	LoseAnswer       Answer = "lose_answer"       // accepted; the connection closes without an answer
	LoseRequest      Answer = "lose_request"      // not accepted; the connection closes without an answer
	Refuse           Answer = "refuse"            // not accepted; Fault.Code says why
	ServerError      Answer = "server_error"      // not accepted; 500 and "something went wrong"
	LateServerError  Answer = "late_server_error" // accepted; 500 and "something went wrong"
	HTML502          Answer = "html_502"          // not accepted; a gateway answers with a page
	LateHTML502      Answer = "late_html_502"     // accepted; a gateway answers with a page
	ResetMidBody     Answer = "reset_mid_body"    // accepted; a TCP reset in the middle of the answer
	SlowDrip         Answer = "slow_drip"         // accepted; the answer comes byte by byte, one each Fault.Every
	EmptyAnswer      Answer = "empty_answer"      // accepted; 200 with nothing in it
	UnreadableAnswer Answer = "unreadable_answer" // accepted; 200 with half a JSON object
	Hang             Answer = "hang"              // accepted; nothing is said until Server.Release
	RevokeToken      Answer = "revoke_token"      // not accepted; 190, now and ever after for this token
)

// Fault is what goes wrong with one call. The zero value is nothing.
type Fault struct {
	Answer     Answer
	Code       int           // of Refuse: error.code, answered with the fixture of that code where there is one; a fixture's subcode (33, 460) means that one
	HTTPStatus int           // of Refuse: another HTTP status than the fixture's, as gateways do; 0 = the fixture's
	RetryAfter time.Duration // of Refuse: a Retry-After header, in whole seconds
	Delay      time.Duration // before the answer, after the message was accepted or refused
	Every      time.Duration // of SlowDrip, between two bytes; 0 = a second

	Drop        bool          // no status is ever told
	Duplicate   bool          // each status is told twice
	Reorder     bool          // read before delivered before sent
	First       bool          // statuses are delivered before the call is answered
	FailWith    int           // the only status is failed, with this code
	StatusDelay time.Duration // more than Config.StatusDelay, before the first status
}

// accepts reports whether a message answered this way was accepted.
func (a Answer) accepts() bool {
	switch a {
	case LoseRequest, Refuse, ServerError, HTML502, RevokeToken:
		return false
	}
	return true
}
