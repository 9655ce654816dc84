package mongostore

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// writeDocs writes the documents of a batch, in any order and any number of
// times: a document is only written over an older version of itself.
func (s *Store) writeDocs(ctx context.Context, b projections.Batch) error {
	writes := map[string][]mongo.WriteModel{}
	for _, p := range b.Puts {
		doc, err := toBSON(p.ID, p.Body)
		if err != nil {
			return domain.Errorf(domain.Bug, err, "a document of %s cannot be stored", p.Collection)
		}
		// When there is a newer version the filter misses it, and inserting
		// beside it is refused as a duplicate: nothing to do.
		filter := bson.D{{Key: "_id", Value: p.ID}, {Key: "last_position", Value: bson.D{{Key: "$lt", Value: int64(p.Last)}}}}
		writes[p.Collection] = append(writes[p.Collection],
			mongo.NewReplaceOneModel().SetFilter(filter).SetReplacement(doc).SetUpsert(true))
	}
	for _, r := range b.Deletes {
		filter := bson.D{{Key: "_id", Value: r.ID}, {Key: "last_position", Value: bson.D{{Key: "$lte", Value: int64(b.To)}}}}
		writes[r.Collection] = append(writes[r.Collection], mongo.NewDeleteOneModel().SetFilter(filter))
	}
	for collection, models := range writes {
		_, err := s.db.Collection(collection).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
		if err != nil && !onlyDuplicates(err) {
			return explain("write documents", err)
		}
	}
	return nil
}

// codeDuplicate is what a server answers to a second document of one _id.
const codeDuplicate = 11000

func onlyDuplicates(err error) bool {
	e, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || e.WriteConcernError != nil {
		return false
	}
	for _, one := range e.WriteErrors {
		if one.Code != codeDuplicate {
			return false
		}
	}
	return true
}

// Get implements projections.Store.
func (s *Store) Get(ctx context.Context, collection string, ids []string) (map[string]projections.Doc, error) {
	found := make(map[string]projections.Doc, len(ids))
	var filter bson.D
	switch len(ids) {
	case 0:
		return found, nil
	case 1:
		filter = bson.D{{Key: "_id", Value: ids[0]}}
	default:
		filter = bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	}
	docs, err := s.find(ctx, collection, filter, options.Find())
	for _, d := range docs {
		found[d.ID] = d
	}
	return found, err
}

// Range implements projections.Store.
func (s *Store) Range(ctx context.Context, q projections.Query) ([]projections.Doc, error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	order, beyond, upTo := int32(1), "$gt", "$gte"
	if q.Desc {
		order, beyond, upTo = -1, "$lt", "$lte"
	}
	filter := bson.D{}
	for _, m := range q.Where {
		values := m.AnyOf
		if values == nil {
			values = []string{}
		}
		filter = append(filter, bson.E{Key: m.Field, Value: bson.D{{Key: "$in", Value: values}}})
	}
	var sort bson.D
	if q.Sort != "" {
		sort = bson.D{{Key: q.Sort, Value: order}}
	}
	sort = append(sort, bson.E{Key: "_id", Value: order})
	switch {
	case q.After == nil:
	case q.Sort == "":
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: beyond, Value: q.After.ID}}})
	default:
		// The first condition bounds the walk along the index; the second one
		// is exact.
		filter = append(filter,
			bson.E{Key: q.Sort, Value: bson.D{{Key: upTo, Value: q.After.Value}}},
			bson.E{Key: "$or", Value: bson.A{
				bson.D{{Key: q.Sort, Value: bson.D{{Key: beyond, Value: q.After.Value}}}},
				bson.D{{Key: q.Sort, Value: q.After.Value}, {Key: "_id", Value: bson.D{{Key: beyond, Value: q.After.ID}}}},
			}})
	}
	return s.find(ctx, q.Collection, filter, options.Find().SetSort(sort).SetLimit(int64(q.Limit)))
}

func (s *Store) find(ctx context.Context, collection string, filter bson.D, o *options.FindOptionsBuilder) ([]projections.Doc, error) {
	cursor, err := s.db.Collection(collection).Find(ctx, filter, o)
	if err != nil {
		return nil, explain("read documents", err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }() // the server drops it by itself otherwise
	var docs []projections.Doc
	for cursor.Next(ctx) {
		d, err := fromBSON(cursor.Current)
		if err != nil {
			return nil, domain.Errorf(domain.Bug, err, "a document of %s cannot be read", collection)
		}
		docs = append(docs, d)
	}
	return docs, explain("read documents", cursor.Err())
}
