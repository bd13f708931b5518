package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// batchSink is a sink that looks at batches as they come.
type batchSink struct {
	*keeperSink
	came func(insert, batch int, m *projection.Model) error

	mu      sync.Mutex
	inserts []int // how many batches each has had
}

func (s *batchSink) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	s.mu.Lock()
	s.inserts = append(s.inserts, 0)
	insert := len(s.inserts)
	s.mu.Unlock()
	var failed error
	err := s.keeperSink.Insert(ctx, func(yield func([]*projection.Model, []events.Event) bool) {
		for models, apart := range batches {
			s.mu.Lock()
			s.inserts[insert-1]++
			batch := s.inserts[insert-1]
			s.mu.Unlock()
			if failed = s.came(insert, batch, merged(models...)); failed != nil || !yield(models, apart) {
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// TestInsert_TakesSeveralBatches gives the sink several batches in one go while reading is
// behind, and each of them again, though they were dropped, when it has failed.
func TestInsert_TakesSeveralBatches(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 5, 4
	config.FlushInterval = patience // none is due before it is full
	h.produce(messagesTopic, 0, h.messages(100)...)

	first := projection.NewModel() // what the first insert, which fails, has had
	again := projection.NewModel()
	sink := &batchSink{keeperSink: &keeperSink{memorySink: newMemorySink()}}
	sink.came = func(insert, batch int, m *projection.Model) error {
		switch {
		case insert == 1:
			first.Merge(m)
			if batch == 3 {
				return errSink
			}
		case insert <= 4:
			again.Merge(m)
		}
		return nil
	}
	h.sink = sink.memorySink
	heard := newHerald(h)
	r := h.runWith(config, sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.AnnounceTo(heard) })
	h.awaitAll()
	heard.await("all", func() bool { return heard.applied[key(messagesTopic, 0)] == 100 })
	r.mustStop()
	h.checkModel()
	if want := []int{3, 1, 1, 1, 4}; len(sink.inserts) < 6 || !slices.Equal(sink.inserts[:5], want) {
		t.Fatalf("the inserts have had %v batches, want %v, and fewer at the end of the topic", sink.inserts, want)
	}
	if len(first.Messages) != 30 || !sameModel(first, again) {
		t.Errorf("of 3 batches %d messages came, and %d again", len(first.Messages), len(again.Messages))
	}
	if !sameModel(heard.model, h.want) {
		t.Errorf("%d messages were announced, want %d", len(heard.model.Messages), len(h.want.Messages))
	}
	if n := testutil.ToFloat64(r.metrics.writeFailures); n != 1 {
		t.Errorf("%v failures, want 1", n)
	}
	if n := testutil.ToFloat64(r.metrics.commits); int(n) > len(sink.inserts)-2 { // one for the batches that failed, and those of beginnings
		t.Errorf("%v commits for %d inserts", n, len(sink.inserts))
	}
}

// TestInsert_KeepsABatchOfTheNextGeneration takes a batch for an insert that is of another
// generation, as one may begin meanwhile: it is not written with that insert, but it is written.
func TestInsert_KeepsABatchOfTheNextGeneration(t *testing.T) {
	sink := newMemorySink()
	c, err := New(DefaultConfig(), sink, events.NewDecoder(events.DefaultLimits()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	old := &session{done: make(chan struct{})}
	next := &session{done: make(chan struct{}), resumed: make(chan struct{}), commit: func(map[string]map[int]int64) error { return nil }}
	p := newPartition("t", kafka.PartitionAssignment{}, next)
	next.partitions = []*partition{p}
	next.resume(func(events.Partition) bool { return true })
	c.writer.session.Store(next)
	m := projection.NewModel()
	m.Fold(events.Event{ID: "e", App: "demo", Time: 1, Body: &events.MessageSent{
		Conversation: events.C2C("ann", "bob"), From: "ann", MessageID: "m", Sequence: 1, Type: events.TypeText,
	}})
	c.accumulator.addLast(&piece{partition: p, to: 1, model: m, amount: amount{records: 1, events: 1}})
	c.accumulator.close() // so that it is due
	if c.writer.more(t.Context(), &insert{session: old, batches: []batch{{full: true, events: 1}}}) {
		t.Error("an insert has taken what is of another generation")
	}
	if err := c.writer.run(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(sink.snapshot().Messages); n != 1 {
		t.Errorf("%d messages are written, want 1", n)
	}
	if offset, _ := p.committable(); offset != 1 {
		t.Errorf("written up to %d, want 1", offset)
	}
}

// TestBatch_FoldsAgainWhatHasNoNames holds that an event that is to be left out comes apart
// although its piece was begun before anybody wanted to know the IDs of events.
func TestBatch_FoldsAgainWhatHasNoNames(t *testing.T) {
	h := &harness{T: t, want: projection.NewModel()}
	p := &piece{model: projection.NewModel()}
	for range 3 {
		value, err := io.ReadAll(h.message().Value)
		if err != nil {
			t.Fatal(err)
		}
		p.kept = append(p.kept, events.Record{Value: value, Timestamp: time.Now()})
	}
	p.model.Merge(h.want)
	models, apart, err := batch{pieces: []*piece{p}}.fold(map[string]struct{}{"e2": {}}, events.NewDecoder(events.DefaultLimits()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(merged(models...).Messages); n != 2 || len(apart) != 1 || apart[0].ID != "e2" {
		t.Errorf("%d messages, and %v apart", n, apart)
	}
}

// TestInsert_DropsWhatTheSinkHas keeps no model of a batch when the sink has asked for the next.
func TestInsert_DropsWhatTheSinkHas(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 5, 10
	config.FlushInterval = patience
	h.produce(messagesTopic, 0, h.messages(100)...)
	sink := &watchingSink{TB: t}
	r := h.runWith(config, sink, events.NewDecoder(events.DefaultLimits()))
	h.awaitAll()
	r.mustStop()
	if sink.batches != 10 || sink.inserts > 2 { // the last one may not be there in time
		t.Errorf("%d batches came in %d inserts, want 10 in one", sink.batches, sink.inserts)
	}
}

// watchingSink sees the models of the batch before go.
type watchingSink struct {
	testing.TB
	inserts, batches int
}

func (s *watchingSink) Insert(_ context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	s.inserts++
	var before []weak.Pointer[projection.Model]
	for models := range batches {
		s.batches++
		for _, m := range before {
			for begin := time.Now(); m.Value() != nil; {
				if runtime.GC(); time.Since(begin) > patience {
					s.Errorf("a model is kept when batch %d has come", s.batches)
					return nil
				}
			}
		}
		before = before[:0]
		for _, m := range models {
			before = append(before, weak.Make(m))
		}
	}
	return nil
}

// TestInsert_EndsWithTheGeneration writes nothing of a generation of the group before the
// keeper has looked for it, though the insert before has not ended.
func TestInsert_EndsWithTheGeneration(t *testing.T) {
	h := newEmbedded(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents = 10, 5
	config.FetchMaxBytes = 1 // a record batch at a time
	config.FlushInterval = patience
	for range 3 {
		h.produce(messagesTopic, 0, h.messages(10)...)
	}
	sink := &batchSink{keeperSink: &keeperSink{memorySink: h.sink}}
	halt := kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: messagesTopic, Err: kerr.NotLeaderForPartition, Count: -1}
	halted := make(chan *kfake.FaultHandle, 1)
	var second atomic.Bool // whatever comes is of the second generation
	sink.came = func(insert, batch int, _ *projection.Model) error {
		if insert == 1 && batch == 1 {
			halted <- h.cluster.Fault(halt) // no third batch comes
		}
		sink.keeperSink.mu.Lock()
		defer sink.keeperSink.mu.Unlock()
		if told := len(sink.told); second.Load() && told < 2 {
			t.Errorf("batch %d of insert %d came of the second generation, and the keeper has looked %d times", batch, insert, told)
		}
		return nil
	}
	r := h.run(config, sink)
	h.logs.await(h.harness, "generation begins", 1)
	reads := <-halted
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration})
	h.logs.await(h.harness, "generation begins", 2)
	second.Store(true)
	reads.Remove()
	h.awaitAll()
	r.mustStop()
	h.checkModel()
}

// TestInsert_LeavesOutWhatHasEnded takes no piece of a generation of the group that has ended
// while another batch was waited for.
func TestInsert_LeavesOutWhatHasEnded(t *testing.T) {
	config := DefaultConfig()
	c, err := New(config, newMemorySink(), events.NewDecoder(events.DefaultLimits()), slog.New(newLogs()), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	current, over := &session{done: make(chan struct{})}, &session{done: make(chan struct{})}
	close(over.done)
	c.writer.session.Store(current)
	put := func(s *session) *piece {
		p := &piece{partition: newPartition(config.Topics[0], kafka.PartitionAssignment{}, s), model: projection.NewModel(), amount: amount{events: 1}}
		c.accumulator.addLast(p)
		return p
	}
	put(over)
	kept := put(current)
	c.accumulator.close() // what is there is due
	i := &insert{session: current, span: noop.Span{}, batches: []batch{{events: 1, full: true}}}
	if !c.writer.more(t.Context(), i) || len(i.batches) != 2 {
		t.Fatalf("the insert has %d batches, want another one", len(i.batches))
	}
	if b := i.batches[1]; !slices.Equal(b.pieces, []*piece{kept}) || b.events != 1 {
		t.Errorf("it has %d pieces of %d events, want that of the current generation", len(b.pieces), b.events)
	}
}

// TestInsert_StopsInTheMiddle writes and commits what was read when it is to stop while an
// insert goes on, and nothing else.
func TestInsert_StopsInTheMiddle(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents = 10, 5
	config.FlushInterval = patience
	h.produce(messagesTopic, 0, h.messages(500)...)
	sink := &batchSink{keeperSink: &keeperSink{memorySink: h.sink}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	sink.came = func(insert, batch int, _ *projection.Model) error {
		if insert == 1 && batch == 2 {
			close(stop)
			<-stopped
		}
		return nil
	}
	r := h.run(config, sink)
	<-stop
	r.cancel()
	h.poll(func() bool { // its owner has stopped reading
		r.accumulator.mu.Lock()
		defer r.accumulator.mu.Unlock()
		return r.accumulator.closed
	}, "the end of reading")
	close(stopped)
	r.mustStop()
	got, committed := h.sink.snapshot(), h.commits()[key(messagesTopic, 0)]
	if n := len(got.Messages); int64(n) != committed || n < 20 || n >= 500 {
		t.Errorf("%d messages are written and %d committed, want as many, of two batches and what was read besides", n, committed)
	}
	next := h.run(h.config(), h.sink)
	h.awaitAll()
	next.mustStop()
	h.checkModel()
}

// TestInsert_MarksTheBeat moves with each batch, and with each that is written again.
func TestInsert_MarksTheBeat(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 5, 4
	config.FlushInterval = patience
	h.produce(messagesTopic, 0, h.messages(100)...)
	b := beat.New(-1) // any mark is too old, so that it shows
	sink := &batchSink{keeperSink: &keeperSink{memorySink: h.sink}}
	sink.came = func(insert, batch int, _ *projection.Model) error {
		if b.Check() == nil {
			t.Errorf("batch %d of insert %d: the writer has not moved since the one before", batch, insert)
		}
		b.Rest()
		if insert == 1 && batch == 4 || insert == 3 { // then the second one once more
			return errSink
		}
		return nil
	}
	r := h.runWith(config, sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.BeatWith(b) })
	h.awaitAll()
	r.mustStop()
	h.checkModel()
	if want := []int{4, 1, 1, 1, 1, 1}; len(sink.inserts) < len(want) || !slices.Equal(sink.inserts[:len(want)], want) {
		t.Errorf("the inserts have had %v batches, want %v and then others", sink.inserts, want)
	}
}

// TestInsert_LinksAllItsBatches links the span of an insert to the records of all its batches.
func TestInsert_LinksAllItsBatches(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents, config.MaxInsertBatches = 10, 5, 4
	config.FlushInterval = patience
	records := h.messages(100)
	for i := range records {
		records[i].Headers = []kafka.Header{{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", i+1, i+1)}}
	}
	h.produce(messagesTopic, 0, records...)
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	r := h.runWith(config, h.sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.TraceWith(provider.Tracer("test")) })
	h.awaitAll()
	r.mustStop()
	linked := map[string]bool{}
	for _, span := range recorder.Ended() {
		for _, link := range span.Links() {
			linked[link.SpanContext.TraceID().String()] = true
		}
	}
	if len(linked) != len(records) {
		t.Errorf("spans of %d records are linked, want %d", len(linked), len(records))
	}
	const most = 40 // records of an insert
	if !slices.ContainsFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool { return len(s.Links()) == most }) {
		t.Error("no span is linked to the records of four batches")
	}
}

// forgetful is a decoder that gives no event twice.
type forgetful struct {
	Decoder
	seen map[string]bool
}

func (f *forgetful) Decode(r events.Record) (events.Event, error) {
	e, err := f.Decoder.Decode(r)
	if f.seen[e.ID] {
		return e, errors.New("no idea")
	}
	f.seen[e.ID] = true
	return e, err
}

// TestInsert_SaysWhyItCannotGoOn ends with the cause when an event cannot be read again,
// which no other attempt would change, and commits nothing.
func TestInsert_SaysWhyItCannotGoOn(t *testing.T) {
	h := newHarness(t, 1)
	config := h.config()
	config.MaxBatchEvents, config.MaxPieceEvents = 10, 5
	config.FlushInterval = patience
	h.produce(messagesTopic, 0, h.messages(10)...)
	sink := &batchSink{keeperSink: &keeperSink{memorySink: h.sink}}
	sink.came = func(int, int, *projection.Model) error { return errSink }
	r := h.runWith(config, sink, &forgetful{events.NewDecoder(events.DefaultLimits()), map[string]bool{}})
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "write 10 events") || !strings.HasSuffix(err.Error(), "read an event again: no idea") {
		t.Errorf("it ended with %v", err)
	}
	if commits := h.commits(); len(commits) > 0 {
		t.Errorf("committed %v", commits)
	}
}
