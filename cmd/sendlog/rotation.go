package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// rotation brings every tenant under the current master key, one event each,
// while everything else goes on. How far it is says the directory, so every
// process knows, and one that was cut off goes on where it ended.
type rotation struct {
	registry *tenant.Registry
	log      *slog.Logger
	wish     chan string // the actor who asked

	mu      sync.Mutex
	running bool
	failure string // why the last one ended early
}

func newRotation(r *tenant.Registry, log *slog.Logger) *rotation {
	return &rotation{registry: r, log: log, wish: make(chan string, 1)}
}

// Rotate implements api.Rotation.
func (r *rotation) Rotate(_ context.Context, actor string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return domain.Errorf(domain.Taken, nil, "a rotation is running")
	}
	r.running, r.failure = true, ""
	r.wish <- actor
	return nil
}

// Rewrapping implements api.Rotation.
func (r *rotation) Rewrapping() api.Rewrapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := api.Rewrapping{KEK: r.registry.Vault.KEK(), Error: r.failure}
	for kek, n := range r.registry.Directory.KEKs() {
		out.Total += n
		if kek == out.KEK {
			out.Done = n
		}
	}
	switch {
	case r.running:
		out.State = "running"
	case out.Done == out.Total:
		out.State = "done"
	case r.failure != "":
		out.State = "failed"
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

// rotate walks the tenants in order of id. New ones are under the current key
// from the start.
func (r *rotation) rotate(ctx context.Context, actor string) error {
	after, count := domain.TenantID(""), 0
	for {
		page := r.registry.Directory.List(after, domain.MaxPage)
		if len(page) == 0 {
			r.log.Info("sendlog: master key rotated", "tenants", count)
			return nil
		}
		for _, t := range page {
			did, err := r.registry.Rewrap(ctx, t.ID, actor)
			if err != nil {
				return domain.Errorf(domain.KindOf(err), err, "the rotation stopped at %s", t.ID)
			}
			if after = t.ID; did {
				count++
			}
		}
	}
}

func (r *rotation) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
	if err != nil {
		r.failure = err.Error()
		r.log.Warn("sendlog: master key rotation stopped", "error", err.Error())
	}
}
