package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/lifecycle"
	chengine "github.com/convoview/convoview/internal/sandbox/clickhouse"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// asMain makes the test binary the command itself.
const asMain = "SANDBOX_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is the command in a process of its own.
type process struct {
	*exec.Cmd
	kafka, nats, clickhouse, http string
	stderr                        *strings.Builder
}

func command(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...), stderr: &strings.Builder{}}
	p.Env = append(append(os.Environ(), asMain+"=1"), env...)
	p.Stderr = p.stderr
	return p
}

// start runs the command on free ports and waits until it is ready.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := command(t, env, append([]string{"--kafka-port=0", "--nats-port=0", "--clickhouse-port=0", "--http-port=0"}, args...)...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		value = strings.TrimSpace(value)
		switch name {
		case "Kafka":
			p.kafka = value
		case "NATS":
			p.nats = value
		case "ClickHouse":
			p.clickhouse = value
		case "HTTP":
			p.http = value
		case "ready":
			return p
		}
	}
	t.Fatalf("it never became ready: %v\n%s", p.Wait(), p.stderr)
	return nil
}

// stop sends a signal and returns how the process ended.
func (p *process) stop(t *testing.T, sig os.Signal) error {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return p.Wait()
}

// sql connects to the process's ClickHouse.
func (p *process) sql(t *testing.T) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{p.clickhouse}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func statements(t *testing.T, conn driver.Conn, list ...string) {
	t.Helper()
	for _, sql := range list {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// commit produces a message to each partition and commits what comes after
// them for a group.
func (p *process) commit(t *testing.T, group string, value string) {
	t.Helper()
	writer := &kafka.Writer{Addr: kafka.TCP(p.kafka), Topic: "chat.messages", Balancer: &kafka.RoundRobin{}, RequiredAcks: kafka.RequireAll, BatchSize: 1}
	defer func() { _ = writer.Close() }()
	for range 4 {
		if err := writer.WriteMessages(t.Context(), kafka.Message{Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{p.kafka}, Topics: []string{"chat.messages"}, JoinGroupBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = members.Close() }()
	gen := next(t, members)
	offsets := map[int]int64{}
	for _, a := range gen.Assignments["chat.messages"] {
		offsets[a.ID] = max(a.Offset, 0) + 1
	}
	if err := gen.CommitOffsets(map[string]map[int]int64{"chat.messages": offsets}); err != nil {
		t.Fatal(err)
	}
}

// next joins the group; the first attempts find no coordinator.
func next(t *testing.T, members *kafka.ConsumerGroup) *kafka.Generation {
	t.Helper()
	for {
		gen, err := members.Next(t.Context())
		if err == nil {
			return gen
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// state is all that should outlive the process.
func (p *process) state(t *testing.T, group string) map[string]string {
	t.Helper()
	ctx := t.Context()
	client := &kafka.Client{Addr: kafka.TCP(p.kafka)}
	got := map[string]string{}
	var offsets *kafka.OffsetFetchResponse
	for offsets == nil || offsets.Error != nil { // while the group's coordinator reads what there was
		var err error
		offsets, err = client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{"chat.messages": {0, 1, 2, 3}}})
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
	}
	for _, o := range offsets.Topics["chat.messages"] {
		conn, err := kafka.DialLeader(ctx, "tcp", p.kafka, "chat.messages", o.Partition)
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		batch := conn.ReadBatch(1, 1<<20)
		for next := int64(0); next < batch.HighWaterMark(); {
			m, err := batch.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, string(m.Value))
			next = m.Offset + 1
		}
		_ = batch.Close()
		_ = conn.Close()
		got[fmt.Sprintf("partition %d", o.Partition)] = fmt.Sprint(o.CommittedOffset, values)
	}
	topics, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics.Topics {
		if !topic.Internal {
			got["topic "+topic.Name] = fmt.Sprint(len(topic.Partitions))
		}
	}
	var tables string
	if err := p.sql(t).QueryRow(ctx, "SELECT toString(groupArray((n, s))) FROM (SELECT n, s FROM kept.t ORDER BY n)").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	got["table"] = tables
	return got
}

func TestSandbox_DataOutlivesTheProcess(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	env := []string{"CONVOVIEW_KAFKA=" + sandboxtest.Kafka}
	p := start(t, env, "--data="+data)
	statements(t, p.sql(t), "CREATE DATABASE kept",
		"CREATE TABLE kept.source (n UInt64) ENGINE = Null",
		"CREATE TABLE kept.t (n UInt64, s LowCardinality(String)) ENGINE = ReplacingMergeTree ORDER BY n",
		"CREATE MATERIALIZED VIEW kept.v TO kept.t AS SELECT n, 'view' AS s FROM kept.source",
		"INSERT INTO kept.source VALUES (1)")
	p.commit(t, "readers", "a")
	want := map[string]string{
		"topic chat.messages": "4", "topic chat.state": "4", "topic chat.dead": "4",
		"partition 0": "1 [a]", "partition 1": "1 [a]", "partition 2": "1 [a]", "partition 3": "1 [a]",
		"table": "[(1,'view')]",
	}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(want, p.state(t, "readers")); diff != "" {
			t.Fatalf("%s (-want +got)\n%s", when, diff)
		}
	}
	check("before")
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, p.stderr)
	}
	p = start(t, env, "--data="+data, "--partitions=8") // of new topics
	check("after SIGTERM")

	// Whatever was acknowledged survives kill -9.
	statements(t, p.sql(t), "INSERT INTO kept.source VALUES (2)")
	p.commit(t, "readers", "b")
	if err := p.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it survived SIGKILL")
	}
	for i := range 4 {
		want[fmt.Sprintf("partition %d", i)] = "2 [a b]"
	}
	want["table"] = "[(1,'view'),(2,'view')]"
	p = start(t, env, "--data="+data)
	check("after SIGKILL")

	other := command(t, nil, "--data="+data, "--kafka-port=0", "--nats-port=0", "--clickhouse-port=0", "--http-port=0")
	if err := other.Run(); err == nil || !strings.Contains(other.stderr.String(), "another process") {
		t.Errorf("a second process on the same data: %v\n%s", err, other.stderr)
	}
	if err := p.stop(t, syscall.SIGINT); err != nil {
		t.Errorf("SIGINT: %v\n%s", err, p.stderr)
	}
}

func TestSandbox_InMemoryLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	p := start(t, []string{"TMPDIR=" + tmp, "CONVOVIEW_PARTITIONS=2"})
	conn, err := nats.Connect(p.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.MaxPayload() < 1<<20 {
		t.Errorf("NATS takes %d bytes, want at least 1 MB", conn.MaxPayload())
	}
	topics, err := (&kafka.Client{Addr: kafka.TCP(p.kafka)}).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"chat.dead"}})
	if err != nil || len(topics.Topics[0].Partitions) != 2 {
		t.Errorf("chat.dead: %+v, %v, want 2 partitions", topics, err)
	}
	// Also with a query under way.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	sql := p.sql(t)
	go func() { ended <- sql.Exec(ctx, "SELECT sum(sipHash64(number)) AS busy FROM numbers(1000000000000)") }()
	for running := uint64(0); running == 0; {
		if err := sql.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '% busy %' AND query NOT LIKE '%processes%'").Scan(&running); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.stderr)
	}
	if err := <-ended; err == nil {
		t.Error("the query ended well")
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What a killed process left is removed by a later one, what a running one
// uses is not.
func TestSandbox_SweepsTemporaryDirectories(t *testing.T) {
	tmp := t.TempDir()
	env := []string{"TMPDIR=" + tmp}
	temporary := func() []string {
		found, err := filepath.Glob(filepath.Join(tmp, "*", "lock"))
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range found {
			if err := os.Chtimes(status, time.Time{}, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	killed := start(t, env)
	_ = killed.stop(t, syscall.SIGKILL)
	if left := temporary(); len(left) != 1 {
		t.Fatalf("after SIGKILL: %v", left)
	}
	running := start(t, env)
	kept := temporary()
	other := start(t, env)
	if got := temporary(); len(kept) != 1 || len(got) != 2 {
		t.Errorf("one runs: %v, two run: %v", kept, got)
	}
	for _, p := range []*process{running, other} {
		if err := p.stop(t, syscall.SIGTERM); err != nil {
			t.Errorf("%v\n%s", err, p.stderr)
		}
	}
}

func TestSandbox_MissingLibrary(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libchdb.so")
	p := command(t, []string{chengine.LibraryEnv + "=" + missing}, "--kafka-port=0", "--nats-port=0", "--clickhouse-port=0", "--http-port=0")
	err := p.Run()
	code := (*exec.ExitError)(nil)
	if text := p.stderr.String(); !errors.As(err, &code) || code.ExitCode() != 1 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "npm ci") {
		t.Errorf("%v: %q, want one line that names the command", err, text)
	}
}

func TestRun_Configuration(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string // of the error; "": it was checked, and is valid
	}{
		{args: []string{"--check"}},
		{args: []string{"--check"}, env: map[string]string{"CONVOVIEW_KAFKA_PORT": "0", "CONVOVIEW_DATA": "x"}},
		{args: []string{"--check", "--http-port=1"}, env: map[string]string{"CONVOVIEW_HTTP_PORT": "70000"}},
		{args: []string{"--check"}, env: map[string]string{"CONVOVIEW_HTTP_PORT": "70000"}, want: "HTTP port 70000"},
		{args: []string{"--check"}, env: map[string]string{"CONVOVIEW_PARTITIONS": "many"}, want: `"many"`},
		{args: []string{"--check", "--partitions=0", "--broker-count=3"}, want: "expected 1\npartitions 0: expected at least 1"},
		{args: []string{"--check", "--kafka-port=4222"}, want: "Kafka has it"},
		{args: []string{"--check", "--kafka=apache", "--broker-count=3"}},
		{args: []string{"--check", "--broker-count=3"}, want: "3 brokers of the embedded Kafka"},
		{args: []string{"--check", "extra"}, want: `"extra"`},
		{args: []string{"--nope"}, want: "nope"},
	} {
		var out strings.Builder
		err := run(t.Context(), c.args, func(name string) string { return c.env[name] }, &out)
		if errors.Is(err, lifecycle.ErrChecked) != (c.want == "") || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: got %v, want %q", c.args, c.env, err, c.want)
		}
	}
	p := command(t, nil, "--help")
	out, err := p.Output()
	if err != nil || !strings.Contains(string(out), "CONVOVIEW_DATA") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}
