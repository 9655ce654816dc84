package streams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// roleDispatch is the role of processes that work lanes.
const roleDispatch = "dispatch"

// Workers returns how many processes work the lanes, this one included.
func (b *Broker) Workers() int { return b.workers.Count() }

// Work works this process's share of the lanes until ctx ends. Any number of
// processes may do so: by presence they know each other, and each lane has one
// of them, whose shares differ by one lane at most.
//
// begin is called for every tenure, the time for which this process has a lane:
// its context ends when the lane is to be handed over, or the process stops.
// take is then handed the lane's events in order, each at least once, and what
// was scheduled there and is due, one at a time; it must not block. It is not called any more once finish is. finish
// returns when what was begun is done or dropped, and nothing of the lane is
// worked any more: then the lane is another's, at once. One that takes longer than
// 10 s to finish, or fell silent, is not waited for.
//
// So a lane has two owners only when one of them does not know better, as after
// being stopped and continued. It then finds its tenure ended. What it does
// before it notices meets the fence in the log.
func (b *Broker) Work(ctx context.Context, begin func(tenure context.Context, lane int) (take func(Delivery), finish func())) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &workshop{b: b, presence: b.workers, begin: begin}
	// The others must know what is still held while this process finishes.
	there, gone := context.WithCancel(context.WithoutCancel(ctx))
	var announcing, working sync.WaitGroup
	defer announcing.Wait()
	defer gone()
	failed := make(chan error, domain.Lanes+1)
	announcing.Go(func() {
		if err := w.presence.Run(there); there.Err() == nil {
			failed <- err
			stop()
		}
	})
	if b.disk == nil { // an embedded log has one process
		if err := w.presence.settle(ctx); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, w.presence.leave)()
	for lane := range domain.Lanes {
		working.Go(func() {
			if err := w.lane(ctx, lane); ctx.Err() == nil {
				failed <- err
				stop()
			}
		})
	}
	working.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

// workshop is where this process works its lanes.
type workshop struct {
	b        *Broker
	presence *Presence
	begin    func(context.Context, int) (func(Delivery), func())
}

// lane works one lane tenure by tenure.
func (w *workshop) lane(ctx context.Context, lane int) error {
	var since time.Time // it is ours, and another one still holds it
	for {
		news := w.presence.news.next() // before the look: what changes in between ends the wait
		mine, free := w.presence.share(lane)
		if !mine || since.IsZero() {
			since = time.Now()
		}
		if mine && (free || time.Since(since) >= lanePinnedTTL) {
			err := w.tenure(ctx, lane)
			if err != nil && judge(err) != askAgain {
				return fmt.Errorf("work lane %d: %w", lane, err)
			}
			if err != nil && ctx.Err() == nil {
				w.b.log.Warn("streams: lane", "lane", lane, "error", err.Error())
			}
			since = time.Time{}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tenure works a lane until it is another's, or may have been meanwhile.
func (w *workshop) tenure(ctx context.Context, lane int) (err error) {
	w.presence.hold(lane, true)
	defer w.presence.hold(lane, false)
	supplies := []*supply{
		w.b.supply(streamEvents, laneConsumer(lane).Durable, w.b.handed),
		w.b.supply(streamSchedule, dueConsumer(lane).Durable, w.b.handedDue),
	}
	// Letting go takes longer than being told to.
	defer func() {
		for _, s := range supplies {
			s.letGo(context.WithoutCancel(ctx))
		}
	}()
	tenure, end := context.WithCancel(ctx)
	defer end()
	var running sync.WaitGroup
	defer running.Wait()
	if w.b.disk == nil { // an embedded log has one process, which nobody takes for gone, however slow it is
		lapsed := w.presence.lapsed()
		running.Go(func() {
			w.watch(tenure, lane, lapsed)
			end()
		})
	}
	take, finish := w.begin(tenure, lane)
	defer finish()
	door := counter{take: take}
	defer door.shut()
	errs := make(chan error, len(supplies))
	for _, s := range supplies {
		running.Go(func() {
			errs <- s.run(tenure, door.pass)
			end()
		})
	}
	for range supplies {
		if e := <-errs; err == nil && !errors.Is(e, context.Canceled) {
			err = e
		}
	}
	return err
}

// watch returns when the lane is another's, or when this process was silent for
// so long that the others may have taken it for gone; or with the tenure.
func (w *workshop) watch(tenure context.Context, lane, lapsed int) {
	for tenure.Err() == nil {
		news := w.presence.news.next()
		if mine, _ := w.presence.share(lane); !mine || w.presence.lapsed() != lapsed {
			return
		}
		select {
		case <-news:
		case <-tenure.Done():
		}
	}
}

// counter passes deliveries on one at a time until it is shut.
type counter struct {
	mu   sync.Mutex
	take func(Delivery) // nil: shut
}

func (c *counter) pass(d Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.take != nil {
		c.take(d)
	}
}

func (c *counter) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take = nil
}
