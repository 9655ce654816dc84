package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/sendlog/sendlog/projections"
)

// table writes documents of one collection with statements compiled once.
type table struct {
	collection
	insert, add, update, remove *sql.Stmt
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
	if t.insert, err = s.prepared(ctx, s.write, name, t.insertSQL()); err != nil {
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
	for _, stmt := range []**sql.Stmt{&t.insert, &t.add, &t.update, &t.remove} {
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
		_, err := t.insert.ExecContext(ctx, row...)
		return err
	}
	done, err := changes(t.update.ExecContext(ctx, row...))
	if err != nil || done {
		return err
	}
	_, err = t.add.ExecContext(ctx, row...) // if this changes nothing either, there is a newer version
	return err
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
