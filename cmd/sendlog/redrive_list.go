package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

const (
	// redrivesOfTenant bounds the redrives of one tenant that run at once (those
	// over all tenants count as one tenant's), and redrivesAtOnce all of them.
	redrivesOfTenant = 4
	redrivesAtOnce   = 256

	// redriveKept is how long a redrive that has ended is told of. Earlier ones
	// go when there are more than keptOfTenant of a tenant, or keptInAll: dry
	// runs first, then the oldest.
	redriveKept  = 7 * 24 * time.Hour
	keptOfTenant = 50
	keptInAll    = 1000

	// redriveMoment is how long the one who starts a redrive waits for its end:
	// a small one is answered whole.
	redriveMoment = time.Second
)

// StartRedrive implements api.Redrives.
func (r *redrives) StartRedrive(ctx context.Context, w api.RedriveWish) (api.Redriving, error) {
	id, err := r.start(ctx, w)
	if err != nil {
		return api.Redriving{}, err
	}
	moment, cancel := context.WithTimeout(ctx, redriveMoment)
	defer cancel()
	r.await(moment, id)
	return r.Redrive("", id)
}

// start records a redrive and returns its id.
func (r *redrives) start(ctx context.Context, w api.RedriveWish) (string, error) {
	record := redriveRecord{ID: "redrive_" + domain.Digest("redrive", domain.NewUUID()), By: w.By, IDs: w.IDs, Filter: filterRecord(w.Filter),
		Rate: w.Rate, DryRun: w.DryRun, StartedAt: r.clock.Now().UTC(), Owner: r.me, State: redriveRunning, counts: map[letterKind]int{}}
	if err := r.admit(&record); err != nil {
		return "", err
	}
	job, err := r.write(ctx, record, 0)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.heed(job, record)
	r.mu.Unlock()
	r.forget(ctx, record.Filter.Tenant)
	return record.ID, nil
}

// admit refuses a redrive that is one too many. Two processes that admit at the
// same moment do not know of each other's.
func (r *redrives) admit(wish *redriveRecord) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, own := 0, 0
	for _, j := range r.known {
		if j.record.State != redriveRunning {
			continue
		}
		all++
		if j.record.Filter.Tenant == wish.Filter.Tenant {
			own++
		}
		if j.record.same(wish) {
			return domain.Errorf(domain.Taken, nil, "the redrive %s of the same letters is running; wait for its end, or cancel it", j.record.ID)
		}
	}
	switch {
	case own >= redrivesOfTenant:
		return domain.Errorf(domain.Limited, nil, "%d redrives of these dead letters are running; wait for the end of one, or cancel one", own)
	case all >= redrivesAtOnce:
		return domain.Errorf(domain.Limited, nil, "%d redrives are running; try again later", all)
	}
	return nil
}

// await returns when a redrive has ended, or ctx has.
func (r *redrives) await(ctx context.Context, id string) {
	for {
		r.mu.Lock()
		j, change := r.known[id], r.change
		ended := j == nil || j.record.State != redriveRunning
		r.mu.Unlock()
		if ended {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

// forget lets go of redrives that have ended when there are too many: of the
// tenant that has started another one, or in all.
func (r *redrives) forget(ctx context.Context, t domain.TenantID) {
	r.mu.Lock()
	var own, all []*redrive
	for _, j := range r.sorted() {
		if all = append(all, j); j.record.Filter.Tenant == t {
			own = append(own, j)
		}
	}
	j := spare(own, keptOfTenant)
	if j == nil {
		j = spare(all, keptInAll)
	}
	if j == nil {
		r.mu.Unlock()
		return
	}
	job := streams.Job{ID: j.record.ID, Version: j.version}
	r.heed(streams.Job{ID: job.ID}, redriveRecord{})
	r.mu.Unlock()
	_, err := r.jobs.Write(ctx, job)
	if err == nil {
		return
	}
	r.mu.Lock()
	delete(r.gone, job.ID) // nobody will tell of the end
	r.mu.Unlock()
	if !errors.Is(err, domain.ErrConflict) {
		r.log.Warn("sendlog: an old redrive was not forgotten", "redrive", job.ID, "error", err.Error())
	}
}

// spare is the redrive to forget when there are more than so many, newest
// first: a dry run if there is one, and the oldest.
func spare(all []*redrive, most int) (old *redrive) {
	if len(all) <= most {
		return nil
	}
	for _, j := range all {
		if j.record.State != redriveRunning && (old == nil || j.record.DryRun || !old.record.DryRun) {
			old = j
		}
	}
	return old
}

// sorted returns the redrives that are told of, newest first. The caller holds
// the lock.
func (r *redrives) sorted() []*redrive {
	var all []*redrive
	limit := r.clock.Now().Add(-redriveKept)
	for _, j := range r.known {
		if j.record.State == redriveRunning || j.record.EndedAt.After(limit) {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b *redrive) int {
		return cmp.Or(b.record.StartedAt.Compare(a.record.StartedAt), cmp.Compare(b.version, a.version))
	})
	return all
}

// Redrives implements api.Redrives.
func (r *redrives) Redrives(t domain.TenantID) []api.Redriving {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []api.Redriving
	for _, j := range r.sorted() {
		if (t == "" || j.record.Filter.Tenant == t) && !j.record.DryRun { // which did nothing
			all = append(all, j.record.view(r.allowed(&j.record)))
		}
	}
	return all
}

// Redrive implements api.Redrives.
func (r *redrives) Redrive(t domain.TenantID, id string) (api.Redriving, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := r.find(t, id)
	if err != nil {
		return api.Redriving{}, err
	}
	return j.record.view(r.allowed(&j.record)), nil
}

func (r *redrives) find(t domain.TenantID, id string) (*redrive, error) {
	j := r.known[id]
	if j == nil || t != "" && j.record.Filter.Tenant != t || j.record.State != redriveRunning && r.clock.Now().Sub(j.record.EndedAt) >= redriveKept {
		return nil, domain.Errorf(domain.Unknown, nil, "there is no such redrive, or it is long done; what it did is in the timelines of its messages")
	}
	return j, nil
}

// CancelRedrive implements api.Redrives. Whoever works the redrive reads the
// wish in its record.
func (r *redrives) CancelRedrive(ctx context.Context, t domain.TenantID, id string) (api.Redriving, error) {
	for asked := false; !asked; {
		r.mu.Lock()
		j, err := r.find(t, id)
		if err == nil && j.record.State != redriveRunning {
			err = domain.Errorf(domain.Taken, nil, "it has ended")
		}
		if err != nil {
			r.mu.Unlock()
			return api.Redriving{}, err
		}
		record, version, change := j.record.clone(), j.version, r.change
		if j.work != nil {
			j.record.Cancel = true
			j.work.stop()
			r.mu.Unlock()
			break
		}
		r.mu.Unlock()
		if asked, err = r.wishEnd(ctx, record, version, change); err != nil {
			return api.Redriving{}, err
		}
	}
	r.await(ctx, id)
	return r.Redrive(t, id)
}

// wishEnd records that a redrive of another process is to end, and reports
// false when that process was faster.
func (r *redrives) wishEnd(ctx context.Context, record redriveRecord, version uint64, change <-chan struct{}) (bool, error) {
	record.Cancel = true
	job, err := r.write(ctx, record, version)
	if errors.Is(err, domain.ErrConflict) {
		select {
		case <-change:
			return false, nil
		case <-ctx.Done():
			return false, domain.Errorf(domain.Unavailable, ctx.Err(), "the redrive could not be cancelled in time; try again")
		}
	}
	if err == nil {
		r.take(job)
	}
	return err == nil, err
}
