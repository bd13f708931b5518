package readmodel_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// begin begins a generation with the rows of the first one, which has the given events.
func begin(t *testing.T, base *readmodel.Store, list []events.Event) *readmodel.Store {
	t.Helper()
	m := projection.NewModel()
	for _, e := range list {
		m.Fold(e)
	}
	if err := base.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	store, err := base.Add(t.Context(), readmodel.Options{Base: base.Number()})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// some are events of every kind, in many apps.
func some() (list []events.Event) {
	drawn := rapid.Custom(func(t *rapid.T) []events.Event { return projectiontest.Events(t, 60) })
	for seed := range 20 {
		for _, e := range drawn.Example(seed) {
			e.App += strconv.Itoa(seed % 7)
			e.ID += strconv.Itoa(seed)
			list = append(list, e)
		}
	}
	return list
}

// differences are those of two generations.
func differences(t *testing.T, ours, theirs *readmodel.Store) (found []string, rows uint64) {
	t.Helper()
	err := ours.Compare(t.Context(), theirs, time.Time{}, func(d readmodel.Difference) error {
		found = append(found, fmt.Sprint(d))
		return nil
	}, func(at readmodel.Compared) {
		if at.Ranges == at.Of {
			rows += at.Rows
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, rows
}

// TestCopy_HasAllRows copies every table that has rows, those too that this version says
// nothing else of, in many small ranges. It is broken off in the middle and begun anew.
func TestCopy_HasAllRows(t *testing.T) {
	base := open(t)
	store := begin(t, base, some())
	conn := sandboxtest.ClickHouse(t)
	for _, db := range []string{base.Database(), store.Database()} {
		err := conn.Exec(t.Context(), "CREATE TABLE "+db+".counts (app String, day Date32, kind Enum8('a' = -1, 'b' = 2), n Int32, users AggregateFunction(uniqExact, String)) ENGINE = AggregatingMergeTree ORDER BY (app, toYYYYMM(day), kind, intDiv(n, 7), day, n)")
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Exec(t.Context(), "INSERT INTO "+base.Database()+".counts SELECT concat('a\\'\\\\\\t', toString(number % 2)), toDate32('1960-01-01') + number % 37, if(number % 3 = 0, 'a', 'b'), -number, arrayReduce('uniqExactState', [toString(number)]) FROM numbers(500)"); err != nil {
		t.Fatal(err)
	}
	steps := func(c *readmodel.Copy, most int) (at readmodel.Copied, ranges map[string]int) {
		t.Helper()
		ranges = map[string]int{}
		for more := true; more && most > 0; most-- {
			var err error
			if at, more, err = c.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			ranges[at.Table] = at.Of
		}
		return at, ranges
	}
	first, _ := steps(store.CopyOf(base).InRangesOf(20), 60)
	if done, err := base.Copied(t.Context(), 2); err != nil || done[""] || len(done) == 0 || done[first.Table] {
		t.Errorf("copied %v, %v in the middle of %s", done, err, first.Table)
	}
	_, ranges := steps(store.CopyOf(base).InRangesOf(20), 1e9)
	for _, table := range []string{"counts", "edits", "messages", "registers", "sequences"} {
		n, done := ranges[table], map[string]bool{}
		if n == 0 { // it was copied before
			done, _ = base.Copied(t.Context(), 2)
		}
		if n < 3 && !done[table] {
			t.Errorf("table %s was copied in %d ranges", table, n)
		}
	}
	found, rows := differences(t, store, base)
	if len(found) > 0 || rows < 500 {
		t.Errorf("%d rows, differences %v", rows, found)
	}
	sum := func(db string) (n, users uint64) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT sum(cityHash64(app, day, kind, n)), uniqExactMerge(users) FROM (SELECT app, day, kind, n, uniqExactMergeState(users) AS users FROM "+db+".counts GROUP BY ALL)").Scan(&n, &users); err != nil {
			t.Fatal(err)
		}
		return n, users
	}
	ours, ourUsers := sum(store.Database())
	if theirs, theirUsers := sum(base.Database()); ours != theirs || ourUsers != theirUsers || ourUsers != 500 {
		t.Errorf("another table: %d of %d users, checksum %d of %d", ourUsers, theirUsers, ours, theirs)
	}
	// It is said once and for all.
	if at, more, err := store.CopyOf(base).Step(t.Context()); err != nil || more || at.Table != "" {
		t.Errorf("copied again: %+v %t %v", at, more, err)
	}
}

// TestCopy_UsesTheIndex holds that a range costs what is in it.
func TestCopy_UsesTheIndex(t *testing.T) {
	base := open(t)
	store := begin(t, base, nil)
	conn := sandboxtest.ClickHouse(t)
	if err := conn.Exec(t.Context(), "INSERT INTO "+base.Database()+".registers SELECT 'demo', concat('u', toString(number)), 'C2Cx', 'read', (1, 2, '', '') FROM numbers(100000)"); err != nil {
		t.Fatal(err)
	}
	ranges, err := store.CopyOf(base).InRangesOf(10_000).Ranges(t.Context(), "registers")
	if err != nil || len(ranges) < 4 {
		t.Fatalf("%d ranges, %v", len(ranges), err)
	}
	var read uint64
	for _, where := range ranges {
		var rows uint64
		if err := conn.QueryRow(t.Context(), "SELECT sum(rows) FROM (EXPLAIN ESTIMATE SELECT * FROM "+base.Database()+".registers WHERE "+where+")").Scan(&rows); err != nil {
			t.Fatal(err)
		}
		read += rows
	}
	if read < 100_000 || read > 130_000 {
		t.Errorf("%d rows are read for %d ranges of 100000 rows", read, len(ranges))
	}
}

// TestCopy_OfAnotherVersion is refused.
func TestCopy_OfAnotherVersion(t *testing.T) {
	for change, want := range map[string]string{
		"ALTER TABLE {base}.plans ADD COLUMN more String": "copy generation 1: its table plans is of another version: it has app String, more String, plan ",
		"DROP TABLE {base}.erased_users":                  "copy generation 1: the read model's tables are missing: it has no table erased_users, run projector migrate",
	} {
		t.Run(strings.Fields(change)[0], func(t *testing.T) {
			base := open(t)
			store := begin(t, base, nil)
			if err := sandboxtest.ClickHouse(t).Exec(t.Context(), strings.ReplaceAll(change, "{base}", base.Database())); err != nil {
				t.Fatal(err)
			}
			_, _, err := store.CopyOf(base).Step(t.Context())
			if away := (*readmodel.Error)(nil); err == nil || !strings.HasPrefix(err.Error(), want) || errors.As(err, &away) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestCopy_OfWhatIsDropped ends with an error, however much was there to be read, and
// nobody who looks drops it.
func TestCopy_OfWhatIsDropped(t *testing.T) {
	base := open(t)
	second := begin(t, base, some())
	if err := base.Filled(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	third, err := base.Add(t.Context(), readmodel.Options{Base: 2})
	if err != nil {
		t.Fatal(err)
	}
	drop := func() error { return base.DropGeneration(t.Context(), 2, 0) }
	if err := drop(); err == nil || !strings.Contains(err.Error(), "generation 2: its rows are being copied to generation 3, which begins with them") {
		t.Errorf("got %v", err)
	}
	c := third.CopyOf(second)
	if _, more, err := c.Step(t.Context()); err != nil || !more {
		t.Fatalf("%t %v", more, err)
	}
	// Somebody drops it who has looked before there was a third generation.
	conn := sandboxtest.ClickHouse(t)
	if err := conn.Exec(t.Context(), "INSERT INTO "+base.Registers()+".generations SELECT 2, 'dropped', 0, ''"); err != nil {
		t.Fatal(err)
	}
	var gone *readmodel.GoneError
	if _, _, err := c.Step(t.Context()); !errors.As(err, &gone) || gone.Generation != 2 {
		t.Errorf("while it can be read: got %v", err)
	}
	if err := second.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Step(t.Context()); !errors.As(err, &gone) || gone.Generation != 2 {
		t.Errorf("when it cannot: got %v", err)
	}
	done, err := base.Copied(t.Context(), 3)
	if err != nil || done[""] || len(done) > 1 {
		t.Errorf("copied %v, %v", done, err)
	}
}

// TestCopy_DropAfterwards lets a base go of which everything was copied.
func TestCopy_DropAfterwards(t *testing.T) {
	base := open(t)
	second := begin(t, base, some())
	if err := base.Filled(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	third, err := base.Add(t.Context(), readmodel.Options{Base: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := third.CopyOf(second)
	for more := true; more; {
		if _, more, err = c.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := base.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Error(err)
	}

	// Somebody has switched to a generation while it was being dropped.
	dropped := "INSERT INTO " + base.Registers() + ".generations SELECT 1, 'dropped', now64(6), ''"
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), dropped); err != nil {
		t.Fatal(err)
	}
	if err := base.DropGeneration(t.Context(), third.Number(), 0); err == nil || !strings.Contains(err.Error(), "switch to another one first") {
		t.Errorf("dropped the last generation that is written: %v", err)
	}
}

// TestCopy_HasFewSetsInMemory copies sets that are more than a copy has in memory at one time,
// in few rows: a block of them is a part of the table.
func TestCopy_HasFewSetsInMemory(t *testing.T) {
	base := open(t)
	store := begin(t, base, nil)
	conn := sandboxtest.ClickHouse(t)
	const days, users = 500, 16_384 // 125 MiB as they are stored
	err := conn.Exec(t.Context(), fmt.Sprintf(`INSERT INTO %s.activity
		SELECT 'demo', toDate32('2020-01-01') + number, 'C2C', 1, messages, senders, conversations
		FROM numbers(%d) AS days CROSS JOIN
		(
			SELECT uniqExactState(a, a, toUInt64(1), toInt64(1), a) AS messages, uniqExactState(user) AS senders, uniqExactState(a, a) AS conversations
			FROM (SELECT 'a' AS a, toString(number) AS user FROM numbers(%d))
		) AS sets`, base.Database(), days, users))
	if err != nil {
		t.Fatal(err)
	}
	c := store.CopyOf(base)
	for more := true; more; {
		if _, more, err = c.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var blocks int64
	var rows, least uint64
	if err := conn.QueryRow(t.Context(), "SELECT max(max_block_number) FROM system.parts WHERE active AND database = '"+store.Database()+"' AND table = 'activity'").Scan(&blocks); err != nil || blocks < 3 {
		t.Errorf("copied in %d blocks, %v, want 3 or more", blocks, err)
	}
	if err := conn.QueryRow(t.Context(), "SELECT count(), min(n) FROM (SELECT day, uniqExactMerge(senders) AS n FROM "+store.Database()+".activity GROUP BY day)").Scan(&rows, &least); err != nil || rows != days || least != users {
		t.Errorf("%d days of at least %d senders were copied, %v", rows, least, err)
	}
}

// TestCopy_BlocksAreOfAFewMegabytes holds how many rows a copy has in memory, however many the
// table has.
func TestCopy_BlocksAreOfAFewMegabytes(t *testing.T) {
	for _, c := range []struct{ rows, bytes, want uint64 }{
		{0, 0, 200_000}, // what is written by then is copied as usual
		{1000, 100_000, 200_000},
		{1000, 1000 << 20, 32},
		{10, 640 << 20, 1},
		{1e12, 1e12 << 10, 32 << 10},
	} {
		if got := readmodel.CopyBlock(c.rows, c.bytes); got != c.want {
			t.Errorf("of %d rows and %d bytes: %d rows, want %d", c.rows, c.bytes, got, c.want)
		}
	}
}
