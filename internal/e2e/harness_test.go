package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(asNATS); node != "" {
		runNode(node)
		return
	}
	sandboxtest.Main(m)
}

var seedFlag = flag.Uint64("seed", 0, "draw everything from this seed again")

// newRand gives what a test draws from, and says how to draw the same again.
func newRand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// The usual partitions of the two topics.
const (
	messagePartitions = 3
	statePartitions   = 2
)

// system is topics and tables of the test's own, and a NATS server of its own,
// so that several systems can answer at the same time.
type system struct {
	t               testing.TB
	kafka, dbAddr   string
	nc              *nats.Conn
	natsURL         string // of all servers
	messages, state string // topics
	partitions      []events.Partition
	dead            string // topic
	group           string
	database        string
	readModel       *readmodel.Server
	feed            *feed.Follower // of the query worker, once there is one
	tracer          trace.Tracer   // of the services; nil: they make no traces
	client          *kafka.Client
	writer          *kafka.Writer
	rng             *rand.Rand                           // draws encodings
	sent            []events.Event                       // last
	refused         atomic.Int64                         // requests that were asked again
	replied         func(operation string, reply []byte) // looks at replies that say no error; may be nil
	// mayBeLost is when to ask again that has no reply: whoever had it in hand was killed.
	mayBeLost time.Duration
	lost      atomic.Int64 // requests that were
}

func newSystem(t testing.TB) *system {
	t.Helper()
	return newSystemOf(t, newRand(t), messagePartitions, statePartitions)
}

func newSystemOf(t testing.TB, rng *rand.Rand, messagePartitions, statePartitions int) *system {
	t.Helper()
	return newSystemIn(t, rng, "", messagePartitions, statePartitions)
}

// newSystemIn makes one whose tables are in a ClickHouse cluster; "": on one server.
func newSystemIn(t testing.TB, rng *rand.Rand, cluster string, messagePartitions, statePartitions int) *system {
	t.Helper()
	box := sandboxtest.Start(t)
	s := &system{
		t:        t,
		rng:      rng,
		kafka:    box.KafkaAddr(),
		dbAddr:   box.ClickHouseAddr(),
		nc:       startNATS(t),
		messages: sandboxtest.Topic(t, messagePartitions),
		state:    sandboxtest.Topic(t, statePartitions, "cleanup.policy", "compact"),
		dead:     sandboxtest.Topic(t, 1, "max.message.bytes", "2000000"),
		database: sandboxtest.Database(t),
		client:   &kafka.Client{Addr: kafka.TCP(box.KafkaAddr())},
		writer: &kafka.Writer{
			Addr: kafka.TCP(box.KafkaAddr()), RequiredAcks: kafka.RequireAll,
			BatchSize: sendAtOnce, BatchTimeout: time.Millisecond,
		},
	}
	s.group, s.natsURL = s.messages, s.nc.ConnectedUrl()
	for id := range messagePartitions {
		s.partitions = append(s.partitions, events.Partition{Topic: s.messages, ID: id})
	}
	for id := range statePartitions {
		s.partitions = append(s.partitions, events.Partition{Topic: s.state, ID: id})
	}
	t.Cleanup(func() { _ = s.writer.Close() })

	config := readmodel.DefaultConfig()
	config.Addresses = []string{s.dbAddr}
	if cluster != "" {
		s.database += "_registry" // one that migrations make
	}
	config.Database, config.Cluster = s.database, cluster
	var err error
	if s.readModel, err = readmodel.Open(config); err != nil {
		t.Fatal(err)
	}
	if err := s.readModel.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.readModel.DropAll(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = s.readModel.Close()
	})
	return s
}

func startNATS(t testing.TB) *nats.Conn {
	t.Helper()
	server := sandbox.New(sandbox.Config{Parts: sandbox.NATS})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := nats.Connect(server.NATSURL(), nats.Timeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// ingest is how projectors of the system read.
func (s *system) ingest() ingest.Config {
	config := ingest.DefaultConfig()
	config.Brokers = []string{s.kafka}
	config.GroupID = s.group
	config.Topics = []string{s.messages, s.state}
	config.DeadTopic = s.dead
	config.FlushInterval = 10 * time.Millisecond
	config.KeepInterval = 10 * time.Millisecond
	return config
}

// project runs a projector in this process, until stop or the end of the test.
func (s *system) project() (stop func()) {
	s.t.Helper()
	return s.projectTo(readmodel.NewLive(s.readModel))
}

// projectTo runs one that writes to a sink.
func (s *system) projectTo(sink ingest.Sink) (stop func()) {
	s.t.Helper()
	config := s.ingest()
	consumer, err := ingest.New(config, sink, events.NewDecoder(events.DefaultLimits()), s.log(), prometheus.NewRegistry())
	if err != nil {
		s.t.Fatal(err)
	}
	consumer.AnnounceTo(feed.NewPublisher(s.nc))
	if s.tracer != nil {
		consumer.TraceWith(s.tracer)
	}
	return s.run("projector", consumer.Run)
}

// serve runs a query worker in this process.
func (s *system) serve(clock func() time.Time) {
	config := query.DefaultConfig()
	config.MaxQueued, config.MaxWaiting = askersAtOnce, askersAtOnce
	config.GenerationInterval = time.Hour // it is told of switches
	worker := query.New(config, s.nc, query.Generations{
		Current: s.readModel.Current,
		Store:   func(number int) query.Store { return s.readModel.Generation(number) },
		LeftOut: s.readModel.LeftOutOf,
	}, clock, s.log(), prometheus.NewRegistry())
	s.feed = feed.NewFollower(feed.DefaultConfig(), s.nc, worker, s.log(), prometheus.NewRegistry())
	worker.Follow(s.feed)
	if s.tracer != nil {
		worker.TraceWith(s.tracer)
		s.feed.TraceWith(s.tracer)
	}
	s.run("feed", s.feed.Run)
	s.run("query worker", worker.Run)
}

func (s *system) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (s *system) run(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// sendAtOnce bounds the records that one call of the writer takes.
const sendAtOnce = 5000

// send produces events, each to its topic and each time in an encoding that is
// drawn. They come in any order, so compaction must not choose: keys end in the ID.
func (s *system) send(list ...events.Event) {
	s.t.Helper()
	s.sent = list
	for chunk := range slices.Chunk(list, sendAtOnce) {
		records := make([]kafka.Message, len(chunk))
		for i, e := range chunk {
			records[i] = s.record(e)
		}
		if err := s.writer.WriteMessages(s.t.Context(), records...); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *system) record(e events.Event) kafka.Message {
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
	return kafka.Message{
		Topic: topic, Key: []byte(events.Key(e) + e.ID), Value: value,
		Headers: []kafka.Header{{Key: events.HeaderContentType, Value: []byte(contentType)}},
	}
}

// settle waits until all that is in the topics is projected, and the query
// worker, if there is one, has heard of it.
func (s *system) settle() {
	s.t.Helper()
	ends := s.ends()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.committed().behind(ends, s.partitions) > 0 {
		select {
		case <-poll.C:
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		}
	}
	for p, end := range ends {
		if s.feed == nil || end == 0 {
			continue
		}
		if err := s.feed.Await(s.t.Context(), events.Partition{Topic: p.Topic, ID: p.ID}, end-1); err != nil {
			s.t.Fatal(err)
		}
	}
}

// offsets are places in partitions.
type offsets map[events.Partition]int64

// behind is how many records of some partitions are between o and ends.
func (o offsets) behind(ends offsets, of []events.Partition) (n int64) {
	for _, p := range of {
		n += ends[p] - o[p]
	}
	return n
}

// ends are where the partitions end now.
func (s *system) ends() offsets {
	s.t.Helper()
	requests := map[string][]kafka.OffsetRequest{}
	for _, p := range s.partitions {
		requests[p.Topic] = append(requests[p.Topic], kafka.LastOffsetOf(p.ID))
	}
	response, err := s.client.ListOffsets(s.t.Context(), &kafka.ListOffsetsRequest{Topics: requests})
	if err != nil {
		s.t.Fatal(err)
	}
	ends := offsets{}
	for topic, list := range response.Topics {
		for _, p := range list {
			ends[events.Partition{Topic: topic, ID: p.Partition}] = p.LastOffset
		}
	}
	return ends
}

// committed is up to where the projectors' group has committed.
func (s *system) committed() offsets {
	s.t.Helper()
	ids := map[string][]int{}
	for _, p := range s.partitions {
		ids[p.Topic] = append(ids[p.Topic], p.ID)
	}
	response, err := s.client.OffsetFetch(s.t.Context(), &kafka.OffsetFetchRequest{GroupID: s.group, Topics: ids})
	if err != nil {
		s.t.Fatal(err)
	}
	committed := offsets{}
	for topic, list := range response.Topics {
		for _, p := range list {
			committed[events.Partition{Topic: topic, ID: p.Partition}] = max(0, p.CommittedOffset) // -1: nothing yet
		}
	}
	return committed
}

// reply is an answer as it came.
type reply struct {
	code string // of an error, else ""
	data string
}

// askAgain are the codes of what a busy machine may be too slow for. Nothing here is timed.
var askAgain = []string{"503", "504"}

// request sends a request, again if need be, and gives the reply.
func (s *system) request(operation, app string, request any) (reply, error) {
	for {
		r, err := s.requestOnce(operation, app, request)
		if err != nil || !slices.Contains(askAgain, r.code) {
			return r, err
		}
		s.refused.Add(1)
	}
}

// requestOnce sends a request and gives the reply.
func (s *system) requestOnce(operation, app string, request any) (reply, error) {
	subject := "convoview.v1." + app + ".conversation." + operation
	body, err := json.Marshal(request)
	if err != nil {
		return reply{}, err
	}
	for {
		msg, err := s.nc.Request(subject, body, cmp.Or(s.mayBeLost, time.Minute))
		if errors.Is(err, nats.ErrNoResponders) { // the worker is still starting
			continue
		}
		if s.mayBeLost > 0 && errors.Is(err, nats.ErrTimeout) {
			s.lost.Add(1)
			continue
		}
		if err != nil {
			return reply{}, fmt.Errorf("ask %s: %w", subject, err)
		}
		return reply{msg.Header.Get(micro.ErrorCodeHeader), string(msg.Data)}, nil
	}
}

// ask sends a request and decodes the reply; one that says an error is an error.
func (s *system) ask(operation, app string, request, reply any) error {
	got, err := s.request(operation, app, request)
	if err != nil {
		return err
	}
	if got.code != "" {
		return fmt.Errorf("%s in %s with %v: %s", operation, app, request, got.data)
	}
	if s.replied != nil {
		s.replied(operation, []byte(got.data))
	}
	return json.Unmarshal([]byte(got.data), reply)
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
