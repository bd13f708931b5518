package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// durable are the settings that the project pins on every insert.
var durable = driver.Settings{"async_insert": 0, "materialized_views_ignore_errors": 0, "insert_deduplicate": 0}

// send inserts rows through a batch.
func send(ctx context.Context, conn driver.Conn, sql string, rows ...[]any) error {
	batch, err := conn.PrepareBatch(ctx, sql)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer func() { _ = batch.Close() }()
	for _, row := range rows {
		if err := batch.Append(row...); err != nil {
			return err
		}
	}
	return batch.Send()
}

func TestInsert_ColumnsAndDefaults(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (a UInt64, `b c` String DEFAULT 'd', m UInt64 MATERIALIZED a + 1, l UInt64 ALIAS a + 2, e UInt8 EPHEMERAL) ENGINE = MergeTree ORDER BY a")
	for sql, row := range map[string][]any{
		"INSERT INTO t":                               {uint64(1), "all"},
		"INSERT INTO t (a)":                           {uint64(2)},
		"INSERT INTO t (`b c`, a) VALUES":             {"swapped", uint64(3)},
		"INSERT INTO t (a, e)":                        {uint64(4), uint8(1)},
		"INSERT INTO " + database(t, conn) + ".t (a)": {uint64(5)},
	} {
		if err := send(t.Context(), conn, sql, row); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	got := one[[]string](t.Context(), t, conn, "SELECT groupArray(toString((a, `b c`, m))) FROM (SELECT a, `b c`, m FROM t ORDER BY a)")
	want := []string{"(1,'all',2)", "(2,'d',3)", "(3,'swapped',4)", "(4,'d',5)", "(5,'d',6)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantCode(t, send(t.Context(), conn, "INSERT INTO t (nope)"), 16)
	wantCode(t, send(t.Context(), conn, "INSERT INTO nope"), 60)
}

func database(t *testing.T, conn driver.Conn) string {
	return one[string](t.Context(), t, conn, "SELECT currentDatabase()")
}

func TestInsert_BinaryAndSemicolons(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	values := []string{";", "';DROP TABLE t;--", string(all), strings.Repeat(string(all), 10_000), ""}
	var rows [][]any
	for i, v := range values {
		rows = append(rows, []any{uint32(i), v})
	}
	if err := send(t.Context(), conn, "INSERT INTO t", rows...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values, one[[]string](t.Context(), t, conn, "SELECT groupArray(s) FROM (SELECT s FROM t ORDER BY n)")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	run(t, conn,
		"INSERT INTO t VALUES (10, 'a;b'), (11, concat('c', ';'))",
		"INSERT INTO t (n, s) FORMAT JSONEachRow {\"n\":12,\"s\":\"x;y\"}\n{\"n\":13,\"s\":\"z;\"}",
		"INSERT INTO t SETTINGS async_insert = 0 FORMAT TSV\n14\t;\n")
	if diff := cmp.Diff([]string{"a;b", "c;", "x;y", "z;", ";"}, one[[]string](t.Context(), t, conn, "SELECT groupArray(s) FROM (SELECT s FROM t WHERE n >= 10 ORDER BY n)")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInsert_OneBatchIsOnePart(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = batch.Close() }()
	for i := range 3 {
		for j := range 1000 {
			if err := batch.Append(uint64(i*1000 + j)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	if got := one[uint64](t.Context(), t, conn, "SELECT count() * uniq(_part) FROM t"); got != 3000 {
		t.Errorf("rows × parts = %d, want 3000", got)
	}
}

func TestInsert_NullTableFeedsViews(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn,
		"CREATE TABLE source (day Date, sequences Array(UInt64)) ENGINE = Null",
		"CREATE TABLE sets (day Date, counted AggregateFunction(groupBitmap, UInt64), greatest SimpleAggregateFunction(max, UInt64)) ENGINE = AggregatingMergeTree ORDER BY day",
		"CREATE MATERIALIZED VIEW v TO sets AS SELECT day, bitmapBuild(sequences) AS counted, arrayMax(sequences) AS greatest FROM source",
		"CREATE TABLE strict (n UInt8) ENGINE = MergeTree ORDER BY n",
		"CREATE MATERIALIZED VIEW w TO strict AS SELECT toUInt8(throwIf(has(sequences, 13), 'unlucky')) AS n FROM source")
	ctx := driver.Context(t.Context(), driver.WithSettings(durable))
	for _, sequences := range [][]uint64{{1, 2, 9}, {2, 1 << 40}} {
		if err := send(ctx, conn, "INSERT INTO source (day, sequences)", []any{"2026-11-23", sequences}); err != nil {
			t.Fatal(err)
		}
	}
	if got := one[uint64](ctx, t, conn, "SELECT bitmapCardinality(groupBitmapMergeState(counted)) FROM sets"); got != 4 {
		t.Errorf("the set has %d sequences, want 4", got)
	}
	if got := one[uint64](ctx, t, conn, "SELECT max(greatest) FROM sets"); got != 1<<40 {
		t.Errorf("greatest is %d", got)
	}
	message := wantCode(t, send(ctx, conn, "INSERT INTO source (day, sequences)", []any{"2026-11-23", []uint64{13}}), 395)
	if !strings.Contains(message, "unlucky") {
		t.Errorf("message %q does not tell why", message)
	}
	ignoring := driver.Context(t.Context(), driver.WithSettings(driver.Settings{"async_insert": 0, "materialized_views_ignore_errors": 1}))
	if err := send(ignoring, conn, "INSERT INTO source (day, sequences)", []any{"2026-11-23", []uint64{13}}); err != nil {
		t.Errorf("with materialized_views_ignore_errors: %v", err)
	}
	// A column of states cannot be read, and that is said.
	wantCode(t, conn.QueryRow(ctx, "SELECT counted FROM sets").Scan(new(string)), 48)
}

func TestInsert_Async(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	ctx := driver.Context(t.Context(), driver.WithSettings(driver.Settings{"async_insert": 1, "wait_for_async_insert": 1}))
	if err := send(ctx, conn, "INSERT INTO t", []any{uint64(1)}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(ctx, "INSERT INTO t VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	if got := one[uint64](t.Context(), t, conn, "SELECT sum(n) FROM t"); got != 3 {
		t.Errorf("sum %d, want 3", got)
	}
}

func TestInsert_NothingSent(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
	if err := send(t.Context(), conn, "INSERT INTO t"); err != nil {
		t.Fatal(err)
	}
	if got := one[uint64](t.Context(), t, conn, "SELECT count() FROM t"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

// A batch that waits for its rows holds no connection of the engine.
func TestInsert_OpenBatchesBlockNobody(t *testing.T) {
	options := sandboxtest.Options(t, sandboxtest.Database(t))
	options.MaxOpenConns = 2*connections + 1
	conn, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	for range 2 * connections {
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = batch.Close() }()
	}
	if got := one[uint64](t.Context(), t, conn, "SELECT count() FROM t"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

// cut is a connection that breaks after so many bytes written.
type cut struct {
	net.Conn
	after int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.after -= len(p); c.after < 0 {
		_ = c.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

// A client that vanishes while it sends leaves no rows, and its connection of
// the engine serves others.
func TestInsert_ClientVanishes(t *testing.T) {
	db := sandboxtest.Database(t)
	good, err := driver.Open(sandboxtest.Options(t, db))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = good.Close() }()
	run(t, good, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	for range 2 * connections {
		options := sandboxtest.Options(t, db)
		options.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			return &cut{conn, 20_000}, err
		}
		conn, err := driver.Open(options)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			for n := range 1000 {
				if err = batch.Append(uint64(n)); err != nil {
					break
				}
			}
			if err == nil {
				err = batch.Flush()
			}
		}
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if got := one[uint64](t.Context(), t, good, "SELECT count() FROM t"); got != 0 {
		t.Errorf("%d rows of inserts that never ended", got)
	}
}
