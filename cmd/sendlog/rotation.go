package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/streams"
)

// rotation brings the quarantine and then every tenant under the current master
// key, one event each, while everything else goes on. How far it is with the
// tenants says the directory, so every process knows; one that was cut off goes
// on where it ended, and as the quarantine comes first, it is done when they
// are.
type rotation struct {
	registry   *tenant.Registry
	quarantine *streams.Quarantine
	clock      domain.Clock
	log        *slog.Logger
	wish       chan string // the actor who asked

	mu       sync.Mutex
	running  bool
	resealed int
	trouble  string // why the last one ended early, or what is being tried again
}

// What may pass is tried again, less and less often, and given up after a
// while: then it has to be looked at.
const (
	rotateRetryFirst = 100 * time.Millisecond
	rotateRetryMost  = 5 * time.Second
	rotatePatience   = 10 * time.Minute
)

func newRotation(r *tenant.Registry, q *streams.Quarantine, c domain.Clock, log *slog.Logger) *rotation {
	return &rotation{registry: r, quarantine: q, clock: c, log: log, wish: make(chan string, 1)}
}

// Rotate implements api.Rotation.
func (r *rotation) Rotate(_ context.Context, actor string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return domain.Errorf(domain.Taken, nil, "a rotation is running")
	}
	r.running, r.trouble, r.resealed = true, "", 0
	r.wish <- actor
	return nil
}

// Rewrapping implements api.Rotation.
func (r *rotation) Rewrapping() api.Rewrapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := api.Rewrapping{KEK: r.registry.Vault.KEK(), Resealed: r.resealed, Error: r.trouble}
	for kek, n := range r.registry.Directory.KEKs() {
		out.Total += n
		if kek == out.KEK {
			out.Done = n
		}
	}
	switch {
	case r.running:
		out.State = "running"
	case r.trouble != "":
		out.State = "failed"
	case out.Done == out.Total:
		out.State = "done"
	default:
		out.State = "incomplete"
	}
	return out
}

// run rotates whenever it is asked to, until ctx ends.
func (r *rotation) run(ctx context.Context) error {
	for {
		select {
		case actor := <-r.wish:
			err := r.rotate(ctx, actor)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.finish(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rotate seals the quarantine anew and walks the tenants in order of id. New
// ones are under the current key from the start. A tenant whose keys cannot be
// opened does not keep the others from it.
func (r *rotation) rotate(ctx context.Context, actor string) error {
	err := r.persist(ctx, func() error {
		return r.quarantine.Reseal(ctx, r.clock.Now(), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.resealed++
		})
	})
	if err != nil && domain.KindOf(err) == domain.Unavailable {
		return domain.Errorf(domain.Unavailable, err, "the rotation stopped in the quarantine: %s", cause(err))
	}
	failed := err
	after, count, left := domain.TenantID(""), 0, 0
	for {
		page := r.registry.Directory.List(after, domain.MaxPage)
		if len(page) == 0 {
			break
		}
		for _, t := range page {
			after = t.ID
			var did bool
			err := r.persist(ctx, func() (err error) {
				did, err = r.registry.Rewrap(ctx, t.ID, actor)
				return err
			})
			switch {
			case err == nil && did:
				count++
			case domain.KindOf(err) == domain.Unavailable:
				return domain.Errorf(domain.Unavailable, err, "the rotation stopped at %s: %s", t.ID, cause(err))
			case err != nil:
				left++
				failed = domain.Errorf(domain.KindOf(err), err, "%d tenants could not be brought under the new key, the last of them %s: %s", left, t.ID, cause(err))
			}
		}
	}
	r.log.Info("sendlog: master key rotated", "tenants", count, "left", left)
	return failed
}

// persist tries what may succeed later again, and says meanwhile what it waits
// for.
func (r *rotation) persist(ctx context.Context, try func() error) error {
	began := r.clock.Now()
	for wait := rotateRetryFirst; ; wait = min(2*wait, rotateRetryMost) {
		err := try()
		if domain.KindOf(err) != domain.Unavailable || ctx.Err() != nil || r.clock.Now().Sub(began) > rotatePatience {
			return err
		}
		r.say("it is tried again: " + cause(err))
		if r.clock.Sleep(ctx, wait) != nil {
			return err
		}
		r.say("")
	}
}

func (r *rotation) say(trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = trouble
}

func (r *rotation) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
	if err != nil {
		r.trouble = err.Error()
		r.log.Warn("sendlog: master key rotation stopped", "error", err.Error())
	}
}
