package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// Get implements projections.Store.
func (s *Store) Get(ctx context.Context, collection string, ids []string) (map[string]projections.Doc, error) {
	found := make(map[string]projections.Doc, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	where, arg := "hash = ?", any(hash(ids[0]))
	if len(ids) > 1 {
		hashes := []byte{'['}
		for i, id := range ids {
			if i > 0 {
				hashes = append(hashes, ',')
			}
			hashes = strconv.AppendInt(hashes, hash(id), 10)
		}
		where, arg = "hash IN (SELECT value FROM json_each(?))", string(append(hashes, ']'))
	}
	get, err := s.prepared(ctx, s.read, collection, "SELECT id, last, body FROM "+quote(collection)+" WHERE "+where)
	if err != nil {
		return nil, explain("read documents", err)
	}
	docs, err := scan(get.QueryContext(ctx, arg))
	for _, d := range docs {
		if len(ids) > 1 || d.ID == ids[0] {
			found[d.ID] = d
		}
	}
	return found, err
}

// prepared returns a statement of a collection, compiled once per connection:
// that costs more than reading or writing a document.
func (s *Store) prepared(ctx context.Context, db *sql.DB, collection, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.compiled[collection][text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if s.compiled[collection] == nil {
		s.compiled[collection] = map[string]*sql.Stmt{}
	}
	s.compiled[collection][text] = stmt
	return stmt, nil
}

// forget closes what is compiled for collections that are gone.
func (s *Store) forget(collections []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range collections {
		for _, stmt := range s.compiled[c] {
			_ = stmt.Close() // nothing was written through it
		}
		delete(s.compiled, c)
		delete(s.shapes, c)
	}
}

// Range implements projections.Store. Every combination of values is one walk
// along the index, and the walks are merged; so a page costs the same however
// long the list is, unless it is narrowed beyond the index.
func (s *Store) Range(ctx context.Context, q projections.Query) ([]projections.Doc, error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	if q.Sort == "" && len(q.Where) == 0 {
		return s.walk(ctx, q)
	}
	order, after := "ASC", ">"
	if q.Desc {
		order, after = "DESC", "<"
	}
	sort := quote(sortColumn(q.Sort))
	orderBy := fmt.Sprintf(" ORDER BY sort %s, id %s LIMIT %d", order, order, q.Limit)
	var (
		walks []string
		args  []any
	)
	fields, indexed, err := s.index(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, values := range combinations(q.Where) {
		walk := "SELECT id, last, body, " + sort + " AS sort FROM " + quote(q.Collection)
		joint := " WHERE "
		if indexed > 0 {
			walk += joint + quote(keyColumn(fields[:indexed])) + " = ?"
			args, joint = append(args, hash(values[:indexed]...)), " AND "
		}
		for i, field := range fields { // the number alone proves nothing
			walk += joint + "json_extract(body, '$." + field + "') = ?"
			args = append(args, values[i])
		}
		if q.After != nil {
			walk += joint + "(" + sort + ", id) " + after + " (?, ?)"
			args = append(args, q.After.Value, q.After.ID)
		}
		walks = append(walks, "SELECT * FROM ("+walk+orderBy+")")
	}
	if len(walks) == 0 {
		return nil, nil // a match without values matches nothing
	}
	var docs []projections.Doc
	perWalk := len(args) / len(walks)
	for chunk := range slices.Chunk(walks, maxWalks) {
		text := "SELECT id, last, body FROM (" + strings.Join(chunk, " UNION ALL ") + ")" + orderBy
		if len(chunk) == 1 {
			text = strings.Replace(chunk[0], "*", "id, last, body", 1)
		}
		part, err := scan(s.read.QueryContext(ctx, text, args[:len(chunk)*perWalk]...))
		if err != nil {
			return nil, err
		}
		docs, args = append(docs, part...), args[len(chunk)*perWalk:]
	}
	if len(walks) > maxWalks {
		return mergePages(docs, q)
	}
	return docs, nil
}

// walk reads a page of a whole collection, in the order of its ids' numbers.
func (s *Store) walk(ctx context.Context, q projections.Query) ([]projections.Doc, error) {
	where, args := "", []any(nil)
	if q.After != nil {
		where, args = " WHERE (hash, id) > (?, ?)", []any{hash(q.After.ID), q.After.ID}
	}
	return scan(s.read.QueryContext(ctx, fmt.Sprintf("SELECT id, last, body FROM %s%s ORDER BY hash, id LIMIT %d",
		quote(q.Collection), where, q.Limit), args...))
}

// index returns the fields a query is narrowed by, and how many of them, from
// the first, the best index is over.
func (s *Store) index(ctx context.Context, q projections.Query) (fields []string, indexed int, err error) {
	c, err := s.shape(ctx, q.Collection)
	if err != nil {
		return nil, 0, explain("read documents", err)
	}
	for _, m := range q.Where {
		fields = append(fields, m.Field)
	}
	for indexed = len(fields); indexed > 0; indexed-- {
		if c.indexed(fields[:indexed]) {
			return fields, indexed, nil
		}
	}
	if len(fields) > 0 {
		return nil, 0, domain.Errorf(domain.Bug, nil, "%s has no index that begins a query over %v", q.Collection, fields)
	}
	return nil, 0, nil
}

// maxWalks bounds the walks of one statement: SQLite compiles at most 500
// parts of a compound.
const maxWalks = 100

// mergePages sorts the pages of several statements into one.
func mergePages(docs []projections.Doc, q projections.Query) ([]projections.Doc, error) {
	values := make(map[string]int64, len(docs))
	for _, d := range docs {
		var members map[string]json.RawMessage
		var value int64
		if err := json.Unmarshal(d.Body, &members); err != nil {
			return nil, explain("read documents", err)
		}
		if err := json.Unmarshal(members[q.Sort], &value); err != nil {
			return nil, explain("read documents", err)
		}
		values[d.ID] = value
	}
	slices.SortFunc(docs, func(a, b projections.Doc) int {
		c := cmp.Or(cmp.Compare(values[a.ID], values[b.ID]), cmp.Compare(a.ID, b.ID))
		if q.Desc {
			return -c
		}
		return c
	})
	return docs[:min(len(docs), q.Limit)], nil
}

// combinations lists every choice of one value per match; each value once.
func combinations(where []projections.Match) [][]string {
	all := [][]string{nil}
	for _, m := range where {
		values := slices.Clone(m.AnyOf)
		slices.Sort(values)
		values = slices.Compact(values)
		var next [][]string
		for _, chosen := range all {
			for _, v := range values {
				next = append(next, append(slices.Clone(chosen), v))
			}
		}
		all = next
	}
	return all
}

// scan reads the documents a query found.
func scan(rows *sql.Rows, err error) ([]projections.Doc, error) {
	if err != nil {
		return nil, explain("read documents", err)
	}
	defer rows.Close()
	var docs []projections.Doc
	for rows.Next() {
		var (
			d    projections.Doc
			last int64
			body sql.RawBytes
		)
		if err := rows.Scan(&d.ID, &last, &body); err != nil {
			return nil, explain("read documents", err)
		}
		d.Last, d.Body = domain.Position(last), slices.Clone(json.RawMessage(body))
		docs = append(docs, d)
	}
	return docs, explain("read documents", rows.Err())
}
