package security

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSecrets holds that no password is in anything that the commands say: in logs and
// errors, whether all goes well or nothing does, in --help, in metrics, and in what the
// admin server tells. They come from files, from the environment and from flags.
func TestSecrets(t *testing.T) {
	w := newWorld(t)
	w.migrate()

	// 1 all goes well, with passwords from files
	projector, worker := w.project(), w.serve()
	w.awaitShown("demo", w.send("demo"))
	for _, p := range []*process{projector, worker} {
		at := p.await(t, `"admin server listens".*"addr":"([^"]+)"`, 1)[1]
		for _, path := range []string{"/metrics", "/readyz", "/healthz", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1"} {
			w.get("http://" + at + path)
		}
	}
	projector.stop()
	worker.stop()

	// 2 nothing does, with passwords from everywhere
	inEnv := func(env map[string]string) map[string]string {
		for name, value := range env {
			if strings.HasSuffix(name, "_PASSWORD_FILE") {
				delete(env, name)
				env[strings.TrimSuffix(name, "_FILE")] = w.another(value)
			}
		}
		return env
	}
	for _, command := range [][]string{
		{"projector", "run"}, {"query"},
	} {
		env := inEnv(w.settings("query", "query"))
		delete(env, "CLICKHOUSE_PASSWORD")
		p := w.start(env, append(command, "--clickhouse-password", w.another("flag"))...)
		at := p.await(t, `"admin server listens".*"addr":"([^"]+)"`, 1)[1]
		p.await(t, "nats not connected", 1)
		if command[0] == "projector" {
			p.await(t, "waiting for Kafka", 2)
		}
		for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/cmdline"} {
			w.get("http://" + at + path)
		}
		p.stop()
	}
	for _, command := range [][]string{
		{"projector", "migrate"},
		{"projector", "rebuild"},
		{"projector", "verify", "1"},
		{"projector", "switch", "1"},
		{"projector", "rollback"},
		{"projector", "generations", "list"},
		{"projector", "generations", "drop", "1"},
		{"projector", "dead", "list", "--stall-timeout", "1s"},
		{"projector", "dead", "redrive", "--stall-timeout", "1s"},
		{"chatload", "list", "ann"},
	} {
		if said, err := w.run(inEnv(w.settings("query", "demo")), command...); err == nil {
			t.Errorf("%s has succeeded: %s", strings.Join(command, " "), said)
		}
		help, err := w.run(inEnv(w.settings("query", "demo")), append(command, "--help")...)
		if err != nil || !strings.Contains(help, "Usage: ") {
			t.Errorf("%s --help: %v: %s", strings.Join(command, " "), err, help)
		}
	}
	for _, args := range [][]string{
		{"query", "--clickhouse-password", w.another(""), "--nats-url", "nats://ann:" + w.another("") + "@127.0.0.1:1", "--cache-bytes", "no"},
		{"query", "--check", "--nats-url", "nats://ann:" + w.another("") + "%zz@127.0.0.1:1"},
		{"query", "--check", "--nats-password", w.another(""), "--nats-password-file", w.file("nats-query")},
		{"query", "--check", "--nats-nkey-file", w.file("nats-query")},
		{"query", "--check", "--nats-credentials-file", w.file("nats-query")},
		{"query", "--check", "--clickhouse-tls", "--clickhouse-tls-cert-file", w.file("kafka"), "--clickhouse-tls-key-file", w.file("kafka")},
		{"projector", "run", "--check", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-password", w.another("")},
		{"projector", "run", "--check", "--kafka-sasl-password", w.another(""), "--max-rate", "x"},
		{"chatload", "list", "ann", "--nats-url", "nats://ann:" + w.another("") + "@127.0.0.1:1"},
	} {
		if said, err := w.run(nil, args...); err == nil {
			t.Errorf("%s has succeeded: %s", args[0], said)
		}
	}

	said := w.said.String()
	for of, value := range w.secrets {
		if n := strings.Count(said, value); n > 0 {
			at := strings.Index(said, value)
			t.Errorf("the password %s was said %d times, first in %.300s", of, n, said[max(0, at-150):])
		}
	}
	key, err := os.ReadFile(w.files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if line := strings.Split(string(key), "\n")[1]; strings.Contains(said, line) {
		t.Errorf("a private key was said: %s", line)
	}
	for _, want := range []string{"convoview_ingest_lag_records", "convoview_query_request_duration_seconds", "Authentication failed", "authorization violation", "cannot join the consumer group|waiting for Kafka"} {
		if !regexp.MustCompile("(?i)" + want).MatchString(said) {
			t.Errorf("nobody said %s", want)
		}
	}
}

// another is a password that is wrong, and no less secret for that.
func (w *world) another(of string) string {
	s := secret()
	w.secrets["another "+of+s] = s
	return s
}

// get notes what an address tells.
func (w *world) get(url string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(w.said, response.Body); err != nil {
		w.t.Error(err)
	}
}
