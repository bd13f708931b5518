package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// result is what a run of the command left.
type result struct {
	stdout, stderr string
	err            error
}

// chatload runs the command against the sandbox.
func chatload(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), args, sandboxEnv(t), strings.NewReader(stdin), &stdout, &stderr)
	return result{stdout.String(), stderr.String(), err}
}

func sandboxEnv(t *testing.T) func(string) string {
	s := sandboxtest.Start(t)
	return func(name string) string {
		return map[string]string{"CONVOVIEW_KAFKA_BROKERS": s.KafkaAddr(), "CONVOVIEW_NATS_URL": s.NATSURL()}[name]
	}
}

func noEnv(string) string { return "" }

// mustRun runs the command and fails the test on an error.
func mustRun(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	r := chatload(t, stdin, args...)
	if r.err != nil {
		t.Fatalf("chatload %q: %v\n%s", args, r.err, r.stderr)
	}
	return r
}

// readTopic gives all records of a topic, partition by partition.
func readTopic(t *testing.T, broker, topic string) []kafka.Message {
	t.Helper()
	conn, err := kafka.DialContext(t.Context(), "tcp", broker)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	partitions, err := conn.ReadPartitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	var list []kafka.Message
	for _, p := range partitions {
		list = append(list, readPartition(t, broker, p)...)
	}
	return list
}

func readPartition(t *testing.T, broker string, p kafka.Partition) []kafka.Message {
	t.Helper()
	conn, err := kafka.DialPartition(t.Context(), "tcp", broker, p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	end, err := conn.ReadLastOffset()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var list []kafka.Message
	for int64(len(list)) < end {
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 8 << 20, MaxWait: time.Second})
		for {
			m, err := batch.ReadMessage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		if err := batch.Close(); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	return list
}

// decode reads a record as the projector does.
func decode(t *testing.T, m kafka.Message) events.Event {
	t.Helper()
	r := events.Record{Value: m.Value, Timestamp: events.EndOfTime}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	e, err := events.NewDecoder(events.DefaultLimits()).Decode(r)
	if err != nil {
		t.Fatalf("%v: %q", err, m.Value)
	}
	return e
}

func contentType(m kafka.Message) string {
	for _, h := range m.Headers {
		if h.Key == events.HeaderContentType {
			return string(h.Value)
		}
	}
	return ""
}

func TestRun_Help(t *testing.T) {
	for _, cmd := range (&console{}).commands().All {
		var stdout bytes.Buffer
		err := run(t.Context(), []string{cmd.Name, "--help"}, noEnv, nil, &stdout, io.Discard)
		if !errors.Is(err, flag.ErrHelp) || !strings.Contains(stdout.String(), "chatload "+cmd.Name) || strings.Count(stdout.String(), "chatload "+cmd.Name) < 2 {
			t.Errorf("%s: %v; want a usage and an example:\n%s", cmd.Name, err, stdout.String())
		}
		for _, name := range switches {
			if at := strings.Index(stdout.String(), "\n  --"+name+" "); at >= 0 {
				t.Errorf("%s --%s takes a value", cmd.Name, name)
			}
		}
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, noEnv, nil, &stdout, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, cmd := range (&console{}).commands().All {
		if !strings.Contains(stdout.String(), cmd.Name+" ") {
			t.Errorf("%s is not in the help", cmd.Name)
		}
	}
}

func TestRun_Refuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                     `command "": expected one of demo, up, import`,
		"nope":                                 `command "nope": expected one of demo, up, import`,
		"import":                               "expected FILE",
		"import a b":                           `unexpected argument "b"`,
		"import nofile":                        "nofile: no such file",
		"import a --limit -1":                  "limit -1: expected 0 or more",
		"import a --duplicate 1.5":             "duplicate 1.5: expected 0 to 1",
		"import a --duplicate x":               "expected a number from 0 to 1e9",
		"import a --encoding xml":              "expected json, protobuf, mixed",
		"import a --shuffle -3":                "expected a whole number from 0 on",
		"import a --topic-wait -1s":            "topic wait -1s: expected 0 or more",
		"generate x":                           `unexpected argument "x"`,
		"generate --events -1":                 "events -1: expected 0 or more",
		"generate --rate -1":                   "expected a number from 0 to 1e9",
		"generate --app a.b":                   `app "a.b": expected distinct names of 1 to 64`,
		"generate --people 1":                  "people 1: expected 2 to",
		"generate --start yesterday":           "expected a time such as",
		"generate --start 2199-01-01":          "start 2199-01-01T00:00:00Z: expected a time that is not in the future",
		"generate --start 2026-01-01 --rate 1": "start 2026-01-01T00:00:00Z: expected none with --rate",
		"generate --topic-wait -1s":            "topic wait -1s: expected 0 or more",
		"generate --chat-rate 0":               "chat rate 0: expected a positive number",
		"demo --duration 0s --rate 0":          "duration 0s: expected more than 0\nrate 0: expected more than 0",
		"demo --events 0":                      "events 0: expected at least 1",
		"list":                                 "expected USER (chatload list --help)",
		"list ann bob":                         `unexpected argument "bob" (chatload list --help)`,
		"list ann --ids [1]":                   `invalid value "[1]" for flag -ids: expected a,b or a JSON array of texts`,
		"list ann --nats-inbox-prefix in..box": `nats inbox prefix "in..box": expected tokens of a subject`,
		"list ann --nats-inbox-prefix a.*":     `nats inbox prefix "a.*": expected tokens of a subject`,
		"list ann --app a.b":                   `app "a.b": expected 1 to 64 of`,
		"unread":                               "expected USER",
	} {
		err := run(t.Context(), strings.Fields(args), noEnv, strings.NewReader(""), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("chatload %s: got %v, want an error with %q", args, err, want)
		}
	}
}

func TestSplitOperands(t *testing.T) {
	for _, c := range []struct{ args, given, rest string }{
		{"-", "-", ""},
		{"file --limit 3", "file", "--limit=3"},
		{"--limit 3 file", "file", "--limit=3"},
		{"--json ann --limit=3", "ann", "--json --limit=3"},
		{"-has-unread ann", "ann", "--has-unread"},
		{"--has-unread=false ann", "ann", "--has-unread=false"},
		{"--app demo -- -ann --bob", "-ann --bob", "--app=demo"},
		{"f --brokers a:1,b:2", "f", "--kafka-brokers=a:1,b:2"},
		{"f --ids=", "f", "--ids="},
		{"f --limit", "f", "--limit"},
	} {
		given, rest := splitOperands(strings.Fields(c.args))
		if strings.Join(given, " ") != c.given || strings.Join(rest, " ") != c.rest {
			t.Errorf("%s: operands %q, flags %q", c.args, given, rest)
		}
	}
}
