package grafana_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// root is the repository.
const root = "../.."

// interval is the time between two scrapes, as they are stored: nobody waits for it.
const interval = 15 * time.Second

// system is the built commands, as they run on this machine.
type system struct {
	t        *testing.T
	dir      string // of the commands
	env      []string
	metrics  *storage
	clock    time.Time
	begin    time.Time
	targets  map[string]string // job to address
	projects *exec.Cmd
}

// start builds and starts everything.
func start(t *testing.T) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), metrics: newStorage(t), targets: map[string]string{}}
	s.clock = time.Now().Add(-time.Hour).Truncate(interval) // so that none of it is in the future
	s.begin = s.clock
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.dir+"/", "./cmd/projector", "./cmd/query", "./cmd/sandbox", "./cmd/chatload")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ports := freePorts(t, 7)
	s.env = append(os.Environ(),
		"CONVOVIEW_KAFKA_BROKERS="+ports[0], "CONVOVIEW_NATS_URL=nats://"+ports[1], "CONVOVIEW_CLICKHOUSE_ADDRESSES="+ports[2],
		"CONVOVIEW_KAFKA_SESSION_TIMEOUT=1s", "CONVOVIEW_KAFKA_HEARTBEAT_INTERVAL=100ms", "CONVOVIEW_OBSERVE_INTERVAL=100ms",
	)
	s.targets["projector"], s.targets["query"], s.targets["rebuild"] = ports[4], ports[5], ports[6]
	s.await(s.spawn("sandbox", "--kafka-port", port(ports[0]), "--nats-port", port(ports[1]), "--clickhouse-port", port(ports[2]), "--http-port", port(ports[3])))
	s.run("projector", "migrate")
	s.project()
	s.spawn("query", "--admin-addr", s.targets["query"])
	s.ready("query")
	return s
}

// project starts the projector.
func (s *system) project() {
	s.t.Helper()
	s.projects, _ = s.spawn("projector", "run", "--admin-addr", s.targets["projector"])
	s.ready("projector")
}

// spawn starts a command that is stopped with the test.
func (s *system) spawn(name string, args ...string) (*exec.Cmd, io.Reader) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.dir, name), args...)
	cmd.Env, cmd.Dir = s.env, root // where the engine is found
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = s.t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return cmd, out
}

// await waits until a command says that it is ready.
func (s *system) await(_ *exec.Cmd, out io.Reader) {
	s.t.Helper()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "ready") {
			return
		}
	}
	s.t.Fatal("the sandbox ended before it was ready")
}

// run runs a command to its end.
func (s *system) run(name string, args ...string) {
	s.t.Helper()
	if out, err := s.try(name, nil, args...); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (s *system) try(name string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.dir, name), args...)
	cmd.Env, cmd.Dir, cmd.Stdin = s.env, root, stdin
	return cmd.CombinedOutput()
}

// ready waits until a process says that it is.
func (s *system) ready(job string) {
	s.t.Helper()
	for {
		if code, _, err := get(s.t.Context(), s.targets[job], "/readyz"); err == nil && code == http.StatusOK {
			return
		}
		if s.t.Context().Err() != nil {
			s.t.Fatal(s.t.Context().Err())
		}
	}
}

// scrape takes the metrics of all that run, at the next of the times.
func (s *system) scrape() {
	s.t.Helper()
	s.clock = s.clock.Add(interval)
	for job, address := range s.targets {
		if code, body, err := get(s.t.Context(), address, "/metrics"); err == nil && code == http.StatusOK {
			s.metrics.scraped(s.t, body, job, address, s.clock)
		}
	}
}

// value gives the sum of the series of a metric that a process exports, now.
func (s *system) value(job, name string) (sum float64) {
	s.t.Helper()
	_, body, err := get(s.t.Context(), s.targets[job], "/metrics")
	if err != nil {
		return 0 // it does not answer yet, or not any more
	}
	for line := range strings.Lines(string(body)) {
		series, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if of, _, _ := strings.Cut(series, "{"); of == name {
			var value float64
			if _, err := fmt.Sscan(number[strings.LastIndexByte(number, ' ')+1:], &value); err != nil {
				s.t.Fatal(err)
			}
			sum += value
		}
	}
	return sum
}

// until waits until something holds.
func (s *system) until(what string, holds func() bool) {
	s.t.Helper()
	for !holds() {
		if s.t.Context().Err() != nil {
			s.t.Fatalf("%s: %v", what, s.t.Context().Err())
		}
	}
}

// load has all happen that the dashboards show: a chat, dead letters, requests that are
// answered from memory, that have to load and that are refused, a projector that is
// killed, a rebuild; and scrapes meanwhile.
func (s *system) load() {
	s.t.Helper()
	const events = 2000
	ask := func() {
		for range 2 {
			s.run("chatload", "list", "ava_walsh", "--json")
		}
		s.run("chatload", "unread", "ava_walsh")
		for _, request := range []string{`{"userID":"ava_walsh","conversationID":"C2Cnobody"}`, `{}`} {
			if _, err := s.try("chatload", nil, "profile", "--json", "--request", request); err != nil {
				s.t.Logf("profile %s: %v", request, err) // it is refused, as it is to be
			}
		}
	}
	chat := func(seed int) {
		before := s.value("projector", "convoview_ingest_records_total")
		s.run("chatload", "generate", "--events", fmt.Sprint(events), "--seed", fmt.Sprint(seed))
		bad := `{"topic":"chat.messages","key":"k","event":{"id":"bad"}}` + "\n"
		if out, err := s.try("chatload", strings.NewReader(bad), "import", "-"); err != nil {
			s.t.Fatalf("import: %v\n%s", err, out)
		}
		s.until("the chat is written", func() bool {
			return s.value("projector", "convoview_ingest_records_total") > before && s.value("projector", "convoview_ingest_lag_records") == 0
		})
		heard := s.value("query", "convoview_feed_events_total")
		s.until("the chat is heard of", func() bool { return heard > 0 || s.value("query", "convoview_feed_events_total") > 0 })
	}

	s.scrape()
	for round := range 4 {
		chat(round)
		ask()
		s.scrape()
	}
	// A projector is killed, and comes back.
	if err := s.projects.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_, _ = s.projects.Process.Wait()
	s.scrape()
	s.project()
	for round := range 4 {
		chat(10 + round)
		ask()
		s.scrape()
	}
	// A rebuild, as slow as it takes to look at it.
	rebuild, _ := s.spawn("projector", "rebuild", "--admin-addr", s.targets["rebuild"], "--max-rate", "2000")
	s.until("the rebuild is under way", func() bool { return s.value("rebuild", "convoview_rebuild_done_offsets") > 0 })
	s.scrape()
	s.scrape() // a rate is between two
	if err := rebuild.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_, _ = rebuild.Process.Wait()
	ask()
	s.scrape()
}

func get(ctx context.Context, address, path string) (code int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	var all bytes.Buffer
	_, err = io.Copy(&all, response.Body)
	return response.StatusCode, all.Bytes(), errors.Join(err, response.Body.Close())
}

func freePorts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		// Held until all are found, so that they differ.
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
