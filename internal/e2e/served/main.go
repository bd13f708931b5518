// Command served is a whole system in one process, on the real engines, for the
// tests of the client, which is a module of its own and asks over NATS alone. It
// says the URL of its NATS server on a line of standard output, and on the next
// that of another one, where nobody answers. It ends when standard input does.
//
// A request to the subject writeSubject is the JSON of an event. It is written to
// Kafka, and the reply is where: {"topic","partition","offset"}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox"
)

// writeSubject takes events to write.
const writeSubject = "write"

// partitions is how many each topic has.
const partitions = 2

// stopBudget is how long a stop may take.
const stopBudget = 20 * time.Second

func main() { lifecycle.Main(run) }

func run(ctx context.Context, _ []string, _ func(string) string, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	// 1 the engines
	box := sandbox.New(sandbox.Config{Topics: sandbox.ChatTopics(partitions)})
	if err := box.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = box.Close() }()
	empty := sandbox.New(sandbox.Config{Parts: sandbox.NATS})
	if err := empty.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = empty.Close() }()
	strict, err := startStrict()
	if err != nil {
		return err
	}
	defer strict.Shutdown()
	nc, err := nats.Connect(box.NATSURL())
	if err != nil {
		return fmt.Errorf("connect to %s: %w", box.NATSURL(), err)
	}
	defer nc.Close()
	store := readmodel.DefaultConfig()
	store.Addresses = []string{box.ClickHouseAddr()}
	server, err := readmodel.Open(store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := server.Migrate(ctx); err != nil {
		return err
	}

	// 2 the projector and the query worker
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	in := ingest.DefaultConfig()
	in.Brokers, in.FlushInterval = []string{box.KafkaAddr()}, 10*time.Millisecond
	decoder := events.NewDecoder(events.DefaultLimits())
	consumer, err := ingest.New(in, readmodel.NewLive(server), decoder, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	consumer.AnnounceTo(feed.NewPublisher(nc))
	worker := query.New(query.DefaultConfig(), nc, query.Generations{
		Current: server.Current,
		Store:   func(number int) query.Store { return server.Generation(number) },
		LeftOut: server.LeftOutOf,
	}, time.Now, log, prometheus.NewRegistry())
	follower := feed.NewFollower(feed.DefaultConfig(), nc, worker, log, prometheus.NewRegistry())
	worker.Follow(follower)

	// 3 the way in for tests
	client := &kafka.Client{Addr: kafka.TCP(box.KafkaAddr())}
	if _, err := nc.Subscribe(writeSubject, func(m *nats.Msg) {
		place, err := write(ctx, client, decoder, m.Data)
		if err != nil {
			place = fmt.Appendf(nil, `{"error":%q}`, err)
		}
		_ = m.Respond(place)
	}); err != nil {
		return fmt.Errorf("subscribe to %s: %w", writeSubject, err)
	}
	urls := lifecycle.Component{Name: "urls", Run: func(ctx context.Context) error {
		for err := nats.ErrNoResponders; errors.Is(err, nats.ErrNoResponders); { // until the worker has its last endpoint
			_, err = nc.RequestWithContext(ctx, "convoview.v1.demo.conversation.unread.nobody", []byte(`{"userID":"nobody"}`))
		}
		_, err := fmt.Fprintf(stdout, "%s\n%s\n%s\n", box.NATSURL(), empty.NATSURL(), strict.ClientURL())
		<-ctx.Done()
		return err
	}}
	return lifecycle.NewGroup(stopBudget, log,
		lifecycle.Component{Name: "projector", Run: consumer.Run},
		lifecycle.Component{Name: "feed", Run: follower.Run},
		lifecycle.Component{Name: "query", Run: worker.Run},
		urls,
	).Run(ctx)
}

// startStrict starts a NATS server of which the user mute may ask nothing, and the user
// deaf may hear nothing. In place of tokens it sees the only partition, 0.
func startStrict() (*natsserver.Server, error) {
	nothing := &natsserver.SubjectPermission{Deny: []string{">"}}
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true,
		Users: []*natsserver.User{
			{Username: "mute", Permissions: &natsserver.Permissions{Publish: nothing}},
			{Username: "deaf", Permissions: &natsserver.Permissions{Subscribe: nothing}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start the strict NATS server: %w", err)
	}
	if err := s.GlobalAccount().AddMapping("convoview.v1.*.conversation.*.*", "convoview.v1.{{wildcard(1)}}.conversation.{{wildcard(2)}}.{{partition(1,3)}}"); err != nil {
		return nil, fmt.Errorf("map subjects of the strict NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(stopBudget) {
		return nil, errors.New("the strict NATS server does not listen")
	}
	return s, nil
}

// write writes an event to its topic and says where.
func write(ctx context.Context, client *kafka.Client, decoder *events.Decoder, value []byte) ([]byte, error) {
	e, err := decoder.Decode(events.Record{Value: value, Timestamp: time.Now()})
	if err != nil {
		return nil, err
	}
	topic, partition := events.Topic(e.Body), int(e.ID[0]%partitions)
	response, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Key: kafka.NewBytes([]byte(events.Key(e))), Value: kafka.NewBytes(value)}),
	})
	if err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, response.Error
	}
	return json.Marshal(map[string]any{"topic": topic, "partition": partition, "offset": response.BaseOffset})
}
