package streams

import (
	"encoding/json"
	"fmt"
)

// An event is stored in the version its type had when it was written, and read
// in the newest: whoever folds it knows one version only. Each step below
// brings one type from one version to the next; a new version is one more
// step, and a golden file of the one before (testdata/events).

// stage is a version of a type.
type stage struct {
	Type    string
	Version int // 1 or more
}

// upcast says in the next version what facts and personal part say; personal
// is nil when there is none.
type upcast func(facts, personal json.RawMessage) (nextFacts, nextPersonal json.RawMessage, err error)

// upcasts are the steps from each stage to the next.
type upcasts map[stage]upcast

// history is the steps of every type that ever changed. None has: there is
// only version 1.
var history = upcasts{}

// newest returns the version in which events of a type are written.
func (u upcasts) newest(eventType string) int {
	v := 1
	for u[stage{eventType, v}] != nil {
		v++
	}
	return v
}

// lift brings an event to the newest version, step by step.
func (u upcasts) lift(env *envelope, personal []byte) ([]byte, error) {
	newest := u.newest(env.Type)
	switch {
	case env.Version > newest:
		return nil, fmt.Errorf("%w: %s has version %d, this build reads up to %d: a newer build wrote it; upgrade this one", errNewer, env.Type, env.Version, newest)
	case env.Version < 1:
		return nil, fmt.Errorf("%w: %s has version %d; the first is 1", errUndecodable, env.Type, env.Version)
	}
	for ; env.Version < newest; env.Version++ {
		var err error
		if env.Facts, personal, err = u[stage{env.Type, env.Version}](env.Facts, personal); err != nil {
			return nil, fmt.Errorf("%w: %s cannot be brought from version %d to %d: %w", errUndecodable, env.Type, env.Version, env.Version+1, err)
		}
	}
	return personal, nil
}
