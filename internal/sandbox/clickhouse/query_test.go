package clickhouse_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestQuery_ExceptionHasCodeAndMessage(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	for _, c := range []struct {
		sql     string
		code    int32
		message string
	}{
		{"SELECT nope", 47, "Unknown expression"},
		{"SELECT 1 FROM missing", 60, "missing"},
		{"SELEC 1", 62, "Syntax error"},
		{"CREATE TABLE x (a UInt8) ENGINE = Nope", 56, "Nope"},
		{"INSERT INTO missing SELECT 1", 60, "missing"},
		{"DROP DATABASE nope", 81, "nope"},
		{"SELECT 1; SELECT 2", 62, "Multi-statements"},
		{"SET max_threads = 1", 48, "session"},
		{"SELECT throwIf(number = 0) FROM numbers(1)", 395, "throwIf"},
	} {
		message := wantCode(t, conn.Exec(t.Context(), c.sql), c.code)
		if !strings.Contains(message, c.message) || strings.Contains(message, "Code:") || strings.Contains(message, "(version") {
			t.Errorf("%s: message %q, want one with %q and without code and version", c.sql, message, c.message)
		}
	}
	if got := one[uint8](t.Context(), t, conn, "SELECT 1"); got != 1 {
		t.Errorf("after the errors SELECT 1 gives %d", got)
	}
}

func TestQuery_ExceptionInTheMiddleOfAStream(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	rows, err := conn.Query(t.Context(), "SELECT number, throwIf(number = 1000000) FROM numbers(2000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		n++
	}
	wantCode(t, rows.Err(), 395)
	if n == 0 {
		t.Error("no rows came before the exception")
	}
}

func TestQuery_EmptyResultsHaveColumns(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	for query, want := range map[string][]string{
		"SELECT number AS n, toLowCardinality('x') AS l FROM numbers(0);":             {"n UInt64", "l LowCardinality(String)"},
		"WITH 1 AS one SELECT one, [tuple(one)] AS many FROM numbers(0) -- a comment": {"one UInt8", "many Array(Tuple(UInt8))"},
		"SELECT number FROM numbers(0) SETTINGS max_threads = 1":                      {"number UInt64"},
		"SHOW TABLES":                                        {"name String"},
		"SELECT {n:UInt8} AS p FROM numbers(0)":              {"p UInt8"},
		"(SELECT 1 AS a WHERE 0) UNION ALL SELECT 2 WHERE 0": {"a UInt8"},
	} {
		rows, err := conn.Query(t.Context(), query, driver.Named("n", 1))
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		var got []string
		for _, c := range rows.ColumnTypes() {
			got = append(got, c.Name()+" "+c.DatabaseTypeName())
		}
		for rows.Next() {
			t.Errorf("%s: a row", query)
		}
		if err := rows.Err(); err != nil {
			t.Errorf("%s: %v", query, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	var n uint8
	if err := conn.QueryRow(t.Context(), "SELECT 1 WHERE 0").Scan(&n); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("got %v, want %v", err, sql.ErrNoRows)
	}
}

func TestQuery_Parameters(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	const nasty = "a'b\"c\\d\n\t`{x:String};--\x00é🙂"
	if got := one[string](t.Context(), t, conn, "SELECT {s:String}", driver.Named("s", nasty)); got != nasty {
		t.Errorf("got %q, want %q", got, nasty)
	}
	pairs := driver.ArraySet{driver.GroupSet{Value: []any{"app", "user's"}}, driver.GroupSet{Value: []any{`a\b`, "c,d)"}}}
	rows, err := conn.Query(t.Context(), "SELECT p.1, p.2 FROM (SELECT arrayJoin({pairs:Array(Tuple(String, String))}) AS p)", driver.Named("pairs", pairs))
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for rows.Next() {
		var pair [2]string
		if err := rows.Scan(&pair[0], &pair[1]); err != nil {
			t.Fatal(err)
		}
		got = append(got, pair)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][2]string{{"app", "user's"}, {`a\b`, "c,d)"}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ctx := driver.Context(t.Context(), driver.WithParameters(driver.Parameters{"list": "[1,2,3]", "n": `\N`}))
	if got := one[uint64](ctx, t, conn, "SELECT arraySum({list:Array(UInt64)})"); got != 6 {
		t.Errorf("got %d, want 6", got)
	}
	if got := one[*string](ctx, t, conn, "SELECT {n:Nullable(String)}"); got != nil {
		t.Errorf("got %q, want NULL", *got)
	}
	run(t, conn, "CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s")
	if err := conn.Exec(t.Context(), "INSERT INTO t SELECT {s:String}", driver.Named("s", nasty)); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t.Context(), t, conn, "SELECT s FROM t"); got != nasty {
		t.Errorf("inserted %q, want %q", got, nasty)
	}
	err = conn.QueryRow(t.Context(), "SELECT {a:String}, {b:String}", driver.Named("a", "")).Scan(new(string), new(string))
	wantCode(t, err, 456)
}

func TestQuery_SettingsHoldForOneQuery(t *testing.T) {
	db := sandboxtest.Database(t)
	options := sandboxtest.Options(t, db)
	options.Settings = driver.Settings{"max_block_size": 1000}
	conn, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	plain := sandboxtest.ClickHouse(t)
	const show = "SELECT groupArray((name, value)) FROM (SELECT name, value FROM system.settings WHERE name IN ('max_block_size', 'async_insert', 'log_comment', 'readonly', 'materialized_views_ignore_errors') AND changed ORDER BY name)"
	settings := func(conn driver.Conn, with driver.Settings) map[string]string {
		ctx := driver.Context(t.Context(), driver.WithSettings(with))
		got := map[string]string{}
		for _, pair := range one[[][]any](ctx, t, conn, show) {
			got[pair[0].(string)] = pair[1].(string)
		}
		delete(got, "log_comment") // the front's own
		return got
	}
	if diff := cmp.Diff(map[string]string{"max_block_size": "1000", "async_insert": "0", "materialized_views_ignore_errors": "1"},
		settings(conn, driver.Settings{"async_insert": 0, "materialized_views_ignore_errors": true, "log_comment": "mine"})); diff != "" {
		t.Errorf("with settings (-want +got)\n%s", diff)
	}
	// The last is one that cannot be taken back.
	if diff := cmp.Diff(map[string]string{"readonly": "1"}, settings(plain, driver.Settings{"readonly": 1})); diff != "" {
		t.Errorf("readonly (-want +got)\n%s", diff)
	}
	for range 2 * connections { // each engine connection at least once, very likely
		if diff := cmp.Diff(map[string]string{}, settings(plain, nil)); diff != "" {
			t.Fatalf("without (-want +got)\n%s", diff)
		}
	}
	ctx := driver.Context(t.Context(), driver.WithSettings(driver.Settings{"no_such_setting": 1}))
	wantCode(t, plain.Exec(ctx, "SELECT 1"), 115)
	ctx = driver.Context(t.Context(), driver.WithSettings(driver.Settings{"max_rows_to_read": 10}))
	wantCode(t, plain.Exec(ctx, "SELECT * FROM numbers(1000)"), 158)
	run(t, plain, "SELECT * FROM numbers(1000)")
}

// connections is the size of the sandbox's pool.
const connections = 16

func TestQuery_ProfileOfAnAccount(t *testing.T) {
	options := sandboxtest.Options(t, "default")
	options.Auth.Username = t.Name()
	options.Settings = driver.Settings{"max_block_size": 1000}
	conn, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const show = "SELECT groupArray((name, value)) FROM (SELECT name, value FROM system.settings WHERE name IN ('max_block_size', 'join_use_nulls') ORDER BY name)"
	for _, nulls := range []string{"1", "0"} { // on the same connection
		sandboxtest.Start(t).SetClickHouseProfile(t.Name(), map[string]string{"join_use_nulls": nulls, "max_block_size": "7"})
		want := [][]any{{"join_use_nulls", nulls}, {"max_block_size", "1000"}}
		if diff := cmp.Diff(want, one[[][]any](t.Context(), t, conn, show)); diff != "" {
			t.Errorf("with a profile (-want +got)\n%s", diff)
		}
	}
	if got := one[string](t.Context(), t, sandboxtest.ClickHouse(t), "SELECT value FROM system.settings WHERE name = 'join_use_nulls'"); got != "0" {
		t.Errorf("another account has it, too: %s", got)
	}
}

func TestQuery_Database(t *testing.T) {
	a, b := sandboxtest.Database(t), sandboxtest.Database(t)
	db := driver.OpenDB(sandboxtest.Options(t, a))
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(t.Context()) // USE is of one connection, and a pool may take another
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	exec := func(query string) error {
		_, err := conn.ExecContext(t.Context(), query)
		return err
	}
	must := func(queries ...string) {
		t.Helper()
		for _, query := range queries {
			if err := exec(query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	}
	current := func() (database string) {
		t.Helper()
		if err := conn.QueryRowContext(t.Context(), "SELECT currentDatabase()").Scan(&database); err != nil {
			t.Fatal(err)
		}
		return database
	}
	if got := current(); got != a {
		t.Errorf("opened with %s, database is %s", a, got)
	}
	must("CREATE TABLE here (n UInt8) ENGINE = MergeTree ORDER BY n", "USE "+b)
	if got := current(); got != b {
		t.Errorf("after USE %s, database is %s", b, got)
	}
	wantCode(t, exec("SELECT * FROM here"), 60)
	must("SELECT * FROM " + a + ".here")
	wantCode(t, exec("USE nope"), 81)

	options := sandboxtest.Options(t, "nope")
	missing, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = missing.Close() }()
	wantCode(t, missing.Exec(t.Context(), "SELECT 1"), 81)
}

func TestQuery_StreamsWithBoundedMemory(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	rows, err := conn.Query(t.Context(), "SELECT number, repeat('x', 100) FROM numbers(3000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	// The first row comes while the query runs, and the 300 MB of the
	// result is not held in memory meanwhile.
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	var running, peak int64
	if err := sandboxtest.ClickHouse(t).QueryRow(t.Context(), "SELECT toInt64(count()), max(peak_memory_usage) FROM system.processes WHERE query LIKE '%repeat(''x''%' AND query NOT LIKE '%processes%'").Scan(&running, &peak); err != nil {
		t.Fatal(err)
	}
	if running != 1 || peak > 100<<20 {
		t.Errorf("%d queries, which held up to %d bytes", running, peak)
	}
	n := 1
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil || n != 3_000_000 {
		t.Errorf("got %d rows, %v", n, err)
	}
}

func TestQuery_DatabaseSQL(t *testing.T) {
	db := driver.OpenDB(sandboxtest.Options(t, sandboxtest.Database(t)))
	defer func() { _ = db.Close() }()
	ctx := t.Context()
	if _, err := db.ExecContext(ctx, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := stmt.ExecContext(ctx, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var sum uint64
	if err := db.QueryRowContext(ctx, "SELECT sum(n) FROM t WHERE n >= ?", 1).Scan(&sum); err != nil || sum != 3 {
		t.Errorf("got %d, %v, want 3", sum, err)
	}
}

func TestQuery_ServerVersion(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	v, err := conn.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	version := one[string](t.Context(), t, conn, "SELECT version()")
	if want := fmt.Sprintf("%d.%d.%d.", v.Version.Major, v.Version.Minor, v.Version.Patch); !strings.HasPrefix(version, want) {
		t.Errorf("the handshake says %s, the engine %s", want, version)
	}
	if err := conn.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}
