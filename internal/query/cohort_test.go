package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
)

// TestWorker_CoalescesRequests has a herd wait for a slow store. All of it costs
// one call of each kind: what its requests lack is loaded together, step by step.
func TestWorker_CoalescesRequests(t *testing.T) {
	g, f := newHerd(t)
	first := f.send("unread", `{"userID":"ben"}`)
	<-g.came
	<-g.came
	users := []string{"ann", "ben", "cid", "dan"}
	var herd []<-chan *nats.Msg
	for i := range 20 {
		herd = append(herd, f.send("list", fmt.Sprintf(`{"userID":"%s"}`, users[i%4])))
	}
	f.gathered(20)
	close(g.open)
	want := map[string]int{"ann": 6, "ben": 1, "cid": 1, "dan": 1}
	for i, reply := range herd {
		m := <-reply
		if got := len(parseList(t, m.Data).Data.ConversationList); got != want[users[i%4]] {
			t.Errorf("%s: %d conversations in %s", users[i%4], got, m.Data)
		}
	}
	if got := codeOf(<-first); got != "0" {
		t.Errorf("got %s", got)
	}
	close(g.came)
	calls := map[string]int{}
	for name := range g.came {
		calls[name]++
	}
	if diff := cmp.Diff(map[string]int{"inboxes": 1, "apps": 1, "states": 1, "groups": 1, "users": 1, "senders": 1}, calls); diff != "" {
		t.Errorf("calls of the store for the herd (-want +got):\n%s", diff)
	}
}

// TestWorker_LoadsACrowdApart has many users ask together who have more conversations than are
// to be loaded at once: they are loaded for one part after the other.
func TestWorker_LoadsACrowdApart(t *testing.T) {
	const users = 8
	m := newMemory()
	g := newGate(m)
	f := start(t, m, func(c *Config) { c.LoadConcurrency, c.CacheBytes = 1, 1<<20 })
	each := maxLoaded(1<<20) / (users / 2)
	m.fold(ago(time.Hour), plan(1000))
	for u := range users {
		for i := range each {
			m.fold(ago(time.Minute), c2c(fmt.Sprintf("peer-%d", i), fmt.Sprintf("user-%d", u), 1, "hi"))
		}
	}
	first := f.send("unread", `{"userID":"nobody"}`)
	<-g.came
	<-g.came
	var crowd []<-chan *nats.Msg
	for u := range users {
		crowd = append(crowd, f.send("unread", fmt.Sprintf(`{"userID":"user-%d"}`, u)))
	}
	f.gathered(users)
	close(g.open)
	if got := codeOf(<-first); got != "0" {
		t.Errorf("the first: got %s", got)
	}
	want := string(encodeUnread(uint64(each)))
	for _, reply := range crowd {
		if m := <-reply; string(m.Data) != want {
			t.Errorf("want %s, got %s", want, m.Data)
		}
	}
	close(g.came)
	calls := 0
	for name := range g.came {
		if name == "inboxes" {
			calls++
		}
	}
	if want := 1 + users; calls != want { // of all, then of one at a time
		t.Errorf("%d loads of inboxes, want %d", calls, want)
	}
	if log := f.log.String(); strings.Contains(log, "failed") {
		t.Errorf("the log has %s", log)
	}
}

// TestCache_GivesUpACrowd has the store fail while a crowd is loaded apart: it is asked for
// nobody else of it.
func TestCache_GivesUpACrowd(t *testing.T) {
	cfg := DefaultConfig()
	cfg.CacheBytes = 1 << 20
	m := newMemory()
	const users = 8
	for u := range users {
		for i := range maxLoaded(cfg.CacheBytes)/users + 1 {
			m.fold(ago(time.Minute), c2c(fmt.Sprintf("peer-%d", i), fmt.Sprintf("user-%d", u), 1, "hi"))
		}
	}
	broken, loads := errors.New("no disk"), 0
	m.intercept(func(_ context.Context, name string) error {
		if name != "inboxes" {
			return nil
		}
		if loads++; loads == 1 { // of all
			return nil
		}
		return broken
	})
	w := New(cfg, nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	c := w.cache()
	var cohort []*attempt
	for u := range users {
		q := &query{app: "demo", userID: fmt.Sprintf("user-%d", u), now: events.MicrosOf(now), begin: time.Now()}
		q.cache = c
		defer c.done(q)
		cohort = append(cohort, &attempt{answer: w.unread, query: q, maxBytes: minPayload, buffer: new(bytes.Buffer), done: make(chan struct{})})
	}
	if _, err := c.accompany(t.Context(), cohort); !errors.Is(err, broken) || loads != 2 {
		t.Errorf("got %v after %d loads of inboxes, want the store's error after 2", err, loads)
	}
}

// TestAttempt_SurvivesPanics has an answer panic once it has what it lacked: the request is
// refused, and its cohort goes on.
func TestAttempt_SurvivesPanics(t *testing.T) {
	a := &attempt{query: &query{}, done: make(chan struct{}), answer: func(*query, int, *bytes.Buffer) ([]byte, *missing, error) {
		panic("at the rules")
	}}
	if _, lacking, _ := advance([]*attempt{a}); len(lacking) != 0 {
		t.Error("it is tried again")
	}
	<-a.done
	if a.err == nil || !strings.Contains(a.err.Error(), "panic: at the rules") || replyFor(a.err) != errInternal {
		t.Errorf("got %v", a.err)
	}
}

// TestWorker_LeavesACohort has requests give up that others are loaded with.
func TestWorker_LeavesACohort(t *testing.T) {
	g, f := newHerd(t)
	first := f.send("unread", `{"userID":"ben"}`)
	<-g.came
	<-g.came
	stays := f.send("list", `{"userID":"ann"}`)
	leaves := f.send("list", `{"userID":"ann","timeoutMs":1}`)
	if got := codeOf(<-leaves); got != "504" {
		t.Errorf("who left: got %s, want 504", got)
	}
	f.gathered(1)
	close(g.open)
	for _, reply := range []<-chan *nats.Msg{first, stays} {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("who stayed: got %s", got)
		}
	}
}

// TestWorker_LeavesACohortUnderWay has requests give up while they are loaded
// for, or while others are: those go on.
func TestWorker_LeavesACohortUnderWay(t *testing.T) {
	g, f := newHerd(t)
	first := f.send("unread", `{"userID":"ben"}`)
	<-g.came
	<-g.came
	stays := f.send("list", `{"userID":"ann"}`)
	leaves, leave := f.askDirectly(f.worker.list, "ben")
	f.gathered(2)
	for range 2 { // the first one's inbox and app
		g.open <- struct{}{}
	}
	if got := codeOf(<-first); got != "0" {
		t.Errorf("the first: got %s", got)
	}
	<-g.came
	<-g.came
	leave()
	if err := <-leaves; !errors.Is(err, errGone) {
		t.Errorf("who left: got %v", err)
	}
	for range 2 {
		g.open <- struct{}{}
	}
	<-g.came // the next step
	if got := codeOf(<-f.send("list", `{"userID":"cid","timeoutMs":1}`)); got != "504" {
		t.Errorf("who came and left: got %s, want 504", got)
	}
	close(g.open)
	if got := codeOf(<-stays); got != "0" {
		t.Errorf("who stayed: got %s", got)
	}
}

// TestWorker_LeavesACohortWithItsReply has a request lack less than another one of its cohort:
// it has its reply while more is loaded for the other.
func TestWorker_LeavesACohortWithItsReply(t *testing.T) {
	g, f := newHerd(t)
	first := f.send("unread", `{"userID":"ben"}`)
	<-g.came
	<-g.came
	list, _ := f.askDirectly(f.worker.list, "ann")
	unread, _ := f.askDirectly(f.worker.unread, "ann")
	f.gathered(2)
	for range 2 { // the first one's inbox and app
		g.open <- struct{}{}
	}
	if got := codeOf(<-first); got != "0" {
		t.Errorf("the first: got %s", got)
	}
	for name := range g.came {
		if name == "senders" { // which only lists show
			break
		}
		g.open <- struct{}{}
	}
	select {
	case err := <-unread:
		if err != nil {
			t.Errorf("who lacks nothing more: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("who lacks nothing more waits for the other")
	}
	close(g.open)
	if err := <-list; err != nil {
		t.Errorf("who lacked more: %v", err)
	}
}

// TestWorker_ForgetsWhoLeavesACohort has requests give up while their cohort waits for its
// turn, with one that stays: what they asked for is not kept until then.
func TestWorker_ForgetsWhoLeavesACohort(t *testing.T) {
	g, f := newHerd(t)
	first := f.send("unread", `{"userID":"ben"}`)
	<-g.came
	<-g.came
	stays := f.send("list", `{"userID":"ann"}`)
	f.gathered(1)
	left := make([]weak.Pointer[query], 10)
	for i := range left {
		ctx, leave := context.WithCancelCause(t.Context())
		q := &query{app: "demo", userID: "cid", now: events.MicrosOf(now), begin: time.Now()}
		left[i] = weak.Make(q)
		time.AfterFunc(time.Millisecond, func() { leave(errGone) })
		if _, err := f.worker.answered(ctx, f.worker.list, q, minPayload); !errors.Is(err, errGone) {
			t.Errorf("who left: got %v", err)
		}
	}
	f.await("those who have left are forgotten", func() bool {
		runtime.GC()
		return !slices.ContainsFunc(left, func(p weak.Pointer[query]) bool { return p.Value() != nil })
	})
	close(g.open)
	for _, reply := range []<-chan *nats.Msg{first, stays} {
		if got := codeOf(<-reply); got != "0" {
			t.Errorf("who stayed: got %s", got)
		}
	}
}

// TestWorker_NobodyWaitsForACohort has all leave: what is loaded for them is given up.
func TestWorker_NobodyWaitsForACohort(t *testing.T) {
	g, f := newHerd(t)
	leaves, leave := f.askDirectly(f.worker.list, "ann")
	<-g.came
	<-g.came
	leave()
	if err := <-leaves; !errors.Is(err, errGone) {
		t.Errorf("who left: got %v", err)
	}
	next := f.send("list", `{"userID":"ann"}`) // it can only begin when the other load has ended
	<-g.came
	close(g.open)
	if got := codeOf(<-next); got != "0" {
		t.Errorf("who came later: got %s", got)
	}
}

// TestWorker_FindsWhatOthersDidNotWaitFor has a list take longer than anybody waits: what is
// loaded goes on, and who asks again finds it.
func TestWorker_FindsWhatOthersDidNotWaitFor(t *testing.T) {
	m := some()
	g := newGate(m)
	f := startFollowing(t, m, always{}, func(c *Config) { c.LoadConcurrency = 1 })
	leaves, leave := f.askDirectly(f.worker.list, "ann")
	if first := []string{<-g.came, <-g.came}; !slices.Contains(first, "inboxes") {
		t.Fatalf("%q are loaded first, expected inboxes among them", first)
	}
	leave()
	if err := <-leaves; !errors.Is(err, errGone) {
		t.Errorf("who left: got %v", err)
	}
	again := f.send("list", `{"userID":"ann"}`)
	f.gathered(1)
	close(g.open)
	if got := codeOf(<-again); got != "0" {
		t.Errorf("who asked again: got %s", got)
	}
	close(g.came) // whoever has the reply has no load under way
	for name := range g.came {
		if name == "inboxes" {
			t.Error("the inbox is loaded again")
		}
	}
}

var errGone = errors.New("gone")

// askDirectly has the worker answer a request that gives up when it is told to, and not after
// a time.
func (f *fixture) askDirectly(answer answer, user string) (ended <-chan error, leave func()) {
	ctx, cancel := context.WithCancelCause(f.t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.worker.answered(ctx, answer, &query{app: "demo", userID: user, now: events.MicrosOf(now), begin: time.Now()}, minPayload)
		done <- err
	}()
	return done, func() { cancel(errGone) }
}

// newHerd is a worker whose store is slow and loads for one cohort at a time.
func newHerd(t *testing.T) (*gate, *fixture) {
	m := some()
	g := newGate(m)
	return g, start(t, m, func(c *Config) { c.LoadConcurrency = 1 })
}

// TestDemand_And holds that what meets the demands of two requests together meets that of each.
func TestDemand_And(t *testing.T) {
	var demands []demand
	for i := range 9 {
		demands = append(demands, demand{begin: int64(i % 3), epoch: uint64(i / 3)})
	}
	for _, one := range demands {
		for _, other := range demands {
			for i := range 4 * 4 * 3 {
				var s stamp
				s.loaded.Store(int64(i % 4))
				s.until.Store(int64(i / 4 % 4))
				s.epoch.Store(uint64(i / 16))
				if s.meets(one.and(other)) && (!s.meets(one) || !s.meets(other)) {
					t.Fatalf("loaded at %d in epoch %d until %d: meets %v and %v together, and not each",
						s.loaded.Load(), s.epoch.Load(), s.until.Load(), one, other)
				}
			}
		}
	}
}

// TestAdvance_MeetsEveryDemand has one cohort of requests of which each asks for something else.
func TestAdvance_MeetsEveryDemand(t *testing.T) {
	lacking := func(d demand) *attempt {
		return &attempt{query: &query{progress: progress{demand: d}}, answer: func(*query, int, *bytes.Buffer) ([]byte, *missing, error) {
			return nil, &missing{}, nil
		}}
	}
	for _, c := range []struct{ one, other, want demand }{
		{demand{begin: 1, epoch: 1}, demand{begin: 2, epoch: 1}, demand{begin: 2, epoch: 1}},
		{demand{begin: 1, epoch: 1}, demand{begin: 2, epoch: 2}, demand{begin: 2, epoch: 2}},
		{demand{begin: 1, epoch: 1}, demand{begin: 2}, demand{begin: 2}},
	} {
		for _, cohort := range [][]*attempt{{lacking(c.one), lacking(c.other)}, {lacking(c.other), lacking(c.one)}} {
			if _, all, d := advance(cohort); d != c.want || len(all) != 2 {
				t.Errorf("%v and %v: %v of %d, want %v", c.one, c.other, d, len(all), c.want)
			}
		}
	}
}
