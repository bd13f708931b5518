package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/erasure"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
)

// stopBudget is the time that a stop may take in all: below the termination
// grace period of a pod (30 s), above the consumer's own.
const stopBudget = 25 * time.Second

// gcPercent lets the heap grow to some times of what lives in it. That is a few
// megabytes while the projector keeps up, and with less room a fifth of its time goes
// into collecting.
const gcPercent = 400

// memoryLimit is how much memory the process should take: past it the heap gets less room.
// Two batches are folded at a time, and of those of an insert the records are kept.
func memoryLimit(in ingest.Config) int64 {
	return int64(in.MaxBatchBytes)*int64(8+2*in.MaxInsertBatches) + 96<<20
}

// limitMemory tells Go's collector of both, unless the environment does.
func limitMemory(in ingest.Config, getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(in))
	}
}

type config struct {
	ingest ingest.Config
	limits events.Limits
	store  readmodel.Config
	sweep  erasure.Config
	nats   lifecycle.NATSConfig
	admin  lifecycle.AdminConfig
	traces lifecycle.TracingConfig
	log    lifecycle.LogConfig
	// observeInterval is how often is looked how large the read model is.
	observeInterval time.Duration
}

func defaultConfig() config {
	return config{
		ingest: ingest.DefaultConfig(),
		limits: events.DefaultLimits(),
		store:  readmodel.DefaultConfig(),
		sweep:  erasure.DefaultConfig(),
		nats:   lifecycle.DefaultNATSConfig(),
		admin:  lifecycle.DefaultAdminConfig(8080),
		log:    lifecycle.DefaultLogConfig(),

		observeInterval: 15 * time.Second,
	}
}

func (c *config) register(f *lifecycle.Flags) {
	in := &c.ingest
	registerReading(f, in, &c.limits)
	f.String(&in.DeadTopic, "kafka-dead-topic", "Topic that takes the records without a valid event.")
	f.Bytes(&in.MaxDeadLetterBytes, "max-dead-letter-bytes", "Most bytes of dead letters of one partition that wait for their topic; past it the partition is not read on.")
	f.Duration(&in.KeepInterval, "generation-interval", "How often to look which generations of the read model are kept.")
	f.Duration(&in.AnnounceInterval, "announce-interval", "How often query workers hear of a partition in which nothing happens.")
	f.Duration(&in.StopTimeout, "stop-timeout", "Longest time to write, commit and leave the group when stopping.")
	f.Duration(&c.sweep.Interval, "sweep-interval", "How often what was an erased user's is taken out of all tables, by whichever projector looks first, from the beginning of one sweep to that of the next; 0: not by projectors.")
	f.Duration(&c.observeInterval, "observe-interval", "How often to look how large the tables of the read model are, for metrics.")
	registerStore(f, &c.store)
	c.nats.Register(f)
	c.admin.Register(f)
	c.traces.Register(f)
	c.log.Register(f)
}

// registerReading binds how the topics are read and the read model is written.
func registerReading(f *lifecycle.Flags, in *ingest.Config, limits *events.Limits) {
	registerKafka(f, in)
	f.String(&in.GroupID, "kafka-group", "Consumer group, whose committed offsets say what was projected.")
	f.Duration(&in.FlushInterval, "flush-interval", "How long the first event of a batch waits for others.")
	f.Int(&in.MaxBatchEvents, "max-batch-events", "Most events of one batch.")
	f.Int(&in.MaxBatchRows, "max-batch-rows", "Most rows that one batch is folded into: what takes memory.")
	f.Bytes(&in.MaxBatchBytes, "max-batch-bytes", "Most bytes of one batch, of records as they came.")
	f.Int(&in.MaxInsertBatches, "max-insert-batches", "Most batches that one INSERT takes while the projector is behind.")
	f.Int(&in.MaxPieceEvents, "max-piece-events", "Most events that one partition folds before it adds them to the batch.")
	f.Int(&in.MaxPieceRows, "max-piece-rows", "The same in rows.")
	f.Bytes(&in.MaxPieceBytes, "max-piece-bytes", "The same in bytes.")
	f.Duration(&in.SessionTimeout, "kafka-session-timeout", "How long the consumer group waits for a silent member.")
	f.Duration(&in.HeartbeatInterval, "kafka-heartbeat-interval", "How often the group hears of us, and we of a rebalance.")
	f.Duration(&in.RebalanceTimeout, "kafka-rebalance-timeout", "How long the group waits for its members to join again.")
	f.Duration(&in.JoinGroupBackoff, "kafka-join-backoff", "Wait after a failed attempt to join the group.")
	f.Duration(&in.StallTimeout, "stall-timeout", "How long a partition may stand still although it has more records.")
	registerLimits(f, limits)
}

// registerBrokers binds where brokers are, and who we are to them.
func registerBrokers(f *lifecycle.Flags, in *ingest.Config) {
	f.Strings(&in.Brokers, "kafka-brokers", "Kafka brokers that are asked first, host:port, separated by commas.")
	in.Dialer = lifecycle.RegisterTLS(f, "kafka", "brokers")
	f.String(&in.SASL.Mechanism, "kafka-sasl-mechanism", "How we tell brokers who we are: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
	in.SASL.Account = lifecycle.RegisterAccount(f, "kafka-sasl", "brokers", "")
}

// registerStore binds where ClickHouse is, and who we are to it.
func registerStore(f *lifecycle.Flags, c *readmodel.Config) {
	c.Register(f)
	c.Dialer = lifecycle.RegisterTLS(f, "clickhouse", "ClickHouse")
	c.Account = lifecycle.RegisterAccount(f, "clickhouse", "ClickHouse", "default")
}

// registerKafka binds how brokers are talked to.
func registerKafka(f *lifecycle.Flags, in *ingest.Config) {
	registerBrokers(f, in)
	f.String(&in.ClientID, "kafka-client-id", "What brokers call us in their logs and quotas.")
	f.Strings(&in.Topics, "kafka-topics", "Topics to project, separated by commas; the first is that of messages.")
	f.Bytes(&in.FetchMaxBytes, "fetch-max-bytes", "How much one fetch from one partition asks for.")
	f.Duration(&in.FetchMaxWait, "fetch-max-wait", "How long a broker holds a fetch that finds nothing.")
	f.Duration(&in.RetryInterval, "retry-interval", "First wait after a failure of Kafka or ClickHouse; it grows.")
	f.Duration(&in.MaxRetryInterval, "max-retry-interval", "Longest such wait.")
	f.Duration(&in.DialTimeout, "kafka-dial-timeout", "Longest wait for a connection to a broker.")
	f.Duration(&in.RequestTimeout, "kafka-request-timeout", "Longest wait for a broker's answer.")
	f.Duration(&in.MetadataInterval, "kafka-metadata-interval", "How often partitions, leaders and lag are looked at.")
}

// registerLimits binds what an event may be like.
func registerLimits(f *lifecycle.Flags, limits *events.Limits) {
	f.Bytes(&limits.EventBytes, "limit-event-bytes", "Greatest event.")
	f.Bytes(&limits.PayloadBytes, "limit-payload-bytes", "Greatest payload.")
	f.Bytes(&limits.CloudCustomDataBytes, "limit-cloud-custom-data-bytes", "Greatest cloudCustomData.")
	f.Bytes(&limits.CustomDataBytes, "limit-custom-data-bytes", "Greatest customData.")
	f.Bytes(&limits.DraftTextBytes, "limit-draft-text-bytes", "Greatest draftText.")
	f.Bytes(&limits.TextBytes, "limit-text-bytes", "Greatest name or text of any other kind.")
	f.Bytes(&limits.ProfileBytes, "limit-profile-bytes", "Most of all names and texts of one profile together.")
	f.Int(&limits.AtUserListEntries, "limit-at-user-list", "Most entries of an atUserList.")
	f.Int(&limits.MarkListEntries, "limit-mark-list", "Most entries of a markList.")
	f.Int(&limits.ConversationGroupListEntries, "limit-conversation-group-list", "Most entries of a conversationGroupList.")
}

func (c *config) validate() error {
	if c.admin.AskReady { // whoever runs has its own settings, and may be ready while a file is replaced
		return c.admin.Validate()
	}
	errs := []error{c.ingest.Validate(), c.limits.Validate(), c.store.Validate(), c.sweep.Validate(), c.nats.Validate(), c.admin.Validate(), c.traces.Validate(), c.log.Validate()}
	if c.observeInterval < time.Millisecond {
		errs = append(errs, fmt.Errorf("observe interval %v: expected at least 1ms", c.observeInterval))
	}
	if c.ingest.StopTimeout >= stopBudget {
		errs = append(errs, fmt.Errorf("stop timeout %v: expected less than %v, the time of a whole stop", c.ingest.StopTimeout, stopBudget))
	}
	// Nothing but this ends the wait for a server that takes nothing of an insert.
	if c.store.WriteTimeout >= c.ingest.StopTimeout {
		errs = append(errs, fmt.Errorf("clickhouse write timeout %v: expected less than %v, the stop timeout", c.store.WriteTimeout, c.ingest.StopTimeout))
	}
	errs = append(errs, notStuck(c.admin, c.ingest, c.store))
	return errors.Join(errs...)
}

// notStuck reports whether waits for others could be taken for a writer that is stuck: each
// of them may come twice between two beats, as the inserts of a batch do.
func notStuck(admin lifecycle.AdminConfig, in ingest.Config, store readmodel.Config) error {
	longest := max(store.ReadTimeout, in.RequestTimeout, in.MaxRetryInterval)
	if admin.StuckAfter-longest <= longest { // twice the longest may be more than there is
		return fmt.Errorf("stuck after %v: expected more than twice %v, the longest wait for Kafka or ClickHouse", admin.StuckAfter, longest)
	}
	return nil
}

func project(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultConfig()
	flags := lifecycle.NewFlags("projector run", "Consumes both topics and maintains the read model, until stopped.", getenv, stdout)
	config.register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	if config.admin.AskReady {
		return config.admin.Ready(ctx, stdout)
	}

	limitMemory(config.ingest, getenv)
	log := lifecycle.NewLogger(config.log, os.Stderr)
	registry := lifecycle.NewRegistry()
	flags.ExportCertificates(registry, log)
	traces, err := lifecycle.OpenTracing(ctx, config.traces, "projector", getenv, log)
	if err != nil {
		return err
	}

	// ClickHouse
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}

	observer := readmodel.NewObserver(server, config.observeInterval, log, registry)

	// NATS: who follows may wait for it, we do not.
	nc, err := lifecycle.ConnectNATS(&config.nats, "projector", log)
	if err != nil {
		return err
	}

	nc.Export(registry)

	// Kafka
	consumer, err := ingest.New(config.ingest, readmodel.NewLive(server), events.NewDecoder(config.limits).Sharing(), log, registry)
	if err != nil {
		return err
	}
	publisher := feed.NewPublisher(nc.Conn)
	consumer.AnnounceTo(publisher)
	writes := beat.New(config.admin.StuckAfter)
	consumer.BeatWith(writes)
	if traces != nil {
		consumer.TraceWith(traces.Tracer())
	}

	// Health
	admin := lifecycle.NewAdmin(config.admin, registry, log)
	group := lifecycle.NewGroup(stopBudget, log,
		admin.Component(),
		traces.Component(), //nolint:contextcheck // the last spans are sent after its end
		lifecycle.Closer("clickhouse", server.Close),
		nc.Component(),
		lifecycle.Closer("notices", publisher.Close),
		lifecycle.Component{Name: "sweep", Run: erasure.New(config.sweep, server, log, registry).Run},
		lifecycle.Component{Name: "observer", Run: observer.Run},
		lifecycle.Component{Name: "kafka consumer", Run: consumer.Run},
	)
	admin.AddLiveness("components", group.Alive)
	admin.AddLiveness("writer", writes.Check)
	admin.AddCheck("components", group.Check)
	admin.AddCheck("clickhouse", server.Check)
	admin.AddCheck("kafka", consumer.Check)
	admin.AddWarning("files", flags.Stale)
	return group.Run(ctx)
}
