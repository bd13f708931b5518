package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// Store reads and writes one generation of the read model. It is safe for concurrent use.
type Store struct {
	*Server
	number int
	db     string // the generation's database
	// complete says that all tables and views were seen; see ready.
	complete atomic.Bool
}

// Number is the number of the generation.
func (s *Store) Number() int { return s.number }

// migrate makes the generation's tables that are not there yet, and its views anew.
func (s *Store) migrate(ctx context.Context) error {
	list, err := s.form.generation(schema.Generation, s.db)
	if err != nil {
		return err
	}
	if err := s.run(ctx, list); err != nil {
		return err
	}
	return s.run(ctx, s.form.generationViews(s.db))
}

// migrateAgain is migrate of a generation that is registered. If all of its tables are gone
// it does not make them anew: they would be empty, and projectors would go on where they are.
func (s *Store) migrateAgain(ctx context.Context, r Registry) error {
	var tables uint64
	err := s.conn.QueryRow(ctx, "SELECT count() FROM "+s.form.system("tables")+" WHERE database = '"+s.db+"'").Scan(&tables)
	switch {
	case err != nil:
		return fmt.Errorf("look for the tables of generation %d: %w", s.number, classify(ctx, err))
	case tables > 0:
		return s.migrate(ctx)
	case s.number == r.Current:
		return fmt.Errorf("generation %d is the one that is read, and all of its tables are gone: drop the registry, too (database %s), and run projector migrate again; then projectors read everything from the topics", s.number, s.database)
	default:
		return fmt.Errorf("generation %d: all of its tables are gone: projector generations drop %d, and run projector migrate again", s.number, s.number)
	}
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

// tableNames are the tables and views of a generation, on every host.
func (s *Store) tableNames() ([]string, error) {
	list, err := s.form.generation(schema.Generation, s.db)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, statement := range list[1:] { // the first one makes the database
		_, rest, _ := strings.Cut(statement, " IF NOT EXISTS "+s.db+".")
		names = append(names, strings.Fields(rest)[0])
	}
	return names, nil
}

// Check reports whether ClickHouse answers and has the tables. In a cluster, every host
// that answers has to have them.
func (s *Store) Check(ctx context.Context) error {
	want, err := s.tableNames()
	if err != nil {
		return err
	}
	var host string
	var n uint64
	query := fmt.Sprintf("SELECT hostName() AS host, uniqExactIf(name, database = '%s' AND name IN ('%s')) AS n FROM %s GROUP BY host ORDER BY n, host LIMIT 1%s",
		s.db, strings.Join(want, "', '"), s.form.system("tables"), s.form.onlyThere())
	if err := s.conn.QueryRow(ctx, query).Scan(&host, &n); err != nil {
		return fmt.Errorf("look for the tables of %s: %w", s.db, classify(ctx, err))
	}
	if n < uint64(len(want)) {
		return fmt.Errorf("%w: %d of %d are on %s, run projector migrate (database %s)", ErrNotMigrated, n, len(want), host, s.db)
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
	return classify(ctx, s.conn.Exec(ctx, s.form.dropDatabase(s.db)))
}

// Database is the name of the generation's database.
func (s *Store) Database() string { return s.db }
