package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestGenerate_FileIsWhatImportReads(t *testing.T) {
	dir := t.TempDir()
	args := []string{"generate", "--events", "3000", "--start", "2026-01-05", "--seed", "3", "--people", "60", "--app", "demo,other", "--out"}
	plain, zipped := filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl.gz")
	mustRun(t, "", append(args, plain)...)
	mustRun(t, "", append(args, zipped)...)
	r := mustRun(t, "", append(args, "-")...)

	want, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) || r.stdout != string(want) {
		t.Error("the same flags give different files")
	}
	if !strings.Contains(r.stderr, "generated 3,000 events") {
		t.Error(r.stderr)
	}

	decoder := events.NewDecoder(events.DefaultLimits())
	n := 0
	for rec, err := range readLines(bytes.NewReader(want), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := decoder.Decode(events.Record{Value: rec.value, Timestamp: events.EndOfTime})
		if err != nil {
			t.Fatal(err)
		}
		if rec.topic != events.Topic(e.Body) || string(rec.key) != events.Key(e) {
			t.Fatalf("%s goes to %s under %s", e.ID, rec.topic, rec.key)
		}
		n++
	}
	if n != 3000 {
		t.Errorf("%d events", n)
	}
}

// A file has the same events in every encoding, in the same places.
func TestGenerate_FileInEveryEncoding(t *testing.T) {
	read := func(encoding string) (list []events.Event, keys []string, protobufs int) {
		r := mustRun(t, "", "generate", "--events", "2000", "--start", "2026-01-05", "--out", "-", "--encoding", encoding)
		for rec, err := range readLines(strings.NewReader(r.stdout), 0) {
			if err != nil {
				t.Fatal(err)
			}
			e, err := rec.event()
			if err != nil {
				t.Fatal(err)
			}
			if rec.protobuf {
				protobufs++
			}
			list, keys = append(list, e), append(keys, rec.topic+string(rec.key))
		}
		return list, keys, protobufs
	}
	want, wantKeys, none := read(encodingJSON)
	if len(want) != 2000 || none != 0 {
		t.Fatalf("%d events, %d in Protobuf", len(want), none)
	}
	for encoding, most := range map[string][2]int{encodingProtobuf: {2000, 2000}, encodingMixed: {800, 1200}} {
		got, keys, protobufs := read(encoding)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-json +%s):\n%s", encoding, encoding, diff)
		}
		if diff := cmp.Diff(wantKeys, keys); diff != "" {
			t.Errorf("%s: topics and keys (-json +%s):\n%s", encoding, encoding, diff)
		}
		if protobufs < most[0] || protobufs > most[1] {
			t.Errorf("%s: %d of %d in Protobuf", encoding, protobufs, len(got))
		}
	}
}

// All topics of the contract exist in the sandbox of this process for this test alone.
func TestGenerate_IntoKafka(t *testing.T) {
	config := generateConfig{chat: generate.DefaultConfig(), count: 2000, encoding: encodingFlag(), chatRate: 1, kafka: kafkaAt(sandboxtest.Start(t).KafkaAddr())}
	if err := config.encoding.Set(encodingMixed); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := config.complete(now); err != nil {
		t.Fatal(err)
	}
	topic := sandboxtest.Topic(t, 3)
	p := (&console{stderr: lifecycle.NewScreen(io.Discard)}).newProgress("generate", 0)
	to := &retopic{newKafkaSink(t.Context(), config.kafka, t.Logf, p.written), topic}
	if err := to.close(generateEvents(t.Context(), config, to)); err != nil {
		t.Fatal(err)
	}
	p.close()
	if !strings.HasPrefix(p.String(), "2,000 events in ") {
		t.Error(p)
	}
	encodings := map[string]int{}
	var first, last events.Micros
	for _, m := range readTopic(t, config.kafka.brokers[0], topic) {
		e := decode(t, m)
		encodings[contentType(m)]++
		if first == 0 || e.Time < first {
			first = e.Time
		}
		last = max(last, e.Time)
	}
	if a, b := encodings[events.ContentTypeJSON], encodings[events.ContentTypeProtobuf]; a+b != 2000 || a < 800 || b < 800 {
		t.Errorf("encodings %v", encodings)
	}
	if ahead := time.Until(last.Time()); ahead > 0 || first.Time().Before(now.Add(-time.Hour)) {
		t.Errorf("events from %s to %s, now %s", first.Time(), last.Time(), now)
	}
}

// retopic writes all records to one topic.
type retopic struct {
	*kafkaSink
	topic string
}

func (r *retopic) add(ctx context.Context, rec record) error {
	rec.topic = r.topic
	return r.kafkaSink.add(ctx, rec)
}

// collect keeps records, and cancels after some.
type collect struct {
	records []record
	stop    func()
	after   int
}

func (c *collect) add(_ context.Context, r record) error {
	c.records = append(c.records, r)
	if len(c.records) == c.after {
		c.stop()
	}
	return nil
}

func (c *collect) flush(context.Context) error { return nil }

// A chat without an end is of now, and an interrupt is its usual end.
func TestGenerate_UntilInterrupted(t *testing.T) {
	config := generateConfig{chat: generate.DefaultConfig(), encoding: encodingFlag(), chatRate: 1, kafka: kafkaAt("nobody:9092")}
	before := time.Now()
	if err := config.complete(before); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	to := &collect{stop: cancel, after: 5000}
	if err := generateEvents(ctx, config, to); err != nil {
		t.Fatal(err)
	}
	if len(to.records) != 5000 {
		t.Errorf("%d events", len(to.records))
	}
	decoder := events.NewDecoder(events.DefaultLimits())
	for _, r := range to.records {
		e, err := decoder.Decode(events.Record{Value: r.value, Timestamp: events.EndOfTime})
		if err != nil {
			t.Fatal(err)
		}
		if at := e.Time.Time(); at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now().Add(time.Second)) {
			t.Fatalf("event at %s, now %s", at, before)
		}
	}
}

func TestProgress(t *testing.T) {
	got := []string{thousands(0), thousands(999), thousands(1000), thousands(1234567), thousands(-1234), megabytes(900), megabytes(1234567)}
	want := []string{"0", "999", "1,000", "1,234,567", "-1,234", "0.9 KB", "1.2 MB"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
