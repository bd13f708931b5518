package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// tracesStop bounds how long the last spans may take to be sent.
const tracesStop = 2 * time.Second

// TracingConfig is where traces go, if they are made.
type TracingConfig struct {
	// Endpoint is where spans are sent, by OTLP over HTTP, such as
	// http://localhost:4318. "": OTEL_EXPORTER_OTLP_ENDPOINT or
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT say so; without any, no traces are made.
	Endpoint string
}

// Register binds the settings to --otlp-endpoint.
func (c *TracingConfig) Register(f *Flags) {
	f.String(&c.Endpoint, "otlp-endpoint", "Where traces are sent by OTLP over HTTP, such as http://localhost:4318; without it OTEL_EXPORTER_OTLP_ENDPOINT says so, and without both no traces are made. All other OTEL_… variables count, too.")
}

// Validate reports what is wrong with the configuration.
func (c TracingConfig) Validate() error {
	if c.Endpoint == "" {
		return nil
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errEndpoint
	}
	return nil
}

// errEndpoint does not show the endpoint: it may have a password in it.
var errEndpoint = errors.New("otlp endpoint is no URL: expected one such as http://localhost:4318 (--otlp-endpoint)")

// The standard variables that say whether there are traces, and how they are sent.
// Those of the sampler, batches and time limits are the SDK's and the exporter's own affair.
const (
	envDisabled       = "OTEL_SDK_DISABLED"
	envExporter       = "OTEL_TRACES_EXPORTER"
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	otlpHTTP          = "http/protobuf"
	tracerName        = "github.com/convoview/convoview"
)

// Tracing makes spans and sends them. Nil is one that makes none.
type Tracing struct{ provider *trace.TracerProvider }

// OpenTracing gives what makes the spans of a service; nil when no traces are wanted.
func OpenTracing(ctx context.Context, c TracingConfig, service string, getenv func(string) string, log *slog.Logger) (*Tracing, error) {
	exporter := getenv(envExporter)
	switch {
	case strings.EqualFold(getenv(envDisabled), "true"), exporter == "none":
		return nil, nil // no traces are no fault
	case exporter != "" && exporter != "otlp":
		return nil, fmt.Errorf("%s %q: expected otlp or none", envExporter, exporter)
	case exporter == "" && c.Endpoint == "" && getenv(envEndpoint) == "" && getenv(envTracesEndpoint) == "":
		return nil, nil
	}
	name := envTracesProtocol // counts before the other one
	if getenv(name) == "" {
		name = envProtocol
	}
	if protocol := getenv(name); protocol != "" && protocol != otlpHTTP {
		return nil, fmt.Errorf("%s %q: expected %s", name, protocol, otlpHTTP)
	}
	var options []otlptracehttp.Option
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil {
			return nil, errEndpoint
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.JoinPath("v1/traces").String()))
	}
	otel.SetLogger(logr.New(faults{log}))
	sender, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	// What the environment says of the service comes last, and wins.
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.namespace", "convoview"), attribute.String("service.name", service), attribute.String("service.version", Version())),
		resource.WithFromEnv(),
	)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe the service in traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces cannot be sent", "error", err) }))
	log.Info("traces are made", "service", service)
	return &Tracing{trace.NewTracerProvider(trace.WithBatcher(sender), trace.WithResource(about))}, nil
}

// faults tells what OpenTelemetry finds wrong with its settings, without their values: its
// own logger writes them out, and there are passwords among them (OTEL_EXPORTER_OTLP_HEADERS).
type faults struct{ log *slog.Logger }

// The levels of OpenTelemetry's messages: warnings, and below them what need not be told.
const otelWarning = 1

// Init implements logr.LogSink.
func (faults) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (faults) Enabled(level int) bool { return level <= otelWarning }

// Info implements logr.LogSink.
func (f faults) Info(_ int, message string, _ ...any) {
	f.log.Warn("OpenTelemetry finds a fault", "error", message)
}

// Error implements logr.LogSink. The error has the value in it, too.
func (f faults) Error(_ error, message string, _ ...any) { f.Info(0, message) }

// WithValues implements logr.LogSink.
func (f faults) WithValues(...any) logr.LogSink { return f }

// WithName implements logr.LogSink.
func (f faults) WithName(string) logr.LogSink { return f }

// Tracer gives what makes spans.
func (t *Tracing) Tracer() oteltrace.Tracer { return t.provider.Tracer(tracerName) }

// Component sends the last spans at its turn.
func (t *Tracing) Component() Component {
	return Closer("tracing", func() error {
		if t == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), tracesStop)
		defer cancel()
		if err := t.provider.Shutdown(ctx); err != nil {
			otel.Handle(err) // it is no reason to fail
		}
		return nil
	})
}
