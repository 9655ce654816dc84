package cloudapitest

import (
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Pace is how fast messages are taken (section 8). The zero value is no limit.
type Pace struct {
	// PerNumber is how many messages a number may send a second, and at once;
	// beyond it answers 130429. 0 = no limit. See [Server.SetPace] for numbers
	// that differ.
	PerNumber int
	// PairEvery is the time in which a number earns one message to one person,
	// and PairBurst how many it may have saved up; beyond it answers 131056.
	// 0 = no limit.
	PairEvery time.Duration
	PairBurst int
}

// MetaPace is what Meta grants a new number.
func MetaPace() Pace { return Pace{PerNumber: 80, PairEvery: 6 * time.Second, PairBurst: 45} }

// maxPairs bounds the pairs whose pace is watched (number and person). Beyond
// it a new pair is not watched until others have been quiet.
const maxPairs = 1 << 20

// buckets are token buckets, each kept as the moment at which it will be full:
// a bucket that is full needs no memory.
type buckets struct {
	pace Pace

	mu      sync.Mutex
	numbers map[domain.NumberID]int       // numbers with a pace of their own
	full    map[domain.NumberID]time.Time // when the bucket of a number will be full
	pairs   map[pair]time.Time
	swept   time.Time
}

type pair struct {
	number domain.NumberID
	person string
}

func newBuckets(p Pace) *buckets {
	if p.PairEvery > 0 && p.PairBurst < 1 {
		p.PairBurst = 1
	}
	return &buckets{pace: p, numbers: map[domain.NumberID]int{}, full: map[domain.NumberID]time.Time{}, pairs: map[pair]time.Time{}}
}

// SetPace gives a number a pace of its own from now on (messages a second): 20
// as in coexistence, 1000 after an upgrade; 0 = no limit.
func (s *Server) SetPace(n domain.NumberID, perSecond int) {
	s.buckets.mu.Lock()
	defer s.buckets.mu.Unlock()
	s.buckets.numbers[n] = perSecond
}

// perSecond returns the pace of a number; 0 = no limit.
func (b *buckets) perSecond(n domain.NumberID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.perSecondLocked(n)
}

func (b *buckets) perSecondLocked(n domain.NumberID) int {
	if own, ok := b.numbers[n]; ok {
		return own
	}
	return b.pace.PerNumber
}

// take takes one message out of the buckets of a number and of a pair. It
// returns 0, or the code of the error and takes nothing.
func (b *buckets) take(n domain.NumberID, person string, now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	perSecond := b.perSecondLocked(n)
	each := time.Duration(0)
	if perSecond > 0 {
		each = time.Second / time.Duration(perSecond)
	}
	number, ok := spend(b.full[n], now, each, perSecond)
	if !ok {
		return throughputCode
	}
	if b.pace.PairEvery > 0 {
		key := pair{n, waID(person)}
		until, ok := spend(b.pairs[key], now, b.pace.PairEvery, b.pace.PairBurst)
		if !ok {
			return pairCode
		}
		if b.room(key, now) {
			b.pairs[key] = until
		}
	}
	if perSecond > 0 {
		b.full[n] = number
	}
	return 0
}

// spend takes one out of a bucket of burst that earns one in each, and returns
// when it will be full again.
func spend(full, now time.Time, each time.Duration, burst int) (time.Time, bool) {
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > time.Duration(burst-1)*each && each > 0 {
		return full, false
	}
	return full.Add(each), true
}

// room reports whether a pair may be remembered, and forgets those that are
// full when there are too many.
func (b *buckets) room(key pair, now time.Time) bool {
	if _, known := b.pairs[key]; known || len(b.pairs) < maxPairs {
		return true
	}
	if now.Sub(b.swept) < b.pace.PairEvery {
		return false // swept a moment ago
	}
	b.swept = now
	for k, full := range b.pairs {
		if full.Before(now) {
			delete(b.pairs, k)
		}
	}
	return len(b.pairs) < maxPairs
}
