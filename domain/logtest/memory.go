// Package logtest holds the conformance suite of [domain.Log] and the
// in-memory log that passes it. Only tests import it.
package logtest

import (
	"context"
	"slices"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

// Memory is a log in memory. It keeps every promise of [domain.Log] but
// durability.
type Memory struct {
	mu     sync.Mutex
	events []domain.Event // position n is at index n-1
	ids    map[domain.EventID]domain.Position
	of     map[domain.Key][]domain.Position // by aggregate, ascending
	grown  chan struct{}                    // closed and replaced when events grows
}

// NewMemory returns an empty log.
func NewMemory() *Memory {
	return &Memory{ids: map[domain.EventID]domain.Position{}, of: map[domain.Key][]domain.Position{}, grown: make(chan struct{})}
}

// aggregate returns the one key of all that are the same.
func aggregate(k domain.Key) domain.Key {
	if k.Kind == domain.KindMessage {
		k.Number = ""
	}
	return k
}

// Append implements [domain.Log].
func (m *Memory) Append(ctx context.Context, e domain.Event, x domain.Expect) (domain.Position, error) {
	want, expects := x.Sequence()
	if err := ctx.Err(); err != nil {
		return 0, domain.Errorf(domain.Unavailable, err, "the log was not asked in time")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, known := m.ids[e.ID]; known {
		return at, nil
	}
	of := aggregate(e.Key)
	var last domain.Position
	for _, at := range m.of[of] {
		if want == 0 || m.events[at-1].Key == e.Key {
			last = at
		}
	}
	if expects && last != want {
		return 0, domain.ErrConflict
	}
	e.Position = domain.Position(len(m.events) + 1)
	m.events = append(m.events, e)
	m.ids[e.ID], m.of[of] = e.Position, append(m.of[of], e.Position)
	close(m.grown)
	m.grown = make(chan struct{})
	return e.Position, nil
}

// Load implements [domain.Log].
func (m *Memory) Load(_ context.Context, k domain.Key) ([]domain.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []domain.Event
	for _, at := range m.of[aggregate(k)] {
		out = append(out, m.events[at-1])
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

// All returns every event. They are the log's own: nobody may change them.
func (m *Memory) All() []domain.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clip(m.events) // copies of it were most of what tests with the race detector cost
}

// Each calls fn with every event after a position, oldest first and those to
// come, until ctx ends or fn returns an error.
func (m *Memory) Each(ctx context.Context, after domain.Position, fn func(domain.Event) error) error {
	return m.each(ctx, after, func(domain.Key) bool { return true }, fn)
}

func (m *Memory) each(ctx context.Context, after domain.Position, of func(domain.Key) bool, fn func(domain.Event) error) error {
	for {
		m.mu.Lock()
		news, grown := m.events[after:], m.grown
		m.mu.Unlock()
		for i := range news {
			if of(news[i].Key) {
				if err := fn(news[i]); err != nil {
					return err
				}
			}
		}
		if after += domain.Position(len(news)); len(news) > 0 {
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
	for _, at := range slices.Backward(m.of[aggregate(k)]) {
		if m.events[at-1].Key == k {
			return at, nil
		}
	}
	return 0, nil
}

// Follow is [Memory.Each] for one key.
func (m *Memory) Follow(ctx context.Context, k domain.Key, after domain.Position, fn func(domain.Event) error) error {
	return m.each(ctx, after, k.Same, fn)
}
