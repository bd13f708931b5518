package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/convoview/convoview/internal/sandbox/apachekafka"
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

// The kinds of Kafka.
const (
	// EmbeddedKafka is a broker in this process.
	EmbeddedKafka = "embedded"
	// ApacheKafka is Apache Kafka, in processes of its own.
	ApacheKafka = "apache"
)

// Cluster is the name of ClickHouse's cluster: two shards, each of which is the engine itself.
const Cluster = clickhouse.Cluster

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
	// Kafka is EmbeddedKafka, which is meant when it is empty, or ApacheKafka.
	Kafka string
	// KafkaBrokers is how many brokers of Apache Kafka to start; 0 means 1.
	KafkaBrokers int
	// DataDir keeps Kafka's and ClickHouse's data between runs. Empty: the
	// embedded Kafka keeps them in memory, the others in a temporary directory
	// that is removed at stop.
	DataDir string
	// The ports to listen on, on 127.0.0.1 alone; 0 means any free one. Of
	// several brokers of Kafka, the others have the ports after that of the first.
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
	return Config{Parts: All, Kafka: EmbeddedKafka, KafkaBrokers: 1, KafkaPort: 9092, NATSPort: 4222, ClickHousePort: 9000, HTTPPort: 8123}
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Parts&^All != 0 {
		errs = append(errs, fmt.Errorf("parts %#x: unknown part", c.Parts))
	}
	if !slices.Contains([]string{"", EmbeddedKafka, ApacheKafka}, c.Kafka) {
		errs = append(errs, fmt.Errorf("kind of Kafka %q: expected %s or %s", c.Kafka, EmbeddedKafka, ApacheKafka))
	}
	switch {
	case c.KafkaBrokers < 0:
		errs = append(errs, fmt.Errorf("%d brokers of Kafka: expected at least 1, or 0 for the default", c.KafkaBrokers))
	case c.KafkaBrokers > 1 && c.Kafka != ApacheKafka:
		errs = append(errs, fmt.Errorf("%d brokers of the embedded Kafka: expected 1", c.KafkaBrokers))
	}
	type port struct {
		name string
		port int
	}
	ports := []port{{"Kafka", c.KafkaPort}, {"NATS", c.NATSPort}, {"ClickHouse", c.ClickHousePort}, {"HTTP", c.HTTPPort}}
	for i := 1; i < c.KafkaBrokers && c.KafkaPort > 0; i++ {
		ports = append(ports, port{fmt.Sprint("Kafka's broker ", i+1), c.KafkaPort + i})
	}
	taken := map[int]string{}
	for _, p := range ports {
		if p.port < 0 || p.port > 65535 {
			errs = append(errs, fmt.Errorf("%s port %d: expected 0 to 65535", p.name, p.port))
		}
		if other, ok := taken[p.port]; ok && p.port != 0 {
			errs = append(errs, fmt.Errorf("%s port %d: %s has it", p.name, p.port, other))
		}
		taken[p.port] = p.name
	}
	names := map[string]bool{}
	for _, t := range c.Topics {
		if t.Name == "" || names[t.Name] {
			errs = append(errs, fmt.Errorf("topic %q: expected distinct names", t.Name))
		}
		if t.Partitions < 1 {
			errs = append(errs, fmt.Errorf("topic %s: %d partitions: expected at least 1", t.Name, t.Partitions))
		}
		names[t.Name] = true
	}
	if c.Connections < 0 {
		errs = append(errs, fmt.Errorf("connections %d: expected at least 1, or 0 for the default", c.Connections))
	}
	return errors.Join(errs...)
}

// Sandbox is Kafka, NATS and ClickHouse, in this process unless the
// configuration says otherwise.
type Sandbox struct {
	config     Config
	kafka      *kfake.Cluster
	apache     *apachekafka.Cluster
	kafkaAddrs []string
	nats       *server.Server
	clickhouse *clickhouse.Server
	temporary  *temporary
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
	path, err := s.directory("clickhouse")
	if err != nil {
		return err
	}
	s.clickhouse, err = clickhouse.Start(ctx, clickhouse.Config{
		Path:        path,
		Addr:        loopback(s.config.ClickHousePort),
		HTTPAddr:    loopback(s.config.HTTPPort),
		Connections: s.config.Connections,
		Logger:      s.config.Logger,
	})
	return err
}

// directory makes a part's directory: in the data directory or, without one,
// in a temporary one.
func (s *Sandbox) directory(part string) (string, error) {
	parent := s.config.DataDir
	if parent == "" {
		if s.temporary == nil {
			var err error
			if s.temporary, err = newTemporary(); err != nil {
				return "", fmt.Errorf("make a temporary directory: %w", err)
			}
		}
		parent = s.temporary.dir
	}
	path := filepath.Join(parent, part)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	return path, nil
}

func (s *Sandbox) startKafka(ctx context.Context) error {
	start := s.startEmbeddedKafka
	if s.config.Kafka == ApacheKafka {
		start = s.startApacheKafka
	}
	if err := start(ctx); err != nil {
		return err
	}
	return s.CreateTopics(ctx, s.config.Topics...)
}

func (s *Sandbox) startEmbeddedKafka(context.Context) error {
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
	s.kafkaAddrs = s.kafka.ListenAddrs()
	return nil
}

func (s *Sandbox) startApacheKafka(ctx context.Context) error {
	jars, err := apachekafka.FindJars(os.Getenv)
	if err != nil {
		return err
	}
	dir, err := s.directory("apache-kafka")
	if err != nil {
		return err
	}
	s.apache, err = apachekafka.Start(ctx, apachekafka.Config{
		Jars: jars, Dir: dir, Brokers: s.config.KafkaBrokers, Port: s.config.KafkaPort, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	s.kafkaAddrs = s.apache.Addrs()
	return nil
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

// The bounds of a wait for new topics.
const (
	topicsTimeout  = 30 * time.Second
	topicsInterval = 10 * time.Millisecond
)

// CreateTopics creates those of the topics that do not exist, and waits until
// all can be written and read.
func (s *Sandbox) CreateTopics(ctx context.Context, topics ...Topic) error {
	if len(topics) == 0 {
		return nil
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		config := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: min(max(s.config.KafkaBrokers, 1), 3)}
		for name, value := range t.Config {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, config)
	}
	// By the default transport, so that who uses it, too, knows of them. Its connections
	// may be to a broker that was away, and Apache Kafka creates topics before their
	// leaders know of them: so it is tried until that is so.
	client := &kafka.Client{Addr: kafka.TCP(s.kafkaAddrs...)}
	ctx, cancel := context.WithTimeout(ctx, topicsTimeout)
	defer cancel()
	tick := time.NewTicker(topicsInterval)
	defer tick.Stop()
	for {
		res, err := client.CreateTopics(ctx, req)
		if err == nil {
			if err := refused(res.Errors); err != nil {
				return err
			}
			err = haveLeaders(ctx, client, topics)
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("create %d topics: %w", len(topics), err)
		}
	}
}

// refused are the topics that there will not be.
func refused(topics map[string]error) error {
	var errs []error
	for name, err := range topics {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// haveLeaders asks the leader of every partition for its end.
func haveLeaders(ctx context.Context, client *kafka.Client, topics []Topic) error {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return err
	}
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, t := range metadata.Topics {
		if t.Error != nil {
			return fmt.Errorf("topic %s: %w", t.Name, t.Error)
		}
		for _, p := range t.Partitions {
			request.Topics[t.Name] = append(request.Topics[t.Name], kafka.LastOffsetOf(p.ID))
		}
	}
	response, err := client.ListOffsets(ctx, request)
	if err != nil {
		return err
	}
	for topic, partitions := range response.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return fmt.Errorf("partition %s/%d: %w", topic, p.Partition, p.Error)
			}
		}
	}
	return nil
}

// KafkaAddr is the host and port of the Kafka broker, or the first of several.
func (s *Sandbox) KafkaAddr() string { return s.kafkaAddrs[0] }

// KafkaAddrs are those of all brokers.
func (s *Sandbox) KafkaAddrs() []string { return s.kafkaAddrs }

// Apache are the brokers of Apache Kafka; nil when Kafka is embedded.
func (s *Sandbox) Apache() *apachekafka.Cluster { return s.apache }

// NATSURL is the URL of the NATS server.
func (s *Sandbox) NATSURL() string { return s.nats.ClientURL() }

// ClickHouseAddr is the host and port of ClickHouse's native protocol.
func (s *Sandbox) ClickHouseAddr() string { return s.clickhouse.Addr() }

// SetClickHouseProfile gives queries of an account these settings where they have none themselves.
func (s *Sandbox) SetClickHouseProfile(account string, settings map[string]string) {
	s.clickhouse.SetProfile(account, settings)
}

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
	if s.apache != nil {
		if s.temporary == nil {
			s.apache.Close()
		} else {
			s.apache.Kill()
		}
		s.apache = nil
	}
	if s.clickhouse != nil {
		errs = append(errs, s.clickhouse.Close())
		s.clickhouse = nil
	}
	if s.temporary != nil {
		errs = append(errs, s.temporary.remove())
		s.temporary = nil
	}
	return errors.Join(errs...)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
