package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// jobAge is how long the record of a job is kept after it was last written.
const jobAge = 30 * 24 * time.Hour

// Jobs keeps the records of one kind of long work, so that it outlives the
// process that works it (ADR 0012). What a record says is its writer's.
type Jobs struct {
	b    *Broker
	kind string
}

// Job is one record. An empty one says that the job is forgotten.
type Job struct {
	ID      string
	Record  []byte
	Version uint64 // changed by every write; 0: there is none yet
}

// Jobs returns the records of a kind.
func (b *Broker) Jobs(kind string) *Jobs { return &Jobs{b, kind} }

// Write records a job over the version its writer knows, as durably as an
// append, and returns the new version. It returns [domain.ErrConflict] when
// that version is not the newest.
func (j *Jobs) Write(ctx context.Context, job Job) (version uint64, err error) {
	if !domain.ValidToken(job.ID) {
		return 0, domain.Errorf(domain.Bug, nil, "the id of a job does not fit a subject")
	}
	version, err = j.b.overwrite(ctx, streamJobs, j.b.js[0], jobSubject(j.kind, job.ID), job.Record, job.Version)
	if err != nil {
		return 0, err
	}
	return version, j.b.sync(ctx, streamJobs)
}

// Follow hands the newest record of every job to take, and then each as it is
// written, this process's own too, until ctx ends; one that is written over
// before it is handed on is left out. It outlives a log that is away for a while.
// caughtUp is called once, when all that was recorded before the call has been
// handed over.
func (j *Jobs) Follow(ctx context.Context, take func(Job), caughtUp func()) error {
	s, err := j.b.reader.Stream(ctx, streamJobs)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", streamJobs, err)
	}
	goal := uint64(0)
	newest, err := s.GetLastMsgForSubject(ctx, jobSubject(j.kind, ">"))
	switch {
	case err == nil:
		goal = newest.Sequence
	case !notFound(err):
		return fmt.Errorf("read stream %s: %w", streamJobs, err)
	}
	if goal == 0 {
		caughtUp()
	}
	return j.b.follow(ctx, streamJobs, func(m jetstream.Msg) error {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", streamJobs, err)
		}
		if id, own := strings.CutPrefix(m.Subject(), jobSubject(j.kind, "")); own {
			take(Job{ID: id, Record: m.Data(), Version: meta.Sequence.Stream})
		}
		if goal > 0 && meta.Sequence.Stream >= goal {
			goal = 0
			caughtUp()
		}
		return nil
	})
}

// follow hands every message of a stream to take, in order, until ctx ends or
// take fails; it outlives a log that is away for a while.
func (b *Broker) follow(ctx context.Context, stream string, take func(jetstream.Msg) error) error {
	var last uint64
	for {
		err := b.readOn(ctx, stream, last, func(m jetstream.Msg) error {
			err := take(m)
			if meta, bad := m.Metadata(); err == nil && bad == nil {
				last = meta.Sequence.Stream
			}
			return err
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if domain.KindOf(err) != domain.Unavailable {
			return err
		}
		b.log.Warn("streams: reading a stream was interrupted", "stream", stream, "position", last, "error", err.Error())
		select {
		case <-time.After(followRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// followRetry is the pause before an interrupted reading goes on.
const followRetry = time.Second

// readOn hands every stored message after a sequence to take until ctx ends, or
// something fails.
func (b *Broker) readOn(ctx context.Context, stream string, after uint64, take func(jetstream.Msg) error) error {
	cons, err := b.reader.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy:    jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:      after + 1,
		MaxResetAttempts: readerResets,
	})
	if err != nil {
		return unreadable(fmt.Errorf("open stream %s: %w", stream, err))
	}
	defer b.forget(stream, cons)
	msgs, err := cons.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return unreadable(fmt.Errorf("read stream %s: %w", stream, err))
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return unreadable(fmt.Errorf("read stream %s: %w", stream, err))
		}
		if err := take(m); err != nil {
			return err
		}
	}
}

// overwrite stores a record over the version its writer knows, 0 for none, in a
// stream that keeps the newest of each subject. It returns
// [domain.ErrConflict] when that version is not the newest.
func (b *Broker) overwrite(ctx context.Context, stream string, js jetstream.JetStream, subject string, data []byte, version uint64) (uint64, error) {
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, domain.NewUUID())
	m.Header.Set(jetstream.ExpectedStreamHeader, stream)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(version, 10))
	seq, err := publish{js: js, msg: m, meter: b.meter}.settle(ctx)
	if !errors.Is(err, domain.ErrConflict) {
		return seq, err
	}
	// An earlier try of this very write may be what stands in its way.
	s, err := b.reader.Stream(ctx, stream)
	if err != nil {
		return 0, unreadable(fmt.Errorf("look at a record: %w", err))
	}
	last, err := s.GetLastMsgForSubject(ctx, subject)
	switch {
	case err != nil && !notFound(err):
		return 0, unreadable(fmt.Errorf("look at a record: %w", err))
	case err != nil || last.Header.Get(jetstream.MsgIDHeader) != m.Header.Get(jetstream.MsgIDHeader):
		return 0, domain.ErrConflict
	}
	return last.Sequence, nil
}
