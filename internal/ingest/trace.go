package ingest

import (
	"context"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxLinks bounds the records that the span of a batch is linked to, and those of one
// partition in it. It is what a span takes by default.
const maxLinks = 128

// TraceWith has each batch make a span, linked to the spans of its records that are
// sampled. It is called before Run.
func (c *Consumer) TraceWith(tracer trace.Tracer) { c.writer.tracer, c.traced = tracer, true }

// link notes the span that a record's headers name, if it is sampled.
func (p *piece) link(headers []kafka.Header) {
	if len(headers) == 0 || len(p.spans) >= maxLinks {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), recordHeaders(headers))
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		p.spans = append(p.spans, span)
	}
}

// begin begins the span of an insert, of which there is one batch so far. It is in the trace
// of the first of its records that is traced, so that it is sampled as that is.
func (w *writer) begin(ctx context.Context, i *insert) context.Context {
	pieces := i.batches[0].pieces
	if first := slices.IndexFunc(pieces, func(p *piece) bool { return len(p.spans) > 0 }); first >= 0 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, pieces[first].spans[0])
	}
	ctx, i.span = w.tracer.Start(ctx, "process batch", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.consumer.group.name", w.config.GroupID),
	))
	i.link()
	return ctx
}

// link links the span to those of the latest batch's records that are traced.
func (i *insert) link() {
	for _, p := range i.batches[len(i.batches)-1].pieces {
		for _, span := range p.spans[:min(len(p.spans), maxLinks-i.links)] {
			i.span.AddLink(trace.Link{SpanContext: span})
			i.links++
		}
	}
}

// end ends the span.
func (i *insert) end() {
	i.span.SetAttributes(
		attribute.Int("messaging.batch.message_count", i.records),
		attribute.Int("convoview.batch.events", i.events),
		attribute.Int("convoview.batch.rows", i.rows),
		attribute.Int("convoview.batch.partitions", i.partitions()),
	)
	i.span.End()
}

// failed notes an error, if it is one, in a span.
func failed(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}

// recordHeaders are a record's headers as propagators read them.
type recordHeaders []kafka.Header

// Get implements propagation.TextMapCarrier.
func (h recordHeaders) Get(key string) string {
	for _, header := range h {
		if strings.EqualFold(header.Key, key) {
			return string(header.Value)
		}
	}
	return ""
}

// Set implements propagation.TextMapCarrier. Nothing is written.
func (h recordHeaders) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (h recordHeaders) Keys() []string {
	keys := make([]string, len(h))
	for i, header := range h {
		keys[i] = header.Key
	}
	return keys
}
