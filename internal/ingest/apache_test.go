//go:build kafka

package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// send writes records to a partition in one batch, with a client of another make,
// and takes note of where the partition then ends.
func (h *harness) send(client *kgo.Client, topic string, partition int32, records ...kafka.Record) {
	h.Helper()
	var all []*kgo.Record
	for _, r := range records {
		all = append(all, &kgo.Record{Topic: topic, Partition: partition, Key: bytesOf(h, r.Key), Value: bytesOf(h, r.Value), Timestamp: r.Time})
	}
	results := client.ProduceSync(h.ctx, all...)
	if err := results.FirstErr(); err != nil {
		h.Fatal(err)
	}
	for _, r := range results {
		h.next[key(topic, int(partition))] = max(h.next[key(topic, int(partition))], r.Record.Offset+1)
	}
}

// awaitEnd waits until the consumer has seen where a partition ends: it has read
// all that brokers give.
func (r *runner) awaitEnd(topic string, partition int, end int64) {
	r.h.Helper()
	of := events.Partition{Topic: topic, ID: partition}
	r.h.poll(func() bool { return r.Progress()[of].End >= end }, "the end %d of %v; progress is %v", end, of, lazy(func() any { return r.Progress()[of] }))
}

// What an aborted transaction wrote never counts, nor does what one leaves behind
// whose producer is gone; what belongs to transactions alone is no bad input.
func TestApache_Transactions(t *testing.T) {
	h := newHarness(t, 1)
	producer := func(id string, opts ...kgo.Opt) *kgo.Client {
		return h.franz(append(opts, kgo.TransactionalID(group+id))...)
	}
	begin := func(clients ...*kgo.Client) {
		t.Helper()
		for _, client := range clients {
			if err := client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := func(client *kgo.Client, how kgo.TransactionEndTry) {
		t.Helper()
		if err := client.EndTransaction(h.ctx, how); err != nil {
			t.Fatal(err)
		}
		h.next[key(messagesTopic, 0)]++ // the marker
	}
	one, two := producer("-one"), producer("-two")
	h.produce(messagesTopic, 0, h.message())
	begin(one, two)
	h.send(one, messagesTopic, 0, h.unexpected(2)...)
	h.send(two, messagesTopic, 0, h.messages(3)...)
	h.send(one, messagesTopic, 0, h.unexpected(200)...)
	h.produce(messagesTopic, 0, h.message())
	end(one, kgo.TryAbort)
	end(two, kgo.TryCommit)
	for range 3 { // each one has the same producer ID, in another epoch
		begin(one)
		h.send(one, messagesTopic, 0, h.unexpected(1)...)
		end(one, kgo.TryAbort)
		begin(one)
		h.send(one, messagesTopic, 0, h.messages(2)...)
		end(one, kgo.TryCommit)
	}
	config := h.config()
	config.FetchMaxBytes = 2000 // transactions reach over several fetches
	r := h.run(config, h.sink)
	h.awaitAll()
	h.checkModel()

	// What is in an open transaction is not read before its end, nor is what follows.
	before := h.sink.snapshot()
	begin(two)
	h.send(two, messagesTopic, 0, h.unexpected(5)...)
	h.produce(messagesTopic, 0, h.message())
	r.awaitEnd(messagesTopic, 0, h.next[key(messagesTopic, 0)])
	if !sameModel(h.sink.snapshot(), before) {
		t.Error("records were projected before the end of the transaction")
	}
	end(two, kgo.TryAbort)
	h.awaitAll()
	h.checkModel()

	// One whose producer is gone is ended by the broker.
	gone := producer("-gone", kgo.TransactionTimeout(2*time.Second))
	begin(gone)
	h.send(gone, messagesTopic, 0, h.unexpected(4)...)
	gone.Close()
	h.next[key(messagesTopic, 0)]++
	h.produce(messagesTopic, 0, h.message())
	h.awaitAll()
	h.checkModel()

	r.leftOut(214, 10, 13)
	r.mustStop()
}

// Brokers give records their time, and that bounds the time of events.
func TestApache_BrokersTime(t *testing.T) {
	h := newHarness(t, 1)
	client, ahead := h.franz(), time.Now().Add(time.Hour)
	late := h.message()
	late.Time = time.Now().Add(-48 * time.Hour)
	h.send(client, messagesTopic, 0, late)
	value, err := events.AppendJSON(nil, events.Event{ID: "ahead", App: "demo", Time: events.MicrosOf(ahead), Body: &events.UserErased{UserID: "u"}})
	if err != nil {
		t.Fatal(err)
	}
	h.send(client, messagesTopic, 0, kafka.Record{Value: kafka.NewBytes(value), Time: ahead})
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	if got := letters(h.read(deadTopic, 2)); len(got) != 1 || !strings.Contains(fmt.Sprint(got[0].Headers), "time_out_of_range") {
		t.Errorf("dead letters %v", got)
	}
	r.mustStop()
}

// The log cleaner takes records, and whole batches of them, away while they are
// being read: the last one of each key is there.
func TestApache_CompactionUnderTheReader(t *testing.T) {
	h := newHarness(t, 0)
	for _, topic := range []string{messagesTopic, deadTopic} {
		h.createTopic(topic, 1, nil)
	}
	h.createTopic(stateTopic, 1, map[string]string{
		settingCleanupPolicy: "compact", "segment.ms": "20", "min.cleanable.dirty.ratio": "0", "min.compaction.lag.ms": "3600000",
	})
	client := h.franz()
	register := func(n int) []kafka.Record {
		var records []kafka.Record
		for i := range n {
			user := fmt.Sprint("u", i)
			record := h.event(&events.FriendRemarkSet{UserID: user, FriendID: "f", Remark: fmt.Sprint(h.seq)})
			record.Key = kafka.NewBytes([]byte(user))
			records = append(records, record)
		}
		return records
	}
	// Each round writes the keys of the one before again, and more of them or fewer,
	// so that batches lose some records or all.
	for i := range 60 {
		h.send(client, stateTopic, 0, register(1+i*7%20)...)
	}
	written := h.next[key(stateTopic, 0)]

	// The reader is held in the middle while the cleaner works ahead of it.
	entered, release := make(chan struct{}), make(chan struct{})
	h.sink.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		if call == 3 {
			close(entered)
			<-release
		}
		return nil
	})
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 5, 1
	config.FetchMaxBytes = 1 // a batch at a time
	r := h.run(config, h.sink)
	<-entered
	reached := r.Progress()[events.Partition{Topic: stateTopic}].Written
	h.setTopic(stateTopic, "min.compaction.lag.ms", "0")
	h.poll(func() bool {
		h.send(client, stateTopic, 0, register(1)...) // only what is in closed segments is compacted
		return h.left(stateTopic, reached, written) < int(written-reached)/2
	}, "the cleaner to take half of the records from offset %d to %d", reached, written)
	close(release)
	h.awaitAll()
	h.checkModel()
	if read := testutil.ToFloat64(r.metrics.records.WithLabelValues(stateTopic)); read >= float64(h.next[key(stateTopic, 0)]) {
		t.Errorf("%v records read: nothing was compacted", read)
	}
	if n := h.logs.count(corruptLine) + h.logs.count(stallLine) + h.logs.count(lossLine); n > 0 {
		t.Errorf("%d complaints", n)
	}
	r.mustStop()
}

// setTopic changes a setting of a topic.
func (h *harness) setTopic(topic, name, value string) {
	h.Helper()
	res, err := h.client.IncrementalAlterConfigs(h.ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}},
		}},
	})
	if err == nil {
		err = res.Resources[0].Error
	}
	if err != nil {
		h.Fatalf("set %s of %s to %s: %v", name, topic, value, err)
	}
}

// left counts the records that a partition still has from one offset to another.
func (h *harness) left(topic string, from, to int64) (n int) {
	h.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(h.addrs...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}))
	if err != nil {
		h.Fatal(err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(h.ctx)
		if err := fetches.Err(); err != nil {
			h.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if r.Offset >= to {
				return n
			}
			n++
		}
	}
}

// Whoever has a quota reads no more than that, which is no failure.
func TestApache_Quota(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.ClientID = group
	config.FetchMaxBytes = 5000
	quota := func(ops kafka.AlterClientQuotaOps) {
		t.Helper()
		ops.Key = "consumer_byte_rate"
		res, err := h.client.AlterClientQuotas(h.ctx, &kafka.AlterClientQuotasRequest{Entries: []kafka.AlterClientQuotaEntry{{
			Entities: []kafka.AlterClientQuotaEntity{{EntityType: "client-id", EntityName: config.ClientID}},
			Ops:      []kafka.AlterClientQuotaOps{ops},
		}}})
		if err == nil {
			err = res.Entries[0].Error
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	quota(kafka.AlterClientQuotaOps{Value: 4500})
	defer quota(kafka.AlterClientQuotaOps{Remove: true})
	for range 10 {
		h.produce(messagesTopic, 0, h.messages(20)...)
	}
	c := newCluster(config)
	defer c.close()
	f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}}
	defer f.close()
	for next := int64(0); next < 200; {
		result, err := f.fetch(h.ctx, next, func(kafka.Message) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		next = result.next
	}
}

// A topic that is deleted and made anew while it is read is read from its beginning.
func TestApache_TopicMadeAnew(t *testing.T) {
	h := newHarness(t, 1)
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.awaitAll()
	res, err := h.client.DeleteTopics(h.ctx, &kafka.DeleteTopicsRequest{Topics: []string{messagesTopic}})
	if err != nil || res.Errors[messagesTopic] != nil {
		t.Fatal(err, res)
	}
	h.logs.await(h, "number of partitions changed; spreading them anew", 1)
	h.createTopic(messagesTopic, 2, nil)
	maps.DeleteFunc(h.next, func(k string, _ int64) bool { return strings.HasPrefix(k, messagesTopic) })
	h.produceSoon(messagesTopic, 0, h.messages(3)...)
	h.produceSoon(messagesTopic, 1, h.messages(4)...)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// What is deleted from under the reader is said, counted and passed over.
func TestApache_RecordsDeletedUnderTheReader(t *testing.T) {
	h := newHarness(t, 1)
	entered, release := h.sink.holdFirst()
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 10, 1
	config.FetchMaxBytes = 1 // a batch at a time
	for range 5 {
		h.produce(messagesTopic, 0, h.messages(10)...) // each of them is projected: they are read before
	}
	kept := h.want
	r := h.run(config, h.sink)
	<-entered
	// One batch is being written, one is folded, and the reader has not asked for more.
	r.awaitFolded(10)
	h.deleteRecords(messagesTopic, 0, 45)
	h.want = projection.NewModel()
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.want.Merge(kept)
	close(release)
	line := h.logs.await(h, lossLine, 1)
	if line["level"] != "ERROR" || line["topic"] != messagesTopic || line["partition"] != "0" || line["lost_to"] != "45" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	if lost := testutil.ToFloat64(r.metrics.lostRecords.WithLabelValues(messagesTopic)); fmt.Sprint(lost) != line["lost_offsets"] || lost < 15 {
		t.Errorf("%v lost offsets counted, said are %s", lost, line["lost_offsets"])
	}
	if n := testutil.ToFloat64(r.metrics.outOfRange.WithLabelValues(messagesTopic)); n != 1 {
		t.Errorf("counted %v times, want once", n)
	}
	got := h.sink.snapshot()
	if n := len(h.want.Messages) - len(got.Messages); fmt.Sprint(n) != line["lost_offsets"] {
		t.Errorf("%d messages are not projected, said are %s", n, line["lost_offsets"])
	}
	r.mustStop()
}

// Apache Kafka's own command writes what is read like anybody's.
func TestApache_ConsoleProducer(t *testing.T) {
	h := newHarness(t, 3)
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(20)...)
	var lines strings.Builder
	for _, record := range append(h.messages(200), bad("k", "no event")) {
		fmt.Fprintf(&lines, "%s:%s\t%s\t%s\n", events.HeaderContentType, events.ContentTypeJSON, bytesOf(t, record.Key), bytesOf(t, record.Value))
	}
	cmd := sandboxtest.Start(t).Apache().Tool(h.ctx, "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", h.addrs[0], "--topic", messagesTopic, "--compression-codec", "zstd",
		"--reader-property", "parse.headers=true", "--reader-property", "parse.key=true")
	cmd.Stdin = strings.NewReader(lines.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.produce(messagesTopic, 1, h.messages(20)...)
	h.sink.await(h, 240)
	h.checkModel()
	h.poll(func() bool { return len(h.read(deadTopic, 2)) == 1 }, "the dead letter")
	r.mustStop()
}

// flow is events that keep coming.
type flow struct {
	h    *harness
	stop chan struct{}
	done sync.WaitGroup
	err  error
	sent int
}

// startFlow has events come to all partitions of the messages, from a client that
// writes again what a broker has not acknowledged, without doubling it.
func (h *harness) startFlow(partitions int32) *flow {
	h.Helper()
	f, client := &flow{h: h, stop: make(chan struct{})}, h.franz()
	f.done.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			record := h.message()
			partition := int32(f.sent) % partitions
			result := client.ProduceSync(h.ctx, &kgo.Record{
				Topic: messagesTopic, Partition: partition, Key: bytesOf(h, record.Key), Value: bytesOf(h, record.Value),
			})
			if err := result.FirstErr(); err != nil {
				f.err = err
				return
			}
			h.next[key(messagesTopic, int(partition))] = result[0].Record.Offset + 1
			f.sent++
		}
	})
	return f
}

// end ends it, and gives how many have come.
func (f *flow) end() int {
	f.h.Helper()
	close(f.stop)
	f.done.Wait()
	if f.err != nil {
		f.h.Fatal(errors.Join(errors.New("events do not come"), f.err))
	}
	return f.sent
}

// The broker goes and comes again while events flow.
func TestApache_BrokerRestarts(t *testing.T) {
	h := newHarness(t, 2)
	config := h.config()
	config.SessionTimeout = 2 * time.Second // after a kill the group waits for who we were
	config.StallTimeout = patience          // a broker may need long to start
	r := h.run(config, h.sink)
	f := h.startFlow(2)
	h.sink.await(h, 50)
	broker := sandboxtest.Start(t).Apache()
	t.Cleanup(kafka.DefaultTransport.(*kafka.Transport).CloseIdleConnections) // those of other tests are to the broker before
	if err := broker.StopBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := broker.StartBroker(h.ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.sink.await(h, len(h.sink.snapshot().Messages)+50)
	broker.KillBroker(1)
	if err := broker.StartBroker(h.ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.sink.await(h, len(h.sink.snapshot().Messages)+50)
	sent := f.end()
	h.awaitAll()
	h.checkModel()
	h.checkOnce(r, sent)
	r.mustStop()
}

// checkOnce holds that as many messages are there as were sent, and that no
// partition stood still.
func (h *harness) checkOnce(r *runner, sent int) {
	h.Helper()
	if n := len(h.sink.snapshot().Messages); n != sent {
		h.Errorf("%d messages projected, %d sent", n, sent)
	}
	if n := h.logs.count(stallLine) + h.logs.count(lossLine) + h.logs.count(anewLine) + h.logs.count(corruptLine); n > 0 {
		h.Errorf("%d complaints", n)
	}
	// Partitions in which nothing is to be read may be found again later.
	h.poll(func() bool { return r.Check(h.ctx) == nil }, "readiness: %v", lazy(func() any { return r.Check(h.ctx) }))
}

// The log cleaner notes in a batch when its tombstones go, and takes nothing out of it. It is
// still the batch that was read before, over whichever connection.
func TestApache_MarkedByTheCleaner(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(stateTopic, 1, map[string]string{
		settingCleanupPolicy: "compact", "segment.ms": "20", "min.cleanable.dirty.ratio": "0",
	})
	client := h.franz()
	h.send(client, stateTopic, 0, kafka.Record{Key: kafka.NewBytes([]byte("gone"))}, kafka.Record{Key: kafka.NewBytes([]byte("kept")), Value: kafka.NewBytes([]byte("{}"))})
	config := h.config()
	config.FetchMaxBytes = 1 // a batch at a time
	c := newCluster(config)
	defer c.close()
	begun := func() *fetcher {
		f := &fetcher{cluster: c, Partition: events.Partition{Topic: stateTopic}}
		for f.before == nil {
			if _, err := f.fetch(h.ctx, 0, func(kafka.Message) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		f.close()
		return f
	}
	was := begun()
	var now *fetcher
	h.poll(func() bool {
		h.send(client, stateTopic, 0, kafka.Record{Key: kafka.NewBytes([]byte("other")), Value: kafka.NewBytes([]byte("{}"))}) // only what is in closed segments is cleaned
		now = begun()
		return now.before.crc != was.before.crc
	}, "the cleaner to mark the batch")
	if now.before.records != was.before.records {
		t.Fatalf("%d records, want %d as before", now.before.records, was.before.records)
	}
	defer was.close()
	if _, err := was.fetch(h.ctx, was.end, func(kafka.Message) error { return nil }); err != nil {
		t.Error(err)
	}
}
