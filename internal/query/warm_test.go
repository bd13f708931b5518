package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// chats are a number of people who have written to somebody, the later the
// greater their number.
func chats(people int) *memory {
	m := newMemory()
	for i := range people {
		m.fold(ago(time.Hour-time.Duration(i)*time.Second), c2c(fmt.Sprintf("user-%03d", i), "zoe", 1, "hello"))
	}
	return m
}

// warmed starts a worker that warms up, and gives it when it has.
func warmed(t *testing.T, m *memory, change ...func(*Config)) *fixture {
	t.Helper()
	f := startFollowing(t, m, always{}, append([]func(*Config){func(c *Config) { c.WarmUpUsers = 10 }}, change...)...)
	f.said("warm")
	return f
}

func (f *fixture) inMemory(user string) bool {
	_, ok := f.worker.cache().table.GetEntryQuietly(projection.UserKey{App: "demo", UserID: user})
	return ok
}

func TestWarmUp_TheMostRecentNeedNothing(t *testing.T) {
	f := warmed(t, chats(30), func(c *Config) { c.BatchInboxes = 4 })
	f.intercept(func(_ context.Context, name string) error { return fmt.Errorf("%s are asked for", name) })
	for i := range 30 {
		user := fmt.Sprintf("user-%03d", i)
		if is, want := f.inMemory(user), i >= 20; is != want {
			t.Errorf("%s in memory: %t, want %t", user, is, want)
		}
	}
	if code, reply := f.ask("list", `{"userID":"user-025"}`); code != "0" || !strings.Contains(reply, `"conversationID":"C2Czoe"`) {
		t.Errorf("got %s %s", code, reply)
	}
	if log := f.log.String(); !strings.Contains(log, `msg="warmed up" of=10 users=10`) {
		t.Errorf("the log says %s", log)
	}
}

func TestWarmUp_EndsWhenMemoryIsFull(t *testing.T) {
	m := chats(30)
	for i := range 30 * 60 { // some 50 KB for each
		m.fold(ago(2*time.Hour), c2c(fmt.Sprintf("user-%03d", i%30), fmt.Sprintf("friend-%04d", i), 1, "hello"))
	}
	f := warmed(t, m, func(c *Config) { c.WarmUpUsers, c.BatchInboxes, c.CacheBytes = 30, 1, 1<<20 })
	if log := f.log.String(); !strings.Contains(log, `msg="warmed up until memory was full" of=30 users=`) {
		t.Errorf("the log says %s", log)
	}
	if !f.inMemory("user-029") || f.inMemory("user-000") {
		t.Error("those in memory are not the latest")
	}
}

func TestWarmUp_EndsWhenTheStoreFails(t *testing.T) {
	for _, failing := range []string{"recent", "inboxes"} {
		m := chats(30)
		m.intercept(func(_ context.Context, name string) error {
			if name == failing {
				return errors.New("no disk")
			}
			return nil
		})
		f := warmed(t, m)
		if log := f.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "no disk") {
			t.Errorf("%s: the log says %s", failing, log)
		}
		m.intercept(nil)
		if code, _ := f.ask("list", `{"userID":"user-025"}`); code != "0" {
			t.Errorf("%s: later %s", failing, code)
		}
	}
}

// TestWarmUp_DoesNotHoldUpAStop stops a worker whose warm-up waits for the feed.
func TestWarmUp_DoesNotHoldUpAStop(t *testing.T) {
	f := startFollowing(t, chats(1), never{}, func(c *Config) { c.WarmUpUsers = 10 })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestWarmUp_GoesOnInTheGenerationThatIsRead has another generation be read while lists are
// warmed up: nothing more is loaded into the memory of the one before.
func TestWarmUp_GoesOnInTheGenerationThatIsRead(t *testing.T) {
	stores := []*memory{newMemory(), chats(3), chats(3)}
	g := newGate(stores[1])
	var current atomic.Int64
	current.Store(1)
	f := startGenerations(t, stores[1], Generations{
		Current: func(context.Context) (int, error) { return int(current.Load()), nil },
		Store:   func(number int) Store { return stores[number] },
		LeftOut: nothingLeftOut,
	}, always{}, func(c *Config) { c.WarmUpUsers, c.BatchInboxes, c.GenerationInterval = 3, 1, time.Millisecond })
	<-g.came // who is to be warmed up
	g.open <- struct{}{}
	<-g.came // the first one's list
	current.Store(2)
	f.reads(2)
	close(g.open)
	f.said(`msg="warmed up"`)
	for _, user := range []string{"user-000", "user-001"} {
		if !f.inMemory(user) {
			t.Errorf("%s is not in memory", user)
		}
	}
	if left := testutil.ToFloat64(f.worker.metrics.warmUpLeft); left != 0 {
		t.Errorf("%v users are left", left)
	}
}

// never is a feed that does not hear of everything.
type never struct{ always }

func (never) Check() error { return errors.New("nothing is heard") }

// Recent gives those who have sent a message, the latest first.
func (m *memory) Recent(ctx context.Context, most int) ([]projection.UserKey, error) {
	latest := map[projection.UserKey]events.Micros{}
	found, err := lookUp(ctx, m, "recent", []int{most}, func(int) ([]projection.UserKey, bool) {
		for k, message := range m.model.Messages {
			user := projection.UserKey{App: k.App, UserID: message.From}
			latest[user] = max(latest[user], k.Time)
		}
		users := slices.SortedFunc(maps.Keys(latest), func(a, b projection.UserKey) int { return cmp.Compare(latest[b], latest[a]) })
		return users[:min(most, len(users))], true
	})
	return found[most], err
}
