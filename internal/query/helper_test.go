package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// now is when every test happens.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// ago is a time before now.
func ago(d time.Duration) events.Micros { return events.MicrosOf(now.Add(-d)) }

// memory is a Store: a projection.Model that events are folded into.
type memory struct {
	mu     sync.Mutex
	before func(ctx context.Context, name string) error // see intercept
	model  *projection.Model
	count  int
}

func newMemory() *memory { return &memory{model: projection.NewModel()} }

// intercept has before called before every call of the store.
func (m *memory) intercept(before func(ctx context.Context, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = before
}

// fold folds bodies of one time, each as an event of its own.
func (m *memory) fold(t events.Micros, bodies ...events.Body) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range bodies {
		m.count++
		m.model.Fold(events.Event{ID: fmt.Sprintf("e%06d", m.count), App: "demo", Time: t, Body: b})
	}
}

// lookUp gives a copy of what exists of keys.
func lookUp[K comparable, V any](ctx context.Context, m *memory, name string, keys []K, find func(K) (V, bool)) (map[K]V, error) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx, name); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[K]V{}
	for _, k := range keys {
		if v, ok := find(k); ok {
			found[k] = v
		}
	}
	return found, nil
}

// state gives a copy that later events do not change.
func (m *memory) state(k projection.Key, full bool) (*projection.State, bool) {
	s, ok := m.model.States[k]
	if !ok {
		return nil, false
	}
	c := &projection.State{}
	c.Merge(s)
	if !full {
		c.Head = c.Head.Light()
	}
	return c, true
}

func (m *memory) Inboxes(ctx context.Context, keys []projection.UserKey, most int) (map[projection.UserKey]map[string]*projection.State, error) {
	all := 0
	found, err := lookUp(ctx, m, "inboxes", keys, func(k projection.UserKey) (map[string]*projection.State, bool) {
		inbox := map[string]*projection.State{}
		for key := range m.model.States {
			if key.App == k.App && key.Owner == k.UserID {
				inbox[key.ConversationID], _ = m.state(key, false)
			}
		}
		all += len(inbox)
		return inbox, len(inbox) > 0
	})
	if len(keys) > 1 && all > most {
		return nil, crowd{}
	}
	return found, err
}

// crowd says that too many were asked for at once.
type crowd struct{}

func (crowd) Error() string { return "too many" }

func (crowd) TooMany() bool { return true }

func (m *memory) States(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return lookUp(ctx, m, "states", keys, func(k projection.Key) (*projection.State, bool) { return m.state(k, false) })
}

func (m *memory) FullStates(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return lookUp(ctx, m, "full_states", keys, func(k projection.Key) (*projection.State, bool) { return m.state(k, true) })
}

func (m *memory) Groups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return lookUp(ctx, m, "groups", keys, func(k projection.GroupKey) (*projection.GroupProfile, bool) {
		p, ok := m.model.Groups[k]
		if !ok {
			return nil, false
		}
		short := &projection.GroupProfile{Version: p.Version}
		short.Value = events.GroupProfileChanged{
			Name: p.Value.Name, Avatar: p.Value.Avatar, Type: p.Value.Type, Dismissed: p.Value.Dismissed,
		}
		return short, true
	})
}

func (m *memory) FullGroups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return lookUp(ctx, m, "full_groups", keys, func(k projection.GroupKey) (*projection.GroupProfile, bool) {
		return clone(m.model.Groups[k])
	})
}

func (m *memory) Users(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return lookUp(ctx, m, "users", keys, func(k projection.UserKey) (*projection.UserProfile, bool) {
		p, ok := m.model.Users[k]
		if !ok {
			return nil, false
		}
		short := &projection.UserProfile{Version: p.Version}
		short.Value = events.UserProfileChanged{Nick: p.Value.Nick, Avatar: p.Value.Avatar}
		return short, true
	})
}

func (m *memory) FullUsers(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return lookUp(ctx, m, "full_users", keys, func(k projection.UserKey) (*projection.UserProfile, bool) {
		return clone(m.model.Users[k])
	})
}

func (m *memory) Edits(ctx context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error) {
	return lookUp(ctx, m, "edits", keys, func(k projection.EditKey) (*projection.Edit, bool) {
		return clone(m.model.Edits[k])
	})
}

func (m *memory) Senders(ctx context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error) {
	return lookUp(ctx, m, "senders", keys, func(k projection.MentionKey) (projection.Register[string], bool) {
		var latest projection.MessageKey
		for key := range m.model.Messages {
			if key.App == k.App && key.Conversation == events.Group(k.GroupID) && key.Day == k.Day && key.Sequence == k.Sequence &&
				(key.Time > latest.Time || key.Time == latest.Time && key.ID > latest.ID) {
				latest = key
			}
		}
		message, ok := m.model.Messages[latest]
		if !ok {
			return projection.Register[string]{}, false
		}
		return projection.Register[string]{Version: projection.Version{Time: latest.Time, ID: latest.ID}, Value: message.From}, true
	})
}

func (m *memory) Apps(ctx context.Context, keys []string) (map[string]*projection.App, error) {
	return lookUp(ctx, m, "apps", keys, func(k string) (*projection.App, bool) {
		app := &projection.App{Erased: map[string]struct{}{}}
		if plan := m.model.Plans[k]; plan != nil {
			app.Plan = *plan
		}
		for user := range maps.Keys(m.model.Erased) {
			if user.App == k {
				app.Erased[user.UserID] = struct{}{}
			}
		}
		return app, app.Plan.Written() || len(app.Erased) > 0
	})
}

func clone[T any](p *T) (*T, bool) {
	if p == nil {
		return nil, false
	}
	c := *p
	return &c, true
}

// startServer starts a NATS server.
func startServer(t testing.TB, maxPayload int32) *server.Server {
	t.Helper()
	return startServerWith(t, &server.Options{MaxPayload: maxPayload})
}

func startServerWith(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.ServerName, o.Host, o.Port, o.NoLog, o.NoSigs = t.Name(), "127.0.0.1", -1, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func connect(t testing.TB, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append(options, nats.InProcessServer(s), nats.Timeout(30*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// fixture is a running worker and a client of it.
type fixture struct {
	*memory
	t      *testing.T
	client *nats.Conn
	worker *Worker
	clock  atomic.Pointer[func() time.Time] // nil: it is now
	log    *lines
	stop   func() error // once

	registry *prometheus.Registry
}

// await waits until something holds.
func (f *fixture) await(what string, holds func() bool) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain until %s\n%s", what, f.log)
		}
	}
}

// said waits until the log has a text.
func (f *fixture) said(text string) {
	f.t.Helper()
	f.await("the log says "+text, func() bool { return strings.Contains(f.log.String(), text) })
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts a server and a worker on it, with a configuration that may be changed.
func start(t *testing.T, store *memory, change ...func(*Config)) *fixture {
	t.Helper()
	return startFollowing(t, store, nil, change...)
}

// startFollowing starts a worker that follows a feed.
func startFollowing(t *testing.T, store *memory, feed Feed, change ...func(*Config)) *fixture {
	t.Helper()
	return startGenerations(t, store, Only(store), feed, change...)
}

// startGenerations starts a worker that reads a generation, whose store is given,
// and perhaps later another one.
func startGenerations(t *testing.T, store *memory, generations Generations, feed Feed, change ...func(*Config)) *fixture {
	t.Helper()
	s := startServer(t, 0)
	f := &fixture{memory: store, t: t, client: connect(t, s), log: &lines{}, registry: prometheus.NewRegistry()}
	cfg := DefaultConfig()
	for _, c := range change {
		c(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	nc := connect(t, s)
	f.worker = New(cfg, nc, generations, f.now,
		slog.New(slog.NewTextHandler(f.log, nil)), f.registry)
	f.worker.Follow(feed)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.worker.Run(ctx) }()
	f.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	f.awaitService()
	return f
}

func (f *fixture) now() time.Time {
	if clock := f.clock.Load(); clock != nil {
		return (*clock)()
	}
	return now
}

// awaitService asks until the worker answers.
func (f *fixture) awaitService() {
	f.t.Helper()
	for {
		m, err := f.client.Request("$SRV.INFO."+ServiceName, nil, 10*time.Second)
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		var info micro.Info
		if err := json.Unmarshal(m.Data, &info); err != nil {
			f.t.Fatal(err)
		}
		if len(info.Endpoints) == 6 { // they come after INFO: the three, without a token and with any
			return
		}
	}
}

// ask sends a request and gives the reply's code and body.
func (f *fixture) ask(endpoint, request string) (code, body string) {
	f.t.Helper()
	return f.askApp("demo", endpoint, request)
}

func (f *fixture) askApp(app, endpoint, request string) (code, body string) {
	f.t.Helper()
	m, err := f.client.Request("convoview.v1."+app+".conversation."+endpoint, []byte(request), 30*time.Second)
	if err != nil {
		f.t.Fatalf("%s %s: %v", endpoint, request, err)
	}
	code = m.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		return "0", string(m.Data)
	}
	var body2 replyError
	if err := json.Unmarshal(m.Data, &body2); err != nil {
		f.t.Fatalf("body of error %s: %v", m.Data, err)
	}
	if got := fmt.Sprint(body2.Code); got != code {
		f.t.Errorf("code %s in the header, %s in the body", code, got)
	}
	if got := m.Header.Get(micro.ErrorHeader); got != body2.Message {
		f.t.Errorf("message %q in the header, %q in the body", got, body2.Message)
	}
	return code, body2.Message
}

// lister gives a worker that hears of everything, and what asks it for lists here and now.
func lister(t *testing.T, m *memory) (w *Worker, ask func(text string) string) {
	w = New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	return w, func(text string) string {
		t.Helper()
		q := listQuery(t, "demo", text)
		q.now, q.begin = events.MicrosOf(now), time.Now()
		reply, err := w.answered(t.Context(), w.list, q, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return string(reply)
	}
}

// answered answers a query without a connection.
func (w *Worker) answered(ctx context.Context, answer answer, q *query, maxBytes int) ([]byte, error) {
	q.timeout, q.cache = time.Hour, w.cache()
	j := &job{endpoint: &endpoint{answer: answer}, query: q, arrived: time.Now(), maxBytes: maxBytes}
	return w.done(ctx, j, new(bytes.Buffer))
}

// done answers a request here and now, whatever it has to wait for; a worker that
// runs has several goroutines for that.
func (w *Worker) done(ctx context.Context, j *job, buffer *bytes.Buffer) ([]byte, error) {
	defer func() {
		if j.query != nil {
			j.query.cache.done(j.query)
		}
	}()
	for {
		reply, lacks, err := w.try(ctx, j, buffer)
		if lacks == nil {
			return reply, err
		}
		if reply, err := w.supply(ctx, j, lacks, buffer); reply != nil || err != nil {
			return reply, err
		}
	}
}

// counted gives how many requests the metrics count.
func counted(t *testing.T, w *Worker, endpoint, code string) uint64 {
	t.Helper()
	var m dto.Metric
	if err := w.metrics.seconds.WithLabelValues(endpoint, code).(prometheus.Metric).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram().GetSampleCount()
}
