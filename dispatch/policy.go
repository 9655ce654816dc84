package dispatch

import (
	"math/rand/v2"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// Policy says how often and how patiently a message is tried. The zero value
// of a field means its default.
type Policy struct {
	MaxAttempts int           // default [domain.MaxAttempts]
	FirstWait   time.Duration // before the second attempt, default 1 s; doubled for each further one
	MostWait    time.Duration // default 5 min
	// UnreachableWait takes the place of FirstWait when the provider could not
	// be reached at all, default 15 s: an outage of minutes must not use up
	// the attempts.
	UnreachableWait time.Duration
	UnknownWait     time.Duration // default [domain.UnknownWait]
	// Patience is how long another process may be in the middle of a call: 0
	// when there can be no other, else more than a call takes.
	Patience time.Duration
	Calls    int // concurrent calls of this process, default 2,048
	// A number to one recipient: one call every PairEvery (default 6 s), of
	// which PairBurst (default 45) may come at once.
	PairEvery  time.Duration
	PairBurst  int
	ProbeEvery time.Duration // of the [Prober], default 3 min
	Drain      time.Duration // how long running calls may finish when stopping, default 35 s: a call takes 30 s at most
}

func (p Policy) withDefaults() Policy {
	if p.MaxAttempts <= 0 {
		p.MaxAttempts = domain.MaxAttempts
	}
	if p.FirstWait <= 0 {
		p.FirstWait = time.Second
	}
	if p.MostWait <= 0 {
		p.MostWait = 5 * time.Minute
	}
	if p.UnknownWait <= 0 {
		p.UnknownWait = domain.UnknownWait
	}
	if p.UnreachableWait <= 0 {
		p.UnreachableWait = 15 * time.Second
	}
	if p.Calls <= 0 {
		p.Calls = 2048
	}
	if p.PairEvery <= 0 {
		p.PairEvery = 6 * time.Second
	}
	if p.PairBurst <= 0 {
		p.PairBurst = 45
	}
	if p.Drain <= 0 {
		p.Drain = 35 * time.Second
	}
	return p
}

// rules is what the domain needs to know of it, as a tenant has it.
func (p Policy) rules(s tenant.Sending) message.Rules {
	r := message.Rules{MaxAttempts: p.MaxAttempts, UnknownWait: p.UnknownWait, OnUnknown: s.OnUnknown, Patience: p.Patience}
	if s.UnknownWait > 0 {
		r.UnknownWait = s.UnknownWait
	}
	return r
}

// wait is how long to wait after refusal number n (1 or more) since the
// request or redrive: exponential with jitter over its upper half, and never
// less than the provider's own word.
func (p Policy) wait(n int, o cloudapi.Outcome) time.Duration {
	d := p.FirstWait
	if o.Code == 0 && o.Class == cloudapi.Retry {
		d = p.UnreachableWait
	}
	for i := 1; i < n && d < p.MostWait; i++ {
		d *= 2
	}
	d = min(d, p.MostWait)
	d = d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
	return max(d, o.Wait)
}
