package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/pause"
)

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
	from := s.Generation(current)
	copying, err := from.copying(ctx, "erased_users")
	if err == nil {
		err = s.conn.Exec(copying, fmt.Sprintf("INSERT INTO %s.erased_users (app, user_id, id) SELECT app, user_id, id FROM %s.erased_users%s",
			s.db, from.db, where))
	}
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
	if err := pause.For(ctx, grace); err != nil {
		return fmt.Errorf("generation %d is dropped, and its tables are still there (projector generations drop %d removes them): %w", generation, generation, err)
	}
	return s.dropUnread(ctx, generation)
}

// dropUnread drops a generation's tables, unless somebody has switched to it who had looked
// before it was said to be dropped.
func (s *Server) dropUnread(ctx context.Context, generation int) error {
	r, err := s.Registry(ctx)
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

// GoneError says that a generation was dropped that is needed.
type GoneError struct{ Generation int }

// Error implements error.
func (e *GoneError) Error() string {
	return fmt.Sprintf("generation %d is needed and was dropped", e.Generation)
}

// Kept holds that generations are kept. Its error is a *GoneError when one is not.
func (s *Server) Kept(ctx context.Context, numbers ...int) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if g, ok := r.Find(number); !ok || !g.Kept() {
			return &GoneError{number}
		}
	}
	return nil
}
