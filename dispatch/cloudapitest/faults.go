package cloudapitest

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Faults is a plan of random faults: how often each happens, between 0 and 1.
// The zero value plans nothing.
//
// What befalls a call follows from the seed, the message and the attempt in
// its callback data alone, so it is the same on every run and in whatever
// order calls arrive. A call with foreign callback data is known by its number
// and its place in the order of arrival.
type Faults struct {
	Seed int64

	// Answers: they exclude each other, so their sum is at most 1.
	LoseAnswer, LoseRequest, ServerError, LateServerError, HTML502, LateHTML502 float64
	ResetMidBody, SlowDrip, EmptyAnswer, UnreadableAnswer, Hang, RevokeToken    float64
	Refuse                                                                      map[int]float64 // by error.code

	// Beside the answer.
	Delay    float64       // the answer comes late,
	MaxDelay time.Duration // by at most this
	Every    time.Duration // of SlowDrip, between two bytes

	// Statuses of accepted messages.
	Drop, Duplicate, Reorder, First float64
	Fail                            map[int]float64 // failed instead of sent, by error.code
	StatusDelay                     float64         // statuses come late,
	MaxStatusDelay                  time.Duration   // by at most this
}

// throughputCode and pairCode are what Meta answers when it takes no more of a
// number, or of one person (section 7.3).
const (
	throughputCode = 130429
	pairCode       = 131056
)

// Script returns the plan in the form that [Server.Script] takes.
func (f Faults) Script() func(Call) Fault {
	answers := f.answers()
	fails := sorted(f.Fail)
	return func(c Call) Fault {
		rng := f.dice(c)
		var what Fault
		throw := rng.Float64()
		for _, a := range answers {
			if throw < a.rate {
				what.Answer, what.Code, what.Every = a.answer, a.code, f.Every
				break
			}
			throw -= a.rate
		}
		what.Drop = rng.Float64() < f.Drop
		what.Duplicate = rng.Float64() < f.Duplicate
		what.Reorder = rng.Float64() < f.Reorder
		what.First = rng.Float64() < f.First
		what.Delay = late(rng, f.Delay, f.MaxDelay)
		what.StatusDelay = late(rng, f.StatusDelay, f.MaxStatusDelay)
		throw = rng.Float64()
		for _, code := range fails {
			if throw < f.Fail[code] {
				what.FailWith = code
				break
			}
			throw -= f.Fail[code]
		}
		return what
	}
}

// dice returns the randomness of one call.
func (f Faults) dice(c Call) *rand.Rand {
	id := string(c.Message) + " " + strconv.Itoa(c.Attempt)
	if c.Message == "" {
		id = string(c.Number) + " " + strconv.Itoa(c.Seq)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return rand.New(rand.NewPCG(uint64(f.Seed), h.Sum64()))
}

func late(rng *rand.Rand, rate float64, most time.Duration) time.Duration {
	throw, length := rng.Float64(), rng.Float64()
	if throw >= rate {
		return 0
	}
	return time.Duration(length * float64(most))
}

type plannedAnswer struct {
	answer Answer
	code   int
	rate   float64
}

// answers lists what may be answered, in an order that does not vary.
func (f Faults) answers() []plannedAnswer {
	list := []plannedAnswer{
		{LoseAnswer, 0, f.LoseAnswer}, {LoseRequest, 0, f.LoseRequest},
		{ServerError, 0, f.ServerError}, {LateServerError, 0, f.LateServerError},
		{HTML502, 0, f.HTML502}, {LateHTML502, 0, f.LateHTML502}, {ResetMidBody, 0, f.ResetMidBody}, {SlowDrip, 0, f.SlowDrip},
		{EmptyAnswer, 0, f.EmptyAnswer}, {UnreadableAnswer, 0, f.UnreadableAnswer}, {Hang, 0, f.Hang}, {RevokeToken, 0, f.RevokeToken},
	}
	for _, code := range sorted(f.Refuse) {
		list = append(list, plannedAnswer{Refuse, code, f.Refuse[code]})
	}
	return list
}

func sorted(rates map[int]float64) []int {
	codes := make([]int, 0, len(rates))
	for code := range rates {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// Defaults of [ParseFaults] where only a rate is given.
const (
	defaultLate  = 2 * time.Second
	defaultEvery = 20 * time.Millisecond
)

// FaultNames lists the words [ParseFaults] knows beside error codes.
const FaultNames = "lose, lose-request, 500, late-500, html, late-html, reset, drip, empty, unreadable, hang, revoke, late; " +
	"of statuses: drop, duplicate, reorder, first, fail, status-late"

// FaultHelp says what each of [FaultNames] does, one a line.
const FaultHelp = `Instead of the usual answer, one of
  lose          accepted; the connection closes without an answer
  lose-request  not accepted; the connection closes without an answer
  500           not accepted; 500, "something went wrong"
  late-500      accepted; 500, "something went wrong"
  html          not accepted; 502 and the HTML page of a gateway
  late-html     accepted; 502 and the HTML page of a gateway
  reset         accepted; the connection is reset in the middle of the answer
  drip          accepted; the answer comes byte by byte, 20ms apart, or as drip=0.1:1s says
  empty         accepted; 200 with nothing in it
  unreadable    accepted; 200 with half a JSON object
  hang          accepted; nothing is said until POST /_pretend/release
  revoke        not accepted; 190, from then on for every call with this token
  131056, …     not accepted; refused with this error code, in Meta's words
beside any answer
  late          it comes up to 2s late, or as late=0.1:500ms says
and of the statuses of an accepted message
  drop          none is told
  duplicate     each is told twice
  reorder       read comes before delivered, delivered before sent
  first         they are told before the call is answered
  fail          the only one is failed, with 131026, or as fail=0.1:131049 says
  status-late   they come up to 2s late, or as status-late=0.1:10s says
`

// ParseFaults reads a plan such as
//
//	lose=0.01,late=0.02:3s,130429=0.05,fail=0.01:131049,duplicate=0.3
//
// A word of [FaultNames] or an error code, and its rate. After a colon: the
// longest delay of late and status-late, the pause of drip, the code of fail
// (131026 when left out). The error is of kind [domain.Invalid].
func ParseFaults(text string) (Faults, error) {
	var f Faults
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if err := f.parse(part); err != nil {
			return Faults{}, err
		}
	}
	sum := 0.0
	for _, a := range f.answers() {
		sum += a.rate
	}
	if sum > 1 {
		return Faults{}, domain.Errorf(domain.Invalid, nil, "the rates of answers exclude each other, and add up to %g: more than 1", sum)
	}
	return f, nil
}

func (f *Faults) parse(part string) error {
	name, value, _ := strings.Cut(part, "=")
	text, extra, hasExtra := strings.Cut(value, ":")
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0 && rate <= 1) { // NaN is no rate either
		return domain.Errorf(domain.Invalid, nil, "%q: write name=rate, the rate between 0 and 1", part)
	}
	length := func(normal time.Duration) (time.Duration, error) {
		if !hasExtra {
			return normal, nil
		}
		d, err := time.ParseDuration(extra)
		if err != nil || d <= 0 {
			return 0, domain.Errorf(domain.Invalid, nil, "%q: after the colon stands a duration such as 500ms", part)
		}
		return d, nil
	}
	switch name {
	case "late":
		f.Delay = rate
		f.MaxDelay, err = length(defaultLate)
		return err
	case "status-late":
		f.StatusDelay = rate
		f.MaxStatusDelay, err = length(defaultLate)
		return err
	case "drip":
		f.SlowDrip = rate
		f.Every, err = length(defaultEvery)
		return err
	case "fail":
		code := 131026
		if hasExtra {
			if code, err = strconv.Atoi(extra); err != nil || code <= 0 {
				return domain.Errorf(domain.Invalid, nil, "%q: after the colon stands an error code", part)
			}
		}
		add(&f.Fail, code, rate)
		return nil
	}
	if hasExtra {
		return domain.Errorf(domain.Invalid, nil, "%q: nothing stands after a colon here", part)
	}
	if field := f.field(name); field != nil {
		*field = rate
		return nil
	}
	code, err := strconv.Atoi(name)
	if err != nil || code < 0 {
		return domain.Errorf(domain.Invalid, nil, "%q is no fault: there are %s, and error codes", name, FaultNames)
	}
	add(&f.Refuse, code, rate)
	return nil
}

func add(rates *map[int]float64, code int, rate float64) {
	if *rates == nil {
		*rates = map[int]float64{}
	}
	(*rates)[code] = rate
}

func (f *Faults) field(name string) *float64 {
	switch name {
	case "lose":
		return &f.LoseAnswer
	case "lose-request":
		return &f.LoseRequest
	case "500":
		return &f.ServerError
	case "late-500":
		return &f.LateServerError
	case "html":
		return &f.HTML502
	case "late-html":
		return &f.LateHTML502
	case "reset":
		return &f.ResetMidBody
	case "empty":
		return &f.EmptyAnswer
	case "unreadable":
		return &f.UnreadableAnswer
	case "hang":
		return &f.Hang
	case "revoke":
		return &f.RevokeToken
	case "drop":
		return &f.Drop
	case "duplicate":
		return &f.Duplicate
	case "reorder":
		return &f.Reorder
	case "first":
		return &f.First
	}
	return nil
}
