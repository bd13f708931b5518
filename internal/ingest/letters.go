package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
)

// Place is where a record is.
type Place struct {
	events.Partition
	Offset int64
}

// String gives topic, partition and offset with slashes between them.
func (p Place) String() string { return p.Partition.String() + "/" + strconv.FormatInt(p.Offset, 10) }

// MarshalText gives the same as String.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what String gives.
func (p *Place) UnmarshalText(text []byte) error {
	wrong := fmt.Errorf("place %q: expected a topic and two numbers, topic/0/17", text)
	i := strings.LastIndexByte(string(text), '/')
	if i < 0 {
		return wrong
	}
	var read Place
	if err := read.Partition.UnmarshalText(text[:i]); err != nil {
		return wrong
	}
	var err error
	if read.Offset, err = strconv.ParseInt(string(text[i+1:]), 10, 64); err != nil || read.Offset < 0 {
		return wrong
	}
	*p = read
	return nil
}

// Letter is a record of the dead-letter topic.
type Letter struct {
	Place
	// Written is when, as its topic has it.
	Written time.Time
	// From is where the record came from that is a dead letter. Its topic is "" when
	// the headers do not say, as those of a record that is not convoview's.
	From Place
	// Code and Reason are why.
	Code   events.Code
	Reason string
	// Redriven is the dead letter that was sent again and has become this one; its
	// topic is "" when there is none.
	Redriven Place
	// Headers are all, those of the record first.
	Headers    []events.Header
	Key, Value []byte

	bytes int // about what it is to send
}

// newLetter reads what a record of the dead-letter topic says.
func newLetter(p events.Partition, m kafka.Message) Letter {
	l := Letter{Place: Place{p, m.Offset}, Written: m.Time, Key: m.Key, Value: m.Value, bytes: size(m.Key, m.Value, m.Headers)}
	said := map[string]string{}
	for _, h := range m.Headers {
		l.Headers = append(l.Headers, events.Header{Key: h.Key, Value: h.Value})
		said[h.Key] = string(h.Value) // the last one is ours
	}
	l.Code, l.Reason = events.Code(said[headerCode]), said[headerReason]
	// What does not say where it came from says so by an empty topic.
	_ = l.From.UnmarshalText([]byte(said[headerTopic] + "/" + said[headerPartition] + "/" + said[headerOffset]))
	_ = l.Redriven.UnmarshalText([]byte(said[headerRedriven]))
	return l
}

// Own gives the headers that the record had before it was a dead letter.
func (l *Letter) Own() []events.Header {
	var own []events.Header
	for _, h := range l.Headers {
		switch h.Key {
		case headerTopic, headerPartition, headerOffset, headerCode, headerReason, headerRedriven:
		default:
			own = append(own, h)
		}
	}
	return own
}

// first is the letter that this one is once more, or itself: both hold the same event.
func (l *Letter) first() Place {
	if l.Redriven.Topic == l.Topic {
		return l.Redriven
	}
	return l.Place
}

// Filter says which dead letters are meant; the zero Filter means all.
type Filter struct {
	// Codes and Topics (where they came from) are any of these; empty: any at all.
	Codes  []events.Code
	Topics []string
	// Since and Until bound when they were written, the latter exclusively; zero: no bound.
	Since, Until time.Time
}

// matches reports whether a letter is meant.
func (f *Filter) matches(l *Letter) bool {
	return (len(f.Codes) == 0 || slices.Contains(f.Codes, l.Code)) &&
		(len(f.Topics) == 0 || slices.Contains(f.Topics, l.From.Topic)) &&
		!l.Written.Before(f.Since) && (f.Until.IsZero() || l.Written.Before(f.Until))
}

// Scanned is how far the reading of dead letters is.
type Scanned struct {
	// Done and Total count offsets, those without a record, too.
	Done, Total int64
	// Letters were read, and Matching of them match.
	Letters, Matching int
	// Lost counts the offsets of corrupted batches and of records that were deleted
	// before they were read.
	Lost int64
}

// Letters reads the dead-letter topic, and sends what is in it again. Once it has begun, a
// broker that is away is tried again until nothing has succeeded for StallTimeout.
type Letters struct {
	cluster *cluster
	logger  *slog.Logger
}

// NewLetters makes one for DeadTopic, which must not be empty.
func NewLetters(c Config, logger *slog.Logger) (*Letters, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.DeadTopic == "" {
		return nil, errors.New("ingest: the dead-letter topic is empty")
	}
	return &Letters{newCluster(c), logger}, nil
}

// Close closes the connections.
func (l *Letters) Close() { l.cluster.close() }

// Get gives the letter at a partition and an offset.
func (l *Letters) Get(ctx context.Context, id int, offset int64) (*Letter, error) {
	p := Place{events.Partition{Topic: l.cluster.config.DeadTopic, ID: id}, offset}
	starts, ends, err := l.bounds(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	switch end, ok := ends[p.Partition]; {
	case !ok:
		return nil, fmt.Errorf("dead letter %v: the topic has the partitions 0 to %d", p, len(ends)-1)
	case starts[p.Partition] == end:
		return nil, fmt.Errorf("dead letter %v: the partition is empty", p)
	case offset < starts[p.Partition] || offset >= end:
		return nil, fmt.Errorf("dead letter %v: the partition has the offsets %d to %d", p, starts[p.Partition], end-1)
	}
	var found *Letter
	err = l.read(ctx, p.Partition, offset, offset+1, func(letters []Letter, _, _ int64) error {
		if len(letters) > 0 {
			found = &letters[0]
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("dead letter %v: there is no record at this offset", p)
	}
	return found, err
}

// Scan reads the topic from its beginning to the end that it has at the moment, partition
// by partition. It gives handle what matches, some letters at a time, and then tells how
// far it is.
func (l *Letters) Scan(ctx context.Context, f Filter, handle func([]Letter) error, tell func(Scanned)) (Scanned, error) {
	var at Scanned
	starts, ends, err := l.bounds(ctx, f.Since)
	if err != nil {
		return at, err
	}
	for p, end := range ends {
		at.Total += end - starts[p]
	}
	for _, p := range slices.SortedFunc(maps.Keys(ends), func(a, b events.Partition) int { return cmp.Compare(a.ID, b.ID) }) {
		err := l.read(ctx, p, starts[p], ends[p], func(letters []Letter, offsets, lost int64) error {
			at.Letters += len(letters)
			matching := slices.DeleteFunc(letters, func(l Letter) bool { return !f.matches(&l) })
			if err := handle(matching); err != nil {
				return err
			}
			at.Matching += len(matching)
			at.Done += offsets
			at.Lost += lost
			tell(at)
			return nil
		})
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// bounds gives the offset at which each partition begins, with what was written since a
// time, and the one at which it ends.
func (l *Letters) bounds(ctx context.Context, since time.Time) (starts, ends map[events.Partition]int64, err error) {
	topic := l.cluster.config.DeadTopic
	if starts, err = l.cluster.ask(ctx, firstOffset, topic); err != nil {
		return nil, nil, err
	}
	if ends, err = l.cluster.ask(ctx, lastOffset, topic); err != nil {
		return nil, nil, err
	}
	for p, start := range starts { // asked one after the other
		ends[p] = max(ends[p], start)
	}
	if since.IsZero() {
		return starts, ends, nil
	}
	later, err := l.cluster.ask(ctx, offsetSince(since), topic)
	if err != nil {
		return nil, nil, err
	}
	for p, offset := range later {
		if offset < 0 { // all are older
			offset = ends[p]
		}
		starts[p] = min(max(starts[p], offset), ends[p])
	}
	return starts, ends, nil
}

// lettersAtOnce is how many letters are handled at once at most, so that something is
// heard of those that are handled slowly.
const lettersAtOnce = 1000

// read reads a partition from an offset up to another one. It gives handle some letters
// after the other, over how many offsets they go, and how many of these are lost.
func (l *Letters) read(ctx context.Context, p events.Partition, from, to int64, handle func(letters []Letter, offsets, lost int64) error) error {
	f := &fetcher{cluster: l.cluster, Partition: p}
	defer f.close()
	tries := l.newTries()
	for next := from; next < to; {
		var letters []Letter
		result, err := f.fetch(ctx, next, func(m kafka.Message) error {
			if m.Offset < to {
				letters = append(letters, newLetter(p, m))
			}
			return nil
		})
		lost := int64(0)
		if result.lost != nil {
			lost = min(result.lost.next, to) - result.lost.from
			l.logger.Error("corrupted batch: its dead letters cannot be read; going on after it",
				"partition", p.String(), "lost_from", result.lost.from, "lost_to", result.lost.next, "error", result.lost)
		}
		if err != nil && judge(err) == outOfRange {
			first, _, failed := f.offsets(ctx)
			if failed == nil && first > result.next {
				lost += min(first, to) - result.next
				l.logger.Warn("dead letters were deleted before they were read; going on at the earliest",
					"partition", p.String(), "lost_from", result.next, "lost_to", first)
				result.next, err = first, nil
			}
		}
		if to := min(result.next, to); to > next {
			for len(letters) > lettersAtOnce {
				after := letters[lettersAtOnce].Offset
				if err := handle(letters[:lettersAtOnce], after-next, 0); err != nil {
					return err
				}
				next, letters = after, letters[lettersAtOnce:]
			}
			if err := handle(letters, to-next, lost); err != nil {
				return err
			}
			next = to
			tries.succeeded()
			continue
		}
		if err == nil {
			err = fmt.Errorf("%v has no record at offset %d although it ends at %d: a transaction may be open", p, next, to)
		}
		if err := tries.failed(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// tries are attempts at the same thing.
type tries struct {
	letters *Letters
	waits   *backoff.ExponentialBackOff
	since   time.Time // when something has succeeded
}

func (l *Letters) newTries() *tries {
	return &tries{l, newBackoff(l.cluster.config), time.Now()}
}

func (t *tries) succeeded() {
	t.waits.Reset()
	t.since = time.Now()
}

// failed waits before the next attempt. Its error says that there is to be none.
func (t *tries) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if tried := time.Since(t.since); judge(err) == forbidden || tried >= t.letters.cluster.config.StallTimeout {
		return fmt.Errorf("given up after %v: %w", tried.Round(time.Millisecond), err)
	}
	wait := t.waits.NextBackOff()
	t.letters.logger.Warn("trying again", "error", err, "retry_in", wait)
	return pause.For(ctx, wait)
}
