package lifecycle_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
)

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

func TestFlags_ExportCertificates(t *testing.T) {
	files, ca := tlstest.NewFiles(t), tlstest.NewCA(t)
	files.Write(t, ca, ca.Issue(t, "ours"))
	f := lifecycle.NewFlags("x", "", func(string) string { return "" }, io.Discard)
	lifecycle.RegisterTLS(f, "kafka", "brokers")
	lifecycle.RegisterTLS(f, "other", "others")
	if err := f.Parse([]string{"--kafka-tls", "--kafka-tls-cert-file", files.Cert, "--kafka-tls-key-file", files.Key}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	f.ExportCertificates(registry, slog.New(slog.DiscardHandler))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("%v, %v, want one certificate", families, err)
	}
	got := families[0].GetMetric()[0]
	if file := got.GetLabel()[0].GetValue(); file != files.Cert {
		t.Errorf("the file is %s, want %s", file, files.Cert)
	}
	if left := time.Until(time.Unix(int64(got.GetGauge().GetValue()), 0)); left <= 0 || left > time.Hour {
		t.Errorf("it expires in %v, want within the hour that tlstest gives", left)
	}

	certificate, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	put(t, files.Cert, string(certificate)+strings.Repeat("\n", lifecycle.MaxFileBytes))
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Errorf("of a file that is too large: %v, %v", families, err)
	}
}

func TestOpenTracing_Decides(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		env      map[string]string
		makes    bool
		err      string // part of it
	}{
		{},
		{endpoint: "http://127.0.0.1:1", makes: true},
		{env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, makes: true},
		{env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, makes: true},
		{env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, makes: true},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_SDK_DISABLED": "True"}},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}},
		{env: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, err: `OTEL_TRACES_EXPORTER "zipkin": expected otlp or none`},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, makes: true},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, err: `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL "grpc"`},
		{endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, err: `"grpc": expected http/protobuf`},
	} {
		traces, err := lifecycle.OpenTracing(t.Context(), lifecycle.TracingConfig{Endpoint: c.endpoint}, "test",
			func(name string) string { return c.env[name] }, slog.New(slog.DiscardHandler))
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v: got %v", c, err)
		}
		if (traces != nil) != c.makes {
			t.Errorf("%+v: makes traces: %v", c, traces != nil)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := traces.Component().Run(ended); err != nil {
			t.Errorf("%+v: end: %v", c, err)
		}
	}
	for _, endpoint := range []string{"localhost:4318", "ann:hush@localhost:4318", "ftp://ann:hush@localhost", "http://ann:hush%zz@localhost:4318"} {
		err := lifecycle.TracingConfig{Endpoint: endpoint}.Validate()
		if err == nil || !strings.Contains(err.Error(), "expected one such as http://localhost:4318") || strings.Contains(err.Error(), "hush") {
			t.Errorf("an endpoint that is no URL: %v", err)
		}
	}
}

// TestOpenTracing_HidesValues holds that settings which OpenTelemetry finds fault with are
// told of in our log, and that what is in them is not.
func TestOpenTracing_HidesValues(t *testing.T) {
	log := newSaid()
	for _, headers := range []string{"authorization hush", "authorization=%zzhush", "auth hush=x"} {
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
		if _, err := lifecycle.OpenTracing(t.Context(), lifecycle.TracingConfig{Endpoint: "http://127.0.0.1:1"}, "test", os.Getenv, slog.New(slog.NewTextHandler(log, nil))); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"parse headers", "escape header value"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing is said of %q: %s", want, log)
		}
	}
	if strings.Contains(log.String(), "hush") {
		t.Errorf("it says %s", log)
	}
}
