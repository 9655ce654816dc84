package main

import (
	"context"
	"sync"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// maxRebuilds bounds the rebuilds whose end is remembered (the oldest go
// first).
const maxRebuilds = 100

// rebuilds runs rebuilds behind the API and remembers how they went.
type rebuilds struct {
	library *projections.Library

	mu    sync.Mutex
	order []string
	byID  map[string]*api.Rebuild
}

func newRebuilds(l *projections.Library) *rebuilds {
	return &rebuilds{library: l, byID: map[string]*api.Rebuild{}}
}

// Start implements api.Rebuilds. One rebuild runs at a time.
func (r *rebuilds) Start(_ context.Context, model string) (string, error) {
	names := []string{model}
	if model == "all" {
		names = nil
		for _, m := range r.library.Health() {
			names = append(names, m.Model)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.byID {
		if b.State == "running" {
			return "", domain.Errorf(domain.Taken, nil, "the rebuild %s is running", b.ID)
		}
	}
	b := &api.Rebuild{ID: "rebuild_" + domain.Digest("rebuild", domain.NewUUID()), Model: model, State: "running"}
	r.byID[b.ID] = b
	if r.order = append(r.order, b.ID); len(r.order) > maxRebuilds {
		delete(r.byID, r.order[0])
		r.order = r.order[1:]
	}
	go r.run(b, names)
	return b.ID, nil
}

// run rebuilds one model after another. It outlives the request that asked for
// it; the library ends it when the house stops.
func (r *rebuilds) run(b *api.Rebuild, names []string) {
	var before uint64 // events of the models already done
	for _, name := range names {
		var events uint64
		err := r.library.Rebuild(context.Background(), name, func(p projections.Progress) {
			r.mu.Lock()
			defer r.mu.Unlock()
			events = uint64(p.Events)
			b.Done, b.Tail, b.Events, b.PerSecond, b.ETA = p.Done, p.Tail, before+events, p.PerSecond, p.ETA
		})
		if err != nil {
			r.finish(b, "failed", err.Error())
			return
		}
		before += events
	}
	r.finish(b, "done", "")
}

func (r *rebuilds) finish(b *api.Rebuild, state, words string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.State, b.Error, b.ETA = state, words, 0
}

// Rebuild implements api.Rebuilds.
func (r *rebuilds) Rebuild(_ context.Context, id string) (api.Rebuild, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.byID[id]
	if !ok {
		return api.Rebuild{}, domain.Errorf(domain.Unknown, nil, "there is no such rebuild")
	}
	return *b, nil
}
