package cloudapitest

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Call is one well-formed request to send, as a script of faults sees it.
type Call struct {
	Seq     int // of arrival, 1 for the first call
	Number  domain.NumberID
	To      string          // to or recipient, as the caller wrote it
	Tenant  domain.TenantID // from the callback data, if it is of our form
	Message domain.MessageID
	Attempt int
	Body    json.RawMessage
}

// Answer is how a call is answered. Each says whether the message was accepted
// behind the caller's back.
type Answer string

// The answers.
const (
	Normal       Answer = ""               // accepted, and said so
	LoseAnswer   Answer = "lose_answer"    // accepted; the connection closes without an answer
	LoseRequest  Answer = "lose_request"   // not accepted; the connection closes without an answer
	Refuse       Answer = "refuse"         // not accepted; Fault.Code says why
	HTML502      Answer = "html_502"       // not accepted; a gateway answers with a page
	LateHTML502  Answer = "late_html_502"  // accepted; a gateway answers with a page
	ResetMidBody Answer = "reset_mid_body" // accepted; the connection breaks in the middle of the answer
	SlowDrip     Answer = "slow_drip"      // accepted; the answer comes byte by byte, one each Fault.Every
	EmptyAnswer  Answer = "empty_answer"   // accepted; 200 with nothing in it
)

// Fault is what goes wrong with one call. The zero value is nothing.
type Fault struct {
	Answer     Answer
	Code       int           // of Refuse: error.code, answered with the fixture of that code where there is one
	HTTPStatus int           // of Refuse: another HTTP status than the fixture's, as gateways do; 0 = the fixture's
	RetryAfter time.Duration // of Refuse: a Retry-After header, in whole seconds
	Delay      time.Duration // before the answer, after the message was accepted or refused
	Every      time.Duration // of SlowDrip, between two bytes; 0 = a second

	Drop      bool // no status is ever told
	Duplicate bool // each status is told twice
	Reorder   bool // read before delivered before sent
	First     bool // statuses are delivered before the call is answered
	FailWith  int  // the only status is failed, with this code
}

// accepts reports whether a message answered this way was accepted.
func (a Answer) accepts() bool {
	switch a {
	case LoseRequest, Refuse, HTML502:
		return false
	}
	return true
}

// Rates of [RandomFaults], each between 0 and 1. Those of answers exclude each
// other and should not add up to more than 1.
type Rates struct {
	LoseAnswer, LoseRequest, Refuse, HTML502, LateHTML502, ResetMidBody, SlowDrip, EmptyAnswer float64

	Codes []int // to refuse with, equally often; none = throughput (130429)

	Drop, Duplicate, Reorder, First float64

	Delay    float64
	MaxDelay time.Duration
	Every    time.Duration // of SlowDrip
}

// throughputCode is what Meta answers when it takes no more (section 7.3).
const throughputCode = 130429

// RandomFaults returns a script that depends on the seed and on what is sent
// only: the same message and attempt has the same fault on every run.
func RandomFaults(seed int64, r Rates) func(Call) Fault {
	return func(c Call) Fault {
		h := fnv.New64a()
		id := string(c.Message) + " " + strconv.Itoa(c.Attempt)
		if c.Message == "" {
			id = string(c.Number) + " " + strconv.Itoa(c.Seq)
		}
		_, _ = h.Write([]byte(id))
		rng := rand.New(rand.NewPCG(uint64(seed), h.Sum64()))

		f := Fault{Code: throughputCode, Every: r.Every}
		dice := rng.Float64()
		for _, a := range []struct {
			answer Answer
			rate   float64
		}{
			{LoseAnswer, r.LoseAnswer}, {LoseRequest, r.LoseRequest}, {Refuse, r.Refuse}, {HTML502, r.HTML502},
			{LateHTML502, r.LateHTML502}, {ResetMidBody, r.ResetMidBody}, {SlowDrip, r.SlowDrip}, {EmptyAnswer, r.EmptyAnswer},
		} {
			if dice < a.rate {
				f.Answer = a.answer
				break
			}
			dice -= a.rate
		}
		if len(r.Codes) > 0 {
			f.Code = r.Codes[rng.IntN(len(r.Codes))]
		}
		f.Drop = rng.Float64() < r.Drop
		f.Duplicate = rng.Float64() < r.Duplicate
		f.Reorder = rng.Float64() < r.Reorder
		f.First = rng.Float64() < r.First
		if rng.Float64() < r.Delay && r.MaxDelay > 0 {
			f.Delay = time.Duration(rng.Int64N(int64(r.MaxDelay)))
		}
		return f
	}
}
