package readmodel

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// compared says how the merged rows of a table are compared.
type compared struct {
	table string
	// keys are the sorting key, as expressions that give texts or numbers; the
	// first of them, texts, are by what the table is divided into ranges.
	keys    []string
	divided int
	value   string // an expression that gives the merged value
	expires bool   // rows of days whose messages are expired show nowhere
	unshown bool   // no reply shows any of it
	erased  string // those whose rows are compared as a sweep would leave them; "": nobody
}

// compareTables are all tables of a generation.
var compareTables = []compared{
	{table: "registers", keys: []string{"app", "owner", "conversation_id", "register"}, divided: 3, value: "max(greatest)"},
	// The states of equal sets may differ; their elements do not. Which rows a day has
	// depends on how its messages came in batches: it is known by any of those that count.
	{
		table: "sequences", keys: []string{"app", "owner", "conversation_id", "day"}, divided: 3, expires: true,
		value: "(max(kind IN ('counted', 'uncounted')), " + elements("counted") + ", " + elements("uncounted") + ", " + elements("recalled") + ", " + elements("mentioning") + ")",
	},
	{table: "edits", keys: []string{"app", "type", "a", "b", "sequence", "edit"}, divided: 4, value: "max(greatest)"},
	{
		table: "messages", keys: []string{"app", "type", "a", "b", "day", "sequence", "time", "id"}, divided: 4, expires: true,
		value: "(max(sender), max(recipient), max(message_id), max(message_type), max(text), max(mentions), max(mentions_all), max(counted), max(shown))",
	},
	{
		table: "activity", keys: []string{"app", "day", "type", "slice"}, divided: 1, unshown: true,
		value: "(" + hashes("messages") + ", " + hashes("senders") + ", " + hashes("conversations") + ")",
	},
	{
		table: "activity_users", keys: []string{"app", "user_id", "day"}, divided: 2, unshown: true,
		value: "(" + hashes("messages") + ", " + hashes("conversations") + ")",
	},
	{table: "user_profiles", keys: []string{"app", "user_id"}, divided: 2, value: "max(profile)"},
	{table: "group_profiles", keys: []string{"app", "group_id"}, divided: 2, value: "max(profile)"},
	{table: "plans", keys: []string{"app"}, divided: 1, value: "max(plan)"},
	{table: "erased_users", keys: []string{"app", "user_id"}, divided: 2, value: "1"},
}

// elements are those of the sets of a kind.
func elements(kind string) string {
	return "arraySort(bitmapToArray(groupBitmapMergeStateIf(sequences, kind = '" + kind + "')))"
}

// hashes are how many elements a set of uniqExact has, and a checksum of them: sets of
// one size may differ. Such a state has its elements as hashes of 16 bytes, in any order,
// behind their number; there is no function that lists them.
func hashes(set string) string {
	n := "uniqExactMerge(" + set + ")"
	state := "CAST(uniqExactMergeState(" + set + ") AS String)"
	return "(" + n + ", cityHash64(arraySort(reinterpret(right(" + state + ", 16 * " + n + "), 'Array(UInt128)'))))"
}

// Difference is a key whose merged row is not the same in two generations.
type Difference struct {
	// Table and Key name the row; Key is a condition of SQL that finds it.
	Table string `json:"table"`
	Key   string `json:"key"`
	// Ours and Theirs are the values as ClickHouse writes them; "" is no row.
	Ours   string `json:"ours"`
	Theirs string `json:"theirs"`

	// Columns are the values of the key's columns, as texts.
	Columns []string `json:"-"`

	key string // alone, as ClickHouse reads it
}

// Compared is how far a comparison is.
type Compared struct {
	Table       string
	Rows        uint64 // merged ones of ours, so far
	Ranges, Of  int    // of the table
	Differences int    // of all tables, so far
	TablesLeft  int
}

// compareRows is about how many rows, not yet merged, are in a range.
const compareRows = 200_000

// Compare compares the registers of two generations: counts and checksums range by
// range, in ClickHouse, and where they differ row by row. What differs is told one
// after the other, and progress after each range. While projectors write, rows may
// differ that will not when both have the same events; see Again.
//
// With a time, messages that are expired then are left out, and so is what no reply shows.
// The zero time leaves out nothing but days that may have been dropped; see DropExpired.
func (s *Store) Compare(ctx context.Context, with *Store, at time.Time, tell func(Difference) error, progress func(Compared)) error {
	ctx = naming(ctx)
	erased, err := s.erasedByEither(ctx, with)
	if err != nil {
		return err
	}
	so := Compared{}
	for i, c := range compareTables {
		c.erased = erased
		if c.unshown && !at.IsZero() {
			continue
		}
		only := ""
		if c.expires {
			days, err := s.days(ctx, with, c.table, at)
			if err != nil {
				return fmt.Errorf("read the plans of apps: %w", classify(ctx, err))
			}
			only = " AND " + days
		}
		so.Table, so.TablesLeft, so.Rows = c.table, len(compareTables)-i-1, 0
		ranges, err := s.ranges(ctx, with, &c, compareRows)
		if err != nil {
			return fmt.Errorf("compare %s: %w", c.table, classify(ctx, err))
		}
		for j, where := range ranges {
			rows, differences, err := s.compareRange(ctx, with, &c, where+only)
			if err != nil {
				return fmt.Errorf("compare %s: %w", c.table, classify(ctx, err))
			}
			for _, d := range differences {
				if err := tell(d); err != nil {
					return err
				}
			}
			so.Rows += rows
			so.Differences += len(differences)
			so.Ranges, so.Of = j+1, len(ranges)
			progress(so)
		}
	}
	return nil
}

// days is the condition that a row of a table is of a day that is compared.
func (s *Store) days(ctx context.Context, with *Store, table string, at time.Time) (string, error) {
	if !at.IsZero() {
		return s.unexpired(ctx, with, at)
	}
	dropped, err := s.dropped(ctx, with, table, time.Now())
	return "NOT " + dropped, err
}

// unexpired is the condition that a row's day is not expired in its app at a time, by
// the plan of either generation. Recalls, which do not know their day, have the day 0.
func (s *Store) unexpired(ctx context.Context, with *Store, at time.Time) (string, error) {
	firstDay := func(plan projection.Plan) int64 {
		return projection.NewRules(plan, events.MicrosOf(at), nil).FirstDay()
	}
	ours, err := s.plans(ctx)
	if err != nil {
		return "", err
	}
	theirs, err := with.plans(ctx)
	if err != nil {
		return "", err
	}
	usual := firstDay(projection.Plan{})
	apps, days := []string{"''"}, []string{strconv.FormatInt(usual, 10)}
	add := func(app string, one, other map[string]*projection.Plan) {
		day := usual
		if p := other[app]; p != nil {
			day = firstDay(*p)
		}
		apps = append(apps, quoted(app))
		days = append(days, strconv.FormatInt(min(day, firstDay(*one[app])), 10))
	}
	for app := range ours {
		add(app, ours, theirs)
	}
	for app := range theirs {
		if ours[app] == nil {
			add(app, theirs, ours)
		}
	}
	return fmt.Sprintf("(day = '1970-01-01' OR toInt64(toInt32(day)) >= transform(app, [%s], [%s], toInt64(%d)))", strings.Join(apps, ", "), strings.Join(days, ", "), usual), nil
}

// plans gives the plans of all apps that have one.
func (s *Store) plans(ctx context.Context) (map[string]*projection.Plan, error) {
	m := projection.NewModel()
	err := plansTable.load(ctx, s, plansTable.selectQuery(s.db, true, "", nil), true, nil, func(r *planRow) error {
		plan := r.Plan
		m.Merge(&projection.Model{Plans: map[string]*projection.Plan{r.App: &plan}})
		return nil
	})
	return m.Plans, err
}

// ranges divides the keys that either generation has into ranges of about so many rows,
// not yet merged; each is a condition.
func (s *Store) ranges(ctx context.Context, with *Store, c *compared, rowsPerRange uint64) ([]string, error) {
	by := strings.Join(c.keys[:c.divided], ", ")
	var rows uint64
	if err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT max(n) FROM (SELECT count() AS n FROM %s.%s UNION ALL SELECT count() AS n FROM %s.%s)", s.db, c.table, with.db, c.table)).Scan(&rows); err != nil {
		return nil, err
	}
	var bounds [][]string
	if n := rows / rowsPerRange; n > 0 {
		// A key in so many begins a range, whichever they are. One generation may have few of
		// them, or none.
		either := fmt.Sprintf("(SELECT %[1]s FROM %[2]s.%[4]s UNION ALL SELECT %[1]s FROM %[3]s.%[4]s)", by, s.db, with.db, c.table)
		err := s.each(ctx, fmt.Sprintf("SELECT DISTINCT %[1]s FROM %[2]s WHERE cityHash64(%[1]s) %% greatest(1, intDiv((SELECT uniq(%[1]s) FROM %[2]s), %[3]d)) = 0 ORDER BY %[1]s",
			by, either, n), func(scan func(...any) error) error {
			texts := make([]string, c.divided)
			dests := make([]any, c.divided)
			for i := range texts {
				dests[i] = &texts[i]
			}
			err := scan(dests...)
			for i, text := range texts {
				texts[i] = quoted(text)
			}
			bounds = append(bounds, texts)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return between(c.keys[:c.divided], bounds), nil
}

// quoted is a text as ClickHouse reads it.
func quoted(s string) string {
	var l keyList
	l.text(s)
	return l.b.String()
}

// checksum is of the merged rows of a range.
type checksum struct{ rows, sum uint64 }

// compareRange compares the rows of one range, and gives how many we have of them.
func (s *Store) compareRange(ctx context.Context, with *Store, c *compared, where string) (rows uint64, differences []Difference, err error) {
	var ours, theirs checksum
	if err := both(ctx, func(ctx context.Context) error { return s.sum(ctx, c, where, &ours) }, func(ctx context.Context) error { return with.sum(ctx, c, where, &theirs) }); err != nil || ours == theirs {
		return ours.rows, nil, err
	}
	var ourRows, theirRows map[string]uint64
	err = both(ctx,
		func(ctx context.Context) (err error) { ourRows, err = s.sums(ctx, c, where); return err },
		func(ctx context.Context) (err error) { theirRows, err = with.sums(ctx, c, where); return err })
	if err != nil {
		return ours.rows, nil, err
	}
	var keys []string
	for k, sum := range ourRows {
		if other, ok := theirRows[k]; !ok || other != sum {
			keys = append(keys, k)
		}
	}
	for k := range theirRows {
		if _, ok := ourRows[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	differences, err = s.look(ctx, with, c, keys)
	return ours.rows, differences, err
}

func both(ctx context.Context, ours, theirs func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ours(ctx) })
	g.Go(func() error { return theirs(ctx) })
	return g.Wait()
}

// merged selects something of the merged rows of a range.
func (s *Store) merged(c *compared, what, where string) string {
	table := s.db + "." + c.table
	if c.erased != "" {
		table = s.swept(c.table, c.erased)
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s GROUP BY %s SETTINGS optimize_aggregation_in_order = 1",
		what, table, where, strings.Join(c.keys, ", "))
}

// text gives a key as ClickHouse reads it.
func (c *compared) text() string { return "toString(tuple(" + strings.Join(c.keys, ", ") + "))" }

func (c *compared) hash() string {
	return "cityHash64(" + strings.Join(c.keys, ", ") + ", " + c.value + ")"
}

func (s *Store) sum(ctx context.Context, c *compared, where string, to *checksum) error {
	query := "SELECT count(), sum(h) FROM (" + s.merged(c, c.hash()+" AS h", where) + ")"
	return s.conn.QueryRow(ctx, query).Scan(&to.rows, &to.sum)
}

// sums gives the checksum of each row, by its key as ClickHouse reads it.
func (s *Store) sums(ctx context.Context, c *compared, where string) (map[string]uint64, error) {
	all := map[string]uint64{}
	err := s.each(ctx, s.merged(c, c.text()+", "+c.hash(), where), func(scan func(...any) error) error {
		var key string
		var sum uint64
		err := scan(&key, &sum)
		all[key] = sum
		return err
	})
	return all, err
}

// lookAtOnce is how many rows one query reads.
const lookAtOnce = 500

// look reads the values of rows that differed, and gives those that do.
func (s *Store) look(ctx context.Context, with *Store, c *compared, keys []string) (differences []Difference, err error) {
	for some := range slices.Chunk(keys, lookAtOnce) {
		var ours, theirs map[string]rowValue
		err := both(ctx,
			func(ctx context.Context) (err error) { ours, err = s.values(ctx, c, some); return err },
			func(ctx context.Context) (err error) { theirs, err = with.values(ctx, c, some); return err })
		if err != nil {
			return nil, err
		}
		for _, k := range some {
			if a, b := ours[k], theirs[k]; a.value != b.value { // else it was written meanwhile
				d := Difference{
					Table: c.table, Key: "(" + strings.Join(c.keys, ", ") + ") = " + k,
					Ours: a.value, Theirs: b.value, Columns: a.columns, key: k,
				}
				if d.Columns == nil {
					d.Columns = b.columns
				}
				differences = append(differences, d)
			}
		}
	}
	return differences, nil
}

// rowValue is a merged row.
type rowValue struct {
	columns []string // of the key
	value   string
}

// values gives merged rows by their keys.
func (s *Store) values(ctx context.Context, c *compared, keys []string) (map[string]rowValue, error) {
	values := map[string]rowValue{}
	where := "(" + strings.Join(c.keys, ", ") + ") IN (" + strings.Join(keys, ", ") + ")"
	columns := make([]string, len(c.keys))
	for i, k := range c.keys {
		columns[i] = "toString(" + k + ")"
	}
	what := c.text() + ", [" + strings.Join(columns, ", ") + "], toString(" + c.value + ")"
	err := s.each(ctx, s.merged(c, what, where), func(scan func(...any) error) error {
		var key string
		var row rowValue
		err := scan(&key, &row.columns, &row.value)
		values[key] = row
		return err
	})
	return values, err
}

// Again looks again at rows that differed, and gives those that still do, or do now.
func (s *Store) Again(ctx context.Context, with *Store, before []Difference) (now []Difference, err error) {
	ctx = naming(ctx)
	erased, err := s.erasedByEither(ctx, with)
	if err != nil {
		return nil, err
	}
	for _, c := range compareTables {
		c.erased = erased
		var keys []string
		for _, d := range before {
			if d.Table == c.table {
				keys = append(keys, d.key)
			}
		}
		differences, err := s.look(ctx, with, &c, keys)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", c.table, classify(ctx, err))
		}
		now = append(now, differences...)
	}
	return now, nil
}
