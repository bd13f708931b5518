package query

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/convoview/convoview/internal/feed"
)

// tracerName names the spans that are made here.
const tracerName = "github.com/convoview/convoview/internal/query"

// maxLinks bounds the requests that the span of a load is linked to. It is what a span
// takes by default.
const maxLinks = 128

// TraceWith has each request make a span, which goes on with the trace that the
// request's header names, and each load one below it. It is called before Run.
func (w *Worker) TraceWith(tracer trace.Tracer) { w.tracer = tracer }

// beginSpan begins the span of a request.
func (w *Worker) beginSpan(j *job, r micro.Request) trace.Span {
	ctx := propagation.TraceContext{}.Extract(context.Background(), feed.HeaderCarrier(r.Headers()))
	_, span := w.tracer.Start(ctx, "conversation."+j.name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(j.arrived), trace.WithAttributes(
		attribute.String("rpc.system.name", "nats"),
		attribute.String("rpc.method", "conversation."+j.name),
		attribute.Int("convoview.request.bytes", len(j.data)),
	))
	return span
}

// endSpan ends the span of a request, and says in the reply which one it is.
func endSpan(span trace.Span, reply *nats.Msg, said *replyError) {
	if reply.Header == nil {
		reply.Header = nats.Header{}
	}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), feed.HeaderCarrier(reply.Header))
	span.SetAttributes(attribute.Int("convoview.reply.bytes", len(reply.Data)))
	if said != nil {
		span.SetAttributes(attribute.Int("convoview.reply.code", said.Code))
		if said.Code >= codeInternal { // else the caller is to blame
			span.SetStatus(codes.Error, said.Message)
		}
	}
	span.End()
}

// tracedKey is the key of the spans that a load is made for, in its context.
type tracedKey struct{}

// tracedIn gives the spans, most of them at most, of whoever asks with ctx.
func tracedIn(ctx context.Context, most int) []trace.Span {
	spans, ok := ctx.Value(tracedKey{}).([]trace.Span)
	if span := trace.SpanFromContext(ctx); !ok && span.IsRecording() {
		spans = []trace.Span{span}
	}
	return spans[:min(len(spans), most)]
}

// forTraced gives a context to load in for those who have these spans.
func forTraced(ctx context.Context, spans []trace.Span) context.Context {
	if len(spans) == 0 {
		return ctx
	}
	return context.WithValue(trace.ContextWithSpan(ctx, spans[0]), tracedKey{}, spans)
}

// beginLoad begins the span of a call of the store: below that of the first request
// which it is made for, and linked to the others.
func beginLoad(ctx context.Context, name string, keys int) (context.Context, trace.Span) {
	spans := tracedIn(ctx, maxLinks)
	if len(spans) == 0 {
		return ctx, noop.Span{}
	}
	var links []trace.Link
	for _, span := range spans[1:] {
		links = append(links, trace.Link{SpanContext: span.SpanContext()})
	}
	return spans[0].TracerProvider().Tracer(tracerName).Start(ctx, "load "+name, trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("db.system.name", "clickhouse"),
		attribute.Int("convoview.load.keys", keys),
	))
}
