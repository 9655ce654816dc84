package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// shelf is one model with its generations, and whoever moves them.
type shelf struct {
	config   *Config
	model    *Model
	source   *shared // for the live runner
	progress progress
	live     atomic.Pointer[generation] // what is read; nil while there is nothing to trust
	building atomic.Bool                // somebody builds a generation; at most one does
	build    atomic.Pointer[Progress]   // how far that is

	mu   sync.Mutex      // held while the live generation is handed over
	base context.Context // of Run; nil when it does not run
	halt func()          // stops the live runner between two batches and waits for it
}

// start lets the live runner work until ctx ends.
func (s *shelf) start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = ctx
	s.resume()
}

// finish ends what start began.
func (s *shelf) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause()
	s.base = nil
}

// resume and pause move the live runner; mu is held.
func (s *shelf) resume() {
	if s.base == nil {
		return
	}
	ctx, cancel := context.WithCancel(s.base)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ctx)
	}()
	s.halt = func() { cancel(); <-done }
}

func (s *shelf) pause() {
	if s.halt != nil {
		s.halt()
		s.halt = nil
	}
}

// serve keeps a trusted generation live until ctx ends or a bug stops it.
func (s *shelf) serve(ctx context.Context) {
	for failures := 1; ; failures++ {
		gen, at, err := s.settle(ctx)
		if err == nil {
			s.open(gen, at)
			failures = 1
			err = s.runner(gen, at).run(ctx, forever)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errReplaced):
			continue
		case errors.Is(err, errUntrusted):
			s.close()
		case final(err):
			s.progress.stop(err)
			s.config.Log.Error("projections: a read model stopped", slog.String("model", s.model.Name),
				slog.String("error_kind", string(domain.Bug)), slog.String("error", err.Error()))
			return
		}
		s.progress.trouble(err)
		if s.config.Clock.Sleep(ctx, backoff(failures)) != nil {
			return
		}
	}
}

// open makes a generation the one that is read.
func (s *shelf) open(gen generation, at domain.Position) {
	s.live.Store(&gen)
	s.progress.set(at)
}

// close says that no generation can be trusted.
func (s *shelf) close() {
	s.live.Store(nil)
	s.progress.lose()
}

// runner returns a live runner of the generation.
func (s *shelf) runner(gen generation, at domain.Position) *runner {
	return &runner{
		config: s.config, source: s.source, gen: gen, at: at, announcer: s.config.Announcer,
		moved:   func(at domain.Position, _ int) { s.progress.set(at) },
		trouble: s.retrying, well: s.progress.well,
		live: func(ctx context.Context) error { return s.check(ctx, gen) },
	}
}

// check returns errReplaced when a generation is not the live one any more.
func (s *shelf) check(ctx context.Context, gen generation) error {
	p, err := s.config.Store.Live(ctx, s.model.Name)
	if err != nil {
		return fmt.Errorf("ask which generation of %s is live: %w", s.model.Name, err)
	}
	if p.Live != gen.number {
		return errReplaced
	}
	return nil
}

// retrying records and logs a failure that is being retried, the log at
// most once until there is progress.
func (s *shelf) retrying(err error) {
	if _, before := s.progress.state(); before == nil {
		s.config.Log.Warn("projections: trying again", slog.String("model", s.model.Name),
			slog.String("error_kind", string(domain.KindOf(err))), slog.String("error", err.Error()))
	}
	s.progress.trouble(err)
}

// settle returns the live generation and its place if both can be trusted,
// and builds a new one first otherwise.
func (s *shelf) settle(ctx context.Context) (generation, domain.Position, error) {
	pointer, at, known, err := s.present(ctx)
	if err != nil {
		return generation{}, 0, err
	}
	incarnation, tail, err := identify(ctx, s.config.Source)
	if err != nil {
		return generation{}, 0, err
	}
	if known && at.trusted(s.model, incarnation, tail) {
		if s.building.CompareAndSwap(false, true) { // else the rubbish is somebody's work
			_, err = sweep(ctx, s.config.Store, s.model, pointer.Live, pointer.Previous)
			s.building.Store(false)
		}
		return generation{s.model, pointer.Live}, at.Position, err
	}
	b, err := s.begin(ctx, nil)
	if err != nil {
		return generation{}, 0, err
	}
	defer b.end()
	if err := b.chase(ctx); err != nil {
		return generation{}, 0, err
	}
	if err := b.arrive(ctx); err != nil {
		return generation{}, 0, err
	}
	return b.gen, b.at, nil
}

// present returns the live pointer and checkpoint; known is false when there
// is no live generation.
func (s *shelf) present(ctx context.Context) (p Pointer, at Checkpoint, known bool, err error) {
	if p, err = s.config.Store.Live(ctx, s.model.Name); err != nil {
		return p, at, false, fmt.Errorf("ask which generation of %s is live: %w", s.model.Name, err)
	}
	if p.Live == 0 {
		return p, at, false, nil
	}
	gen := generation{s.model, p.Live}
	if at, known, err = s.config.Store.Checkpoint(ctx, gen.name()); err != nil {
		return p, at, false, fmt.Errorf("load the checkpoint of %s: %w", gen.name(), err)
	}
	return p, at, known, nil
}

// followEvery is how often a process that does not run a model looks how far
// the one that does has come.
const followEvery = 100 * time.Millisecond

// follow keeps reading the live generation that another process moves.
func (s *shelf) follow(ctx context.Context) {
	for {
		p, at, known, err := s.present(ctx)
		switch {
		case err != nil:
			s.retrying(err)
		case !known || at.Version != s.model.Version:
			s.close()
		default:
			s.open(generation{s.model, p.Live}, at.Position)
		}
		if s.config.Clock.Sleep(ctx, followEvery) != nil {
			return
		}
	}
}
