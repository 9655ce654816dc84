package projections

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/sendlog/sendlog/domain"
)

// generation is one build of a model. Its collections carry its number, so
// that any number of them can stand beside each other.
type generation struct {
	model  *Model
	number int // 1 or more
}

var (
	nameShape       = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)
	generationShape = regexp.MustCompile(`^(.+)_g([1-9][0-9]{0,8})$`)
)

func validName(s string) bool { return nameShape.MatchString(s) }

// name is the key of the generation's checkpoint.
func (g generation) name() string { return g.collection(g.model.Name) }

// collection is the name under which the store keeps a collection of g.
func (g generation) collection(c string) string { return c + "_g" + strconv.Itoa(g.number) }

// collections returns what the store must create for g.
func (g generation) collections() []Collection {
	all := make([]Collection, len(g.model.Collections))
	for i, c := range g.model.Collections {
		all[i] = Collection{Name: g.collection(c.Name), Indexes: c.Indexes}
	}
	return all
}

// create makes the generation, at position 0.
func (g generation) create(ctx context.Context, s Store, incarnation string) error {
	return s.Create(ctx, g.name(), Checkpoint{Incarnation: incarnation, Version: g.model.Version}, g.collections())
}

// drop removes the generation.
func (g generation) drop(ctx context.Context, s Store) error {
	names := make([]string, len(g.model.Collections))
	for i, c := range g.model.Collections {
		names[i] = g.collection(c.Name)
	}
	return s.Drop(ctx, g.name(), names)
}

// sweep drops all generations of the model but those to keep: what died while
// it was built, and what was superseded. It returns the highest number seen,
// kept or not, so that a number is not used again while something of it may
// be left.
func sweep(ctx context.Context, s Store, m *Model, keep ...int) (highest int, err error) {
	names, err := s.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list collections: %w", err)
	}
	kept, dropped := map[int]bool{}, map[int]bool{}
	for _, n := range keep {
		kept[n], highest = true, max(highest, n)
	}
	own := map[string]bool{}
	for _, c := range m.Collections {
		own[c.Name] = true
	}
	for _, name := range names {
		parts := generationShape.FindStringSubmatch(name)
		if parts == nil || !own[parts[1]] {
			continue
		}
		n, err := strconv.Atoi(parts[2])
		if err != nil || kept[n] || dropped[n] {
			continue
		}
		highest, dropped[n] = max(highest, n), true
		if err := (generation{m, n}).drop(ctx, s); err != nil {
			return 0, fmt.Errorf("drop generation %d of %s: %w", n, m.Name, err)
		}
	}
	return highest, nil
}

// trusted reports whether a checkpoint tells the truth about this log and
// this fold.
func (c Checkpoint) trusted(m *Model, incarnation string, tail domain.Position) bool {
	return c.ofLog(incarnation, tail) && c.Version == m.Version
}

// ofLog reports whether a checkpoint is a place in this log.
func (c Checkpoint) ofLog(incarnation string, tail domain.Position) bool {
	return c.Incarnation == incarnation && c.Position <= tail
}
