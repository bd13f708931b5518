package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
)

// leaveShare is the part of the stop budget, one in leaveShare, that is kept
// for leaving the group; the rest is for writing and committing.
const leaveShare = 4

// statusGroup is the name of our complaint about the group.
const statusGroup = "consumer group"

// Consumer reads the topics as a member of the consumer group and brings what
// they hold to the sink.
type Consumer struct {
	config  Config
	decoder Decoder
	logger  *slog.Logger
	metrics *metrics

	cluster     *cluster
	status      *status
	balancer    *balancer
	accumulator *accumulator
	deadLetters *deadLetters
	writer      *writer
	traced      bool                    // somebody wants to know what records have spans
	fail        context.CancelCauseFunc // ends Run
}

// New makes a Consumer, which does nothing before Run.
func New(config Config, sink Sink, decoder Decoder, logger *slog.Logger, registerer prometheus.Registerer) (*Consumer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := &Consumer{
		config:   config,
		decoder:  decoder,
		logger:   logger,
		metrics:  newMetrics(registerer, config.Metrics, config.Topics),
		cluster:  newCluster(config),
		status:   &status{},
		balancer: &balancer{process: uuid.NewString()},
	}
	c.balancer.others = c.partitions
	c.accumulator = newAccumulator(config, c.metrics)
	c.writer = &writer{
		config: config, sink: sink, accumulator: c.accumulator, decoder: decoder, status: c.status,
		inDoubt: c.balancer.inDoubt, logger: logger, metrics: c.metrics, wakeup: make(chan struct{}, 1), waits: newBackoff(config),
		tracer: noop.Tracer{}, beat: beat.New(0),
	}
	c.writer.keeper, _ = sink.(Keeper)
	c.writer.limiter = rate.NewLimiter(rate.Inf, config.MaxBatchEvents)
	if config.MaxRate > 0 {
		c.writer.limiter.SetLimit(rate.Limit(config.MaxRate))
	}
	c.deadLetters = newDeadLetters(c.cluster, c.status, logger, c.metrics, c.writer.wake)
	c.writer.deadLetters = c.deadLetters
	registerer.MustRegister(newLags(config.Metrics, c.writer.session.Load))
	c.status.set(statusGroup, errors.New("not joined yet"))
	return c, nil
}

// AnnounceTo has an announcer told of what becomes visible. It is called before Run.
func (c *Consumer) AnnounceTo(a Announcer) { c.writer.announcer = a }

// BeatWith has the writer mark a beat as it moves, and around whatever it asks of Kafka and
// the sink. It is called before Run.
func (c *Consumer) BeatWith(b *beat.Beat) { c.writer.beat = b }

// Progress is how far a partition is.
type Progress struct {
	// Written is the offset before which the sink holds everything, End the
	// offset after the last record; -1 until known.
	Written, End int64
}

// Progress gives how far the partitions are that this process reads at the moment.
func (c *Consumer) Progress() map[events.Partition]Progress {
	all := map[events.Partition]Progress{}
	if s := c.writer.session.Load(); s != nil && !s.ended() {
		for _, p := range s.partitions {
			written, end := p.progress()
			all[p.Partition] = Progress{written, end}
		}
	}
	return all
}

// Process is what this consumer is known by in its group, see Member.
func (c *Consumer) Process() string { return c.balancer.process }

// Check tells what keeps the consumer from doing its work; nil if nothing does.
func (c *Consumer) Check(context.Context) error { return c.status.err() }

// Run reads until ctx ends, then stops in two phases within StopTimeout: it
// stops reading, then writes what is folded, commits it and leaves the group.
// Kafka and the sink may be away for any time; the only errors are settings of
// topics that break the contract, one of Config.Lost, one of a Keeper that is permanent, an
// event that cannot be read again, and a stop that had to leave something unwritten, to be
// read again. Run can be called once.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.cluster.close()
	parent := ctx
	if err := c.checkTopics(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // there is nothing to lose yet
		}
		return fmt.Errorf("check topics: %w", err)
	}
	ctx, c.fail = context.WithCancelCause(ctx)
	defer c.fail(nil)
	group, err := c.newGroup()
	if err != nil {
		return fmt.Errorf("make the consumer group: %w", err)
	}

	// Writing and committing outlive ctx: their end is the budget's.
	working, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	written, deadLettersDone := make(chan error, 1), make(chan struct{})
	go func() {
		err := c.writer.run(working)
		c.fail(err) // without it nothing goes on
		written <- err
	}()
	go func() { defer close(deadLettersDone); c.deadLetters.run(working) }()
	go func() {
		for pause.For(working, min(c.config.KeepInterval, beat.Every)) == nil {
			c.writer.wake()
		}
	}()

	last := c.join(ctx, group)

	// Phase 1: owners stop reading.
	begin := time.Now()
	budget := c.config.StopTimeout - c.config.StopTimeout/leaveShare
	timer := time.AfterFunc(budget, func() { giveUp(fmt.Errorf("budget of %v used up", budget)) })
	defer timer.Stop()
	if last != nil && !last.stopReading(budget/2) {
		c.logger.Warn("a partition is still being read; going on without what it has come to", "generation", last.generation)
	}
	// Phase 2: everything folded is written and committed, while heartbeats go on.
	c.accumulator.close()
	err = <-written
	giveUp(nil)
	<-deadLettersDone
	left := make(chan struct{})
	go func() { defer close(left); _ = group.Close() }()
	select {
	case <-left:
	case <-time.After(c.config.StopTimeout - time.Since(begin)):
		c.logger.Warn("the group could not be left in time; it will notice by itself", "session_timeout", c.config.SessionTimeout)
	}
	switch cause := context.Cause(ctx); {
	case err != nil && errors.Is(cause, err): // the writer has ended it
		return err
	case err != nil:
		err = fmt.Errorf("stop: %w", err)
	}
	if parent.Err() == nil { // an owner has ended it
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		return err
	}
	c.logger.Info("consumer stopped", "took", time.Since(begin))
	return nil
}

// newGroup makes our part in the consumer group, which joins it.
func (c *Consumer) newGroup() (*kafka.ConsumerGroup, error) {
	dialer, brokers := c.cluster.forGroup()
	return kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                c.config.GroupID,
		Brokers:           brokers,
		Dialer:            &dialer,
		Topics:            c.config.Topics,
		GroupBalancers:    []kafka.GroupBalancer{c.balancer},
		HeartbeatInterval: c.config.HeartbeatInterval,
		SessionTimeout:    c.config.SessionTimeout,
		RebalanceTimeout:  c.config.RebalanceTimeout,
		JoinGroupBackoff:  c.config.JoinGroupBackoff,
		Timeout:           c.config.RequestTimeout,
		// New partitions are our own affair: kafka-go's watcher misses those
		// that come between an assignment and its first look, and makes missing
		// topics; see observe.
		WatchPartitionChanges: false,
		StartOffset:           kafka.FirstOffset,
		Logger:                kafka.LoggerFunc(c.debug),
	})
}

// debug shows what kafka-go says of the group. Its errors come back from Next, too.
func (c *Consumer) debug(format string, args ...any) {
	if c.logger.Enabled(context.Background(), slog.LevelDebug) {
		c.logger.Debug("kafka-go", "says", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

// join takes part in generation after generation until ctx ends. It gives the last one.
func (c *Consumer) join(ctx context.Context, group *kafka.ConsumerGroup) *session {
	var last *session
	for failures := 0; ; {
		generation, err := group.Next(ctx)
		if ctx.Err() != nil {
			return last
		}
		if err != nil {
			failures++
			c.status.set(statusGroup, err)
			// kafka-go waits JoinGroupBackoff, never longer, before it tries again.
			if failures <= 10 || failures%20 == 0 {
				c.logger.Warn("cannot join the consumer group; trying again", "group", c.config.GroupID, "attempt", failures, "error", err)
			}
			continue
		}
		failures = 0
		c.status.clear(statusGroup)
		last = c.start(ctx, generation)
	}
}

// start starts an owner for each partition of the generation.
func (c *Consumer) start(ctx context.Context, generation *kafka.Generation) *session {
	s := newSession(generation)
	ids, names := s.names()
	c.logger.Info("generation begins", "group", c.config.GroupID, "generation", s.generation, "partitions", names)
	c.metrics.generationGauge.Set(float64(s.generation))
	c.metrics.partitions.Set(float64(len(s.partitions)))
	c.writer.session.Store(s)

	// A function that returns before the generation's end ends it. That is what
	// observe is for, and what owners must not do when told to stop.
	generation.Start(func(ended context.Context) {
		select {
		case <-ended.Done():
			s.end()
		case <-s.done: // heartbeats may never hear of it
			_ = pause.For(ended, c.config.JoinGroupBackoff) // the loop looks
		}
		c.logger.Info("generation ends", "generation", s.generation)
	})
	for _, p := range s.partitions {
		s.reading.Add(1)
		o := c.newOwner(p)
		generation.Start(func(ended context.Context) {
			reading, stop := context.WithCancel(ended)
			defer context.AfterFunc(ctx, stop)()
			o.run(reading)
			stop()
			s.reading.Done()
			<-ended.Done()
		})
	}
	if c.writer.keeper == nil {
		s.resume(func(events.Partition) bool { return true })
	} else {
		generation.Start(func(ended context.Context) {
			c.resume(ended, s)
			<-ended.Done()
		})
	}
	spread := c.balancer.take()
	generation.Start(func(ended context.Context) { c.observe(ended, s, ids, spread) })
	if c.writer.announcer != nil {
		generation.Start(func(ended context.Context) { c.speak(ended, s) })
	}
	return s
}

// statusBegun is the name of our complaint about a keeper that does not say what was begun.
const statusBegun = "begun partitions"

// resume finds out where the partitions of a session begin. Nothing is read before.
func (c *Consumer) resume(ended context.Context, s *session) {
	defer c.status.clear(statusBegun)
	var begun map[events.Partition]bool
	err := retry(ended, c.config, func() (err error) {
		if begun, err = c.writer.keeper.Begun(ended); permanent(err) {
			return backoff.Permanent(err)
		}
		return err
	}, func(err error, attempts int, wait time.Duration) {
		c.status.set(statusBegun, err)
		c.logger.Error("cannot look whether what is committed was written here; nothing is read before", "attempt", attempts, "retry_in", wait, "error", err)
	})
	switch {
	case err == nil:
		s.resume(func(p events.Partition) bool { return begun[p] })
	case permanent(err):
		c.fail(err)
	}
}

// speak repeats, as long as the generation lasts, what others were told of its
// partitions, so that they notice what they have missed although nothing
// happens any more, and know from silence that nobody owns a partition.
func (c *Consumer) speak(ended context.Context, s *session) {
	var topics map[string]int
	var looked time.Time
	for {
		if topics == nil || time.Since(looked) > c.config.MetadataInterval {
			if found, err := c.cluster.topics(ended, c.config.Topics...); err == nil {
				topics, looked = map[string]int{}, time.Now()
				for name, t := range found {
					if t.Error == nil {
						topics[name] = len(t.Partitions)
					}
				}
			}
		}
		c.writer.repeat(ended, s, topics)
		if pause.For(ended, c.config.AnnounceInterval) != nil {
			return
		}
	}
}

func (c *Consumer) newOwner(p *partition) *owner {
	return &owner{
		partition:   p,
		fetcher:     &fetcher{cluster: c.cluster, Partition: p.Partition},
		decoder:     c.decoder,
		accumulator: c.accumulator,
		deadLetters: c.deadLetters,
		status:      c.status,
		logger:      c.logger.With("topic", p.Topic, "partition", p.ID),
		metrics:     c.metrics,
		config:      c.config,
		names:       &c.writer.names,
		traced:      c.traced,
		fail:        c.fail,
		watchdog:    watchdog{timeout: c.config.StallTimeout},
	}
}

// partitions gives those of the topics that exist. There are none while that is not known,
// which observe notices once it is.
func (c *Consumer) partitions() []kafka.Partition {
	topics, err := c.cluster.topics(context.Background(), c.config.Topics...)
	if err != nil {
		c.logger.Warn("the partitions of topics are not known; none are spread", "error", err)
	}
	var all []kafka.Partition
	for _, t := range topics {
		all = append(all, t.Partitions...)
	}
	return all
}

// observe looks, every MetadataInterval, how far the partitions are behind, whether
// topics are missing and, if this process is the group's leader, whether there are still
// as many partitions as it has spread. It returns, which ends the generation and leads to
// a new assignment, when there are not.
func (c *Consumer) observe(ended context.Context, s *session, ids map[string][]int, spread map[string]int) {
	for pause.For(ended, c.config.MetadataInterval) == nil {
		if ends, err := c.cluster.ends(ended, ids); err == nil {
			for _, p := range s.partitions {
				if end, known := ends[p.Topic][p.ID]; known {
					p.sawEnd(end, time.Now())
				}
			}
		} else if ended.Err() == nil {
			c.logger.Warn("the ends of partitions are not known; lags are out of date", "error", err)
		}
		topics, err := c.cluster.topics(ended, c.config.allTopics()...)
		if err != nil {
			continue
		}
		if err := c.missing(topics); err == nil {
			c.status.clear(statusTopics)
		} else if c.status.set(statusTopics, err) {
			c.logger.Error("topics are gone; going on with the others", "error", err)
		}
		if changed := c.changed(topics, spread); changed != "" {
			c.logger.Info("number of partitions changed; spreading them anew", "topic", changed)
			return
		}
	}
}

// changed names a topic that has not as many partitions as were spread.
func (c *Consumer) changed(topics map[string]kafka.Topic, spread map[string]int) string {
	if spread == nil {
		return ""
	}
	for _, name := range c.config.Topics {
		t := topics[name]
		if t.Error != nil && !errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			continue
		}
		if len(t.Partitions) != spread[name] {
			return name
		}
	}
	return ""
}
