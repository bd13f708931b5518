package lifecycle_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/lifecycle"
)

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
