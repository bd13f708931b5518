package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/lifecycle"
)

func newAdmin(addr string) *lifecycle.Admin {
	return lifecycle.NewAdmin(lifecycle.AdminConfig{Addr: addr}, lifecycle.NewRegistry(), slog.New(slog.DiscardHandler))
}

func TestAdmin_Readiness(t *testing.T) {
	admin := newAdmin("")
	var kafka error
	admin.AddCheck("kafka", func(context.Context) error { return kafka })
	admin.AddCheck("clickhouse", func(context.Context) error { return nil })
	type reply struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}
	get := func() (int, reply) {
		w := httptest.NewRecorder()
		admin.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		var r reply
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return w.Code, r
	}
	code, got := get()
	if diff := cmp.Diff(reply{true, map[string]string{"kafka": "ok", "clickhouse": "ok"}}, got); diff != "" || code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	admin.AddWarning("feed", func(context.Context) error { return errors.New("not whole") })
	code, got = get()
	if diff := cmp.Diff(reply{true, map[string]string{"kafka": "ok", "clickhouse": "ok", "feed": "not whole"}}, got); diff != "" || code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	kafka = errors.New("topic chat.state is missing")
	code, got = get()
	if diff := cmp.Diff(reply{false, map[string]string{"kafka": "topic chat.state is missing", "clickhouse": "ok", "feed": "not whole"}}, got); diff != "" || code != http.StatusServiceUnavailable {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
}

// TestAdmin_Liveness holds that /healthz fails when a part says that it is stuck, with its
// reason, and not when somebody is away.
func TestAdmin_Liveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admin, writer := newAdmin(""), beat.New(5*time.Minute)
		holds := func(wantCode int, want string) {
			t.Helper()
			w := httptest.NewRecorder()
			admin.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
			if got := strings.TrimSpace(w.Body.String()); w.Code != wantCode || got != want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d, %s, want %d, %s", w.Code, got, wantCode, want)
			}
		}
		holds(http.StatusOK, `{"alive":true,"checks":{}}`)
		admin.AddLiveness("components", func() error { return nil })
		admin.AddLiveness("writer", writer.Check)
		admin.AddCheck("clickhouse", func(context.Context) error { return errors.New("connection refused") })
		writer.Mark()
		holds(http.StatusOK, `{"alive":true,"checks":{"components":"ok","writer":"ok"}}`)
		time.Sleep(7 * time.Minute)
		holds(http.StatusServiceUnavailable, `{"alive":false,"checks":{"components":"ok","writer":"last moved 7m0s ago, expected within 5m0s"}}`)
	})
}

func TestAdmin_Serves(t *testing.T) {
	admin := newAdmin("127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	component := admin.Component()
	go func() { done <- component.Run(ctx) }()
	<-component.Started
	for path, want := range map[string]string{"/healthz": `"alive":true`, "/metrics": "go_goroutines", "/debug/pprof/": "goroutine", "/readyz": `"ready":true`} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d, %v: no %q", path, response.StatusCode, err, want)
		}
	}
	for path, want := range map[string]int{
		"/debug/pprof/cmdline":                    http.StatusNotFound, // it may have a password in it
		"/healthz?" + strings.Repeat("a", 32<<10): http.StatusRequestHeaderFieldsTooLarge,
	} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%.40s: %d, want %d", path, response.StatusCode, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfigs_Validate(t *testing.T) {
	if err := errors.Join(lifecycle.DefaultAdminConfig(8080).Validate(), lifecycle.DefaultLogConfig().Validate()); err != nil {
		t.Error(err)
	}
	err := errors.Join(
		lifecycle.AdminConfig{Addr: "8080"}.Validate(),
		lifecycle.AdminConfig{Addr: ":80800"}.Validate(),
		lifecycle.LogConfig{Format: "xml", Level: "loud"}.Validate(),
	)
	for _, want := range []string{`"8080"`, `":80800"`, "stuck after 0s", `"xml"`, `"loud"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

// TestAdminConfig_Ready holds that a process is asked whether it is ready, and what comes of
// each answer, and of none.
func TestAdminConfig_Ready(t *testing.T) {
	admin := newAdmin("127.0.0.1:0")
	var kafka error
	admin.AddCheck("kafka", func(context.Context) error { return kafka })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	component := admin.Component()
	go func() { done <- component.Run(ctx) }()
	<-component.Started
	_, port, err := net.SplitHostPort(admin.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "127.0.0.1:" + port} {
		for _, fault := range []error{nil, errors.New("topic chat.state is missing")} {
			kafka = fault
			want := "ok"
			if fault != nil {
				want = fault.Error()
			}
			var out strings.Builder
			err := lifecycle.AdminConfig{Addr: addr}.Ready(t.Context(), &out)
			if (err == nil) != (fault == nil) || !strings.Contains(out.String(), want) {
				t.Errorf("%s, %v: got %v, %q", addr, fault, err, out.String())
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := (lifecycle.AdminConfig{Addr: ":" + port}).Ready(t.Context(), io.Discard); err == nil {
		t.Error("a process that is gone is ready")
	}
}

func TestAdmin_ExportsItsChecks(t *testing.T) {
	registry := lifecycle.NewRegistry()
	admin := lifecycle.NewAdmin(lifecycle.AdminConfig{}, registry, slog.New(slog.DiscardHandler))
	away, stuck := errors.New("away"), error(nil)
	admin.AddLiveness("writer", func() error { return stuck })
	admin.AddCheck("kafka", func(context.Context) error { return away })
	admin.AddWarning("feed", func(context.Context) error { return errors.New("not whole") })
	holds := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "convoview_alive", "convoview_ready", "convoview_check_ok"); err != nil {
			t.Error(err)
		}
	}
	const help = `# HELP convoview_alive 1 while the process works, as /healthz says; 0: only another start can help.
# TYPE convoview_alive gauge
# HELP convoview_check_ok 1 when the check passes; /readyz has the reason when it does not. A failed check of feed, files or subscriptions does not keep a process from being ready.
# TYPE convoview_check_ok gauge
# HELP convoview_ready 1 when every check passes that must, as /readyz says.
# TYPE convoview_ready gauge
`
	holds(help + "convoview_alive 1\nconvoview_check_ok{check=\"kafka\"} 0\nconvoview_check_ok{check=\"feed\"} 0\nconvoview_ready 0\n")
	away, stuck = nil, errors.New("last moved 7m0s ago")
	holds(help + "convoview_alive 0\nconvoview_check_ok{check=\"kafka\"} 1\nconvoview_check_ok{check=\"feed\"} 0\nconvoview_ready 1\n")
	problems, err := testutil.GatherAndLint(registry, "convoview_alive", "convoview_ready", "convoview_check_ok", "convoview_build_info")
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
