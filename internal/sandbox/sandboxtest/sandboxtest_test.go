package sandboxtest_test

import (
	"fmt"
	"testing"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestClickHouse(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	ctx := t.Context()
	if err := conn.Exec(ctx, "CREATE TABLE t (id UInt64, name LowCardinality(String), tags Array(String)) ENGINE = MergeTree ORDER BY id"); err != nil {
		t.Fatal(err)
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO t (id, name, tags)")
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Close()
	for i := range 10 {
		if err := batch.Append(uint64(i), fmt.Sprint("n;", i%3), []string{"a", "\x00"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var n, sum uint64
	if err := conn.QueryRow(ctx, "SELECT count(), sum(id) FROM t").Scan(&n, &sum); err != nil {
		t.Fatal(err)
	}
	if n != 10 || sum != 45 {
		t.Fatal(n, sum)
	}
	rows, err := conn.Query(ctx, "SELECT * FROM t WHERE id > 100")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		t.Error("row")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(ctx, "SELECT nope FROM t").Scan(&n); err == nil {
		t.Fatal("no error")
	} else {
		t.Log(err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Fatal(err)
	}
}
