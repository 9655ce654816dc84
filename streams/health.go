package streams

import (
	"context"
	"errors"
	"fmt"

	"github.com/sendlog/sendlog/domain"
)

// Ready returns nil when the log answers and shows no loss: not in the hot
// log, not in the archive, not between them. Otherwise it says what is missing
// and what to restore.
func (b *Broker) Ready(ctx context.Context) error {
	if b.disk != nil {
		if err := b.disk.broken(); err != nil {
			return err
		}
	}
	// The archive grows and the hot log shrinks meanwhile: each is compared
	// with what the other was on the safe side of it.
	before, err := b.hot(ctx)
	if err != nil {
		return fmt.Errorf("the log does not answer: %w", err)
	}
	archive, err := b.months(ctx)
	if err != nil {
		return fmt.Errorf("the archive does not answer: %w", err)
	}
	after, err := b.hot(ctx)
	if err != nil {
		return fmt.Errorf("the log does not answer: %w", err)
	}
	for _, err := range []error{after.whole(), archive.whole(), before.joins(archive), after.reaches(archive)} {
		if err == nil {
			continue
		}
		if e, ok := errors.AsType[*domain.Error](err); ok {
			return e.Cause // the operator's words
		}
		return err
	}
	return nil
}

// Extent is how far the log reaches (positions).
type Extent struct {
	First    domain.Position // the oldest event in the hot log, 1 more than Last when it is empty
	Last     domain.Position // the newest event
	Archived domain.Position // everything up to it is in the archive
}

// Extent returns how far the log reaches.
func (b *Broker) Extent(ctx context.Context) (Extent, error) {
	archive, err := b.months(ctx)
	if err != nil {
		return Extent{}, err
	}
	h, err := b.hot(ctx)
	return Extent{First: domain.Position(h.first), Last: domain.Position(h.last), Archived: domain.Position(archive.end())}, err
}
