package streams

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Purge shortens the hot log and returns its first position afterwards. An
// event leaves it only when it is archived, the copy is on disk, it is older
// than the hot time, and every lane is done with it; and only from the front,
// so nothing is ever missing in the middle. What shows a loss is left alone:
// it may be the only copy.
//
// An event is as old as those recorded after it: when the clock jumped, the hot
// time is longer or shorter for what was recorded meanwhile, and nothing is
// lost.
func (a *Archiver) Purge(ctx context.Context) (domain.Position, error) {
	b := a.b
	h, err := b.hot(ctx)
	if err != nil {
		return 0, err
	}
	first := domain.Position(h.first)
	archive, err := b.months(ctx)
	if err != nil {
		return first, err
	}
	for _, err := range []error{h.whole(), archive.whole(), h.joins(archive), h.reaches(archive)} {
		if err != nil {
			return first, err
		}
	}
	keep := uint64(max(a.config.Keep, 1)) // an empty stream would have to remember where it was
	if archive.end() < keep || archive.end()-keep < h.first {
		return first, nil
	}
	cut, err := b.aged(ctx, h.first, archive.end()-keep, a.config.Clock.Now().Add(-a.config.Hot))
	if err != nil || cut < h.first {
		return first, err
	}
	if cut, err = b.finished(ctx, h.first, cut); err != nil || cut < h.first {
		return first, err
	}
	// The streams before the newest were made durable before it was begun.
	if err := b.onDisk(ctx, archive[len(archive)-1].name); err != nil {
		return first, err
	}
	if err := b.sameAt(ctx, archive, h, cut); err != nil {
		return first, err
	}
	for next := h.first; next <= cut; first = domain.Position(next) {
		next = min(next+purgeStep, cut+1)
		if err := b.events.purge(ctx, next); err != nil {
			return first, unavailable(fmt.Errorf("purge the hot log up to %d: %w", next-1, err))
		}
	}
	return first, nil
}

// purgeStep is how many events are purged at once (events). Appends wait
// meanwhile: about 2 µs for each, and less than 1 µs for each subject that is
// hot, because the server writes the index anew after each purge. Smaller steps,
// with pauses or without, make that worse (docs/architecture.md has the figures).
const purgeStep = 250_000

// aged returns the last position from first to most that was recorded before a
// time, or less than first when there is none. It looks from the front on in
// growing steps, because little is old when it is asked often.
func (b *Broker) aged(ctx context.Context, first, most uint64, before time.Time) (uint64, error) {
	old, young, step := first-1, most+1, uint64(1)
	for old+1 < young {
		probe := old + (young-old)/2
		if young > most { // nothing young is known yet
			probe = min(old+step, most)
			step *= 2
		}
		m, err := b.events.GetMsg(ctx, probe)
		switch {
		case notFound(err):
			return 0, b.purgedOrLost(ctx, probe)
		case err != nil:
			return 0, unreadable(fmt.Errorf("read the age of %d: %w", probe, err))
		case m.Time.Before(before):
			old = probe
		default:
			young = probe
		}
	}
	return old, nil
}

// dueMargin is how far the clocks of two servers may differ: the one that stored
// a copy, and the one that stored what was tried.
const dueMargin = time.Minute

// finished returns the last position from first to most that no lane needs, or
// less than first: below the ack floor of every lane that has anything left,
// before every backlog, and before all that is due and not done.
//
// The floors are read first. A request is acknowledged without being finished
// only after its backlog was recorded; so whatever a floor passed over either
// is finished, or its backlog is there when it is looked for afterwards: a
// backlog moves and closes only past what is finished. One that is opened later
// begins with a request that was not acknowledged yet, above the floor.
func (b *Broker) finished(ctx context.Context, first, most uint64) (uint64, error) {
	for lane := range domain.Lanes {
		name := laneConsumer(lane).Durable
		consumer, err := b.reader.Consumer(ctx, streamEvents, name)
		if err != nil {
			return 0, unreadable(fmt.Errorf("look at %s: %w", name, err))
		}
		floor := consumer.CachedInfo().AckFloor.Stream
		if floor >= most {
			continue
		}
		// The floor of a lane without traffic stays where it is. The lane's
		// newest event tells whether anything is left above it; the consumer's
		// own count of what is pending is an estimate.
		m, err := b.events.GetLastMsgForSubject(ctx, laneSubject(lane))
		switch {
		case notFound(err):
		case err != nil:
			return 0, unreadable(fmt.Errorf("read the newest event of %s: %w", name, err))
		case m.Sequence > floor:
			most = min(most, floor)
		}
	}
	backlogs, err := b.openBacklogs(ctx, spillAll)
	if err != nil {
		return 0, err
	}
	for _, l := range backlogs {
		most = min(most, uint64(max(l.From, 1))-1)
	}
	// What is worked from a scheduled copy has its own events in the log, which
	// say what was tried. They are younger than the copy is due.
	since, any, err := b.dueSince(ctx)
	if err != nil || !any || most < first {
		return most, err
	}
	return b.aged(ctx, first, most, since.Add(-dueMargin))
}

// expire drops archive streams whose newest event was archived longer ago than
// the retention. The newest stream stays, because it says where the archive
// ends; so an event is kept up to one stream longer than asked for.
func (a *Archiver) expire(ctx context.Context) error {
	if a.config.Retention <= 0 {
		return nil
	}
	archive, err := a.b.months(ctx)
	if err != nil {
		return err
	}
	before := a.config.Clock.Now().Add(-a.config.Retention)
	for len(archive) > 1 && archive[0].written.Before(before) {
		if err := a.b.drop(ctx, archive[0], archive[1]); err != nil {
			return err
		}
		archive = archive[1:]
	}
	return nil
}

// drop removes the oldest archive stream. First its successor says that
// nothing is kept before it, so that what is missing does not look like loss.
func (b *Broker) drop(ctx context.Context, oldest, next month) error {
	s, err := b.reader.Stream(ctx, next.name)
	if err != nil {
		return unreadable(fmt.Errorf("look at %s: %w", next.name, err))
	}
	config := s.CachedInfo().Config
	config.Metadata = maps.Clone(config.Metadata)
	if config.Metadata == nil {
		config.Metadata = map[string]string{}
	}
	config.Metadata[metaBegins] = fmt.Sprint(next.first)
	if _, err := b.reader.UpdateStream(ctx, config); err != nil {
		return unavailable(fmt.Errorf("mark %s as the beginning of the archive: %w", next.name, err))
	}
	if err := b.reader.DeleteStream(ctx, oldest.name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return unavailable(fmt.Errorf("drop %s: %w", oldest.name, err))
	}
	if b.disk != nil {
		b.disk.forget(oldest.name)
	}
	b.log.Info("streams: archive dropped", "stream", oldest.name, "first", oldest.first, "last", oldest.last)
	return nil
}
