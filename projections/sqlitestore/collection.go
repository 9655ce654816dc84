package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/sendlog/sendlog/projections"
)

// collection is the shape of a table: a row per document, in the order of their
// making. Documents are found by a number for their id, and lists by a number
// for all values an index is over: such indexes are a fraction of those over the
// texts, and a page less is a page less to write. Two texts may have the same
// number, so whatever looks compares the texts as well.
type collection struct {
	name    string
	keys    [][]string // the fields of each index, in its order
	sorts   []string   // the members that indexes sort by
	members []string   // both, each once
}

// add adds what an index is made of.
func (c *collection) add(fields []string, sort string) {
	if fields != nil && !c.indexed(fields) {
		c.keys = append(c.keys, fields)
	}
	if sort != "" && !slices.Contains(c.sorts, sort) {
		c.sorts = append(c.sorts, sort)
	}
	for _, name := range append(slices.Clone(fields), sort) {
		if name != "" && !slices.Contains(c.members, name) {
			c.members = append(c.members, name)
		}
	}
}

// indexed reports whether there is an index over these fields.
func (c collection) indexed(fields []string) bool {
	return slices.ContainsFunc(c.keys, func(have []string) bool { return slices.Equal(have, fields) })
}

// The columns of an index say what they are made of, so that a table alone
// tells its shape.
const (
	keyPrefix  = "key:"
	sortPrefix = "sort:"
)

func keyColumn(fields []string) string { return keyPrefix + strings.Join(fields, ",") }
func sortColumn(field string) string   { return sortPrefix + field }

// derived returns the columns of the indexes.
func (c collection) derived() (columns []string) {
	for _, fields := range c.keys {
		columns = append(columns, quote(keyColumn(fields)))
	}
	for _, field := range c.sorts {
		columns = append(columns, quote(sortColumn(field)))
	}
	return columns
}

// createTable makes one collection.
func createTable(ctx context.Context, tx *sql.Tx, made projections.Collection) error {
	c := collection{name: made.Name}
	for _, index := range made.Indexes {
		c.add(index.Fields, index.Sort)
	}
	columns := "hash INTEGER NOT NULL, last INTEGER NOT NULL"
	for _, column := range c.derived() {
		columns += ", " + column + " INTEGER"
	}
	table := quote(c.name)
	statements := []string{
		"CREATE TABLE IF NOT EXISTS " + table + " (" + columns + ", id TEXT NOT NULL, body TEXT NOT NULL)",
		"CREATE INDEX IF NOT EXISTS " + quote(c.name+"__id") + " ON " + table + " (hash)",
	}
	for _, index := range made.Indexes {
		key, sort := keyColumn(index.Fields), sortColumn(index.Sort)
		statements = append(statements, "CREATE INDEX IF NOT EXISTS "+quote(c.name+"__"+key+"__"+sort)+
			" ON "+table+" ("+quote(key)+", "+quote(sort)+")")
	}
	for _, text := range statements {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// loadCollection reads the shape of a table, if there is one.
func loadCollection(ctx context.Context, db *sql.DB, name string) (c collection, exists bool, err error) {
	c.name = name
	rows, err := db.QueryContext(ctx, "SELECT name FROM pragma_table_info(?) ORDER BY cid", name)
	if err != nil {
		return c, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			return c, false, err
		}
		exists = true
		if fields, ok := strings.CutPrefix(column, keyPrefix); ok {
			c.add(strings.Split(fields, ","), "")
		}
		if field, ok := strings.CutPrefix(column, sortPrefix); ok {
			c.add(nil, field)
		}
	}
	return c, exists && rows.Err() == nil, rows.Err()
}

// insertSQL adds a document, addSQL does unless there is one of its id, and
// updateSQL replaces an older version of it, if there is one; all take the
// values of row. FAIL, because SQLite would otherwise copy every page it
// changes, to undo a statement by itself; here the whole transaction is undone.
func (c collection) insertSQL(rows int) string {
	row := "(?" + strings.Repeat(", ?", c.width()-1) + ")"
	return c.intoSQL() + " VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// width is how many columns a row has.
func (c collection) width() int { return 4 + len(c.keys) + len(c.sorts) }

func (c collection) addSQL() string {
	return c.intoSQL() + " SELECT " + c.valuesSQL() + " WHERE NOT EXISTS (SELECT 1 FROM " + quote(c.name) + " WHERE hash = ?1 AND id = ?2)"
}

func (c collection) intoSQL() string {
	columns := append([]string{"hash", "id", "last", "body"}, c.derived()...)
	return "INSERT OR FAIL INTO " + quote(c.name) + " (" + strings.Join(columns, ", ") + ")"
}

func (c collection) valuesSQL() string {
	values := "?1, ?2, ?3, ?4"
	for i := range c.derived() {
		values += ", ?" + strconv.Itoa(i+5)
	}
	return values
}

func (c collection) updateSQL() string {
	set := "last = ?3, body = ?4"
	for i, column := range c.derived() {
		set += ", " + column + " = ?" + strconv.Itoa(i+5)
	}
	return "UPDATE OR FAIL " + quote(c.name) + " SET " + set + " WHERE hash = ?1 AND id = ?2 AND last < ?3"
}

func (c collection) deleteSQL() string {
	return "DELETE FROM " + quote(c.name) + " WHERE hash = ?1 AND id = ?2"
}

// row returns the values of a document's columns. A document that lacks a
// member, or has something else there, is in no index over it.
func (c collection) row(d projections.Doc) ([]any, error) {
	row := append(make([]any, 0, c.width()), hash(d.ID), d.ID, int64(d.Last), string(d.Body))
	values, err := members(d.Body, c.members)
	if err != nil {
		return nil, err
	}
	value := func(name string) json.RawMessage { return values[slices.Index(c.members, name)] }
	for _, fields := range c.keys {
		var key any
		texts := make([]string, 0, len(fields))
		for _, field := range fields {
			if s, ok := text(value(field)); ok {
				texts = append(texts, s)
			}
		}
		if len(texts) == len(fields) {
			key = hash(texts...)
		}
		row = append(row, key)
	}
	for _, field := range c.sorts {
		var sort any
		if n, err := strconv.ParseInt(string(value(field)), 10, 64); err == nil {
			sort = n
		}
		row = append(row, sort)
	}
	return row, nil
}

// hash is the number of some texts, in their order (FNV-1a; each ends with a
// byte that no text has).
func hash(texts ...string) int64 {
	h := fnv.New64a()
	for _, s := range texts {
		h.Write(append([]byte(s), 0xff))
	}
	return int64(h.Sum64())
}

// quote makes an identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
