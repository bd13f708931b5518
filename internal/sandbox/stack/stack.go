package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// The bounds of a start.
const (
	startTimeout = 60 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Niceness is the projector's nice value, and that of its inserts: on one machine, whoever
// asks comes first.
const Niceness = 10

// Config describes a stack.
type Config struct {
	Ports Ports
	// Commands is the directory of the built commands.
	Commands string
	// DataDir keeps the data; when it is empty they are gone at the end.
	DataDir string
	// Log takes what the processes say, whole lines at a time.
	Log io.Writer
}

// Stack is the system as it runs. Its methods are for one goroutine.
type Stack struct {
	Ports Ports

	commands string
	log      io.Writer
	running  []*process // in the order of their start
	failed   chan error
}

// Start starts everything and waits until it is ready. After an error nothing runs.
func Start(ctx context.Context, c Config) (*Stack, error) {
	s := &Stack{Ports: c.Ports, commands: c.Commands, log: &lines{w: c.Log}, failed: make(chan error, 1)}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	if err := s.start(ctx, c.DataDir); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, dataDir string) error {
	sandbox := []string{
		"--kafka-port", strconv.Itoa(s.Ports.Kafka), "--nats-port", strconv.Itoa(s.Ports.NATS),
		"--clickhouse-port", strconv.Itoa(s.Ports.ClickHouse), "--http-port", strconv.Itoa(s.Ports.HTTP),
	}
	if dataDir != "" {
		sandbox = append(sandbox, "--data", dataDir)
	}
	if err := s.Add(ctx, sandboxName, s.command("sandbox"), sandbox...); err != nil {
		return err
	}
	migrate, err := s.spawn("migrate", s.command("projector"), "migrate")
	if err != nil {
		return err
	}
	migrate.asked.Store(true) // it ends by itself
	select {
	case <-migrate.done:
		if migrate.err != nil {
			return fmt.Errorf("projector migrate: %w", migrate.err)
		}
	case <-ctx.Done():
		return fmt.Errorf("projector migrate: not done: %w", context.Cause(ctx))
	}
	projector, err := s.spawnProjector(Niceness)
	if err != nil {
		return err
	}
	query, err := s.spawnQuery()
	if err != nil {
		return err
	}
	return errors.Join(waitReady(ctx, projector, s.Ports.ProjectorAdminAddr()), waitReady(ctx, query, s.Ports.QueryAdminAddr()))
}

// Add starts another process beside the others and waits until it says "ready"
// on its standard output.
func (s *Stack) Add(ctx context.Context, name, path string, args ...string) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	p, err := s.spawn(name, path, args...)
	if err != nil {
		return err
	}
	return p.saysReady(ctx)
}

// Command is a command that finds the stack. It is asked to stop when ctx ends.
func (s *Stack) Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), s.Ports.environment()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	return cmd
}

// StopQuery stops the query worker, if there is one.
func (s *Stack) StopQuery() error { return s.stop(queryName) }

// stop stops a process, if it runs.
func (s *Stack) stop(name string) error {
	at := s.place(name)
	if at < 0 {
		return nil
	}
	stopped := s.running[at]
	s.running = slices.Delete(s.running, at, at+1)
	return stopped.stop()
}

// RestartQuery stops the query worker, starts one with these flags, and waits
// until it is ready.
func (s *Stack) RestartQuery(ctx context.Context, flags ...string) error {
	if err := s.StopQuery(); err != nil {
		return err
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	query, err := s.spawnQuery(flags...)
	if err != nil {
		return err
	}
	return waitReady(ctx, query, s.Ports.QueryAdminAddr())
}

// RestartProjector stops the projector, starts one of that nice value, and waits until it
// is ready.
func (s *Stack) RestartProjector(ctx context.Context, nice int) error {
	if err := s.stop(projectorName); err != nil {
		return err
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	projector, err := s.spawnProjector(nice)
	if err != nil {
		return err
	}
	return waitReady(ctx, projector, s.Ports.ProjectorAdminAddr())
}

// QueryPID is the ID of the query worker's process.
func (s *Stack) QueryPID() int { return s.pid(queryName) }

// SandboxPID is the ID of the sandbox's process.
func (s *Stack) SandboxPID() int { return s.pid(sandboxName) }

const (
	sandboxName   = "sandbox"
	projectorName = "projector"
	queryName     = "query"
)

func (s *Stack) pid(name string) int { return s.running[s.place(name)].cmd.Process.Pid }

// place is where a process is among those that run; -1: it does not.
func (s *Stack) place(name string) int {
	return slices.IndexFunc(s.running, func(p *process) bool { return p.name == name })
}

func (s *Stack) spawnProjector(nice int) (*process, error) {
	n := strconv.Itoa(nice)
	return s.spawn(projectorName, "nice", "-n", n, s.command("projector"), "run", "--admin-addr", s.Ports.ProjectorAdminAddr(), "--clickhouse-nice", n)
}

func (s *Stack) spawnQuery(flags ...string) (*process, error) {
	return s.spawn(queryName, s.command("query"), append([]string{"--admin-addr", s.Ports.QueryAdminAddr()}, flags...)...)
}

func (s *Stack) command(name string) string { return filepath.Join(s.commands, name) }

func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%v have passed", startTimeout))
}

// waitReady asks the process's admin server until it says that all is ready.
func waitReady(ctx context.Context, p *process, admin string) error {
	var reason string
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			reason = string(body)
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s: ended before it was ready: %w", p.name, p.err)
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready: %w: %s", p.name, context.Cause(ctx), reason)
		}
	}
}

// Failed gives the first process that has ended although nobody stopped it.
func (s *Stack) Failed() <-chan error { return s.failed }

// Stop stops everything in the reverse order of its start.
func (s *Stack) Stop() error {
	var errs []error
	for _, p := range slices.Backward(s.running) {
		errs = append(errs, p.stop())
	}
	s.running = nil
	return errors.Join(errs...)
}
