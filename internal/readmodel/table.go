package readmodel

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/projection"
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
	// value is what a row has there, as clickhouse-go takes it, until the row changes.
	value func(row *R) any
	// dest is where a read value of it goes.
	dest func(row *R) any
}

// field is a column that is written and read at one place of the row.
func field[R, T any](name, expr string, at func(*R) *T) column[R] {
	place := func(r *R) any { return at(r) }
	return column[R]{name: name, expr: expr, value: place, dest: place}
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

// insertQuery is the INSERT statement of the table.
func (t *table[R]) insertQuery(db string) string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return fmt.Sprintf("INSERT INTO %s.%s (%s)", db, t.into, strings.Join(names, ", "))
}

// blockRows are the rows of an insert that are sent at a time. What a connection has in
// memory for its columns grows to that, each time anew; the engine makes one part of all.
const blockRows = 4096

// openInsert is an INSERT that goes on for as long as models come.
type openInsert interface {
	// add adds the rows of models, which are not needed any more when it returns. Until the
	// insert is sent ctx has to last.
	add(ctx context.Context, models []*projection.Model) error
	// send ends the insert: what was added is durable and visible. If more comes, that is another one.
	send() error
	// close gives up what was not sent.
	close()
}

// insert gives an INSERT of the rows of models. Each row is only looked at before the next
// one comes, so that they may be one and the same.
func (t *table[R]) insert(s *Store, rows func([]*projection.Model) iter.Seq[*R]) openInsert {
	return &insertion[R]{table: t, store: s, rowsOf: rows}
}

// insertion is an INSERT that is begun with its first row.
type insertion[R any] struct {
	table  *table[R]
	store  *Store
	rowsOf func([]*projection.Model) iter.Seq[*R]

	rows    int
	release func() // gives back the connection
	batch   driver.Batch
	columns []driver.BatchColumn
}

func (b *insertion[R]) add(ctx context.Context, models []*projection.Model) error {
	for row := range b.rowsOf(models) {
		if err := b.append(ctx, row); err != nil {
			return fmt.Errorf("insert into %s, after %d rows: %w", b.table.into, b.rows, err)
		}
	}
	return nil
}

func (b *insertion[R]) append(ctx context.Context, row *R) (err error) {
	if b.batch == nil {
		if err := b.begin(ctx); err != nil {
			return err
		}
	}
	for i := range b.table.columns {
		if err := b.columns[i].AppendRow(b.table.columns[i].value(row)); err != nil {
			return fmt.Errorf("column %s: %w", b.table.columns[i].name, err)
		}
	}
	if b.rows++; b.rows%blockRows == 0 {
		if err := ctx.Err(); err != nil { // the client does not ask
			return err
		}
		return b.batch.Flush()
	}
	return nil
}

func (b *insertion[R]) begin(ctx context.Context) (err error) {
	if b.release, err = b.store.slot(ctx); err != nil {
		return err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSpan(trace.SpanContextFromContext(ctx)))
	if b.batch, err = b.store.conn.PrepareBatch(ctx, b.table.insertQuery(b.store.db)); err != nil {
		return err
	}
	for i := range b.table.columns {
		b.columns = append(b.columns, b.batch.Column(i))
	}
	return nil
}

func (b *insertion[R]) send() error {
	if b.batch == nil {
		return nil
	}
	if err := b.batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", b.rows, b.table.into, err)
	}
	b.close()
	return nil
}

func (b *insertion[R]) close() {
	if b.batch != nil {
		_ = b.batch.Abort() // it was sent, or is to be forgotten
	}
	if b.release != nil {
		b.release()
	}
	b.rows, b.release, b.batch, b.columns = 0, nil, nil, nil
}

// known are columns of which all rows that are read have one value, by their names: it need
// not come with each of them.
type known map[string]string

// reads are the columns that are selected.
func (t *table[R]) reads(full bool, are known) []column[R] {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c column[R]) bool {
		_, is := are[c.name]
		return is || c.expr == "" || c.full && !full
	})
}

// selectQuery reads all rows, through the table whose name ends in face.
func (t *table[R]) selectQuery(db string, full bool, face string, are known) string {
	var exprs []string
	for _, c := range t.reads(full, are) {
		if c.short != "" && !full {
			exprs = append(exprs, c.short)
		} else {
			exprs = append(exprs, c.expr)
		}
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s%s", strings.Join(exprs, ", "), db, t.from, face)
}

// load reads rows and gives each to visit. The row is reused between calls, but for what its
// pointers and slices lead to.
func (t *table[R]) load(ctx context.Context, s *Store, query string, full bool, are known, visit func(*R) error) error {
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.from, err)
	}
	defer func() { _ = rows.Close() }()

	var row R
	var dests []any
	for _, c := range t.reads(full, are) {
		dests = append(dests, c.dest(&row))
	}
	for _, c := range t.columns {
		if value, is := are[c.name]; is {
			*c.dest(&row).(*string) = value
		}
	}
	for rows.Next() {
		if err := rows.Scan(dests...); err != nil {
			return fmt.Errorf("read %s: %w", t.from, err)
		}
		if err := visit(&row); err != nil {
			giveUp() // else closing reads the rest
			return fmt.Errorf("read %s: %w", t.from, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", t.from, err)
	}
	return nil
}
