package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/pause"
)

const (
	// A round is one request per partition. Its size stays below a broker's
	// usual 1 MB however the records fall to the partitions.
	roundBytes   = 900 << 10
	roundRecords = 8192
	// recordOverhead is what a record takes beyond its key and value, at most.
	recordOverhead = 64

	kafkaTimeout = 15 * time.Second
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	// afterInterrupt is how long an interrupted command still tries to write what it has begun.
	afterInterrupt = 5 * time.Second
)

// kafkaSink writes records to Kafka, acknowledged by all replicas, and keeps
// the order of each key.
type kafkaSink struct {
	client  *kafka.Client
	brokers string
	// topicWait is how long a topic that does not exist is waited for.
	topicWait time.Duration
	notef     func(format string, args ...any)
	written   func(records, bytes int)

	// The round being filled belongs to whoever calls add.
	round  []record
	bytes  int
	rounds chan []record

	// done is closed when the sender has ended, with err.
	done chan struct{}
	err  error

	// These belong to the sender.
	balancer   kafka.Hash
	partitions map[string][]int

	noticeMu   sync.Mutex
	lastNotice time.Time
}

// newKafkaSink starts a sink. Once ctx is cancelled it gives up soon. written
// is told of acknowledged records.
func newKafkaSink(ctx context.Context, config kafkaConfig, notef func(string, ...any), written func(records, bytes int)) *kafkaSink {
	s := &kafkaSink{
		client: &kafka.Client{
			Addr:      kafka.TCP(config.brokers...),
			Timeout:   kafkaTimeout,
			Transport: config.transport(),
		},
		brokers:    strings.Join(config.brokers, ","),
		topicWait:  config.topicWait,
		notef:      notef,
		written:    written,
		rounds:     make(chan []record, 2),
		done:       make(chan struct{}),
		partitions: map[string][]int{},
	}
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-s.done:
		case <-time.After(afterInterrupt):
			cancel()
		}
	})
	go func() {
		defer close(s.done)
		defer cancel()
		defer stop()
		for round := range s.rounds {
			if s.err = s.send(sending, round); s.err != nil {
				return
			}
		}
	}()
	return s
}

// add puts a record into the round, and hands the round over when it is full.
func (s *kafkaSink) add(ctx context.Context, r record) error {
	size := len(r.key) + len(r.value) + recordOverhead
	if len(s.round) == roundRecords || len(s.round) > 0 && s.bytes+size > roundBytes {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.round, s.bytes = append(s.round, r), s.bytes+size
	return nil
}

// flush hands the round over to be sent.
func (s *kafkaSink) flush(ctx context.Context) error {
	if len(s.round) == 0 {
		return nil
	}
	select {
	case s.rounds <- s.round:
		s.round, s.bytes = make([]record, 0, len(s.round)), 0
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close sends what is left and waits until it is acknowledged. The error is
// that of the caller's work, which may be the sink's own, and the sink's.
func (s *kafkaSink) close(err error) error {
	if len(s.round) > 0 {
		select {
		case s.rounds <- s.round:
		case <-s.done:
		}
	}
	close(s.rounds)
	<-s.done
	s.client.Transport.(*kafka.Transport).CloseIdleConnections()
	if errors.Is(err, s.err) {
		return err
	}
	return errors.Join(err, s.err)
}

type partition struct {
	topic string
	id    int
}

// send writes a round: all partitions at once, and each of them until it succeeds.
func (s *kafkaSink) send(ctx context.Context, round []record) error {
	parts := map[partition][]record{}
	for _, r := range round {
		ids, err := s.partitionsOf(ctx, r.topic)
		if err != nil {
			return err
		}
		p := partition{r.topic, s.balancer.Balance(kafka.Message{Key: r.key}, ids...)}
		parts[p] = append(parts[p], r)
	}
	group, ctx := errgroup.WithContext(ctx)
	for p, records := range parts {
		group.Go(func() error { return s.produce(ctx, p, records) })
	}
	return group.Wait()
}

// partitionsOf are the partitions of a topic, as they were when it was first
// asked: more of them later do no harm.
func (s *kafkaSink) partitionsOf(ctx context.Context, topic string) ([]int, error) {
	if ids := s.partitions[topic]; ids != nil {
		return ids, nil
	}
	err := s.retry(ctx, "ask for the partitions of "+topic, func() error {
		res, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		for _, t := range res.Topics {
			if t.Error != nil {
				return t.Error
			}
			for _, p := range t.Partitions {
				s.partitions[topic] = append(s.partitions[topic], p.ID)
			}
		}
		if len(s.partitions[topic]) == 0 {
			return kafka.UnknownTopicOrPartition
		}
		return nil
	})
	return s.partitions[topic], err
}

// produce writes records to one partition in their order. A request that the
// broker finds too large is halved.
func (s *kafkaSink) produce(ctx context.Context, p partition, records []record) error {
	err := s.retry(ctx, fmt.Sprintf("write %d records to %s/%d", len(records), p.topic, p.id), func() error {
		now := time.Now()
		list := make([]kafka.Record, len(records))
		for i, r := range records {
			list[i] = kafka.Record{Time: now, Value: kafka.NewBytes(r.value), Headers: r.headers()}
			if r.key != nil {
				list[i].Key = kafka.NewBytes(r.key)
			}
		}
		res, err := s.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: p.topic, Partition: p.id, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(list...),
		})
		if err == nil {
			err = res.Error
		}
		return err
	})
	if errors.Is(err, kafka.MessageSizeTooLarge) && len(records) > 1 {
		half := len(records) / 2
		if err := s.produce(ctx, p, records[:half]); err != nil {
			return err
		}
		return s.produce(ctx, p, records[half:])
	}
	if err == nil {
		bytes := 0
		for _, r := range records {
			bytes += len(r.key) + len(r.value)
		}
		s.written(len(records), bytes)
	}
	return err
}

// retry calls do until it succeeds or cannot, and says that it waits. A topic
// that does not exist may come, but not for ever.
func (s *kafkaSink) retry(ctx context.Context, what string, do func() error) error {
	var missing time.Time // since when there is no such topic
	for wait := firstBackoff; ; wait = min(2*wait, lastBackoff) {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !retryable(err):
			return fmt.Errorf("kafka at %s: %s: %w", s.brokers, what, err)
		case !errors.Is(err, kafka.UnknownTopicOrPartition):
			missing = time.Time{}
		case missing.IsZero():
			missing = time.Now()
		}
		if !missing.IsZero() && time.Since(missing) >= s.topicWait {
			return fmt.Errorf("kafka at %s: %s: no such topic, after %s (--topic-wait)", s.brokers, what, s.topicWait)
		}
		s.notice(wait, what, err)
		if pause.For(ctx, wait) != nil {
			return fmt.Errorf("kafka at %s: %s: %w", s.brokers, what, err)
		}
	}
}

// notice says that something is tried again; once for all partitions.
func (s *kafkaSink) notice(wait time.Duration, what string, err error) {
	s.noticeMu.Lock()
	defer s.noticeMu.Unlock()
	if !s.lastNotice.IsZero() && time.Since(s.lastNotice) < wait {
		return
	}
	s.lastNotice = time.Now()
	s.notef("kafka at %s: %s: %v; trying again", s.brokers, what, err)
}

// retryable reports whether a request may succeed when it is sent again: the
// broker says so, or nobody answered.
func retryable(err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		return code.Temporary()
	}
	return true
}

// fileSink writes records as lines that import reads.
type fileSink struct {
	w       io.Writer
	written func(records, bytes int)
	line    []byte
}

func (s *fileSink) add(_ context.Context, r record) error {
	s.line = appendLine(s.line[:0], r)
	n, err := s.w.Write(s.line)
	if err != nil {
		return fmt.Errorf("write %d bytes: %w", len(s.line), err)
	}
	s.written(1, n)
	return nil
}

func (s *fileSink) flush(context.Context) error { return nil }
