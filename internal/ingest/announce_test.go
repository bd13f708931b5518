package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// herald is an Announcer that remembers.
type herald struct {
	h   *harness
	err error

	mu       sync.Mutex
	model    *projection.Model
	applied  map[string]int64 // by topic/partition
	repeated map[string]int64 // where the last announcement of nothing new was
	noticed  map[projection.Whose]projection.Kinds
	topics   map[string]int
	repeats  int // announcements of nothing new
	changed  chan struct{}
}

func newHerald(h *harness) *herald {
	return &herald{
		h: h, model: projection.NewModel(), applied: map[string]int64{}, repeated: map[string]int64{},
		noticed: map[projection.Whose]projection.Kinds{}, changed: make(chan struct{}, 1),
	}
}

func (a *herald) Announce(_ context.Context, changes projection.Changes, records [][]events.Record, ranges []events.Range, topics map[string]int) error {
	committed := a.h.commits()
	a.mu.Lock()
	defer a.mu.Unlock()
	decoder := events.NewDecoder(events.Unlimited())
	for _, r := range slices.Concat(records...) {
		r.Timestamp = time.Now()
		e, err := decoder.Decode(r)
		if err != nil {
			a.h.Errorf("an announced record: %v", err)
		}
		a.model.Fold(e)
	}
	for _, r := range ranges {
		k := r.Partition.String()
		if known, ok := a.applied[k]; ok && r.From > known {
			a.h.Errorf("%s: announced from %d, where %d was the end", k, r.From, known)
		}
		if r.From < r.To && committed[k] >= r.To {
			a.h.Errorf("%s: offset %d was committed before it was announced", k, r.To)
		}
		a.applied[k] = max(a.applied[k], r.To) // a repeat may come late
		if len(records) == 0 {
			a.repeated[k] = r.To
		}
	}
	for of, change := range changes {
		a.noticed[of] |= change.Kinds
	}
	if topics != nil {
		a.topics = topics
	}
	if len(records) == 0 {
		a.repeats++
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
	return a.err
}

// await waits until a condition holds.
func (a *herald) await(what string, holds func() bool) {
	a.h.Helper()
	for {
		a.mu.Lock()
		held := holds()
		a.mu.Unlock()
		if held {
			return
		}
		select {
		case <-a.changed:
		case <-a.h.ctx.Done():
			a.h.Fatalf("waited in vain for %s", what)
		}
	}
}

func (h *harness) runAnnouncing(a Announcer) *runner {
	h.Helper()
	config := h.config()
	config.AnnounceInterval = 10 * time.Millisecond
	return h.runWith(config, h.sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.AnnounceTo(a) })
}

// What was written is announced before it is committed, every offset of it, and
// again and again while nothing happens.
func TestConsumer_Announces(t *testing.T) {
	h := newHarness(t, 2)
	a := newHerald(h)
	r := h.runAnnouncing(a)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.produce(messagesTopic, 0, bad("k", "nonsense"), bad("k", "{}", kafka.Header{Key: events.HeaderContentType, Value: []byte("text/plain")}))
	h.produce(messagesTopic, 1, h.messages(3)...)
	h.produce(stateTopic, 1, h.event(&events.UserErased{UserID: "eve"}))
	h.awaitAll()
	want := map[string]int64{key(messagesTopic, 0): 7, key(messagesTopic, 1): 3, key(stateTopic, 0): 0, key(stateTopic, 1): 1}
	a.await("everything", func() bool { return cmp.Equal(want, a.applied) })
	a.await("the partitions of the topics", func() bool {
		return cmp.Equal(map[string]int{messagesTopic: 2, stateTopic: 2}, a.topics)
	})
	last := 0
	a.await("repeats", func() bool {
		if last == 0 {
			last = a.repeats + 5
		}
		return a.repeats > last
	})
	// Whoever has missed the last announcement learns from a repeat that there was one.
	a.await("repeats of what was announced", func() bool { return cmp.Equal(want, a.repeated) })
	r.mustStop()
	noticed := projection.Changes{}
	noticed.Add(h.want)
	for of, change := range noticed {
		if a.noticed[of] != change.Kinds {
			t.Errorf("of %+v is noticed %b, want %b", of, a.noticed[of], change.Kinds)
		}
	}
	if diff := cmp.Diff(h.want, a.model, projectiontest.SameModel); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}

	// The next projector goes on where this one was committed.
	next := newHerald(h)
	r = h.runAnnouncing(next)
	next.await("what is known already", func() bool { return cmp.Equal(want, next.applied) })
	if len(next.model.States) > 0 {
		t.Error("old events were announced anew")
	}
	h.produce(messagesTopic, 1, h.message())
	h.awaitAll()
	r.mustStop()
	if got := next.applied[key(messagesTopic, 1)]; got != 4 {
		t.Errorf("announced up to %d, want 4", got)
	}
}

// announcer is what is told of ranges.
type announcer func(ranges []events.Range)

func (a announcer) Announce(_ context.Context, _ projection.Changes, _ [][]events.Record, ranges []events.Range, _ map[string]int) error {
	a(ranges)
	return nil
}

// Who follows is told, once, that reading was moved: offsets of before mean nothing then,
// and who waits for one of the new topic would be told that it is there.
func TestConsumer_AnnouncesThatReadingWasMoved(t *testing.T) {
	h := newHarness(t, 1)
	h.produce(messagesTopic, 0, h.messages(10)...)
	if err := h.commitAs(map[string]map[int]int64{messagesTopic: {0: 99}, stateTopic: {0: 0}}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var moved []events.Range
	r := h.runAnnouncing(announcer(func(ranges []events.Range) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range ranges {
			if r.Moved {
				moved = append(moved, r)
			}
		}
	}))
	h.awaitAll()
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.awaitAll()
	r.mustStop()
	if len(moved) != 1 || moved[0].Partition.Topic != messagesTopic || moved[0].From != 0 {
		t.Errorf("told of %+v, want that %s/0 goes on at 0", moved, messagesTopic)
	}
}

// Nobody waits for those who are told.
func TestConsumer_AnnouncerFails(t *testing.T) {
	h := newHarness(t, 1)
	a := newHerald(h)
	a.err = errors.New("nobody there")
	r := h.runAnnouncing(a)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}
