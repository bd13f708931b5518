package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	state error // why the group is not ready; nil while everything runs
}

// NewGroup makes a group of components in the order of their start. The budget
// is the time that all of them together have to stop.
func NewGroup(budget time.Duration, logger *slog.Logger, components ...Component) *Group {
	return &Group{budget: budget, logger: logger, components: components, state: errors.New("not started")}
}

// Check is a readiness check: nil while every component has started and none stops.
func (g *Group) Check(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

func (g *Group) setState(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = err
}

type running struct {
	name   string
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
	var started []*running
	ended := make(chan *running, len(g.components))
	for _, c := range g.components {
		// A component is told to stop at its turn, not when ctx ends.
		componentCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		r := &running{name: c.Name, cancel: cancel, done: make(chan struct{})}
		started = append(started, r)
		g.setState(fmt.Errorf("starting %s", c.Name))
		g.logger.Debug("component starts", "component", c.Name)
		go func() {
			defer func() { ended <- r }()
			defer close(r.done)
			r.err = c.Run(componentCtx)
		}()
		if c.Started == nil {
			continue
		}
		select {
		case <-c.Started:
			continue
		case <-r.done:
		case <-ctx.Done():
		}
		break
	}
	if len(started) == len(g.components) && ctx.Err() == nil {
		g.setState(nil)
	}

	var cause error
	select {
	case <-ctx.Done():
		g.logger.Info("stopping", "cause", context.Cause(ctx), "budget", g.budget)
	case r := <-ended:
		// Nobody has cancelled it yet, so stop would take that error for a clean end.
		if r.err == nil || errors.Is(r.err, context.Canceled) {
			cause = fmt.Errorf("%s: ended unasked", r.name)
		}
		g.logger.Error("stopping: a component ended", "component", r.name, "error", r.err, "budget", g.budget)
	}
	g.setState(errors.New("stopping"))
	return errors.Join(append([]error{cause}, g.stop(started)...)...)
}

func (g *Group) stop(started []*running) []error {
	var errs []error
	budget := time.NewTimer(g.budget)
	defer budget.Stop()
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.cancel()
		select {
		case <-r.done:
		case <-budget.C:
			budget.Reset(0) // for those that come before
			select {
			case <-r.done:
			default:
				errs = append(errs, fmt.Errorf("%s: not stopped within %v", r.name, g.budget))
				continue
			}
		}
		g.logger.Debug("component stopped", "component", r.name)
		if r.err != nil && !errors.Is(r.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
		}
	}
	return errs
}
