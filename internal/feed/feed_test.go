package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

func TestFeed_CarriesWhatBecameVisible(t *testing.T) {
	s := startServer(t)
	m := newMemory()
	f := follow(t, connect(t, s), feed.DefaultConfig(), m)
	p := feed.NewPublisher(connect(t, s))
	records, want := sent(t, 40, 100_000) // several messages
	if err := p.Announce(t.Context(), nil, [][]events.Record{records}, at("t", 0, 40), map[string]int{"t": 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(t.Context(), events.Partition{Topic: "t"}, 39); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(want, m.model, projectiontest.SameModel); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	folded := projection.NewModel()
	for _, e := range m.list {
		folded.Fold(e)
	}
	if diff := cmp.Diff(want, folded, projectiontest.SameModel); diff != "" {
		t.Errorf("the events (-want +got):\n%s", diff)
	}
	if m.lost != 1 { // what came before we listened
		t.Errorf("lost %d times, want once", m.lost)
	}
	if err := f.Check(); err != nil {
		t.Error(err)
	}
}

func TestFollower_Await(t *testing.T) {
	s := startServer(t)
	late := errors.New("late")
	deaf := feed.NewFollower(feed.DefaultConfig(), connect(t, s), newMemory(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	over, end := context.WithCancelCause(t.Context())
	end(late)
	if err := deaf.Await(over, events.Partition{Topic: "t"}, 0); !errors.Is(err, late) {
		t.Errorf("before anybody was heard of, nothing is known not to exist: got %v", err)
	}
	f := follow(t, connect(t, s), feed.DefaultConfig(), newMemory())
	for _, unknown := range []events.Partition{{Topic: "t", ID: 1}, {Topic: "t", ID: -1}, {Topic: "u"}} {
		if err := f.Await(t.Context(), unknown, 0); !errors.Is(err, feed.ErrUnknownPartition) {
			t.Errorf("%s: got %v", unknown, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, late)
	defer cancel()
	if err := f.Await(ctx, events.Partition{Topic: "t"}, 0); !errors.Is(err, late) {
		t.Errorf("what was not applied: got %v", err)
	}
	p := feed.NewPublisher(connect(t, s))
	if err := p.Announce(t.Context(), nil, nil, at("t", 0, 1), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(t.Context(), events.Partition{Topic: "t"}, 0); err != nil {
		t.Error(err)
	}
}

// TestFollower_KnowsTheMostPartitions hears of an added partition from one projector, and
// from another one that has not seen it.
func TestFollower_KnowsTheMostPartitions(t *testing.T) {
	s := startServer(t)
	f := follow(t, connect(t, s), feed.DefaultConfig(), newMemory())
	sees, other := feed.NewPublisher(connect(t, s)), feed.NewPublisher(connect(t, s))
	added := []events.Range{{Partition: events.Partition{Topic: "t", ID: 1}, To: 1}}
	if err := sees.Announce(t.Context(), nil, nil, added, map[string]int{"t": 2}); err != nil {
		t.Fatal(err)
	}
	for { // until that is heard
		if err := f.Await(t.Context(), events.Partition{Topic: "t", ID: 1}, 0); err == nil {
			break
		} else if !errors.Is(err, feed.ErrUnknownPartition) {
			t.Fatal(err)
		}
	}
	also := []events.Range{{Partition: events.Partition{Topic: "t"}, To: 1}}
	if err := other.Announce(t.Context(), nil, nil, also, map[string]int{"t": 1}); err != nil {
		t.Fatal(err)
	}
	for id := range 2 { // what the other one said is heard with the first
		if err := f.Await(t.Context(), events.Partition{Topic: "t", ID: id}, 0); err != nil {
			t.Errorf("partition %d: %v", id, err)
		}
	}
}

func TestFollower_LostAnnouncement(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	m := newMemory()
	follow(t, nc, feed.DefaultConfig(), m)
	say := func(number uint64) {
		t.Helper()
		data, err := proto.Marshal(&feedpb.Announcement{Number: number})
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Publish(feed.SubjectPrefix+"p", data); err != nil {
			t.Fatal(err)
		}
	}
	say(1)
	say(2)
	say(4)
	m.await(t, "the gap", func() bool { return m.lost == 2 })
	if err := nc.Publish(feed.SubjectPrefix+"p", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	m.await(t, "the malformed one", func() bool { return m.lost == 3 })
}

// TestFeed_ReadingIsMoved has reading of a partition begin again further back, as it does when
// a topic is made anew: what was applied before says nothing of what is applied now.
func TestFeed_ReadingIsMoved(t *testing.T) {
	s := startServer(t)
	m := newMemory()
	f := follow(t, connect(t, s), feed.DefaultConfig(), m)
	p := feed.NewPublisher(connect(t, s))
	moved := at("t", 5, 6)
	moved[0].Moved = true
	for _, ranges := range [][]events.Range{at("t", 0, 40), moved, at("u", 0, 1)} {
		if err := p.Announce(t.Context(), nil, nil, ranges, map[string]int{"u": 1}); err != nil {
			t.Fatal(err)
		}
		for f.Await(t.Context(), ranges[0].Partition, ranges[0].To-1) != nil { // a topic that was not heard of
			if t.Context().Err() != nil {
				t.Fatal("it is not applied")
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost != 3 { // what came before we listened, of either topic, and before it was moved
		t.Errorf("lost %d times, want 3 times", m.lost)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := f.Await(over, events.Partition{Topic: "t"}, 39); !errors.Is(err, context.Canceled) {
		t.Errorf("of what was applied before: got %v", err)
	}
}

// TestPublisher_WhatDoesNotGetOutIsMissed has a part of a batch be more than NATS takes. The
// range of the batch is in its last part, which gets out and continues what is known: only
// the numbers of announcements tell that there was another one.
func TestPublisher_WhatDoesNotGetOutIsMissed(t *testing.T) {
	s := startServer(t)
	m := newMemory()
	f := follow(t, connect(t, s), feed.DefaultConfig(), m)
	nc := connect(t, s)
	p := feed.NewPublisher(nc)
	small, _ := sent(t, 1, 1)
	large, _ := sent(t, 1, int(nc.MaxPayload()))
	for i, c := range []struct {
		records []events.Record
		lost    int
	}{
		{small, 1}, // what came before we listened
		{append(large, small...), 2},
		{append(large[:1:1], small...), 3},
		{small, 3},
	} {
		from := int64(i)
		err := p.Announce(t.Context(), nil, [][]events.Record{c.records}, at("t", from, from+1), nil)
		if gotOut := len(c.records) == 1; (err == nil) != gotOut {
			t.Errorf("batch %d: got %v", i, err)
		}
		if err := f.Await(t.Context(), events.Partition{Topic: "t"}, from); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		if m.lost != c.lost || len(m.list) != i+1 {
			t.Errorf("after batch %d: lost %d times and %d events, want %d and %d", i, m.lost, len(m.list), c.lost, i+1)
		}
		m.mu.Unlock()
	}
}

// TestPublisher_SplitsInTime holds that two records get out that NATS would hardly take
// together, or hardly not, with whatever is sent besides them.
func TestPublisher_SplitsInTime(t *testing.T) {
	nc := connect(t, startServer(t))
	p := feed.NewPublisher(nc)
	most := int(nc.MaxPayload())
	typed := []events.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeProtobuf)}}
	ranges := append(at("t", 1<<60, 1<<61), at(strings.Repeat("u", 50), 1<<60, 1<<61)...)
	value := make([]byte, most)
	traced := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
	}))
	for _, ctx := range []context.Context{t.Context(), traced} {
		for less := range 250 {
			records := []events.Record{{Value: value[:most/2], Headers: typed}, {Value: value[:most/2-less], Headers: typed}}
			if err := p.Announce(ctx, nil, [][]events.Record{records}, ranges, map[string]int{"t": 1000}); err != nil {
				t.Fatalf("%d bytes less than NATS takes: %v", less, err)
			}
		}
	}
}

// TestReceiver_UnreadEvent holds that an event that cannot be read is a loss, and keeps
// nothing else that came with it from being applied.
func TestReceiver_UnreadEvent(t *testing.T) {
	m := newMemory()
	r := feed.NewReceiver(m)
	records, want := sent(t, 1, 1)
	a := &feedpb.Announcement{Number: 1, Records: []*feedpb.Record{{Value: []byte("{")}, {Value: records[0].Value}}}
	if lost := r.Take("p", a, time.Now()); lost == "" || m.lost != 1 {
		t.Errorf("lost %q, told %d times", lost, m.lost)
	}
	if diff := cmp.Diff(want, m.model, projectiontest.SameModel); diff != "" || len(m.list) != 1 {
		t.Errorf("%d events (-want +got):\n%s", len(m.list), diff)
	}
}

// TestTellSwitch is heard by those who listen for it, and by no follower.
func TestTellSwitch(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	m := newMemory()
	f := follow(t, nc, feed.DefaultConfig(), m)
	heard := make(chan struct{}, 1)
	stop, err := feed.HearSwitches(nc, func() { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	teller := connect(t, s)
	if err := feed.TellSwitch(teller, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	<-heard
	stop()
	// What comes later on the same connection has come after it.
	if err := feed.NewPublisher(teller).Announce(t.Context(), nil, nil, at("t", 0, 1), map[string]int{"t": 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(t.Context(), events.Partition{Topic: "t"}, 0); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost != 1 { // what came before we listened
		t.Errorf("lost %d times, want once", m.lost)
	}
	teller.Close()
	if err := feed.TellSwitch(teller, 30*time.Second); err == nil {
		t.Error("told without a connection")
	}
}

// TestTellSwitch_Refused holds that who may not tell it, and so has told nobody, hears that.
func TestTellSwitch_Refused(t *testing.T) {
	s := startServerWith(t, &server.Options{Users: []*server.User{{
		Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{feed.SubjectSwitch}}},
	}}})
	if err := feed.TellSwitch(connect(t, s, nats.UserInfo("u", "p")), 30*time.Second); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("got %v", err)
	}
}

func TestFollower_LostConnection(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	m := newMemory()
	follow(t, nc, feed.DefaultConfig(), m)
	id, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DisconnectClientByID(id); err != nil {
		t.Fatal(err)
	}
	// What came before it listened, what was loaded before, and what was loaded while it was away.
	m.await(t, "both losses", func() bool { return m.lost > 2 })
}

// TestFollower_AbsenceIsOneGap has NATS away while somebody takes connections in its place and
// ends them, as a load balancer does: however often is tried, and however many projectors have
// said something meanwhile, it is one gap.
func TestFollower_AbsenceIsOneGap(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	registry := prometheus.NewRegistry()
	config := feed.DefaultConfig()
	config.Silence = time.Hour // within which all are heard
	f := followExporting(t, nc, config, newMemory(), registry)
	gaps := func() float64 { return gapsIn(t, registry) }
	p := feed.NewPublisher(nc)
	announce := func(offset int64) {
		t.Helper()
		if err := p.Announce(t.Context(), nil, nil, at("t", offset, offset+1), nil); err != nil {
			t.Fatal(err)
		}
		if err := f.Await(t.Context(), events.Partition{Topic: "t"}, offset); err != nil {
			t.Fatal(err)
		}
	}
	announce(0)
	if got := gaps(); got != 0 {
		t.Errorf("%v gaps at the start, of what nobody could have heard", got)
	}
	goAway(t, s, nc)
	for i := range 10 { // of whom it has heard nothing while it was away
		missed := []*feedpb.Range{{Topic: "t", Partition: int32(i + 1), From: 7, To: 8}}
		data, err := proto.Marshal(&feedpb.Announcement{Number: 7, Ranges: missed})
		if err == nil {
			err = nc.Publish(fmt.Sprint(feed.SubjectPrefix, i), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for offset := range int64(30) { // each time round it sees one thing that the connection has done
		announce(1 + offset)
	}
	if got := gaps(); got != 1 {
		t.Errorf("%v gaps, want 1", got)
	}
}

// TestFollower_IsBackAlthoughItWasBusy has a follower apply something while its connection is
// lost and comes back: it hears of that only as far as the connection remembers what it was.
// All the same it says from then on what it misses.
func TestFollower_IsBackAlthoughItWasBusy(t *testing.T) {
	s := startServer(t)
	nc, m, registry := connect(t, s), newMemory(), prometheus.NewRegistry()
	config := feed.DefaultConfig()
	config.Silence = time.Second / 2 // after which all have spoken
	f := followExporting(t, nc, config, m, registry)
	m.hold = make(chan struct{})
	say := func(number uint64, records ...*feedpb.Record) {
		t.Helper()
		at := &feedpb.Range{Topic: "t", From: int64(number) - 1, To: int64(number)}
		data, err := proto.Marshal(&feedpb.Announcement{Number: number, Records: records, Ranges: []*feedpb.Range{at}})
		if err := errors.Join(err, nc.Publish(feed.SubjectPrefix+"p", data), nc.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	records, _ := sent(t, 1, 0)
	say(1, &feedpb.Record{Value: records[0].Value})
	goAway(t, s, nc)
	close(m.hold)
	losses := func() (heard int, told float64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.lost, gapsIn(t, registry)
	}
	for number, end := uint64(3), time.Now().Add(2*time.Minute); ; number += 2 { // each misses one
		heard, told := losses()
		say(number)
		if err := f.Await(t.Context(), events.Partition{Topic: "t"}, int64(number)-1); err != nil {
			t.Fatal(err)
		}
		moreHeard, moreTold := losses()
		if moreTold > told && moreTold-told == float64(moreHeard-heard) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it takes itself to be away, and does not say what it misses")
		}
	}
}

func TestFollower_SlowConsumer(t *testing.T) {
	s := startServer(t)
	m := newMemory()
	config := feed.DefaultConfig()
	config.PendingBytes = 100_000
	follower, publisher := connect(t, s), connect(t, s)
	follow(t, follower, config, m)
	m.hold = make(chan struct{})
	p := feed.NewPublisher(publisher)
	records, _ := sent(t, 1, 50_000)
	for i := range int64(10) {
		if err := p.Announce(t.Context(), nil, [][]events.Record{records}, at("t", i, i+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range []*nats.Conn{publisher, follower} { // all of them wait at the follower now
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	close(m.hold)
	m.await(t, "the loss", func() bool { return m.lost > 1 })
}

func TestFollower_Silence(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	config := feed.DefaultConfig()
	config.Silence = 20 * time.Millisecond
	f := follow(t, nc, config, newMemory())
	// On a busy machine the follower itself may stand still for as long, which it says first.
	named := func(fault error) bool { return fault != nil && strings.Contains(fault.Error(), "t/0") }
	for !named(f.Check()) {
		if t.Context().Err() != nil {
			t.Fatalf("got %v, want the silent partition's name", f.Check())
		}
	}
	p := feed.NewPublisher(nc)
	for f.Check() != nil {
		if err := p.Announce(t.Context(), nil, nil, at("t", 0, 0), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFollower_StandsStill has what is heard wait: memory is not relied on, although the
// follower cannot say so, which the metrics show, and not what was loaded before when it
// moves again.
func TestFollower_StandsStill(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	m := newMemory()
	m.hold = make(chan struct{})
	config := feed.DefaultConfig()
	config.Silence = time.Second / 2
	registry := prometheus.NewRegistry()
	f := followExporting(t, nc, config, m, registry)
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	shows := func(whole int) {
		t.Helper()
		want := fmt.Sprintf(`# HELP convoview_feed_whole 1 when every partition was heard of lately; 0: requests are answered from ClickHouse alone.
# TYPE convoview_feed_whole gauge
convoview_feed_whole %d
`, whole)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "convoview_feed_whole"); err != nil {
			t.Error(err)
		}
	}
	shows(1)
	records, _ := sent(t, 1, 0)
	if err := feed.NewPublisher(nc).Announce(t.Context(), nil, [][]events.Record{records}, at("t", 0, 1), nil); err != nil {
		t.Fatal(err)
	}
	fault := f.Check()
	for end := time.Now().Add(30 * time.Second); fault == nil && time.Now().Before(end); {
		fault = f.Check()
	}
	if fault == nil || !strings.Contains(fault.Error(), "nothing that was heard was applied for") {
		t.Errorf("got %v", fault)
	}
	shows(0)
	m.mu.Lock()
	before := m.lost
	m.mu.Unlock()
	close(m.hold)
	m.await(t, "the loss", func() bool { return m.lost > before })
}

func TestConfig_Validate(t *testing.T) {
	if err := feed.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := feed.Config{}.Validate()
	for _, want := range []string{"feed silence 0s", "feed pending bytes 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %q", err, want)
		}
	}
}

// TestFollower_Beats holds that a follower moves although NATS is away and nothing is heard,
// however long that may last, and that nothing is expected of it once it has stopped.
func TestFollower_Beats(t *testing.T) {
	s := startServer(t)
	config := feed.DefaultConfig()
	config.Silence = time.Hour
	f := feed.NewFollower(config, connect(t, s), newMemory(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	b := beat.New(-1) // any mark is too old, so that it shows
	f.BeatWith(b)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	marked := func(when string) {
		t.Helper()
		for b.Check() == nil {
			if ctx.Err() != nil {
				t.Fatalf("%s: it does not move", when)
			}
		}
		b.Rest()
	}
	marked("at the start")
	marked("while nothing is heard")
	if err := f.Check(); !errors.Is(err, feed.ErrNotHeard) {
		t.Errorf("memory is relied on although nobody was heard of: %v", err)
	}
	s.Shutdown()
	marked("while NATS is away")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := b.Check(); err != nil {
		t.Errorf("something is expected of a follower that has stopped: %v", err)
	}
}
