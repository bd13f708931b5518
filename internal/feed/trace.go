package feed

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// HeaderCarrier is the header of a NATS message as propagators of traces read and write it.
type HeaderCarrier nats.Header

// Get implements propagation.TextMapCarrier. Names are written as W3C has them, or as
// those do who write them as in HTTP.
func (h HeaderCarrier) Get(key string) string {
	if value := nats.Header(h).Get(key); value != "" {
		return value
	}
	return propagation.HeaderCarrier(h).Get(key)
}

// Set implements propagation.TextMapCarrier.
func (h HeaderCarrier) Set(key, value string) { nats.Header(h).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (h HeaderCarrier) Keys() []string { return propagation.HeaderCarrier(h).Keys() }

// TraceWith has the follower make a span of each announcement that came with one. It is
// called before Run.
func (f *Follower) TraceWith(tracer trace.Tracer) { f.tracer = tracer }

// spanHeader is the header by which the span in ctx goes on elsewhere; nil when it is
// not sampled.
func spanHeader(ctx context.Context) nats.Header {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil
	}
	header := nats.Header{}
	propagation.TraceContext{}.Inject(ctx, HeaderCarrier(header))
	return header
}

// headerSize is about what a header takes of a message.
func headerSize(header nats.Header) int {
	size := 0
	for name, values := range header {
		for _, value := range values {
			size += len(name) + len(value) + headRoom
		}
	}
	return size
}

// span begins the span of an announcement, if it came with one. It gives what ends it.
func (f *Follower) span(m *nats.Msg, a *feedpb.Announcement) (end func()) {
	if f.tracer == nil || len(m.Header) == 0 {
		return func() {}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), HeaderCarrier(m.Header))
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return func() {}
	}
	_, span := f.tracer.Start(ctx, "apply", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.type", "process"),
		attribute.Int("convoview.batch.events", len(a.GetRecords())),
	))
	return func() { span.End() }
}
