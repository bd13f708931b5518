package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/projection"
)

// Sink takes what events come to.
type Sink interface {
	// Insert makes batches durable and visible as they come, and returns nil only when all
	// of them are. A batch is models, which the sink is done with when it asks for the
	// next one, and events that came apart from them: see Keeper. It is called by one goroutine at a time and
	// again with the same events after an error, however much of them was written before;
	// the same events come again after a crash, in other batches. So it must be idempotent,
	// which merging registers is. It may block as long as it likes: nothing is
	// committed, and no more than the configured bounds are read meanwhile. ctx
	// ends with the budget of a stop, not with its begin.
	Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error
}

// Keeper is a Sink that writes to several places, which come and go, and some of which
// leave events out.
type Keeper interface {
	Sink
	// Keep is called between two inserts: before the first one of each generation
	// of the consumer group, until it returns nil, and every so often after that. It
	// looks where to write to. An error with a method Permanent that gives true ends the
	// consumer. From is the offset of each partition from which on
	// everything is still to be written, which it may tell others after it has looked
	// and owned has then returned nil: the partitions were still this process's, so
	// whoever owns one of them later looks later, and writes to no fewer places.
	Keep(ctx context.Context, from map[events.Partition]int64, owned func() error) error
	// Begun gives the partitions of which Keep has been told here, whoever was told. What
	// the group has committed of others was written somewhere else, and is not gone on
	// from. Goroutines ask that are not the one that does the rest.
	Begun(ctx context.Context) (map[events.Partition]bool, error)
	// LeftOut are the IDs of events that any of the places leaves out, nil for none. More
	// become of them with Keep alone, whether that fails or not. Those events come apart
	// from the models of a batch, and each place takes the ones that it does not leave
	// out, whenever they were read.
	LeftOut() map[string]struct{}
}

// Announcer tells others what has become visible, so that they need not look.
type Announcer interface {
	// Announce says that the events of records, which have made changes, are
	// visible, and with them everything in ranges; topics says how many
	// partitions each has, where that is known. The changes are the announcer's from then
	// on. It must not block. ctx has the span of the batch, if it is traced. Its error says
	// that somebody may have missed it, which they notice by themselves: the ranges of a
	// partition continue each other, and are repeated, empty, while nothing happens.
	Announce(ctx context.Context, changes projection.Changes, records [][]events.Record, ranges []events.Range, topics map[string]int) error
}

// writer is the one that writes and commits: batch by batch, each of all the
// partitions of the process, so that the sink sees few and large writes.
type writer struct {
	config      Config
	sink        Sink
	keeper      Keeper     // the sink, if it is one
	announcer   Announcer  // nil: there is nobody to tell
	announcing  sync.Mutex // held from looking what to say until it is said, so that no end is heard of before what ends there
	limiter     *rate.Limiter
	accumulator *accumulator
	decoder     Decoder
	deadLetters *deadLetters
	status      *status
	inDoubt     func(bool) // a commit may not have its answer
	logger      *slog.Logger
	metrics     *metrics
	tracer      trace.Tracer // one that makes nothing, unless somebody wants traces
	beat        *beat.Beat

	// session is the current one; only its partitions are ever committed.
	session atomic.Pointer[session]
	wakeup  chan struct{}
	next    batch       // taken already
	names   atomic.Bool // events are left out somewhere, so owners keep the IDs of theirs
	keptFor *session    // the last that the keeper was told of, and when
	keptAt  time.Time
	waits   *backoff.ExponentialBackOff // between failed commits
}

// wake makes the writer look for something to commit.
func (w *writer) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// run writes batches until the accumulator is closed and everything is
// written, its dead letters too, and committed; or until ctx ends.
func (w *writer) run(ctx context.Context) error {
	defer w.beat.Rest()
	for {
		w.beat.Mark()
		b, done := w.next, false
		if w.next = (batch{}); len(b.pieces) == 0 {
			b, done = w.accumulator.take(ctx, w.wakeup)
		}
		if done {
			break
		}
		if err := w.keep(ctx); err != nil {
			return err
		}
		if err := w.flush(ctx, b); err != nil {
			return err
		}
	}
	if events, bytes := w.accumulator.counts(); events > 0 {
		return fmt.Errorf("%d events (%d bytes) not written: %w", events, bytes, context.Cause(ctx))
	}
	if !w.deadLetters.drain(ctx) {
		// What they hold back is read again; commit the rest.
		w.logger.Warn("stopping although dead letters are not written: they will be read again")
	}
	for !w.commit() {
		if pause.For(ctx, w.waits.NextBackOff()) != nil {
			return fmt.Errorf("last offsets not committed: %w", context.Cause(ctx))
		}
	}
	return nil
}

// retry is retry with a beat around each attempt.
func (w *writer) retry(ctx context.Context, try func() error, failed func(err error, attempt int, wait time.Duration)) error {
	return retry(ctx, w.config, func() error {
		w.beat.Mark()
		defer w.beat.Mark()
		err := try()
		if permanent(err) {
			return backoff.Permanent(err)
		}
		return err
	}, failed)
}

// permanent reports whether an error says itself that trying again is of no use.
func permanent(err error) bool {
	says := (interface{ Permanent() bool })(nil)
	return errors.As(err, &says) && says.Permanent()
}

// statusKeeper is the name of our complaint about the keeper.
const statusKeeper = "generations"

// keep tells the keeper where writing goes on, when it is time to. Only the end of
// ctx stops it.
func (w *writer) keep(ctx context.Context) error {
	s := w.session.Load()
	if w.keeper == nil || s == nil || s == w.keptFor && time.Since(w.keptAt) < w.config.KeepInterval {
		return nil
	}
	owned := func() error { return w.owned(s) }
	if s == w.keptFor {
		if err := w.keeper.Keep(ctx, s.writing(), owned); permanent(err) {
			return err
		} else if err != nil && !s.ended() {
			w.status.set(statusKeeper, err)
			w.logger.Warn("cannot look which generations are kept; going on with those that were", "error", err)
		} else {
			w.status.clear(statusKeeper)
		}
	} else {
		err := w.retry(ctx, func() error {
			err := w.keeper.Keep(ctx, s.writing(), owned)
			if err != nil && s.ended() {
				return backoff.Permanent(err)
			}
			return err
		}, func(err error, attempts int, wait time.Duration) {
			w.status.set(statusKeeper, err)
			w.logger.Error("cannot look which generations are kept; nothing is written before", "attempt", attempts, "retry_in", wait, "error", err)
		})
		if err != nil && s.ended() {
			return nil // what is in hand is of this generation or an earlier one, and is left out
		}
		if err != nil {
			return fmt.Errorf("look which generations are kept: %w", err)
		}
		w.status.clear(statusKeeper)
	}
	w.keptFor, w.keptAt = s, time.Now()
	return nil
}

// owned reports whether the partitions of a session are still its own, which only a
// commit can tell: a process that was stopped for a while may not know yet.
func (w *writer) owned(s *session) error {
	if s.ended() {
		return fmt.Errorf("generation %d of the consumer group is over", s.generation)
	}
	offsets := map[*partition]int64{}
	for _, p := range s.partitions {
		if offset, _ := p.committable(); offset >= 0 {
			offsets[p] = offset
		}
	}
	if len(offsets) == 0 { // nobody would be asked
		return fmt.Errorf("generation %d of the consumer group: it is not known yet where its partitions begin", s.generation)
	}
	return w.commitOffsets(s, offsets)
}

// flush takes a batch, and those that come with it, through the three steps that make
// delivery at least once: a crash between any two of them only repeats what was done.
func (w *writer) flush(ctx context.Context, b batch) error {
	i := &insert{session: w.session.Load()}
	if w.announcer != nil {
		i.changes = projection.Changes{}
	}
	i.add(b)
	if len(i.batches[0].pieces) > 0 {
		ctx = w.begin(ctx, i)
		defer i.end()
		// 1 write
		if err := w.write(ctx, i); errors.Is(err, errOver) {
			return nil
		} else if err != nil {
			return err
		}
		for p := range i.pieces() {
			p.partition.wrote(p)
		}
		i.observe(w.metrics.visible)
		// 2 announce
		w.announce(ctx, i)
		// 3 commit
		_, committing := w.tracer.Start(ctx, stages.commit)
		defer committing.End()
	}
	w.commitInTime()
	return nil
}

// commitInTime commits, unless an attempt has failed lately. The next one then is due after
// a wait that grows, however often the writer is awake meanwhile.
func (w *writer) commitInTime() {
	s := w.session.Load()
	if s == nil || time.Now().Before(s.commitAfter) || w.commit() {
		return
	}
	wait := w.waits.NextBackOff()
	s.commitAfter = time.Now().Add(wait)
	time.AfterFunc(wait, w.wake)
}

// announce tells others of an insert. Nothing waits for them, whoever they are.
func (w *writer) announce(ctx context.Context, i *insert) {
	if w.announcer == nil {
		return
	}
	ctx, span := w.tracer.Start(ctx, stages.announce, trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	w.announcing.Lock()
	defer w.announcing.Unlock()
	var records [][]events.Record
	var ranges []events.Range
	for p := range i.pieces() {
		records = append(records, p.kept)
		ranges = append(ranges, events.Range{
			Partition: p.partition.Partition, From: p.from, To: p.to, Moved: p.moved, Oldest: p.oldest,
		})
		p.partition.didAnnounce(p.to)
	}
	begin := time.Now()
	if err := w.announcer.Announce(ctx, i.changes, records, ranges, nil); err != nil {
		w.metrics.announceFailures.Inc()
		failed(span, err)
		w.logger.Warn("batch not announced; who follows will notice and load again", "events", i.events, "error", err)
		return
	}
	w.metrics.announce.Observe(time.Since(begin).Seconds())
	i.observe(w.metrics.announced)
}

// repeat tells others again where the partitions of a session were announced up to.
func (w *writer) repeat(ctx context.Context, s *session, topics map[string]int) {
	w.announcing.Lock()
	defer w.announcing.Unlock()
	if err := w.announcer.Announce(ctx, nil, nil, s.spokenOf(), topics); err != nil {
		w.metrics.announceFailures.Inc()
	}
}

// statusSink is the name of our complaint about the sink.
const statusSink = "sink"

// insert has the sink insert batches from one on, as long as there are.
func (w *writer) insert(ctx context.Context, i *insert, from int, is func(n int) bool) error {
	if err := w.sink.Insert(ctx, w.inserting(i, from, is)); err != nil {
		return err
	}
	if i.err != nil {
		return backoff.Permanent(i.err)
	}
	return nil
}

// errOver says that an insert is of a generation that has ended meanwhile: it could not be
// committed, and whoever owns its partitions now reads it again. To go on with it would keep
// from being written what is read since.
var errOver = errors.New("the insert's generation of the consumer group is over")

// write tries until the sink has taken the insert, its generation is over (errOver) or ctx ends.
func (w *writer) write(ctx context.Context, i *insert) (err error) {
	if i.events == 0 {
		return nil
	}
	if err := w.throttle(ctx, i.events); err != nil {
		return err
	}
	ctx, span := w.tracer.Start(ctx, stages.write, trace.WithSpanKind(trace.SpanKindClient))
	defer func() { failed(span, err); span.End() }()
	begin := time.Now()
	attempt := time.Time{}
	tried, written := false, 0
	try := func() error {
		attempt, i.waited = time.Now(), 0
		if !tried {
			tried = true
			return w.insert(ctx, i, 0, func(n int) bool { return n < len(i.batches) || w.more(ctx, i) })
		}
		// One by one: what was too much in one go may not be so in ten.
		for ; written < len(i.batches); written++ {
			if err := w.insert(ctx, i, written, func(n int) bool { return n == written }); err != nil {
				return err
			}
		}
		return nil
	}
	err = w.retry(ctx, func() error {
		err := try()
		if err != nil && i.session.ended() {
			return backoff.Permanent(err)
		}
		return err
	}, func(err error, attempts int, wait time.Duration) {
		w.metrics.writeFailures.Inc()
		waiting, waitingBytes := w.accumulator.counts()
		w.status.set(statusSink, fmt.Errorf("%d attempts to write failed, the last with: %w", attempts, err))
		w.logger.Error("batch cannot be written; nothing of it is committed",
			"events", i.events, "bytes", i.bytes, "partitions", i.partitions(),
			"attempt", attempts, "since", time.Since(begin), "retry_in", wait,
			"waiting_events", waiting, "waiting_bytes", waitingBytes, "error", err)
	})
	if err != nil && i.session.ended() && ctx.Err() == nil && !permanent(err) {
		w.status.clear(statusSink)
		w.logger.Warn("batch not written; its generation is over, and others read its records again",
			"generation", i.session.generation, "events", i.events, "bytes", i.bytes, "error", err)
		return errOver
	}
	if err != nil {
		return fmt.Errorf("write %d events (%d bytes): %w", i.events, i.bytes, err)
	}
	w.status.clear(statusSink)
	w.metrics.write.Observe((time.Since(attempt) - i.waited).Seconds())
	w.metrics.batchEvents.Observe(float64(i.events))
	w.metrics.batchBytes.Observe(float64(i.bytes))
	w.tellConflicts(i)
	return nil
}

// throttle waits until so many events may be written.
func (w *writer) throttle(ctx context.Context, events int) error {
	step := w.limiter.Burst() // a batch may have a piece too many
	if rate := w.config.MaxRate; rate > 0 {
		step = min(step, rate) // what takes long is no standing still
	}
	for left := events; left > 0; left -= step {
		if err := w.limiter.WaitN(ctx, min(left, step)); err != nil {
			return fmt.Errorf("write %d events: %w", events, context.Cause(ctx))
		}
		w.beat.Mark()
	}
	return nil
}

// tellConflicts tells of messages that share a sequence.
func (w *writer) tellConflicts(i *insert) {
	n := len(i.conflicts)
	if n == 0 {
		return
	}
	first := i.conflicts[0]
	w.metrics.conflicts.Add(float64(n))
	w.logger.Warn("different messages share a sequence: their producer is at fault", "messages", n, "events", i.events,
		"first_app", first.App, "first_type", first.Conversation.Type.String(), "first_a", first.Conversation.A, "first_b", first.Conversation.B,
		"first_sequence", first.Sequence)
}

// commit tells the group what is written. It is fenced twice: a session that
// has ended does not commit, and if it ends meanwhile the coordinator refuses
// the generation. It reports false when it should be tried again.
func (w *writer) commit() bool {
	s := w.session.Load()
	if s == nil || s.ended() {
		return true
	}
	committable := s.committable()
	if len(committable) == 0 {
		return true
	}
	if err := w.commitOffsets(s, committable); err != nil {
		if s.ended() {
			w.logger.Warn("offsets not committed: the generation is over; others read these records again",
				"generation", s.generation, "partitions", len(committable), "error", err)
			return true
		}
		w.logger.Error("offsets cannot be committed; trying again",
			"generation", s.generation, "partitions", len(committable), "error", err)
		return false
	}
	w.waits.Reset()
	return true
}

// commitOffsets commits offsets of a session, which ends when the coordinator
// refuses its generation.
func (w *writer) commitOffsets(s *session, list map[*partition]int64) error {
	offsets := map[string]map[int]int64{}
	for p, offset := range list {
		if offsets[p.Topic] == nil {
			offsets[p.Topic] = map[int]int64{}
		}
		offsets[p.Topic][p.ID] = offset
	}
	w.inDoubt(true)
	begin := time.Now()
	err := s.commit(offsets)
	w.inDoubt(err != nil && !answered(err))
	if err != nil {
		w.metrics.commitFailures.Inc()
		if judge(err) == fenced {
			s.end()
		}
		return fmt.Errorf("commit the offsets of %d partitions: %w", len(list), err)
	}
	w.metrics.commits.Inc()
	w.metrics.commit.Observe(time.Since(begin).Seconds())
	for p, offset := range list {
		p.didCommit(offset)
	}
	w.logger.Debug("committed", "generation", s.generation, "offsets", offsets)
	return nil
}
