package dispatch

import (
	"math/rand/v2"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Policy says how often and how patiently a message is tried. The zero value
// of a field means its default.
type Policy struct {
	MaxAttempts int           // default [domain.MaxAttempts]
	FirstWait   time.Duration // before the second attempt, default 1 s; doubled for each further one
	MostWait    time.Duration // default 5 min
	UnknownWait time.Duration // default [domain.UnknownWait]
	Calls       int           // concurrent calls of this process, default 512
	Drain       time.Duration // how long running calls may finish when stopping, default 35 s: a call takes 30 s at most
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
	if p.Calls <= 0 {
		p.Calls = 512
	}
	if p.Drain <= 0 {
		p.Drain = 35 * time.Second
	}
	return p
}

// wait is how long to wait after refusal number n (1 or more) since the
// request or redrive: exponential with jitter over its upper half, and never
// less than the provider's own word.
func (p Policy) wait(n int, said time.Duration) time.Duration {
	d := p.FirstWait
	for i := 1; i < n && d < p.MostWait; i++ {
		d *= 2
	}
	d = min(d, p.MostWait)
	d = d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
	return max(d, said)
}
