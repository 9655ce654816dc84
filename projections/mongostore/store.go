package mongostore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

const (
	// defaultDatabase is used when neither the caller nor the URI names one.
	defaultDatabase = "sendlog"

	// selectTimeout bounds the search for a server that can be written to.
	selectTimeout = 5 * time.Second

	// operationTimeout bounds one operation whose caller set no deadline.
	operationTimeout = 30 * time.Second

	// Our own collections.
	checkpointsName = "sendlog_checkpoints"
	generationsName = "sendlog_generations"
	ownPrefix       = "sendlog_"
)

// Store is a projections.Store in one database.
type Store struct {
	client      *mongo.Client
	db          *mongo.Database
	checkpoints *mongo.Collection
	generations *mongo.Collection

	at func(stage string) error // tests stop the store here; nil in production
}

var _ projections.Store = (*Store)(nil)

// Open connects to a database: the named one, else the one in the URI's path.
// It returns an error of kind domain.Unavailable when nothing answers, and
// domain.Invalid for a URI that is none.
func Open(ctx context.Context, uri, database string) (*Store, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, nil, "the MongoDB URI is not valid") // the cause would repeat its password
	}
	if database == "" {
		database = parsed.Database
	}
	if database == "" {
		database = defaultDatabase
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri).
		SetAppName("sendlog").SetServerSelectionTimeout(selectTimeout).SetTimeout(operationTimeout).
		SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		return nil, explain("connect", err)
	}
	if err := client.Ping(ctx, nil); err != nil {
		_ = client.Disconnect(context.WithoutCancel(ctx)) // there is nothing to lose yet
		return nil, explain("connect", err)
	}
	db := client.Database(database)
	return &Store{
		client: client, db: db,
		checkpoints: db.Collection(checkpointsName), generations: db.Collection(generationsName),
	}, nil
}

// Deployment is what kind of MongoDB a store is on.
type Deployment struct {
	ReplicaSet string // name; empty: a server by itself
	Members    int    // of the replica set that hold data
	Sharded    bool
}

// Deployment asks the server what it is.
func (s *Store) Deployment(ctx context.Context) (Deployment, error) {
	var hello struct {
		SetName string   `bson:"setName"`
		Hosts   []string `bson:"hosts"`
		Msg     string   `bson:"msg"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return Deployment{}, explain("ask what the server is", err)
	}
	return Deployment{ReplicaSet: hello.SetName, Members: len(hello.Hosts), Sharded: hello.Msg == "isdbgrid"}, nil
}

// Close implements projections.Store.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), selectTimeout) // a port without context: closing is bounded here
	defer cancel()
	return s.client.Disconnect(ctx)
}

// DropDatabase removes everything in the store's database. Tests use it.
func (s *Store) DropDatabase(ctx context.Context) error {
	return explain("drop the database", s.db.Drop(ctx))
}

// Create implements projections.Store.
func (s *Store) Create(ctx context.Context, generation string, at projections.Checkpoint, collections []projections.Collection) error {
	for _, c := range collections {
		if err := s.createCollection(ctx, c); err != nil {
			return explain("create a collection", err)
		}
	}
	_, err := s.checkpoints.InsertOne(ctx, bson.D{
		{Key: "_id", Value: generation}, {Key: "position", Value: int64(at.Position)},
		{Key: "incarnation", Value: at.Incarnation}, {Key: "version", Value: int64(at.Version)},
		{Key: "pending_to", Value: int64(0)},
	})
	if mongo.IsDuplicateKeyError(err) {
		return nil
	}
	return explain("create a checkpoint", err)
}

// codeExists is what a server answers to creating a collection that is there.
const codeExists = 48

func (s *Store) createCollection(ctx context.Context, c projections.Collection) error {
	err := s.db.CreateCollection(ctx, c.Name)
	if e, ok := errors.AsType[mongo.CommandError](err); err != nil && (!ok || e.Code != codeExists) {
		return err
	}
	for _, index := range c.Indexes {
		var keys bson.D
		for _, field := range append(slices.Clone(index.Fields), index.Sort, "_id") {
			keys = append(keys, bson.E{Key: field, Value: int32(1)})
		}
		// One by one: FerretDB v1 drops the connection when two indexes of one
		// command exist already.
		if _, err := s.db.Collection(c.Name).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys}); err != nil {
			return err
		}
	}
	return nil
}

// checkpointDoc is a checkpoint as it is stored. PendingTo is 0, or the end
// of the batch that is decided and not finished.
type checkpointDoc struct {
	Position    int64  `bson:"position"`
	Incarnation string `bson:"incarnation"`
	Version     int    `bson:"version"`
	PendingTo   int64  `bson:"pending_to"`
	Pending     []byte `bson:"pending"` // JSON of projections.Batch
}

// Apply implements projections.Store, as the package comment says.
func (s *Store) Apply(ctx context.Context, b projections.Batch) error {
	pending, err := encodeBatch(b)
	if err != nil {
		return err
	}
	for range 2 {
		decided, err := s.decide(ctx, b, pending)
		if err != nil {
			return err
		}
		if decided {
			return s.finish(ctx, b)
		}
		now, err := s.resume(ctx, b.Generation) // finishes what somebody else, or we before, left pending
		switch {
		case errors.Is(err, mongo.ErrNoDocuments):
			return projections.ErrMoved
		case err != nil:
			return explain("load a checkpoint", err)
		case now.Position == int64(b.To):
			return projections.ErrRepeated
		case now.Position != int64(b.From):
			return projections.ErrMoved
		}
	}
	return domain.Errorf(domain.Unavailable, nil, "another writer is at work on %s", b.Generation)
}

// maxPending bounds an encoded batch (bytes): what fits into one document of
// 16 MB beside the rest of a checkpoint.
const maxPending = 15 << 20

func encodeBatch(b projections.Batch) ([]byte, error) {
	pending, err := domain.JSON(b)
	if err != nil {
		return nil, domain.Errorf(domain.Bug, err, "a batch of %s cannot be encoded", b.Generation)
	}
	if len(pending) > maxPending {
		return nil, domain.Errorf(domain.TooLarge, nil, "a batch of %s has %d bytes", b.Generation, len(pending))
	}
	return pending, nil
}

// decide makes b the pending batch if the checkpoint is where it begins.
func (s *Store) decide(ctx context.Context, b projections.Batch, pending []byte) (bool, error) {
	result, err := s.checkpoints.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: b.Generation}, {Key: "position", Value: int64(b.From)}, {Key: "pending_to", Value: int64(0)}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "pending_to", Value: int64(b.To)}, {Key: "pending", Value: pending}}}})
	if err != nil {
		return false, explain("write a checkpoint", err)
	}
	return result.MatchedCount == 1, s.stage("decided")
}

// finish writes the documents of the decided batch, then moves the
// checkpoint.
func (s *Store) finish(ctx context.Context, b projections.Batch) error {
	if err := s.writeDocs(ctx, b); err != nil {
		return err
	}
	if err := s.stage("written"); err != nil {
		return err
	}
	_, err := s.checkpoints.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: b.Generation}, {Key: "position", Value: int64(b.From)}, {Key: "pending_to", Value: int64(b.To)}},
		bson.D{
			{Key: "$set", Value: bson.D{{Key: "position", Value: int64(b.To)}, {Key: "pending_to", Value: int64(0)}}},
			{Key: "$unset", Value: bson.D{{Key: "pending", Value: ""}}},
		})
	return explain("write a checkpoint", err) // nothing matched: somebody else finished it
}

// load reads a checkpoint as it is.
func (s *Store) load(ctx context.Context, generation string) (doc checkpointDoc, err error) {
	err = s.checkpoints.FindOne(ctx, bson.D{{Key: "_id", Value: generation}}).Decode(&doc)
	return doc, err
}

// resume reads a checkpoint, after finishing the batch it has pending.
func (s *Store) resume(ctx context.Context, generation string) (checkpointDoc, error) {
	for {
		doc, err := s.load(ctx, generation)
		if err != nil || doc.PendingTo == 0 {
			return doc, err
		}
		var b projections.Batch
		if err := json.Unmarshal(doc.Pending, &b); err != nil {
			return doc, domain.Errorf(domain.Bug, err, "a pending batch of %s cannot be read", generation)
		}
		if err := s.finish(ctx, b); err != nil {
			return doc, err
		}
	}
}

func (s *Store) stage(name string) error {
	if s.at == nil {
		return nil
	}
	return s.at(name)
}

// Resume implements projections.Store.
func (s *Store) Resume(ctx context.Context, generation string) (projections.Checkpoint, bool, error) {
	return checkpoint(s.resume(ctx, generation))
}

// Checkpoint implements projections.Store.
func (s *Store) Checkpoint(ctx context.Context, generation string) (projections.Checkpoint, bool, error) {
	return checkpoint(s.load(ctx, generation))
}

func checkpoint(doc checkpointDoc, err error) (projections.Checkpoint, bool, error) {
	if errors.Is(err, mongo.ErrNoDocuments) {
		return projections.Checkpoint{}, false, nil
	}
	if err != nil {
		return projections.Checkpoint{}, false, explain("load a checkpoint", err)
	}
	return projections.Checkpoint{Position: domain.Position(doc.Position), Incarnation: doc.Incarnation, Version: doc.Version}, true, nil
}

// Live implements projections.Store.
func (s *Store) Live(ctx context.Context, model string) (projections.Pointer, error) {
	var p projections.Pointer
	err := s.generations.FindOne(ctx, bson.D{{Key: "_id", Value: model}}).Decode(&p)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return p, nil
	}
	return p, explain("load a generation pointer", err)
}

// Switch implements projections.Store.
func (s *Store) Switch(ctx context.Context, model string, present projections.Pointer, live int) error {
	if present == (projections.Pointer{}) {
		_, err := s.generations.InsertOne(ctx, bson.D{
			{Key: "_id", Value: model}, {Key: "live", Value: int64(live)}, {Key: "previous", Value: int64(0)},
		})
		if mongo.IsDuplicateKeyError(err) {
			return projections.ErrMoved
		}
		return explain("switch a generation", err)
	}
	result, err := s.generations.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: model}, {Key: "live", Value: int64(present.Live)}, {Key: "previous", Value: int64(present.Previous)}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "live", Value: int64(live)}, {Key: "previous", Value: int64(present.Live)}}}})
	if err == nil && result.MatchedCount == 0 {
		return projections.ErrMoved
	}
	return explain("switch a generation", err)
}

// Drop implements projections.Store.
func (s *Store) Drop(ctx context.Context, generation string, collections []string) error {
	if _, err := s.checkpoints.DeleteOne(ctx, bson.D{{Key: "_id", Value: generation}}); err != nil {
		return explain("drop a generation", err)
	}
	for _, c := range collections {
		if err := s.db.Collection(c).Drop(ctx); err != nil { // the driver takes a missing one for dropped
			return explain("drop a generation", err)
		}
	}
	return nil
}

// List implements projections.Store.
func (s *Store) List(ctx context.Context) ([]string, error) {
	names, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, explain("list collections", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, "system.")
	}), nil
}

// explain gives an error of the driver its place and kind. What the server
// says is kept as codes only, because its words quote values.
func explain(what string, err error) error {
	if err == nil || errors.Is(err, projections.ErrMoved) {
		return err
	}
	if _, ok := errors.AsType[*domain.Error](err); ok {
		return err
	}
	cause := err
	if e, ok := errors.AsType[mongo.ServerError](err); ok && !mongo.IsNetworkError(err) {
		cause = fmt.Errorf("server error codes %v", e.ErrorCodes())
	}
	return domain.Errorf(domain.Unavailable, cause, "the read models cannot %s", what)
}
