package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

const (
	// maxSpeakers bounds the names remembered (of one generation; about 40 MiB).
	// Past it the store is asked about everybody.
	maxSpeakers = 1 << 20

	// learnPage is how many customers are read at once while learning.
	learnPage = 500
)

// speakers is a store that remembers which people have told a tenant anything
// that bears on writing to them. Every accepted request asks about its recipient
// ([Library.Contact]), and most have told nothing: then the store need not be
// asked. That is true only where everything that is written to the store passes
// here ([Config.Alone]).
type speakers struct {
	Store
	most int // names
	seed maphash.Seed

	mu sync.RWMutex
	of map[string]*spoken // by the collection of customers of each generation
}

// spoken is who has spoken, of one generation.
type spoken struct {
	names map[uint64]bool // hashes: whoever shares one is asked about in vain
	whole bool            // whoever is not among names has not spoken
	full  bool            // there are too many to remember
}

// name is one way a person may be written to.
type name struct {
	tenant domain.TenantID
	kind   string
	value  string
}

func newSpeakers(s Store) *speakers {
	return &speakers{Store: s, most: maxSpeakers, seed: maphash.MakeSeed(), of: map[string]*spoken{}}
}

// silent reports whether a person has told nothing, as far as a generation's
// collection of customers knows. False says that the store has to be asked.
func (s *speakers) silent(collection string, t domain.TenantID, a alias) bool {
	h := maphash.Comparable(s.seed, name{t, a.Kind, a.Value})
	s.mu.RLock()
	defer s.mu.RUnlock()
	known := s.of[collection]
	return known != nil && known.whole && !known.names[h]
}

// Create implements [Store]: in a new generation nobody has spoken.
func (s *speakers) Create(ctx context.Context, generation string, at Checkpoint, collections []Collection) error {
	if err := s.Store.Create(ctx, generation, at, collections); err != nil {
		return err
	}
	for _, c := range collections {
		if at.Position == 0 && ofCustomers(c.Name) {
			s.learnt(c.Name)
		}
	}
	return nil
}

// Apply implements [Store]. Who speaks is remembered before it can be read.
func (s *speakers) Apply(ctx context.Context, b Batch) error {
	if ofCustomers(b.Generation) {
		for _, p := range b.Puts {
			if p.Collection != b.Generation {
				continue
			}
			if err := s.hear(p.Collection, p.Doc); err != nil {
				return err
			}
		}
	}
	return s.Store.Apply(ctx, b)
}

// Drop implements [Store].
func (s *speakers) Drop(ctx context.Context, generation string, collections []string) error {
	s.mu.Lock()
	for _, c := range collections {
		delete(s.of, c)
	}
	s.mu.Unlock()
	return s.Store.Drop(ctx, generation, collections)
}

// ofCustomers reports whether a name is that of a generation of the model
// "customers", and so of its collection of that name.
func ofCustomers(name string) bool {
	parts := generationShape.FindStringSubmatch(name)
	return parts != nil && parts[1] == inCustomers
}

// hear remembers by all their names a person who has spoken.
func (s *speakers) hear(collection string, doc Doc) error {
	// Only a document that says so is worth decoding. Within a text the quotes
	// would be escaped.
	if !bytes.Contains(doc.Body, []byte(`"windows":`)) && !bytes.Contains(doc.Body, []byte(`"opted_out":`)) {
		return nil
	}
	var c customerDoc
	if err := json.Unmarshal(doc.Body, &c); err != nil {
		return domain.Errorf(domain.Bug, err, "a document of a customer cannot be read")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.at(collection)
	for _, a := range c.Aliases {
		if !known.full {
			known.names[maphash.Comparable(s.seed, name{c.Tenant, a.Kind, a.Value})] = true
		}
	}
	if len(known.names) > s.most {
		*known = spoken{full: true}
	}
	return nil
}

// at is what is known of a generation; mu is held.
func (s *speakers) at(collection string) *spoken {
	known := s.of[collection]
	if known == nil {
		known = &spoken{names: map[uint64]bool{}}
		s.of[collection] = known
	}
	return known
}

// learnt says that everybody who has spoken is known.
func (s *speakers) learnt(collection string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.at(collection)
	known.whole = !known.full
}

// learn reads who has spoken from the live generation, which an earlier process
// wrote. What is written meanwhile is heard as well.
func (s *speakers) learn(ctx context.Context) error {
	p, err := s.Live(ctx, "customers")
	if err != nil || p.Live == 0 {
		return err
	}
	q := Query{Collection: generation{number: p.Live}.collection(inCustomers), Limit: learnPage}
	for {
		docs, err := s.Range(ctx, q)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			if err := s.hear(q.Collection, doc); err != nil {
				return err
			}
		}
		if len(docs) < learnPage {
			s.learnt(q.Collection)
			return nil
		}
		q.After = &Mark{ID: docs[len(docs)-1].ID}
	}
}

// learn lets the library know who has spoken, so that it need not ask the store
// about everybody else. Until then, and when it fails, it does.
func (l *Library) learn(ctx context.Context) {
	if l.speakers == nil {
		return
	}
	if err := l.speakers.learn(ctx); err != nil && ctx.Err() == nil {
		l.config.Log.Warn("projections: not learnt who has written; the store is asked about every recipient",
			slog.String("error", fmt.Sprint(err)))
	}
}
