package readmodel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// State is how far a generation is. It only grows.
type State int8

// The states of a generation.
const (
	Filling State = iota + 1 // projectors write it, a rebuild fills in what was before
	Filled                   // it has everything
	Dropped                  // it is gone
)

// String names the state.
func (s State) String() string {
	switch s {
	case Filling:
		return "filling"
	case Filled:
		return "filled"
	case Dropped:
		return "dropped"
	default:
		return fmt.Sprintf("State(%d)", int8(s))
	}
}

// Generation is what the registry says of a generation.
type Generation struct {
	Number  int
	State   State
	Made    time.Time
	options string // as JSON
}

// Kept reports whether projectors write the generation.
func (g Generation) Kept() bool { return g.State != Dropped }

// Registry is what the registry says.
type Registry struct {
	Generations []Generation // ascending by number
	Current     int          // the one that is read
	Before      int          // the one that was read before the last switch; 0: none
	Switches    int          // how many there were
	RolledBack  bool         // the last one was a rollback
	Made        time.Time    // when there was the first one
	origin      string       // what the first one says: something else of a read model that was made anew
}

// Find gives a generation by its number.
func (r Registry) Find(number int) (Generation, bool) {
	for _, g := range r.Generations {
		if g.Number == number {
			return g, true
		}
	}
	return Generation{}, false
}

// Migrate makes the registry, the first generation if there is none, the tables of
// generations that are not there yet, and the views of all. It can be run again and
// beside a running system.
func (s *Server) Migrate(ctx context.Context) error {
	list, err := s.form.registry(schema.Registry, s.database)
	if err != nil {
		return err
	}
	if err := s.run(ctx, list); err != nil {
		return err
	}
	r, err := s.Registry(ctx)
	switch {
	case errors.Is(err, ErrNotMigrated):
		err = s.begin(ctx)
	case err == nil:
		for _, g := range r.Generations {
			if err == nil && g.Kept() {
				err = s.Generation(g.Number).migrateAgain(ctx, r)
			}
		}
	}
	if err != nil {
		return err
	}
	return s.run(ctx, s.form.views(s.database))
}

// begin makes the first generation.
func (s *Server) begin(ctx context.Context) error {
	// In this order: once it is registered somebody may write it.
	if err := s.Generation(1).migrate(ctx); err != nil {
		return err
	}
	if err := s.register(ctx, Generation{Number: 1, State: Filled, Made: time.Now()}); err != nil {
		return err
	}
	if err := s.addSwitch(ctx, 1, change{Generation: 1, At: time.Now().UTC(), By: "projector migrate"}); !errors.Is(err, errSwitched) {
		return err
	}
	return nil // somebody else migrates, too
}

// Registry gives what the registry says, all that was acknowledged before included. Its
// error is ErrNotMigrated while there is nothing to read.
func (s *Server) Registry(ctx context.Context) (Registry, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return Registry{}, err
	}
	defer release()
	if err := s.catchUp(ctx, "generations"); err != nil {
		return Registry{}, s.notMigrated(ctx, err)
	}
	return s.registry(ctx)
}

// registry gives what the registry says. In a cluster it is what the host says that is
// asked: unless it is caught up first, others may know more.
func (s *Server) registry(ctx context.Context) (Registry, error) {
	r := Registry{}
	err := s.each(ctx, "SELECT generation, CAST(max(state) AS Int8), max(made), max(options) FROM "+s.database+".generations GROUP BY generation ORDER BY generation",
		func(scan func(...any) error) error {
			var g Generation
			var number uint32
			if err := scan(&number, (*int8)(&g.State), &g.Made, &g.options); err != nil {
				return err
			}
			g.Number = int(number)
			r.Generations = append(r.Generations, g)
			return nil
		})
	if err == nil {
		query := "SELECT toInt64(substring(name, 8)) AS number, comment FROM system.tables WHERE database = '" + s.form.claims(s.database) + "' AND match(name, '^switch_[0-9]+$') ORDER BY number"
		err = s.each(ctx, query, func(scan func(...any) error) error {
			var number int64
			var comment string
			if err := scan(&number, &comment); err != nil {
				return err
			}
			var to change
			if err := json.Unmarshal([]byte(comment), &to); err != nil {
				return fmt.Errorf("table switch_%d: its comment is no switch: %w", number, err)
			}
			if number == 1 {
				r.Made, r.origin = to.At, comment
			}
			r.Switches, r.Before, r.Current, r.RolledBack = int(number), r.Current, to.Generation, to.Rollback
			return nil
		})
	}
	if err != nil {
		return Registry{}, s.notMigrated(ctx, err)
	}
	if r.Current == 0 || len(r.Generations) == 0 {
		return Registry{}, fmt.Errorf("%w: database %s says of no generation that it is read, run projector migrate", ErrNotMigrated, s.database)
	}
	return r, nil
}

// Current gives the number of the generation that is read. In a cluster it may be the one
// before for a moment; then that is still there.
func (s *Server) Current(ctx context.Context) (int, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	r, err := s.registry(ctx)
	return r.Current, err
}

// catchUp has the host that is asked know all that the hosts have agreed on: which tables
// the registry has, and the rows of one of them.
func (s *Server) catchUp(ctx context.Context, table string) error {
	for _, statement := range s.form.catchUp(s.database, table) {
		if err := s.conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Check reports whether ClickHouse answers, and has the registry and the tables of the
// generation that is read. It waits for no slot: to be busy is to be ready.
func (s *Server) Check(ctx context.Context) error {
	r, err := s.registry(ctx)
	if err != nil {
		return err
	}
	return s.Generation(r.Current).Check(ctx)
}

// The engine's codes for tables and databases that are there, or are not.
const (
	tableExists     = 57
	unknownTable    = 60
	unknownDatabase = 81
)

// notMigrated says of an error that nobody has made the registry, if that is why.
func (s *Server) notMigrated(ctx context.Context, err error) error {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) && (exception.Code == unknownTable || exception.Code == unknownDatabase) {
		return fmt.Errorf("%w: database %s has no registry, run projector migrate", ErrNotMigrated, s.database)
	}
	return fmt.Errorf("read the registry in ClickHouse: %w", classify(ctx, err))
}

// each gives the rows of a query.
func (s *Server) each(ctx context.Context, query string, visit func(scan func(...any) error) error) error {
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
