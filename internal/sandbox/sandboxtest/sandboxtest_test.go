package sandboxtest_test

import (
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestDatabase_IsTheTestsOwn(t *testing.T) {
	var first string
	t.Run("first", func(t *testing.T) {
		first = sandboxtest.Database(t)
		if second := sandboxtest.Database(t); second == first {
			t.Errorf("two databases with the name %s", first)
		}
	})
	var n uint64
	if err := sandboxtest.ClickHouse(t).QueryRow(t.Context(), "SELECT count() FROM system.databases WHERE name = {name:String}", clickhouse.Named("name", first)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("%s is still there after its test", first)
	}
}

func TestStart_IsShared(t *testing.T) {
	if a, b := sandboxtest.Start(t), sandboxtest.Start(t); a != b {
		t.Error("two sandboxes in one process")
	}
	if a, b := sandboxtest.Topic(t, 1), sandboxtest.Topic(t, 1); a == b {
		t.Errorf("two topics with the name %s", a)
	}
}
