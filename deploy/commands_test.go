package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binaries is where the commands are, built as the image has them.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if binaries, err = os.MkdirTemp("", "convoview-deploy-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(binaries) }()
		dockerfile, err := os.ReadFile("Dockerfile")
		if err == nil {
			err = buildAsImage(string(dockerfile), runtime.GOARCH, binaries)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// faults are what is wrong with something, each a sentence for whoever mends it.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// expect fails unless a fault contains want; without a want there must be none.
func (f faults) expect(t *testing.T, want string) {
	t.Helper()
	if want == "" && len(f) > 0 {
		t.Errorf("%s", strings.Join(f, "\n"))
	}
	if want != "" && !slices.ContainsFunc(f, func(fault string) bool { return strings.Contains(fault, want) }) {
		t.Errorf("no fault contains %q: got %q", want, []string(f))
	}
}

// edit is a change of one place of a file, which makes it wrong. Where the place is one of
// several alike, before says what it comes after, and … between the two.
type edit struct{ file, before, after string }

func (e edit) apply(t *testing.T, content string) string {
	t.Helper()
	var start int
	before := e.before
	if marker, rest, ok := strings.Cut(e.before, "…"); ok {
		start, before = e.only(t, content, marker)+len(marker), rest
		found := strings.Index(content[start:], before)
		if found < 0 {
			t.Fatalf("%s has no %q", e.file, e.before)
		}
		start += found
	} else {
		start = e.only(t, content, before)
	}
	return content[:start] + e.after + content[start+len(before):]
}

// edited reads files, those of the edits with their mistakes.
func edited(t *testing.T, edits []edit) func(name string) string {
	return func(name string) string {
		content := readFile(t, name)
		for _, e := range edits {
			if e.file == name {
				content = e.apply(t, content)
			}
		}
		return content
	}
}

// only is where the content has a text, which it has once.
func (e edit) only(t *testing.T, content, text string) int {
	t.Helper()
	if strings.Count(content, text) != 1 {
		t.Fatalf("%s has %q %d times, want once", e.file, text, strings.Count(content, text))
	}
	return strings.Index(content, text)
}

// command is one of ours as a manifest runs it.
type command struct {
	args   []string
	env    map[string]string
	others [][]string // what is run with the same settings, too
}

func (c command) String() string { return strings.Join(c.args, " ") }

// Where services find each other: each is a list of addresses.
const (
	kafkaBrokers        = "CONVOVIEW_KAFKA_BROKERS"
	clickhouseAddresses = "CONVOVIEW_CLICKHOUSE_ADDRESSES"
	natsURL             = "CONVOVIEW_NATS_URL"
	otlpEndpoint        = "CONVOVIEW_OTLP_ENDPOINT"
	adminAddr           = "CONVOVIEW_ADMIN_ADDR"
)

// process is the command with more settings, to be started.
func (c command) process(ctx context.Context, env ...string) *exec.Cmd {
	p := exec.CommandContext(ctx, filepath.Join(binaries, c.args[0]), c.args[1:]...)
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		p.Env = append(p.Env, name+"="+c.env[name])
	}
	p.Env = append(p.Env, env...)
	return p
}

var helpSetting = regexp.MustCompile(`(?m)^ {6}(CONVOVIEW_\w+)(?:, default (.+))?$`)

// settings are all that the command has, with their values here.
func (c command) settings() (map[string]string, error) {
	all := map[string]string{}
	for _, args := range append([][]string{c.args}, c.others...) {
		out, err := command{args: append(slices.Clone(args), "--help")}.process(context.Background()).Output()
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w", c, err)
		}
		for _, m := range helpSetting.FindAllStringSubmatch(string(out), -1) {
			all[m[1]] = m[2]
		}
	}
	maps.Copy(all, c.env)
	return all, nil
}

// addresses are what the command connects to.
func (c command) addresses() ([]string, error) {
	settings, err := c.settings()
	var all []string
	for _, name := range []string{kafkaBrokers, clickhouseAddresses, natsURL, otlpEndpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if settings[name] != "" {
			for address := range strings.SplitSeq(settings[name], ",") {
				if _, rest, ok := strings.Cut(address, "://"); ok {
					address, _, _ = strings.Cut(rest, "/")
				}
				all = append(all, address)
			}
		}
	}
	return all, err
}

// goSettings are those of Go's runtime that may be set besides.
var goSettings = []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG"}

// operatorCommands are what operators run by hand.
var operatorCommands = [][]string{{"projector", "rebuild"}, {"projector", "verify", "2"}, {"projector", "verify", "2", "--sample", "1000"}, {"projector", "switch", "2"}, {"projector", "rollback"}, {"projector", "generations", "list"}}

// check holds the command's settings against what it has, and has it check their values.
func (c command) check() (f faults) {
	known, err := command{args: c.args, others: c.others}.settings()
	if err != nil {
		return faults{err.Error()}
	}
	_, traces := known[otlpEndpoint]
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		if _, ok := known[name]; !ok && !slices.Contains(goSettings, name) && (!traces || !strings.HasPrefix(name, "OTEL_")) {
			f.add("%s has no setting %s: mend its name, or remove it", c, name)
		}
	}
	for _, args := range append([][]string{c.args}, c.others...) {
		one := command{args: args, env: c.env}
		if out, err := one.process(context.Background(), "CONVOVIEW_CHECK=true").CombinedOutput(); err != nil {
			f.add("%s --check: %s", one, bytes.TrimSpace(out))
		}
	}
	return f
}

var wholeStop = regexp.MustCompile(`expected less than (\w+), the time of a whole stop`)

// stopBudget is how long the service may take to stop, by its own word.
func (c command) stopBudget() (time.Duration, error) {
	out, _ := c.process(context.Background(), "CONVOVIEW_CHECK=true", "CONVOVIEW_STOP_TIMEOUT=1h", "CONVOVIEW_DRAIN_TIMEOUT=1h").CombinedOutput()
	found := wholeStop.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("%s does not say what a stop may take: %s", c, out)
	}
	return time.ParseDuration(string(found[1]))
}

// probes are the paths that somebody asks a service at, as "GET" or by itself (ready).
type probes struct {
	alive, ready string
}

// run starts the service, with nothing to connect to, and asks it what the manifest would.
// It returns how much memory Go's collector is told to stay within.
func (c command) run(paths probes) (memory int64, f faults) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := c.process(ctx, adminAddr+"=127.0.0.1:0")
	stderr, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return 0, faults{err.Error()}
	}
	addr, rest := listens(stderr)
	if addr == "" {
		f.add("%s has no admin server: %s", c, rest)
		_ = p.Process.Kill()
		_ = p.Wait()
		return 0, f
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stderr)
	}()

	if status, _ := get(ctx, addr, paths.alive); status != http.StatusOK {
		f.add("%s answers %s with %d, and would be started again", c, paths.alive, status)
	}
	// There is nothing to connect to, so a path that says it is ready says nothing.
	if status, body := get(ctx, addr, paths.ready); status != http.StatusServiceUnavailable || !strings.Contains(body, `"ready":false`) {
		f.add("%s answers %s with %d, although it is not ready", c, paths.ready, status)
	}
	_, metrics := get(ctx, addr, "/metrics")
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "go_gc_gomemlimit_bytes "); ok {
			limit, err := strconv.ParseFloat(value, 64)
			if err != nil {
				f.add("%s", err)
			}
			memory = int64(limit)
		}
	}
	out, err := c.process(ctx, adminAddr+"="+addr, "CONVOVIEW_READY=true").Output()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), `"clickhouse"`) {
		f.add("%s --ready: %v, %s", c, err, out)
	}

	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		f.add("%s", err)
	}
	<-drained
	if err := p.Wait(); err != nil {
		f.add("%s, after SIGTERM: %v", c, err)
	}
	return memory, f
}

// listens reads a log up to where the admin server listens. Without one, all that was logged
// comes back.
func listens(log io.Reader) (addr, rest string) {
	var all strings.Builder
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "admin server listens" {
			return entry.Addr, ""
		}
		all.WriteString(line)
		if err != nil {
			return "", all.String()
		}
	}
}

func get(ctx context.Context, addr, path string) (status int, body string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = reply.Body.Close() }()
	content, err := io.ReadAll(reply.Body)
	if err != nil {
		return 0, err.Error()
	}
	return reply.StatusCode, string(content)
}

// memoryFits holds a container's memory against what Go's collector is told: there has to be
// a quarter more, for what is not its heap and until it has caught up.
func memoryFits(what string, limit, collector int64) (f faults) {
	if collector <= 0 || collector > 1<<40 {
		f.add("%s: Go's collector has no memory limit", what)
	} else if limit < collector*5/4 {
		f.add("%s may have %d MiB of memory: expected at least %d, 1.25 times what its collector stays within",
			what, limit>>20, collector*5/4>>20)
	}
	return f
}

// graceFits holds the time that a container has to stop against what its command may take.
func graceFits(what string, c command, grace time.Duration) (f faults) {
	budget, err := c.stopBudget()
	if err != nil {
		f.add("%s", err)
	} else if grace <= budget {
		f.add("%s has %v to stop: expected more than %v, what it may take", what, grace, budget)
	}
	return f
}
