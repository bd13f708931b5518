package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
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
			return err //nolint:wrapcheck // callers say what was read
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
		return err //nolint:wrapcheck // callers say what was read
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err() //nolint:wrapcheck // as above
}

// register writes what is known of a generation. States only grow.
func (s *Server) register(ctx context.Context, g Generation) error {
	made := int64(0) // not the zero time: of times before 1970 the engine's max is sometimes the least
	if !g.Made.IsZero() {
		made = g.Made.UnixMicro()
	}
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.generations SELECT %d, CAST(%d AS Enum8('filling' = 1, 'filled' = 2, 'dropped' = 3)), fromUnixTimestamp64Micro(%d, 'UTC'), {options:String}",
		s.database, g.Number, int8(g.State), made), clickhouse.Named("options", g.options))
	if err != nil {
		return fmt.Errorf("register generation %d as %v: %w", g.Number, g.State, classify(ctx, err))
	}
	return nil
}

// change is a switch as the comment of its table.
type change struct {
	Generation int       `json:"generation"`
	At         time.Time `json:"at"`
	By         string    `json:"by"`
	Rollback   bool      `json:"rollback,omitempty"`
}

// errSwitched says that somebody else was first.
var errSwitched = errors.New("somebody else has just switched")

// addSwitch makes the table of a switch, unless somebody has made it before.
func (s *Server) addSwitch(ctx context.Context, number int, to change) error {
	generation := to.Generation
	comment, err := json.Marshal(to)
	if err != nil {
		return fmt.Errorf("switch to generation %d: %w", generation, err)
	}
	err = s.conn.Exec(s.form.claiming(ctx), fmt.Sprintf("CREATE TABLE %s.switch_%d (generation UInt32) ENGINE = Null COMMENT %s", s.form.claims(s.database), number, quoted(string(comment))))
	if exception := (*clickhouse.Exception)(nil); errors.As(err, &exception) && exception.Code == tableExists {
		return fmt.Errorf("switch to generation %d: %w (projector generations list)", generation, errSwitched)
	}
	if err != nil {
		return fmt.Errorf("switch to generation %d: %w", generation, classify(ctx, err))
	}
	return nil
}

// Add makes a new generation, which projectors write from soon on, or goes on with one
// that somebody has begun with the same options.
func (s *Server) Add(ctx context.Context, options Options) (*Store, error) {
	text, err := options.text()
	if err != nil {
		return nil, fmt.Errorf("add a generation: %w", err)
	}
	r, err := s.Registry(ctx)
	if err != nil {
		return nil, err
	}
	g := Generation{Number: r.Generations[len(r.Generations)-1].Number + 1, State: Filling, Made: time.Now(), options: text}
	for _, other := range r.Generations {
		if other.State == Filling {
			if other.options != text {
				return nil, &OtherOptionsError{other.Number, other.options, text}
			}
			g = other
		}
	}
	// In this order: whoever has the number says with which options, and once it is
	// registered projectors write it. What somebody has left who was killed in between
	// is made whole.
	if err := s.claim(ctx, g); err != nil {
		return nil, err
	}
	store := s.Generation(g.Number)
	if err := store.migrate(ctx); err != nil {
		return nil, err
	}
	if err := store.takeErased(ctx, r.Current, options); err != nil {
		return nil, err
	}
	return store, s.register(ctx, g)
}

// TakeErased has a generation know who was erased that projectors do not tell, or have not
// told from the start.
func (s *Server) TakeErased(ctx context.Context, r Registry, g Generation) error {
	options, err := g.Options()
	if err != nil {
		return err
	}
	return s.Generation(g.Number).takeErased(ctx, r.Current, options)
}

// takeErased has a generation know whom the one that is read knows to be erased, but for
// the erasures that it leaves out: the topics may not have them any more, and until all of
// them are read a sweep would leave what is the users'.
func (s *Store) takeErased(ctx context.Context, current int, options Options) error {
	if current == s.number {
		return nil
	}
	where := ""
	if options.Without != "" {
		if err := s.catchUp(ctx, "left_out"); err != nil {
			return fmt.Errorf("find what generation %d leaves out: %w", s.number, s.notMigrated(ctx, err))
		}
		where = fmt.Sprintf(" WHERE id GLOBAL NOT IN (SELECT id FROM %s.left_out WHERE list = %s)", s.database, quoted(options.Without))
	}
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.erased_users (app, user_id, id) SELECT app, user_id, id FROM %s.erased_users%s %s",
		s.db, s.Generation(current).db, where, copySettings))
	if err != nil {
		return fmt.Errorf("tell generation %d who was erased: %w", s.number, classify(ctx, err))
	}
	return nil
}

// OtherOptionsError says that somebody has begun a generation with other options.
type OtherOptionsError struct {
	Generation int
	Theirs     string // as JSON
	Ours       string
}

// Error implements error.
func (e *OtherOptionsError) Error() string {
	shown := func(text string) string {
		o, err := readOptions(text)
		switch {
		case err != nil:
			return text
		case o.String() == "":
			return "no options"
		default:
			return o.String()
		}
	}
	theirs, ours := shown(e.Theirs), shown(e.Ours)
	if theirs == ours { // what they came to is not the same
		theirs, ours = e.Theirs, e.Ours
	}
	return fmt.Sprintf("generation %d was begun with other options: %s, not %s (go on with those, or projector generations drop %d)",
		e.Generation, theirs, ours, e.Generation)
}

// claim makes the table that says with which options the generation of a number is
// made. Only one can make it.
func (s *Server) claim(ctx context.Context, g Generation) error {
	err := s.conn.Exec(s.form.claiming(ctx), fmt.Sprintf("CREATE TABLE %s.generation_%d (generation UInt32) ENGINE = Null COMMENT %s", s.form.claims(s.database), g.Number, quoted(g.options)))
	if exception := (*clickhouse.Exception)(nil); err == nil || !errors.As(err, &exception) || exception.Code != tableExists {
		if err != nil {
			return fmt.Errorf("begin generation %d: %w", g.Number, classify(ctx, err))
		}
		return nil
	}
	options, err := s.claimed(ctx, g.Number)
	if err != nil {
		return err
	}
	if options != g.options {
		return &OtherOptionsError{g.Number, options, g.options}
	}
	return nil
}

// Unfinished gives the generation that somebody has begun and not filled, if there is one. It
// has no state yet if they were killed before it was registered.
func (s *Server) Unfinished(ctx context.Context, r Registry) (g Generation, begun bool, err error) {
	for _, g := range slices.Backward(r.Generations) {
		if g.State == Filling {
			return g, true, nil
		}
	}
	g.Number = r.Generations[len(r.Generations)-1].Number + 1
	g.options, err = s.claimed(ctx, g.Number)
	if errors.Is(err, errNotBegun) {
		return Generation{}, false, nil
	}
	return g, err == nil, err
}

// errNotBegun says that nobody has begun a generation.
var errNotBegun = errors.New("nobody has begun it")

// claimed gives the options with which somebody has begun a generation.
func (s *Server) claimed(ctx context.Context, number int) (options string, err error) {
	err = s.conn.QueryRow(ctx, fmt.Sprintf("SELECT comment FROM system.tables WHERE database = '%s' AND name = 'generation_%d'", s.form.claims(s.database), number)).Scan(&options)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("generation %d: %w", number, errNotBegun)
	}
	if err != nil {
		return "", fmt.Errorf("read how generation %d is made: %w", number, classify(ctx, err))
	}
	return options, nil
}

// Claim tells a generation, a second or later one, from others that had its number in a
// read model that was lost, or that a backup has brought back. Its error is a *GoneError
// when there is none.
func (s *Server) Claim(ctx context.Context, number int) (claim string, err error) {
	if err := s.catchUp(ctx, "generations"); err != nil {
		return "", s.notMigrated(ctx, err)
	}
	err = s.conn.QueryRow(ctx, fmt.Sprintf("SELECT toString(uuid) FROM system.tables WHERE database = '%s' AND name = 'generation_%d'", s.form.claims(s.database), number)).Scan(&claim)
	if errors.Is(err, sql.ErrNoRows) {
		return "", &GoneError{number}
	}
	if err != nil {
		return "", fmt.Errorf("read who has begun generation %d: %w", number, classify(ctx, err))
	}
	return claim, nil
}

// Retention is how long some app shows messages, the longest of all; 0: for ever.
func (s *Store) Retention(ctx context.Context) (time.Duration, error) {
	var longest uint64
	var forever bool
	err := s.conn.QueryRow(ctx, "SELECT max(retention), countIf(retention = 0) > 0 FROM (SELECT tupleElement(max(plan), 'retention') AS retention FROM "+s.db+".plans GROUP BY app)").Scan(&longest, &forever)
	if err != nil {
		return 0, fmt.Errorf("read the plans of apps: %w", classify(ctx, err))
	}
	longest = max(longest, events.DefaultRetention)
	if forever || longest > uint64(math.MaxInt64/time.Second) {
		return 0, nil
	}
	return time.Duration(longest) * time.Second, nil //nolint:gosec // bounded above
}

// Filled says that a generation has everything.
func (s *Server) Filled(ctx context.Context, generation int) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	if g, ok := r.Find(generation); ok && g.Kept() {
		// Again: until projectors knew of it they wrote to the others alone.
		if err := s.TakeErased(ctx, r, g); err != nil {
			return err
		}
	}
	return s.register(ctx, Generation{Number: generation, State: Filled})
}

// Switch has a generation read that has everything.
func (s *Server) Switch(ctx context.Context, generation int, by string) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	return s.switchTo(ctx, r, change{Generation: generation, At: time.Now().UTC(), By: by})
}

// Rollback has the generation read that was read before the last switch, and gives its
// number. What was rolled back is not gone back to: whoever is not sure whether they have
// done it may do it again.
func (s *Server) Rollback(ctx context.Context, by string) (generation int, err error) {
	r, err := s.Registry(ctx)
	switch {
	case err != nil:
		return 0, err
	case r.Before == 0:
		return 0, fmt.Errorf("generation %d is the first that is read: there is none to go back to", r.Current)
	case r.RolledBack:
		return 0, fmt.Errorf("generation %d is read again since a rollback from %d (projector switch %d goes there again)", r.Current, r.Before, r.Before)
	}
	return r.Before, s.switchTo(ctx, r, change{Generation: r.Before, At: time.Now().UTC(), By: by, Rollback: true})
}

func (s *Server) switchTo(ctx context.Context, r Registry, to change) error {
	generation := to.Generation
	g, ok := r.Find(generation)
	switch {
	case !ok:
		return fmt.Errorf("generation %d: there is none of that number", generation)
	case g.State != Filled:
		return fmt.Errorf("generation %d: it is %v, expected filled", generation, g.State)
	case generation == r.Current:
		return fmt.Errorf("generation %d: it is the one that is read", generation)
	}
	if err := s.addSwitch(ctx, r.Switches+1, to); err != nil {
		return err
	}
	// Who drops a generation says so before looking whether it is read, and who switches looks
	// after it: of two who do both at once one notices.
	gone := (*GoneError)(nil)
	if err := s.Kept(ctx, generation); !errors.As(err, &gone) {
		return err
	}
	to.Generation, to.Rollback = r.Current, true
	if err := s.addSwitch(ctx, r.Switches+2, to); err != nil {
		return fmt.Errorf("generation %d: somebody has dropped it meanwhile; switch to another one: %w", generation, err)
	}
	return fmt.Errorf("generation %d: somebody has dropped it meanwhile, so generation %d is read again", generation, r.Current)
}

// DropGeneration drops a generation that is not read, a while after nobody who looks
// writes to it any more.
func (s *Server) DropGeneration(ctx context.Context, generation int, grace time.Duration) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	if _, ok := r.Find(generation); !ok {
		// Who has begun it may have been killed before it was registered.
		if _, err := s.claimed(ctx, generation); errors.Is(err, errNotBegun) {
			return fmt.Errorf("generation %d: there is none of that number", generation)
		} else if err != nil {
			return err
		}
	}
	if generation == r.Current {
		return fmt.Errorf("generation %d: it is the one that is read, expected another", generation)
	}
	if current, _ := r.Find(r.Current); !current.Kept() {
		return fmt.Errorf("generation %d: the one that is read, %d, was dropped, and projectors do not write it any more; switch to another one first", generation, r.Current)
	}
	if err := s.unneeded(ctx, r, generation); err != nil {
		return err
	}
	if err := s.register(ctx, Generation{Number: generation, State: Dropped}); err != nil {
		return err
	}
	select {
	case <-time.After(grace):
	case <-ctx.Done():
		return fmt.Errorf("generation %d is dropped, and its tables are still there (projector generations drop %d removes them): %w", generation, generation, context.Cause(ctx))
	}
	r, err = s.Registry(ctx)
	if err != nil {
		return err
	}
	if r.Current == generation {
		return fmt.Errorf("generation %d: somebody has switched to it meanwhile, and projectors do not write it any more; switch to another one", generation)
	}
	return s.Generation(generation).Drop(ctx)
}

// Leftover gives the generations that were dropped and have tables all the same: somebody was
// broken off before they were gone, or has made them anew.
func (s *Server) Leftover(ctx context.Context, r Registry) (map[int]bool, error) {
	dropped := map[string]int{}
	for _, g := range r.Generations {
		if !g.Kept() {
			dropped[s.Generation(g.Number).db] = g.Number
		}
	}
	left := map[int]bool{}
	err := s.each(ctx, "SELECT DISTINCT database FROM "+s.form.system("tables")+" WHERE startsWith(database, '"+s.database+"_g')"+s.form.onlyThere(), func(scan func(...any) error) error {
		var db string
		err := scan(&db)
		if number, is := dropped[db]; is {
			left[number] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the tables of generations that were dropped: %w", classify(ctx, err))
	}
	return left, nil
}

// unneeded holds that no generation is being filled with the rows of this one. Who
// begins one at the same moment notices that this one was dropped; see Copy.
func (s *Server) unneeded(ctx context.Context, r Registry, generation int) error {
	for _, g := range r.Generations {
		if g.State != Filling || g.Number == generation {
			continue
		}
		options, err := g.Options()
		if err != nil {
			return err
		}
		if options.Base != generation {
			continue
		}
		done, err := s.Copied(ctx, g.Number)
		if err != nil {
			return err
		}
		if !done[""] {
			return fmt.Errorf("generation %d: its rows are being copied to generation %d, which begins with them (drop that one first, or let projector rebuild go on)", generation, g.Number)
		}
	}
	return nil
}

// DropAll removes all generations and the registry.
func (s *Server) DropAll(ctx context.Context) error {
	r, err := s.Registry(ctx)
	if err != nil && !errors.Is(err, ErrNotMigrated) {
		return err
	}
	for _, g := range r.Generations {
		if err := s.Generation(g.Number).Drop(ctx); err != nil {
			return err
		}
	}
	if claims := s.form.claims(s.database); claims != s.database {
		if err := s.conn.Exec(ctx, s.form.dropDatabase(claims)); err != nil {
			return classify(ctx, err)
		}
	}
	return classify(ctx, s.conn.Exec(ctx, s.form.dropDatabase(s.database)))
}
