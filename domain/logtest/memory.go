// Package logtest holds the conformance suite of [domain.Log] and the
// in-memory log that passes it. Only tests import it.
package logtest

import (
	"context"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

// Memory is a log in memory. It keeps every promise of [domain.Log] but
// durability.
type Memory struct {
	mu     sync.Mutex
	events []domain.Event // position n is at index n-1
	grown  chan struct{}  // closed and replaced when events grows
}

// NewMemory returns an empty log.
func NewMemory() *Memory { return &Memory{grown: make(chan struct{})} }

// Append implements [domain.Log].
func (m *Memory) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	want, expects := x.Sequence()
	if err := ctx.Err(); err != nil {
		return 0, domain.Errorf(domain.Unavailable, err, "the log was not asked in time")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var last domain.Position
	for _, o := range m.events {
		if o.Key == e.Key || want == 0 && o.Key.Same(e.Key) {
			last = o.Position
		}
		if o.ID == e.ID {
			return o.Position, nil
		}
	}
	if expects && last != want {
		return 0, domain.ErrConflict
	}
	e.Position = domain.Position(len(m.events) + 1)
	m.events = append(m.events, e)
	close(m.grown)
	m.grown = make(chan struct{})
	return e.Position, nil
}

// Load implements [domain.Log].
func (m *Memory) Load(_ context.Context, k domain.Key) ([]domain.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []domain.Event
	for _, e := range m.events {
		if e.Key.Same(k) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Record appends facts told by others; a repeat is harmless.
func (m *Memory) Record(ctx context.Context, events []domain.Event) error {
	for _, e := range events {
		x := domain.Any()
		if e.Key.Kind == domain.KindInbound {
			x = domain.First()
		}
		if _, err := m.Append(ctx, e, x); err != nil && err != domain.ErrConflict {
			return err
		}
	}
	return nil
}

// All returns every event.
func (m *Memory) All() []domain.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]domain.Event(nil), m.events...)
}

// Each calls fn with every event after a position, oldest first and those to
// come, until ctx ends or fn returns an error.
func (m *Memory) Each(ctx context.Context, after domain.Position, fn func(domain.Event) error) error {
	for {
		m.mu.Lock()
		news, grown := m.events[after:], m.grown
		m.mu.Unlock()
		for _, e := range news {
			if err := fn(e); err != nil {
				return err
			}
			after = e.Position
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Last returns the position of the newest event of a key, 0 when there is none.
func (m *Memory) Last(_ context.Context, k domain.Key) (domain.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.events) - 1; i >= 0; i-- {
		if m.events[i].Key == k {
			return m.events[i].Position, nil
		}
	}
	return 0, nil
}

// Follow is [Memory.Each] for one key.
func (m *Memory) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	return m.Each(ctx, after, func(e domain.Event) error {
		if !e.Key.Same(k) {
			return nil
		}
		return fn(e)
	})
}
