package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m, sandbox.Kafka) }

// The topics and the group of the test that runs. They are its own, since tests
// share a broker; and they run one after the other.
var (
	messagesTopic, stateTopic, deadTopic, group string
	tests                                       int
)

func nameAll(suffix string) {
	messagesTopic, stateTopic, deadTopic, group = "chat.messages"+suffix, "chat.state"+suffix, "chat.dead"+suffix, "projector"+suffix
}

// nameAnew gives a test that shares a broker names of its own.
func nameAnew() {
	tests++
	nameAll(fmt.Sprintf(".%d", tests))
}

const (
	// patience is how long a test waits for what must happen. It decides nothing
	// but how soon a broken test ends.
	patience = 5 * time.Minute
	// pollInterval is how often it looks whether it has.
	pollInterval = 5 * time.Millisecond
)

// waiter is a test that waits for things only so long.
type waiter interface {
	testing.TB
	expired() <-chan struct{}
}

// harness is Kafka and what a test wants to see.
type harness struct {
	*testing.T
	ctx    context.Context
	addrs  []string // of the brokers
	group  string
	create func(topic sandbox.Topic) error
	client *kafka.Client
	logs   *logs
	sink   *memorySink
	want   *projection.Model // of everything produced
	next   map[string]int64  // produced so far, by topic/partition
	seq    uint64
}

// newHarness gives a test the Kafka that tests of this process share, with
// topics of its own.
func newHarness(t *testing.T, partitions int32) *harness {
	t.Helper()
	return newHarnessOf(t, sandboxtest.Start(t), partitions)
}

func newHarnessOf(t *testing.T, box *sandbox.Sandbox, partitions int32) *harness {
	t.Helper()
	nameAnew()
	return makeHarness(t, partitions, box.KafkaAddrs(), func(topic sandbox.Topic) error { return box.CreateTopics(t.Context(), topic) })
}

// embedded is a harness with a broker that does as it is told: it fails, keeps
// back and makes up whatever a test wants.
type embedded struct {
	*harness
	cluster *kfake.Cluster
}

// newEmbedded gives a test such a broker of its own.
func newEmbedded(t *testing.T, partitions int32, opts ...kfake.Opt) *embedded {
	t.Helper()
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	nameAll("")
	create := func(topic sandbox.Topic) error {
		return cluster.CreateTopic(topic.Name, int32(topic.Partitions), topic.Config)
	}
	return &embedded{makeHarness(t, partitions, cluster.ListenAddrs(), create), cluster}
}

func makeHarness(t *testing.T, partitions int32, addrs []string, create func(sandbox.Topic) error) *harness {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	transport := &kafka.Transport{MetadataTTL: 50 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	h := &harness{
		T: t, ctx: ctx, addrs: addrs, group: group, create: create,
		client: &kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport},
		logs:   newLogs(),
		sink:   newMemorySink(),
		want:   projection.NewModel(),
		next:   map[string]int64{},
	}
	if partitions > 0 {
		h.createTopic(messagesTopic, partitions, nil)
		h.createTopic(stateTopic, partitions, nil)
		h.createTopic(deadTopic, 2, nil)
	}
	return h
}

func (h *harness) expired() <-chan struct{} { return h.ctx.Done() }

// createTopic creates a topic as operators should.
func (h *harness) createTopic(name string, partitions int32, settings map[string]string) {
	h.Helper()
	all := map[string]string{settingTimestampType: logAppendTime, settingMaxBytes: "1048588"}
	if name == deadTopic {
		all[settingMaxBytes] = "1114124"
	}
	maps.Copy(all, settings)
	if err := h.create(sandbox.Topic{Name: name, Partitions: int(partitions), Config: all}); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) config() Config {
	c := DefaultConfig()
	c.Brokers = h.addrs
	c.GroupID = group
	c.Topics = []string{messagesTopic, stateTopic}
	c.DeadTopic = deadTopic
	// What is slow to protect brokers makes tests slow.
	c.FlushInterval = 10 * time.Millisecond
	c.FetchMaxWait = 20 * time.Millisecond
	c.RetryInterval = 5 * time.Millisecond
	c.MaxRetryInterval = 50 * time.Millisecond
	c.MetadataInterval = 50 * time.Millisecond
	c.HeartbeatInterval = 20 * time.Millisecond
	c.JoinGroupBackoff = 20 * time.Millisecond
	return c
}

// runner is a running consumer.
type runner struct {
	*Consumer
	h      *harness
	cancel context.CancelFunc
	done   chan error
}

func (h *harness) run(config Config, sink Sink) *runner {
	h.Helper()
	return h.runWith(config, sink, events.NewDecoder(events.DefaultLimits()))
}

func (h *harness) runWith(config Config, sink Sink, decoder Decoder, before ...func(*Consumer)) *runner {
	h.Helper()
	c, err := New(config, sink, decoder, slog.New(h.logs), prometheus.NewRegistry())
	if err != nil {
		h.Fatal(err)
	}
	for _, prepare := range before {
		prepare(c)
	}
	ctx, cancel := context.WithCancel(h.ctx)
	r := &runner{Consumer: c, h: h, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	h.Cleanup(func() { cancel() })
	return r
}

// leftOut holds how many records were of aborted transactions and of the protocol itself,
// and how many were read; none of them is bad input, and no fetch has failed.
func (r *runner) leftOut(aborted, control, records float64) {
	r.h.Helper()
	got := map[string]float64{
		"aborted": testutil.ToFloat64(r.metrics.skipped.WithLabelValues("aborted")),
		"control": testutil.ToFloat64(r.metrics.skipped.WithLabelValues("control")),
		"records": testutil.ToFloat64(r.metrics.records.WithLabelValues(messagesTopic)),
	}
	if diff := cmp.Diff(map[string]float64{"aborted": aborted, "control": control, "records": records}, got); diff != "" {
		r.h.Errorf("counts (-want +got):\n%s", diff)
	}
	if letters := r.h.read(deadTopic, 2); len(letters) > 0 {
		r.h.Errorf("%d dead letters, want none", len(letters))
	}
	if n := r.h.logs.count(againLine); n > 0 {
		r.h.Errorf("%d failed fetches", n)
	}
}

// stop stops the consumer and gives what Run returned.
func (r *runner) stop() error {
	r.cancel()
	return <-r.done
}

// mustStop stops the consumer, which must have nothing to complain of.
func (r *runner) mustStop() {
	r.h.Helper()
	if err := r.stop(); err != nil {
		r.h.Error(err)
	}
}

// produce writes values to a partition.
func (h *harness) produce(topic string, partition int, records ...kafka.Record) {
	h.Helper()
	var res *kafka.ProduceResponse
	var err error
	h.poll(func() bool { // what the client knows of topics may be older than this one
		res, err = h.client.Produce(h.ctx, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(records...),
		})
		return !errors.Is(err, protocol.ErrNoTopic)
	}, "topic %s", topic)
	if err == nil {
		err = res.Error
	}
	if err != nil {
		h.Fatalf("produce to %s/%d: %v", topic, partition, err)
	}
	h.next[key(topic, partition)] += int64(len(records))
}

// message is the next message of a conversation, which is expected to be projected.
func (h *harness) message() kafka.Record {
	h.Helper()
	h.seq++
	return h.event(&events.MessageSent{
		Conversation: events.C2C("alice", "bob"), From: "alice", Sequence: h.seq,
		MessageID: fmt.Sprint("m", h.seq), Type: events.TypeText, MessageForShow: "hi", Payload: []byte(`{"text":"hi"}`),
	})
}

func (h *harness) messages(n int) []kafka.Record {
	h.Helper()
	records := make([]kafka.Record, n)
	for i := range records {
		records[i] = h.message()
	}
	return records
}

// mentioning is a message to a group that mentions n users.
func (h *harness) mentioning(n int) kafka.Record {
	h.Helper()
	h.seq++
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("u%d-%04d", h.seq, i)
	}
	return h.event(&events.MessageSent{
		Conversation: events.Group("g"), From: "alice", Sequence: h.seq, MessageID: fmt.Sprint("m", h.seq),
		Type: events.TypeText, MessageForShow: "hi", Payload: []byte(`{"text":"hi"}`), AtUsers: users,
	})
}

// event is the record of an event that is expected to be projected.
func (h *harness) event(body events.Body) kafka.Record {
	h.Helper()
	h.seq++
	e := events.Event{ID: fmt.Sprint("e", h.seq), App: "demo", Time: events.MicrosOf(time.Now()), Body: body}
	value, err := events.AppendJSON(nil, e)
	if err != nil {
		h.Fatal(err)
	}
	h.want.Fold(e)
	return kafka.Record{Key: kafka.NewBytes([]byte(events.Key(e))), Value: kafka.NewBytes(value), Time: time.Now()}
}

func bad(key, value string, headers ...kafka.Header) kafka.Record {
	return kafka.Record{Key: kafka.NewBytes([]byte(key)), Value: kafka.NewBytes([]byte(value)), Headers: headers, Time: time.Now()}
}

func key(topic string, partition int) string { return fmt.Sprintf("%s/%d", topic, partition) }

// commits are the group's committed offsets by topic/partition. Those of 0, the
// beginnings of partitions, are left out.
func (h *harness) commits() map[string]int64 {
	h.Helper()
	offsets, err := h.committed()
	if err != nil {
		h.Fatal(err)
	}
	return offsets
}

// committed is commits for those who can wait.
func (h *harness) committed() (map[string]int64, error) {
	response, err := h.client.OffsetFetch(h.ctx, &kafka.OffsetFetchRequest{GroupID: h.group})
	if err == nil {
		err = response.Error
	}
	if err != nil {
		return nil, err
	}
	offsets := map[string]int64{}
	for topic, partitions := range response.Topics {
		for _, p := range partitions {
			if p.CommittedOffset > 0 {
				offsets[key(topic, p.Partition)] = p.CommittedOffset
			}
		}
	}
	return offsets, nil
}

// poll waits until a condition holds.
func (h *harness) poll(holds func() bool, format string, args ...any) {
	h.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			h.Fatalf("waited in vain for "+format, args...)
		}
	}
}

// awaitCommits waits until exactly these offsets are committed.
func (h *harness) awaitCommits(want map[string]int64) {
	h.Helper()
	var got map[string]int64
	var err error
	h.poll(func() bool {
		got, err = h.committed()
		return err == nil && maps.Equal(got, want)
	}, "offsets %v; committed are %v, %v", want, lazy(func() any { return got }), lazy(func() any { return err }))
}

// lazy is a value that is looked at when it is printed.
type lazy func() any

func (l lazy) String() string { return fmt.Sprint(l()) }

// awaitMembers waits until so many members share so many partitions, and gives
// how many each has.
func (h *harness) awaitMembers(n, partitions int) []int {
	h.Helper()
	var state string
	var assigned []int
	h.poll(func() bool {
		response, err := h.client.DescribeGroups(h.ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil || response.Groups[0].Error != nil {
			return false
		}
		state, assigned = response.Groups[0].GroupState, nil
		all := 0
		for _, m := range response.Groups[0].Members {
			of := 0
			for _, topic := range m.MemberAssignments.Topics {
				of += len(topic.Partitions)
			}
			assigned, all = append(assigned, of), all+of
		}
		return state == stateStable && len(assigned) == n && all == partitions || len(assigned) == 0 && n == 0
	}, "%d members of %d partitions; it is %v, and they have %v", n, partitions, lazy(func() any { return state }), lazy(func() any { return assigned }))
	return assigned
}

// deleteRecords deletes what is before an offset; -1: all there is.
func (h *harness) deleteRecords(topic string, partition int32, before int64) {
	h.Helper()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	of := kmsg.NewDeleteRecordsRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, p)
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.TimeoutMillis, request.Topics = int32(patience.Milliseconds()), append(request.Topics, of)
	response, err := request.RequestWith(h.ctx, h.franz())
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		h.Fatalf("delete %s/%d before offset %d: %v", topic, partition, before, err)
	}
}

// awaitAll waits until all that was produced to the sources is committed.
func (h *harness) awaitAll() {
	h.Helper()
	want := maps.Clone(h.next)
	maps.DeleteFunc(want, func(k string, _ int64) bool { return k == key(deadTopic, 0) || k == key(deadTopic, 1) })
	h.awaitCommits(want)
}

func (h *harness) awaitChange(changed <-chan struct{}) {
	h.Helper()
	select {
	case <-changed:
	case <-h.ctx.Done():
		h.Fatal("what must happen has not happened")
	}
}

func (h *harness) checkModel() {
	h.Helper()
	if got := h.sink.snapshot(); !sameModel(got, h.want) {
		h.Errorf("model differs: %d messages, %d states; want %d and %d",
			len(got.Messages), len(got.States), len(h.want.Messages), len(h.want.States))
	}
}

// sameModel compares registers. Conflicts are what batches saw.
func sameModel(a, b *projection.Model) bool {
	registers := func(m *projection.Model) projection.Model {
		return projection.Model{
			States: m.States, Edits: m.Edits, Messages: m.Messages, Users: m.Users, Groups: m.Groups, Plans: m.Plans, Erased: m.Erased,
		}
	}
	return reflect.DeepEqual(registers(a), registers(b))
}

// read gives everything in a topic, partition by partition.
func (h *harness) read(topic string, partitions int) []kafka.Message {
	h.Helper()
	var messages []kafka.Message
	for id := range partitions {
		conn, err := (&kafka.Dialer{}).DialLeader(h.ctx, "tcp", h.addrs[0], topic, id)
		if err != nil {
			h.Fatal(err)
		}
		first, last, err := conn.ReadOffsets()
		if err != nil {
			h.Fatal(err)
		}
		for offset := first; offset < last; {
			m, err := conn.ReadMessage(1 << 20)
			if err != nil {
				h.Fatal(err)
			}
			messages, offset = append(messages, m), m.Offset+1
		}
		_ = conn.Close()
	}
	return messages
}

var errSink = errors.New("clickhouse is away")
