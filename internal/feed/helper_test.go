package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
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
	return startServerWith(t, &server.Options{})
}

func startServerWith(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	options.Host, options.NoLog, options.NoSigs = "127.0.0.1", true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(options)
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

func connect(t *testing.T, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append(options, nats.Timeout(30*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// follow has a handler follow until the test ends.
func follow(t *testing.T, nc *nats.Conn, config feed.Config, h feed.Handler) *feed.Follower {
	t.Helper()
	return followExporting(t, nc, config, h, prometheus.NewRegistry())
}

// followExporting does so with its metrics in a registry.
func followExporting(t *testing.T, nc *nats.Conn, config feed.Config, h feed.Handler, r *prometheus.Registry) *feed.Follower {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	f := feed.NewFollower(config, nc, h, log, r)
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
	return []events.Range{{Partition: events.Partition{Topic: topic}, From: from, To: to}}
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

// gapsIn is how many gaps a follower has told of in its metrics.
func gapsIn(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(families, func(of *dto.MetricFamily) bool { return of.GetName() == "convoview_feed_gaps_total" })
	return families[at].GetMetric()[0].GetCounter().GetValue()
}

// goAway has a connection's server go away and come back. Meanwhile somebody takes connections
// in its place and ends them, so that the connection has much to tell.
func goAway(t *testing.T, s *server.Server, nc *nats.Conn) {
	t.Helper()
	address := s.Addr().(*net.TCPAddr)
	s.Shutdown()
	s.WaitForShutdown()
	balancer, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		c, err := balancer.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if err := balancer.Close(); err != nil {
		t.Fatal(err)
	}
	startServerWith(t, &server.Options{Port: address.Port})
	for !nc.IsConnected() {
		if t.Context().Err() != nil {
			t.Fatal("it does not connect again")
		}
	}
}
