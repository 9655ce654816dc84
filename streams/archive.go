package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

const (
	// archiveBatch is how many events are copied at once (events): one fsync
	// of the hot log and one round of publishes serve them all.
	archiveBatch = 2000
	// archiveFlight is how many copies are under way at once (events).
	archiveFlight = 250
	// archivePause is the rest at the tail, so that a trickle of events is
	// copied by the second and not one by one.
	archivePause = 500 * time.Millisecond
	// archiveYield is how long the loser of a race leaves the copying to the
	// other archiver.
	archiveYield = 5 * time.Second
	// archiveRetry and archiveAlarm are the pauses after a failure that may
	// pass, and after a loss, which a restore from a backup ends.
	archiveRetry = 2 * time.Second
	archiveAlarm = time.Minute
	// trimEvery is how often the hot log and the archive are shortened. Each
	// time the server writes the index of the hot log anew, 44 B per subject.
	trimEvery = 10 * time.Minute
	// hotKeep is how many of the newest events stay hot whatever their age
	// (events). They fill the server's newest message block (8 MiB of events of
	// 256 B and more) several times, so a purge never rewrites the block that
	// the group commit holds (ADR 0006).
	hotKeep = 1 << 15
)

// ArchiverConfig configures [Broker.Archiver].
type ArchiverConfig struct {
	Clock     domain.Clock  // required; decides what is old
	Hot       time.Duration // how long an event stays in the hot log at least; required
	Retention time.Duration // how long the archive keeps an event at least; 0: for ever
	Keep      int           // newest events that stay hot whatever their age; 0: 32,768
	Part      int           // events of one archive stream; 0: as many as are hot, at least 250,000
}

// Archiver copies the hot log into the archive, each event once, and shortens
// the hot log by what is archived, old and done with.
//
// Several may run at the same time, in one process or many: an event can be
// stored at its own position only, so whoever comes second is refused and
// leaves the copying to the other. One Archiver is used by one goroutine; who
// calls its methods instead of [Archiver.Run] closes it in the end.
type Archiver struct {
	b      *Broker
	config ArchiverConfig
	cursor *Cursor // over the hot log, right behind what is archived; nil when that has to be found out
	newest month   // the stream being filled, with what is on its way to it
	end    uint64  // the last archived position known
	part   uint64  // how many events the newest stream may hold
	said   string  // the trouble logged last
}

// Archiver returns an archiver. It starts nothing.
func (b *Broker) Archiver(c ArchiverConfig) *Archiver {
	if c.Keep == 0 {
		c.Keep = hotKeep
	}
	return &Archiver{b: b, config: c}
}

// Run copies and trims until ctx ends; it outlives whatever fails meanwhile.
func (a *Archiver) Run(ctx context.Context) error {
	defer a.Close()
	var trimmed time.Time
	for {
		_, err := a.Copy(ctx)
		if now := a.config.Clock.Now(); err == nil && now.Sub(trimmed) >= trimEvery {
			if err = a.Trim(ctx); err == nil {
				trimmed = now
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.config.Clock.Sleep(ctx, a.rest(err)); err != nil {
			return err
		}
	}
}

// rest says how long to wait after a round, and tells the operator what stood
// in its way, once.
func (a *Archiver) rest(err error) time.Duration {
	switch {
	case err == nil:
		a.said = ""
		return archivePause
	case errors.Is(err, errOvertaken):
		return archiveYield
	}
	kind := domain.KindOf(err)
	if a.said != err.Error() {
		a.said = err.Error()
		say := a.b.log.Warn
		if kind == domain.Bug {
			say = a.b.log.Error
		}
		say("streams: archiving stopped", "position", a.end, "error_kind", string(kind), "error", err.Error())
	}
	if kind == domain.Bug {
		return archiveAlarm
	}
	return archiveRetry
}

// errOvertaken says that another archiver has stored what this one was about
// to.
var errOvertaken error = domain.Errorf(domain.Unavailable, nil, "another archiver is at work")

// Trim shortens the hot log and drops what LOG_RETENTION gives up.
func (a *Archiver) Trim(ctx context.Context) error {
	_, err := a.Purge(ctx)
	return errors.Join(err, a.expire(ctx))
}

// Copy archives everything that was recorded before the call, and returns the
// last archived position. When it is cut short anywhere, the next call goes on
// from what the archive holds.
func (a *Archiver) Copy(ctx context.Context) (domain.Position, error) {
	h, err := a.b.hot(ctx)
	if err == nil && a.cursor == nil {
		err = a.resume(ctx)
	}
	if a.part = uint64(a.config.Part); a.part == 0 {
		a.part = max(archivePart, h.last+1-h.first)
	}
	for err == nil && a.end < h.last {
		var batch []record
		batch, err = gather(ctx, a.cursor, archiveBatch, func(r record) (record, error) { return r, nil })
		if err == nil {
			err = a.store(ctx, batch)
		}
		if err == nil {
			a.end = a.newest.last
		}
	}
	if err != nil {
		err = a.judge(ctx, err)
		a.Close()
	}
	return domain.Position(a.end), err
}

// judge tells being overtaken from a failure: while the other one copies and
// purges, this one may be refused, and may even miss events in the hot log.
func (a *Archiver) judge(ctx context.Context, err error) error {
	if a.cursor == nil || ctx.Err() != nil {
		return err
	}
	if archive, look := a.b.months(ctx); look == nil && archive.end() > a.end {
		return errOvertaken
	}
	return err
}

// Close lets go of the log. The next Copy looks anew where the archive ends.
func (a *Archiver) Close() {
	if a.cursor != nil {
		a.cursor.leave()
		a.cursor = nil
	}
}

// resume finds the end of the archive and opens the hot log behind it.
func (a *Archiver) resume(ctx context.Context) error {
	archive, err := a.b.months(ctx)
	if err != nil {
		return err
	}
	h, err := a.b.hot(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(h.joins(archive), h.reaches(archive)); err != nil {
		return err
	}
	a.newest = month{first: 1}
	if len(archive) > 0 {
		a.newest = archive[len(archive)-1]
	}
	a.end = a.newest.last
	if err := a.b.sameAt(ctx, archive, h, a.end); err != nil {
		return err
	}
	c := &Cursor{b: a.b, whole: true}
	if err := c.enter(ctx, place{stream: streamEvents, after: a.end, until: endless}, ""); err != nil {
		return err
	}
	c.stay = true
	a.cursor = c
	return nil
}

// sameAt makes sure that archive and hot log hold the same event at a
// position, where both hold one: that they are of one log.
func (b *Broker) sameAt(ctx context.Context, archive months, h hot, position uint64) error {
	m, archived := archive.of(position)
	if !archived || position < h.first || position > h.last {
		return nil
	}
	original, err := b.events.GetMsg(ctx, position)
	if notFound(err) {
		return b.purgedOrLost(ctx, position)
	}
	if err != nil {
		return unreadable(fmt.Errorf("compare with the archive: %w", err))
	}
	s, err := b.reader.Stream(ctx, m.name)
	if err != nil {
		return unreadable(fmt.Errorf("look at %s: %w", m.name, err))
	}
	copied, err := s.GetMsg(ctx, position)
	if err != nil {
		return unreadable(fmt.Errorf("read %s: %w", m.name, err))
	}
	if copied.Header.Get(headerSubject) != original.Subject || !bytes.Equal(copied.Data, original.Data) {
		return hole(fmt.Sprintf("%s and %s hold different events at %d; one of them is of another log: restore %s from a replica or a backup",
			m.name, streamEvents, position, streamEvents))
	}
	return nil
}

// purgedOrLost explains why the hot log lacks an event that it held a moment
// ago.
func (b *Broker) purgedOrLost(ctx context.Context, position uint64) error {
	h, err := b.hot(ctx)
	if err != nil {
		return err
	}
	if position < h.first {
		return errOvertaken
	}
	return lost(streamEvents, position-1, position+1)
}

// store copies a batch, in order. The hot log is made durable first: if a
// power cut took an event there after it was archived, its position would be
// given to another.
func (a *Archiver) store(ctx context.Context, batch []record) error {
	if err := a.b.onDisk(ctx, streamEvents); err != nil {
		return err
	}
	for i, r := range batch {
		if name := a.target(r.at); name != a.newest.name {
			// All before it is stored, and durable, before there is anything
			// behind it: a hole between two streams would never be filled.
			if err := a.roll(ctx, name); err != nil {
				return err
			}
		}
		a.newest.last = r.position
		last := i+1 == len(batch) || (i+1)%archiveFlight == 0 || a.target(batch[i+1].at) != a.newest.name
		if err := a.publish(ctx, copyOf(a.newest.name, r), last); err != nil {
			return unavailable(fmt.Errorf("archive %d: %w", r.position, err))
		}
	}
	return nil
}

// publish stores a copy. Only the last of several waits for an answer: each
// expects the one before it, so where the last is stored all are, and where one
// is not the last is refused. Anything but success makes the archiver look anew:
// what was stored is at its own position, and what was not is stored later.
func (a *Archiver) publish(ctx context.Context, m *nats.Msg, last bool) error {
	if !last {
		return a.b.copier.Conn().PublishMsg(m)
	}
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	_, err := a.b.copier.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	return err
}

// copyOf is the archived form of an event: its bytes, and where they were.
func copyOf(stream string, r record) *nats.Msg {
	m := &nats.Msg{Subject: archiveSubject(stream, r.subject), Data: r.data, Header: nats.Header{}}
	m.Header.Set(headerPosition, strconv.FormatUint(r.position, 10))
	m.Header.Set(headerSubject, r.subject)
	m.Header.Set(jetstream.ExpectedStreamHeader, stream)
	m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(r.position-1, 10))
	return m
}

// target names the stream for an event that the hot log took at a time.
func (a *Archiver) target(at time.Time) string {
	switch n := a.newest; {
	case n.name == "":
		return archiveName(at)
	case n.sealed, n.events() >= a.part, archiveName(at) > n.span():
		return n.following(at)
	}
	return a.newest.name
}

// roll finishes the newest stream and begins another right behind it. The
// servers then refuse whatever another archiver still has on its way to the
// finished one, so no event is in two streams; and whoever comes second finds
// the new one there.
func (a *Archiver) roll(ctx context.Context, name string) error {
	if a.newest.name != "" {
		if err := a.b.onDisk(ctx, a.newest.name); err != nil {
			return err
		}
		if err := a.seal(ctx); err != nil {
			return err
		}
	}
	archive, err := a.b.months(ctx)
	if err != nil {
		return err
	}
	if archive.end() != a.newest.last || len(archive) > 0 && archive[len(archive)-1].name != a.newest.name {
		return errOvertaken
	}
	config := archiveConfig(name, a.newest.last+1, a.b.replicas)
	s, err := a.b.reader.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return errOvertaken
	}
	if err != nil {
		return unavailable(fmt.Errorf("make %s: %w", name, err))
	}
	if got := s.CachedInfo().Config.FirstSeq; max(got, 1) != config.FirstSeq {
		return errOvertaken
	}
	a.newest = month{name: name, first: a.newest.last + 1, last: a.newest.last}
	return nil
}

// seal makes the newest stream final.
func (a *Archiver) seal(ctx context.Context) error {
	s, err := a.b.reader.Stream(ctx, a.newest.name)
	if err != nil {
		return unavailable(fmt.Errorf("look at %s: %w", a.newest.name, err))
	}
	config := s.CachedInfo().Config
	if config.Sealed {
		return nil
	}
	config.Sealed = true
	if _, err := a.b.reader.UpdateStream(ctx, config); err != nil {
		return unavailable(fmt.Errorf("finish %s: %w", a.newest.name, err))
	}
	return nil
}
