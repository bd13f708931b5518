package ingest

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
	"github.com/convoview/convoview/internal/projection"
)

const againLine = "partition cannot be read; trying again"

// holding makes a batch hold one record with this value.
func holding(value []byte) func(*kmsg.RecordBatch) {
	return func(b *kmsg.RecordBatch) {
		record := kmsg.Record{Key: []byte("k"), Value: value}
		body := record.AppendTo(nil)[1:] // without its length, one byte while it is 0
		b.Records = append(binary.AppendVarint(nil, int64(len(body))), body...)
		b.FirstTimestamp, b.MaxTimestamp = time.Now().UnixMilli(), time.Now().UnixMilli()
	}
}

// franz is a producer of another make.
func (h *harness) franz(opts ...kgo.Opt) *kgo.Client {
	h.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(h.addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(client.Close)
	return client
}

// produceWith writes records as one batch.
func (h *harness) produceWith(client *kgo.Client, topic string, records ...kafka.Record) {
	h.Helper()
	var all []*kgo.Record
	for _, r := range records {
		all = append(all, &kgo.Record{Topic: topic, Key: bytesOf(h, r.Key), Value: bytesOf(h, r.Value), Timestamp: r.Time})
	}
	if err := client.ProduceSync(h.ctx, all...).FirstErr(); err != nil {
		h.Fatal(err)
	}
	h.next[key(topic, 0)] += int64(len(records))
}

func bytesOf(h testing.TB, b kafka.Bytes) []byte {
	h.Helper()
	if b == nil {
		return nil
	}
	all, err := io.ReadAll(b)
	if err != nil {
		h.Fatal(err)
	}
	return all
}

// unexpected makes records that must not be projected.
func (h *harness) unexpected(n int) []kafka.Record {
	h.Helper()
	want := projection.NewModel()
	want.Merge(h.want)
	records := h.messages(n)
	h.want = want
	return records
}

func TestFetch_BrokersTime(t *testing.T) {
	dir := t.TempDir()
	h := newEmbedded(t, 1, kfake.DataDir(dir))
	now := time.Now()
	at := func(event, producer time.Time) kafka.Record {
		h.seq++
		e := events.Event{ID: fmt.Sprint("e", h.seq), App: "demo", Time: events.MicrosOf(event), Body: &events.UserErased{UserID: fmt.Sprint("u", h.seq)}}
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		if event.Before(now.Add(time.Minute)) {
			h.want.Fold(e)
		}
		return kafka.Record{Value: kafka.NewBytes(value), Time: producer}
	}
	client := h.franz()
	behind, ahead := now.Add(-48*time.Hour), now.Add(48*time.Hour)
	h.produceWith(client, messagesTopic, at(now, behind))
	h.produceWith(client, messagesTopic, at(ahead, ahead))
	h.produceWith(client, messagesTopic, at(now, ahead), at(behind, behind), at(now.Add(11*time.Minute), ahead), at(now, behind))
	// kfake leaves the producers' times even with LogAppendTime.
	flip(t, dir, messagesTopic, func(log []byte) {
		for ; len(log) > 0; log = log[len(nth(log, 0)):] {
			batch := nth(log, 0)
			batch[batchAttributes+1] |= attributeLogAppendTime
			binary.BigEndian.PutUint64(batch[batchMaxTimestamp:], uint64(now.UnixMilli()))
			seal(batch)
		}
	})
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	var refused []string
	for _, l := range letters(h.read(deadTopic, 2)) {
		refused = append(refused, l.Headers[2]+" "+l.Headers[3])
	}
	if want := []string{"convoview-offset=1 convoview-code=time_out_of_range", "convoview-offset=4 convoview-code=time_out_of_range"}; !slices.Equal(refused, want) {
		t.Errorf("dead letters %q, want %q", refused, want)
	}
	r.mustStop()
}

// Where the producers' times are the topic's, they bound events.
func TestFetch_ProducersTime(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(messagesTopic, 1, map[string]string{settingTimestampType: "CreateTime"})
	h.createTopic(stateTopic, 1, nil)
	h.createTopic(deadTopic, 2, nil)
	late := h.unexpected(1)[0]
	late.Time = time.Now().Add(-time.Hour)
	h.produceWith(h.franz(), messagesTopic, late, h.message())
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	if got := letters(h.read(deadTopic, 2)); len(got) != 1 || got[0].Headers[3] != "convoview-code=time_out_of_range" {
		t.Errorf("dead letters %v", got)
	}
	r.mustStop()
}

func TestFetch_Compressions(t *testing.T) {
	h := newHarness(t, 1)
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		client := h.franz(kgo.ProducerBatchCompression(codec))
		for range 3 {
			h.produceWith(client, messagesTopic, h.messages(50)...)
		}
	}
	config := h.config()
	config.FetchMaxBytes = 5000 // in many fetches, from the middle of batches
	config.MaxPieceEvents = 7
	r := h.run(config, h.sink)
	h.awaitAll()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.records.WithLabelValues(messagesTopic)); n != 750 {
		t.Errorf("%v records, want 750", n)
	}
	r.mustStop()
}

func TestFetch_Transactions(t *testing.T) {
	h := newEmbedded(t, 1)
	end := func(client *kgo.Client, how kgo.TransactionEndTry) {
		if err := client.EndTransaction(h.ctx, how); err != nil {
			t.Fatal(err)
		}
		h.next[key(messagesTopic, 0)]++ // the marker
	}
	begin := func(clients ...*kgo.Client) {
		for _, client := range clients {
			if err := client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
	}
	one, two := h.franz(kgo.TransactionalID("one")), h.franz(kgo.TransactionalID("two"))
	h.produce(messagesTopic, 0, h.message())
	begin(one, two)
	h.produceWith(one, messagesTopic, h.unexpected(2)...)
	h.produceWith(two, messagesTopic, h.messages(3)...)
	h.produce(messagesTopic, 0, h.message())
	h.produceWith(one, messagesTopic, h.unexpected(2)...)
	end(one, kgo.TryAbort)
	end(two, kgo.TryCommit)
	begin(one)
	h.produceWith(one, messagesTopic, h.messages(2)...)
	end(one, kgo.TryCommit)
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()

	// What is in an open transaction is not read before its end, nor is what follows.
	before := h.sink.snapshot()
	begin(two)
	h.produceWith(two, messagesTopic, h.unexpected(5)...)
	h.produce(messagesTopic, 0, h.message())
	fetches := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: messagesTopic, Count: -1, Observe: true})
	if err := fetches.Wait(h.ctx, 3); err != nil {
		t.Fatal(err)
	}
	if !sameModel(h.sink.snapshot(), before) {
		t.Error("records were projected before the end of the transaction")
	}
	end(two, kgo.TryAbort)
	h.awaitAll()
	h.checkModel()

	r.leftOut(9, 4, 8)
	r.mustStop()
}

// A compacted topic: batches that lost records, whole batches gone.
func TestFetch_Compaction(t *testing.T) {
	h := newEmbedded(t, 0)
	for _, topic := range []string{messagesTopic, deadTopic} {
		h.createTopic(topic, 1, nil)
	}
	h.createTopic(stateTopic, 1, map[string]string{"cleanup.policy": "compact"})
	register := func(user string) kafka.Record {
		record := h.event(&events.FriendRemarkSet{UserID: user, FriendID: "f", Remark: fmt.Sprint(h.seq)})
		record.Key = kafka.NewBytes([]byte(user))
		return record
	}
	client := h.franz()
	h.produceWith(client, stateTopic, register("a"), register("b"), register("c"))
	h.produceWith(client, stateTopic, register("a"), register("d"))
	h.produceWith(client, stateTopic, register("c"), register("d"), register("e"))
	h.produceWith(client, stateTopic, register("z"))
	h.cluster.Compact()
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.records.WithLabelValues(stateTopic)); n != 6 {
		t.Errorf("%v records, want 6: nothing was compacted", n)
	}
	r.mustStop()
}

// Compaction keeps the header of a producer's last batch when its records are gone.
func TestFetch_EmptiedBatches(t *testing.T) {
	h := newEmbedded(t, 1)
	value := bytesOf(h, h.message().Value)
	h.produce(messagesTopic, 0, h.unexpected(10)...)
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		switch offset := req.Topics[0].Partitions[0].FetchOffset; {
		case req.Topics[0].Topic != messagesTopic || offset >= 10:
			return nil, nil, false
		case offset < 3:
			return fetchResponse(req, 10, batchOf(0, 2, 0, nil)), nil, true
		default:
			return fetchResponse(req, 10, slices.Concat(batchOf(3, 5, 0, nil), batchOf(6, 7, 1, holding(value)), batchOf(8, 9, 0, nil))), nil, true
		}
	})
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	if n := h.logs.count(againLine); n > 0 {
		t.Errorf("%d failed fetches", n)
	}
	r.mustStop()
}

// A broker gives a client whose quota is used up nothing but a time for which it reads no
// more from it. That is no failure.
func TestFetch_Quota(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.messages(3)...)
	const throttle = 20 * time.Millisecond
	fetches, answered := 0, time.Time{}
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.Topics[0].Topic != messagesTopic {
			return nil, nil, false
		}
		if fetches++; fetches%2 == 0 {
			if waited := time.Since(answered); waited < throttle {
				t.Errorf("asked again after %v, want %v or more", waited, throttle)
			}
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.FetchResponse)
		res.ThrottleMillis, answered = int32(throttle.Milliseconds()), time.Now()
		return res, nil, true
	})
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.produce(messagesTopic, 0, h.messages(3)...)
	h.awaitAll()
	h.checkModel()
	if n := h.logs.count(againLine); n > 0 {
		t.Errorf("%d failed fetches", n)
	}
	r.mustStop()
}

// The tap sees plaintext under TLS, too, and every response passes through it.
func TestFetch_TLS(t *testing.T) {
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "projector"))
	h := newEmbedded(t, 1, kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.Issue(t, "broker")}}))
	secured := &lifecycle.TLS{Enabled: true, CAFile: files.CA}
	config := h.config()
	config.Dialer = secured
	c := newCluster(config)
	defer c.close()
	h.client.Transport = &kafka.Transport{Dial: secured.Dial}
	h.produce(messagesTopic, 0, h.messages(3)...)

	end := int64(-1)
	f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}, ends: func(highWater, _ int64) { end = highWater }}
	defer f.close()
	if first, last, err := f.offsets(h.ctx); err != nil || first != 0 || last != 3 {
		t.Fatalf("offsets %d to %d: %v", first, last, err)
	}
	var got []int64
	result, err := f.fetch(h.ctx, 1, func(m kafka.Message) error {
		if got = append(got, m.Offset); end != 3 {
			t.Errorf("the end is %d when records come, want 3", end)
		}
		return nil
	})
	if err != nil || result.next != 3 || !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("%+v, %v, offsets %v", result, err, got)
	}
}

// Sizes on the wire are not believed.
func TestTap_Sizes(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		want       error
	}{
		{"huge", "\x7f\xff\xff\xff1234", io.ErrUnexpectedEOF},
		{"negative", "\xff\xff\xff\xff1234", errors.New("response of a negative size")},
		{"cut off", "\x00\x00", io.ErrUnexpectedEOF},
		{"end", "", io.EOF},
	} {
		client, server := net.Pipe()
		go func() {
			_, _ = server.Write([]byte(c.sent))
			_ = server.Close()
		}()
		_, err := (&tap{Conn: client}).Read(make([]byte, 100))
		if err == nil || err.Error() != c.want.Error() {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A response that the tap did not look at is not read.
func TestFetch_RefusesWhatWasNotSeen(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(messagesTopic, 1, nil)
	h.produce(messagesTopic, 0, h.messages(3)...)
	c := newCluster(h.config())
	defer c.close()
	f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}}
	defer f.close()
	if _, _, err := f.offsets(h.ctx); err != nil {
		t.Fatal(err)
	}
	f.tap = &tap{}
	_, err := f.fetch(h.ctx, 0, func(kafka.Message) error { return errors.New("a record") })
	if err == nil || !strings.Contains(err.Error(), "not looked at") {
		t.Errorf("error %v", err)
	}
}
