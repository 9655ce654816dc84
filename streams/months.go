package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// The archive is a row of streams, one a month, or several in a busy one. Each
// is made so that its first sequence is the position of its first event
// ([jetstream.StreamConfig.FirstSeq]): a sequence in the archive is the
// position itself, and "the last one is n" is the same sentence in the archive
// and in the hot log.

const (
	archivePrefix = "ARCHIVE_"

	// archivePart is how many events one archive stream takes at least (events)
	// before a month gets another. An unclean stop re-reads the stream that is
	// being filled (the finished ones keep their index), so it is never much
	// larger than the hot log.
	archivePart = 250_000

	// metaBegins marks an archive stream before which nothing is kept on
	// purpose. It stands in the stream's metadata.
	metaBegins = "sendlog-begins"
)

// month is one stream of the archive.
type month struct {
	name        string // ARCHIVE_2026_11, then ARCHIVE_2026_11_p02 …
	first, last uint64 // positions; last is first-1 while it is empty
	missing     int    // events deleted in its middle: damage
	begins      bool   // what was before it was dropped by LOG_RETENTION
	sealed      bool   // finished: the servers take nothing more for it
	written     time.Time
}

// archiveName names the first stream of a month.
func archiveName(at time.Time) string { return archivePrefix + at.UTC().Format("2006_01") }

// span is the part of the name that tells the month; spans sort by time.
func (m month) span() string { return m.name[:min(len(m.name), len(archivePrefix)+len("2006_01"))] }

// events is how many it holds.
func (m month) events() uint64 { return m.last + 1 - m.first }

// following names the stream behind this one, which begins with an event the
// hot log took at a time: that of the event's own month, never an older one
// whatever the clock says. It depends on the archive and the event alone, so
// that every archiver comes to the same name.
func (m month) following(at time.Time) string {
	if own := archiveName(at); own > m.span() {
		return own
	}
	return fmt.Sprintf("%s_p%02d", m.span(), m.part()+1)
}

// part is its place among the streams of its month, from 1.
func (m month) part() int {
	if _, suffix, ok := strings.Cut(m.name, "_p"); ok {
		if n, err := strconv.Atoi(suffix); err == nil {
			return n
		}
	}
	return 1
}

// compare orders streams by time.
func (m month) compare(o month) int {
	return cmp.Or(cmp.Compare(m.span(), o.span()), cmp.Compare(m.part(), o.part()))
}

// months is the archive, oldest first.
type months []month

// months lists the archive. The names come from the servers' own catalogue,
// and a stream that is named but does not answer is an error: a stream that is
// away for a moment must not look like a hole.
func (b *Broker) months(ctx context.Context) (months, error) {
	names, err := b.reader.names(ctx, archivePrefix, "arc.>")
	if err != nil {
		return nil, unreadable(fmt.Errorf("list the archive: %w", err))
	}
	all := make(months, 0, len(names))
	for _, name := range names {
		s, err := b.reader.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // dropped since it was listed; what that leaves is judged below
		}
		if err != nil {
			return nil, unreadable(fmt.Errorf("look at %s: %w", name, err))
		}
		info := s.CachedInfo()
		all = append(all, month{name: name, first: max(info.State.FirstSeq, 1), last: info.State.LastSeq,
			missing: info.State.NumDeleted, begins: info.Config.Metadata[metaBegins] != "", sealed: info.Config.Sealed, written: info.State.LastTime})
	}
	slices.SortFunc(all, month.compare)
	return all, nil
}

// end is the last archived position, 0 when there is none.
func (ms months) end() uint64 {
	if len(ms) == 0 {
		return 0
	}
	return ms[len(ms)-1].last
}

// begin is the first position that is kept: 1, or where LOG_RETENTION cut.
func (ms months) begin() uint64 {
	if len(ms) > 0 && ms[0].begins {
		return ms[0].first
	}
	return 1
}

// of returns the stream that holds a position.
func (ms months) of(position uint64) (month, bool) {
	for _, m := range ms {
		if m.first <= position && position <= m.last {
			return m, true
		}
	}
	return month{}, false
}

// whole returns nil when the archive holds every position from its beginning
// to its end, and otherwise an error that wraps [ErrGap] and names the stream
// to restore.
func (ms months) whole() error {
	next := ms.begin()
	for _, m := range ms {
		if m.missing > 0 {
			return hole(fmt.Sprintf("%d events are missing in the middle of %s; restore it from a replica or a backup", m.missing, m.name))
		}
		if m.first != next {
			return hole(fmt.Sprintf("%s begins at %d instead of %d; restore it and the stream before it from a replica or a backup", m.name, m.first, next))
		}
		next = m.last + 1
	}
	return nil
}

// hot is the extent of EVENTS. last is first-1 while it is empty.
type hot struct {
	first, last uint64
	missing     int
}

func (b *Broker) hot(ctx context.Context) (hot, error) {
	info, err := b.events.Info(ctx)
	if err != nil {
		return hot{}, unreadable(fmt.Errorf("look at %s: %w", streamEvents, err))
	}
	return hot{first: max(info.State.FirstSeq, 1), last: info.State.LastSeq, missing: info.State.NumDeleted}, nil
}

func (h hot) whole() error {
	if h.missing == 0 {
		return nil
	}
	return hole(fmt.Sprintf("%d events are missing in the middle of %s; restore it from a replica or a backup", h.missing, streamEvents))
}

// joins returns nil when the hot log goes on where the archive ends.
func (h hot) joins(ms months) error {
	if h.first <= ms.end()+1 {
		return nil
	}
	return hole(fmt.Sprintf("positions %d to %d are neither in the archive nor in %s; restore the %s streams, or %s, from a replica or a backup",
		ms.end()+1, h.first-1, streamEvents, archivePrefix+"*", streamEvents))
}

// reaches returns nil when the hot log is not shorter than the archive. It is
// after a power cut that took its newest events: what would be recorded next
// would get the positions of others.
func (h hot) reaches(ms months) error {
	if ms.end() <= h.last {
		return nil
	}
	return hole(fmt.Sprintf("%s ends at %d, and the archive holds events up to %d; restore %s from a replica or a backup",
		streamEvents, h.last, ms.end(), streamEvents))
}

// hole is what is missing and what to do, as an error that stops readers.
func hole(what string) error {
	return domain.Errorf(domain.Bug, fmt.Errorf("%w: %s", ErrGap, what), "the log has lost events")
}
