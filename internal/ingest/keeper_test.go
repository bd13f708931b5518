package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// keeperSink notes what it was told between which writes.
type keeperSink struct {
	*memorySink
	mu      sync.Mutex
	told    []map[events.Partition]int64
	writes  int // so far
	failed  int // how often it was told in vain
	keep    func() error
	begun   func() error
	earlier []events.Partition // that others were told of
	unsure  bool               // it tells nobody before it is owned what it is told of
	// The memorySink takes everything, and spared leaves out what is in leaves as soon
	// as that was looked for.
	leaves  map[string]struct{}
	leftOut map[string]struct{}
	spared  *projection.Model
	apart   []string // the IDs of what came apart
}

// leave has some events left out from the next look on.
func (s *keeperSink) leave(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaves = map[string]struct{}{}
	for _, id := range ids {
		s.leaves[id] = struct{}{}
	}
}

// Begun says so of all that it was told of.
func (s *keeperSink) Begun(context.Context) (map[events.Partition]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun != nil {
		if err := s.begun(); err != nil {
			return nil, err
		}
	}
	begun := map[events.Partition]bool{}
	for _, told := range s.earlier {
		begun[told] = true
	}
	for _, told := range s.told {
		for p := range told {
			begun[p] = true
		}
	}
	return begun, nil
}

func (s *keeperSink) LeftOut() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftOut
}

func (s *keeperSink) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	all, spared := projection.NewModel(), projection.NewModel()
	for models, apart := range batches {
		all.Merge(merged(models...))
		spared.Merge(merged(models...))
		s.mu.Lock()
		for _, e := range apart {
			s.apart = append(s.apart, e.ID)
			all.Fold(e)
			if _, left := s.leftOut[e.ID]; !left {
				spared.Fold(e)
			}
		}
		s.mu.Unlock()
	}
	err := s.insert(ctx, all)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.spared != nil {
		s.spared.Merge(spared)
	}
	return err
}

func (s *keeperSink) Keep(_ context.Context, from map[events.Partition]int64, owned func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keep != nil {
		if err := s.keep(); err != nil {
			s.failed++
			return err
		}
	}
	s.leftOut = s.leaves
	if s.unsure {
		if err := owned(); err != nil {
			return err
		}
	}
	s.told = append(s.told, from)
	return nil
}

// TestKeeper_IsToldBeforeAnythingIsWritten holds a keeper to be asked at the beginning
// of each generation of the group until it agrees, and every so often after that,
// each time with where writing goes on.
func TestKeeper_IsToldBeforeAnythingIsWritten(t *testing.T) {
	h := newHarness(t, 2)
	config := h.config()
	config.KeepInterval = 5 * time.Millisecond
	sink := &keeperSink{memorySink: h.sink}
	const failures = 5
	sink.keep = func() error {
		if sink.failed < failures {
			if sink.writes > 0 {
				t.Error("written before the keeper has agreed")
			}
			return errors.New("no registry")
		}
		return nil
	}
	h.produce(messagesTopic, 0, h.messages(10)...)
	r := h.run(config, sink)
	line := h.logs.await(h, "cannot look which generations are kept; nothing is written before", failures)
	if line["level"] != "ERROR" || line["error"] != "no registry" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	// Once more although nothing happens, and at the end of what there is.
	at := events.Partition{Topic: messagesTopic, ID: 0}
	h.poll(func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return sink.told[len(sink.told)-1][at] == 10
	}, "the sink to be told of offset 10")
	r.mustStop()
	if first, known := sink.told[0][at]; known && first != 0 {
		t.Errorf("told of offset %d before anything was written", first)
	}

	// The next one begins where that one has ended.
	second := &keeperSink{memorySink: h.sink, earlier: []events.Partition{at}}
	r = h.run(config, second)
	h.produce(messagesTopic, 0, h.messages(1)...)
	h.awaitAll()
	r.mustStop()
	if got := second.told[0][at]; got != 10 {
		t.Errorf("told of offset %d, want 10", got)
	}
	h.checkModel()
}

// TestKeeper_FailsLater goes on with what it had when a keeper that has agreed fails.
func TestKeeper_FailsLater(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.KeepInterval = time.Millisecond
	sink := &keeperSink{memorySink: h.sink}
	sink.keep = func() error {
		if len(sink.told) > 0 {
			return errors.New("no registry")
		}
		return nil
	}
	r := h.run(config, sink)
	h.logs.await(h, "cannot look which generations are kept; going on with those that were", 1)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.awaitAll()
	if err := r.Check(h.ctx); err == nil {
		t.Error("nothing to complain of")
	}
	h.checkModel()
	r.mustStop()
}

// TestKeeper_TellsNothingOfWhatIsSomebodyElses lets the coordinator give the partitions
// to somebody else before the keeper has looked, which the heartbeat has not heard of.
func TestKeeper_TellsNothingOfWhatIsSomebodyElses(t *testing.T) {
	h := newEmbedded(t, 1)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 0}, stateTopic: {0: 0}}); err != nil {
		t.Fatal(err)
	}
	sink := &keeperSink{memorySink: h.sink, unsure: true}
	refused := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration, Count: -1})
	h.produce(messagesTopic, 0, h.messages(10)...)
	config := h.config()
	config.KeepInterval = time.Millisecond
	r := h.run(config, sink)
	if err := refused.Wait(h.ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration})
	h.logs.await(h, "generation begins", 2)
	sink.mu.Lock()
	if len(sink.told) > 0 {
		t.Error("told of partitions that were somebody else's")
	}
	sink.mu.Unlock()
	refused.Remove()
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration})
	h.awaitAll()
	h.checkModel()
	r.mustStop()
	if len(sink.told) == 0 {
		t.Error("never told of its own partitions")
	}
}

// TestKeeper_NobodyOwnsWhatIsNotKnown asks no coordinator while it is not known where any
// partition begins, so nothing says that they are still this process's.
func TestKeeper_NobodyOwnsWhatIsNotKnown(t *testing.T) {
	c, err := New(DefaultConfig(), newMemorySink(), events.NewDecoder(events.DefaultLimits()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &session{done: make(chan struct{}), commit: func(map[string]map[int]int64) error { return nil }}
	p := newPartition("t", kafka.PartitionAssignment{Offset: kafka.FirstOffset}, s)
	s.partitions = []*partition{p}
	if c.writer.owned(s) == nil {
		t.Error("owned, although nobody was asked")
	}
	p.reset(0)
	if err := c.writer.owned(s); err != nil {
		t.Error(err)
	}
}

// TestKeeper_IsToldAfterAnInsertIsOver has an insert fail until the keeper has looked anew,
// as when all places it knows of are gone. The next generation does not wait for the insert
// of the one before, which it reads again.
func TestKeeper_IsToldAfterAnInsertIsOver(t *testing.T) {
	h := newEmbedded(t, 1)
	sink := &keeperSink{memorySink: h.sink}
	h.sink.setBefore(func(context.Context, int, *projection.Model) error {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		if len(sink.told) < 2 {
			return errSink
		}
		return nil
	})
	h.produce(messagesTopic, 0, h.messages(5)...)
	r := h.run(h.config(), sink)
	h.logs.await(h, "batch cannot be written; nothing of it is committed", 2)
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration})
	line := h.logs.await(h, "batch not written; its generation is over, and others read its records again", 1)
	if line["level"] != "WARN" || line["events"] != "5" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// awaitFolded waits until so many events wait for the next write.
func (r *runner) awaitFolded(n int) {
	r.h.Helper()
	for {
		r.accumulator.mu.Lock()
		folded, changed := r.accumulator.held.events, r.accumulator.changed
		r.accumulator.mu.Unlock()
		if folded >= n {
			return
		}
		r.h.awaitChange(changed)
	}
}

// TestKeeper_LeavesOut never writes an event to a place that leaves it out, though it was
// folded before anybody knew; nor does it keep it from the others, and from those who are
// told. What is in one batch with it is written to all.
func TestKeeper_LeavesOut(t *testing.T) {
	h := newHarness(t, 2)
	sink := &keeperSink{memorySink: h.sink, spared: projection.NewModel()}
	entered, release := make(chan struct{}), make(chan struct{})
	h.sink.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		switch call {
		case 1:
			close(entered)
			<-release
		case 2:
			return errSink // the same batch again
		}
		return nil
	})
	config := h.config()
	config.KeepInterval = time.Millisecond
	heard := newHerald(h)
	r := h.runWith(config, sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.AnnounceTo(heard) })
	h.produce(messagesTopic, 0, h.message())
	<-entered

	all := h.want
	poison := func(id string) kafka.Record {
		e := events.Event{ID: id, App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.ConversationRead{
			ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: "C2Calice"}, Sequence: events.MaxSequence,
		}}
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		all.Fold(e)
		return kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes(value), Time: time.Now()}
	}
	spared := projection.NewModel()
	spared.Merge(h.want)
	others := func(n int) []kafka.Record {
		h.want = projection.NewModel()
		list := h.messages(n)
		all.Merge(h.want)
		spared.Merge(h.want)
		h.want = all
		return list
	}
	h.produce(messagesTopic, 0, others(2)...)
	h.produce(messagesTopic, 0, poison("bad-1"))
	h.produce(messagesTopic, 0, others(3)...)
	h.produce(messagesTopic, 1, others(4)...)
	r.awaitFolded(10)
	for time.Since(r.writer.keptAt) < config.KeepInterval { // it looks again before the next write
		runtime.Gosched()
	}
	sink.leave("bad-1", "bad-2", "bad-3")
	close(release)
	h.awaitAll()
	h.produce(messagesTopic, 1, poison("bad-2"), poison("bad-1"))
	h.produce(messagesTopic, 1, others(1)...)
	h.awaitAll()
	sink.leave()
	h.produce(messagesTopic, 0, others(1)...)
	h.awaitAll()
	heard.await("the last one", func() bool {
		return heard.applied[key(messagesTopic, 0)] == 8 && heard.applied[key(messagesTopic, 1)] == 7
	})
	r.mustStop()
	h.checkModel()
	if !sameModel(sink.spared, spared) {
		t.Errorf("where they are left out: %+v, want %+v", sink.spared.States, spared.States)
	}
	if got := testutil.ToFloat64(r.metrics.leftOut); got != 3 {
		t.Errorf("%v events are counted as left out, want 3", got)
	}
	if slices.Sort(sink.apart); !slices.Equal(slices.Compact(sink.apart), []string{"bad-1", "bad-2"}) {
		t.Errorf("apart came %q", sink.apart)
	}
	if diff := cmp.Diff(h.want, heard.model, projectiontest.SameModel); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
}

// leaving is a decoder that leaves out what has an ID.
type leaving struct {
	Decoder
	id string
}

func (d leaving) Decode(r events.Record) (events.Event, error) {
	e, err := d.Decoder.Decode(r)
	if err == nil && e.ID == d.id {
		return events.Event{}, ErrLeftOut
	}
	return e, err
}

// TestConsumer_LeavesOut passes over what the decoder leaves out.
func TestConsumer_LeavesOut(t *testing.T) {
	h := newHarness(t, 1)
	h.produce(messagesTopic, 0, h.messages(3)...)
	rest := h.want
	h.want = projection.NewModel()
	h.produce(messagesTopic, 0, h.message())
	left := fmt.Sprint("e", h.seq)
	h.want = rest
	h.produce(messagesTopic, 0, h.messages(3)...)
	r := h.runWith(h.config(), h.sink, leaving{events.NewDecoder(events.DefaultLimits()), left})
	h.awaitAll()
	r.mustStop()
	h.checkModel()
	if n := testutil.ToFloat64(r.metrics.skipped.WithLabelValues("left_out")); n != 1 {
		t.Errorf("%v are counted, want 1", n)
	}
	if letters := h.read(deadTopic, 2); len(letters) > 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// TestConsumer_MaxRate writes no more events than a second's and a batch's.
func TestConsumer_MaxRate(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxRate, config.MaxBatchEvents, config.MaxPieceEvents = 1, 20, 20 // the first batch is written at once, the next one takes 20 s
	config.StopTimeout = time.Second
	h.produce(messagesTopic, 0, h.messages(50)...)
	moved := beat.New(-1) // any mark is too old, so that it shows
	r := h.runWith(config, h.sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.BeatWith(moved) })
	h.poll(func() bool { return len(h.sink.snapshot().Messages) >= 20 }, "20 messages")
	for range 2 { // while the second batch waits for its turn
		moved.Rest()
		h.poll(func() bool { return moved.Check() != nil }, "the beat of a wait")
	}
	time.Sleep(20 * config.FlushInterval)
	if n := len(h.sink.snapshot().Messages); n != 20 {
		t.Errorf("%d messages are written at 1 a second", n)
	}
	if err := r.stop(); err == nil {
		t.Error("stopped as if all were written")
	}
	if got := h.commits()[key(messagesTopic, 0)]; got != 20 {
		t.Errorf("committed up to %d, want 20, which are written", got)
	}
}

// TestConsumer_WithoutADeadLetterTopic leaves out what is no event.
func TestConsumer_WithoutADeadLetterTopic(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.DeadTopic = ""
	h.produce(messagesTopic, 0, h.message(), kafka.Record{Value: kafka.NewBytes([]byte("{"))}, h.message())
	r := h.run(config, h.sink)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
	if letters := h.read(deadTopic, 2); len(letters) > 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// TestConsumer_Progress tells how far partitions are.
func TestConsumer_Progress(t *testing.T) {
	h := newHarness(t, 1)
	r := h.run(h.config(), h.sink)
	h.produce(messagesTopic, 0, h.messages(7)...)
	h.awaitAll()
	got := r.Progress()[events.Partition{Topic: messagesTopic, ID: 0}]
	if got != (Progress{Written: 7, End: 7}) {
		t.Errorf("got %+v, want 7 of 7", got)
	}
	r.mustStop()
}

// TestKeeper_BeginsAnewWhatWasWrittenElsewhere goes on from what the group has committed
// only in partitions that were begun where the keeper writes, of which nothing is read
// before that is known.
func TestKeeper_BeginsAnewWhatWasWrittenElsewhere(t *testing.T) {
	h := newHarness(t, 2)
	h.produce(messagesTopic, 0, h.messages(10)...)
	h.produce(messagesTopic, 1, h.messages(10)...)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 6, 1: 6}}); err != nil {
		t.Fatal(err)
	}
	const failures = 3
	asked := 0
	sink := &keeperSink{memorySink: h.sink, earlier: []events.Partition{{Topic: messagesTopic, ID: 1}}}
	sink.begun = func() error {
		if asked++; asked <= failures {
			if sink.writes > 0 {
				t.Error("written before it is known where the partitions begin")
			}
			return errors.New("no registry")
		}
		return nil
	}
	config := h.config()
	config.KeepInterval = time.Millisecond
	r := h.run(config, sink)
	line := h.logs.await(h, "what is committed was not written here; reading from the earliest offset", 1)
	if line["partition"] != "0" || line["wanted"] != "6" || line["first"] != "0" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	r.mustStop()
	if n := h.logs.count("cannot look whether what is committed was written here; nothing is read before"); n != failures {
		t.Errorf("%d failures are logged, want %d", n, failures)
	}
	if n := testutil.ToFloat64(r.metrics.fetchFailures.WithLabelValues(messagesTopic)); n != 0 || r.Check(h.ctx) != nil {
		t.Errorf("%v fetches failed, %v", n, r.Check(h.ctx))
	}
	if n := len(h.sink.snapshot().Messages); n != 14 {
		t.Errorf("%d messages are written, want the 10 of one partition and 4 of the other", n)
	}
}

// permanentError says itself that trying again is of no use.
type permanentError struct{}

func (permanentError) Error() string   { return "the read model was made anew" }
func (permanentError) Permanent() bool { return true }

// TestKeeper_EndsTheConsumer with an error that is permanent: at the beginning, later, and
// of an insert.
func TestKeeper_EndsTheConsumer(t *testing.T) {
	for name, after := range map[string]int{"at once": 0, "later": 3, "of an insert": -1, "before all": -2} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1)
			h.produce(messagesTopic, 0, h.messages(10)...)
			config := h.config()
			config.KeepInterval = time.Millisecond
			sink := &keeperSink{memorySink: h.sink}
			sink.keep = func() error {
				if after >= 0 && len(sink.told) >= after {
					return permanentError{}
				}
				return nil
			}
			switch after {
			case -2:
				sink.begun = func() error { return permanentError{} }
			case -1:
				h.sink.before = func(context.Context, int, *projection.Model) error { return fmt.Errorf("insert: %w", permanentError{}) }
			}
			if err := <-h.run(config, sink).done; !errors.Is(err, permanentError{}) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
