package sqlitestore

import (
	"context"
	"database/sql"
	"slices"

	"github.com/sendlog/sendlog/projections"
)

// together is how many documents are inserted by one statement: to begin and
// end one costs as much as what it does for a document.
const together = 16

// table writes documents of one collection with statements compiled once.
type table struct {
	collection
	insert, inserts, add, update, remove *sql.Stmt
	fresh                                []any // values of rows to insert together
}

// compile returns what writes the documents of a batch, by collection.
func (s *Store) compile(ctx context.Context, b projections.Batch) (map[string]*table, error) {
	tables := map[string]*table{}
	add := func(name string) error {
		if tables[name] != nil {
			return nil
		}
		t, err := s.table(ctx, name)
		tables[name] = &t
		return err
	}
	for _, p := range b.Puts {
		if err := add(p.Collection); err != nil {
			return nil, err
		}
	}
	for _, r := range b.Deletes {
		if err := add(r.Collection); err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// table returns a collection with its statements.
func (s *Store) table(ctx context.Context, name string) (t table, err error) {
	if t.collection, err = s.shape(ctx, name); err != nil {
		return t, err
	}
	if t.insert, err = s.prepared(ctx, s.write, name, t.insertSQL(1)); err != nil {
		return t, err
	}
	if t.inserts, err = s.prepared(ctx, s.write, name, t.insertSQL(together)); err != nil {
		return t, err
	}
	if t.add, err = s.prepared(ctx, s.write, name, t.addSQL()); err != nil {
		return t, err
	}
	if t.update, err = s.prepared(ctx, s.write, name, t.updateSQL()); err != nil {
		return t, err
	}
	t.remove, err = s.prepared(ctx, s.write, name, t.deleteSQL())
	return t, err
}

// shape returns the shape of a collection, read once.
func (s *Store) shape(ctx context.Context, name string) (collection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, known := s.shapes[name]; known {
		return c, nil
	}
	c, exists, err := loadCollection(ctx, s.read, name)
	if exists {
		s.shapes[name] = c
	}
	return c, err
}

// join makes the statements part of a transaction.
func (t *table) join(ctx context.Context, tx *sql.Tx) {
	for _, stmt := range []**sql.Stmt{&t.insert, &t.inserts, &t.add, &t.update, &t.remove} {
		*stmt = tx.StmtContext(ctx, *stmt)
	}
}

// put writes a document over an older version of itself, or beside all others.
func (t *table) put(ctx context.Context, p projections.Put) error {
	row, err := t.row(p.Doc)
	if err != nil {
		return err
	}
	if p.Fresh {
		if t.fresh = append(t.fresh, row...); len(t.fresh) < together*len(row) {
			return nil
		}
		_, err := t.inserts.ExecContext(ctx, t.fresh...)
		t.fresh = t.fresh[:0]
		return err
	}
	done, err := changes(t.update.ExecContext(ctx, row...))
	if err != nil || done {
		return err
	}
	_, err = t.add.ExecContext(ctx, row...) // if this changes nothing either, there is a newer version
	return err
}

// finish inserts what put has left for a statement that is not full.
func (t *table) finish(ctx context.Context) error {
	width := t.width()
	for row := range slices.Chunk(t.fresh, width) {
		if _, err := t.insert.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	t.fresh = nil
	return nil
}

func (t *table) drop(ctx context.Context, id string) error {
	_, err := t.remove.ExecContext(ctx, hash(id), id)
	return err
}

func changes(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
