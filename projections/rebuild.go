package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// handOverWithin is how close (positions) a new generation must be to the
// live one before the live runner is paused for the rest: a few batches, so
// the pause is well under a second.
const handOverWithin = 2000

// Progress is how far a rebuild is.
type Progress struct {
	Model      string
	Generation int
	Done, Tail domain.Position // Tail moves while the log grows
	Events     int             // folded so far
	PerSecond  float64
	ETA        time.Duration // 0 when not known yet
}

// builder builds one generation beside the live one.
type builder struct {
	*runner
	shelf   *shelf
	pointer Pointer // as it was when the build began
	report  func(Progress)
	began   time.Time
	state   Progress
}

// Rebuild builds a new generation of a model from the beginning of the log
// while the live one keeps running, and switches to it; readers see the one
// or the other, listeners miss nothing and hear nothing twice. The old
// generation is kept until the next rebuild. report, which may be nil, is
// called after every batch.
//
// It returns an error of kind domain.Taken when the model is being rebuilt
// already or [Library.Run] does not run in this process, and domain.Unknown when there is no such model. After any error
// the live generation is what it was.
func (l *Library) Rebuild(ctx context.Context, model string, report func(Progress)) error {
	s, err := l.shelf(model)
	if err != nil {
		return err
	}
	base := s.running()
	if base == nil {
		return domain.Errorf(domain.Taken, nil, "this process does not keep the read models; ask one that has the role project")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(base, cancel)()
	b, err := s.begin(ctx, report)
	if err != nil {
		return err
	}
	defer b.end()
	if err := b.chase(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause()
	defer s.resume()
	if err := b.arrive(ctx); err != nil {
		return err
	}
	s.open(b.gen, b.at)
	return nil
}

func (s *shelf) running() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base
}

// begin creates an empty generation; all but the live one are dropped first.
func (s *shelf) begin(ctx context.Context, report func(Progress)) (*builder, error) {
	if !s.building.CompareAndSwap(false, true) {
		return nil, domain.Errorf(domain.Taken, nil, "the read model %s is being rebuilt already", s.model.Name)
	}
	b := &builder{shelf: s, report: report, began: s.config.Clock.Now()}
	gen, err := b.create(ctx)
	if err != nil {
		s.building.Store(false)
		return nil, err
	}
	b.state = Progress{Model: s.model.Name, Generation: gen.number}
	b.runner = &runner{config: s.config, source: s.config.Source, gen: gen, moved: b.moved, trouble: b.trouble, well: func() {}}
	return b, nil
}

func (b *builder) create(ctx context.Context) (generation, error) {
	s := b.shelf
	pointer, _, _, err := s.present(ctx)
	if err != nil {
		return generation{}, err
	}
	b.pointer = pointer
	highest, err := sweep(ctx, s.config.Store, s.model, pointer.Live)
	if err != nil {
		return generation{}, err
	}
	incarnation, _, err := identify(ctx, s.config.Source)
	if err != nil {
		return generation{}, err
	}
	gen := generation{s.model, max(highest, pointer.Previous) + 1}
	if err := gen.create(ctx, s.config.Store, incarnation); err != nil {
		return generation{}, fmt.Errorf("create %s: %w", gen.name(), err)
	}
	return gen, nil
}

// trouble logs a failure that is being retried; the live generation is not
// concerned.
func (b *builder) trouble(err error) {
	b.shelf.config.Log.Warn("projections: rebuild trying again", slog.String("model", b.shelf.model.Name),
		slog.String("error_kind", string(domain.KindOf(err))), slog.String("error", err.Error()))
}

// end gives up the right to build.
func (b *builder) end() {
	b.shelf.build.Store(nil)
	b.shelf.building.Store(false)
}

// target is where the new generation takes over: exactly where the live one
// is, so that every later event is announced and no earlier one again; or the
// tail, when there is no live one of this log.
func (b *builder) target(ctx context.Context) (domain.Position, error) {
	_, at, known, err := b.shelf.present(ctx)
	if err != nil {
		return 0, err
	}
	incarnation, tail, err := identify(ctx, b.config.Source)
	if err != nil {
		return 0, err
	}
	if known && at.ofLog(incarnation, tail) {
		return at.Position, nil
	}
	return tail, nil
}

// chase builds until the live generation is near.
func (b *builder) chase(ctx context.Context) error {
	for {
		target, err := b.aim(ctx)
		if err != nil || b.at+handOverWithin >= target {
			return err
		}
		if err := b.run(ctx, target); err != nil {
			return err
		}
	}
}

// arrive builds the rest and switches. Nothing else moves the live generation
// meanwhile.
func (b *builder) arrive(ctx context.Context) error {
	target, err := b.aim(ctx)
	if err != nil {
		return err
	}
	if err := b.run(ctx, target); err != nil {
		return err
	}
	moved := false
	err = b.persist(ctx, func() error {
		err := b.config.Store.Switch(ctx, b.gen.model.Name, b.pointer, b.gen.number)
		if moved = errors.Is(err, ErrMoved); moved {
			return nil
		}
		return err
	})
	if moved {
		return domain.Errorf(domain.Taken, ErrMoved, "another process switched the read model %s meanwhile", b.gen.model.Name)
	}
	return err
}

// aim asks for the target and remembers it for the progress.
func (b *builder) aim(ctx context.Context) (target domain.Position, err error) {
	err = b.persist(ctx, func() error {
		target, err = b.target(ctx)
		return err
	})
	b.state.Tail = target
	return target, err
}

// moved tells how far the build is.
func (b *builder) moved(at domain.Position, events int) {
	p := &b.state
	p.Done, p.Events = at, p.Events+events
	if spent := b.config.Clock.Now().Sub(b.began); spent > 0 && p.Done > 0 {
		p.PerSecond = float64(p.Events) / spent.Seconds()
		left := max(p.Tail, p.Done) - p.Done
		p.ETA = time.Duration(float64(spent) * float64(left) / float64(p.Done))
	}
	now := *p
	b.shelf.build.Store(&now)
	if b.report != nil {
		b.report(now)
	}
}
