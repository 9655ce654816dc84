package projections

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

// sharedEvents bounds the newest events that are kept for all cursors of a
// [shared] source: what comes while one model writes and another one reads on.
const sharedEvents = 4096

// shared is a source whose cursors read the newest events together: the log is
// read once for all models that keep up. A cursor elsewhere, of a model that
// lags, reads by itself and joins the others when it is where they are.
type shared struct {
	Source
	turn      chan struct{} // held while reading on
	gathering gathering     // before that

	mu      sync.Mutex
	of      string // the incarnation of the log
	cursors int    // that are open
	head    Cursor // reads on after to; nil until there is one, and after a failure
	busy    bool   // somebody is in head.Next
	events  []domain.Event
	from    domain.Position // events are all after this one …
	to      domain.Position // … up to this one
	grown   chan struct{}   // closed when there are more, or none
}

func newShared(s Source, clock domain.Clock) *shared {
	return &shared{Source: s, turn: make(chan struct{}, 1), gathering: gathering{clock: clock}, grown: make(chan struct{})}
}

// Incarnation implements [Source]. What was read of another log is forgotten.
func (s *shared) Incarnation(ctx context.Context) (string, error) {
	of, err := s.Source.Incarnation(ctx)
	if err != nil {
		return of, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != of {
		s.of = of
		s.forget()
	}
	return of, nil
}

// Open implements [Source].
func (s *shared) Open(_ context.Context, after domain.Position) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors++
	return &sharedCursor{source: s, at: after}, nil
}

// forget drops what was read; mu is held.
func (s *shared) forget() {
	if s.head != nil && !s.busy { // else it is closed by who is busy with it
		_ = s.head.Close() // nothing was written through it
	}
	s.head, s.events = nil, nil
	s.news()
}

// news wakes who waits; mu is held.
func (s *shared) news() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// sharedCursor is one model's place in a shared source.
type sharedCursor struct {
	source *shared
	at     domain.Position
	own    Cursor // reads for this one alone; nil while it reads with the others
}

// Close implements [Cursor].
func (c *sharedCursor) Close() error {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cursors--; s.cursors == 0 {
		s.forget()
	}
	if c.own == nil {
		return nil
	}
	return c.own.Close()
}

// Next implements [Cursor].
func (c *sharedCursor) Next(ctx context.Context, most int) ([]domain.Event, error) {
	for {
		joined, events, grown := c.look(most)
		switch {
		case len(events) > 0:
			c.at = events[len(events)-1].Position
			return events, nil
		case joined:
			if err := c.source.readOn(ctx, c.at, most, grown); err != nil {
				return nil, err
			}
		case c.own != nil:
			events, err := c.own.Next(ctx, most)
			if err == nil {
				c.at = events[len(events)-1].Position
			}
			return events, err
		default:
			own, err := c.source.Source.Open(ctx, c.at)
			if err != nil {
				return nil, err
			}
			c.own = own
		}
	}
}

// look reports whether the cursor is where the others are, which makes it one of
// them, and what they have for it already.
func (c *sharedCursor) look(most int) (joined bool, events []domain.Event, grown <-chan struct{}) {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil && c.own != nil { // nobody is anywhere: the others will come here
		s.head, s.events, s.from, s.to = c.own, nil, c.at, c.at
		c.own = nil
	}
	if s.head == nil || c.at < s.from || c.at > s.to {
		return false, nil, nil
	}
	if c.own != nil {
		_ = c.own.Close() // nothing was written through it
		c.own = nil
	}
	first, _ := slices.BinarySearchFunc(s.events, c.at+1, func(e domain.Event, p domain.Position) int {
		return cmp.Compare(e.Position, p)
	})
	last := min(first+most, len(s.events))
	return true, s.events[first:last:last], s.grown
}

// readOn returns when there may be more after a position, which all that was
// read ends with. One cursor lets events gather and reads them, and the others
// wait for it: so the models write at the same time what came at the same time.
func (s *shared) readOn(ctx context.Context, after domain.Position, most int, grown <-chan struct{}) error {
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case s.turn <- struct{}{}:
	}
	defer func() { <-s.turn }()
	if err := s.gathering.pause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	head := s.head
	if head == nil || s.to != after { // meanwhile
		s.mu.Unlock()
		return nil
	}
	s.busy = true
	s.mu.Unlock()
	s.gathering.begin()
	events, err := head.Next(ctx, most)
	s.gathering.end(len(events), most)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	switch {
	case s.head != head: // forgotten meanwhile
		_ = head.Close()
	case err != nil:
		s.forget()
	default:
		s.take(events)
	}
	return err
}

// take adds events to those that are kept; mu is held.
func (s *shared) take(events []domain.Event) {
	s.events = append(s.events, events...)
	s.to = events[len(events)-1].Position
	if over := len(s.events) - sharedEvents; over > 0 {
		s.from = s.events[over-1].Position
		s.events = s.events[over:]
	}
	s.news()
}
