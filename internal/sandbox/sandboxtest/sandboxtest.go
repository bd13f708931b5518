// Package sandboxtest gives tests the real engines: one sandbox per test
// process, and in it a database and topics of the test's own. With the build tag
// kafka its Kafka is Apache Kafka.
package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/sandbox"
)

var (
	start   = sync.OnceValues(open)
	started atomic.Pointer[sandbox.Sandbox]
	names   atomic.Int64
)

// parts are those that Start starts, see Main.
var parts = sandbox.All

func open() (*sandbox.Sandbox, error) {
	s := sandbox.New(sandbox.Config{Parts: parts, Kafka: Kafka})
	if err := s.Start(context.Background()); err != nil {
		return nil, err
	}
	started.Store(s)
	return s, nil
}

// Start returns the sandbox of this test process and starts it at the first
// call. A missing engine fails the test: it never skips.
func Start(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Main runs the tests of a package and then stops the sandbox, if one was
// started: func TestMain(m *testing.M) { sandboxtest.Main(m) }. A package that
// needs but some of the parts names them.
func Main(m *testing.M, only ...sandbox.Parts) {
	if len(only) > 0 {
		parts = 0
	}
	for _, part := range only {
		parts |= part
	}
	code := m.Run()
	if s := started.Load(); s != nil {
		if err := s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the sandbox:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// name is a name that no other test of this process has.
func name(t testing.TB) string {
	short := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("t%d_%s", names.Add(1), short[:min(len(short), 60)])
}

// Database creates a ClickHouse database for this test, returns its name and
// drops it at the test's end.
func Database(t testing.TB) string {
	t.Helper()
	db := name(t)
	conn := connect(t, "default")
	if err := conn.Exec(context.Background(), "CREATE DATABASE "+db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+db+" SYNC"); err != nil {
			t.Error(err)
		}
	})
	return db
}

// ClickHouse connects to a fresh database of this test.
func ClickHouse(t testing.TB) driver.Conn {
	t.Helper()
	return connect(t, Database(t))
}

// Options are those of a clickhouse-go connection to the database.
func Options(t testing.TB, database string) *clickhouse.Options {
	t.Helper()
	return &clickhouse.Options{
		Addr: []string{Start(t).ClickHouseAddr()},
		Auth: clickhouse.Auth{Database: database},
	}
}

func connect(t testing.TB, database string) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(Options(t, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Topic creates a Kafka topic for this test and returns its name. Settings
// such as cleanup.policy come as name and value in turn; records carry the
// broker's time unless they say otherwise.
func Topic(t testing.TB, partitions int, settings ...string) string {
	t.Helper()
	topic := sandbox.Topic{Name: name(t), Partitions: partitions, Config: map[string]string{"message.timestamp.type": "LogAppendTime"}}
	for i := 0; i+1 < len(settings); i += 2 {
		topic.Config[settings[i]] = settings[i+1]
	}
	if err := Start(t).CreateTopics(context.Background(), topic); err != nil {
		t.Fatal(err)
	}
	return topic.Name
}

// NATS connects to the NATS server.
func NATS(t testing.TB) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(Start(t).NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}
