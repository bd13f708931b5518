package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// Config says where ClickHouse is.
type Config struct {
	// Addresses are host:port of the native protocol.
	Addresses []string
	// Database holds what analysts see; the tables are in one database per generation beside it.
	Database string
	// Username and Password of the account.
	Username, Password string
	// MaxConnections bounds the connections, and with them the queries at one time.
	MaxConnections int
	// DialTimeout bounds the wait for a connection, a free one or a new one.
	DialTimeout time.Duration
	// ReadTimeout bounds the wait for the next packet of an answer.
	ReadTimeout time.Duration
}

// DefaultConfig is a ClickHouse on this machine.
func DefaultConfig() Config {
	return Config{
		Addresses:      []string{"127.0.0.1:9000"},
		Database:       "convoview",
		Username:       "default",
		MaxConnections: 16,
		DialTimeout:    2 * time.Second,
		ReadTimeout:    time.Minute,
	}
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if len(c.Addresses) == 0 {
		errs = append(errs, errors.New("clickhouse addresses: none given, expected host:port"))
	}
	if !validDatabase(c.Database) {
		errs = append(errs, fmt.Errorf("clickhouse database: %q, expected letters, digits and underscores", c.Database))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("clickhouse max connections: %d, expected at least 1", c.MaxConnections))
	}
	if c.DialTimeout <= 0 {
		errs = append(errs, fmt.Errorf("clickhouse dial timeout: %v, expected more than 0", c.DialTimeout))
	}
	if c.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("clickhouse read timeout: %v, expected more than 0", c.ReadTimeout))
	}
	return errors.Join(errs...)
}

func validDatabase(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) < 0
}

// generation is the one generation there is.
const generation = 1

// Store reads and writes one generation of the read model. It is safe for concurrent use.
type Store struct {
	conn driver.Conn
	db   string // the generation's database
}

// Open makes a store. It does not connect before it is used.
func Open(c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:         c.Addresses,
		Auth:         clickhouse.Auth{Database: "default", Username: c.Username, Password: c.Password},
		DialTimeout:  c.DialTimeout,
		ReadTimeout:  c.ReadTimeout,
		MaxOpenConns: c.MaxConnections,
		MaxIdleConns: c.MaxConnections,
		Compression:  &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		Settings: clickhouse.Settings{
			// A read after the acknowledgement must see the rows, whatever the server's defaults.
			"async_insert":                     0,
			"distributed_foreground_insert":    1,
			"materialized_views_ignore_errors": 0,
			// Equal blocks are not the same block: a repeat is meant to be written.
			"insert_deduplicate": 0,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	return &Store{conn: conn, db: fmt.Sprintf("%s_g%d", c.Database, generation)}, nil
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

// Check reports whether ClickHouse answers and has the tables.
func (s *Store) Check(ctx context.Context) error {
	var n uint64
	row := s.conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = '"+s.db+"' AND name = 'erased_users'")
	if err := row.Scan(&n); err != nil {
		return fmt.Errorf("look for the tables of %s: %w", s.db, classify(ctx, err))
	}
	if n == 0 {
		return fmt.Errorf("%w: run projector migrate (database %s)", ErrNotMigrated, s.db)
	}
	return nil
}

// ErrNotMigrated says that the tables are not there.
var ErrNotMigrated = errors.New("the read model's tables are missing")

// Drop removes the generation's tables and all that is in them.
func (s *Store) Drop(ctx context.Context) error {
	return classify(ctx, s.conn.Exec(ctx, "DROP DATABASE IF EXISTS "+s.db+" SYNC"))
}
