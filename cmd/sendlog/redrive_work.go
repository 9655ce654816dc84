package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

const (
	// What may pass is tried again, less and less often, and given up when
	// nothing has moved for redrivePatience.
	redriveRetryFirst = 100 * time.Millisecond
	redriveRetryMost  = 5 * time.Second
	redrivePatience   = 10 * time.Minute
)

// redriveWork is the time for which this process works a redrive.
type redriveWork struct {
	of    *redrive
	wish  redriveRecord // what was asked for, as it was when the work began
	ctx   context.Context
	stop  context.CancelFunc
	saved time.Time // when the record was last written; guarded by redrives.mu
	began time.Time // when it began to go through the letters
	from  int       // how many were done by then
	due   time.Time // of the next message
}

// begin makes a redrive this process's. The caller holds redrives.mu.
func (j *redrive) begin(ctx context.Context, owner string) *redriveWork {
	j.record.Owner = owner
	j.work = &redriveWork{of: j, wish: j.record.clone()}
	j.work.ctx, j.work.stop = context.WithCancel(ctx)
	return j.work
}

// on changes what is known of a redrive, unless the work on it is over.
func (r *redrives) on(w *redriveWork, change func(*redriveRecord)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.of.work != w {
		return errOvertaken
	}
	change(&w.of.record)
	return nil
}

// look copies what is known of a redrive.
func (r *redrives) look(w *redriveWork) (now redriveRecord, err error) {
	err = r.on(w, func(rec *redriveRecord) { now = rec.clone() })
	return now, err
}

// keep changes nothing of a record.
func keep(*redriveRecord) {}

// perform works one redrive, once its record says that it is this process's,
// until it ends, or another process has it, or ctx ends.
func (r *redrives) perform(ctx context.Context, w *redriveWork) {
	defer w.stop()
	err := errNotBegun
	if r.save(w.ctx, w, keep) == nil {
		var beating sync.WaitGroup
		beating.Go(func() { r.beat(w) })
		err = r.persist(w)
		w.stop()
		beating.Wait()
	}
	r.conclude(ctx, w, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.of.work == w {
		w.of.work = nil
	}
	r.changed()
}

// beat records now and then how far it is. Who cannot do that for long may have
// been replaced, and stops.
func (r *redrives) beat(w *redriveWork) {
	for r.clock.Sleep(w.ctx, redriveBeat) == nil {
		err := r.save(w.ctx, w, keep)
		r.mu.Lock()
		silent := r.clock.Now().Sub(w.saved)
		r.mu.Unlock()
		if err != nil && r.lease > 0 && silent > r.lease/2 {
			w.stop()
		}
	}
}

// conclude records how it ended, or that it waits for another process.
func (r *redrives) conclude(ctx context.Context, w *redriveWork, err error) {
	end, gone := r.look(w)
	switch {
	case gone != nil:
		return
	case err == nil:
		end.State = redriveDone
	case end.Cancel:
		end.State = redriveCancelled
	case ctx.Err() != nil:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting) // the process stops: somebody may go on at once
		defer cancel()
		_ = r.save(ctx, w, func(rec *redriveRecord) { rec.Owner = "" }) // or after the lease
		return
	case errors.Is(err, context.Canceled), errors.Is(err, errNotBegun):
		_ = r.clock.Sleep(ctx, redriveBeat) // it could not say that it is there: it is begun again, or somebody else has
		return
	default:
		end.State = redriveFailed
		end.Error = reason(err) + "; what is not redriven is still dead: start it again and it goes on where it was"
		r.log.Warn("sendlog: redrive failed", "redrive", end.ID, "error", err.Error())
	}
	end.EndedAt = r.clock.Now().UTC()
	for {
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
		err := r.save(try, w, func(rec *redriveRecord) {
			rec.State, rec.Error, rec.EndedAt, rec.Owner = end.State, end.Error, end.EndedAt, ""
		})
		cancel()
		switch {
		case err == nil:
			r.ended(end)
			return
		case errors.Is(err, errOvertaken), r.clock.Sleep(ctx, redriveRetryFirst) != nil:
			return // who comes next finds nothing left
		}
	}
}

// errNotBegun says that the record could not be made to say who works it.
var errNotBegun = errors.New("the redrive was not begun")

func (r *redrives) ended(end redriveRecord) {
	count := "redriven"
	if end.DryRun {
		count = "would_redrive"
	}
	r.log.Info("sendlog: redrive ended", "redrive", end.ID, "state", end.State, "dry_run", end.DryRun, "by", end.By, "tenant", end.Filter.Tenant,
		"matched", end.Matched, count, end.Redriven)
}

// persist goes through the letters, and goes on after what may pass.
func (r *redrives) persist(w *redriveWork) error {
	began, wait, before := r.clock.Now(), redriveRetryFirst, 0
	for {
		err := r.walk(w.ctx, w)
		switch {
		case err == nil:
			return nil
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case domain.KindOf(err) != domain.Unavailable:
			return err
		}
		if now, err := r.look(w); err == nil && now.done() != before {
			began, wait, before = r.clock.Now(), redriveRetryFirst, now.done()
		}
		if r.clock.Now().Sub(began) > r.patience {
			return err
		}
		if err := r.clock.Sleep(w.ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, redriveRetryMost)
	}
}

// reason is what of an error is for everybody.
func reason(err error) string {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e.Message
	}
	return "something broke on our side"
}
