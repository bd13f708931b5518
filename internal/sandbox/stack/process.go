package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 30 * time.Second

// process is a command that runs.
type process struct {
	name  string
	cmd   *exec.Cmd
	ready chan struct{} // closed when it says "ready" on its standard output
	done  chan struct{} // closed when it has ended, with err
	err   error
	asked atomic.Bool // to end
}

// spawn starts a command that is part of the stack until Stop.
func (s *Stack) spawn(name, path string, args ...string) (*process, error) {
	cmd := exec.Command(path, args...) //nolint:noctx // stopped in order, by Stop
	cmd.Env = append(os.Environ(), s.Ports.environment()...)
	// A Ctrl-C is for us alone: we stop the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &prefixed{name: name, w: s.log}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build)", name, err)
	}
	p := &process{name: name, cmd: cmd, ready: make(chan struct{}), done: make(chan struct{})}
	s.running = append(s.running, p)
	go func() {
		defer close(p.done)
		said := false
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			_, _ = fmt.Fprintf(s.log, "%-9s │ %s\n", name, scanner.Text())
			if !said && strings.HasPrefix(scanner.Text(), "ready") {
				said = true
				close(p.ready)
			}
		}
		p.err = cmd.Wait()
		if !p.asked.Load() {
			select {
			case s.failed <- errors.Join(fmt.Errorf("%s: ended unasked", name), p.err):
			default: // somebody was first
			}
		}
	}()
	return p, nil
}

// saysReady waits until p says that it is ready.
func (p *process) saysReady(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("%s: ended before it was ready: %w", p.name, p.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: not ready: %w", p.name, context.Cause(ctx))
	}
}

// stop ends a process, if it still runs.
func (p *process) stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.asked.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.name, p.err)
		}
		return nil
	case <-timeout.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s: not stopped within %v, killed", p.name, stopTimeout)
	}
}

// lines is a writer that several processes share.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// prefixed puts a name before each line.
type prefixed struct {
	name string
	w    io.Writer
	rest []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		i := slices.Index(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if _, err := fmt.Fprintf(p.w, "%-9s │ %s\n", p.name, p.rest[:i]); err != nil {
			return 0, err
		}
		p.rest = p.rest[i+1:]
	}
}
