package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// Config is what the Kafka side of the projector can be told.
type Config struct {
	// Brokers are the hosts and ports asked first; the rest is learnt from them.
	Brokers []string
	// Dialer connects to brokers, by TLS where that is wanted; nil: by TCP.
	Dialer Dialer
	// SASL is how we tell brokers who we are.
	SASL SASL
	// ClientID is how the brokers name us in their logs and quotas.
	ClientID string
	// GroupID is the consumer group, whose committed offsets say what was projected.
	GroupID string
	// Topics are the sources.
	Topics []string
	// StartAt are the offsets at which partitions begin of which the group has committed
	// nothing; those that are not in it begin at their first. An offset that is not in
	// its partition is reported as one that is gone.
	StartAt map[events.Partition]int64
	// DeadTopic takes the records that hold no valid event. When it is empty they
	// are counted and left out: another group has taken care of them.
	DeadTopic string

	// FlushInterval is how long the first record of a batch waits for others.
	FlushInterval time.Duration
	// MaxBatchEvents and MaxBatchBytes (of records as they came) bound one
	// batch. Two batches exist at a time: the rows of one are sent, one is folded.
	MaxBatchEvents int
	// MaxBatchRows bounds the rows that a batch is folded into, which are what
	// takes memory: a message that mentions 500 is 500 rows.
	MaxBatchRows  int
	MaxBatchBytes int
	// MaxInsertBatches is how many batches the sink is given in one go while reading is
	// behind. Of those it has, the records stay in memory, and not what they were folded into.
	MaxInsertBatches int
	// MaxPieceEvents, MaxPieceRows and MaxPieceBytes bound what one partition folds by itself
	// before it hands it over to the batch.
	MaxPieceEvents int
	MaxPieceRows   int
	MaxPieceBytes  int
	// MaxDeadLetterBytes bounds the dead letters of one partition that wait for
	// DeadTopic; past it the partition is not read on.
	MaxDeadLetterBytes int

	// Metrics is what the names of metrics begin with.
	Metrics string
	// MaxRate is the most events a second that are written; 0: any number.
	MaxRate int
	// KeepInterval is how often a Keeper is asked to look what there is to write to.
	KeepInterval time.Duration

	// Lost, when it is not nil, is asked when what was to be read next is not in its
	// partition any more. Its error ends Run, and nothing beyond is committed; else reading
	// goes on at the earliest offset. When its context ends, with the partition's ownership,
	// what it says does not count.
	Lost func(ctx context.Context, l *LostError) error

	// FetchMaxBytes is how much one fetch from one partition asks for.
	FetchMaxBytes int
	// FetchMaxWait is how long a broker holds a fetch that finds nothing.
	FetchMaxWait time.Duration

	// RetryInterval is the first wait after a failure of Kafka or of the sink;
	// it grows with every failure up to MaxRetryInterval. There is no last try.
	RetryInterval    time.Duration
	MaxRetryInterval time.Duration
	// DialTimeout bounds connecting to a broker, RequestTimeout the answer to a
	// request (for a fetch: beyond FetchMaxWait).
	DialTimeout    time.Duration
	RequestTimeout time.Duration
	// MetadataInterval is how old our knowledge of topics and leaders may be,
	// and how often the number of partitions and the lag are looked at.
	MetadataInterval time.Duration

	// SessionTimeout is how long the group waits for a silent member.
	SessionTimeout time.Duration
	// HeartbeatInterval is how often we speak up, and so how soon we hear that
	// the group is rebalancing.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the group waits for its members to join again.
	RebalanceTimeout time.Duration
	// JoinGroupBackoff is the wait after a failed attempt to join.
	JoinGroupBackoff time.Duration

	// AnnounceInterval is how often those who follow hear of a partition although
	// nothing happens in it.
	AnnounceInterval time.Duration

	// StallTimeout is how long a partition may stand still although it has more
	// records, before that is reported and its connection made anew.
	StallTimeout time.Duration
	// StopTimeout is the whole budget of a stop: writing what is folded,
	// committing and leaving the group. It must be below the termination grace
	// period of whatever runs the process.
	StopTimeout time.Duration
}

// Dialer makes connections.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Validate reports what is wrong with its settings.
	Validate() error
}

// DefaultConfig is the contract's topics on a local broker.
func DefaultConfig() Config {
	return Config{
		Brokers:   []string{"localhost:9092"},
		ClientID:  "convoview-projector",
		GroupID:   "convoview-projector",
		Topics:    []string{events.TopicMessages, events.TopicState},
		DeadTopic: events.TopicDead,

		FlushInterval:      200 * time.Millisecond,
		MaxBatchEvents:     10_000,
		MaxBatchRows:       30_000,
		MaxBatchBytes:      4 << 20,
		MaxInsertBatches:   10,
		MaxPieceEvents:     1000,
		MaxPieceRows:       2000,
		MaxPieceBytes:      512 << 10,
		MaxDeadLetterBytes: 4 << 20,

		KeepInterval: time.Second,
		Metrics:      "convoview_ingest",

		FetchMaxBytes: 2 << 20,
		FetchMaxWait:  500 * time.Millisecond,

		RetryInterval:    100 * time.Millisecond,
		MaxRetryInterval: 10 * time.Second,
		DialTimeout:      5 * time.Second,
		RequestTimeout:   10 * time.Second,
		MetadataInterval: 5 * time.Second,

		SessionTimeout:    10 * time.Second,
		HeartbeatInterval: 300 * time.Millisecond,
		RebalanceTimeout:  15 * time.Second,
		JoinGroupBackoff:  500 * time.Millisecond,

		AnnounceInterval: time.Second,

		StallTimeout: 30 * time.Second,
		StopTimeout:  20 * time.Second,
	}
}

// maxFetchBytes is far below the 2 GiB at which Kafka's protocol ends.
const maxFetchBytes = 1 << 30

// topicName is what Kafka takes for the name of a topic, but for "." and "..".
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.Dialer != nil {
		if err := c.Dialer.Validate(); err != nil {
			wrong("kafka: %w", err)
		}
	}
	if err := c.SASL.Validate(); err != nil {
		wrong("kafka: %w", err)
	}
	for _, err := range ValidateBrokers(c.Brokers) {
		wrong("%w", err)
	}
	if c.GroupID == "" {
		wrong("kafka group is missing: expected the name of a consumer group (--kafka-group)")
	}
	if len(c.Topics) == 0 {
		wrong("kafka topics are missing: expected at least one (--kafka-topics)")
	}
	names := map[string]bool{}
	for _, topic := range c.allTopics() {
		if !topicName.MatchString(topic) || topic == "." || topic == ".." { // it would be waited for
			wrong("kafka topic %q: expected 1 to 249 letters, digits, dots, underscores and hyphens", topic)
		}
		if names[topic] {
			wrong("kafka topic %q: expected distinct names, the dead-letter topic's included", topic)
		}
		names[topic] = true
	}
	for p, offset := range c.StartAt {
		if offset < 0 {
			wrong("offset %d to start %v at: expected at least 0", offset, p)
		}
	}
	for _, limit := range []struct {
		name  string
		value int
	}{
		{"max batch events", c.MaxBatchEvents},
		{"max batch rows", c.MaxBatchRows},
		{"max batch bytes", c.MaxBatchBytes},
		{"max insert batches", c.MaxInsertBatches},
		{"max piece events", c.MaxPieceEvents},
		{"max piece rows", c.MaxPieceRows},
		{"max piece bytes", c.MaxPieceBytes},
		{"max dead letter bytes", c.MaxDeadLetterBytes},
		{"fetch max bytes", c.FetchMaxBytes},
	} {
		if limit.value < 1 {
			wrong("%s %d: expected at least 1", limit.name, limit.value)
		}
	}
	if c.FetchMaxBytes > maxFetchBytes {
		wrong("fetch max bytes %d: expected at most %d", c.FetchMaxBytes, maxFetchBytes)
	}
	for _, limit := range []struct {
		name  string
		value time.Duration
	}{
		{"flush interval", c.FlushInterval},
		{"generation interval", c.KeepInterval},
		{"fetch max wait", c.FetchMaxWait},
		{"retry interval", c.RetryInterval},
		{"max retry interval", c.MaxRetryInterval},
		{"kafka dial timeout", c.DialTimeout},
		{"kafka request timeout", c.RequestTimeout},
		{"kafka metadata interval", c.MetadataInterval},
		{"kafka session timeout", c.SessionTimeout},
		{"kafka heartbeat interval", c.HeartbeatInterval},
		{"kafka rebalance timeout", c.RebalanceTimeout},
		{"kafka join backoff", c.JoinGroupBackoff},
		{"announce interval", c.AnnounceInterval},
		{"stall timeout", c.StallTimeout},
		{"stop timeout", c.StopTimeout},
	} {
		if limit.value < time.Millisecond {
			wrong("%s %v: expected at least 1ms", limit.name, limit.value)
		}
	}
	if c.MaxRate < 0 {
		wrong("max rate %d: expected at least 0", c.MaxRate)
	}
	if c.MaxRetryInterval < c.RetryInterval {
		wrong("max retry interval %v: expected at least the retry interval %v", c.MaxRetryInterval, c.RetryInterval)
	}
	if c.HeartbeatInterval > c.SessionTimeout/3 {
		wrong("kafka heartbeat interval %v: expected at most a third of the kafka session timeout %v", c.HeartbeatInterval, c.SessionTimeout)
	}
	return errors.Join(errs...)
}

// allTopics are all that are read and written.
func (c Config) allTopics() []string {
	if c.DeadTopic == "" {
		return c.Topics
	}
	return append(slices.Clone(c.Topics), c.DeadTopic)
}

// ValidateBrokers reports what is wrong with the addresses of brokers.
func ValidateBrokers(brokers []string) (errs []error) {
	if len(brokers) == 0 {
		errs = append(errs, errors.New("kafka brokers are missing: expected host:port (--kafka-brokers)"))
	}
	for _, broker := range brokers {
		_, port, err := net.SplitHostPort(broker)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
			errs = append(errs, fmt.Errorf("kafka brokers %q: expected host:port (--kafka-brokers)", broker))
		}
	}
	return errs
}
