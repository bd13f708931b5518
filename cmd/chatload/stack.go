package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ports are those that a stack listens on, on 127.0.0.1.
type ports struct {
	kafka, nats, clickhouse, http, projectorAdmin, queryAdmin int
}

// usualPorts are those that the servers themselves use.
var usualPorts = ports{kafka: 9092, nats: 4222, clickhouse: 9000, http: 8123, projectorAdmin: 8080, queryAdmin: 8081}

// freePorts finds ports that nobody listens on.
func freePorts(ctx context.Context) (ports, error) {
	var p ports
	for _, port := range []*int{&p.kafka, &p.nats, &p.clickhouse, &p.http, &p.projectorAdmin, &p.queryAdmin} {
		// Held until all are found, so that they differ.
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return ports{}, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (p ports) kafkaAddr() string { return local(p.kafka) }
func (p ports) natsURL() string   { return "nats://" + local(p.nats) }

// environment is what all commands of the stack need to find each other.
func (p ports) environment() []string {
	return []string{
		"CONVOVIEW_KAFKA_BROKERS=" + p.kafkaAddr(),
		"CONVOVIEW_NATS_URL=" + p.natsURL(),
		"CONVOVIEW_CLICKHOUSE_ADDRESSES=" + local(p.clickhouse),
		"CONVOVIEW_LOG_FORMAT=text",
	}
}

// The bounds of a stack's start and stop.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 50 * time.Millisecond
)

// stack is the whole system as processes of this machine: the sandbox, a
// projector and a query worker, as they are built.
type stack struct {
	dir     string // of the commands
	ports   ports
	log     io.Writer // what the processes say; one line at a time
	running []*process
}

// process is a command that runs.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // once done is closed
}

// startStack starts everything and waits until it is ready. Data are kept in
// dataDir, or nowhere when it is empty. After an error nothing runs.
func startStack(ctx context.Context, p ports, dataDir string, log io.Writer) (*stack, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &stack{dir: filepath.Dir(self), ports: p, log: &lines{w: log}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.start(ctx, dataDir); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *stack) start(ctx context.Context, dataDir string) error {
	sandbox := []string{
		"--kafka-port", strconv.Itoa(s.ports.kafka), "--nats-port", strconv.Itoa(s.ports.nats),
		"--clickhouse-port", strconv.Itoa(s.ports.clickhouse), "--http-port", strconv.Itoa(s.ports.http),
	}
	if dataDir != "" {
		sandbox = append(sandbox, "--data", dataDir)
	}
	ready := make(chan struct{})
	box, err := s.spawn("sandbox", ready, "sandbox", sandbox...)
	if err != nil {
		return err
	}
	select {
	case <-ready:
	case <-box.done:
		return fmt.Errorf("sandbox: ended before it was ready: %w", box.err)
	case <-ctx.Done():
		return fmt.Errorf("sandbox: not ready within %v", startTimeout)
	}

	migrate, err := s.spawn("migrate", nil, "projector", "migrate")
	if err != nil {
		return err
	}
	select {
	case <-migrate.done:
		if migrate.err != nil {
			return fmt.Errorf("projector migrate: %w", migrate.err)
		}
	case <-ctx.Done():
		return fmt.Errorf("projector migrate: not done within %v", startTimeout)
	}

	projectorAdmin, queryAdmin := local(s.ports.projectorAdmin), local(s.ports.queryAdmin)
	projector, err := s.spawn("projector", nil, "projector", "run", "--admin-addr", projectorAdmin)
	if err != nil {
		return err
	}
	query, err := s.spawn("query", nil, "query", "--admin-addr", queryAdmin)
	if err != nil {
		return err
	}
	return errors.Join(waitReady(ctx, projector, projectorAdmin), waitReady(ctx, query, queryAdmin))
}

// spawn starts one of our commands. ready, when not nil, is closed when it says "ready" on its standard output.
func (s *stack) spawn(name string, ready chan struct{}, command string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(s.dir, command), args...) //nolint:noctx // stopped in order, by stop
	cmd.Env = append(os.Environ(), s.ports.environment()...)
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
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	s.running = append(s.running, p)
	go func() {
		defer close(p.done)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			_, _ = fmt.Fprintf(s.log, "%-9s │ %s\n", name, scanner.Text())
			if ready != nil && strings.HasPrefix(scanner.Text(), "ready") {
				close(ready)
				ready = nil
			}
		}
		p.err = cmd.Wait()
	}()
	return p, nil
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
			return fmt.Errorf("%s: not ready within %v: %s", p.name, startTimeout, reason)
		}
	}
}

// failed gives the first process that has ended although nobody stopped it.
func (s *stack) failed() <-chan error {
	ended := make(chan error, len(s.running))
	for _, p := range s.running {
		if p.name == "migrate" {
			continue
		}
		go func() {
			<-p.done
			ended <- errors.Join(fmt.Errorf("%s: ended unasked", p.name), p.err)
		}()
	}
	return ended
}

// stop stops everything in the reverse order of its start.
func (s *stack) stop() error {
	var errs []error
	for _, p := range slices.Backward(s.running) {
		select {
		case <-p.done:
			continue
		default:
		}
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		timeout := time.NewTimer(stopTimeout)
		select {
		case <-p.done:
			if p.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p.name, p.err))
			}
		case <-timeout.C:
			_ = p.cmd.Process.Kill()
			<-p.done
			errs = append(errs, fmt.Errorf("%s: not stopped within %v, killed", p.name, stopTimeout))
		}
		timeout.Stop()
	}
	s.running = nil
	return errors.Join(errs...)
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
