package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func partitions(t *testing.T, addr, topic string) int {
	t.Helper()
	res, err := (&kafka.Client{Addr: kafka.TCP(addr)}).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || res.Topics[0].Error != nil {
		t.Fatal(err, res)
	}
	return len(res.Topics[0].Partitions)
}

// settings returns what the broker says of some settings of a topic.
func settings(t *testing.T, addr, topic string, names ...string) map[string]string {
	t.Helper()
	res, err := (&kafka.Client{Addr: kafka.TCP(addr)}).DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range res.Resources[0].ConfigEntries {
		got[e.ConfigName] = e.ConfigValue
	}
	return got
}

func TestKafka_ChatTopics(t *testing.T) {
	s := sandboxtest.Start(t)
	for range 2 { // the second time they are there
		if err := s.CreateTopics(t.Context(), sandbox.ChatTopics(4)...); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]map[string]string{}
	for _, topic := range []string{"chat.messages", "chat.state", "chat.dead"} {
		got[topic] = settings(t, s.KafkaAddr(), topic, "cleanup.policy", "max.message.bytes", "message.timestamp.type")
	}
	want := map[string]map[string]string{
		"chat.messages": {"cleanup.policy": "delete", "max.message.bytes": "1048588", "message.timestamp.type": "LogAppendTime"},
		"chat.state":    {"cleanup.policy": "compact", "max.message.bytes": "1048588", "message.timestamp.type": "LogAppendTime"},
		"chat.dead":     {"cleanup.policy": "delete", "max.message.bytes": "1114124", "message.timestamp.type": "CreateTime"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	writer := &kafka.Writer{Addr: kafka.TCP(s.KafkaAddr()), BatchBytes: 2 << 20, BatchSize: 1, MaxAttempts: 1, RequiredAcks: kafka.RequireAll}
	defer func() { _ = writer.Close() }()
	large := make([]byte, 1048588)
	var failed kafka.WriteErrors
	if err := writer.WriteMessages(t.Context(), kafka.Message{Topic: "chat.messages", Value: large}); !errors.As(err, &failed) || !errors.Is(failed[0], kafka.MessageSizeTooLarge) {
		t.Errorf("a message over the limit: %v", err)
	}
	if err := writer.WriteMessages(t.Context(), kafka.Message{Topic: "chat.dead", Value: large}); err != nil {
		t.Errorf("its dead letter: %v", err)
	}
}

// join takes part in a group until it is assigned all partitions.
func join(ctx context.Context, t *testing.T, group, topic string) (*kafka.ConsumerGroup, *kafka.Generation) {
	t.Helper()
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{sandboxtest.Start(t).KafkaAddr()}, Topics: []string{topic},
		JoinGroupBackoff: 10 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		gen, err := members.Next(ctx)
		if err == nil {
			return members, gen
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestKafka_ConsumerGroup(t *testing.T) {
	s, topic := sandboxtest.Start(t), sandboxtest.Topic(t, 2)
	before := time.Now().Add(-time.Second)
	writer := &kafka.Writer{Addr: kafka.TCP(s.KafkaAddr()), Topic: topic, Balancer: &kafka.RoundRobin{}, BatchTimeout: time.Millisecond, Compression: kafka.Zstd, RequiredAcks: kafka.RequireAll}
	defer func() { _ = writer.Close() }()
	var messages []kafka.Message
	for i := range 100 {
		messages = append(messages, kafka.Message{Key: []byte(fmt.Sprint("k", i)), Value: []byte(fmt.Sprint("v", i)), Headers: []kafka.Header{{Key: "h", Value: []byte("x")}}, Time: time.Unix(0, 0)})
	}
	if err := writer.WriteMessages(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}

	members, gen := join(t.Context(), t, topic, topic)
	if len(gen.Assignments[topic]) != 2 {
		t.Fatalf("assigned %v, want both partitions", gen.Assignments)
	}
	values := map[string]bool{}
	offsets := map[int]int64{}
	for _, a := range gen.Assignments[topic] {
		conn, err := kafka.DialLeader(t.Context(), "tcp", s.KafkaAddr(), topic, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
		for offsets[a.ID] < batch.HighWaterMark() {
			m, err := batch.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if m.Time.Before(before) {
				t.Fatalf("the record has the producer's time %v, want the broker's", m.Time)
			}
			if len(m.Headers) != 1 {
				t.Fatalf("headers %v", m.Headers)
			}
			values[string(m.Value)] = true
			offsets[a.ID] = m.Offset + 1
		}
		_ = batch.Close()
	}
	if len(values) != 100 {
		t.Errorf("read %d messages, want 100", len(values))
	}
	if err := gen.CommitOffsets(map[string]map[int]int64{topic: offsets}); err != nil {
		t.Fatal(err)
	}
	if err := members.Close(); err != nil {
		t.Fatal(err)
	}

	// The next generation starts where this one committed, and this one can
	// commit no more.
	members, next := join(t.Context(), t, topic, topic)
	defer func() { _ = members.Close() }()
	got := map[int]int64{}
	for _, a := range next.Assignments[topic] {
		got[a.ID] = a.Offset
	}
	if diff := cmp.Diff(offsets, got); diff != "" {
		t.Errorf("offsets of the next generation (-want +got)\n%s", diff)
	}
	if err := gen.CommitOffsets(map[string]map[int]int64{topic: {0: 0}}); err == nil {
		t.Error("an old generation committed")
	}
}
