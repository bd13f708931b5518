package apachekafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// tailSize is how much of a log an error shows.
const tailSize = 4096

// broker is one process of Apache Kafka.
type broker struct {
	id                        int
	dir                       string
	addr, controller, secured string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

func (b *broker) data() string     { return filepath.Join(b.dir, "data") }
func (b *broker) settings() string { return filepath.Join(b.dir, "server.properties") }
func (b *broker) logging() string  { return filepath.Join(b.dir, "log4j2.properties") }
func (b *broker) log() string      { return filepath.Join(b.dir, "log.txt") }

// spawn starts the process. What it says is added to its log.
func (b *broker) spawn(cmd *exec.Cmd) error {
	if b.running() {
		return fmt.Errorf("broker %d runs already", b.id)
	}
	log, err := os.OpenFile(b.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of broker %d: %w", b.id, err)
	}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, childAttributes()
	started, done := make(chan error), make(chan struct{})
	go func() {
		defer func() { _ = log.Close() }()
		// Linux ends a child with the thread that has started it, which this keeps alive.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		b.cmd, b.done = cmd, done
		started <- nil
		_ = cmd.Wait()
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	return nil
}

func (b *broker) running() bool {
	if b.done == nil {
		return false
	}
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

// awaitKnown waits until the broker knows that brokers are there.
func (b *broker) awaitKnown(ctx context.Context, ids []int) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		found, err := known(ctx, b.addr)
		if err == nil && !slices.ContainsFunc(ids, func(id int) bool { return !slices.Contains(found, id) }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-b.done:
			return fmt.Errorf("broker %d ended (%s); the end of its log:\n%s", b.id, b.cmd.ProcessState, b.logTail())
		case <-ctx.Done():
			return fmt.Errorf("broker %d knows %v, expected %v: %w; the end of its log:\n%s", b.id, found, ids, errors.Join(context.Cause(ctx), err), b.logTail())
		}
	}
}

func (b *broker) logTail() []byte {
	text, err := os.ReadFile(b.log())
	if err != nil {
		return []byte(err.Error())
	}
	return tail(text)
}

func tail(text []byte) []byte { return bytes.TrimSpace(text[max(0, len(text)-tailSize):]) }

// ask asks the process to end.
func (b *broker) ask() {
	if b.running() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// stop asks the process to end and waits until it has.
func (b *broker) stop() error {
	if !b.running() {
		return fmt.Errorf("stop broker %d: it does not run", b.id)
	}
	b.ask()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-b.done:
		return nil
	case <-timeout.C:
		b.kill()
		return fmt.Errorf("stop broker %d: still there after %v, killed; the end of its log:\n%s", b.id, stopTimeout, b.logTail())
	}
}

// kill ends the process at once, if it runs.
func (b *broker) kill() {
	if b.running() {
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}
