package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

const (
	lossLine  = "data lost: records were deleted before they were read; going on at the earliest offset"
	anewLine  = "the topic was made anew or has lost records; going on at the earliest offset"
	stallLine = "partition stands still although its end is ahead; connecting anew"
)

func TestConsumer_TruncatedBeforeItWasRead(t *testing.T) {
	h := newHarness(t, 1)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)

	survivors := h.want // what was projected, and what comes after the hole
	h.want = projection.NewModel()
	h.produce(messagesTopic, 0, h.messages(20)...) // 10 to 29
	h.want = survivors
	h.produce(messagesTopic, 0, h.messages(5)...) // 30 to 34
	h.deleteRecords(messagesTopic, 0, 30)
	r := h.run(h.config(), h.sink)
	line := h.logs.await(h, lossLine, 1)
	got := fmt.Sprint(line["level"], line["topic"], line["partition"], line["lost_from"], line["lost_to"], line["lost_offsets"])
	if want := fmt.Sprint("ERROR", messagesTopic, "0", "10", "30", "20"); got != want {
		t.Errorf("log line %q, want %q", got, want)
	}
	h.awaitAll()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.lostRecords.WithLabelValues(messagesTopic)); n != 20 {
		t.Errorf("%v lost offsets counted, want 20", n)
	}
	r.mustStop()

	// It is said once.
	h.run(h.config(), h.sink).stopAfter(func() { h.awaitMembers(1, 2) })
	if n := h.logs.count(lossLine); n != 1 {
		t.Errorf("the loss was reported %d times", n)
	}
}

// TestConsumer_StartAt begins where it is told to, and says of what is not there that it
// is not. Where something is committed it goes on.
func TestConsumer_StartAt(t *testing.T) {
	h := newHarness(t, 4)
	projected := h.want
	h.want = projection.NewModel()
	h.produce(messagesTopic, 0, h.messages(4)...)
	h.produce(messagesTopic, 2, h.messages(3)...)
	h.produce(messagesTopic, 3, h.messages(7)...)
	h.want = projected
	for id := range 3 {
		h.produce(messagesTopic, id, h.messages(5)...)
	}
	h.deleteRecords(messagesTopic, 2, 3)
	at := func(id int) events.Partition { return events.Partition{Topic: messagesTopic, ID: id} }
	config := h.config()
	config.StartAt = map[events.Partition]int64{at(0): 4, at(1): 99, at(2): 1, at(3): 7}
	r := h.run(config, h.sink)
	if line := h.logs.await(h, anewLine, 1); line["partition"] != "1" || line["wanted"] != "99" {
		t.Errorf("log line %v", line)
	}
	if line := h.logs.await(h, lossLine, 1); line["partition"] != "2" || line["lost_from"] != "1" || line["lost_to"] != "3" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()

	config.StartAt = map[events.Partition]int64{at(0): 0, at(3): 0}
	r = h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.messages(2)...)
	h.produce(messagesTopic, 3, h.messages(2)...)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// TestConsumer_EndsWhenWhatIsLostMatters asks whether what is gone matters, be it that records
// were deleted or that the topic has fewer than it had, and commits nothing beyond it if it does.
func TestConsumer_EndsWhenWhatIsLostMatters(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(h *harness)
		want LostError
	}{
		"deleted": {func(h *harness) {
			h.produce(messagesTopic, 0, h.messages(20)...)
			h.deleteRecords(messagesTopic, 0, 30)
		}, LostError{Wanted: 10, First: 30, End: 30}},
		"made anew": {func(h *harness) {
			if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 99}}); err != nil {
				h.Fatal(err)
			}
		}, LostError{Wanted: 99, First: 0, End: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1)
			h.produce(messagesTopic, 0, h.messages(10)...)
			h.run(h.config(), h.sink).stopAfter(h.awaitAll)
			c.lose(h)
			committed := h.commits()
			matters := errors.New("it matters")
			var asked []LostError
			config := h.config()
			config.Lost = func(_ context.Context, l *LostError) error {
				asked = append(asked, *l)
				return matters
			}
			for range 2 {
				consumer, err := New(config, h.sink, events.NewDecoder(events.DefaultLimits()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				if err := consumer.Run(h.ctx); !errors.Is(err, matters) {
					t.Errorf("got %v", err)
				}
			}
			c.want.Partition = events.Partition{Topic: messagesTopic}
			if len(asked) != 2 || asked[0] != c.want || asked[1] != c.want {
				t.Errorf("asked of %+v, want twice of %+v", asked, c.want)
			}
			if now := h.commits(); !maps.Equal(now, committed) {
				t.Errorf("committed %v, want %v as before", now, committed)
			}
		})
	}
}

// Who is asked whether what is lost matters may have to ask others, and the generation end
// meanwhile: the next one asks again.
func TestConsumer_LostWhileAGenerationEnds(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.messages(20)...)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 10}}); err != nil {
		t.Fatal(err)
	}
	h.deleteRecords(messagesTopic, 0, 15)
	config := h.config()
	asked := make(chan context.Context)
	config.Lost = func(ctx context.Context, _ *LostError) error {
		asked <- ctx
		<-ctx.Done()
		return context.Cause(ctx)
	}
	r := h.run(config, h.sink)
	first := <-asked
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
	<-first.Done()
	select {
	case <-asked:
	case err := <-r.done:
		t.Fatalf("the consumer has ended: %v", err)
	case <-h.expired():
		t.Fatal("not asked again")
	}
	r.mustStop()
}

// stopAfter stops the consumer once what is awaited has come.
func (r *runner) stopAfter(await func()) {
	r.h.Helper()
	await()
	r.mustStop()
}

// Nothing is left after the hole: that nothing was lost beyond it must be
// committed all the same.
func TestConsumer_TruncatedToItsEnd(t *testing.T) {
	h := newHarness(t, 1)
	h.produce(messagesTopic, 0, h.messages(4)...)
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	h.produce(messagesTopic, 0, h.messages(6)...)
	h.deleteRecords(messagesTopic, 0, -1)
	r := h.run(h.config(), h.sink)
	h.logs.await(h, lossLine, 1)
	h.awaitAll()
	r.mustStop()
}

func TestConsumer_TopicMadeAnew(t *testing.T) {
	h := newHarness(t, 1)
	h.produce(messagesTopic, 0, h.messages(10)...)
	// A commit beyond the end, as of a topic that had more.
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 99}}); err != nil {
		t.Fatal(err)
	}
	r := h.run(h.config(), h.sink)
	line := h.logs.await(h, anewLine, 1)
	if line["wanted"] != "99" || line["first"] != "0" || line["end"] != "10" || line["level"] != "ERROR" || !strings.Contains(line["error"], "ends at offset 10, before 99") {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// A topic that was made anew, and has more than before when it is looked at again.
func TestConsumer_TopicMadeAnewAndLonger(t *testing.T) {
	h := newEmbedded(t, 1, kfake.NumBrokers(1)) // the new topic's leader is the old one's
	config := h.config()
	config.MetadataInterval = patience // nobody notices that the topic is gone but who reads it
	var lost []LostError
	config.Lost = func(_ context.Context, l *LostError) error {
		lost = append(lost, *l)
		return nil
	}
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.awaitAll()
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: messagesTopic, Err: kerr.UnknownTopicOrPartition, Count: -1})
	h.logs.await(h, againLine, 1)
	res, err := h.client.DeleteTopics(h.ctx, &kafka.DeleteTopicsRequest{Topics: []string{messagesTopic}})
	if err != nil || res.Errors[messagesTopic] != nil {
		t.Fatal(err, res)
	}
	h.createTopic(messagesTopic, 1, nil)
	h.next[key(messagesTopic, 0)] = 0
	h.produceSoon(messagesTopic, 0, h.messages(30)...)
	away.Remove()
	line := h.logs.await(h, anewLine, 1)
	if line["error"] != lost[0].Error() || line["wanted"] != "10" || line["first"] != "0" || line["end"] != "30" || line["level"] != "ERROR" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.outOfRange.WithLabelValues(messagesTopic)); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
	r.mustStop()
	if want := (LostError{events.Partition{Topic: messagesTopic}, 10, 0, 30, true}); len(lost) != 1 || lost[0] != want {
		t.Errorf("asked of %+v, want %+v", lost, want)
	}
}

// commitAs commits offsets of the empty group, as an operator's tool does.
func (h *harness) commitAs(offsets map[string]map[int]int64) error {
	req := &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{}}
	for topic, partitions := range offsets {
		for id, offset := range partitions {
			req.Topics[topic] = append(req.Topics[topic], kafka.OffsetCommit{Partition: id, Offset: offset})
		}
	}
	res, err := h.client.OffsetCommit(h.ctx, req)
	if err != nil {
		return err
	}
	for _, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return p.Error
			}
		}
	}
	return nil
}

// Compaction leaves gaps: between records, and at the end of what can be read.
func TestConsumer_CompactionGaps(t *testing.T) {
	h := newEmbedded(t, 0)
	h.createTopic(messagesTopic, 1, nil)
	h.createTopic(deadTopic, 1, nil)
	h.createTopic(stateTopic, 1, map[string]string{"cleanup.policy": "compact", "segment.bytes": "1", "min.cleanable.dirty.ratio": "0"})
	read := func(sequence uint64) kafka.Record {
		return h.event(&events.ConversationRead{
			ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: "C2Calice"}, Sequence: sequence,
		})
	}
	for i := range 30 {
		// Several to a batch, so that batches lose records at their ends.
		h.produce(stateTopic, 0, read(uint64(i)+1), h.event(&events.ConversationPinned{
			ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: fmt.Sprint("C2C", i%7)}, IsPinned: true,
		}), read(uint64(i)+2))
	}
	h.cluster.Compact()
	config := h.config()
	config.FetchMaxBytes = 1 // one batch at a time
	r := h.run(config, h.sink)
	h.awaitAll()
	got, records := h.sink.snapshot(), testutil.ToFloat64(r.metrics.records.WithLabelValues(stateTopic))
	if records >= 90 {
		t.Errorf("%v records read: nothing was compacted", records)
	}
	if len(got.States) != len(h.want.States) {
		t.Errorf("%d states, want %d", len(got.States), len(h.want.States))
	}
	h.produce(stateTopic, 0, read(100))
	h.awaitAll()
	r.mustStop()
}

// A batch keeps its last offset when compaction takes its last records.
func TestConsumer_GapAtTheEndOfABatch(t *testing.T) {
	h := newEmbedded(t, 1)
	first := h.message()
	value, err := io.ReadAll(first.Value)
	if err != nil {
		t.Fatal(err)
	}
	h.produce(messagesTopic, 0, bad("k", "gone"), bad("k", "gone"), bad("k", "gone"))
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.Topics[0].Topic != messagesTopic || req.Topics[0].Partitions[0].FetchOffset > 2 {
			return nil, nil, false
		}
		return fetchResponse(req, 3, batchOf(0, 2, 1, holding(value))), nil, true
	})
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// fetchResponse answers a request for one partition.
func fetchResponse(req *kmsg.FetchRequest, end int64, batches []byte) *kmsg.FetchResponse {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition = req.Topics[0].Partitions[0].Partition
	p.HighWatermark, p.LastStableOffset, p.RecordBatches = end, end, batches
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.Partitions = req.Topics[0].Topic, []kmsg.FetchResponseTopicPartition{p}
	res := req.ResponseKind().(*kmsg.FetchResponse)
	res.Topics = append(res.Topics, topic)
	return res
}

// A leader that shows an end but gives nothing is noticed, named and left.
func TestConsumer_Stall(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.messages(5)...)
	fetches := 0
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.Topics[0].Topic != messagesTopic {
			return nil, nil, false
		}
		if fetches++; fetches > 40 {
			h.cluster.DropControl()
			return nil, nil, false
		}
		return fetchResponse(req, 5, nil), nil, true
	})
	config := h.config()
	config.StallTimeout = 20 * time.Millisecond
	r := h.run(config, h.sink)
	line := h.logs.await(h, stallLine, 2)
	if line["topic"] != messagesTopic || line["partition"] != "0" || line["offset"] != "0" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.stalls.WithLabelValues(messagesTopic)); n < 2 {
		t.Errorf("%v stalls counted", n)
	}
	r.mustStop()
}

// A leader that no longer shows anything ahead, as one that takes over with a shorter log, is
// not waited for: the partition stands at its end, and nothing is to be told of it.
func TestConsumer_StallEndsWithTheLog(t *testing.T) {
	h := newEmbedded(t, 1)
	var ahead atomic.Bool
	ahead.Store(true)
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.Topics[0].Topic != messagesTopic || !ahead.Load() {
			return nil, nil, false
		}
		return fetchResponse(req, 5, nil), nil, true
	})
	config := h.config()
	config.StallTimeout = 20 * time.Millisecond
	r := h.run(config, h.sink)
	h.logs.await(h, stallLine, 1)
	if err := r.Check(h.ctx); err == nil || !strings.Contains(err.Error(), "stands still at offset 0") {
		t.Errorf("readiness %v does not name the offset", err)
	}
	ahead.Store(false)
	for r.Check(h.ctx) != nil {
		if h.ctx.Err() != nil {
			t.Fatalf("at its end it is told of for ever: %v", r.Check(h.ctx))
		}
	}
	r.mustStop()
}

func TestConsumer_WaitsForTopics(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(messagesTopic, 1, nil)
	r := h.run(h.config(), h.sink)
	line := h.logs.await(h, "waiting for Kafka and its topics", 2)
	if want := fmt.Sprintf("missing topics: %s, %s", stateTopic, deadTopic); line["error"] != want {
		t.Errorf("log says %q, want %q", line["error"], want)
	}
	if err := r.Check(h.ctx); err == nil || !strings.Contains(err.Error(), stateTopic) {
		t.Errorf("readiness %v does not name the topic", err)
	}
	h.createTopic(stateTopic, 1, map[string]string{settingTimestampType: "CreateTime"})
	h.createTopic(deadTopic, 1, nil)
	line = h.logs.await(h, "topic takes the time of records from their producers: events of a producer whose clock is ahead are not refused", 1)
	if line["topic"] != stateTopic || line["level"] != "WARN" {
		t.Errorf("log line %v", line)
	}
	h.produceSoon(stateTopic, 0, h.message())
	h.awaitAll()
	r.mustStop()
}

func TestConsumer_RefusesSmallDeadLetterTopic(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(messagesTopic, 1, map[string]string{settingMaxBytes: "2000000"})
	h.createTopic(stateTopic, 1, nil)
	h.createTopic(deadTopic, 1, map[string]string{settingMaxBytes: "2065535"})
	r := h.run(h.config(), h.sink)
	err := <-r.done
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"max.message.bytes", deadTopic, "2065535", "2065536", messagesTopic, "2000000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}

func TestConsumer_StopsBeforeItHasBegun(t *testing.T) {
	h := newHarness(t, 0)
	r := h.run(h.config(), h.sink)
	h.logs.await(h, "waiting for Kafka and its topics", 1)
	r.mustStop()
}

func TestPartition_Positions(t *testing.T) {
	p := newPartition("t", kafka.PartitionAssignment{ID: 1, Offset: 10}, nil)
	spoken := func(step string, want int64) {
		t.Helper()
		if r, ok := p.spokenOf(); ok != (want >= 0) || ok && (r.From != want || r.To != want) {
			t.Errorf("%s: told of %+v (%v), want %d", step, r, ok, want)
		}
	}
	spoken("not known yet", 10)
	p.resume(true)
	spoken("assigned", 10)
	check := func(step string, want int64, news bool) {
		t.Helper()
		if got, isNews := p.committable(); got != want || isNews != news {
			t.Errorf("%s: committable %d (news %v), want %d (%v)", step, got, isNews, want, news)
		}
	}
	check("assigned", 10, false)
	p.wrote(&piece{from: 10, to: 20})
	check("written", 20, true)
	p.didCommit(20)
	check("committed", 20, false)

	if !p.holdDead(22, 60, 100) || !p.holdDead(25, 40, 100) || p.holdDead(26, 1, 100) {
		t.Error("the bound of dead letters")
	}
	p.wrote(&piece{from: 20, to: 30})
	check("held at the first dead letter", 22, true)
	p.releaseDead(25, 40)
	check("still held", 22, true)
	p.releaseDead(22, 60)
	check("released", 30, true)
	if !p.holdDead(31, 1000, 100) {
		t.Error("one dead letter must always fit")
	}
	p.releaseDead(31, 1000)

	p.reset(5)
	p.wrote(&piece{from: 30, to: 40})
	check("a piece from before the reset says nothing", 5, true)
	p.wrote(&piece{from: 5, to: 7, resets: 1})
	check("after the reset", 7, true)

	p.holdDead(40, 1, 100)
	p.reset(5)
	p.holdDead(6, 1, 100)
	p.wrote(&piece{from: 5, to: 9, resets: 2})
	check("held at a dead letter of after the reset", 6, true)
	p.holdDead(40, 1, 100)
	p.releaseDead(40, 1)
	p.releaseDead(6, 1)
	p.wrote(&piece{from: 9, to: 50, resets: 2})
	check("held at one that was met again", 40, true)
	p.releaseDead(40, 1)

	p = newPartition("t", kafka.PartitionAssignment{ID: 1, Offset: 10}, nil)
	p.resume(false)
	spoken("not begun here", -1)
	check("not begun here", -1, false)
	p.reset(10)
	check("begun where it was committed by chance", 10, false)
	p.reset(3)
	check("begun before that", 3, true)
}

// TestOffsets_CommittedIsNotKnown has the coordinator not say what is committed of a
// partition: that is an error, and not nothing.
func TestOffsets_CommittedIsNotKnown(t *testing.T) {
	h := newEmbedded(t, 1)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 7}}); err != nil {
		t.Fatal(err)
	}
	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: messagesTopic, Err: kerr.UnstableOffsetCommit})
	if got, err := offsets.Committed(h.ctx); !errors.Is(err, kafka.UnstableOffsetCommit) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := offsets.Committed(h.ctx); err != nil || got[events.Partition{Topic: messagesTopic}] != 7 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestConsumer_Changed has the group's leader spread partitions anew when there are others,
// and not when nobody says how many there are.
func TestConsumer_Changed(t *testing.T) {
	config := DefaultConfig()
	config.Topics = []string{"a", "b"}
	c, err := New(config, newMemorySink(), events.NewDecoder(events.DefaultLimits()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	two, three := kafka.Topic{Partitions: make([]kafka.Partition, 2)}, kafka.Topic{Partitions: make([]kafka.Partition, 3)}
	for _, test := range []struct {
		name   string
		b      kafka.Topic
		spread map[string]int
		want   string
	}{
		{"as many", two, map[string]int{"a": 2, "b": 2}, ""},
		{"more", three, map[string]int{"a": 2, "b": 2}, "b"},
		{"gone", kafka.Topic{Error: kafka.UnknownTopicOrPartition}, map[string]int{"a": 2, "b": 2}, "b"},
		{"not known", kafka.Topic{Error: kafka.LeaderNotAvailable}, map[string]int{"a": 2, "b": 2}, ""},
		{"there again", two, map[string]int{"a": 2}, "b"},
		{"another leads", three, nil, ""},
	} {
		if got := c.changed(map[string]kafka.Topic{"a": two, "b": test.b}, test.spread); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestOffsets_WithoutAnAnswer has the leader of a partition not say where it ends: that is
// an error, and no partition without records.
func TestOffsets_WithoutAnAnswer(t *testing.T) {
	h := newEmbedded(t, 2)
	h.produce(messagesTopic, 1, h.messages(3)...)
	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: messagesTopic, Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: 2})
	for _, ask := range []func(context.Context) (map[events.Partition]int64, error){offsets.Ends, offsets.Starts} {
		if got, err := ask(h.ctx); err == nil || !strings.HasSuffix(err.Error(), "ask for an offset of chat.messages/1: there is no answer") {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if got, err := offsets.Ends(h.ctx); err != nil || got[events.Partition{Topic: messagesTopic, ID: 1}] != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}
