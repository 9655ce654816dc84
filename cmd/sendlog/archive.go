package main

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/streams"
)

// openArchive copies the log into the archive and shortens it, in processes
// that keep the read models: what they do is fed by both. Several of them do
// it without harm.
func (h *house) openArchive(context.Context) error {
	if h.config.has(roleProject) {
		h.services.start("archive", h.broker.Archiver(streams.ArchiverConfig{
			Clock: h.clock, Hot: h.config.LogHot, Retention: h.config.LogRetention}).Run)
	}
	return nil
}

// pastPatience bounds asking the read models for an old request, and for what
// is known of its recipient: an accept waits for it.
const pastPatience = 250 * time.Millisecond

// clockMargin is how far the clocks of two processes may be apart.
const clockMargin = time.Minute

// past finds requests that may have left the hot log. As long as none can have
// left it, because the log itself is not that old, nobody is asked.
type past struct {
	library *projections.Library
	clock   domain.Clock
	from    time.Time // the first moment at which something may have left the hot log
}

func (h *house) past(ctx context.Context) (past, error) {
	made, err := h.broker.Reader().Made(ctx)
	return past{h.library, h.clock, made.Add(h.config.LogHot - clockMargin)}, err
}

// Find implements message.Past.
func (p past) Find(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.PastRequest, bool, error) {
	if p.clock.Now().Before(p.from) {
		return message.PastRequest{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pastPatience)
	defer cancel()
	return p.library.Find(ctx, t, id)
}

// contacts tells what people have said, for a request that is being accepted.
type contacts struct{ library *projections.Library }

// Contact implements message.Contacts.
func (c contacts) Contact(ctx context.Context, t domain.TenantID, n domain.NumberID, recipient string) (message.Contact, error) {
	ctx, cancel := context.WithTimeout(ctx, pastPatience)
	defer cancel()
	return c.library.Contact(ctx, t, n, recipient)
}

// archiveGauges show how far the log reaches; -1 when it cannot be asked.
func (h *house) archiveGauges() {
	extent := func(of func(streams.Extent) domain.Position) func() float64 {
		return func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout) // a scrape brings no context
			defer cancel()
			e, err := h.broker.Extent(ctx)
			if err != nil {
				return -1
			}
			return float64(of(e))
		}
	}
	h.meter.gauge("sendlog_hot_first_position", "Position of the oldest event in the hot log.", nil,
		extent(func(e streams.Extent) domain.Position { return e.First }))
	h.meter.gauge("sendlog_hot_last_position", "Position of the newest event.", nil,
		extent(func(e streams.Extent) domain.Position { return e.Last }))
	h.meter.gauge("sendlog_archived_position", "Position up to which everything is in the archive.", nil,
		extent(func(e streams.Extent) domain.Position { return e.Archived }))
	h.meter.gauge("sendlog_archive_lag", "Events that are not in the archive yet.", nil,
		extent(func(e streams.Extent) domain.Position { return max(e.Last, e.Archived) - e.Archived }))
}

// lives reads whole messages: the read models say where their events lie, and
// the log, archived or hot, what they are.
type lives struct {
	library *projections.Library
	reader  *streams.Reader
}

// lifePatience bounds waiting until the read models hold all that is in the log.
const lifePatience = 5 * time.Second

// caughtUp returns once the read models hold all that was in the log when it
// was called, and how far that is.
func (l lives) caughtUp(ctx context.Context) (domain.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, lifePatience)
	defer cancel()
	tail, err := l.reader.Tail(ctx)
	if err != nil {
		return 0, err
	}
	if err := l.library.WaitFor(ctx, tail); err != nil {
		return 0, domain.Errorf(domain.Unavailable, err, "the read models are behind the log; try again later")
	}
	return tail, nil
}

// Life implements message.Archive.
func (l lives) Life(ctx context.Context, k domain.Key) (message.Life, error) {
	tail, err := l.caughtUp(ctx)
	if err != nil {
		return message.Life{}, err
	}
	timeline, err := l.library.Timeline(ctx, k.Tenant, domain.MessageID(k.ID))
	if err != nil {
		return message.Life{}, err
	}
	positions := make([]domain.Position, len(timeline))
	for i, entry := range timeline {
		positions[i] = entry.Position
	}
	events, err := l.reader.At(ctx, positions)
	if err != nil {
		return message.Life{}, err
	}
	life := message.Life{Until: tail}
	for _, e := range events {
		var s message.StatusReceived
		switch {
		case e.Key.Kind == domain.KindMessage && e.Key.Tenant == k.Tenant && e.Key.ID == k.ID:
			life.Own = append(life.Own, e)
		case e.Decode(&s) == nil:
			life.Statuses = append(life.Statuses, s)
		}
	}
	return life, nil
}

// letterBox gives redrives the dead letters.
type letterBox struct{ lives }

// DeadLetters implements letters.
func (b letterBox) DeadLetters(ctx context.Context, f message.LetterFilter, p projections.Page) ([]message.DeadLetter, *projections.Mark, error) {
	return b.library.DeadLetters(ctx, f, p)
}

// DeadLettersByID implements letters.
func (b letterBox) DeadLettersByID(ctx context.Context, t domain.TenantID, ids []string) (map[string]message.DeadLetter, error) {
	return b.library.DeadLettersByID(ctx, t, ids)
}

// Corpses implements letters.
func (b letterBox) Corpses(ctx context.Context, ids []string) (map[string]message.Corpse, error) {
	kept, err := b.reader.Kept(ctx)
	if err != nil {
		return nil, err
	}
	return b.library.Corpses(ctx, ids, kept)
}

// CaughtUp implements letters.
func (b letterBox) CaughtUp(ctx context.Context) error {
	_, err := b.caughtUp(ctx)
	return err
}
