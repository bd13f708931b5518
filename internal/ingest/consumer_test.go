package ingest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

func TestConsumer_ProjectsAndCommitsEverything(t *testing.T) {
	h := newHarness(t, 3)
	r := h.run(h.config(), h.sink)
	for i := range 30 {
		h.produce(messagesTopic, i%3, h.messages(20)...)
		h.produce(stateTopic, i%3, h.event(&events.ConversationRead{
			ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: "C2Calice"}, Sequence: h.seq,
		}))
	}
	h.awaitAll()
	h.checkModel()
	if err := r.Check(h.ctx); err != nil {
		t.Errorf("not ready: %v", err)
	}
	r.mustStop()
	h.awaitMembers(0, 0)
	if n := h.logs.count(lossLine); n > 0 {
		t.Error("a loss was reported")
	}
}

// TestConsumer_Encodings reads events as their headers say, also when it has to read them again
// since the sink has failed, and tells others what they are.
func TestConsumer_Encodings(t *testing.T) {
	h := newHarness(t, 1)
	h.sink.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		if call == 1 {
			return errSink
		}
		return nil
	})
	json, protobuf := contentType(events.ContentTypeJSON), contentType(events.ContentTypeProtobuf)
	var records []kafka.Record
	for range 3 {
		records = append(records, h.message(), h.encoded(events.AppendProtobuf, protobuf), h.encoded(events.AppendJSON, json),
			h.encoded(events.AppendJSON, protobuf, json), h.encoded(events.AppendProtobuf, protobuf))
	}
	h.produce(messagesTopic, 0, records...)
	heard := newHerald(h)
	r := h.runAnnouncing(heard)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
	if !sameModel(heard.model, h.want) {
		t.Errorf("%d messages were announced, want %d", len(heard.model.Messages), len(h.want.Messages))
	}
	if letters := h.read(deadTopic, 2); len(letters) > 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func contentType(value string) kafka.Header {
	return kafka.Header{Key: events.HeaderContentType, Value: []byte(value)}
}

// encoded is the next message, as somebody encodes it.
func (h *harness) encoded(encode func([]byte, events.Event) ([]byte, error), headers ...kafka.Header) kafka.Record {
	h.Helper()
	record := h.message()
	json, err := io.ReadAll(record.Value)
	if err != nil {
		h.Fatal(err)
	}
	e, err := events.NewDecoder(events.Unlimited()).Decode(events.Record{Value: json, Timestamp: record.Time})
	if err != nil {
		h.Fatal(err)
	}
	value, err := encode(nil, e)
	if err != nil {
		h.Fatal(err)
	}
	record.Value, record.Headers = kafka.NewBytes(value), headers
	return record
}

// TestConsumer_SaysWhatKeepsIt holds that whoever asks whether a consumer is ready hears what
// it waits for, and nothing any more once that is over.
func TestConsumer_SaysWhatKeepsIt(t *testing.T) {
	h := newHarness(t, 1)
	var registryAway, sinkAway atomic.Bool
	fails := func(away *atomic.Bool) error {
		if away.Load() {
			return errSink
		}
		return nil
	}
	registryAway.Store(true)
	sinkAway.Store(true)
	sink := &keeperSink{memorySink: h.sink, keep: func() error { return fails(&registryAway) }}
	h.sink.setBefore(func(context.Context, int, *projection.Model) error { return fails(&sinkAway) })
	config := h.config()
	config.KeepInterval = time.Millisecond
	r := h.run(config, sink)
	complains := func(of string) {
		t.Helper()
		h.poll(func() bool {
			err := r.Check(h.ctx)
			return err != nil && strings.HasPrefix(err.Error(), of+": ")
		}, "a complaint about %s alone; it is %v", of, lazy(func() any { return r.Check(h.ctx) }))
	}
	h.produce(messagesTopic, 0, h.messages(3)...)
	complains(statusKeeper)
	registryAway.Store(false)
	complains(statusSink)
	sinkAway.Store(false)
	h.awaitAll()
	ready := func() {
		t.Helper()
		h.poll(func() bool { return r.Check(h.ctx) == nil }, "no complaint; it is %v", lazy(func() any { return r.Check(h.ctx) }))
	}
	ready()
	registryAway.Store(true)
	complains(statusKeeper)
	registryAway.Store(false)
	ready()
	h.checkModel()
	r.mustStop()
}

func TestConsumer_CrashBetweenWriteAndCommit(t *testing.T) {
	h := newEmbedded(t, 2)
	noCommits := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: -1})
	h.produce(messagesTopic, 0, h.messages(50)...)
	h.produce(messagesTopic, 1, h.messages(50)...)
	config := h.config()
	config.StopTimeout = 100 * time.Millisecond
	r := h.run(config, h.sink)
	h.sink.await(h, 100)
	if err := r.stop(); err == nil {
		t.Error("the stop did not say that offsets are not committed")
	}
	if got := h.commits(); len(got) > 0 {
		t.Fatalf("committed %v, want nothing", got)
	}
	noCommits.Remove()

	h.produce(messagesTopic, 0, h.messages(10)...)
	r = h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// Elsewhere offsets were committed although the write had failed.
func TestElsewhere_OffsetsCommittedAlthoughTheWriteFailed(t *testing.T) {
	h := newHarness(t, 2)
	const failures = 7
	early := make(chan map[string]int64, failures)
	h.sink.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		if call > failures {
			return nil
		}
		early <- h.commits()
		return errSink
	})
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.produce(messagesTopic, 1, h.messages(5)...)
	line := h.logs.await(h, "batch cannot be written; nothing of it is committed", 3)
	if line["events"] == "" || line["bytes"] == "" || line["level"] != "ERROR" || line["attempt"] != "3" {
		t.Errorf("log line %v, want one with sizes", line)
	}
	h.awaitAll()
	for range failures {
		if offsets := <-early; len(offsets) > 0 {
			t.Errorf("committed %v before the sink had written", offsets)
		}
	}
	h.checkModel()
	r.mustStop()
}

// A member that is busy must not be taken for a dead one.
func TestConsumer_HeartbeatsWhileTheSinkIsAway(t *testing.T) {
	h := newEmbedded(t, 1)
	entered, release := h.sink.holdFirst()
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(5)...)
	<-entered
	before := h.cluster.GroupInfo(group)
	beats := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: -1})
	if err := beats.Wait(h.ctx, 20); err != nil {
		t.Fatal(err)
	}
	after := h.cluster.GroupInfo(group)
	if before.Epoch != after.Epoch || after.State != "Stable" {
		t.Errorf("generation %d became %d (%s) while the sink was away", before.Epoch, after.Epoch, after.State)
	}
	close(release)
	h.awaitAll()
	r.mustStop()
}

func TestConsumer_NamesConflictingSequences(t *testing.T) {
	h := newHarness(t, 1)
	first := h.message() // of sequence 1
	twice := h.event(&events.MessageSent{
		Conversation: events.C2C("alice", "bob"), From: "alice", Sequence: 1, MessageID: "other", Type: events.TypeText, Payload: []byte(`{"text":"hi"}`),
	})
	h.produce(messagesTopic, 0, h.message(), first, twice)
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	line := h.logs.await(h, "different messages share a sequence: their producer is at fault", 1)
	got := fmt.Sprint(line["messages"], line["first_app"], line["first_a"], line["first_b"], line["first_sequence"])
	if want := fmt.Sprint("1", "demo", "alice", "bob", "1"); got != want {
		t.Errorf("log line %q, want %q", got, want)
	}
	if n := testutil.ToFloat64(r.metrics.conflicts); n != 1 {
		t.Errorf("%v conflicts counted, want 1", n)
	}
	r.mustStop()
}
