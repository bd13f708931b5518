package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// running counts the engine's queries with the marker in their text.
func running(t *testing.T, conn driver.Conn, marker string) uint64 {
	t.Helper()
	return one[uint64](context.Background(), t, conn,
		fmt.Sprintf("SELECT count() FROM system.processes WHERE query LIKE '%%%s%%' AND query NOT LIKE '%%system.processes%%'", marker))
}

// await polls the engine until n queries with the marker run.
func await(t *testing.T, conn driver.Conn, marker string, n uint64) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for running(t, conn, marker) != n {
		if deadline.Err() != nil {
			t.Fatalf("%d queries with %q, want %d", running(t, conn, marker), marker, n)
		}
	}
}

// Each of these would run for minutes.
var endless = map[string]string{
	"before the first block": "SELECT sum(sipHash64(number)) AS %s FROM numbers(1000000000000)",
	"while sorting":          "SELECT number AS %s FROM numbers(1000000000000) ORDER BY sipHash64(number) LIMIT 1 SETTINGS max_bytes_before_external_sort = 0",
	"while sleeping":         "SELECT sum(sleepEachRow(1)) AS %s FROM numbers(1000) SETTINGS function_sleep_max_microseconds_per_block = 1000000000, max_block_size = 1000",
	"insert select":          "INSERT INTO FUNCTION null('n UInt64') SELECT sipHash64(number) AS %s FROM numbers(1000000000000)",
	"ddl":                    "CREATE TABLE %s ENGINE = Memory AS SELECT max(sipHash64(number)) AS n FROM numbers(1000000000000)",
}

func TestCancel_StopsTheQueryInTheEngine(t *testing.T) {
	conn, observer := sandboxtest.ClickHouse(t), sandboxtest.ClickHouse(t)
	i := 0
	for name, query := range endless {
		i++
		marker := fmt.Sprintf("cancelled_%d", i)
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- conn.Exec(ctx, fmt.Sprintf(query, marker)) }()
			await(t, observer, marker, 1)
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			await(t, observer, marker, 0)
			run(t, conn, "SELECT 1")
		})
	}
}

func TestCancel_InTheMiddleOfAStream(t *testing.T) {
	conn, observer := sandboxtest.ClickHouse(t), sandboxtest.ClickHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO t VALUES (1)")
	rows, err := conn.Query(ctx, "SELECT number AS streamed FROM numbers(1000000000000) AS endless CROSS JOIN t")
	if err != nil {
		t.Fatal(err)
	}
	for range 100_000 {
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
	}
	await(t, observer, "streamed", 1)
	cancel()
	for rows.Next() {
	}
	if err := rows.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	await(t, observer, "streamed", 0)
	run(t, conn, "DROP TABLE t SYNC") // waits until nobody uses it
}

func TestCancel_Deadline(t *testing.T) {
	conn, observer := sandboxtest.ClickHouse(t), sandboxtest.ClickHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := conn.Exec(ctx, fmt.Sprintf(endless["before the first block"], "late"))
	// clickhouse-go sets the deadline on the socket, too.
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	await(t, observer, "late", 0)
	ctx = driver.Context(t.Context(), driver.WithSettings(driver.Settings{"max_execution_time": 0.1}))
	wantCode(t, conn.Exec(ctx, fmt.Sprintf(endless["before the first block"], "limited")), 159)
}

func TestCancel_WhileAllConnectionsAreBusy(t *testing.T) {
	db := sandboxtest.Database(t)
	options := sandboxtest.Options(t, db)
	options.MaxOpenConns = 4 * connections
	conn, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 2 * connections {
		group.Go(func() { _ = conn.Exec(ctx, fmt.Sprintf(endless["while sleeping"], "crowd")) })
	}
	// As soon as all are busy, one that waits in the line can give up at once.
	for {
		waiting, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		err := conn.Exec(waiting, "SELECT 1")
		stop()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) { // the connection's may come first
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	group.Wait()
	await(t, sandboxtest.ClickHouse(t), "crowd", 0)
}

// Two queries overlap: each waits until it sees the other run.
func TestConcurrency_QueriesAndInserts(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	observer := sandboxtest.ClickHouse(t)
	run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { _ = conn.Exec(ctx, fmt.Sprintf(endless["while sleeping"], "side_by_side")) })
	}
	group.Go(func() {
		_ = conn.Exec(ctx, "INSERT INTO t SELECT sum(sleepEachRow(1)) AS side_by_side FROM numbers(1000) SETTINGS function_sleep_max_microseconds_per_block = 1000000000, max_block_size = 1000")
	})
	await(t, observer, "side_by_side", 4)
	// And meanwhile others get their turn.
	if err := send(t.Context(), conn, "INSERT INTO t", []any{uint64(1)}); err != nil {
		t.Fatal(err)
	}
	if got := one[uint64](t.Context(), t, conn, "SELECT count() FROM t"); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
	cancel()
	group.Wait()
	await(t, observer, "side_by_side", 0)
}

// A table can be dropped at once after queries on it failed or were cancelled:
// DROP … SYNC waits for ever where a connection of the engine holds on to it.
func TestCancel_HoldsNoTable(t *testing.T) {
	conn, observer := sandboxtest.ClickHouse(t), sandboxtest.ClickHouse(t)
	for i, query := range []string{
		"SELECT number AS %s, throwIf(number = 1000000) FROM numbers(2000000) AS many CROSS JOIN t",
		"INSERT INTO t SELECT throwIf(number = 1000000) AS %s FROM numbers(2000000) AS many CROSS JOIN t",
		"INSERT INTO t SELECT sum(sipHash64(number)) AS %s FROM numbers(1000000000000) AS many CROSS JOIN t",
		"SELECT sum(sipHash64(number)) AS %s FROM numbers(1000000000000) AS many CROSS JOIN t",
		"CREATE TABLE %s ENGINE = Memory AS SELECT sum(sipHash64(number)) AS n FROM numbers(1000000000000) AS many CROSS JOIN t",
		"INSERT INTO t FORMAT JSONEachRow {\"n\":\"%s\"}",
	} {
		marker := fmt.Sprintf("holder_%d", i)
		run(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO t VALUES (1)")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- conn.Exec(ctx, fmt.Sprintf(query, marker)) }()
		if strings.Contains(query, "1000000000000") {
			await(t, observer, marker, 1)
			cancel()
		}
		if err := <-ended; err == nil {
			t.Errorf("%s succeeded", query)
		}
		cancel()
		run(t, conn, "DROP TABLE t SYNC")
	}
}
