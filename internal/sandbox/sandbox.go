package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/convoview/convoview/internal/sandbox/clickhouse"
)

// Parts names what a sandbox starts.
type Parts uint8

// The parts of a sandbox.
const (
	Kafka Parts = 1 << iota
	NATS
	ClickHouse

	All = Kafka | NATS | ClickHouse
)

// Topic is a Kafka topic that the sandbox creates at start where it is missing.
type Topic struct {
	Name       string
	Partitions int
	// Config holds the topic's settings, such as cleanup.policy.
	Config map[string]string
}

// maxMessageBytes is Kafka's own default. A dead letter is an event with
// headers about it, for which its topic has room.
const (
	maxMessageBytes = 1048588
	deadLetterRoom  = 64 << 10
)

// ChatTopics are the topics of the project under their default names.
func ChatTopics(partitions int) []Topic {
	config := func(bytes int, pairs ...string) map[string]string {
		m := map[string]string{"max.message.bytes": strconv.Itoa(bytes)}
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	return []Topic{
		{"chat.messages", partitions, config(maxMessageBytes, "message.timestamp.type", "LogAppendTime")},
		{"chat.state", partitions, config(maxMessageBytes, "message.timestamp.type", "LogAppendTime", "cleanup.policy", "compact")},
		{"chat.dead", partitions, config(maxMessageBytes + deadLetterRoom)},
	}
}

// Config describes a sandbox.
type Config struct {
	// Parts are those to start; 0 means all.
	Parts Parts
	// DataDir keeps Kafka's and ClickHouse's data between runs. Empty: Kafka
	// keeps them in memory, ClickHouse in a temporary directory that is
	// removed at stop.
	DataDir string
	// The ports to listen on, on 127.0.0.1 alone; 0 means any free one.
	KafkaPort, NATSPort, ClickHousePort, HTTPPort int
	// Topics are created where they are missing.
	Topics []Topic
	// Connections bounds how many ClickHouse queries run at once; 0 means 16.
	Connections int
	// Logger; nil means silence.
	Logger *slog.Logger
}

// DefaultConfig is everything on the ports that the servers themselves use.
func DefaultConfig() Config {
	return Config{Parts: All, KafkaPort: 9092, NATSPort: 4222, ClickHousePort: 9000, HTTPPort: 8123}
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Parts&^All != 0 {
		errs = append(errs, fmt.Errorf("parts %#x: unknown part", c.Parts))
	}
	taken := map[int]string{}
	for _, p := range []struct {
		name string
		port int
	}{{"Kafka", c.KafkaPort}, {"NATS", c.NATSPort}, {"ClickHouse", c.ClickHousePort}, {"HTTP", c.HTTPPort}} {
		if p.port < 0 || p.port > 65535 {
			errs = append(errs, fmt.Errorf("%s port %d: want 0 to 65535", p.name, p.port))
		}
		if other, ok := taken[p.port]; ok && p.port != 0 {
			errs = append(errs, fmt.Errorf("%s port %d: %s has it", p.name, p.port, other))
		}
		taken[p.port] = p.name
	}
	names := map[string]bool{}
	for _, t := range c.Topics {
		if t.Name == "" || names[t.Name] {
			errs = append(errs, fmt.Errorf("topic %q: want distinct names", t.Name))
		}
		if t.Partitions < 1 {
			errs = append(errs, fmt.Errorf("topic %s: %d partitions: want at least 1", t.Name, t.Partitions))
		}
		names[t.Name] = true
	}
	if c.Connections < 0 {
		errs = append(errs, fmt.Errorf("connections %d: want at least 1, or 0 for the default", c.Connections))
	}
	return errors.Join(errs...)
}

// Sandbox is Kafka, NATS and ClickHouse in this process.
type Sandbox struct {
	config     Config
	kafka      *kfake.Cluster
	kafkaAddr  string
	nats       *server.Server
	clickhouse *clickhouse.Server
	temporary  string
}

// New makes a sandbox, which Start starts.
func New(config Config) *Sandbox {
	if config.Parts == 0 {
		config.Parts = All
	}
	if config.Connections == 0 {
		config.Connections = 16
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sandbox{config: config}
}

// Start starts the parts and creates the topics. After an error nothing runs.
func (s *Sandbox) Start(ctx context.Context) error {
	err := s.config.Validate()
	for _, part := range []struct {
		part  Parts
		start func(context.Context) error
	}{{ClickHouse, s.startClickHouse}, {Kafka, s.startKafka}, {NATS, s.startNATS}} {
		if err == nil && s.config.Parts&part.part != 0 {
			err = part.start(ctx)
		}
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

func (s *Sandbox) startClickHouse(ctx context.Context) error {
	path := filepath.Join(s.config.DataDir, "clickhouse")
	if s.config.DataDir == "" {
		sweep(os.TempDir())
		var err error
		if s.temporary, err = os.MkdirTemp("", temporaryPrefix); err != nil {
			return fmt.Errorf("make a directory for ClickHouse: %w", err)
		}
		path = s.temporary
	} else if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	var err error
	s.clickhouse, err = clickhouse.Start(ctx, clickhouse.Config{
		Path:        path,
		Addr:        loopback(s.config.ClickHousePort),
		HTTPAddr:    loopback(s.config.HTTPPort),
		Connections: s.config.Connections,
		Logger:      s.config.Logger,
	})
	return err
}

const (
	temporaryPrefix = "convoview-sandbox-"
	// abandonedAge keeps sweep from a directory whose engine is just starting.
	abandonedAge = 10 * time.Minute
)

// sweep removes the temporary directories of processes that were killed: the
// engine holds a lock on the file status as long as it runs. It is a courtesy,
// and errors are ignored.
func sweep(dir string) {
	found, _ := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*", "status"))
	for _, status := range found {
		f, err := os.OpenFile(status, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && time.Since(info.ModTime()) > abandonedAge && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(status))
		}
		_ = f.Close()
	}
}

func (s *Sandbox) startKafka(ctx context.Context) error {
	opts := []kfake.Opt{
		kfake.Ports(s.config.KafkaPort), kfake.ClusterID("convoview-sandbox"),
		// A killed consumer is missed sooner than Kafka's own minimum of 6 s allows, where somebody wants that.
		kfake.GroupMinSessionTimeout(time.Second),
	}
	if s.config.DataDir != "" {
		opts = append(opts, kfake.DataDir(filepath.Join(s.config.DataDir, "kafka")))
	}
	var err error
	if s.kafka, err = kfake.NewCluster(opts...); err != nil {
		return fmt.Errorf("start Kafka on port %d: %w", s.config.KafkaPort, err)
	}
	s.kafkaAddr = s.kafka.ListenAddrs()[0]
	return s.CreateTopics(ctx, s.config.Topics...)
}

// natsStart bounds how long the NATS server may take until it listens.
const natsStart = 10 * time.Second

func (s *Sandbox) startNATS(ctx context.Context) error {
	port := s.config.NATSPort
	if port == 0 {
		port = server.RANDOM_PORT
	}
	// The server itself would say nothing of a port that is taken.
	var listener net.ListenConfig
	probe, err := listener.Listen(ctx, "tcp", loopback(s.config.NATSPort))
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	_ = probe.Close()
	if s.nats, err = server.NewServer(&server.Options{ServerName: "convoview-sandbox", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true}); err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	s.nats.Start()
	if !s.nats.ReadyForConnections(natsStart) {
		return fmt.Errorf("start NATS on port %d: it does not listen after %v", s.config.NATSPort, natsStart)
	}
	return nil
}

// CreateTopics creates those of the topics that do not exist.
func (s *Sandbox) CreateTopics(ctx context.Context, topics ...Topic) error {
	if len(topics) == 0 {
		return nil
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		config := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: 1}
		for name, value := range t.Config {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, config)
	}
	client := &kafka.Client{Addr: kafka.TCP(s.kafkaAddr)}
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("create %d topics: %w", len(topics), err)
	}
	var errs []error
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// KafkaAddr is the host and port of the Kafka broker.
func (s *Sandbox) KafkaAddr() string { return s.kafkaAddr }

// NATSURL is the URL of the NATS server.
func (s *Sandbox) NATSURL() string { return s.nats.ClientURL() }

// ClickHouseAddr is the host and port of ClickHouse's native protocol.
func (s *Sandbox) ClickHouseAddr() string { return s.clickhouse.Addr() }

// HTTPURL is the URL of ClickHouse's HTTP interface.
func (s *Sandbox) HTTPURL() string { return s.clickhouse.HTTPURL() }

// Close stops every part that runs. With a data directory, the data stay.
func (s *Sandbox) Close() error {
	var errs []error
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		s.nats = nil
	}
	if s.kafka != nil {
		s.kafka.Close()
		s.kafka = nil
	}
	if s.clickhouse != nil {
		errs = append(errs, s.clickhouse.Close())
		s.clickhouse = nil
	}
	if s.temporary != "" {
		errs = append(errs, os.RemoveAll(s.temporary))
		s.temporary = ""
	}
	return errors.Join(errs...)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
