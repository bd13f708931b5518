package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
)

// The headers that a dead letter has beyond its own.
const (
	headerTopic     = "convoview-topic"
	headerPartition = "convoview-partition"
	headerOffset    = "convoview-offset"
	headerCode      = "convoview-code"
	headerReason    = "convoview-reason"
	// headerRedriven names the dead letter that was sent again and has become this record.
	headerRedriven = "convoview-redriven"
)

// maxProduceBytes is how much is sent to a partition at once, unless one record
// alone is more.
const maxProduceBytes = 256 << 10

// deadLetter is a record that holds no valid event.
type deadLetter struct {
	partition  *partition
	offset     int64
	key, value []byte
	headers    []kafka.Header
	bytes      int
	refused    bool // the topic does not take it as things are; under deadLetters.mu
}

// newDeadLetter makes the dead letter of a message: unchanged, and why.
func newDeadLetter(p *partition, m kafka.Message, cause *events.Error) *deadLetter {
	headers := append(m.Headers[:len(m.Headers):len(m.Headers)],
		kafka.Header{Key: headerTopic, Value: []byte(p.Topic)},
		kafka.Header{Key: headerPartition, Value: []byte(strconv.Itoa(p.ID))},
		kafka.Header{Key: headerOffset, Value: strconv.AppendInt(nil, m.Offset, 10)},
		kafka.Header{Key: headerCode, Value: []byte(cause.Code)},
		kafka.Header{Key: headerReason, Value: []byte(reason(cause))},
	)
	return &deadLetter{partition: p, offset: m.Offset, key: m.Key, value: m.Value, headers: headers, bytes: size(m.Key, m.Value, headers)}
}

// letterOverhead is about what a dead letter costs beside its texts, in memory and on the wire,
// and headerOverhead what each header does, in memory alone.
const (
	letterOverhead = 128
	headerOverhead = 40
)

// size is what a dead letter costs with all its headers, ours included: of a
// flood of tiny bad records they are nearly all of it.
func size(key, value []byte, headers []kafka.Header) int {
	n := letterOverhead + len(key) + len(value)
	for _, h := range headers {
		n += headerOverhead + len(h.Key) + len(h.Value)
	}
	return n
}

// record is the dead letter as it is sent. It can be sent once.
func (l *deadLetter) record() kafka.Record {
	r := kafka.Record{
		// The time is ours: with the producer's, which may be what is wrong
		// with the record, brokers would refuse it or delete it at once.
		Time:    time.Now(),
		Headers: l.headers,
	}
	if l.key != nil {
		r.Key = kafka.NewBytes(l.key)
	}
	if l.value != nil {
		r.Value = kafka.NewBytes(l.value)
	}
	return r
}

func reason(e *events.Error) string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + " " + e.Reason
}

// deadLetters writes dead letters, beside everything else: a topic that is away
// holds back commits, and no reading before a partition's bound is reached.
type deadLetters struct {
	cluster *cluster
	status  *status
	logger  *slog.Logger
	metrics *metrics
	wake    func() // something can be committed

	mu      sync.Mutex
	queue   []*deadLetter
	changed chan struct{} // closed and replaced with every change
}

func newDeadLetters(c *cluster, s *status, logger *slog.Logger, m *metrics, wake func()) *deadLetters {
	return &deadLetters{cluster: c, status: s, logger: logger, metrics: m, wake: wake, changed: make(chan struct{})}
}

func (d *deadLetters) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
	d.metrics.deadLettersWaiting.Set(float64(len(d.queue)))
}

// add takes over a dead letter, whose offset is not committed from now on until
// it is written. While too many of the partition wait it blocks; it reports
// false when ctx ends before.
func (d *deadLetters) add(ctx context.Context, letter *deadLetter) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !letter.partition.holdDead(letter.offset, letter.bytes, d.cluster.config.MaxDeadLetterBytes) {
		if !d.await(ctx) {
			return false
		}
	}
	d.queue = append(d.queue, letter)
	d.signal()
	return true
}

// await waits for a change, with mu held before and after.
func (d *deadLetters) await(ctx context.Context) bool {
	changed := d.changed
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain waits until every dead letter is written, or refused. It reports false when one is
// not written, or ctx ends before.
func (d *deadLetters) drain(ctx context.Context) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for slices.ContainsFunc(d.queue, func(l *deadLetter) bool { return !l.refused }) {
		if !d.await(ctx) {
			return false
		}
	}
	return len(d.queue) == 0
}

// statusDeadLetters is the name of our complaint about their topic.
const statusDeadLetters = "dead letters"

// run writes dead letters until ctx ends.
func (d *deadLetters) run(ctx context.Context) {
	waits := newBackoff(d.cluster.config)
	for {
		letters := d.next(ctx)
		if letters == nil {
			return
		}
		err := d.write(ctx, letters)
		if err == nil {
			d.status.clear(statusDeadLetters)
			waits.Reset()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		d.status.set(statusDeadLetters, err)
		wait := waits.NextBackOff()
		d.metrics.deadLetterFailures.Inc()
		d.logger.Error("dead letters cannot be written; their offsets are not committed",
			"topic", d.cluster.config.DeadTopic, "waiting", len(letters), "first", describe(letters[0]), "error", err, "retry_in", wait)
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}

func describe(l *deadLetter) string {
	return fmt.Sprintf("%v at %d", l.partition.Partition, l.offset)
}

// next waits for dead letters and gives all that wait. Those of generations
// that have ended are dropped: whoever has their partitions now meets them again.
func (d *deadLetters) next(ctx context.Context) []*deadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		before := len(d.queue)
		d.queue = slices.DeleteFunc(d.queue, func(l *deadLetter) bool { return l.partition.session.ended() })
		if len(d.queue) != before {
			d.signal()
		}
		if len(d.queue) > 0 {
			return slices.Clone(d.queue)
		}
		d.status.clear(statusDeadLetters)
		if !d.await(ctx) {
			return nil
		}
	}
}

// written takes dead letters off the queue and lets their offsets be committed.
func (d *deadLetters) written(letters []*deadLetter) {
	done := map[*deadLetter]bool{} // one that was met again has the same offset
	for _, l := range letters {
		done[l] = true
		l.partition.releaseDead(l.offset, l.bytes)
	}
	d.mu.Lock()
	d.queue = slices.DeleteFunc(d.queue, func(l *deadLetter) bool { return done[l] })
	d.signal()
	d.mu.Unlock()
	d.wake()
}

// refused takes note that a dead letter is not taken, so that no stop waits for it.
func (d *deadLetters) refused(l *deadLetter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.refused = true
	d.signal()
}

// targetsAtOnce is how many partitions of the topic are written to at a time.
const targetsAtOnce = 16

// write tries dead letters and gives the first error. Those of one source partition go to
// one partition of the topic, in order, but for those that are refused: they come when they
// are taken. A partition of the topic that fails otherwise gets no more this time, and
// others do not wait for it.
func (d *deadLetters) write(ctx context.Context, letters []*deadLetter) error {
	topics, err := d.cluster.topics(ctx, d.cluster.config.DeadTopic)
	if err != nil {
		return err
	}
	topic := topics[d.cluster.config.DeadTopic]
	if topic.Error != nil || len(topic.Partitions) == 0 {
		return fmt.Errorf("find topic %s: %w", d.cluster.config.DeadTopic, kafka.UnknownTopicOrPartition)
	}
	targets := map[int][]*deadLetter{}
	for _, l := range letters {
		target := l.partition.ID % len(topic.Partitions)
		targets[target] = append(targets[target], l)
	}
	var writes errgroup.Group
	writes.SetLimit(targetsAtOnce)
	for target, letters := range targets {
		writes.Go(func() error {
			return inRequests(letters, func(l *deadLetter) int { return l.bytes }, func(letters []*deadLetter) error {
				return d.produce(ctx, events.Partition{Topic: topic.Name, ID: target}, letters)
			})
		})
	}
	return writes.Wait()
}

// inRequests sends items in order, so many at once that they are no more than
// maxProduceBytes; and when the broker refuses some so, in halves, lest one that cannot
// be written keeps the others. It tries each once, up to an error of another kind, and
// gives the last error.
func inRequests[T any](items []T, bytes func(T) int, send func([]T) error) error {
	var last error
	for len(items) > 0 {
		n, sum := 1, bytes(items[0])
		for n < len(items) && sum+bytes(items[n]) <= maxProduceBytes {
			sum += bytes(items[n])
			n++
		}
		if err := inHalves(items[:n], send); err != nil {
			last = err
			if judge(err) != refused {
				break
			}
		}
		items = items[n:]
	}
	return last
}

func inHalves[T any](items []T, send func([]T) error) error {
	err := send(items)
	if judge(err) != refused || len(items) == 1 {
		return err
	}
	half := len(items) / 2
	first := inHalves(items[:half], send)
	if first != nil && judge(first) != refused {
		return first
	}
	return cmp.Or(inHalves(items[half:], send), first)
}

func (d *deadLetters) produce(ctx context.Context, to events.Partition, letters []*deadLetter) error {
	records := make([]kafka.Record, len(letters))
	bytes := 0
	for i, l := range letters {
		records[i] = l.record()
		bytes += l.bytes
	}
	if err := d.cluster.produce(ctx, to, records); err != nil {
		if judge(err) == refused && len(letters) == 1 {
			d.refused(letters[0])
		}
		return fmt.Errorf("write %d dead letters (%d bytes) to %v, the first from %s: %w",
			len(letters), bytes, to, describe(letters[0]), err)
	}
	d.written(letters)
	return nil
}
