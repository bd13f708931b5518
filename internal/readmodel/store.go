package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// generation is the one generation there is.
const generation = 1

// Store reads and writes one generation of the read model. It is safe for concurrent use.
type Store struct {
	conn driver.Conn
	db   string // the generation's database
	// slots bounds the queries at one time to the connections. The client's own
	// pool gives up a wait after the dial timeout; here the caller's context says how long.
	slots chan struct{}
	// complete says that all tables and views were seen; see ready.
	complete atomic.Bool
}

// Open makes a store. It does not connect before it is used.
func Open(c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	settings := clickhouse.Settings{
		// A read after the acknowledgement must see the rows, whatever the server's defaults.
		"async_insert":                     0,
		"distributed_foreground_insert":    1,
		"materialized_views_ignore_errors": 0,
		// Equal blocks are not the same block: a repeat is meant to be written.
		"insert_deduplicate": 0,
	}
	if c.Nice > 0 { // servers before 26 know no such settings
		settings["os_threads_nice_value_query"] = c.Nice
		settings["os_threads_nice_value_materialized_view"] = c.Nice
	}
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:         c.Addresses,
		Auth:         clickhouse.Auth{Database: "default", Username: c.Username, Password: c.Password},
		DialTimeout:  c.DialTimeout,
		ReadTimeout:  c.ReadTimeout,
		MaxOpenConns: c.MaxConnections + 1, // one more for Check, which waits for no slot
		MaxIdleConns: c.MaxConnections,
		Compression:  &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		Settings:     settings,
	})
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	return &Store{
		conn:  conn,
		db:    fmt.Sprintf("%s_g%d", c.Database, generation),
		slots: make(chan struct{}, c.MaxConnections),
	}, nil
}

// slot waits for leave to use a connection. The caller gives it back by release.
func (s *Store) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for one of %d connections: %w", cap(s.slots), ctx.Err())
	}
}

// Close closes the connections.
func (s *Store) Close() error { return s.conn.Close() }

// Migrate makes the tables that are not there yet. It can be run again and beside a running system.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+s.db); err != nil {
		return fmt.Errorf("create database %s: %w", s.db, classify(ctx, err))
	}
	for _, statement := range statements(schema.Generation, s.db) {
		if err := s.conn.Exec(ctx, statement); err != nil {
			name, _, _ := strings.Cut(statement, "\n")
			return fmt.Errorf("%s: %w", name, classify(ctx, err))
		}
	}
	return nil
}

// statements splits a script at the semicolons that end lines, without its leading comments.
func statements(script, db string) []string {
	var out []string
	for part := range strings.SplitSeq(script, ";\n") {
		for strings.HasPrefix(part, "--") || strings.HasPrefix(part, "\n") {
			_, part, _ = strings.Cut(part, "\n")
		}
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, strings.ReplaceAll(part, "{db}", db))
		}
	}
	return out
}

// tableNames are the tables and views of a generation.
func tableNames() []string {
	var names []string
	for _, statement := range statements(schema.Generation, "") {
		_, rest, _ := strings.Cut(statement, " IF NOT EXISTS .")
		names = append(names, strings.Fields(rest)[0])
	}
	return names
}

// Check reports whether ClickHouse answers and has the tables.
func (s *Store) Check(ctx context.Context) error {
	var n uint64
	want := tableNames()
	row := s.conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = '"+s.db+"' AND name IN ('"+strings.Join(want, "', '")+"')")
	if err := row.Scan(&n); err != nil {
		return fmt.Errorf("look for the tables of %s: %w", s.db, classify(ctx, err))
	}
	if n < uint64(len(want)) {
		return fmt.Errorf("%w: %d of %d are there, run projector migrate (database %s)", ErrNotMigrated, n, len(want), s.db)
	}
	return nil
}

// ready reports whether rows may be inserted. A Null table without its view,
// as a migration under way or broken off leaves it, takes rows and drops them.
func (s *Store) ready(ctx context.Context) error {
	if s.complete.Load() {
		return nil
	}
	if err := s.Check(ctx); err != nil {
		var failed *Error
		if errors.As(err, &failed) {
			return err
		}
		return &Error{Err: err, Away: true}
	}
	s.complete.Store(true)
	return nil
}

// ErrNotMigrated says that the tables are not there.
var ErrNotMigrated = errors.New("the read model's tables are missing")

// Drop removes the generation's tables and all that is in them.
func (s *Store) Drop(ctx context.Context) error {
	return classify(ctx, s.conn.Exec(ctx, "DROP DATABASE IF EXISTS "+s.db+" SYNC"))
}

// Database is the name of the generation's database.
func (s *Store) Database() string { return s.db }
