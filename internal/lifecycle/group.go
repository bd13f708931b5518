package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Component is one running part of a command.
type Component struct {
	// Name is what logs and errors call it.
	Name string
	// Run works until ctx is cancelled, cleans up within the command's budget
	// and returns nil; or it returns an error, which stops the command.
	Run func(ctx context.Context) error
	// Started, when not nil, is closed once those that start after it may rely on it.
	Started <-chan struct{}
}

// Closer is a component that does nothing but close a resource at its turn.
func Closer(name string, closing func() error) Component {
	return Component{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		return closing()
	}}
}

// Group runs components.
type Group struct {
	budget     time.Duration
	logger     *slog.Logger
	components []Component

	mu    sync.Mutex
	parts []part // the components, in their order
}

// part is what becomes of a component.
type part struct {
	state   state
	since   time.Time
	unasked bool // it has ended although nobody has told it to stop
}

// state is how far a component is.
type state string

const (
	waiting  state = "waiting" // until those before it have started, or until it has
	running  state = "running"
	stopping state = "stopping"
	ended    state = "ended"
)

// NewGroup makes a group of components in the order of their start. The budget
// is the time that all of them together have to stop.
func NewGroup(budget time.Duration, logger *slog.Logger, components ...Component) *Group {
	g := &Group{budget: budget, logger: logger, components: components, parts: make([]part, len(components))}
	for i := range components {
		g.set(i, waiting)
	}
	return g
}

// set notes that a component has come to a state. One that has ended stays so.
func (g *Group) set(i int, to state) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := &g.parts[i]; p.state != ended {
		*p = part{state: to, since: time.Now(), unasked: to == ended && p.state != stopping}
	}
}

// Check is a readiness check: nil while every component runs, else it names the first that
// does not.
func (g *Group) Check(context.Context) error {
	return g.first(func(p part) bool { return p.state != running })
}

// Alive is a liveness check: it names a component that has ended unasked, or that has not
// stopped within the budget, after either of which the process is to be gone.
func (g *Group) Alive() error {
	return g.first(func(p part) bool {
		return p.unasked || p.state == stopping && time.Since(p.since) > g.budget
	})
}

// first names the first component of a kind.
func (g *Group) first(is func(part) bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, p := range g.parts {
		if is(p) {
			return fmt.Errorf("%s: %s since %s", g.components[i].Name, p.state, p.since.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// member is a component that was started.
type member struct {
	*Component
	place  int
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// Run starts the components in order, each when the one before has started,
// and waits until ctx is cancelled or one of them returns. Then it stops them
// in reverse order, each when the one after has stopped. When the budget is
// used up it stops waiting and names those that still run. It returns the
// errors of all of them.
func (g *Group) Run(ctx context.Context) error {
	var all []*member
	over := make(chan *member, len(g.components))
	var first *member // that has ended, of those that were started
	for i := range g.components {
		c := &g.components[i]
		// A component is told to stop at its turn, not when ctx ends.
		componentCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		r := &member{Component: c, place: i, cancel: cancel, done: make(chan struct{})}
		all = append(all, r)
		g.logger.Debug("component starts", "component", c.Name)
		go func() {
			defer func() { over <- r }()
			defer close(r.done)
			r.err = c.Run(componentCtx)
			g.set(i, ended)
		}()
		if c.Started != nil {
			select {
			case <-c.Started:
			case first = <-over: // it, or one that was started before
			case <-ctx.Done():
			}
		}
		if first != nil || ctx.Err() != nil {
			break
		}
		g.set(i, running)
	}

	if first == nil {
		select {
		case <-ctx.Done():
		case first = <-over:
		}
	}
	var cause error
	if first == nil {
		g.logger.Info("stopping", "cause", context.Cause(ctx), "budget", g.budget)
	} else {
		// Nobody has cancelled it yet, so stop would take that error for a clean end.
		if first.err == nil || errors.Is(first.err, context.Canceled) {
			cause = fmt.Errorf("%s: ended unasked", first.Name)
		}
		g.logger.Error("stopping: a component ended", "component", first.Name, "error", first.err, "budget", g.budget)
	}
	return errors.Join(append([]error{cause}, g.stop(all)...)...)
}

func (g *Group) stop(all []*member) []error {
	var errs []error
	budget := time.NewTimer(g.budget)
	defer budget.Stop()
	for _, r := range slices.Backward(all) {
		g.set(r.place, stopping)
		r.cancel()
		select {
		case <-r.done:
		case <-budget.C:
			budget.Reset(0) // for those that come before
			select {
			case <-r.done:
			default:
				errs = append(errs, fmt.Errorf("%s: not stopped within %v", r.Name, g.budget))
				continue
			}
		}
		g.logger.Debug("component stopped", "component", r.Name)
		if r.err != nil && !errors.Is(r.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, r.err))
		}
	}
	return errs
}
