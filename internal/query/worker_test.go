package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// gate holds calls of the store until it is opened, and says when one has come.
type gate struct {
	came chan string
	open chan struct{}
}

func newGate(m *memory) *gate {
	g := &gate{came: make(chan string, 100), open: make(chan struct{})}
	m.intercept(func(ctx context.Context, name string) error {
		g.came <- name
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return g
}

// send asks without waiting; the reply comes on the channel.
func (f *fixture) send(endpoint, request string) <-chan *nats.Msg {
	f.t.Helper()
	replies := make(chan *nats.Msg, 1)
	inbox := f.client.NewRespInbox()
	if _, err := f.client.Subscribe(inbox, func(m *nats.Msg) { replies <- m }); err != nil {
		f.t.Fatal(err)
	}
	if err := f.client.PublishRequest("convoview.v1.demo.conversation."+endpoint, inbox, []byte(request)); err != nil {
		f.t.Fatal(err)
	}
	return replies
}

// codeOf is a reply's code.
func codeOf(m *nats.Msg) string {
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		return code
	}
	if m.Header.Get("Status") == "503" && len(m.Data) == 0 {
		return "no responders"
	}
	return "0"
}

// occupy keeps all servers busy, so that nothing else is answered until they are
// given back: with one request each of a user whose inbox somebody has locked.
func (f *fixture) occupy() (giveBack func()) {
	f.t.Helper()
	const blocked = `{"userID":"blocked"}`
	k := projection.UserKey{App: "demo", UserID: "blocked"}
	e := f.worker.cache().enter(k)
	e.mu.Lock()
	var replies []<-chan *nats.Msg
	for range f.worker.cfg.MaxRunning {
		replies = append(replies, f.send("unread", blocked))
	}
	for f.worker.running.Load() != int64(len(replies)) {
		runtime.Gosched()
	}
	return func() {
		e.mu.Unlock()
		f.worker.cache().leave(k, e)
		for _, reply := range replies {
			if got := codeOf(<-reply); got != "0" {
				f.t.Errorf("the request that kept a server busy: %s", got)
			}
		}
	}
}

func TestWorker_Overload(t *testing.T) {
	f := start(t, some(), func(c *Config) { c.MaxRunning, c.MaxQueued = 1, 2 })
	giveBack := f.occupy()

	// One is running, two wait; the rest is refused at once, whatever is asked.
	const ask = `{"userID":"ann"}`
	var accepted []<-chan *nats.Msg
	for range 2 {
		accepted = append(accepted, f.send("unread", ask))
	}
	for range 3 {
		if got := codeOf(<-f.send("unread", ask)); got != "429" {
			t.Errorf("past the bounds: %s", got)
		}
	}
	f.refuses("list", `{"userID":"ann"}`, "429", "overloaded: too many requests are waiting, ask again later")
	f.refuses("profile", `malformed`, "429", "overloaded: too many requests are waiting, ask again later")
	if got := f.worker.hall.taken.Load(); got != 3 {
		t.Errorf("%d in hand", got)
	}

	giveBack()
	for i, reply := range accepted {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("request %d: %s", i, got)
		}
	}
	if got := codeOf(<-f.send("unread", ask)); got != "0" {
		t.Errorf("afterwards: %s", got)
	}
	if got := counted(t, f.worker, "unread", "429"); got != 3 {
		t.Errorf("%v refusals counted", got)
	}
}

// Whoever has a reply may ask the next thing: there must be room for it by then.
func TestWorker_LeavesBeforeItReplies(t *testing.T) {
	w := New(DefaultConfig(), connect(t, startServer(t, 0)), Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.look(t.Context())
	var taken []int64
	e := w.endpoints[0]
	e.seconds = prometheus.ObserverFunc(func(float64) { taken = append(taken, w.hall.taken.Load()) }) // as the reply goes out
	j := &job{endpoint: e, subject: e.subject, reply: "somebody", data: []byte(`{"userID":"ann"}`), maxBytes: minPayload, in: &w.hall}
	if err := w.accept(j); err != nil {
		t.Fatal(err)
	}
	if w.hall.taken.Load() != 1 {
		t.Fatal("it takes no place")
	}
	w.finish(<-w.queue, []byte("{}"), nil)
	if diff := cmp.Diff([]int64{0}, taken); diff != "" {
		t.Errorf("places taken as the reply goes out (-want +got)\n%s", diff)
	}
}

// However many requests wait for a store that does not answer, or for offsets
// that nobody applies: what is in memory is answered.
func TestWorker_TheSlowAreInNobodysWay(t *testing.T) {
	m := some()
	offsets := later{closed: make(chan struct{})}
	f := startFollowing(t, m, offsets, func(c *Config) { c.MaxRunning, c.MaxQueued, c.MaxWaiting = 1, 10, 3 })
	const known = `{"userID":"ann"}`
	f.list(known)
	g := newGate(m)
	slow := []<-chan *nats.Msg{
		f.send("list", `{"userID":"ben"}`),
		f.send("profile", `{"userID":"ann","conversationID":"C2Cben"}`),
		f.send("list", `{"userID":"ann","after":[{"topic":"t","partition":0,"offset":1}]}`),
	}
	f.await("3 requests wait", func() bool { return f.worker.waiting.taken.Load() == 3 })
	f.refuses("unread", `{"userID":"cid"}`, "429", "overloaded: too many requests are waiting, ask again later")
	for range 10 {
		f.list(known)
	}
	close(g.open)
	close(offsets.closed)
	for i, reply := range slow {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("request %d: %s", i, got)
		}
	}
	if got := testutil.ToFloat64(f.worker.metrics.hits); got != 11 {
		t.Errorf("%v lists were answered from memory alone, want 11", got)
	}
	if got := testutil.ToFloat64(f.worker.metrics.misses); got != 2 {
		t.Errorf("%v lists were loaded, want 2", got)
	}
}

// Requests in hand are bounded in bytes, too.
func TestWorker_OverloadInBytes(t *testing.T) {
	f := start(t, some(), func(c *Config) { c.MaxRunning, c.MaxRequestBytes, c.MaxQueuedBytes = 1, 40, 60 })
	giveBack := f.occupy() // with 20 bytes

	ask := func(bytes int) string {
		const blank = `{"userID":"ann"}`
		return blank + strings.Repeat(" ", bytes-len(blank))
	}
	first := f.send("unread", ask(20))
	if got := codeOf(<-f.send("unread", ask(21))); got != "429" {
		t.Errorf("a byte past the bound: %s", got)
	}
	second := f.send("unread", ask(20))
	if got := codeOf(<-f.send("unread", ask(16))); got != "429" {
		t.Errorf("past the bound: %s", got)
	}
	giveBack()
	for _, reply := range []<-chan *nats.Msg{first, second} {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("within the bound: %s", got)
		}
	}
	if got := codeOf(<-f.send("unread", ask(40))); got != "0" {
		t.Errorf("afterwards: %s", got)
	}
}

func TestWorker_Deadline(t *testing.T) {
	m := some()
	g := newGate(m)
	f := start(t, m, func(c *Config) { c.MaxRunning = 1 })
	const late = "timeoutMs 1: expected an answer by then, and there is none yet"
	for endpoint, fields := range map[string]string{"list": "", "unread": "", "profile": `,"conversationID":"C2Cben"`} {
		f.refuses(endpoint, `{"userID":"ann","timeoutMs":1`+fields+`}`, "504", late)
	}
	close(g.open)
	if code, _ := f.ask("list", `{"userID":"ann"}`); code != "0" {
		t.Errorf("afterwards: %s", code)
	}
}

// The time in the queue counts.
func TestWorker_DeadlineInTheQueue(t *testing.T) {
	f := start(t, some(), func(c *Config) { c.MaxRunning = 1 })
	giveBack := f.occupy()
	patient, late := f.send("unread", `{"userID":"ann"}`), f.send("unread", `{"userID":"ann","timeoutMs":1}`)
	f.await("3 requests are in the hall", func() bool { return f.worker.hall.taken.Load() == 3 })
	// Its time counts from when it came, which was before now.
	for begin := time.Now(); time.Since(begin) < 2*time.Millisecond; {
		runtime.Gosched()
	}
	giveBack()
	if got := codeOf(<-patient); got != "0" {
		t.Errorf("the one that has time: %s", got)
	}
	if got := codeOf(<-late); got != "504" {
		t.Errorf("the one that is late: %s", got)
	}
}

type away struct{ error }

func (away) Unavailable() bool { return true }

func TestWorker_StoreErrors(t *testing.T) {
	secret := errors.New("code 62: syntax error in SELECT secret FROM inbox")
	for _, c := range []struct {
		err           error
		code, message string
	}{
		{secret, "500", "internal error, see the worker's log"},
		{fmt.Errorf("load: %w", away{secret}), "503", "the store is not available, ask again later"},
		{fmt.Errorf("load: %w", context.DeadlineExceeded), "504", "the store did not answer in time"},
	} {
		m := some()
		f := start(t, m)
		for _, call := range []struct{ endpoint, fields, breaks string }{
			{"list", ``, "inboxes"},
			{"list", ``, "apps"},
			{"list", ``, "states"},
			{"list", ``, "groups"},
			{"list", ``, "users"},
			{"list", ``, "senders"},
			{"list", `,"conversationIDList":["C2Cben"]`, "states"},
			{"unread", ``, "inboxes"},
			{"profile", `,"conversationID":"C2Cben"`, "full_states"},
			{"profile", `,"conversationID":"C2Cben"`, "full_users"},
			{"profile", `,"conversationID":"GROUPg1"`, "full_groups"},
		} {
			m.intercept(func(_ context.Context, name string) error {
				if name == call.breaks {
					return c.err
				}
				return nil
			})
			f.refuses(call.endpoint, `{"userID":"ann"`+call.fields+`}`, c.code, c.message)
			if log := f.log.String(); !strings.Contains(log, c.err.Error()) || !strings.Contains(log, call.breaks) {
				t.Errorf("%s is not in the log: %s", call.breaks, log)
			}
		}
	}
}

func TestWorker_SurvivesPanics(t *testing.T) {
	m := some()
	f := start(t, m)
	m.intercept(func(context.Context, string) error { panic("at the store") })
	f.refuses("list", `{"userID":"ann"}`, "500", "internal error, see the worker's log")
	m.intercept(nil)
	f.clock.Store(new(func() time.Time { panic("at the clock") }))
	f.refuses("list", `{"userID":"ann"}`, "500", "internal error, see the worker's log")
	for _, where := range []string{"panic: at the store", "panic: at the clock"} {
		if log := f.log.String(); !strings.Contains(log, where) {
			t.Errorf("no %q in the log: %s", where, log)
		}
	}
}

func TestWorker_RequestSize(t *testing.T) {
	f := start(t, some())
	blank := `{"userID":"ann"}`
	fits := blank + strings.Repeat(" ", 256<<10-len(blank))
	if code, body := f.ask("unread", fits); code != "0" {
		t.Errorf("%s %s", code, body)
	}
	f.refuses("unread", fits+" ", "400", "request of 262145 bytes: expected at most 262144")
}

func TestWorker_Apps(t *testing.T) {
	f := start(t, some())
	if code, message := f.askApp("a:b", "unread", `{"userID":"ann"}`); code != "400" || !strings.HasPrefix(message, `app "a:b": expected 1 to 64`) {
		t.Errorf("%s %s", code, message)
	}
}

// One request has one now.
func TestWorker_AsksTheClockOnce(t *testing.T) {
	f := start(t, some())
	var calls atomic.Int64
	f.clock.Store(new(func() time.Time { calls.Add(1); return now }))
	f.ask("list", `{"userID":"ann"}`)
	f.ask("profile", `{"userID":"ann","conversationID":"C2Cben"}`)
	f.ask("unread", `{"userID":"ann"}`)
	if calls.Load() != 3 {
		t.Errorf("%d calls for 3 requests", calls.Load())
	}
}

// gathered waits until so many requests wait for the next cohort.
func (f *fixture) gathered(requests int) {
	f.t.Helper()
	waiting := func() int {
		b := f.worker.cache().cohorts
		b.mu.Lock()
		defer b.mu.Unlock()
		callers := 0
		for _, batch := range b.waiting {
			callers += batch.callers
		}
		return callers
	}
	for waiting() != requests {
		if err := f.client.Flush(); err != nil {
			f.t.Fatal(err)
		}
	}
}

func TestWorker_Drain(t *testing.T) {
	m := some()
	g := newGate(m)
	f := start(t, m, func(c *Config) { c.MaxRunning = 2 })
	const ask = `{"userID":"ann"}`
	var inHand []<-chan *nats.Msg
	for range 10 {
		inHand = append(inHand, f.send("unread", ask))
	}
	if err := f.client.Flush(); err != nil { // the server has handed them on
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- f.stop() }()
	// It leaves: the endpoints first, then micro's own subjects.
	for {
		if _, err := f.client.Request("$SRV.PING.convoview", nil, 10*time.Second); errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	if got := codeOf(<-f.send("unread", ask)); got != "no responders" {
		t.Errorf("a new request: %s", got)
	}
	close(g.open)
	for i, reply := range inHand {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("request %d in hand: %s", i, got)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	// What still comes, by a message that was under way, is refused and not lost.
	if got := f.worker.accept(&job{}); got != errDraining {
		t.Errorf("after the drain: %v", got)
	}
}

func TestWorker_DrainIsBounded(t *testing.T) {
	m := some()
	g := newGate(m) // never opened
	f := start(t, m, func(c *Config) { c.MaxRunning, c.DrainTimeout = 1, 4*time.Second })
	running, queued := f.send("unread", `{"userID":"ann"}`), f.send("list", `{"userID":"ann"}`)
	<-g.came
	if err := f.client.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	for _, reply := range []<-chan *nats.Msg{running, queued} {
		m := <-reply
		if got, want := string(m.Data), `{"code":503,"message":"this worker is stopping, ask again"}`; codeOf(m) != "503" || got != want {
			t.Errorf("%s %s", codeOf(m), got)
		}
	}
}

// TestWorker_Beats holds that those who answer move when nobody asks, and that nothing is
// expected of them once they have stopped.
func TestWorker_Beats(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxRunning = 1
	w := New(cfg, connect(t, startServer(t, 0)), Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	b := beat.New(-1) // any mark is too old, so that it shows
	w.BeatWith(b)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for _, when := range []string{"at the start", "when nobody asks"} {
		for b.Check() == nil {
			if ctx.Err() != nil {
				t.Fatalf("%s: nobody moves", when)
			}
		}
		b.Rest()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := b.Check(); err != nil {
		t.Errorf("something is expected of a worker that has stopped: %v", err)
	}
}

// TestWorker_OverloadInBytesThatWait bounds the bytes of what waits for the store by themselves.
func TestWorker_OverloadInBytesThatWait(t *testing.T) {
	m := some()
	g := newGate(m)
	f := start(t, m, func(c *Config) { c.MaxRequestBytes, c.MaxQueuedBytes = 40, 60 })
	ask := func(bytes int) string {
		const blank = `{"userID":"ann"}`
		return blank + strings.Repeat(" ", bytes-len(blank))
	}
	waits := []<-chan *nats.Msg{f.send("unread", ask(40)), f.send("unread", ask(20))}
	f.await("60 bytes wait", func() bool { return f.worker.waiting.held.Load() == 60 })
	f.refuses("unread", ask(16), "429", "overloaded: too many requests are waiting, ask again later")
	close(g.open)
	for i, reply := range waits {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("request %d: %s", i, got)
		}
	}
}

// TestWorker_DeadlineOfWhatWaits counts the time from when a request came, wherever it was since.
func TestWorker_DeadlineOfWhatWaits(t *testing.T) {
	w := New(DefaultConfig(), nil, Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	j := &job{query: &query{timeout: time.Minute}, arrived: time.Now().Add(-time.Minute)}
	_, err := w.supply(t.Context(), j, &missing{alone: func(ctx context.Context) error { return context.Cause(ctx) }}, nil)
	if late := (*replyError)(nil); !errors.As(err, &late) || late.Code != codeTimeout {
		t.Errorf("got %v, want 504", err)
	}
}

// TestWorker_AfterIsAsIfAskedThen has a request wait for offsets, while another one has what
// both show loaded too early for the first, and while what both show expires.
func TestWorker_AfterIsAsIfAskedThen(t *testing.T) {
	m := some()
	offsets := unsure{later{closed: make(chan struct{})}}
	f := startFollowing(t, m, offsets)
	waits := f.send("list", `{"userID":"ann","after":[{"topic":"t","partition":0,"offset":1}]}`)
	f.await("it waits", func() bool { return f.worker.waiting.taken.Load() == 1 })
	f.list(`{"userID":"ann"}`)
	const later = 30 * 24 * time.Hour
	m.fold(ago(-later), c2c("new", "ann", 1, "applied by then"))
	f.clock.Store(new(func() time.Time { return now.Add(later) }))
	close(offsets.closed)
	reply := <-waits
	if codeOf(reply) != "0" {
		t.Fatalf("got %s", reply.Data)
	}
	if diff := cmp.Diff([]string{"C2Cnew"}, parseList(t, reply.Data).ids(t)); diff != "" {
		t.Errorf("the list by then (-want +got)\n%s", diff)
	}
}

// TestWorker_WaitsInOnePlace has a request wait for offsets and then for the store, where there
// is room for one.
func TestWorker_WaitsInOnePlace(t *testing.T) {
	offsets := later{closed: make(chan struct{})}
	f := startFollowing(t, some(), offsets, func(c *Config) { c.MaxWaiting = 1 })
	waits := f.send("list", `{"userID":"ann","after":[{"topic":"t","partition":0,"offset":1}]}`)
	f.await("it waits", func() bool { return f.worker.waiting.taken.Load() == 1 })
	close(offsets.closed)
	if reply := <-waits; codeOf(reply) != "0" {
		t.Errorf("got %s", reply.Data)
	}
	if held := f.worker.waiting.held.Load(); held != 0 || f.worker.waiting.taken.Load() != 0 || f.worker.hall.taken.Load() != 0 {
		t.Errorf("%d bytes wait when all is answered", held)
	}
}

// TestWorker_AfterIsNotReached names the offset that is not applied, or says that nobody tells.
func TestWorker_AfterIsNotReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(DefaultConfig(), nil, Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		for _, c := range []struct {
			feed Feed
			want string
		}{
			{single{}, `504: after[1] topic "t", partition 0, offset 7: expected to be applied within timeoutMs 1, and is not yet`},
			{nil, `503: after: this worker does not hear of offsets`},
		} {
			w.Follow(c.feed)
			q := listQuery(t, "demo", `{"userID":"ann","timeoutMs":1,"after":[{"topic":"t","partition":0,"offset":0},{"topic":"t","partition":0,"offset":7}]}`)
			ctx, cancel := context.WithTimeout(t.Context(), q.timeout)
			if err := w.await(ctx, q); err == nil || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			cancel()
		}
	})
}

// TestWorker_AfterWhatThereIsNot is refused at once, whatever else is to be waited for.
func TestWorker_AfterWhatThereIsNot(t *testing.T) {
	f := startFollowing(t, some(), single{later{closed: make(chan struct{})}})
	f.refuses("list", `{"userID":"ann","after":[{"topic":"t","partition":0,"offset":1},{"topic":"t","partition":1,"offset":1}]}`,
		"400", `after[1] topic "t", partition 1: expected a partition of a topic that is projected`)
}

// single is a feed of one partition, of which only the first offset is applied.
type single struct{ later }

func (s single) Await(ctx context.Context, p events.Partition, offset int64) error {
	switch {
	case p.ID != 0:
		return feed.ErrUnknownPartition
	case offset < 1:
		return nil
	default:
		return s.later.Await(ctx, p, offset)
	}
}

// unsure is a feed that does not hear of everything, but of offsets later.
type unsure struct{ later }

func (unsure) Check() error { return errors.New("not whole") }
