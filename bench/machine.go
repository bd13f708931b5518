package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine describes what the figures were found on.
func machine(ctx context.Context) string {
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("an unknown commit")
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores, %s of memory, Linux %s, %s, commit %s",
		procField("/proc/cpuinfo", "model name"), runtime.NumCPU(), procField("/proc/meminfo", "MemTotal"),
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSpace(string(commit)))
}

// procField is the first value of a name in a file of lines "name : value".
func procField(file, name string) string {
	data, _ := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

// cpuTime is how long the threads of a process have run. It is finer than the
// process's own metric, which counts in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("there are no threads of process %d to be found", pid)
	}
	var sum time.Duration
	for _, file := range threads {
		var ran, waited, slices int64
		data, err := os.ReadFile(file)
		if err == nil {
			_, err = fmt.Sscan(string(data), &ran, &waited, &slices)
		}
		if err != nil {
			return 0, fmt.Errorf("read how long a thread has run: %w", err)
		}
		sum += time.Duration(ran)
	}
	return sum, nil
}

// metrics are the values of a process, by name and labels as they are exposed.
type metrics map[string]float64

// of gives a value that must be there.
func (m metrics) of(name string) (float64, error) {
	value, ok := m[name]
	if !ok {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return value, nil
}

// queryMetrics reads those of the query worker.
func (b *bench) queryMetrics(ctx context.Context) (metrics, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.stack.Ports.QueryAdminAddr()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the query worker's metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	m := metrics{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		name, value, ok := cutLast(scanner.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if m[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	return m, scanner.Err()
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// queryMetric reads one of the query worker's.
func (b *bench) queryMetric(ctx context.Context, name string) (float64, error) {
	m, err := b.queryMetrics(ctx)
	if err != nil {
		return 0, err
	}
	return m.of(name)
}
