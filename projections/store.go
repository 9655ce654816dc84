package projections

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sendlog/sendlog/domain"
)

// MaxBatchBytes bounds the documents of one batch (bytes of their JSON). Every
// store takes a batch of this size; the runner stays well below it.
const MaxBatchBytes = 12 << 20

// ErrMoved says that a batch does not begin where the checkpoint is: another
// runner moved it, or the generation was dropped. Nothing was written.
var ErrMoved = errors.New("the checkpoint is not where this batch begins")

// ErrRepeated says that a batch was written before, by this writer or by another
// one that was where it is. Nothing more was written, and its writer goes on.
var ErrRepeated = errors.New("the batch was written before")

// Store keeps documents in named collections, and how far each generation of
// a read model is. Implementations are safe for concurrent use. Their errors
// are of kind domain.Unavailable when trying again may help.
//
// Collection and generation names are [a-z][a-z0-9_]*, up to 64 characters.
type Store interface {
	// Create makes the collections of a generation, their indexes and its
	// checkpoint. What is already there stays as it is.
	Create(ctx context.Context, generation string, at Checkpoint, collections []Collection) error

	// Apply writes a batch whole or not at all. Readers may see some of its
	// documents before others, but the checkpoint never before all of them.
	// What a crash leaves half-written, Resume completes. Repeating a batch
	// that was written changes nothing and is told with [ErrRepeated]; a batch
	// that begins anywhere else than at the checkpoint is refused with [ErrMoved].
	Apply(ctx context.Context, b Batch) error

	// Resume returns where a writer goes on, and whether the generation
	// exists; afterwards the documents are exactly those of that position.
	Resume(ctx context.Context, generation string) (Checkpoint, bool, error)

	// Checkpoint returns how far a generation is at least, and whether it
	// exists. It writes nothing.
	Checkpoint(ctx context.Context, generation string) (Checkpoint, bool, error)

	// Get returns those of the documents that exist, by id.
	Get(ctx context.Context, collection string, ids []string) (map[string]Doc, error)

	// Range returns a page of documents in the order of (q.Sort, id), texts
	// in the order of their bytes.
	Range(ctx context.Context, q Query) ([]Doc, error)

	// Live returns which generation of a model is read; zero when none is.
	Live(ctx context.Context, model string) (Pointer, error)

	// Switch makes the generation live and the present one previous, if the
	// pointer is still as given; otherwise it returns [ErrMoved].
	Switch(ctx context.Context, model string, present Pointer, live int) error

	// Drop removes a generation's checkpoint, then the collections. What is
	// not there is no error.
	Drop(ctx context.Context, generation string, collections []string) error

	// List returns the names of all collections.
	List(ctx context.Context) ([]string, error)

	Close() error
}

// Doc is one document: a JSON object with at least the members "id" and
// "last_position", equal to ID and Last. Member names are [a-z0-9_]+, numbers
// are integers of 64 bits, and a document comes back byte for byte when Body
// is what encoding/json writes without HTML escaping and without indenting.
type Doc struct {
	ID   string          // any valid UTF-8 up to 1 KiB
	Last domain.Position // of the newest event folded in; an older or equal write changes nothing
	Body json.RawMessage
}

// Ref names one document.
type Ref struct {
	Collection string
	ID         string
}

// Put is one document to write.
type Put struct {
	Collection string
	Doc
	Fresh bool `json:",omitempty"` // the generation has no version of it at From
}

// Batch is what the events From+1..To changed.
type Batch struct {
	Generation string
	From, To   domain.Position // From is the checkpoint before, To the one after
	Puts       []Put           // each document at most once
	Deletes    []Ref           // none of the puts; a missing document is no error
}

// Checkpoint is how far a generation is, in which log, folded by what.
type Checkpoint struct {
	Position    domain.Position
	Incarnation string
	Version     int
}

// Pointer says which generation of a model is live, and which was before.
type Pointer struct {
	Live     int
	Previous int
}

// Collection is a set of documents with the indexes its queries need.
type Collection struct {
	Name    string
	Indexes []Index
}

// Index serves queries that match all of Fields (string members) and sort by
// Sort (an integer member).
type Index struct {
	Fields []string
	Sort   string
}

// Query asks for a page over a declared index: the fields of Where begin with
// those of the index, in its order. What other fields narrow further is looked
// at one by one, so there should not be much of it. Without Where and Sort it
// walks the whole collection, in an order of the store's own, after the document
// of After's id.
type Query struct {
	Collection string
	Where      []Match
	Sort       string
	Desc       bool
	After      *Mark
	Limit      int
}

// Match accepts documents whose field is one of the values. The values are
// data and nothing else, whatever they look like.
type Match struct {
	Field string
	AnyOf []string
}

// Mark is a place in a sorted list: right after the document with this sort
// value and id.
type Mark struct {
	Value int64
	ID    string
}
