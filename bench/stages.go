package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection"
)

// stages are those of a projector apart from each other, on one stream: consuming,
// decoding, inserting.
type stages struct {
	*stream
	records []events.Record
	inserts []batches
}

// batches are as many as a projector that is behind writes by one insert.
type batches []batch

// each gives the batches as a projector gives them to the store.
func (l batches) each(yield func([]*projection.Model, []events.Event) bool) {
	for _, b := range l {
		if !yield(b, nil) {
			return
		}
	}
}

// batch is as many events as a projector folds at once, partition by partition.
type batch []*projection.Model

func newStages(s *stream) (*stages, error) {
	st := &stages{stream: s}
	config := ingest.DefaultConfig()
	n := 0
	for e := range s.traffic() {
		value, err := s.encode(nil, e)
		if err != nil {
			return nil, err
		}
		st.records = append(st.records, events.Record{Value: value, Headers: s.headers(), Timestamp: time.Now()})
		if n%(config.MaxBatchEvents*config.MaxInsertBatches) == 0 {
			st.inserts = append(st.inserts, nil)
		}
		last := &st.inserts[len(st.inserts)-1]
		if n%config.MaxBatchEvents == 0 {
			empty := make(batch, len(s.topics())*streamPartitions)
			for i := range empty {
				empty[i] = projection.NewModel()
			}
			*last = append(*last, empty)
		}
		(*last)[len(*last)-1].partition(e).Fold(e)
		n++
	}
	return st, nil
}

// partition is the part of the batch that is folded from the partition of an event.
func (b batch) partition(e events.Event) *projection.Model {
	h := fnv.New32a()
	_, _ = h.Write([]byte(events.Key(e)))
	at := int(h.Sum32() % streamPartitions)
	if events.Topic(e.Body) == events.TopicState {
		at += streamPartitions
	}
	return b[at]
}

// costs are what stages take of the CPU, in all processes, for each event.
type costs struct{ consume, decode, insert time.Duration }

func (c costs) sum() time.Duration { return c.consume + c.decode + c.insert }

func (c costs) String() string {
	return fmt.Sprintf("consuming takes %v, decoding %v, inserting %v of CPU for each", c.consume, c.decode, c.insert)
}

// costs measures what the stages take.
func (b *bench) costs(ctx context.Context, s *stages) (c costs, err error) {
	if c.consume, err = b.cost(func() error { _, err := b.consume(ctx, s.stream); return err }); err != nil {
		return c, err
	}
	if c.decode, err = b.cost(s.decode); err != nil {
		return c, err
	}
	inserts, err := b.insert(ctx, s, new(contents), byStore)
	c.insert = inserts.worked
	for _, of := range []*time.Duration{&c.consume, &c.decode, &c.insert} {
		*of /= time.Duration(s.events)
	}
	return c, err
}

// cost is how long this process and the sandbox have worked while something was done.
func (b *bench) cost(do func() error) (time.Duration, error) {
	before, err := b.worked(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := b.worked(os.Getpid())
	return after - before, err
}

// worked is how long the sandbox and other processes have worked.
func (b *bench) worked(others ...int) (sum time.Duration, err error) {
	for _, pid := range append(others, b.stack.SandboxPID()) {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// decode decodes all records, as a projector does.
func (s *stages) decode() error {
	decoder := events.NewDecoder(events.DefaultLimits()).Sharing()
	for _, r := range s.records {
		if _, err := decoder.Decode(r); err != nil {
			return err
		}
	}
	return nil
}

// counter counts records as they come.
type counter struct {
	n     atomic.Int64
	want  int64
	begun time.Time
	done  chan struct{} // closed when all have come
}

func newCounter(want int) *counter {
	return &counter{want: int64(want), begun: time.Now(), done: make(chan struct{})}
}

func (c *counter) add(n int64) {
	has := c.n.Add(n)
	if has >= c.want && has-n < c.want {
		close(c.done)
	}
}

// rate waits for all of them and gives how many there were in a second.
func (c *counter) rate(ctx context.Context) (float64, error) {
	select {
	case <-c.done:
		return float64(c.want) / time.Since(c.begun).Seconds(), nil
	case <-time.After(eventuallyTimeout):
		return 0, fmt.Errorf("only %d of %d records have come in %v", c.n.Load(), c.want, eventuallyTimeout)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Decode makes a counter a decoder that looks at nothing, and whose events change nothing.
func (c *counter) Decode(events.Record) (events.Event, error) {
	c.add(1)
	return events.Event{}, nil
}

// nowhere is a sink that takes nothing, and asks for no second batch.
type nowhere struct{}

func (nowhere) Insert(context.Context, iter.Seq2[[]*projection.Model, []events.Event]) error {
	return nil
}

// consume reads a stream by package ingest in a group of its own, with nothing to decode and nothing to write.
func (b *bench) consume(ctx context.Context, s *stream) (float64, error) {
	b.models++
	c := newCounter(s.events)
	consumer, err := ingest.New(b.consumer(fmt.Sprintf("bench-consume-%d", b.models), s.topics()...), nowhere{}, c,
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	rate, err := c.rate(ctx)
	cancel()
	return rate, errors.Join(err, <-ended)
}

// franz reads a stream by franz-go, which needs no consumer group for that.
func (b *bench) franz(ctx context.Context, s *stream) (float64, error) {
	c := newCounter(s.events)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.stack.Ports.KafkaAddr()), kgo.ConsumeTopics(s.topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(int32(ingest.DefaultConfig().FetchMaxBytes))) // a few megabytes
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		for {
			fetches := client.PollFetches(ctx)
			if ctx.Err() != nil {
				failed <- nil
				return
			}
			if err := fetches.Err(); err != nil {
				cancel()
				failed <- err
				return
			}
			c.add(int64(fetches.NumRecords()))
		}
	}()
	rate, err := c.rate(ctx)
	cancel()
	return rate, errors.Join(err, <-failed)
}

// consuming compares package ingest with franz-go, from its start to the last record.
func consuming(ctx context.Context, b *bench, f *figures) error {
	s, err := b.stream(ctx, inProtobuf.name, inProtobuf, b.config.events)
	if err != nil {
		return err
	}
	var ours, theirs []float64
	side := func(name string, rates *[]float64, read func(context.Context, *stream) (float64, error)) func(int) (string, error) {
		return func(int) (string, error) {
			rate, err := read(ctx, s)
			*rates = append(*rates, rate)
			return fmt.Sprintf("%s %.0f/s", name, rate), err
		}
	}
	if err := b.turns(ctx, "consume", side("ingest", &ours, b.consume), side("franz-go", &theirs, b.franz)); err != nil {
		return err
	}
	return f.compare("rate", middle(ours), middle(theirs))
}
