package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

const (
	// redriveTotal is what all redrives together ask for (messages a second).
	redriveTotal = 1000

	// redriveBeat is how often whoever works a redrive records how far it is, and
	// everybody looks for one that nobody works; redriveLease is how long its
	// worker may be silent before another process takes it over, and how long it
	// works on when it cannot record anything is half of that.
	redriveBeat  = time.Second
	redriveLease = 10 * time.Second

	// maxLetterCounts bounds the lines of one redrive's counts. Beyond it
	// letters are summed up in one line.
	maxLetterCounts = 1000

	// parting bounds what is recorded of redrives when the process stops.
	parting = 3 * time.Second
)

// jobStore keeps the records of redrives; *streams.Jobs does.
type jobStore interface {
	Write(context.Context, streams.Job) (version uint64, err error)
	Follow(ctx context.Context, take func(streams.Job), caughtUp func()) error
}

// redrives tries dead letters again, at a pace. Every process knows all of
// them from their records. Each is worked by one process at a time, its owner,
// who records how far it is; when the owner ends or falls silent another one
// goes on (ADR 0012).
type redrives struct {
	redriveConfig
	me    string        // this process, as owner
	wake  chan struct{} // something is to be attended to
	ready chan struct{} // closed when all records are known

	mu     sync.Mutex
	known  map[string]*redrive
	gone   map[string]bool // forgotten here, until that is told
	change chan struct{}   // closed and replaced at every change
}

// redriveConfig is what redrives need.
type redriveConfig struct {
	letters  letters
	redriver *message.Redriver
	jobs     jobStore
	clock    domain.Clock
	log      *slog.Logger
	lease    time.Duration // 0: this is the only process, so nobody works what it does not
	patience time.Duration // how long a redrive tries what may succeed later
}

// redrive is one of them as this process knows it. All but saving is guarded by
// redrives.mu.
type redrive struct {
	record  redriveRecord // while it is worked here, ahead of what is recorded
	version uint64
	heard   time.Time // when that version came
	work    *redriveWork
	saving  sync.Mutex // one write of the record at a time
}

func newRedrives(c redriveConfig) *redrives {
	return &redrives{redriveConfig: c, me: domain.NewUUID(), wake: make(chan struct{}, 1), ready: make(chan struct{}),
		known: map[string]*redrive{}, gone: map[string]bool{}, change: make(chan struct{})}
}

// run works on redrives until ctx ends, and returns when all have stopped.
func (r *redrives) run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.jobs.Follow(ctx, r.take, func() { close(r.ready) }) }()
	beat := time.NewTicker(redriveBeat)
	defer beat.Stop()
	for {
		select {
		case <-r.ready:
			r.attend(ctx, &working)
		default:
		}
		select {
		case <-r.wake:
		case <-beat.C:
		case err := <-ended:
			return err
		}
	}
}

// take hears of a record. One that this process works is ahead of it, unless
// somebody else wrote it: whoever wants it to end, or has taken it over.
func (r *redrives) take(job streams.Job) {
	record, err := decodeRedrive(job.Record)
	if err != nil && len(job.Record) > 0 {
		r.log.Error("sendlog: the record of a redrive cannot be read", "redrive", job.ID, "error", err.Error())
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heed(job, record)
}

// heed is take. The caller holds the lock.
func (r *redrives) heed(job streams.Job, record redriveRecord) {
	j := r.known[job.ID]
	switch {
	case len(job.Record) == 0:
		delete(r.known, job.ID)
		if delete(r.gone, job.ID); job.Version == 0 {
			r.gone[job.ID] = true
		}
	case r.gone[job.ID]: // written before it was forgotten, and told late
	case j == nil:
		j = &redrive{}
		r.known[job.ID] = j
		fallthrough
	case job.Version > j.version:
		j.version, j.heard = job.Version, r.clock.Now()
		switch {
		case j.work == nil:
			j.record = record
		case record.Owner != r.me: // taken over: it was silent for too long
			j.work.stop()
			j.work, j.record = nil, record
		case record.Cancel:
			j.record.Cancel = true
			j.work.stop()
		}
	default:
		return
	}
	r.changed()
}

// changed tells who waits, and looks whether there is something to do. The
// caller holds the lock.
func (r *redrives) changed() {
	close(r.change)
	r.change = make(chan struct{})
	r.rouse()
}

func (r *redrives) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// attend takes over what nobody works, and begins what is this process's.
func (r *redrives) attend(ctx context.Context, working *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for _, j := range r.known {
		if ctx.Err() != nil || j.record.State != redriveRunning || j.work != nil {
			continue
		}
		if j.record.Owner != "" && j.record.Owner != r.me && now.Sub(j.heard) < r.lease {
			continue
		}
		w := j.begin(ctx, r.me)
		working.Go(func() { r.perform(ctx, w) })
	}
}

// write writes a record over the version that is known, and returns it as it is
// kept then.
func (r *redrives) write(ctx context.Context, record redriveRecord, version uint64) (streams.Job, error) {
	data, err := record.encode()
	if err != nil {
		return streams.Job{}, domain.Errorf(domain.Bug, err, "a redrive cannot be recorded")
	}
	job := streams.Job{ID: record.ID, Record: data, Version: version}
	job.Version, err = r.jobs.Write(ctx, job)
	return job, err
}

// errOvertaken says that another process works a redrive.
var errOvertaken = errors.New("another process works this redrive")

// save records how far a redrive is, and what change makes of that, over the
// newest version. It returns [errOvertaken] when the work is no longer this
// process's.
func (r *redrives) save(ctx context.Context, w *redriveWork, change func(*redriveRecord)) error {
	j := w.of
	j.saving.Lock()
	defer j.saving.Unlock()
	for {
		r.mu.Lock()
		if j.work != w {
			r.mu.Unlock()
			return errOvertaken
		}
		record, version, news := j.record.clone(), j.version, r.change
		r.mu.Unlock()
		change(&record)
		job, err := r.write(ctx, record, version)
		if err == nil {
			r.mu.Lock()
			j.version, j.heard = max(j.version, job.Version), r.clock.Now()
			w.saved = j.heard
			change(&j.record)
			r.mu.Unlock()
			return nil
		}
		if !errors.Is(err, domain.ErrConflict) {
			return err
		}
		select {
		case <-news: // the one who was faster will be heard of
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
