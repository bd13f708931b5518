package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// model is a read model of two generations, of which the current one can be set.
type model struct {
	current atomic.Int64
	stores  [3]*memory
	leftOut [3]map[string]struct{}
	unknown atomic.Bool // what is left out
}

func nothingLeftOut(context.Context, int) (map[string]struct{}, error) { return nil, nil }

// startModel starts a worker that reads the first generation of two, in which user
// zoe has been written to by ann and by ben.
func startModel(t *testing.T, change ...func(*Config)) (*fixture, *model) {
	t.Helper()
	return startModelFollowing(t, always{}, change...)
}

// startModelFollowing does so with a feed.
func startModelFollowing(t *testing.T, feed Feed, change ...func(*Config)) (*fixture, *model) {
	t.Helper()
	m := &model{}
	for i, from := range []string{"nobody", "ann", "ben"} {
		m.stores[i] = newMemory()
		m.stores[i].fold(ago(time.Hour), c2c(from, "zoe", 1, "hello"))
	}
	m.current.Store(1)
	return startGenerations(t, m.stores[1], Generations{
		Current: func(context.Context) (int, error) { return int(m.current.Load()), nil },
		Store:   func(number int) Store { return m.stores[number] },
		LeftOut: func(_ context.Context, number int) (map[string]struct{}, error) {
			if m.unknown.Load() {
				return nil, errors.New("no registry")
			}
			return m.leftOut[number], nil
		},
	}, feed, append(change, func(c *Config) { c.GenerationInterval = time.Millisecond })...), m
}

// reads waits until the worker reads a generation.
func (f *fixture) reads(generation int) {
	f.t.Helper()
	f.await(fmt.Sprint("generation ", generation, " is read"), func() bool { return f.worker.cache().generation == generation })
}

func TestGeneration_Switch(t *testing.T) {
	f, m := startModel(t)
	for _, c := range []struct {
		generation int
		want       string
	}{{1, "C2Cann"}, {2, "C2Cben"}, {1, "C2Cann"}} {
		m.current.Store(int64(c.generation))
		f.reads(c.generation)
		if got := f.list(`{"userID":"zoe"}`).ids(t); len(got) != 1 || got[0] != c.want {
			t.Errorf("generation %d: %v, want %s", c.generation, got, c.want)
		}
		if code, _ := f.ask("profile", `{"userID":"zoe","conversationID":"`+c.want+`"}`); code != "0" {
			t.Errorf("generation %d: profile of %s: %s", c.generation, c.want, code)
		}
		// What comes later is in both.
		event := c2c("cid", "zoe", uint64(10+c.generation), "more")
		for _, store := range m.stores {
			store.fold(ago(time.Minute), event)
		}
		f.worker.Apply(modelOf(ago(time.Minute), event), nil)
		if got := f.list(`{"userID":"zoe"}`).ids(t); len(got) != 2 {
			t.Errorf("generation %d, later: %v, want two", c.generation, got)
		}
		for i := range m.stores { // as before
			if i > 0 {
				delete(m.stores[i].model.States, projection.Key{App: "demo", Owner: "zoe", ConversationID: "C2Ccid"})
			}
		}
		f.worker.Lost()
	}
}

// TestGeneration_WhoeverIsInMemoryStays holds that those who are answered from memory
// need nothing more after a switch, and hear of what happens while it goes on.
func TestGeneration_WhoeverIsInMemoryStays(t *testing.T) {
	f, m := startModel(t)
	f.list(`{"userID":"zoe"}`)
	g := newGate(m.stores[2])
	m.current.Store(2)
	<-g.came // it loads what is in memory
	if got := f.list(`{"userID":"zoe"}`).ids(t); got[0] != "C2Cann" {
		t.Errorf("before it has loaded: %v", got)
	}
	f.worker.Apply(modelOf(ago(time.Minute), c2c("cid", "zoe", 2, "more")), nil)
	bound := DefaultConfig().CacheBytes
	for _, c := range f.worker.hear() {
		if most := c.maxBytes.Load(); most != usable(bound/2) {
			t.Errorf("generation %d may take %d bytes while two are in memory, want half of the bound", c.generation, most)
		}
	}
	close(g.open)
	f.reads(2)
	f.await("it has the whole bound", func() bool { return f.worker.cache().maxBytes.Load() == usable(bound) })
	m.stores[2].intercept(func(_ context.Context, name string) error { return fmt.Errorf("%s are asked for", name) })
	if got := strings.Join(f.list(`{"userID":"zoe"}`).ids(t), " "); got != "C2Ccid C2Cben" {
		t.Errorf("afterwards: %s", got)
	}
}

// TestGeneration_IsReadOnlyOnceItIsLoaded stays with a generation while the other one
// cannot be read.
func TestGeneration_IsReadOnlyOnceItIsLoaded(t *testing.T) {
	f, m := startModel(t)
	f.list(`{"userID":"zoe"}`)
	m.stores[2].intercept(func(context.Context, string) error { return errors.New("no disk") })
	m.current.Store(2)
	f.said("cannot load the generation that is to be read; trying again")
	if got := f.list(`{"userID":"zoe"}`).ids(t); got[0] != "C2Cann" {
		t.Errorf("meanwhile: %v", got)
	}
	m.stores[2].intercept(nil)
	f.reads(2)
	if got := f.list(`{"userID":"zoe"}`).ids(t); got[0] != "C2Cben" {
		t.Errorf("afterwards: %v", got)
	}
	if n := len(f.worker.hear()); n != 1 {
		t.Errorf("%d caches hear of changes, want 1", n)
	}
}

// TestGeneration_RolledBackWhileItIsLoaded never reads a generation that is not to be read any
// more once it is loaded: it may be dropped by then.
func TestGeneration_RolledBackWhileItIsLoaded(t *testing.T) {
	f, m := startModel(t)
	f.list(`{"userID":"zoe"}`)
	g := newGate(m.stores[2])
	m.current.Store(2)
	<-g.came
	newGate(m.stores[1]) // to turn back would take for ever
	m.current.Store(1)
	close(g.open)
	f.await("only one of them hears of changes", func() bool { return len(f.worker.hear()) == 1 })
	if n := f.worker.cache().generation; n != 1 {
		t.Errorf("generation %d is read", n)
	}
	f.await("it has the whole bound again", func() bool {
		return f.worker.cache().maxBytes.Load() == usable(DefaultConfig().CacheBytes)
	})
	m.stores[1].intercept(nil)
}

// TestGeneration_SwitchIsHeard turns at once when a switch is told of, and looks once
// at a time, however often that happens.
func TestGeneration_SwitchIsHeard(t *testing.T) {
	m := newMemory()
	m.fold(ago(time.Hour), c2c("ann", "zoe", 1, "hello"))
	var current, looking atomic.Int64
	current.Store(1)
	f := startGenerations(t, m, Generations{
		Current: func(context.Context) (int, error) {
			if looking.Add(1) > 1 {
				t.Error("two looks at a time")
			}
			defer looking.Add(-1)
			return int(current.Load()), nil
		},
		Store:   func(int) Store { return m },
		LeftOut: nothingLeftOut,
	}, always{}, func(c *Config) { c.GenerationInterval = time.Hour })
	f.list(`{"userID":"zoe"}`)
	for _, generation := range []int{2, 1, 3} {
		current.Store(int64(generation))
		for range 100 {
			if err := feed.TellSwitch(f.client, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		f.reads(generation)
	}
}

// TestGeneration_LostWhileItIsLoaded relies on nothing that was loaded before a loss, of a
// generation that was not read yet.
func TestGeneration_LostWhileItIsLoaded(t *testing.T) {
	f, m := startModel(t)
	f.list(`{"userID":"zoe"}`)
	g := newGate(m.stores[2])
	m.current.Store(2)
	for range 2 { // the inbox and its app
		<-g.came
	}
	f.worker.Lost()
	close(g.open)
	f.reads(2)
	m.stores[2].fold(ago(time.Minute), c2c("cid", "zoe", 1, "not heard of"))
	if got := strings.Join(f.list(`{"userID":"zoe"}`).ids(t), " "); got != "C2Ccid C2Cben" {
		t.Errorf("got %s", got)
	}
}

// TestGeneration_AfterAcrossASwitch has a request wait for offsets while another generation is
// turned to: what it has waited for is not heard of in the one before.
func TestGeneration_AfterAcrossASwitch(t *testing.T) {
	offsets := later{closed: make(chan struct{})}
	f, m := startModelFollowing(t, offsets)
	f.list(`{"userID":"zoe"}`)
	waits := f.send("list", `{"userID":"zoe","after":[{"topic":"t","partition":0,"offset":1}]}`)
	f.await("it waits", func() bool { return f.worker.waiting.taken.Load() == 1 })
	m.current.Store(2)
	f.reads(2)
	event := c2c("cid", "zoe", 1, "applied by then")
	m.stores[2].fold(ago(time.Minute), event)
	f.worker.Apply(modelOf(ago(time.Minute), event), nil)
	close(offsets.closed)
	if reply := <-waits; codeOf(reply) != "0" || !strings.Contains(string(reply.Data), "C2Ccid") {
		t.Errorf("it lacks what it has waited for: %s", reply.Data)
	}
}

// TestGeneration_OfAListThatIsTooLarge turns to a generation although somebody's list cannot be
// answered.
func TestGeneration_OfAListThatIsTooLarge(t *testing.T) {
	f, m := startModel(t)
	for _, store := range m.stores {
		for _, peer := range []string{"ann", "ben"} {
			store.fold(ago(time.Minute), &events.ConversationDraftSet{ConversationOf: of("zoe", "C2C"+peer), DraftText: strings.Repeat("x", minPayload)})
		}
	}
	if code, body := f.ask("list", `{"userID":"zoe"}`); code != "413" {
		t.Fatalf("got %s %s", code, body)
	}
	m.current.Store(2)
	f.reads(2)
}

// TestGeneration_FailedTurnIsPutOff tries again, after longer and longer waits, to load
// a generation that cannot be loaded, and at once when a switch is told of.
func TestGeneration_FailedTurnIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stores [4]*memory
		var tried [4]atomic.Int64
		for i := range stores {
			stores[i] = newMemory()
			stores[i].fold(ago(time.Hour), c2c("ann", "zoe", 1, "hello"))
			if i > 1 {
				stores[i].intercept(func(context.Context, string) error { return errors.New("no disk") })
			}
		}
		var current atomic.Int64
		current.Store(1)
		w := New(DefaultConfig(), &nats.Conn{}, Generations{
			Current: func(context.Context) (int, error) { return int(current.Load()), nil },
			Store: func(number int) Store {
				tried[number].Add(1)
				return stores[number]
			},
			LeftOut: nothingLeftOut,
		}, func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		w.Follow(always{})
		w.look(t.Context())
		if _, err := w.answered(t.Context(), w.list, &query{app: "demo", userID: "zoe", begin: time.Now()}, 1<<20); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.attend(ctx); close(done) }()
		// attempts are those to load a generation in a time.
		attempts := func(generation int, d time.Duration) int64 {
			before := tried[generation].Load()
			time.Sleep(d)
			synctest.Wait()
			return tried[generation].Load() - before
		}
		current.Store(2)
		if n := attempts(2, 10*time.Second); n < 3 || n > 5 { // after 1, 2, 4, 8 seconds
			t.Errorf("%d attempts in the first 10 seconds", n)
		}
		attempts(2, 3*time.Minute)
		if n := attempts(2, 2*time.Hour); n < 2*60*4/5 || n > 2*60*6/4 {
			t.Errorf("%d attempts in 2 hours, want one a minute", n)
		}
		if most := w.cache().maxBytes.Load(); most != usable(DefaultConfig().CacheBytes) {
			t.Errorf("%d bytes may be in memory between two attempts, want the whole bound", most)
		}
		current.Store(3)
		if n := attempts(3, 1500*time.Millisecond); n != 1 {
			t.Errorf("%d attempts to load another one, want one at once", n)
		}
		attempts(3, time.Hour)
		w.hearSwitch()
		if n := attempts(3, time.Millisecond); n != 1 {
			t.Errorf("%d attempts when a switch is told of, want one", n)
		}
		stores[3].intercept(nil)
		attempts(3, 3*time.Minute)
		if g := w.cache().generation; g != 3 || w.failed.generation != 0 {
			t.Errorf("generation %d is read, %d has failed", g, w.failed.generation)
		}
		stop()
		<-done
	})
}

// TestGeneration_LeavesOut shows nothing of an event that is heard of and that the
// generation leaves out, while the other one shows it; and does not turn to a generation
// of which nobody knows what it leaves out.
func TestGeneration_LeavesOut(t *testing.T) {
	f, m := startModel(t)
	m.leftOut[2] = map[string]struct{}{"left": {}}
	next := uint64(10)
	happen := func() {
		var list []events.Event
		all := projection.NewModel()
		for id, from := range map[string]string{"left": "out", "other": "cid"} {
			next++
			e := events.Event{ID: id, App: "demo", Time: ago(time.Minute), Body: c2c(from, "zoe", next, "more")}
			list = append(list, e)
			all.Fold(e)
		}
		f.worker.Apply(all, list)
	}
	shows := func(want string) {
		t.Helper()
		ids := f.list(`{"userID":"zoe"}`).ids(t)
		if slices.Sort(ids); strings.Join(ids, " ") != want {
			t.Errorf("generation %d shows %v, want %s", f.worker.cache().generation, ids, want)
		}
	}
	f.list(`{"userID":"zoe"}`)
	happen()
	shows("C2Cann C2Ccid C2Cout")
	m.unknown.Store(true)
	m.current.Store(2)
	f.said("cannot find out what the generation that is to be read leaves out; trying again")
	f.said("retry_in")
	shows("C2Cann C2Ccid C2Cout")
	g := newGate(m.stores[2])
	m.unknown.Store(false)
	<-g.came
	happen() // both hear of it
	close(g.open)
	f.reads(2)
	shows("C2Cben C2Ccid")
	happen()
	shows("C2Cben C2Ccid")
}

// TestGeneration_UnknownAtStart begins when ClickHouse is away, and asks it for nothing
// before it knows of which generation.
func TestGeneration_UnknownAtStart(t *testing.T) {
	store := some()
	var known atomic.Bool
	f := startGenerations(t, store, Generations{
		Current: func(context.Context) (int, error) {
			if !known.Load() {
				return 0, errors.New("no server")
			}
			return 1, nil
		},
		Store: func(number int) Store {
			if number == 0 {
				m := newMemory()
				m.intercept(func(_ context.Context, name string) error {
					t.Errorf("nobody knows which generation is read, and %s are asked for", name)
					return errors.New("no such generation")
				})
				return m
			}
			return store
		},
		LeftOut: nothingLeftOut,
	}, always{}, func(c *Config) { c.GenerationInterval = time.Millisecond })
	for operation, request := range map[string]string{
		"list": `{"userID":"ann"}`, "unread": `{"userID":"ann"}`, "profile": `{"userID":"ann","conversationID":"C2Cbob"}`,
	} {
		f.refuses(operation, request, "503", "the store is not available, ask again later")
	}
	known.Store(true)
	f.reads(1)
	f.list(`{"userID":"ann"}`)
}

// TestGeneration_SlowRegistry begins with a ClickHouse that takes longer to say which
// generation is read than the time between two looks.
func TestGeneration_SlowRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		w := New(cfg, &nats.Conn{}, Generations{
			Current: func(ctx context.Context) (int, error) {
				select {
				case <-time.After(2 * cfg.GenerationInterval):
					return 1, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			},
			Store:   func(int) Store { return newMemory() },
			LeftOut: nothingLeftOut,
		}, func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		w.look(t.Context())
		if g := w.cache().generation; g != 1 {
			t.Errorf("generation %d is read, want 1", g)
		}
	})
}

// TestCache_Bound holds less, and then more again.
func TestCache_Bound(t *testing.T) {
	m := chats(200)
	w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	ask := func() {
		for i := range 200 {
			q := &query{app: "demo", userID: fmt.Sprintf("user-%03d", i), begin: time.Now()}
			if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		w.cache().table.CleanUp()
	}
	ask()
	all := w.cache().table.EstimatedSize()
	half := int(w.cache().bytes()) / 2
	w.cache().bound(half)
	ask()
	if n := w.cache().table.EstimatedSize(); n >= all*3/4 || n == 0 || int(w.cache().bytes()) > half {
		t.Errorf("%d of %d inboxes are in memory under half the bound, %d bytes of %d", n, all, w.cache().bytes(), half)
	}
	w.cache().bound(DefaultConfig().CacheBytes)
	ask()
	if n := w.cache().table.EstimatedSize(); n != all {
		t.Errorf("%d of %d inboxes are in memory under the whole bound", n, all)
	}
}
