package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// engine is the ClickHouse engine of the sandbox, with our files beside its own.
type engine struct{ url string }

// startEngine starts it with an account file.
func startEngine(t *testing.T, users string) engine {
	t.Helper()
	data := t.TempDir()
	for name, content := range map[string]string{"config.d": readFile(t, "clickhouse/config.xml"), "users.d": users} {
		dir := filepath.Join(data, "clickhouse", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "convoview.xml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binaries, "./cmd/sandbox")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the sandbox: %v\n%s", err, out)
	}
	sandbox := exec.Command(filepath.Join(binaries, "sandbox"), "--data", data, "--kafka-port", "0", "--nats-port", "0", "--clickhouse-port", "0", "--http-port", "0")
	sandbox.Dir = ".." // where the engine is found
	var log bytes.Buffer
	sandbox.Stderr = &log
	sandbox.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	sandbox.Env = os.Environ()
	for _, role := range []string{"projector", "query", "operator", "analyst"} {
		sandbox.Env = append(sandbox.Env, passwordOf(role)+"="+role+"-secret")
	}
	stdout, err := sandbox.StdoutPipe()
	if err == nil {
		err = sandbox.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var e engine
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "HTTP "); ok {
			e.url = strings.TrimSpace(url)
		}
		if lines.Text() == "ready" {
			t.Cleanup(func() {
				_ = sandbox.Process.Signal(syscall.SIGTERM)
				if err := sandbox.Wait(); err != nil {
					t.Errorf("the sandbox: %v", err)
				}
			})
			return e
		}
	}
	_ = sandbox.Wait() // which has written all of the log then
	t.Fatalf("the sandbox does not start: %s", log.Bytes()[max(0, log.Len()-4096):])
	return e
}

// ask gives the lines of an answer.
func (e engine) ask(ctx context.Context, query string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", query, body)
	}
	return strings.Split(strings.TrimSpace(string(body)), "\n"), err
}

// rights are the single rights of grants, such as "SELECT ON db.*".
func rights(grants []string) (all []string) {
	for _, grant := range grants {
		grant, _, _ = strings.Cut(strings.TrimPrefix(strings.ReplaceAll(grant, "`", ""), "GRANT "), " TO ")
		var names []string
		for part := range strings.SplitSeq(grant, ", ") {
			name, object, ok := strings.Cut(part, " ON ")
			names = append(names, name)
			if !ok {
				continue
			}
			for _, name := range names {
				all = append(all, name+" ON "+object)
			}
			names = nil
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestEngine holds that ClickHouse takes the files as they are meant.
func TestEngine(t *testing.T) {
	e := startEngine(t, readFile(t, "clickhouse/users.xml"))
	ask := func(query string) []string {
		t.Helper()
		lines, err := e.ask(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	want, err := grants()
	if err != nil {
		t.Fatal(err)
	}
	for role, granted := range want {
		if got, want := rights(ask("SHOW GRANTS FOR "+role)), rights(granted); !slices.Equal(got, want) {
			t.Errorf("the role %s may %q, want %q", role, got, want)
		}
		account := "convoview_" + role
		if got, want := ask("SHOW GRANTS FOR "+account), []string{"GRANT " + role + " TO " + account}; !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", account, got, want)
		}
	}
	checkLogs(t.Context(), e, readFile(t, "clickhouse/config.xml")).expect(t, "")
	for _, c := range []struct{ before, after, want string }{
		{`<query_log replace="1"><ttl>event_time + INTERVAL 12 HOUR DELETE</ttl></query_log>`, "", "query_log has no TTL"},
		{`<text_log replace="1"><ttl>event_time + INTERVAL 12 HOUR`, `<text_log replace="1"><ttl>event_date + INTERVAL 1 DAY`, "text_log keeps rows for 86400 s"},
		{`<text_log replace="1"><ttl>event_time + INTERVAL 12 HOUR`, `<text_log replace="1"><ttl>event_time + INTERVAL 12 HOURS OLD`, "text_log"},
		{`<text_log replace="1">`, "<text_log>", "text_log adds to what others say of it"},
		{"<ttl>event_time + INTERVAL 12 HOUR DELETE</ttl></text_log>", "<engine>ENGINE = Memory</engine><ttl>event_time + INTERVAL 12 HOUR DELETE</ttl></text_log>", "text_log has a TTL beside its engine"},
		{"PARTITION BY toYYYYMM(finish_date) ", "PARTITION BY event_date ", "opentelemetry_span_log"},
	} {
		checkLogs(t.Context(), e, edit{"clickhouse/config.xml", c.before, c.after}.apply(t, readFile(t, "clickhouse/config.xml"))).expect(t, c.want)
	}
}

// queryLogs are ClickHouse's own tables that may have the text of queries, whole or in errors.
var queryLogs = []string{"query_log", "query_thread_log", "query_views_log", "processors_profile_log", "asynchronous_insert_log", "text_log", "error_log", "crash_log", "opentelemetry_span_log"}

// checkLogs holds that what ClickHouse says of its queries is gone within a day, of which
// merges may take four hours (merge_with_ttl_timeout).
func checkLogs(ctx context.Context, e engine, settings string) (f faults) {
	var file element
	if err := xml.Unmarshal([]byte(settings), &file); err != nil {
		return faults{err.Error()}
	}
	for _, log := range queryLogs {
		for _, said := range file.all(log) {
			if said.attribute("replace") != "1" {
				f.add("%s adds to what others say of it, which may be an engine that has a TTL of its own", log)
			}
			if len(said.all("engine")) > 0 && len(said.all("ttl")) > 0 {
				f.add("%s has a TTL beside its engine", log)
			}
		}
		ttl := strings.Join(file.texts(log, "ttl"), "")
		for _, clause := range file.texts(log, "engine") {
			if _, err := e.ask(ctx, "CREATE TABLE default."+log+" (finish_date Date, finish_time_us UInt64) "+clause); err != nil {
				f.add("%s", err)
			} else if _, err := e.ask(ctx, "DROP TABLE default."+log); err != nil {
				f.add("%s", err)
			}
			_, ttl, _ = strings.Cut(clause, "TTL ")
		}
		if ttl == "" {
			f.add("%s has no TTL", log)
			continue
		}
		kept, err := e.ask(ctx, "SELECT max(dateDiff('second', event_time, toDateTime("+strings.TrimSuffix(ttl, " DELETE")+"))) FROM ("+
			"SELECT toDateTime('2026-11-28 00:00:00') + number * 3600 AS event_time, toDate(event_time) AS event_date, "+
			"toUInt64(toUnixTimestamp(event_time)) * 1000000 AS finish_time_us FROM numbers(24))")
		if err != nil {
			f.add("%s: %s", log, err)
		} else if seconds, err := strconv.Atoi(kept[0]); err != nil || seconds > 20*3600 {
			f.add("%s keeps rows for %s s: expected at most 20 hours", log, kept[0])
		}
	}
	return f
}
