package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

const (
	// redriveBurst is how much of its pace a redrive that was held up makes up
	// for at once, and redriveChunk bounds the messages it asks for at once.
	redriveBurst = 100 * time.Millisecond
	redriveChunk = 32
)

// letters finds dead letters; letterBox does.
type letters interface {
	DeadLetters(ctx context.Context, f message.LetterFilter, p projections.Page) ([]message.DeadLetter, *projections.Mark, error)
	DeadLettersByID(ctx context.Context, t domain.TenantID, ids []string) (map[string]message.DeadLetter, error)
	// Corpses tells what a redrive of messages would meet, as of a moment after
	// the first call of a dry run. One that is not known is left out.
	Corpses(ctx context.Context, ids []string) (map[string]message.Corpse, error)
	// CaughtUp returns once everything recorded before the call is told of.
	CaughtUp(ctx context.Context) error
}

// walk counts what matches, then goes through it. A dry run does both at once.
func (r *redrives) walk(ctx context.Context, w *redriveWork) error {
	now, err := r.look(w)
	switch {
	case err != nil:
		return err
	case now.Cancel:
		return context.Canceled
	case now.DryRun:
		err = r.letters.CaughtUp(ctx)
	case !now.Counted:
		err = r.tally(ctx, w)
	}
	if err != nil {
		return err
	}
	w.began, w.due, w.from = r.clock.Now(), r.clock.Now(), now.done()
	if now.IDs != nil {
		return r.walkNamed(ctx, w)
	}
	return r.walkSelected(ctx, w)
}

// tally counts what matches.
func (r *redrives) tally(ctx context.Context, w *redriveWork) error {
	sum := redriveRecord{counts: map[letterKind]int{}}
	add := func(all []message.DeadLetter) error {
		for _, l := range all {
			sum.count(l)
		}
		return r.on(w, func(rec *redriveRecord) { rec.Matched = sum.Matched })
	}
	if err := r.each(ctx, w, add); err != nil {
		return err
	}
	return r.on(w, func(rec *redriveRecord) { rec.counts, rec.Counted = sum.counts, true })
}

// each hands on all letters of a redrive.
func (r *redrives) each(ctx context.Context, w *redriveWork, fn func([]message.DeadLetter) error) error {
	for ids := range slices.Chunk(w.wish.IDs, domain.MaxPage) {
		found, err := r.named(ctx, w, ids)
		if err == nil {
			err = fn(found)
		}
		if err != nil {
			return err
		}
	}
	for page := (projections.Page{Limit: domain.MaxPage}); w.wish.IDs == nil; {
		found, next, err := r.letters.DeadLetters(ctx, w.wish.filter(), page)
		if err == nil {
			err = fn(found)
		}
		if err != nil {
			return err
		}
		if page.After = next; next == nil {
			break
		}
	}
	return ctx.Err()
}

// named returns the letters of messages that were named. One that is not among
// the dead letters has no position.
func (r *redrives) named(ctx context.Context, w *redriveWork, ids []string) ([]message.DeadLetter, error) {
	found, err := r.letters.DeadLettersByID(ctx, w.wish.Filter.Tenant, ids)
	if err != nil {
		return nil, err
	}
	all := make([]message.DeadLetter, len(ids))
	for i, id := range ids {
		all[i] = found[id]
		all[i].Message = domain.MessageID(id)
	}
	return all, nil
}

// walkNamed goes on through the messages that were named.
func (r *redrives) walkNamed(ctx context.Context, w *redriveWork) error {
	for {
		now, err := r.look(w)
		if err != nil {
			return err
		}
		ids := now.IDs[now.Named:]
		if len(ids) == 0 {
			return ctx.Err()
		}
		found, err := r.named(ctx, w, ids[:min(len(ids), domain.MaxPage)])
		if err != nil {
			return err
		}
		past := func(rec *redriveRecord, _ message.DeadLetter) { rec.Named++ }
		if err := r.treat(ctx, w, found, past); err != nil {
			return err
		}
	}
}

// walkSelected goes on through the letters that the filter selects. Those that
// die while it runs are newer than where it has come to, so it meets each once.
//
// A portion is recorded before it is begun. When the process ends in it, some of
// its letters are redriven and not counted, and no longer dead. So whoever goes
// on looks at all letters of that portion, and finds out which were its own.
func (r *redrives) walkSelected(ctx context.Context, w *redriveWork) error {
	for {
		now, err := r.look(w)
		if err != nil {
			return err
		}
		filter, resumes := now.filter(), now.Until != nil
		if resumes {
			filter.State = ""
		}
		found, next, err := r.letters.DeadLetters(ctx, filter, projections.Page{After: now.After.mark(), Limit: domain.MaxPage})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(found, func(l message.DeadLetter) bool { return resumes && int64(l.Position) < now.Until.Value }); i >= 0 {
			found, next = found[:i], nil
		}
		if len(found) > 0 && !resumes && !now.DryRun {
			if err := r.save(ctx, w, func(rec *redriveRecord) { rec.Until = markOf(found[len(found)-1]) }); err != nil {
				return err
			}
		}
		past := func(rec *redriveRecord, l message.DeadLetter) { rec.After = markOf(l) }
		if err := r.treat(ctx, w, found, past); err != nil {
			return err
		}
		err = r.on(w, func(rec *redriveRecord) {
			switch {
			case next != nil:
				mark := markRecord(*next)
				rec.After = &mark
			case resumes:
				rec.After = now.Until
			}
			if !resumes || next == nil {
				rec.Until = nil
			}
		})
		if err != nil || next == nil && !resumes {
			return errors.Join(err, ctx.Err())
		}
	}
}

// treat redrives letters at the pace, or looks what that would do. past notes
// that one is done with.
func (r *redrives) treat(ctx context.Context, w *redriveWork, all []message.DeadLetter, past func(*redriveRecord, message.DeadLetter)) error {
	for len(all) > 0 {
		n, treat := len(all), r.examine
		if !w.wish.DryRun {
			var err error
			if n, err = r.turn(ctx, w, len(all)); err != nil {
				return err
			}
			treat = r.redrive
		}
		errs, err := treat(ctx, w, all[:n])
		if err != nil {
			return err
		}
		if err := r.note(w, all[:n], errs, past); err != nil {
			return err
		}
		all = all[n:]
	}
	return ctx.Err()
}

// examine returns what a redrive of letters would answer.
func (r *redrives) examine(ctx context.Context, w *redriveWork, all []message.DeadLetter) ([]error, error) {
	ids := idsOf(all)
	corpses, err := r.letters.Corpses(ctx, ids)
	if err != nil {
		return nil, err
	}
	errs, now := make([]error, len(all)), r.clock.Now()
	for i, l := range all {
		errs[i] = corpses[ids[i]].Refusal(now)
		if isNoLetter(l) {
			errs[i] = noLetter(w.wish.Filter.Tenant, corpses, l.Message)
		}
	}
	return errs, nil
}

// redrive asks for messages to be tried again. What it has begun it finishes,
// also when it is stopped.
func (r *redrives) redrive(ctx context.Context, w *redriveWork, all []message.DeadLetter) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var others map[string]message.Corpse
	if slices.ContainsFunc(all, isNoLetter) {
		var err error
		if others, err = r.letters.Corpses(ctx, idsOf(all)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*domain.AppendTimeout)
	defer cancel()
	errs := make([]error, len(all))
	var working sync.WaitGroup
	for i, l := range all {
		working.Go(func() {
			if isNoLetter(l) {
				errs[i] = noLetter(w.wish.Filter.Tenant, others, l.Message)
			} else {
				errs[i] = r.redriver.Redrive(ctx, message.OutgoingKey(l.Tenant, l.Number, l.Message), w.wish.By, w.wish.ID)
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		return nil, domain.Errorf(domain.Unavailable, ctx.Err(), "the log did not answer in time")
	}
	return errs, nil
}

func idsOf(all []message.DeadLetter) []string {
	ids := make([]string, len(all))
	for i, l := range all {
		ids[i] = string(l.Message)
	}
	return ids
}

// isNoLetter reports whether a message was named that is not among the dead
// letters.
func isNoLetter(l message.DeadLetter) bool { return l.Position == 0 }

// noLetter says what a message is that is not among the dead letters; of one
// that is not the tenant's it tells nothing.
func noLetter(t domain.TenantID, known map[string]message.Corpse, id domain.MessageID) error {
	c, ok := known[string(id)]
	if !ok || t != "" && c.Tenant != t {
		return domain.Errorf(domain.Unknown, nil, "it is not among the dead letters")
	}
	return c.NoLetter()
}

// note notes what became of letters, in order. Only an error that says nothing
// of the message ends the redrive: what comes after it is asked for again, which
// does no harm.
func (r *redrives) note(w *redriveWork, all []message.DeadLetter, errs []error, past func(*redriveRecord, message.DeadLetter)) error {
	var stuck error
	err := r.on(w, func(rec *redriveRecord) {
		for i, l := range all {
			if stuck = errs[i]; domain.KindOf(stuck) == domain.Unavailable {
				return
			}
			past(rec, l)
			if rec.DryRun {
				rec.count(l)
			}
			if stuck != nil && rec.Until != nil && l.State != message.LetterDead {
				continue // looked at only because it might have been this redrive's
			}
			rec.note(l, stuck)
		}
		stuck = nil
		if spent := r.clock.Now().Sub(w.began).Seconds(); spent > 0 {
			rec.PerSecond = float64(rec.done()-w.from) / spent
		}
	})
	return cmp.Or(err, stuck)
}

// turn waits until the pace allows the next message, and returns how many it
// allows of so many.
func (r *redrives) turn(ctx context.Context, w *redriveWork, most int) (int, error) {
	if err := r.clock.Sleep(ctx, w.due.Sub(r.clock.Now())); err != nil {
		return 0, err
	}
	rate, now := r.pace(w), r.clock.Now()
	// Little of what was late is made up for: the pace is a promise to live traffic.
	if latest := now.Add(-redriveBurst); w.due.Before(latest) {
		w.due = latest
	}
	n := min(most, redriveChunk, 1+max(0, int(now.Sub(w.due).Seconds()*rate)))
	w.due = w.due.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	return n, nil
}

// pace is how many messages a second a redrive may ask for now.
func (r *redrives) pace(w *redriveWork) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.allowed(&w.wish)
}

// allowed is pace. The caller holds the lock.
func (r *redrives) allowed(wish *redriveRecord) float64 {
	var running []*redriveRecord
	for _, other := range r.known {
		if other.record.State == redriveRunning {
			running = append(running, &other.record)
		}
	}
	return pace(wish, running)
}
