package readmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Copy copies all rows of a generation to another one, where they merge with what is
// there. It goes on where it was after any failure, and after a restart with the table
// in which it was.
type Copy struct {
	to, from *Store
	rows     uint64 // about so many to a range

	listed bool
	tables []copiedTable // those that are left
	ranges []string      // of the first one: conditions
	next   int           // the range that is copied next
}

// copiedTable is a table with rows.
type copiedTable struct {
	name    string
	columns []string
	key     string // by which it is sorted
}

// Copied is how far a copy is.
type Copied struct {
	Table      string
	Ranges, Of int // of the table
	TablesLeft int
}

// copyRows is about how many rows one statement copies, which bounds how long it takes.
const copyRows = 200_000

// blockBytes is what a copy has in memory at one time: rows of about so many bytes as they
// are stored, of which sets take a few times as much, and not more than copyRows.
const blockBytes = 32 << 20

// copying has a statement that copies rows of a table take one thread and little memory,
// beside those who ask, and in a cluster each row go to the shard that its key says.
func (s *Store) copying(ctx context.Context, table string) (context.Context, error) {
	var rows, bytes uint64
	err := s.conn.QueryRow(ctx, "SELECT sum(rows), sum(data_uncompressed_bytes) FROM "+s.form.system("parts")+" WHERE active AND database = '"+s.db+"' AND table IN ('"+table+"', '"+table+local+"')"+s.form.onlyThere()).Scan(&rows, &bytes)
	if err != nil {
		return nil, err
	}
	block := copyBlock(rows, bytes)
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_threads": 1, "max_insert_threads": 1, "parallel_distributed_insert_select": 0,
		"max_block_size": block, "min_insert_block_size_rows": block, "min_insert_block_size_bytes": 0,
	})), nil
}

// copyBlock is how many rows of a table of so many rows and bytes a copy has in memory at one
// time. The engine would gather many more: it does not see what a set takes.
func copyBlock(rows, bytes uint64) uint64 {
	row := max(1, bytes/max(1, rows)) // of a table without parts yet, too
	return min(copyRows, max(1, blockBytes/row))
}

// CopyOf makes a copy of another generation, which does nothing before Step.
func (s *Store) CopyOf(from *Store) *Copy { return &Copy{to: s, from: from, rows: copyRows} }

// Step copies one range, and reports whether there are more. When it fails it can be
// called again; its error is a *GoneError when that is of no use.
func (c *Copy) Step(ctx context.Context) (at Copied, more bool, err error) {
	at, more, err = c.step(ctx)
	if err == nil || ctx.Err() != nil {
		return at, more, err
	}
	if gone := (*GoneError)(nil); errors.As(c.to.Kept(ctx, c.from.number, c.to.number), &gone) {
		return at, more, gone
	}
	return at, more, err
}

func (c *Copy) step(ctx context.Context) (at Copied, more bool, err error) {
	if !c.listed {
		if c.tables, err = c.list(ctx); err != nil {
			return at, true, err
		}
		c.listed = true
	}
	if len(c.tables) == 0 {
		return at, false, c.to.copied(ctx, c.to.number, "")
	}
	t := &c.tables[0]
	at = Copied{Table: t.name, TablesLeft: len(c.tables) - 1}
	fail := func(err error) (Copied, bool, error) {
		return at, true, fmt.Errorf("copy %s of generation %d: %w", t.name, c.from.number, classify(ctx, err))
	}
	if c.ranges == nil {
		if c.ranges, err = c.divide(ctx, t); err != nil {
			return fail(err)
		}
		c.next = 0
	}
	if c.next < len(c.ranges) { // else only saying so has failed
		copying, err := c.from.copying(ctx, t.name)
		if err != nil {
			return fail(err)
		}
		columns := strings.Join(t.columns, ", ")
		err = c.to.conn.Exec(copying, fmt.Sprintf("INSERT INTO %s.%s (%s) SELECT %s FROM %s.%s WHERE %s",
			c.to.db, t.name, columns, columns, c.from.db, t.name, c.ranges[c.next]))
		if err != nil {
			return fail(err)
		}
		c.next++
	}
	at.Ranges, at.Of = c.next, len(c.ranges)
	if c.next < len(c.ranges) {
		return at, true, nil
	}
	// A generation that was dropped meanwhile may have had nothing to read any more.
	if err := c.to.Kept(ctx, c.from.number); err != nil {
		return at, true, err
	}
	if err := c.to.copied(ctx, c.to.number, t.name); err != nil {
		return at, true, err
	}
	c.tables, c.ranges = c.tables[1:], nil
	return at, true, nil
}

// list gives the tables that are still to be copied: those that have rows, as the new
// generation has them.
func (c *Copy) list(ctx context.Context) ([]copiedTable, error) {
	done, err := c.to.Copied(ctx, c.to.number)
	if err != nil || done[""] {
		return nil, err
	}
	ours, err := c.to.layout(ctx)
	if err != nil {
		return nil, err
	}
	theirs, err := c.from.layout(ctx)
	if err != nil {
		return nil, err
	}
	var left []copiedTable
	for name, t := range ours {
		other, there := theirs[name]
		switch {
		case !there:
			return nil, fmt.Errorf("copy generation %d: %w: it has no table %s, run projector migrate", c.from.number, ErrNotMigrated, name)
		case !slices.Equal(t.described(), other.described()):
			return nil, fmt.Errorf("copy generation %d: its table %s is of another version: it has %s, expected %s",
				c.from.number, name, strings.Join(other.described(), ", "), strings.Join(t.described(), ", "))
		case !done[name]:
			left = append(left, t.copiedTable)
		}
	}
	slices.SortFunc(left, func(a, b copiedTable) int { return strings.Compare(a.name, b.name) })
	return left, nil
}

// layout is what a table is like.
type layout struct {
	copiedTable
	types []string // of the columns
}

// described are the columns and their types.
func (l layout) described() []string {
	described := make([]string, len(l.columns))
	for i, name := range l.columns {
		described[i] = name + " " + l.types[i]
	}
	return described
}

// layout gives the tables of the generation that have rows.
func (s *Store) layout(ctx context.Context) (map[string]layout, error) {
	tables := map[string]layout{}
	keys := map[string]string{}
	err := s.each(ctx, "SELECT name, sorting_key FROM system.tables WHERE database = '"+s.db+"' AND endsWith(engine, 'MergeTree')", func(scan func(...any) error) error {
		var name, key string
		err := scan(&name, &key)
		keys[strings.TrimSuffix(name, local)] = key
		return err
	})
	if err == nil {
		err = s.each(ctx, "SELECT table, name, type FROM system.columns WHERE database = '"+s.db+"' AND default_kind IN ('', 'DEFAULT') ORDER BY table, name", func(scan func(...any) error) error {
			var table, name, kind string
			if err := scan(&table, &name, &kind); err != nil {
				return err
			}
			if _, has := keys[table]; !has {
				return nil
			}
			t := tables[table]
			t.name, t.key, t.columns, t.types = table, keys[table], append(t.columns, name), append(t.types, kind)
			tables[table] = t
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for the tables of %s: %w", s.db, classify(ctx, err))
	}
	return tables, nil
}

// sortedBy gives the expressions by which a table is sorted, and their types.
func (s *Store) sortedBy(ctx context.Context, t *copiedTable) (keys, types []string, err error) {
	query := fmt.Sprintf("DESCRIBE (SELECT %s FROM %s.%s) SETTINGS describe_compact_output = 1", t.key, s.db, t.name)
	err = s.each(ctx, query, func(scan func(...any) error) error {
		var key, kind string
		err := scan(&key, &kind)
		keys, types = append(keys, key), append(types, kind)
		return err
	})
	return keys, types, err
}

// divide divides all keys, whichever rows come later, into ranges of about so many rows
// that are there now; each is a condition.
func (c *Copy) divide(ctx context.Context, t *copiedTable) ([]string, error) {
	keys, types, err := c.from.sortedBy(ctx, t)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = "toString(" + key + ")"
	}
	// A key in so many begins a range, whichever they are.
	query := fmt.Sprintf("SELECT %s FROM %s.%s WHERE cityHash64(%s) %% %d = 0 GROUP BY %s ORDER BY %s",
		strings.Join(texts, ", "), c.from.db, t.name, t.key, c.rows, t.key, t.key)
	var bounds [][]string
	err = c.from.each(ctx, query, func(scan func(...any) error) error {
		values := make([]string, len(keys))
		dests := make([]any, len(keys))
		for i := range values {
			dests[i] = &values[i]
		}
		err := scan(dests...)
		for i, value := range values {
			values[i] = "CAST(" + quoted(value) + ", " + quoted(types[i]) + ")"
		}
		bounds = append(bounds, values)
		return err
	})
	if err != nil {
		return nil, err
	}
	return between(keys, bounds), nil
}

// between gives conditions that divide all keys at bounds, which ascend.
func between(keys []string, bounds [][]string) []string {
	ranges := make([]string, len(bounds)+1)
	for i := range ranges {
		conditions := []string{"1"}
		if i > 0 {
			conditions = append(conditions, beyond(keys, bounds[i-1], ">", ">="))
		}
		if i < len(bounds) {
			conditions = append(conditions, beyond(keys, bounds[i], "<", "<"))
		}
		ranges[i] = strings.Join(conditions, " AND ")
	}
	return ranges
}

// beyond compares keys with values, the first that differ, and the last ones by another
// operator. The engine does not use its index for tuples that are compared as such.
func beyond(keys, values []string, differ, last string) string {
	key, value := keys[0], values[0]
	if len(keys) == 1 {
		return key + " " + last + " " + value
	}
	return fmt.Sprintf("%[1]s %[2]s= %[3]s AND (%[1]s %[2]s %[3]s OR (%[4]s))", key, differ, value, beyond(keys[1:], values[1:], differ, last))
}

// Copied gives the tables of a generation that have all rows of its base; "" says that
// all have.
func (s *Server) Copied(ctx context.Context, generation int) (map[string]bool, error) {
	done := map[string]bool{}
	if err := s.catchUp(ctx, "copied"); err != nil {
		return nil, s.notMigrated(ctx, err)
	}
	err := s.each(ctx, fmt.Sprintf("SELECT DISTINCT name FROM %s.copied WHERE generation = %d", s.database, generation), func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		done[name] = true
		return err
	})
	if err != nil {
		return nil, s.notMigrated(ctx, err)
	}
	return done, nil
}

// copied says that a table of a generation has all rows of its base.
func (s *Server) copied(ctx context.Context, generation int, table string) error {
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.copied SELECT %d, %s", s.database, generation, quoted(table)))
	if err != nil {
		return fmt.Errorf("say that generation %d has a copy: %w", generation, classify(ctx, err))
	}
	return nil
}
