package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// reconciler finds statuses that prove attempts whose answer was lost. It
// follows the statuses of a number only while somebody waits for one there.
type reconciler struct {
	facts  Facts
	logger *slog.Logger

	mu      sync.Mutex
	numbers map[domain.Key]*follower // by status key
}

// follower reads the statuses of one number on behalf of all who wait.
type follower struct {
	from    domain.Position
	cancel  context.CancelFunc
	waiting map[domain.MessageID]waiter
}

type waiter struct {
	since domain.Position
	proof chan message.StatusReceived
}

func newReconciler(f Facts, l *slog.Logger) *reconciler {
	return &reconciler{facts: f, logger: l, numbers: map[domain.Key]*follower{}}
}

// watch returns a channel that receives the first status of a message recorded
// after a position, if one comes before ctx ends. Each message has one worker,
// so one watch.
func (r *reconciler) watch(ctx context.Context, k domain.Key, since domain.Position) <-chan message.StatusReceived {
	number := message.StatusKey(k.Tenant, k.Number)
	id := domain.MessageID(k.ID)
	w := waiter{since: since, proof: make(chan message.StatusReceived, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[number]
	if f == nil {
		f = &follower{waiting: map[domain.MessageID]waiter{}}
		r.numbers[number] = f
	}
	f.waiting[id] = w
	if f.cancel == nil || since < f.from {
		r.restart(number, f)
	}
	context.AfterFunc(ctx, func() { r.forget(number, id, w) })
	return w.proof
}

// restart makes a follower read from the earliest position anybody waits for.
// The caller holds the lock.
func (r *reconciler) restart(number domain.Key, f *follower) {
	if f.cancel != nil {
		f.cancel()
	}
	first := true
	for _, w := range f.waiting {
		if first || w.since < f.from {
			f.from, first = w.since, false
		}
	}
	// It serves many waiters, each with its own context; it ends when the last
	// of them leaves.
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go r.follow(ctx, number, f, f.from)
}

func (r *reconciler) follow(ctx context.Context, number domain.Key, f *follower, from domain.Position) {
	err := r.facts.Follow(ctx, number, from, func(e domain.Event) error {
		var s message.StatusReceived
		if err := e.Decode(&s); err != nil {
			return err
		}
		if s.Message != "" {
			r.tell(f, s)
		}
		return nil
	})
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	// Who waits runs into its deadline, which is safe: the wait decides by the
	// log, and the next waiter starts a new follower.
	r.logger.Warn("dispatch: reading statuses ended", "tenant", number.Tenant, "number_id", number.Number, "error", err.Error())
	r.mu.Lock()
	defer r.mu.Unlock()
	f.cancel = nil
}

func (r *reconciler) tell(f *follower, s message.StatusReceived) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := f.waiting[s.Message]; ok {
		select {
		case w.proof <- s:
		default: // it has one already
		}
	}
}

// forget ends one watch. A later watch of the same message may have begun
// meanwhile; it is left alone.
func (r *reconciler) forget(number domain.Key, id domain.MessageID, w waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.numbers[number]
	if f == nil || f.waiting[id].proof != w.proof {
		return
	}
	delete(f.waiting, id)
	if len(f.waiting) == 0 {
		if f.cancel != nil {
			f.cancel()
		}
		delete(r.numbers, number)
	}
}
