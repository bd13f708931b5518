package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// memory is a Handler that keeps everything.
type memory struct {
	mu      sync.Mutex
	model   *projection.Model
	list    []events.Event
	lost    int
	changed chan struct{} // closed and made anew with every call
	hold    chan struct{} // Apply waits for it to be closed, if there is one
}

func newMemory() *memory {
	return &memory{model: projection.NewModel(), changed: make(chan struct{})}
}

func (m *memory) Apply(model *projection.Model, list []events.Event) {
	if m.hold != nil {
		<-m.hold
	}
	m.change(func() {
		m.model.Merge(model)
		m.list = append(m.list, list...)
	})
}

func (m *memory) Lost() { m.change(func() { m.lost++ }) }

func (m *memory) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	close(m.changed)
	m.changed = make(chan struct{})
}

// await waits until a condition holds.
func (m *memory) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		m.mu.Lock()
		held, changed := holds(), m.changed
		m.mu.Unlock()
		if held {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func startServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func connect(t *testing.T, s *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.Timeout(30*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// follow has a handler follow until the test ends.
func follow(t *testing.T, nc *nats.Conn, config feed.Config, h feed.Handler) *feed.Follower {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	f := feed.NewFollower(config, nc, h, log, prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	// The subscription is there once something is heard.
	probe := feed.NewPublisher(nc)
	for errors.Is(f.Check(), feed.ErrNotHeard) {
		if err := errors.Join(probe.Announce(t.Context(), nil, nil, at("t", 0, 0), map[string]int{"t": 1}), nc.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func at(topic string, from, to int64) []events.Range {
	return []events.Range{{Topic: topic, From: from, To: to}}
}

// sent are records of messages of bob to ann, in all encodings, and their model.
func sent(t *testing.T, n, size int) ([]events.Record, *projection.Model) {
	t.Helper()
	model := projection.NewModel()
	var records []events.Record
	for i := range n {
		e := events.Event{ID: fmt.Sprint(i), App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.MessageSent{
			Conversation: events.C2C("ann", "bob"), From: "bob", MessageID: fmt.Sprint(i), Sequence: uint64(i + 1), Type: events.TypeText,
			MessageForShow: "x", CloudCustomData: strings.Repeat("x", size),
		}}
		model.Fold(e)
		encode, headers := events.AppendJSON, []events.Header(nil)
		if i%2 == 1 {
			encode, headers = events.AppendProtobuf, []events.Header{{Key: "Content-Type", Value: []byte(events.ContentTypeProtobuf)}}
		}
		value, err := encode(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, events.Record{Value: value, Headers: headers})
	}
	return records, model
}

var equalModels = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.IgnoreFields(projection.Model{}, "Conflicts"), cmpopts.IgnoreUnexported(projection.Model{}),
}

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
	if diff := cmp.Diff(want, m.model, equalModels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	folded := projection.NewModel()
	for _, e := range m.list {
		folded.Fold(e)
	}
	if diff := cmp.Diff(want, folded, equalModels); diff != "" {
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
	f := follow(t, connect(t, s), feed.DefaultConfig(), newMemory())
	for _, unknown := range []events.Partition{{Topic: "t", ID: 1}, {Topic: "t", ID: -1}, {Topic: "u"}} {
		if err := f.Await(t.Context(), unknown, 0); !errors.Is(err, feed.ErrUnknownPartition) {
			t.Errorf("%s: got %v", unknown, err)
		}
	}
	late := errors.New("late")
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
	added := []events.Range{{Topic: "t", Partition: 1, To: 1}}
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
	also := []events.Range{{Topic: "t", To: 1}}
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
	m.await(t, "the loss", func() bool { return m.lost > 1 })
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
	fault := f.Check()
	for fault == nil {
		fault = f.Check()
	}
	if got := fault.Error(); !strings.Contains(got, "t/0") {
		t.Errorf("got %q, want the silent partition's name", got)
	}
	p := feed.NewPublisher(nc)
	for f.Check() != nil {
		if err := p.Announce(t.Context(), nil, nil, at("t", 0, 0), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFollower_StandsStill has what is heard wait: memory is not relied on, although the
// follower cannot say so, and not what was loaded before when it moves again.
func TestFollower_StandsStill(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	m := newMemory()
	m.hold = make(chan struct{})
	config := feed.DefaultConfig()
	config.Silence = time.Second / 2
	f := follow(t, nc, config, m)
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
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
