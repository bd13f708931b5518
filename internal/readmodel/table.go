package readmodel

import (
	"context"
	"fmt"
	"strings"
)

// table declares how rows of type R are written and read.
type table[R any] struct {
	// into is the table that is inserted into, from the one that is read.
	into, from string
	columns    []column[R]
}

// column is a column of a table.
type column[R any] struct {
	// name is the column's in the table that is inserted into.
	name string
	// expr selects it; "" when it is not read.
	expr string
	// full says that only a full read selects it.
	full bool
	// short selects what any other read needs of it; "" when that is all.
	short string
	// values makes the column of a block from its rows.
	values func(rows []R) any
	// dest is where a read value of it goes.
	dest func(row *R) any
}

// field is a column that is written and read at one place of the row.
func field[R, T any](name, expr string, at func(*R) *T) column[R] {
	c := written(name, func(r *R) T { return *at(r) })
	c.expr = expr
	c.dest = func(r *R) any { return at(r) }
	return c
}

// fullField is a field that only full reads select.
func fullField[R, T any](name, expr string, at func(*R) *T) column[R] {
	c := field(name, expr, at)
	c.full = true
	return c
}

// shortened is a field of which only full reads select all.
func shortened[R, T any](name, expr, short string, at func(*R) *T) column[R] {
	c := field(name, expr, at)
	c.short = short
	return c
}

// written is a column that is only written.
func written[R, T any](name string, value func(*R) T) column[R] {
	return column[R]{name: name, values: func(rows []R) any {
		out := make([]T, len(rows))
		for i := range rows {
			out[i] = value(&rows[i])
		}
		return out
	}}
}

// insertQuery is the INSERT statement of the table.
func (t *table[R]) insertQuery(db string) string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return fmt.Sprintf("INSERT INTO %s.%s (%s)", db, t.into, strings.Join(names, ", "))
}

// insert writes rows as one block.
func (t *table[R]) insert(ctx context.Context, s *Store, rows []R) error {
	if len(rows) == 0 {
		return nil
	}
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	batch, err := s.conn.PrepareBatch(ctx, t.insertQuery(s.db))
	if err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", len(rows), t.into, err)
	}
	defer func() { _ = batch.Close() }() // after Send there is nothing left to fail
	for i, c := range t.columns {
		if err := batch.Column(i).Append(c.values(rows)); err != nil {
			return fmt.Errorf("insert %d rows into %s: column %s: %w", len(rows), t.into, c.name, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", len(rows), t.into, err)
	}
	return nil
}

// selectQuery reads all rows.
func (t *table[R]) selectQuery(db string, full bool) string {
	var exprs []string
	for _, c := range t.columns {
		switch {
		case c.expr == "" || c.full && !full:
		case c.short != "" && !full:
			exprs = append(exprs, c.short)
		default:
			exprs = append(exprs, c.expr)
		}
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s", strings.Join(exprs, ", "), db, t.from)
}

// load reads rows and gives each to visit. The row is reused between calls, but for what its pointers and slices lead to.
func (t *table[R]) load(ctx context.Context, s *Store, query string, full bool, visit func(*R) error) error {
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.from, err)
	}
	defer func() { _ = rows.Close() }()

	var row R
	var dests []any
	for _, c := range t.columns {
		if c.expr != "" && (full || !c.full) {
			dests = append(dests, c.dest(&row))
		}
	}
	for rows.Next() {
		if err := rows.Scan(dests...); err != nil {
			return fmt.Errorf("read %s: %w", t.from, err)
		}
		if err := visit(&row); err != nil {
			return fmt.Errorf("read %s: %w", t.from, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", t.from, err)
	}
	return nil
}
