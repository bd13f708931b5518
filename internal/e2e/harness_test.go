package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// The partitions of the two topics.
const (
	messagePartitions = 3
	statePartitions   = 2
)

// system is topics and tables of the test's own.
type system struct {
	t               testing.TB
	kafka, dbAddr   string
	nc              *nats.Conn
	messages, state string // topics
	dead            string // topic
	group           string
	database        string
	store           *readmodel.Store
	writer          *kafka.Writer
	rng             *rand.Rand // draws encodings and orders
}

func newSystem(t testing.TB) *system {
	t.Helper()
	seed := rand.Uint64()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("-seed %d", seed)
	box := sandboxtest.Start(t)
	s := &system{
		t:        t,
		rng:      rand.New(rand.NewPCG(seed, 0)),
		kafka:    box.KafkaAddr(),
		dbAddr:   box.ClickHouseAddr(),
		nc:       sandboxtest.NATS(t),
		messages: sandboxtest.Topic(t, messagePartitions),
		state:    sandboxtest.Topic(t, statePartitions, "cleanup.policy", "compact"),
		dead:     sandboxtest.Topic(t, 1, "max.message.bytes", "2000000"),
		database: sandboxtest.Database(t),
		writer:   &kafka.Writer{Addr: kafka.TCP(box.KafkaAddr()), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond},
	}
	s.group = s.messages
	t.Cleanup(func() { _ = s.writer.Close() })

	config := readmodel.DefaultConfig()
	config.Addresses = []string{s.dbAddr}
	config.Database = s.database
	var err error
	if s.store, err = readmodel.Open(config); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = s.store.Close()
	})
	return s
}

// project runs a projector in this process.
func (s *system) project() {
	s.t.Helper()
	config := ingest.DefaultConfig()
	config.Brokers = []string{s.kafka}
	config.GroupID = s.group
	config.Topics = []string{s.messages, s.state}
	config.DeadTopic = s.dead
	config.FlushInterval = 10 * time.Millisecond
	consumer, err := ingest.New(config, s.store, events.NewDecoder(events.DefaultLimits()), s.log(), prometheus.NewRegistry())
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("projector", consumer.Run)
}

// serve runs a query worker in this process.
func (s *system) serve(clock func() time.Time) {
	s.run("query worker", query.New(query.DefaultConfig(), s.nc, s.store, clock, s.log(), prometheus.NewRegistry()).Run)
}

func (s *system) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (s *system) run(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
	})
}

// send produces events, each to its topic and each time in an encoding that is
// drawn. They come in any order, so compaction must not choose: keys end in the ID.
func (s *system) send(list ...events.Event) {
	s.t.Helper()
	records := make([]kafka.Message, len(list))
	for i, e := range list {
		topic := s.messages
		if events.Topic(e.Body) == events.TopicState {
			topic = s.state
		}
		encode, contentType := events.AppendJSON, events.ContentTypeJSON
		if s.rng.IntN(2) == 0 {
			encode, contentType = events.AppendProtobuf, events.ContentTypeProtobuf
		}
		value, err := encode(nil, e)
		if err != nil {
			s.t.Fatal(err)
		}
		records[i] = kafka.Message{
			Topic: topic, Key: []byte(events.Key(e) + e.ID), Value: value,
			Headers: []kafka.Header{{Key: events.HeaderContentType, Value: []byte(contentType)}},
		}
	}
	if err := s.writer.WriteMessages(s.t.Context(), records...); err != nil {
		s.t.Fatal(err)
	}
}

// settle waits until all that is in the topics is projected.
func (s *system) settle() {
	s.t.Helper()
	client := &kafka.Client{Addr: s.writer.Addr}
	ends := map[string]map[int]int64{}
	for topic, partitions := range map[string]int{s.messages: messagePartitions, s.state: statePartitions} {
		var requests []kafka.OffsetRequest
		for p := range partitions {
			requests = append(requests, kafka.LastOffsetOf(p))
		}
		response, err := client.ListOffsets(s.t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: requests}})
		if err != nil {
			s.t.Fatal(err)
		}
		ends[topic] = map[int]int64{}
		for _, p := range response.Topics[topic] {
			ends[topic][p.Partition] = p.LastOffset
		}
	}
	for !s.committed(client, ends) {
		if err := s.t.Context().Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// committed reports whether the group has committed up to the ends.
func (s *system) committed(client *kafka.Client, ends map[string]map[int]int64) bool {
	topics := map[string][]int{}
	for topic, partitions := range ends {
		for p := range partitions {
			topics[topic] = append(topics[topic], p)
		}
	}
	response, err := client.OffsetFetch(s.t.Context(), &kafka.OffsetFetchRequest{GroupID: s.group, Topics: topics})
	if err != nil {
		s.t.Fatal(err)
	}
	reached := 0
	for topic, partitions := range response.Topics { // none at all of a group that has not begun
		for _, p := range partitions {
			if end := ends[topic][p.Partition]; p.CommittedOffset >= end || end == 0 {
				reached++
			}
		}
	}
	return reached == messagePartitions+statePartitions
}

// ask sends a request and decodes the reply.
func (s *system) ask(operation, app string, request, reply any) error {
	subject := "convoview.v1." + app + ".conversation." + operation
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	msg, err := s.nc.Request(subject, body, 10*time.Second)
	for errors.Is(err, nats.ErrNoResponders) { // the worker is still starting
		msg, err = s.nc.Request(subject, body, 10*time.Second)
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	if code := msg.Header.Get("Nats-Service-Error-Code"); code != "" {
		return fmt.Errorf("ask %s with %s: %s", subject, body, msg.Data)
	}
	return json.Unmarshal(msg.Data, reply)
}

// listReply, profileReply and unreadReply are replies with their items as they came.
type (
	listReply struct {
		Data struct {
			ConversationList []json.RawMessage `json:"conversationList"`
		} `json:"data"`
		NextCursor string `json:"nextCursor"`
	}
	profileReply struct {
		Data struct {
			Conversation json.RawMessage `json:"conversation"`
		} `json:"data"`
	}
	unreadReply struct {
		Data struct {
			Total uint64 `json:"totalUnreadMessageCount"`
		} `json:"data"`
	}
)

// list gives a user's whole list, page by page.
func (s *system) list(app, user string) ([]string, error) {
	request := map[string]any{"userID": user, "limit": pageSize}
	var items []string
	for {
		var page listReply
		if err := s.ask("list", app, request, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Data.ConversationList {
			items = append(items, string(item))
		}
		if page.NextCursor == "" {
			return items, nil
		}
		request["cursor"] = page.NextCursor
	}
}

// pageSize makes most lists take several pages.
const pageSize = 10
