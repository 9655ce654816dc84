package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sendlog/sendlog/domain"
)

const (
	// batchEvents bounds the events of one batch by default: one fetch and one
	// write serve them all.
	batchEvents = 2000

	// batchBudget is where a batch is cut (estimated bytes to write), so that
	// it stays below MaxBatchBytes with escapes and any one event on top.
	batchBudget = 3 << 20

	// writeTimeout bounds one write and its announcement. They are not cut
	// short when the runner is stopped: a write whose answer is not awaited
	// would lose its notices.
	writeTimeout = 15 * time.Second

	// firstBackoff doubles with every failure in a row up to maxBackoff.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// errUntrusted says that a generation does not belong to this log or fold.
var errUntrusted error = domain.Errorf(domain.Unavailable, nil, "the checkpoint does not belong to this log or this version of the fold")

// errReplaced says that another process has switched to another generation.
var errReplaced error = domain.Errorf(domain.Unavailable, nil, "another generation has become the live one")

// runner folds one generation forward, from its checkpoint. It is used by one
// goroutine.
type runner struct {
	config    *Config
	source    Source
	gen       generation
	announcer Announcer                   // nil while building: a rebuild tells nobody
	moved     func(domain.Position, int)  // told after each write: where it is, events folded
	trouble   func(error)                 // told of each failure that is retried
	well      func()                      // told when the log and the store answer again
	live      func(context.Context) error // asked before each write: is this still the generation that is read? nil while building
	at        domain.Position             // the checkpoint, as far as known
	cursor    Cursor                      // nil until opened, and after a failure
	ahead     []domain.Event              // read, not yet folded
	unsaved   *fold                       // folded, not known to be written
	recent    recent                      // documents as they are stored and, in unsaved, changed
}

// fold is a folded batch on its way to the store.
type fold struct {
	batch  Batch
	docs   *Docs
	events int
}

// forever is a position that is never reached.
const forever = ^domain.Position(0)

// run folds until the position is reached. Failures
// of the source and the store are retried with backoff and lose no place. It
// returns ctx's error, errUntrusted, errReplaced, or an error of kind
// domain.Bug.
func (r *runner) run(ctx context.Context, until domain.Position) error {
	defer r.rewind()
	for r.at < until {
		if err := r.persist(ctx, func() error { return r.step(ctx, until) }); err != nil {
			return err
		}
	}
	return nil
}

// persist repeats f with backoff until it succeeds, ctx ends, or trying again
// is no use.
func (r *runner) persist(ctx context.Context, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case final(err):
			return err
		}
		r.trouble(err)
		if err := r.config.Clock.Sleep(ctx, backoff(failures)); err != nil {
			return err
		}
	}
}

// step folds and writes one batch.
func (r *runner) step(ctx context.Context, until domain.Position) error {
	if r.unsaved == nil {
		if err := r.read(ctx); err != nil {
			return err
		}
		f, err := r.fold(ctx, until)
		if err != nil {
			return err
		}
		r.unsaved = f
	}
	if r.live != nil {
		if err := r.live(ctx); err != nil {
			return err
		}
	}
	return r.write(ctx)
}

// read makes sure that there are events ahead.
func (r *runner) read(ctx context.Context) error {
	if r.cursor == nil {
		if err := r.open(ctx); err != nil {
			return err
		}
	}
	if len(r.ahead) > 0 {
		return nil
	}
	events, err := r.cursor.Next(ctx, r.config.Batch)
	if err != nil {
		r.rewind()
		return fmt.Errorf("read the log after %d: %w", r.at, err)
	}
	last := r.at
	for _, e := range events {
		if e.Position <= last {
			return domain.Errorf(domain.Bug, nil, "the log delivered position %d after %d", e.Position, last)
		}
		last = e.Position
	}
	r.ahead = events
	return nil
}

// open takes the place the checkpoint says, after making sure that it is a
// place in this log.
func (r *runner) open(ctx context.Context) error {
	at, found, err := r.config.Store.Resume(ctx, r.gen.name())
	if err != nil {
		return fmt.Errorf("load the checkpoint of %s: %w", r.gen.name(), err)
	}
	incarnation, tail, err := identify(ctx, r.source)
	if err != nil {
		return err
	}
	if !found || !at.trusted(r.gen.model, incarnation, tail) {
		return fmt.Errorf("open %s at %d: %w", r.gen.name(), at.Position, errUntrusted)
	}
	cursor, err := r.source.Open(ctx, at.Position)
	if err != nil {
		return fmt.Errorf("open the log after %d: %w", at.Position, err)
	}
	r.cursor = cursor
	r.well()
	if at.Position != r.at { // somebody else moved it, or a write succeeded whose answer was lost
		r.at = at.Position
		r.moved(r.at, 0)
	}
	return nil
}

// fold folds what is ahead, up to a position. A batch ends early where it
// becomes large, and before an event that cannot be folded: what comes before
// it is written first.
func (r *runner) fold(ctx context.Context, until domain.Position) (*fold, error) {
	events, to := r.ahead, until
	for i, e := range events {
		if e.Position > until {
			events = events[:i]
			break
		}
	}
	docs, n, err := r.foldEvents(ctx, events)
	if err != nil && n > 0 && final(err) {
		docs, n, err = r.foldEvents(ctx, events[:n])
	}
	if err != nil {
		return nil, err
	}
	if n > 0 {
		to = events[n-1].Position
	}
	batch, err := docs.batch(r.at, to)
	if err != nil {
		return nil, domain.Errorf(domain.Bug, err, "read model %s cannot write its documents at %d", r.gen.model.Name, to)
	}
	r.ahead = r.ahead[n:]
	return &fold{batch, docs, n}, nil
}

// foldEvents folds events into fresh [Docs] and returns how many it folded.
func (r *runner) foldEvents(ctx context.Context, events []domain.Event) (_ *Docs, n int, err error) {
	defer func() {
		if err != nil { // documents may have been changed, and are not written
			r.recent.forget()
		}
	}()
	m := r.gen.model
	docs := newDocs(ctx, r.config.Store, r.gen, &r.recent)
	var refs []Ref
	for _, e := range events {
		if m.Types[e.Type] > 0 {
			refs = append(refs, m.Touches(e)...)
		}
	}
	if err := docs.prefetch(refs); err != nil {
		return nil, 0, err
	}
	for i, e := range events {
		owned, err := m.owns(e)
		if err != nil {
			return docs, i, err
		}
		if !owned {
			continue
		}
		if err := docs.fold(m, e); err != nil {
			return docs, i, err
		}
		if docs.dirty > batchBudget {
			return docs, i + 1, nil
		}
	}
	return docs, len(events), nil
}

// write saves the folded batch and announces it. When it fails the batch
// stays, and the next write repeats it as it is.
func (r *runner) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	f := r.unsaved
	err := r.config.Store.Apply(ctx, f.batch)
	switch {
	case err == nil:
		r.recent.keep(f.docs)
	case errors.Is(err, ErrRepeated):
		r.recent.forget() // it may have been folded over what another writer left
	case errors.Is(err, ErrMoved):
		r.rewind()
		fallthrough
	default:
		return fmt.Errorf("write %s up to %d: %w", r.gen.name(), f.batch.To, err)
	}
	r.unsaved, r.at = nil, f.batch.To
	r.config.Meter.Add(domain.EventsFolded, f.events, r.gen.model.Name)
	r.announce(ctx, f.docs.notices)
	r.moved(r.at, f.events)
	return nil
}

func (r *runner) announce(ctx context.Context, notices []Notice) {
	if r.announcer == nil || len(notices) == 0 {
		return
	}
	if err := r.announcer.Announce(ctx, notices); err != nil {
		r.config.Log.Warn("projections: notices were not announced",
			slog.String("model", r.gen.model.Name), slog.Uint64("position", uint64(r.at)),
			slog.Int("count", len(notices)), slog.String("error_kind", string(domain.KindOf(err))))
	}
}

// rewind forgets everything but the checkpoint.
func (r *runner) rewind() {
	if r.cursor != nil {
		_ = r.cursor.Close() // nothing was written through it
	}
	r.cursor, r.ahead, r.unsaved = nil, nil, nil
	r.recent.forget()
}

// identify asks the log who it is and how long.
func identify(ctx context.Context, s Source) (string, domain.Position, error) {
	incarnation, err := s.Incarnation(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("ask the log for its identity: %w", err)
	}
	tail, err := s.Tail(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("ask the log for its newest position: %w", err)
	}
	return incarnation, tail, nil
}

// final reports whether trying again is no use. Only an error that says of
// itself that it is a bug counts as one; an error without a kind may be
// anything a driver returns.
func final(err error) bool {
	if errors.Is(err, errUntrusted) || errors.Is(err, errReplaced) {
		return true
	}
	e, ok := errors.AsType[*domain.Error](err)
	return ok && e.Kind == domain.Bug
}

func backoff(failures int) time.Duration {
	return min(firstBackoff<<min(failures-1, 10), maxBackoff)
}
