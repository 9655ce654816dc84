package projections

import (
	"fmt"

	"github.com/sendlog/sendlog/domain"
)

// Model is one read model. Its functions are pure: what they do depends on
// the event and on the documents of [Docs], never on time, order of maps or
// anything outside.
type Model struct {
	Name        string
	Version     int // of the fold; a new one makes the next start rebuild
	Collections []Collection

	// Types lists every event type the log may hold with the newest version
	// this fold reads, or 0 when events of this type are not its own. A type
	// that is missing here stops the model.
	Types map[string]int

	// Touches names documents that folding e will probably need, so that a
	// batch fetches them together. It may name too many or too few.
	Touches func(e domain.Event) []Ref

	// Fold changes documents. An error is a bug, or comes from [Docs].
	Fold func(e domain.Event, d *Docs) error
}

// Models returns all read models, newest versions.
func Models() []Model { return []Model{messagesModel(), customersModel()} }

// owns reports whether the model folds e, or an error of kind domain.Bug when
// it does not know what e is.
func (m *Model) owns(e domain.Event) (bool, error) {
	version, listed := m.Types[e.Type]
	switch {
	case !listed:
		return false, domain.Errorf(domain.Bug, nil, "read model %s does not know the event type %q at %d", m.Name, e.Type, e.Position)
	case version == 0:
		return false, nil
	case e.Version < 1 || e.Version > version:
		return false, domain.Errorf(domain.Bug, nil, "read model %s reads %s up to version %d, and position %d holds version %d",
			m.Name, e.Type, version, e.Position, e.Version)
	}
	return true, nil
}

// bug gives a fold's error its kind and its place.
func (m *Model) bug(e domain.Event, cause error) error {
	return domain.Errorf(domain.Bug, cause, "read model %s cannot fold %s at %d", m.Name, e.Type, e.Position)
}

// check reports what is wrong with the declaration of a model.
func (m *Model) check() error {
	if !validName(m.Name) || m.Version < 1 || m.Touches == nil || m.Fold == nil || len(m.Collections) == 0 {
		return fmt.Errorf("read model %q: incomplete", m.Name)
	}
	for _, c := range m.Collections {
		if !validName(c.Name) {
			return fmt.Errorf("read model %q: collection name %q", m.Name, c.Name)
		}
	}
	return nil
}
