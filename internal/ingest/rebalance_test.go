package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/projection"
)

func TestConsumer_RebalanceUnderLoad(t *testing.T) {
	h := newHarness(t, 4)
	var producing sync.WaitGroup
	first := h.run(h.config(), h.sink)
	feed := func(rounds int) {
		for range rounds {
			for p := range 4 {
				h.produce(messagesTopic, p, h.messages(25)...)
			}
		}
	}
	feed(5)
	h.awaitMembers(1, 8)
	producing.Go(func() { feed(20) })
	second := h.run(h.config(), h.sink)
	if assigned := h.awaitMembers(2, 8); !slices.Equal(assigned, []int{4, 4}) {
		t.Errorf("the members have %v of 8 partitions, want 4 each", assigned)
	}
	producing.Wait()
	h.awaitAll()
	h.checkModel()

	producing.Go(func() { feed(10) })
	first.mustStop()
	producing.Wait()
	h.awaitAll()
	h.checkModel()
	second.mustStop()
}

// What a generation has folded is not committed by the next one: those records
// are read again, and committed once they are written under it.
func TestConsumer_LostGenerationDoesNotCommit(t *testing.T) {
	h := newEmbedded(t, 1)
	entered, release := h.sink.holdFirst()
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(5)...)
	<-entered
	epoch := h.cluster.GroupInfo(group).Epoch

	type commit struct {
		generation int32
		writes     int
	}
	var mu sync.Mutex
	var commits []commit
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		h.sink.mu.Lock()
		defer h.sink.mu.Unlock()
		req := r.(*kmsg.OffsetCommitRequest)
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				if p.Offset > 0 {
					commits = append(commits, commit{req.Generation, h.sink.calls})
				}
			}
		}
		return true
	}})
	// The coordinator throws the member out.
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
	h.logs.await(h, "generation begins", 2)
	close(release)
	h.awaitAll()
	h.checkModel()
	mu.Lock()
	defer mu.Unlock()
	for _, c := range commits {
		if c.generation <= epoch {
			t.Errorf("a commit of generation %d after it had ended", c.generation)
		}
		if c.writes < 2 {
			t.Error("a commit of what the generation before had folded")
		}
	}
	r.mustStop()
}

// TestConsumer_CoordinatorRefusesTheGeneration has a commit be refused as one of a generation
// that is over, which heartbeats do not hear: the group is joined again.
func TestConsumer_CoordinatorRefusesTheGeneration(t *testing.T) {
	h := newEmbedded(t, 1)
	fault := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration})
	r := h.run(h.config(), h.sink)
	h.logs.await(h, "generation begins", 1)
	if err := fault.Wait(h.ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.logs.await(h, "offsets not committed: the generation is over; others read these records again", 1)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.awaitAll()
	r.mustStop()
}

func TestConsumer_CommitIsTriedAgain(t *testing.T) {
	h := newEmbedded(t, 1)
	r := h.run(h.config(), h.sink)
	h.awaitMembers(1, 2)
	fault := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: 4})
	h.produce(messagesTopic, 0, h.messages(5)...)
	// Nothing new comes, so it is the retry that commits.
	h.awaitAll()
	if fault.Hits() != 4 {
		t.Errorf("%d commits failed, want 4", fault.Hits())
	}
	r.mustStop()
}

func TestConsumer_FirstJoinFails(t *testing.T) {
	h := newEmbedded(t, 1)
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 3})
	r := h.run(h.config(), h.sink)
	line := h.logs.await(h, "cannot join the consumer group; trying again", 3)
	if line["attempt"] != "3" {
		t.Errorf("log line %v", line)
	}
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.awaitAll()
	r.mustStop()
}

// TestConsumer_CoordinatorErrors has the coordinator refuse each request of the group's
// protocol with each error, some of which no coordinator gives there: whatever it is, the
// consumer is a member again, and reads, writes and commits.
func TestConsumer_CoordinatorErrors(t *testing.T) {
	h := newEmbedded(t, 1, kfake.GroupMinSessionTimeout(time.Millisecond))
	config := h.config()
	// kafka-go may come back as a new member; the group waits for the old one.
	config.SessionTimeout = 300 * time.Millisecond
	r := h.run(config, h.sink)
	h.awaitMembers(1, 2)
	for _, key := range []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.OffsetCommit} {
		for _, refusal := range []*kerr.Error{
			kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.MemberIDRequired,
			kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut,
			kerr.GroupAuthorizationFailed, kerr.StaleMemberEpoch, kerr.UnknownServerError,
		} {
			fault := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: refusal})
			if key != kmsg.Heartbeat && key != kmsg.OffsetCommit { // what is asked when a generation begins
				h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress})
			}
			h.produce(messagesTopic, 0, h.messages(2)...)
			if err := fault.Wait(h.ctx, 1); err != nil {
				t.Fatalf("%s is not refused with %s: %v", key.Name(), refusal.Message, err)
			}
			h.awaitAll()
		}
	}
	h.checkModel()
	r.mustStop()
}

func TestConsumer_PartitionsAreAdded(t *testing.T) {
	h := newHarness(t, 1)
	first, second := h.run(h.config(), h.sink), h.run(h.config(), h.sink)
	h.awaitMembers(2, 2)
	res, err := h.client.CreatePartitions(h.ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: messagesTopic, Count: 5}},
	})
	if err != nil || res.Errors[messagesTopic] != nil {
		t.Fatal(err, res.Errors)
	}
	h.awaitMembers(2, 6)
	for p := range 5 {
		h.produceSoon(messagesTopic, p, h.messages(3)...)
	}
	h.awaitAll()
	h.checkModel()
	first.mustStop()
	second.mustStop()
}

// produceSoon writes to a partition that the test's own client, and its leader, may
// not know yet.
func (h *harness) produceSoon(topic string, partition int, records ...kafka.Record) {
	h.Helper()
	fresh := &kafka.Transport{}
	defer fresh.CloseIdleConnections()
	old := h.client
	defer func() { h.client = old }()
	h.client = &kafka.Client{Addr: old.Addr, Transport: fresh}
	var err error
	h.poll(func() bool {
		var response *kafka.ListOffsetsResponse
		response, err = h.client.ListOffsets(h.ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(partition)}}})
		if err == nil {
			err = response.Topics[topic][0].Error
		}
		fresh.CloseIdleConnections() // and what it knows
		return err == nil
	}, "the leader of %s/%d: %v", topic, partition, lazy(func() any { return err }))
	h.produce(topic, partition, records...)
}

func TestConsumer_LeadersMove(t *testing.T) {
	h := newEmbedded(t, 4, kfake.NumBrokers(3))
	r := h.run(h.config(), h.sink)
	for range 5 {
		for p := range 4 {
			h.produceSoon(messagesTopic, p, h.messages(20)...)
		}
		h.awaitAll()
		h.cluster.ShufflePartitionLeaders()
		h.cluster.RehashCoordinators()
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// Kafka away: every connection breaks, every request fails.
func TestConsumer_KafkaAway(t *testing.T) {
	h := newEmbedded(t, 2, kfake.GroupMinSessionTimeout(time.Second))
	config := h.config()
	// kafka-go comes back as a new member; the group waits for the old one.
	config.SessionTimeout = time.Second
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.awaitAll()
	var mu sync.Mutex
	away := true
	h.cluster.ControlKey(-1, func(kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			h.cluster.KeepControl()
			return nil, errSink, true
		}
		h.cluster.DropControl()
		return nil, nil, false
	})
	h.logs.await(h, "cannot join the consumer group; trying again", 5)
	if err := r.Check(h.ctx); err == nil {
		t.Error("ready although Kafka is away")
	}
	mu.Lock()
	away = false
	mu.Unlock()
	h.produceSoon(messagesTopic, 1, h.messages(10)...)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

func TestConsumer_StopWritesAndCommitsAll(t *testing.T) {
	h := newHarness(t, 3)
	config := h.config()
	config.FlushInterval = time.Hour
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, bad("k", "{"))
	for p := range 3 {
		h.produce(messagesTopic, p, h.messages(50)...)
	}
	// Wait until it is folded; nothing is due for an hour.
	r.awaitFolded(150)
	if got := h.commits(); len(got) > 0 {
		t.Fatalf("committed %v before the flush", got)
	}
	r.mustStop()
	h.checkModel()
	if got := h.commits(); !maps.Equal(got, map[string]int64{key(messagesTopic, 0): 51, key(messagesTopic, 1): 50, key(messagesTopic, 2): 50}) {
		t.Errorf("committed %v", got)
	}
	if got := len(h.read(deadTopic, 2)); got != 1 {
		t.Errorf("%d dead letters, want 1", got)
	}
	h.awaitMembers(0, 0)
}

// A sink that is away does not hold up a stop beyond its budget, and nothing is
// committed that was not written.
func TestConsumer_StopWhileTheSinkIsAway(t *testing.T) {
	h := newHarness(t, 1)
	h.sink.setBefore(func(context.Context, int, *projection.Model) error { return errSink })
	config := h.config()
	config.StopTimeout = 200 * time.Millisecond
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.logs.await(h, "batch cannot be written; nothing of it is committed", 2)
	if err := r.stop(); err == nil {
		t.Error("the stop did not say that something is not written")
	}
	if got := h.commits(); len(got) > 0 {
		t.Errorf("committed %v", got)
	}
}

// Memory: with the sink stuck, owners stop reading at the bounds, be it of
// events, of their bytes or of the rows that few events with many mentions make.
func TestConsumer_BoundedWhileTheSinkIsStuck(t *testing.T) {
	t.Run("events", func(t *testing.T) {
		h := newHarness(t, 3)
		config := h.config()
		config.MaxBatchEvents, config.MaxPieceEvents = 40, 10
		events := boundedWhileStuck(h, config, h.messages).events
		if most := 40 + boundedPartitions*10; events < 40 || events > most {
			t.Errorf("%d events wait for the sink, want 40 and at most a piece of each partition more (%d)", events, most)
		}
	})
	t.Run("rows", func(t *testing.T) {
		const mentions = 100
		h := newHarness(t, 3)
		config := h.config()
		config.MaxBatchRows, config.MaxPieceRows = 1000, 200
		rows := boundedWhileStuck(h, config, func(n int) []kafka.Record {
			records := make([]kafka.Record, n)
			for i := range records {
				records[i] = h.mentioning(mentions)
			}
			return records
		}).rows
		if most := 1000 + boundedPartitions*(200+mentions+10); rows < 1000 || rows > most {
			t.Errorf("%d rows wait for the sink, want 1000 and at most a piece and a message of each partition more (%d)", rows, most)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		h := newHarness(t, 3)
		config := h.config()
		config.MaxBatchBytes, config.MaxPieceBytes = 20_000, 2000
		bytes := boundedWhileStuck(h, config, h.messages).bytes
		if most := 20_000 + boundedPartitions*(2000+1000); bytes < 20_000 || bytes > most {
			t.Errorf("%d bytes wait for the sink, want 20000 and at most a piece and a message of each partition more (%d)", bytes, most)
		}
	})
}

// boundedPartitions are those of both topics, each of which may go on with one piece while
// the others fill the batch.
const boundedPartitions = 6

// boundedWhileStuck gives what waits once every owner has stopped for want of
// room; then it lets the sink go on and checks that all is projected.
func boundedWhileStuck(h *harness, config Config, records func(n int) []kafka.Record) (held amount) {
	h.Helper()
	entered, release := h.sink.holdFirst()
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.message())
	<-entered
	for p := range 3 {
		h.produce(messagesTopic, p, records(300)...)
		h.produce(stateTopic, p, records(300)...)
	}
	for {
		r.accumulator.mu.Lock()
		waiting, changed := r.accumulator.waiting, r.accumulator.changed
		held = r.accumulator.held
		r.accumulator.mu.Unlock()
		if waiting == boundedPartitions {
			break
		}
		h.awaitChange(changed)
	}
	close(release)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
	return held
}

func TestBalancer(t *testing.T) {
	nameAll("")
	topics := []string{messagesTopic, stateTopic}
	members := []kafka.GroupMember{{ID: "b", Topics: topics}, {ID: "a", Topics: topics}, {ID: "c", Topics: topics[:1]}, {ID: "d", Topics: topics}}
	var partitions []kafka.Partition
	for id := range 2 {
		partitions = append(partitions, kafka.Partition{Topic: stateTopic, ID: id}, kafka.Partition{Topic: messagesTopic, ID: id})
	}
	var b balancer
	if b.take() != nil {
		t.Error("spread nothing, but says so")
	}
	got := b.AssignGroups(members, partitions)
	want := kafka.GroupMemberAssignments{
		"a": {messagesTopic: {0}}, "b": {messagesTopic: {1}}, "c": {}, "d": {stateTopic: {0}},
	}
	want["a"][stateTopic] = []int{1}
	for id := range want {
		for _, topic := range topics {
			if !slices.Equal(got[id][topic], want[id][topic]) {
				t.Errorf("%s has %v of %s, want %v", id, got[id][topic], topic, want[id][topic])
			}
		}
	}
	if counts := b.take(); !maps.Equal(counts, map[string]int{messagesTopic: 2, stateTopic: 2}) {
		t.Errorf("spread %v", counts)
	}
	if b.take() != nil {
		t.Error("took twice")
	}
}

// TestOffsets_Group tells who is in the group, by names that outlive its generations.
func TestOffsets_Group(t *testing.T) {
	h := newHarness(t, 2)
	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	// is holds that these are in the group.
	is := func(running ...*runner) {
		t.Helper()
		var want []string
		for _, r := range running {
			want = append(want, r.Process())
		}
		slices.Sort(want)
		g, err := offsets.Group(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range g.Members {
			got = append(got, m.Process)
			if m.Client != DefaultConfig().ClientID || m.Host == "" {
				t.Errorf("member %+v", m)
			}
		}
		slices.Sort(got)
		if settled := len(running) > 0; g.Settled != settled || !slices.Equal(got, want) {
			t.Errorf("settled %t, members %q, want %q", g.Settled, got, want)
		}
	}
	is()
	first := h.run(h.config(), h.sink)
	h.awaitMembers(1, 4)
	is(first)
	second := h.run(h.config(), h.sink)
	h.awaitMembers(2, 4)
	is(first, second)
	first.mustStop()
	h.awaitMembers(1, 4)
	is(second)
	second.mustStop()
	is()
}

// TestOffsets_CoordinatorMoves asks again while the group's coordinator is moving.
func TestOffsets_CoordinatorMoves(t *testing.T) {
	h := newEmbedded(t, 1)
	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	for _, moving := range []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress} {
		for _, request := range []struct {
			key kmsg.Key
			ask func() error
		}{
			{kmsg.OffsetFetch, func() error { _, err := offsets.Committed(h.ctx); return err }},
			{kmsg.DescribeGroups, func() error { _, err := offsets.Group(h.ctx); return err }},
			{kmsg.DeleteGroups, func() error { return offsets.Forget(h.ctx) }},
		} {
			fault := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{request.key}, Err: moving, Count: 2})
			if err := request.ask(); err != nil || fault.Hits() != 2 {
				t.Errorf("%s, %s: got %v after %d", request.key.Name(), moving.Message, err, fault.Hits())
			}
			fault.Remove()
		}
	}
	// What does not pass by itself is said at once.
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed})
	if _, err := offsets.Group(h.ctx); !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("got %v, want it to be forbidden", err)
	}
}

const goneLine = "topics are gone; going on with the others"

// TestConsumer_TopicIsGone deletes one of the topics: the other one is read on, it is said
// which is missing, and nobody makes it anew but an operator.
func TestConsumer_TopicIsGone(t *testing.T) {
	h := newEmbedded(t, 2, kfake.AllowAutoTopicCreation())
	var creating atomic.Int64
	asked := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		if r.(*kmsg.MetadataRequest).AllowAutoTopicCreation {
			creating.Add(1)
		}
		return true
	}})
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(3)...)
	h.produce(stateTopic, 1, h.messages(3)...)
	h.awaitAll()

	res, err := h.client.DeleteTopics(h.ctx, &kafka.DeleteTopicsRequest{Topics: []string{stateTopic}})
	if err != nil || res.Errors[stateTopic] != nil {
		t.Fatal(err, res.Errors)
	}
	if line := h.logs.await(h, goneLine, 1); line["level"] != "ERROR" || !strings.Contains(line["error"], stateTopic) {
		t.Errorf("log line %v", line)
	}
	h.awaitMembers(1, 2)
	h.produce(messagesTopic, 1, h.messages(3)...)
	h.sink.await(h, 9)
	if err := r.Check(h.ctx); err == nil || !strings.Contains(err.Error(), "missing topics: "+stateTopic) {
		t.Errorf("check gives %v, want the missing topic", err)
	}

	h.createTopic(stateTopic, 2, nil)
	h.produceSoon(stateTopic, 0, h.messages(3)...)
	h.sink.await(h, 12)
	h.checkModel()
	h.poll(func() bool { return r.Check(h.ctx) == nil }, "no complaint; it is %v", lazy(func() any { return r.Check(h.ctx) }))
	if n := h.logs.count(goneLine); n != 1 {
		t.Errorf("said %d times that a topic is gone, want once", n)
	}
	if asked.Hits() == 0 || creating.Load() > 0 {
		t.Errorf("%d of %d metadata requests would have had topics created", creating.Load(), asked.Hits())
	}
	r.mustStop()
}
