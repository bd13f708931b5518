package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
)

// letter is what a dead letter must keep and say.
type letter struct {
	Key, Value string
	Headers    []string
}

func letters(messages []kafka.Message) []letter {
	var all []letter
	for _, m := range messages {
		l := letter{Key: string(m.Key), Value: string(m.Value)}
		for _, h := range m.Headers {
			if h.Key == headerReason {
				if len(h.Value) > 0 {
					l.Headers = append(l.Headers, h.Key)
				}
				continue
			}
			l.Headers = append(l.Headers, h.Key+"="+string(h.Value))
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b letter) int { return slices.Compare(a.Headers, b.Headers) })
	return all
}

func TestConsumer_DeadLetters(t *testing.T) {
	h := newHarness(t, 2)
	r := h.run(h.config(), h.sink)
	own := []kafka.Header{{Key: "content-type", Value: []byte("application/json")}, {Key: "trace", Value: []byte("\x00\xff")}, {Key: "trace", Value: []byte("2")}}
	h.produce(messagesTopic, 0, h.message(), bad("k1", `{"id":`, own...), h.message())
	h.produce(messagesTopic, 1, h.message(), bad("k2", "\x01\x02"))
	h.produce(stateTopic, 1, kafka.Record{Value: kafka.NewBytes([]byte(`{"id":"x","app":"demo","time":"2026-01-01T00:00:00Z"}`))})
	h.awaitAll()
	h.checkModel()
	want := []letter{
		{"k1", `{"id":`, []string{
			"content-type=application/json", "trace=\x00\xff", "trace=2",
			"convoview-topic=" + messagesTopic, "convoview-partition=0", "convoview-offset=1", "convoview-code=malformed", "convoview-reason",
		}},
		{"k2", "\x01\x02", []string{"convoview-topic=" + messagesTopic, "convoview-partition=1", "convoview-offset=1", "convoview-code=unknown_encoding", "convoview-reason"}},
		{
			"", `{"id":"x","app":"demo","time":"2026-01-01T00:00:00Z"}`,
			[]string{"convoview-topic=" + stateTopic, "convoview-partition=1", "convoview-offset=0", "convoview-code=body_count", "convoview-reason"},
		},
	}
	if diff := cmp.Diff(want, letters(h.read(deadTopic, 2))); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(r.metrics.deadLetters.WithLabelValues("malformed")); n != 1 {
		t.Errorf("%v malformed counted, want 1", n)
	}
	r.mustStop()
}

// TestConsumer_DeadLetterKeys has a dead letter keep whether its record had a key.
func TestConsumer_DeadLetterKeys(t *testing.T) {
	h := newHarness(t, 1)
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, bad("", "empty"), kafka.Record{Value: kafka.NewBytes([]byte("none"))})
	h.awaitAll()
	r.mustStop()
	var keys []string
	for id := range 2 {
		c := newCluster(h.config())
		defer c.close()
		f := &fetcher{cluster: c, Partition: events.Partition{Topic: deadTopic, ID: id}}
		defer f.close()
		if _, err := f.fetch(h.ctx, 0, func(m kafka.Message) error {
			keys = append(keys, fmt.Sprintf("%s %#v", m.Value, m.Key))
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(keys)
	if want := []string{"empty []byte{}", "none []byte(nil)"}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
}

func TestConsumer_CountsWhatItSkips(t *testing.T) {
	h := newHarness(t, 1)
	r := h.run(h.config(), h.sink)
	h.produce(stateTopic, 0,
		kafka.Record{Key: kafka.NewBytes([]byte("tombstone"))},
		bad("k", `{"id":"a","app":"demo","time":"2026-01-01T00:00:00Z","reactionAdded":{"emoji":"x"}}`),
		bad("k", `{"id":"b","app":"demo","time":"2026-01-01T00:00:00Z","shard":7,"userErased":{"userID":"u","why":"gdpr"}}`),
	)
	h.want.Fold(events.Event{ID: "b", App: "demo", Body: &events.UserErased{UserID: "u"}})
	h.awaitAll()
	h.checkModel()
	if got := len(h.read(deadTopic, 2)); got > 0 {
		t.Errorf("%d dead letters, want none", got)
	}
	got := map[string]float64{
		"empty":   testutil.ToFloat64(r.metrics.skipped.WithLabelValues("empty_value")),
		"unknown": testutil.ToFloat64(r.metrics.skipped.WithLabelValues("unknown_body")),
		"fields":  testutil.ToFloat64(r.metrics.unknownFields),
		"records": testutil.ToFloat64(r.metrics.records.WithLabelValues(stateTopic)),
	}
	if diff := cmp.Diff(map[string]float64{"empty": 1, "unknown": 1, "fields": 2, "records": 3}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	r.mustStop()
}

func TestConsumer_DeadLetterTopicAway(t *testing.T) {
	h := newEmbedded(t, 2)
	h.produce(messagesTopic, 0, h.messages(3)...)
	h.produce(messagesTopic, 0, bad("k", "{"))
	h.produce(messagesTopic, 0, h.messages(4)...)
	h.produce(messagesTopic, 1, h.messages(5)...)
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	r := h.run(h.config(), h.sink)
	if err := away.Wait(h.ctx, 3); err != nil {
		t.Fatal(err)
	}
	// Everything is read and written, also after the dead letter; committed is up to it.
	h.sink.await(h, 12)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3, key(messagesTopic, 1): 5})
	h.produce(messagesTopic, 1, h.messages(5)...)
	h.sink.await(h, 17)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3, key(messagesTopic, 1): 10})
	away.Remove()
	// Nothing new has to come for the commit to be made up.
	h.awaitAll()
	h.checkModel()
	if got := letters(h.read(deadTopic, 2)); len(got) != 1 || got[0].Value != "{" {
		t.Errorf("dead letters %v, want one", got)
	}
	r.mustStop()
}

func TestConsumer_DeadLettersAreRedeliveredAfterACrash(t *testing.T) {
	h := newEmbedded(t, 1)
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	h.produce(messagesTopic, 0, h.message(), bad("k", "{"), h.message())
	config := h.config()
	config.StopTimeout = config.StopTimeout / 100
	r := h.run(config, h.sink)
	h.sink.await(h, 2)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 1})
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 1})
	away.Remove()
	r = h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	// A request that was under way at the end may still have come through.
	got := letters(h.read(deadTopic, 2))
	if got = slices.CompactFunc(got, func(a, b letter) bool { return cmp.Equal(a, b) }); len(got) != 1 {
		t.Errorf("dead letters %v, want one", got)
	}
	r.mustStop()
}

// A dead letter of a topic that was made anew holds its own offset, also while one of before
// waits at a greater one.
func TestConsumer_DeadLettersOfBeforeAReset(t *testing.T) {
	h := newEmbedded(t, 1, kfake.NumBrokers(1))
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.produce(messagesTopic, 0, bad("k", "before"))
	config := h.config()
	config.MetadataInterval = time.Hour // no rebalance
	config.StopTimeout = config.StopTimeout / 100
	r := h.run(config, h.sink)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 10})
	res, err := h.client.DeleteTopics(h.ctx, &kafka.DeleteTopicsRequest{Topics: []string{messagesTopic}})
	if err != nil || res.Errors[messagesTopic] != nil {
		t.Fatal(err, res)
	}
	h.createTopic(messagesTopic, 1, nil)
	delete(h.next, key(messagesTopic, 0))
	h.produceSoon(messagesTopic, 0, h.messages(3)...)
	h.produceSoon(messagesTopic, 0, bad("k", "after"))
	h.produceSoon(messagesTopic, 0, h.messages(4)...)
	h.sink.await(h, 17)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3})
	away.Remove()
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	if got := letters(h.read(deadTopic, 2)); !slices.ContainsFunc(got, func(l letter) bool { return l.Value == "after" }) {
		t.Errorf("dead letters %v, want the one of the new topic", got)
	}
}

// A record that is met again while its dead letter is under way is one of its own.
func TestDeadLetters_MetAgain(t *testing.T) {
	d := newDeadLetters(newCluster(DefaultConfig()), &status{}, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry(), "test", nil), func() {})
	p := newPartition("t", kafka.PartitionAssignment{}, &session{done: make(chan struct{})})
	p.resume(true)
	for range 2 {
		if !d.add(t.Context(), newDeadLetter(p, kafka.Message{Offset: 7}, &events.Error{})) {
			t.Fatal("not taken")
		}
	}
	p.wrote(&piece{to: 20})
	for _, want := range []struct {
		waiting int
		offset  int64
	}{{2, 7}, {1, 7}, {0, 20}} {
		if offset, _ := p.committable(); len(d.queue) != want.waiting || offset != want.offset {
			t.Fatalf("%d wait, and %d can be committed; want %+v", len(d.queue), offset, want)
		}
		if want.waiting > 0 {
			d.written(d.next(t.Context())[:1])
		}
	}
}

// What is said to be written is on all replicas: its offset is committed then.
func TestConsumer_DeadLettersAreOnAllReplicas(t *testing.T) {
	h := newEmbedded(t, 1)
	var acks []int16
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		acks = append(acks, r.(*kmsg.ProduceRequest).Acks)
		return true
	}})
	h.produce(messagesTopic, 0, bad("k", "{"))
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	r.mustStop()
	if len(acks) == 0 || slices.Min(acks) != -1 || slices.Max(acks) != -1 {
		t.Errorf("acknowledgements %v are asked for, want -1, of all", acks)
	}
}

// A dead letter of a generation that has ended is not written: who owns its partition now
// meets it again.
func TestDeadLetters_OfAnEndedGeneration(t *testing.T) {
	d := newDeadLetters(newCluster(DefaultConfig()), &status{}, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry(), "test", nil), func() {})
	over, current := &session{done: make(chan struct{})}, &session{done: make(chan struct{})}
	for _, s := range []*session{over, current} {
		d.add(t.Context(), newDeadLetter(newPartition("t", kafka.PartitionAssignment{}, s), kafka.Message{}, &events.Error{}))
	}
	over.end()
	if got := d.next(t.Context()); len(got) != 1 || got[0].partition.session != current || len(d.queue) != 1 {
		t.Errorf("%d are to be written, and %d wait, want the one of the current generation", len(got), len(d.queue))
	}
}

// One dead letter that cannot be written must not keep back others.
func TestConsumer_RefusedDeadLetter(t *testing.T) {
	h := newEmbedded(t, 2)
	// Refused are requests that hold the poisonous record.
	refused := h.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.MessageTooLarge, Count: -1,
		When: func(r kmsg.Request) bool { return slices.Contains(produced(r.(*kmsg.ProduceRequest)), "poison") },
	})
	h.produce(messagesTopic, 0, bad("k", "before"), bad("k", "poison"), bad("k", "after"), h.message())
	r := h.run(h.config(), h.sink)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 1})
	for len(h.read(deadTopic, 2)) < 2 {
		if err := refused.Wait(h.ctx, refused.Hits()+1); err != nil {
			t.Fatal(err)
		}
	}
	h.poll(func() bool {
		err := r.Check(h.ctx)
		return err != nil && strings.Contains(err.Error(), statusDeadLetters) && errors.Is(err, kafka.MessageSizeTooLarge)
	}, "a complaint about what is refused")
	refused.Remove()
	h.awaitAll()
	h.poll(func() bool { return r.Check(h.ctx) == nil }, "no complaint")
	var values []string
	for _, l := range letters(h.read(deadTopic, 2)) {
		values = append(values, l.Value)
	}
	slices.Sort(values)
	if want := []string{"after", "before", "poison"}; !slices.Equal(values, want) {
		t.Errorf("dead letters %q, want %q", values, want)
	}
	r.mustStop()
}

// A stop does not wait for what is refused, and commits up to it.
func TestConsumer_StopsWithARefusedDeadLetter(t *testing.T) {
	h := newEmbedded(t, 1)
	refused := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.MessageTooLarge, Count: -1})
	h.produce(messagesTopic, 0, h.message(), bad("k", "poison"), h.message())
	config := h.config()
	config.StopTimeout = 10 * patience
	r := h.run(config, h.sink)
	h.sink.await(h, 2)
	if err := refused.Wait(h.ctx, 1); err != nil {
		t.Fatal(err)
	}
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Error(err)
		}
	case <-h.ctx.Done():
		t.Fatal("the stop waits for a dead letter that is refused")
	}
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 1})
}

// What a partition of the topic does not take waits; no more is sent to it this time.
func TestInRequests_EndsWithAFailure(t *testing.T) {
	large := maxProduceBytes/2 + 1
	for _, c := range []struct {
		name  string
		bytes int
		fails map[string]error // a request
		want  []string
		err   error
	}{
		{"all are taken", 1, nil, []string{"abcd"}, nil},
		{"large ones", large, nil, []string{"a", "b", "c", "d"}, nil},
		{"a request has no answer", large, map[string]error{"b": errSink}, []string{"a", "b"}, errSink},
		{"one is refused", large, map[string]error{"b": kafka.MessageSizeTooLarge}, []string{"a", "b", "c", "d"}, kafka.MessageSizeTooLarge},
		{
			"one of several is refused", 1,
			map[string]error{"abcd": kafka.MessageSizeTooLarge, "ab": kafka.MessageSizeTooLarge, "b": kafka.MessageSizeTooLarge},
			[]string{"abcd", "ab", "a", "b", "cd"},
			kafka.MessageSizeTooLarge,
		},
		{
			"a half has no answer", 1,
			map[string]error{"abcd": kafka.MessageSizeTooLarge, "ab": kafka.MessageSizeTooLarge, "a": errSink},
			[]string{"abcd", "ab", "a"},
			errSink,
		},
	} {
		var got []string
		err := inRequests([]byte("abcd"), func(byte) int { return c.bytes }, func(items []byte) error {
			got = append(got, string(items))
			return c.fails[string(items)]
		})
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", c.name, err, c.err, diff)
		}
	}
}

// A partition of the topic that does not answer keeps back nothing of another one: each of
// the two here answers when the other one was asked.
func TestDeadLetters_PartitionsSideBySide(t *testing.T) {
	h := newEmbedded(t, 2)
	asked := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	h.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		id := r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Partition
		close(asked[id])
		h.cluster.SleepControl(func() {
			select {
			case <-asked[1-id]:
			case <-h.ctx.Done():
			}
		})
		return nil, nil, false
	})
	config := h.config()
	config.RequestTimeout = patience
	cluster := newCluster(config)
	defer cluster.close()
	d := newDeadLetters(cluster, &status{}, slog.New(h.logs), newMetrics(prometheus.NewRegistry(), "test", nil), func() {})
	s := &session{done: make(chan struct{})}
	for id := range asked {
		p := newPartition(messagesTopic, kafka.PartitionAssignment{ID: id}, s)
		d.add(h.ctx, newDeadLetter(p, kafka.Message{Value: []byte("{"), Offset: 7}, &events.Error{}))
	}
	if err := d.write(h.ctx, d.next(h.ctx)); err != nil || len(d.queue) > 0 {
		t.Errorf("%d wait: %v", len(d.queue), err)
	}
}

// produced are the values in a request.
func produced(r *kmsg.ProduceRequest) []string {
	var values []string
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err != nil {
				continue
			}
			records, err := kfake.BatchRecords(b)
			if err != nil {
				continue
			}
			for _, record := range records {
				values = append(values, string(record.Value))
			}
		}
	}
	return values
}

// While the topic is away only so many dead letters wait; then their partition does.
func TestConsumer_DeadLettersAreBounded(t *testing.T) {
	h := newEmbedded(t, 2)
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	for i := range 100 {
		h.produce(messagesTopic, 0, bad("k", fmt.Sprintf("%09d", i)))
	}
	config := h.config()
	config.MaxDeadLetterBytes = 100 // ten of them
	r := h.run(config, h.sink)
	if err := away.Wait(h.ctx, 3); err != nil {
		t.Fatal(err)
	}
	h.produce(messagesTopic, 1, h.messages(7)...)
	h.sink.await(h, 7)
	h.awaitCommits(map[string]int64{key(messagesTopic, 1): 7})
	r.deadLetters.mu.Lock()
	waiting := len(r.deadLetters.queue)
	r.deadLetters.mu.Unlock()
	if waiting > 10 {
		t.Errorf("%d dead letters wait, want at most 10", waiting)
	}
	away.Remove()
	h.awaitAll()
	if got := len(h.read(deadTopic, 2)); got != 100 {
		t.Errorf("%d dead letters, want 100", got)
	}
	r.mustStop()
}

// What lies before a dead letter that has to wait does not wait for it.
func TestConsumer_DeadLettersHoldUpNothingBefore(t *testing.T) {
	h := newEmbedded(t, 1)
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	h.produce(messagesTopic, 0, slices.Concat([]kafka.Record{bad("k", "waits")}, h.messages(3), []kafka.Record{bad("k", "finds no room")}, h.messages(1))...)
	config := h.config()
	config.MaxDeadLetterBytes = 1 // one of them
	r := h.run(config, h.sink)
	h.sink.await(h, 3)
	away.Remove()
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// A decoder's error of another kind must not stop the partition either.
func TestConsumer_UnexpectedDecoderError(t *testing.T) {
	h := newHarness(t, 1)
	r := h.runWith(h.config(), h.sink, decoderFunc(func(events.Record) (events.Event, error) { return events.Event{}, errors.New("out of luck") }))
	h.produce(messagesTopic, 0, bad("k", "v"))
	h.awaitAll()
	got := letters(h.read(deadTopic, 2))
	if len(got) != 1 || !slices.Contains(got[0].Headers, "convoview-code=malformed") {
		t.Errorf("dead letters %v", got)
	}
	r.mustStop()
}

type decoderFunc func(events.Record) (events.Event, error)

func (f decoderFunc) Decode(r events.Record) (events.Event, error) { return f(r) }

// TestDeadLetters_CountHeaders has headers without a text count for what they take.
func TestDeadLetters_CountHeaders(t *testing.T) {
	headers := make([]kafka.Header, 1000)
	if got, least := size(nil, nil, headers), len(headers)*int(unsafe.Sizeof(headers[0])); got < least {
		t.Errorf("%d bytes, want at least %d", got, least)
	}
}
