package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// maxSeen bounds the statuses one follower remembers (messages). Past it the
// memory begins anew, except of those who are asked about, and who asks about
// earlier ones from then on makes it read again.
const maxSeen = 100_000

// reconciler finds statuses that prove attempts whose answer was lost. For
// every number somebody asks about it has one follower, which reads the
// number's statuses once on behalf of all who ask, and ends with the last of
// them.
type reconciler struct {
	facts  Facts
	logger *slog.Logger

	mu      sync.Mutex
	numbers map[domain.Key]*follower // by status key
}

// follower remembers the first status of each of our messages in the part of
// the log it has read: after from, up to at.
type follower struct {
	asking int                      // inquiries that use it
	wanted map[domain.MessageID]int // the same by whom they ask about, who is never forgotten
	run    int                      // counts how often the reading began
	from   domain.Position
	at     domain.Position
	seen   map[domain.MessageID]message.StatusReceived
	moved  chan struct{} // closed and replaced at every change
	stop   context.CancelFunc
	err    error // why it reads no more; nil while it does
}

func newReconciler(f Facts, l *slog.Logger) *reconciler {
	return &reconciler{facts: f, logger: l, numbers: map[domain.Key]*follower{}}
}

// inquiry is one message's question: did the provider report on it after a
// position?
type inquiry struct {
	r      *reconciler
	number domain.Key
	id     domain.MessageID
	since  domain.Position
	run    int // the reading that it knows to have begun early enough
}

// ask begins an inquiry; close ends it.
func (r *reconciler) ask(k domain.Key, since domain.Position) *inquiry {
	q := &inquiry{r: r, number: message.StatusKey(k.Tenant, k.Number), id: domain.MessageID(k.ID), since: since}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[q.number]
	if f == nil {
		f = &follower{moved: make(chan struct{}), wanted: map[domain.MessageID]int{}}
		r.numbers[q.number] = f
	}
	f.asking++
	f.wanted[q.id]++
	return q
}

func (q *inquiry) close() {
	r := q.r
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[q.number]
	if f.wanted[q.id]--; f.wanted[q.id] == 0 {
		delete(f.wanted, q.id)
	}
	if f.asking--; f.asking > 0 {
		return
	}
	if f.stop != nil {
		f.stop()
	}
	delete(r.numbers, q.number)
}

// watch begins an inquiry of somebody who does not wait for the answer, but asks
// now and then whether there is one ([inquiry.noticed]). Like wait it only makes
// things quicker.
func (r *reconciler) watch(k domain.Key, since domain.Position) *inquiry {
	q := r.ask(k, since)
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[q.number]
	if f.stop == nil || f.err != nil || since < f.from {
		r.start(q.number, f, since)
	}
	return q
}

// noticed reports whether a status has been read. It starts the reading again
// when that broke off.
func (q *inquiry) noticed() bool {
	q.r.mu.Lock()
	defer q.r.mu.Unlock()
	f := q.r.numbers[q.number]
	if f.stop == nil || f.err != nil {
		q.r.start(q.number, f, q.since)
	}
	_, seen := f.seen[q.id]
	return seen
}

// look returns the status if one has been read, how far the reading is, and a
// channel that closes when there is more to look at. It starts the reading, or
// starts it again when it began too late. That it broke off is told once.
func (q *inquiry) look() (status message.StatusReceived, proven bool, at domain.Position, moved <-chan struct{}, err error) {
	r := q.r
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[q.number]
	if f.err != nil {
		err, f.err, f.stop = f.err, nil, nil
		return status, false, 0, nil, err
	}
	if f.stop == nil || q.run != f.run && q.since < f.from {
		r.start(q.number, f, q.since)
	}
	q.run = f.run
	status, proven = f.seen[q.id]
	return status, proven, f.at, f.moved, nil
}

// start makes a follower read from a position. The caller holds the lock.
func (r *reconciler) start(number domain.Key, f *follower, from domain.Position) {
	if f.stop != nil {
		f.stop()
	}
	// It serves many inquiries, each with its own context; the last of them to
	// close ends it.
	ctx, stop := context.WithCancel(context.Background())
	f.from, f.at, f.err, f.stop = from, from, nil, stop
	f.run++
	f.seen = map[domain.MessageID]message.StatusReceived{}
	go r.follow(ctx, number, f, from)
}

func (r *reconciler) follow(ctx context.Context, number domain.Key, f *follower, from domain.Position) {
	err := r.facts.Follow(ctx, number, from, func(e domain.Event) error {
		var s message.StatusReceived
		if err := e.Decode(&s); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() != nil { // superseded: what it reads is another's by now
			return ctx.Err()
		}
		f.note(e.Position, s)
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	r.logger.Warn("dispatch: reading statuses broke off", "tenant", number.Tenant, "number_id", number.Number, "error", err.Error())
	f.err = err
	if domain.KindOf(err) != domain.Unknown { // what the log no longer has at hand will not come back
		f.err = domain.Errorf(domain.Unavailable, err, "the statuses of a number cannot be read now")
	}
	f.wake()
}

func (f *follower) note(at domain.Position, s message.StatusReceived) {
	f.at = at
	if _, known := f.seen[s.Message]; s.Message != "" && !known {
		if len(f.seen) >= maxSeen {
			f.from = at - 1
			maps.DeleteFunc(f.seen, func(id domain.MessageID, _ message.StatusReceived) bool { return f.wanted[id] == 0 })
		}
		f.seen[s.Message] = s
	}
	f.wake()
}

func (f *follower) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// wait returns a proof as soon as there is one, or false when ctx ends. It only
// makes things quicker: what it missed, settle finds.
func (q *inquiry) wait(ctx context.Context) (message.StatusReceived, bool) {
	for {
		status, proven, _, moved, err := q.look()
		if proven {
			return status, true
		}
		var again <-chan time.Time
		if err != nil {
			again = time.After(logRetry)
		}
		select {
		case <-moved:
		case <-again:
		case <-ctx.Done():
			return message.StatusReceived{}, false
		}
	}
}

// settle answers for good: it has looked at every status that was in the log
// when it was called. After an error nobody knows, and nothing may be sent.
func (q *inquiry) settle(ctx context.Context) (message.StatusReceived, bool, error) {
	tail, err := q.r.facts.Last(ctx, q.number)
	if err != nil {
		return message.StatusReceived{}, false, fmt.Errorf("read newest status: %w", err)
	}
	for {
		status, proven, at, moved, err := q.look()
		if err != nil || proven || at >= tail {
			return status, proven, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return message.StatusReceived{}, false, ctx.Err()
		}
	}
}

// Proofs answers single questions, for a redrive.
type Proofs struct{ Facts Facts }

// Find implements [message.Proofs].
func (p Proofs) Find(ctx context.Context, k domain.Key, after domain.Position) (message.StatusReceived, bool, error) {
	q := newReconciler(p.Facts, slog.New(slog.DiscardHandler)).ask(k, after)
	defer q.close()
	return q.settle(ctx)
}
