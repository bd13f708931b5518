package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
)

// inserting compares readmodel.Store.Insert of folded events with plain inserts of the same
// blocks into the same tables, as many at once.
func inserting(ctx context.Context, b *bench, f *figures) error {
	s, err := b.stream(ctx, inProtobuf.name, inProtobuf, b.config.events)
	if err != nil {
		return err
	}
	parts, err := newStages(s)
	if err != nil {
		return err
	}
	written, err := b.capture(ctx, parts)
	if err != nil {
		return err
	}
	var ours, plain []float64
	var content contents
	err = b.turns(ctx, "insert",
		func(int) (string, error) {
			did, err := b.insert(ctx, parts, &content, byStore)
			ours = append(ours, did.rate)
			return fmt.Sprintf("store %.0f/s", did.rate), err
		},
		func(int) (string, error) {
			did, err := b.insert(ctx, parts, &content, func(ctx context.Context, m *model, n int, _ batches) error {
				return b.insertBlocks(ctx, m, written[n])
			})
			plain = append(plain, did.rate)
			return fmt.Sprintf("plain inserts %.0f/s", did.rate), err
		},
	)
	if err != nil {
		return err
	}
	return f.compare("rate", middle(ours), middle(plain))
}

// inserter makes the n-th insert.
type inserter func(ctx context.Context, m *model, n int, l batches) error

// byStore inserts as projectors do.
func byStore(ctx context.Context, m *model, _ int, l batches) error {
	return m.store.Insert(ctx, l.each)
}

// inserted is how all batches were written: events a second, and what it took of the CPU.
type inserted struct {
	rate   float64
	worked time.Duration
}

// insert writes all batches into empty tables, one after the other.
func (b *bench) insert(ctx context.Context, s *stages, content *contents, write inserter) (did inserted, err error) {
	m, err := b.newModel(ctx)
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, m.drop(ctx)) }()
	if err := b.merged(ctx); err != nil {
		return did, err
	}
	start := time.Now()
	did.worked, err = b.cost(func() error {
		for n, l := range s.inserts {
			if err := write(ctx, m, n, l); err != nil {
				return err
			}
		}
		return nil
	})
	did.rate = float64(s.events) / time.Since(start).Seconds()
	if err != nil {
		return did, err
	}
	return did, content.compare(ctx, b, m)
}

// block is what one insert into a table has.
type block struct {
	table   string
	names   []string
	columns []any // slices
}

// filledTables are the tables into which traffic makes inserts.
var filledTables = []string{"registers_in", "sequences_in", "messages"}

// capture writes all batches, and gives the blocks that were inserted by each insert.
func (b *bench) capture(ctx context.Context, s *stages) (written [][]block, err error) {
	m, err := b.newModel(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.drop(ctx)) }()
	for _, table := range filledTables {
		if err := b.engine.Exec(ctx, fmt.Sprintf("CREATE MATERIALIZED VIEW %s.captured_%s ENGINE = Memory AS SELECT * FROM %[1]s.%[2]s", m.db, table)); err != nil {
			return nil, fmt.Errorf("capture what is inserted into %s: %w", table, err)
		}
	}
	for _, l := range s.inserts {
		if err := m.store.Insert(ctx, l.each); err != nil {
			return nil, err
		}
		var blocks []block
		for _, table := range filledTables {
			c, err := b.captured(ctx, m, table)
			if err != nil {
				return nil, fmt.Errorf("capture what is inserted into %s: %w", table, err)
			}
			blocks = append(blocks, c)
		}
		written = append(written, blocks)
	}
	return written, nil
}

// captured takes what was captured of a table.
func (b *bench) captured(ctx context.Context, m *model, table string) (block, error) {
	from := m.db + ".captured_" + table
	c := block{table: table}
	types, err := b.engine.Query(ctx, "SELECT * FROM "+from+" LIMIT 0")
	if err != nil {
		return c, err
	}
	var exprs []string
	for _, column := range types.ColumnTypes() {
		expr := column.Name()
		if strings.HasPrefix(column.DatabaseTypeName(), "Enum8") { // the store inserts numbers
			expr = "CAST(" + expr + " AS Int8)"
		}
		c.names, exprs = append(c.names, column.Name()), append(exprs, expr)
	}
	if err := types.Close(); err != nil {
		return c, err
	}
	rows, err := b.engine.Query(ctx, "SELECT "+strings.Join(exprs, ", ")+" FROM "+from+" SETTINGS max_threads = 1")
	if err != nil {
		return c, err
	}
	defer func() { _ = rows.Close() }()
	columns := columnsOf(rows.ColumnTypes())
	row := make([]any, len(columns))
	for i, column := range columns {
		row[i] = reflect.New(column.Type().Elem()).Interface()
	}
	for rows.Next() {
		for i, column := range columns { // what a list refers to must not be reused
			reflect.ValueOf(row[i]).Elem().Set(reflect.Zero(column.Type().Elem()))
		}
		if err := rows.Scan(row...); err != nil {
			return c, err
		}
		for i := range columns {
			columns[i] = reflect.Append(columns[i], reflect.ValueOf(row[i]).Elem())
		}
	}
	for _, column := range columns {
		c.columns = append(c.columns, column.Interface())
	}
	return c, errors.Join(rows.Err(), b.engine.Exec(ctx, "TRUNCATE TABLE "+from))
}

// columnsOf are empty slices for columns.
func columnsOf(types []driver.ColumnType) (columns []reflect.Value) {
	for _, column := range types {
		columns = append(columns, reflect.MakeSlice(reflect.SliceOf(column.ScanType()), 0, 0))
	}
	return columns
}

// insertBlocks makes the inserts of blocks at once.
func (b *bench) insertBlocks(ctx context.Context, m *model, blocks []block) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range blocks {
		g.Go(func() error {
			insert, err := b.engine.PrepareBatch(ctx, fmt.Sprintf("INSERT INTO %s.%s (%s)", m.db, c.table, strings.Join(c.names, ", ")))
			if err != nil {
				return fmt.Errorf("insert into %s: %w", c.table, err)
			}
			defer func() { _ = insert.Close() }() // after Send there is nothing left to fail
			for i, column := range c.columns {
				if err := insert.Column(i).Append(column); err != nil {
					return fmt.Errorf("insert into %s: column %s: %w", c.table, c.names[i], err)
				}
			}
			if err := insert.Send(); err != nil {
				return fmt.Errorf("insert into %s: %w", c.table, err)
			}
			return nil
		})
	}
	return g.Wait()
}
