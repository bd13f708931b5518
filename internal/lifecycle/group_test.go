package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal records what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) component(name string) Component {
	started := make(chan struct{})
	return Component{Name: name, Started: started, Run: func(ctx context.Context) error {
		j.add("start " + name)
		close(started)
		<-ctx.Done()
		j.add("stop " + name)
		return nil
	}}
}

func TestGroup_StopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(time.Minute, slog.New(slog.DiscardHandler), j.component("a"), j.component("b"), Closer("c", func() error {
			j.add("close c")
			return nil
		}))
		if g.Check(ctx) == nil {
			t.Error("ready before the start")
		}
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		if err := g.Check(ctx); err != nil {
			t.Errorf("not ready: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if g.Check(ctx) == nil {
			t.Error("ready after the stop")
		}
		want := []string{"start a", "start b", "close c", "stop b", "stop a"}
		if !slices.Equal(j.lines, want) {
			t.Errorf("got %q, want %q", j.lines, want)
		}
	})
}

func TestGroup_FailureStopsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		broken := errors.New("broken")
		late := Component{Name: "late", Run: func(context.Context) error { j.add("late"); return nil }}
		g := NewGroup(time.Minute, slog.New(slog.DiscardHandler), j.component("a"), Component{
			Name: "b", Started: make(chan struct{}), Run: func(context.Context) error { return broken },
		}, late)
		err := g.Run(t.Context())
		if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "b: ") {
			t.Errorf("error %v, want b's", err)
		}
		if want := []string{"start a", "stop a"}; !slices.Equal(j.lines, want) {
			t.Errorf("got %q, want %q", j.lines, want)
		}
	})
}

func TestGroup_EndedUnasked(t *testing.T) {
	err := NewGroup(time.Minute, slog.New(slog.DiscardHandler), Component{Name: "a", Run: func(context.Context) error { return nil }}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "a: ended unasked") {
		t.Errorf("error %v", err)
	}
}

func TestGroup_BudgetNamesWhoStillRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(20*time.Second, slog.New(slog.DiscardHandler),
			j.component("first"),
			Component{Name: "stuck", Run: func(context.Context) error { <-release; return nil }},
			Component{Name: "stuck as well", Run: func(context.Context) error { <-release; return nil }},
			j.component("last"))
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		cancel()
		err := <-done
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("stopping took %v of the (simulated) 20s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "stuck as well: not stopped within 20s\nstuck: not stopped within 20s") || strings.Contains(err.Error(), "last") {
			t.Errorf("error %v, want one that names the stuck components", err)
		}
		close(release)
	})
}

// TestGroup_CanceledUnaskedIsAFailure tells a component that ends by itself from one that was stopped.
func TestGroup_CanceledUnaskedIsAFailure(t *testing.T) {
	group := NewGroup(time.Second, slog.New(slog.DiscardHandler), Component{
		Name: "worker", Run: func(context.Context) error { return fmt.Errorf("read: %w", context.Canceled) },
	})
	if err := group.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "worker") {
		t.Errorf("got %v, want an error that names the worker", err)
	}
}

// TestGroup_StopsWhileOneIsAwaited has a stop come while a component, such as a connection, is
// waited for; that one says that it was cancelled, which is no failure then.
func TestGroup_StopsWhileOneIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(time.Minute, slog.New(slog.DiscardHandler), j.component("server"),
			Component{Name: "connection", Started: make(chan struct{}), Run: func(ctx context.Context) error {
				<-ctx.Done()
				j.add("cancel connection")
				return fmt.Errorf("connect: %w", ctx.Err())
			}},
			j.component("worker"))
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"start server", "cancel connection", "stop server"}; !slices.Equal(j.lines, want) {
			t.Errorf("got %q, want %q", j.lines, want)
		}
	})
}

// TestGroup_EndsWhileAnotherIsAwaited has a component end while a later one, such as a
// connection, is waited for.
func TestGroup_EndsWhileAnotherIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, fail := errors.New("broken"), make(chan struct{})
		g := NewGroup(time.Minute, slog.New(slog.DiscardHandler),
			Component{Name: "server", Run: func(context.Context) error { <-fail; return broken }},
			Component{Name: "connection", Started: make(chan struct{}), Run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			Component{Name: "worker", Run: func(context.Context) error { t.Error("started"); return nil }},
		)
		done := make(chan error, 1)
		go func() { done <- g.Run(t.Context()) }()
		synctest.Wait()
		if err := g.Check(t.Context()); err == nil || err.Error() != "connection: waiting since 2000-01-01T00:00:00Z" {
			t.Errorf("ready: %v", err)
		}
		if err := g.Alive(); err != nil {
			t.Errorf("waiting is no fault: %v", err)
		}
		close(fail)
		synctest.Wait()
		select {
		case err := <-done:
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want the server's error", err)
			}
		default:
			t.Fatal("nobody has noticed that the server has ended")
		}
		if err := g.Alive(); err == nil || err.Error() != "server: ended since 2000-01-01T00:00:00Z" {
			t.Errorf("alive: %v", err)
		}
	})
}

// TestGroup_Alive holds that a stop is no fault until its budget is over.
func TestGroup_Alive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := NewGroup(20*time.Second, slog.New(slog.DiscardHandler),
			Component{Name: "clean", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			Component{Name: "slow", Run: func(ctx context.Context) error { <-ctx.Done(); <-release; return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		time.Sleep(time.Hour)
		holds := func(when, want string) {
			t.Helper()
			synctest.Wait()
			got := ""
			if err := g.Alive(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		holds("running", "")
		cancel()
		time.Sleep(19 * time.Second)
		holds("stopping", "")
		time.Sleep(2 * time.Second)
		holds("past the budget", "slow: stopping since 2000-01-01T01:00:00Z")
		if err := <-done; err == nil {
			t.Error("a stop that was given up is no error")
		}
		close(release)
		holds("stopped", "")
	})
}
