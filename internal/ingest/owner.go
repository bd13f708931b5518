package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/projection"
)

// ErrLeftOut is the error of an event that the decoder is to leave out.
var ErrLeftOut = errors.New("left out")

// Decoder reads the event of a record. Its error is events.ErrEmptyValue,
// events.ErrUnknownBody or ErrLeftOut for records to skip, or an *events.Error
// for a dead letter. It gives the same for the same record, and is called by many
// goroutines at once.
type Decoder interface {
	Decode(record events.Record) (events.Event, error)
}

// owner reads one partition for as long as one generation lasts: fetches,
// decodes, folds, and hands pieces over. Everything that takes processor time
// and can be done partition by partition is done here, in parallel.
type owner struct {
	partition   *partition
	fetcher     *fetcher
	decoder     Decoder
	accumulator *accumulator
	deadLetters *deadLetters
	status      *status
	logger      *slog.Logger
	metrics     *metrics
	config      Config
	names       *atomic.Bool // somebody wants the IDs of events
	traced      bool         // somebody wants to know which records have spans
	fail        func(error)

	watchdog watchdog
	piece    *piece
	expected int             // how many events a piece will have: as many as the one before
	headers  []events.Header // reused
	typed    []events.Header // the content type of the record kept last
	stable   int64           // the last stable offset
}

// errStopped ends a fetch whose owner has to stop.
var errStopped = errors.New("reading stopped")

// run reads until ctx ends: with the generation, or with the wish to stop.
func (o *owner) run(ctx context.Context) {
	defer o.finish()
	o.fetcher.ends = func(highWater, stable int64) {
		o.partition.sawEnd(highWater, time.Now())
		o.partition.canRead(min(stable, highWater))
		o.stable = stable
	}
	select {
	case <-o.partition.session.resumed:
	case <-ctx.Done():
		return
	}
	waits := newBackoff(o.config)
	for o.accumulator.wait(ctx) {
		begin := time.Now()
		before, _ := o.partition.position()
		err := o.read(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			waits.Reset()
		} else {
			wait := waits.NextBackOff()
			o.partition.canRead(-1)
			o.metrics.fetchFailures.WithLabelValues(o.partition.Topic).Inc()
			o.logger.Warn("partition cannot be read; trying again", "offset", before, "error", err, "retry_in", wait)
			if pause.For(ctx, wait) != nil {
				break
			}
		}
		o.watch(time.Since(begin), before)
	}
}

func (o *owner) finish() {
	o.fetcher.close()
	// What is folded is worth writing if the group still lets us commit it, which the
	// writer sees.
	if o.piece != nil {
		o.accumulator.addLast(o.piece)
	}
	o.status.clear(o.trouble())
}

// trouble is the name of our complaints.
func (o *owner) trouble() string {
	return "partition " + o.partition.String()
}

// read makes one fetch, after finding out where to begin if nobody knows.
func (o *owner) read(ctx context.Context) error {
	next, _ := o.partition.position()
	if next < 0 {
		return o.first(ctx)
	}
	result, err := o.fetcher.fetch(ctx, next, func(m kafka.Message) error { return o.handle(ctx, m) })
	o.count(result)
	if result.next > next && ctx.Err() == nil {
		o.current().to = result.next
		o.partition.advance(result.next)
		if !o.handOver(ctx) {
			return errStopped
		}
	}
	if another := errors.Is(err, errAnother); another || err != nil && judge(err) == outOfRange {
		return o.outOfRange(ctx, result.next, another)
	}
	return err
}

// first begins where nothing is committed, or nothing that is of use.
func (o *owner) first(ctx context.Context) error {
	first, last, err := o.fetcher.offsets(ctx)
	if err != nil {
		return err
	}
	at, given := o.config.StartAt[o.partition.Partition]
	committed := o.partition.groupKnows()
	switch {
	case given && (at < first || at > last):
		return o.outOfRange(ctx, at, false)
	case given:
		o.logger.Info("nothing is committed; reading from the given offset", "offset", at)
		return o.begin(ctx, at)
	case committed >= 0:
		o.logger.Warn("what is committed was not written here; reading from the earliest offset", "wanted", committed, "first", first)
	default:
		o.logger.Info("nothing is committed; reading from the earliest offset", "offset", first)
	}
	return o.begin(ctx, first)
}

// count tells of what a fetch left out.
func (o *owner) count(result fetched) {
	if result.control > 0 {
		o.metrics.skipped.WithLabelValues("control").Add(float64(result.control))
	}
	if result.aborted > 0 {
		o.metrics.skipped.WithLabelValues("aborted").Add(float64(result.aborted))
	}
	if lost := result.lost; lost != nil {
		o.logger.Error("corrupted batch: its records are not projected; going on after it",
			"lost_from", lost.from, "lost_to", lost.next, "lost_offsets", lost.next-lost.from, "error", lost)
		o.metrics.corruptedBatches.WithLabelValues(o.partition.Topic).Inc()
	}
}

// current gives the piece that is being folded. A new one begins where the one
// before ended, so that pieces have no gaps where compaction has left some.
func (o *owner) current() *piece {
	if o.piece != nil {
		return o.piece
	}
	next, resets := o.partition.position()
	if o.piece = o.accumulator.resume(o.partition, next, resets); o.piece == nil {
		o.piece = &piece{
			partition: o.partition, from: next, to: next, resets: resets, named: o.names.Load(),
			model: projection.NewModelFor(o.expected), kept: make([]events.Record, 0, o.expected),
		}
	}
	return o.piece
}

// handOver puts the piece into the batch and waits for room to do so.
func (o *owner) handOver(ctx context.Context) bool {
	events := o.piece.events
	o.partition.holds(o.piece.oldest)
	if !o.accumulator.add(ctx, o.piece) {
		return false
	}
	o.piece, o.expected = nil, events
	return true
}

// handle takes one record. No record makes it fail: the error says that the
// owner has to stop.
func (o *owner) handle(ctx context.Context, m kafka.Message) error {
	bytes := len(m.Key) + len(m.Value)
	o.headers = o.headers[:0]
	for _, h := range m.Headers {
		bytes += len(h.Key) + len(h.Value)
		o.headers = append(o.headers, events.Header{Key: h.Key, Value: h.Value})
	}

	p := o.current()
	watch := sample(m.Offset)
	event, err := o.decoder.Decode(events.Record{Value: m.Value, Headers: o.headers, Timestamp: m.Time})
	watch.lap(o.metrics.decode)
	switch {
	case err == nil:
		if event.UnknownFields > 0 {
			o.metrics.unknownFields.Add(float64(event.UnknownFields))
		}
		p.model.Fold(event)
		watch.lap(o.metrics.fold)
		p.events++
		p.kept = append(p.kept, o.toKeep(m))
		if p.named {
			p.ids = append(p.ids, event.ID)
		}
	case errors.Is(err, events.ErrEmptyValue):
		o.metrics.skipped.WithLabelValues("empty_value").Inc()
	case errors.Is(err, events.ErrUnknownBody):
		o.metrics.skipped.WithLabelValues("unknown_body").Inc()
	case errors.Is(err, ErrLeftOut):
		o.metrics.skipped.WithLabelValues("left_out").Inc()
	default:
		if !o.handleBad(ctx, m, bytes, err) {
			return errStopped
		}
		p = o.current() // another one, unless it was left out
	}
	if p.records == 0 {
		p.oldest = m.Time
	}
	p.latest = m.Time
	if o.traced {
		p.link(m.Headers) //nolint:contextcheck // the context of a span is in the record
	}
	p.records++
	p.bytes += bytes
	p.to = m.Offset + 1
	if n := p.news(); n.records >= o.config.MaxPieceEvents || n.rows >= o.config.MaxPieceRows || n.bytes >= o.config.MaxPieceBytes {
		o.partition.advance(p.to)
		if !o.handOver(ctx) {
			return errStopped
		}
	}
	return nil
}

// handleBad makes a dead letter of a record that holds no valid event, and hands over what
// was folded before it: the letter may have to wait, and that need not. It reports false when
// the owner has to stop.
func (o *owner) handleBad(ctx context.Context, m kafka.Message, bytes int, cause error) bool {
	var bad *events.Error
	if !errors.As(cause, &bad) {
		bad = &events.Error{Code: events.CodeMalformed, Reason: cause.Error()}
	}
	o.metrics.deadLetters.WithLabelValues(string(bad.Code)).Inc()
	if o.config.DeadTopic == "" { // projectors have made one of it
		o.logger.Debug("no valid event; left out", "offset", m.Offset, "code", string(bad.Code), "reason", reason(bad))
		return true
	}
	p := o.current()
	if p.dead++; p.dead == 1 { // of a flood the log shows one per piece
		o.logger.Warn("dead letter", "offset", m.Offset, "code", string(bad.Code), "reason", reason(bad), "bytes", bytes)
	}
	o.partition.advance(p.to)
	return o.handOver(ctx) && o.deadLetters.add(ctx, newDeadLetter(o.partition, m, bad))
}

// toKeep is what tells an event: its value, the one header that matters, and the time
// by which it was judged.
func (o *owner) toKeep(m kafka.Message) events.Record {
	r := events.Record{Value: m.Value, Timestamp: m.Time}
	for _, h := range o.headers {
		if strings.EqualFold(h.Key, events.HeaderContentType) {
			if len(o.typed) == 0 || o.typed[0].Key != h.Key || !bytes.Equal(o.typed[0].Value, h.Value) {
				o.typed = []events.Header{h}
			}
			r.Headers = o.typed // the last one counts
		}
	}
	return r
}

// LostError says that an offset is not in its partition any more: what is before First
// was deleted, or the partition ends before it or is seen to be another one.
type LostError struct {
	events.Partition
	Wanted, First, End int64
	Another            bool
}

// Error implements error.
func (e *LostError) Error() string {
	if e.Another {
		return fmt.Sprintf("%v is not what was read up to offset %d: its topic was made anew or has lost records", e.Partition, e.Wanted)
	}
	if e.Wanted > e.End {
		return fmt.Sprintf("%v ends at offset %d, before %d: its topic was made anew or has lost records", e.Partition, e.End, e.Wanted)
	}
	return fmt.Sprintf("%v begins at offset %d: the records from %d on were deleted before they were read", e.Partition, e.First, e.Wanted)
}

// outOfRange goes on at the earliest offset when the one wanted is not in the
// partition, or that is another one: it names what was lost, and never skips in silence.
func (o *owner) outOfRange(ctx context.Context, want int64, another bool) error {
	first, last, err := o.fetcher.offsets(ctx)
	if err != nil {
		return err
	}
	if !another && want >= first && want <= last {
		return errors.New("an offset between the first and the last is said to be out of range")
	}
	lost := &LostError{o.partition.Partition, want, first, last, another}
	if o.config.Lost != nil {
		err := o.config.Lost(ctx, lost)
		if ctx.Err() != nil {
			return errStopped // whoever owns the partition next asks again
		}
		if err != nil {
			o.fail(err)
			return errStopped
		}
	}
	if another || want > last {
		o.logger.Error("the topic was made anew or has lost records; going on at the earliest offset",
			"error", lost, "wanted", want, "first", first, "end", last)
	} else {
		o.logger.Error("data lost: records were deleted before they were read; going on at the earliest offset",
			"lost_from", want, "lost_to", first, "lost_offsets", first-want)
		o.metrics.lostRecords.WithLabelValues(o.partition.Topic).Add(float64(first - want))
	}
	o.metrics.outOfRange.WithLabelValues(o.partition.Topic).Inc()
	return o.begin(ctx, first)
}

// begin moves reading to an offset that is not the next one, and has it
// committed even if nothing comes: what was lost before it is said once, and
// what is lost after it is noticed.
func (o *owner) begin(ctx context.Context, offset int64) error {
	if o.piece != nil && !o.handOver(ctx) {
		return errStopped
	}
	o.partition.reset(offset)
	o.current().moved = true
	if !o.handOver(ctx) {
		return errStopped
	}
	return nil
}

// watch reports a partition that stands still, and makes its connection anew.
func (o *owner) watch(took time.Duration, before int64) {
	next, _ := o.partition.position()
	behind := o.partition.behind()
	if next != before || !behind {
		o.status.clear(o.trouble())
	}
	if o.watchdog.observe(took, next != before, behind) {
		o.metrics.stalls.WithLabelValues(o.partition.Topic).Inc()
		o.status.set(o.trouble(), errors.New("stands still at offset "+strconv.FormatInt(next, 10)))
		o.logger.Error("partition stands still although its end is ahead; connecting anew", "offset", next, "last_stable_offset", o.stable, "stall_timeout", o.config.StallTimeout)
		o.fetcher.close()
	}
}
