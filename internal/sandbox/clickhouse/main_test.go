package clickhouse_test

import (
	"context"
	"errors"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// run runs statements that must succeed.
func run(t *testing.T, conn driver.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// one returns the only value of a query.
func one[T any](ctx context.Context, t *testing.T, conn driver.Conn, sql string, args ...any) (value T) {
	t.Helper()
	if err := conn.QueryRow(ctx, sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// wantCode fails unless err is the engine's exception of that number, and
// returns its message.
func wantCode(t *testing.T, err error, code int32) (message string) {
	t.Helper()
	e := (*driver.Exception)(nil)
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got error %v, want exception %d", err, code)
	}
	return e.Message
}
