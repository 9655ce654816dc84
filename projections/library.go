package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

// Config is what a [Library] is made of.
type Config struct {
	Source    Source       // required
	Store     Store        // required; the library does not close it
	Announcer Announcer    // nil: nobody listens
	Clock     domain.Clock // nil: the system's
	Meter     domain.Meter // nil: nothing is counted
	Log       *slog.Logger // nil: nothing is logged
	Models    []Model      // nil: [Models]
	Batch     int          // events folded at once; 0: 2000
	// Alone says that no other process writes to the store while this one has
	// it: what was learnt of it stays true.
	Alone bool
}

// Library is all read models: it keeps them up to date ([Library.Run]),
// rebuilds them, and answers questions. Questions are answered from the live
// generation, with an error of kind domain.Unavailable while there is none.
// It is safe for concurrent use.
type Library struct {
	config   Config
	shelves  []*shelf
	source   *shared   // what the live models read
	speakers *speakers // nil when others write to the store too
}

// NewLibrary checks the configuration. It touches nothing.
func NewLibrary(c Config) (*Library, error) {
	if c.Source == nil || c.Store == nil {
		return nil, errors.New("projections: a library needs a source and a store")
	}
	if c.Clock == nil {
		c.Clock = domain.SystemClock{}
	}
	if c.Meter == nil {
		c.Meter = domain.NoMeter{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Models == nil {
		c.Models = Models()
	}
	if c.Batch <= 0 {
		c.Batch = batchEvents
	}
	l := &Library{config: c}
	if c.Alone {
		l.speakers = newSpeakers(c.Store)
		l.config.Store = l.speakers
	}
	l.source = newShared(c.Source, c.Clock)
	for i := range c.Models {
		m := &c.Models[i]
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("projections: %w", err)
		}
		l.shelves = append(l.shelves, &shelf{config: &l.config, model: m, source: l.source})
	}
	return l, nil
}

// Run keeps all models up to date until ctx ends; it is called once. One model that stops does
// not stop the others; [Library.Health] shows it. It returns nil after
// everything it started has ended.
func (l *Library) Run(ctx context.Context) error {
	for _, s := range l.shelves {
		s.start(ctx)
	}
	l.learn(ctx)
	<-ctx.Done()
	for _, s := range l.shelves {
		s.finish()
	}
	return nil
}

// Follow lets this process read what another one's [Library.Run] keeps up to
// date, until ctx ends.
func (l *Library) Follow(ctx context.Context) error {
	var all sync.WaitGroup
	for _, s := range l.shelves {
		all.Go(func() { s.follow(ctx) })
	}
	all.Wait()
	return nil
}

// WaitFor returns nil once every model can be read and has folded everything
// up to pos (read your writes); pos 0 waits for the first reading only. It
// returns an error of kind domain.Unavailable when ctx ends first, or when a
// model has stopped before pos.
func (l *Library) WaitFor(ctx context.Context, pos domain.Position) error {
	if !l.holds(pos) {
		defer l.Hurry()()
	}
	for _, s := range l.shelves {
		if err := s.progress.wait(ctx, pos); err != nil {
			return err
		}
	}
	return nil
}

func (l *Library) holds(pos domain.Position) bool {
	return !slices.ContainsFunc(l.shelves, func(s *shelf) bool {
		at, _ := s.progress.state()
		return at < pos
	})
}

// Hurry says that somebody waits for what is folded next: until done is called,
// events gather for no longer than they must. What gathers now is written at
// once.
func (l *Library) Hurry() (done func()) {
	l.source.gathering.come()
	return l.source.gathering.leave
}

// Health is how one model is.
type Health struct {
	Model      string
	Generation int             // the live one; 0 when there is none to trust
	Position   domain.Position // everything up to it is folded
	Err        error           // what stands in the way; nil when nothing does
	Rebuild    *Progress       // nil when none is under way
}

// Ready reports whether the model can be read and is being kept up to date.
func (h Health) Ready() bool { return h.Generation > 0 && h.Err == nil }

// Health returns the state of every model, in the order of [Config.Models].
func (l *Library) Health() []Health {
	all := make([]Health, len(l.shelves))
	for i, s := range l.shelves {
		at, err := s.progress.state()
		all[i] = Health{Model: s.model.Name, Position: at, Err: err, Rebuild: s.build.Load()}
		if gen := s.live.Load(); gen != nil {
			all[i].Generation = gen.number
		}
	}
	return all
}

// Lag returns for every model how many positions it is behind the log.
func (l *Library) Lag(ctx context.Context) (map[string]uint64, error) {
	tail, err := l.config.Source.Tail(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the log for its newest position: %w", err)
	}
	lag := map[string]uint64{}
	for _, s := range l.shelves {
		at, _ := s.progress.state()
		lag[s.model.Name] = uint64(max(tail, at) - at)
	}
	return lag, nil
}

func (l *Library) shelf(model string) (*shelf, error) {
	for _, s := range l.shelves {
		if s.model.Name == model {
			return s, nil
		}
	}
	return nil, domain.Errorf(domain.Unknown, nil, "there is no read model of this name")
}

// reading returns the live generation of a model.
func (l *Library) reading(model string) (generation, error) {
	s, err := l.shelf(model)
	if err != nil {
		return generation{}, err
	}
	gen := s.live.Load()
	if gen == nil {
		return generation{}, domain.Errorf(domain.Unavailable, nil, "the read model %s is being built; try again later", model)
	}
	return *gen, nil
}

// Page asks for part of a list.
type Page struct {
	After *Mark // nil for the first page; else what the page before answered
	Limit int   // items; 0: domain.DefaultPage, at most domain.MaxPage
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return domain.DefaultPage
	}
	return min(p.Limit, domain.MaxPage)
}

// find returns a document of a tenant, or an error of kind domain.Unknown
// when it does not exist or is another tenant's.
func find[D any, P interface {
	*D
	Document
}](ctx context.Context, l *Library, gen generation, t domain.TenantID, collection, id string) (P, error) {
	docs, err := l.config.Store.Get(ctx, gen.collection(collection), []string{id})
	if err != nil {
		return nil, err
	}
	doc, ok := docs[id]
	if !ok {
		return nil, errAbsent()
	}
	p, err := decodeDoc[D, P](doc)
	if err != nil {
		return nil, err
	}
	if p.head().Tenant != t {
		return nil, errAbsent()
	}
	return p, nil
}

// decodeDoc reads a stored document.
func decodeDoc[D any, P interface {
	*D
	Document
}](doc Doc) (P, error) {
	p := P(new(D))
	if err := json.Unmarshal(doc.Body, p); err != nil {
		return nil, domain.Errorf(domain.Bug, err, "a stored document cannot be read")
	}
	return p, nil
}

func errAbsent() error { return domain.Errorf(domain.Unknown, nil, "there is no such thing here") }

// list returns a page, newest first, and where the next one begins (nil after
// the last).
func list[D any, P interface {
	*D
	Document
}](ctx context.Context, l *Library, gen generation, collection string, where []Match, page Page) ([]P, *Mark, error) {
	limit := page.limit()
	docs, err := l.config.Store.Range(ctx, Query{
		Collection: gen.collection(collection), Where: where, Sort: "position", Desc: true, After: page.After, Limit: limit + 1,
	})
	if err != nil {
		return nil, nil, err
	}
	more := len(docs) > limit
	if more {
		docs = docs[:limit]
	}
	all := make([]P, len(docs))
	for i, doc := range docs {
		if all[i], err = decodeDoc[D, P](doc); err != nil {
			return nil, nil, err
		}
	}
	if !more {
		return all, nil, nil
	}
	last := all[limit-1].head()
	return all, &Mark{Value: int64(last.Position), ID: last.ID}, nil
}
