package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
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

// system is a projector and a query worker on topics and tables of the test's own.
type system struct {
	t               testing.TB
	nc              *nats.Conn
	messages, state string
	store           *readmodel.Store
	writer          *kafka.Writer
}

func start(t testing.TB) *system {
	t.Helper()
	box := sandboxtest.Start(t)
	s := &system{
		t:        t,
		nc:       sandboxtest.NATS(t),
		messages: sandboxtest.Topic(t, 3),
		state:    sandboxtest.Topic(t, 2, "cleanup.policy", "compact"),
		writer:   &kafka.Writer{Addr: kafka.TCP(box.KafkaAddr()), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond},
	}
	t.Cleanup(func() { _ = s.writer.Close() })

	storeConfig := readmodel.DefaultConfig()
	storeConfig.Addresses = []string{box.ClickHouseAddr()}
	storeConfig.Database = sandboxtest.Database(t)
	var err error
	if s.store, err = readmodel.Open(storeConfig); err != nil {
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

	ingestConfig := ingest.DefaultConfig()
	ingestConfig.Brokers = []string{box.KafkaAddr()}
	ingestConfig.GroupID = s.messages
	ingestConfig.Topics = []string{s.messages, s.state}
	ingestConfig.DeadTopic = sandboxtest.Topic(t, 1, "max.message.bytes", "2000000")
	ingestConfig.FlushInterval = 10 * time.Millisecond
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	consumer, err := ingest.New(ingestConfig, s.store, events.NewDecoder(events.DefaultLimits()), log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	worker := query.New(query.DefaultConfig(), s.nc, s.store, time.Now, log, prometheus.NewRegistry())
	for name, run := range map[string]func(context.Context) error{"consumer": consumer.Run, "worker": worker.Run} {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	return s
}

// send produces events, each to its topic.
func (s *system) send(list ...events.Event) {
	s.t.Helper()
	var records []kafka.Message
	for _, e := range list {
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			s.t.Fatal(err)
		}
		topic := s.messages
		if events.Topic(e.Body) == events.TopicState {
			topic = s.state
		}
		records = append(records, kafka.Message{Topic: topic, Key: []byte(events.Key(e)), Value: value})
	}
	if err := s.writer.WriteMessages(s.t.Context(), records...); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends a request and gives the reply's data, or its error's code and message.
func (s *system) ask(operation, app, request string) (map[string]any, string) {
	s.t.Helper()
	subject := "convoview.v1." + app + ".conversation." + operation
	reply, err := s.nc.Request(subject, []byte(request), 10*time.Second)
	for errors.Is(err, nats.ErrNoResponders) { // the worker is still starting
		reply, err = s.nc.Request(subject, []byte(request), 10*time.Second)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(reply.Data, &body); err != nil {
		s.t.Fatalf("%v in %s", err, reply.Data)
	}
	return body, reply.Header.Get("Nats-Service-Error-Code")
}

func TestOneMessageReachesBothLists(t *testing.T) {
	s := start(t)
	s.send(events.Event{
		ID: "1", App: "demo", Time: events.MicrosOf(time.Now()),
		Body: &events.MessageSent{
			Conversation: events.C2C("ann", "bob"), From: "ann", MessageID: "m1", Sequence: 1,
			Type: events.TypeText, Payload: []byte(`{"text":"hello"}`), MessageForShow: "hello",
		},
	})
	for user, unread := range map[string]float64{"ann": 0, "bob": 1} {
		for {
			body, code := s.ask("list", "demo", `{"userID":"`+user+`"}`)
			if code != "" {
				t.Fatalf("%s: %v", user, body)
			}
			list := body["data"].(map[string]any)["conversationList"].([]any)
			if len(list) == 0 {
				continue // not projected yet
			}
			item := list[0].(map[string]any)
			last := item["lastMessage"].(map[string]any)
			if item["unreadCount"] != unread || last["messageForShow"] != "hello" || last["fromAccount"] != "ann" {
				t.Errorf("%s sees %v", user, item)
			}
			break
		}
	}
}
