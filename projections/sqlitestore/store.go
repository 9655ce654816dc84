package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite" // registers the driver "sqlite"; its error type tells codes

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

const (
	// fileName is the database within the directory a store is given.
	fileName = "documents.db"

	// formerName is the database of a layout that was left behind.
	formerName = "readmodels.db"

	// readers bounds the connections of queries; more would only queue for
	// the same cores.
	readers = 8

	// busyTimeout is how long a connection waits for a lock (ms). Only
	// another process could hold one that long.
	busyTimeout = 5000

	// walPages is how long the write-ahead log grows before its pages are
	// copied into the database (pages of 4 KiB, so 16 MiB): four times the
	// default, because a batch touches the same index pages again and again.
	walPages = 4000
)

// Store is a projections.Store in a directory of its own.
type Store struct {
	write *sql.DB // one connection
	read  *sql.DB

	mu       sync.Mutex
	compiled map[string]map[string]*sql.Stmt // by collection and text
	shapes   map[string]collection           // by name
}

var _ projections.Store = (*Store)(nil)

// Open opens the store in dir and makes what is missing.
func Open(ctx context.Context, dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the read models: %w", err)
	}
	if err := removeFormer(dir); err != nil {
		return nil, fmt.Errorf("remove the former file of the read models: %w", err)
	}
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite gives -wal and -shm the same mode
	if err != nil {
		return nil, fmt.Errorf("make the file of the read models: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("make the file of the read models: %w", err)
	}
	s := &Store{compiled: map[string]map[string]*sql.Stmt{}, shapes: map[string]collection{}}
	if s.write, err = open(path, 1, "_txlock=immediate"); err != nil {
		return nil, err
	}
	if s.read, err = open(path, readers, "_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if _, err := s.write.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(explain("make the tables", err), s.Close())
	}
	return s, nil
}

// removeFormer removes what a former layout has left. Read models are folded
// again from the log.
func removeFormer(dir string) error {
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(filepath.Join(dir, formerName+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

const schema = `
CREATE TABLE IF NOT EXISTS sendlog_checkpoints (
	generation  TEXT PRIMARY KEY,
	position    INTEGER NOT NULL,
	incarnation TEXT NOT NULL,
	version     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sendlog_generations (
	model    TEXT PRIMARY KEY,
	live     INTEGER NOT NULL,
	previous INTEGER NOT NULL
) WITHOUT ROWID;`

func open(path string, connections int, more string) (*sql.DB, error) {
	name := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: fmt.Sprintf(
		"_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-32768)&_pragma=wal_autocheckpoint(%d)&%s",
		busyTimeout, walPages, more)}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, explain("open the database", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close implements projections.Store.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Create implements projections.Store.
func (s *Store) Create(ctx context.Context, generation string, at projections.Checkpoint, collections []projections.Collection) error {
	return s.inTx(ctx, "create a generation", func(tx *sql.Tx) error {
		for _, c := range collections {
			if err := createTable(ctx, tx, c); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sendlog_checkpoints (generation, position, incarnation, version)
			VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, generation, int64(at.Position), at.Incarnation, at.Version)
		return err
	})
}

// Apply implements projections.Store: one transaction.
func (s *Store) Apply(ctx context.Context, b projections.Batch) error {
	// Compiled before: the one connection that writes will be the transaction's.
	tables, unready := s.compile(ctx, b)
	return s.inTx(ctx, "write a batch", func(tx *sql.Tx) error {
		if err := advance(ctx, tx, b); err != nil {
			return err
		}
		if unready != nil { // not before: of a generation that is gone, the place in it says more
			return unready
		}
		// A transaction that is under way is finished: to watch for the end of
		// ctx costs a goroutine for every statement.
		ctx := context.WithoutCancel(ctx)
		for _, t := range tables {
			t.join(ctx, tx)
		}
		for _, p := range b.Puts {
			if err := tables[p.Collection].put(ctx, p); err != nil {
				return err
			}
		}
		for _, t := range tables {
			if err := t.finish(ctx); err != nil {
				return err
			}
		}
		for _, r := range b.Deletes {
			if err := tables[r.Collection].drop(ctx, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// advance moves the checkpoint from where the batch begins to where it ends.
func advance(ctx context.Context, tx *sql.Tx, b projections.Batch) error {
	moved, err := changes(tx.ExecContext(ctx, `UPDATE sendlog_checkpoints SET position = ? WHERE generation = ? AND position = ?`,
		int64(b.To), b.Generation, int64(b.From)))
	if err != nil || moved {
		return err
	}
	var at int64
	err = tx.QueryRowContext(ctx, `SELECT position FROM sendlog_checkpoints WHERE generation = ?`, b.Generation).Scan(&at)
	switch {
	case err == nil && at == int64(b.To):
		return projections.ErrRepeated
	case err == nil || errors.Is(err, sql.ErrNoRows):
		return projections.ErrMoved
	}
	return err
}

// Resume implements projections.Store: a transaction leaves nothing half-done.
func (s *Store) Resume(ctx context.Context, generation string) (projections.Checkpoint, bool, error) {
	return s.Checkpoint(ctx, generation)
}

// Checkpoint implements projections.Store.
func (s *Store) Checkpoint(ctx context.Context, generation string) (at projections.Checkpoint, found bool, err error) {
	var position int64
	err = s.read.QueryRowContext(ctx, `SELECT position, incarnation, version FROM sendlog_checkpoints WHERE generation = ?`, generation).
		Scan(&position, &at.Incarnation, &at.Version)
	if errors.Is(err, sql.ErrNoRows) {
		return at, false, nil
	}
	at.Position = domain.Position(position)
	return at, err == nil, explain("load a checkpoint", err)
}

// Live implements projections.Store.
func (s *Store) Live(ctx context.Context, model string) (p projections.Pointer, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT live, previous FROM sendlog_generations WHERE model = ?`, model).Scan(&p.Live, &p.Previous)
	if errors.Is(err, sql.ErrNoRows) {
		return projections.Pointer{}, nil
	}
	return p, explain("load a generation pointer", err)
}

// Switch implements projections.Store.
func (s *Store) Switch(ctx context.Context, model string, present projections.Pointer, live int) error {
	return s.inTx(ctx, "switch a generation", func(tx *sql.Tx) error {
		if present == (projections.Pointer{}) {
			_, err := tx.ExecContext(ctx, `INSERT INTO sendlog_generations (model, live, previous) VALUES (?, 0, 0) ON CONFLICT DO NOTHING`, model)
			if err != nil {
				return err
			}
		}
		result, err := tx.ExecContext(ctx, `UPDATE sendlog_generations SET live = ?, previous = ? WHERE model = ? AND live = ? AND previous = ?`,
			live, present.Live, model, present.Live, present.Previous)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return projections.ErrMoved
	})
}

// Drop implements projections.Store.
func (s *Store) Drop(ctx context.Context, generation string, collections []string) error {
	s.forget(collections)
	return s.inTx(ctx, "drop a generation", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sendlog_checkpoints WHERE generation = ?`, generation); err != nil {
			return err
		}
		for _, c := range collections {
			if _, err := tx.ExecContext(ctx, `DROP TABLE IF EXISTS `+quote(c)); err != nil {
				return err
			}
		}
		return nil
	})
}

// List implements projections.Store.
func (s *Store) List(ctx context.Context) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table'
		AND name NOT LIKE 'sendlog\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return nil, explain("list collections", err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, explain("list collections", err)
		}
		names = append(names, name)
	}
	return names, explain("list collections", rows.Err())
}

// inTx runs f in one transaction of the writing connection.
func (s *Store) inTx(ctx context.Context, what string, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return explain(what, err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the first error says more
		return explain(what, err)
	}
	return explain(what, tx.Commit())
}

// explain gives an error of the driver its place and kind. SQLite's messages
// name tables and codes, never values.
func explain(what string, err error) error {
	switch {
	case err == nil, errors.Is(err, projections.ErrMoved), errors.Is(err, projections.ErrRepeated):
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return domain.Errorf(domain.Unavailable, err, "the read models cannot %s (sqlite %d)", what, e.Code())
	}
	return domain.Errorf(domain.Unavailable, err, "the read models cannot %s", what)
}
