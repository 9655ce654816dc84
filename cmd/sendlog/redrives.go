package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

const (
	// maxRedrives bounds the redrives that are remembered (of those that have
	// ended the oldest dry runs go first, then the oldest), and maxRunning those
	// that run at once.
	maxRedrives = 100
	maxRunning  = 16

	// maxLetterCounts bounds the lines of one redrive's counts. Beyond it
	// letters are summed up in one line.
	maxLetterCounts = 1000

	// redriveMoment is how long the one who starts a redrive waits for its end:
	// a small one is answered whole.
	redriveMoment = time.Second

	// redriveBurst is how much of its pace a redrive that was held up makes up
	// for at once.
	redriveBurst = 100 * time.Millisecond
)

// letters finds dead letters; *projections.Library does.
type letters interface {
	DeadLetters(ctx context.Context, f message.LetterFilter, p projections.Page) ([]message.DeadLetter, *projections.Mark, error)
	DeadLettersByID(ctx context.Context, t domain.TenantID, ids []string) (map[string]message.DeadLetter, error)
}

// redrives tries dead letters again, at a pace. How far each is, this process
// remembers; what it did is in the log, one event a message. So one that is cut
// off is started again and goes on where it was: what it redrove is not dead.
type redrives struct {
	letters  letters
	redriver *message.Redriver
	clock    domain.Clock
	log      *slog.Logger
	start    chan *redrive

	mu   sync.Mutex
	jobs []*redrive // oldest first
}

// redrive is one of them. Its state is guarded by redrives.mu.
type redrive struct {
	wish   api.RedriveWish
	ctx    context.Context // of all its work
	cancel context.CancelFunc
	ended  chan struct{}
	state  api.Redriving
	counts map[letterKind]int
	began  time.Time // when all that matches was counted; zero before
}

type letterKind struct {
	tenant domain.TenantID
	code   int
}

func newRedrives(l letters, r *message.Redriver, c domain.Clock, log *slog.Logger) *redrives {
	return &redrives{letters: l, redriver: r, clock: c, log: log, start: make(chan *redrive, maxRunning)}
}

// StartRedrive implements api.Redrives.
func (r *redrives) StartRedrive(ctx context.Context, w api.RedriveWish) (api.Redriving, error) {
	job, err := r.admit(w)
	if err != nil {
		return api.Redriving{}, err
	}
	moment, cancel := context.WithTimeout(ctx, redriveMoment)
	defer cancel()
	select {
	case <-job.ended:
	case <-moment.Done():
	}
	return r.Redrive("", job.state.ID)
}

// admit makes place for a redrive and hands it to run.
func (r *redrives) admit(w api.RedriveWish) (*redrive, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := 0
	for _, job := range r.jobs {
		if job.state.State != "running" {
			continue
		}
		if running++; job.state.Tenant == w.Filter.Tenant {
			return nil, domain.Errorf(domain.Taken, nil, "the redrive %s is running; wait for its end, or cancel it", job.state.ID)
		}
	}
	if running >= maxRunning {
		return nil, domain.Errorf(domain.Limited, nil, "%d redrives are running; try again later", running)
	}
	ctx, cancel := context.WithCancel(context.Background()) // outlives the request that asked for it
	job := &redrive{wish: w, ctx: ctx, cancel: cancel, ended: make(chan struct{}), counts: map[letterKind]int{},
		state: api.Redriving{ID: "redrive_" + domain.Digest("redrive", domain.NewUUID()), Tenant: w.Filter.Tenant,
			State: "running", DryRun: w.DryRun, By: w.By, Rate: w.Rate, StartedAt: r.clock.Now()}}
	r.jobs = append(r.jobs, job)
	if len(r.jobs) > maxRedrives {
		i := slices.IndexFunc(r.jobs, func(j *redrive) bool { return j.state.State != "running" && j.wish.DryRun })
		if i < 0 {
			i = slices.IndexFunc(r.jobs, func(j *redrive) bool { return j.state.State != "running" })
		}
		r.jobs = slices.Delete(r.jobs, i, i+1)
	}
	r.start <- job // never waits: it holds as many as may run
	return job, nil
}

// run works on redrives until ctx ends, and returns when all have stopped.
func (r *redrives) run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	for {
		select {
		case job := <-r.start:
			working.Go(func() { r.work(ctx, job) })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *redrives) work(ctx context.Context, job *redrive) {
	defer context.AfterFunc(ctx, job.cancel)()
	err := r.do(job.ctx, job)
	interrupted := job.ctx.Err() != nil
	job.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &job.state
	switch {
	case err == nil:
		s.State = "done"
	case interrupted:
		s.State = "cancelled"
	default:
		s.State = "failed"
		s.Error = reason(err) + "; what is not redriven is still dead: start it again and it goes on where it was"
		r.log.Warn("sendlog: redrive failed", "redrive", s.ID, "error", err.Error())
	}
	s.EndedAt = r.clock.Now()
	close(job.ended)
	count := "redriven"
	if s.DryRun {
		count = "would_redrive"
	}
	r.log.Info("sendlog: redrive ended", "redrive", s.ID, "state", s.State, "dry_run", s.DryRun, "by", s.By, "tenant", s.Tenant,
		"matched", s.Matched, count, s.Redriven)
}

// do counts what matches, then goes through it.
func (r *redrives) do(ctx context.Context, job *redrive) error {
	err := r.each(ctx, job, func(l message.DeadLetter) error { r.count(job, l); return nil })
	if err != nil {
		return err
	}
	r.mu.Lock()
	job.began = r.clock.Now()
	r.mu.Unlock()
	due := job.began
	return r.each(ctx, job, func(l message.DeadLetter) error {
		k := message.OutgoingKey(l.Tenant, l.Number, l.Message)
		switch {
		case l.Position == 0:
			return r.note(ctx, job, l.Message, domain.Errorf(domain.Unknown, nil, "it is not among the dead letters"))
		case job.wish.DryRun:
			return r.note(ctx, job, l.Message, r.redriver.Check(ctx, k))
		}
		if err := r.clock.Sleep(ctx, due.Sub(r.clock.Now())); err != nil {
			return err
		}
		// Little of what was late is made up for: the pace is a promise to live traffic.
		if latest := r.clock.Now().Add(-redriveBurst); due.Before(latest) {
			due = latest
		}
		due = due.Add(time.Second / time.Duration(job.wish.Rate))
		return r.note(ctx, job, l.Message, r.redriver.Redrive(ctx, k, job.wish.By, job.state.ID))
	})
}

// each calls fn for every letter of a redrive. Those that die while it runs are
// newer than where it has come to, so it meets each letter once.
func (r *redrives) each(ctx context.Context, job *redrive, fn func(message.DeadLetter) error) error {
	if job.wish.IDs != nil {
		return r.eachNamed(ctx, job, fn)
	}
	page := projections.Page{Limit: domain.MaxPage}
	for {
		found, next, err := r.letters.DeadLetters(ctx, job.wish.Filter, page)
		if err != nil {
			return err
		}
		for _, l := range found {
			if err := fn(l); err != nil {
				return err
			}
		}
		if next == nil {
			return ctx.Err()
		}
		page.After = next
	}
}

// eachNamed calls fn for every message that was named. One that is not among
// the dead letters has no position.
func (r *redrives) eachNamed(ctx context.Context, job *redrive, fn func(message.DeadLetter) error) error {
	for ids := range slices.Chunk(job.wish.IDs, domain.MaxPage) {
		found, err := r.letters.DeadLettersByID(ctx, job.wish.Filter.Tenant, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			l, ok := found[id]
			if !ok {
				l.Message = domain.MessageID(id)
			}
			if err := fn(l); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (r *redrives) count(job *redrive, l message.DeadLetter) {
	if l.Position == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	job.state.Matched++
	kind := letterKind{l.Tenant, l.Code}
	if _, known := job.counts[kind]; !known && len(job.counts) >= maxLetterCounts {
		kind = letterKind{}
	}
	job.counts[kind]++
}

// note remembers what became of one message. Only an error that says nothing
// of the message ends the redrive.
func (r *redrives) note(ctx context.Context, job *redrive, id domain.MessageID, err error) error {
	if err != nil && (ctx.Err() != nil || domain.KindOf(err) == domain.Unavailable) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		job.state.Redriven++
		return nil
	}
	why := reason(err)
	i := slices.IndexFunc(job.state.Skipped, func(s api.Skipped) bool { return s.Reason == why })
	if i < 0 {
		i = len(job.state.Skipped)
		job.state.Skipped = append(job.state.Skipped, api.Skipped{Reason: why, Example: id})
	}
	job.state.Skipped[i].Count++
	return nil
}

// reason is what of an error is for everybody.
func reason(err error) string {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e.Message
	}
	return "something broke on our side"
}

// Redrives implements api.Redrives.
func (r *redrives) Redrives(t domain.TenantID) []api.Redriving {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []api.Redriving
	for _, job := range slices.Backward(r.jobs) {
		if (t == "" || job.state.Tenant == t) && !job.wish.DryRun { // which did nothing
			all = append(all, r.view(job))
		}
	}
	return all
}

// Redrive implements api.Redrives.
func (r *redrives) Redrive(t domain.TenantID, id string) (api.Redriving, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	job, err := r.find(t, id)
	if err != nil {
		return api.Redriving{}, err
	}
	return r.view(job), nil
}

// CancelRedrive implements api.Redrives.
func (r *redrives) CancelRedrive(ctx context.Context, t domain.TenantID, id string) (api.Redriving, error) {
	r.mu.Lock()
	job, err := r.find(t, id)
	if err == nil && job.state.State != "running" {
		err = domain.Errorf(domain.Taken, nil, "it has ended")
	}
	r.mu.Unlock()
	if err != nil {
		return api.Redriving{}, err
	}
	job.cancel()
	select {
	case <-job.ended: // after one append at most
	case <-ctx.Done():
	}
	return r.Redrive(t, id)
}

func (r *redrives) find(t domain.TenantID, id string) (*redrive, error) {
	for _, job := range r.jobs {
		if job.state.ID == id && (t == "" || job.state.Tenant == t) {
			return job, nil
		}
	}
	return nil, domain.Errorf(domain.Unknown, nil, "this process knows no such redrive; what it did is in the timelines of its messages")
}

// view copies what is known of a redrive.
func (r *redrives) view(job *redrive) api.Redriving {
	v := job.state
	v.Skipped = slices.Clone(v.Skipped)
	for kind, n := range job.counts {
		v.Counts = append(v.Counts, api.LetterCount{Tenant: kind.tenant, Code: kind.code, Count: n})
	}
	slices.SortFunc(v.Counts, func(a, b api.LetterCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Code, b.Code))
	})
	if v.State == "running" && !job.began.IsZero() {
		v.ETA = job.eta(r.clock.Now())
	}
	return v
}

// eta goes by the pace so far: the log may be slower than the rate allows.
func (j *redrive) eta(now time.Time) time.Duration {
	done := j.state.Redriven
	for _, s := range j.state.Skipped {
		done += s.Count
	}
	if done == 0 || j.state.Matched <= done {
		return 0
	}
	return now.Sub(j.began) / time.Duration(done) * time.Duration(j.state.Matched-done)
}
