package e2e_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
)

// collector takes spans by OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil {
			t.Errorf("spans that cannot be read: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// in gives the spans of a trace with a name.
func (c *collector) in(trace, name string) (found []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == trace && s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// TestTraces_GoFromRecordsToReplies follows a trace from the header of a record to query
// workers, and another one from a request's header to ClickHouse and back to the reply's.
func TestTraces_GoFromRecordsToReplies(t *testing.T) {
	const (
		recordTrace, recordSpan   = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		otherTrace, otherSpan     = "1af7651916cd43dd8448eb211c80319c", "c7ad6b7169203331"
		requestTrace, requestSpan = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	)
	to := newCollector(t)
	s := newSystemOf(t, newRand(t), 1, 1)
	traces, err := lifecycle.OpenTracing(t.Context(), lifecycle.TracingConfig{Endpoint: to.URL}, "convoview",
		func(string) string { return "" }, s.log())
	if err != nil {
		t.Fatal(err)
	}
	s.tracer = traces.Tracer()

	// Three records of one batch: two are traced, and one is not sampled.
	var records []kafka.Message
	for i, traceparent := range []string{
		"00-" + recordTrace + "-" + recordSpan + "-01",
		"00-" + otherTrace + "-" + otherSpan + "-01",
		"00-2af7651916cd43dd8448eb211c80319c-d7ad6b7169203331-00",
	} {
		r := s.record(events.Event{
			ID: fmt.Sprint(i), App: "demo", Time: events.MicrosOf(time.Now()), Body: text(events.C2C("ann", "bob"), "bob", uint64(i+1)),
		})
		r.Headers = append(r.Headers, kafka.Header{Key: "traceparent", Value: []byte(traceparent)})
		records = append(records, r)
	}
	if err := s.writer.WriteMessages(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	stop := s.project()
	s.serve(time.Now)
	s.settle()
	// Settled says that the worker has heard of it, if it was there in time. It is now.
	s.send(events.Event{ID: "late", App: "demo", Time: events.MicrosOf(time.Now()), Body: text(events.C2C("ann", "bob"), "bob", 9)})
	traced := s.record(events.Event{ID: "traced", App: "demo", Time: events.MicrosOf(time.Now()), Body: text(events.C2C("ann", "bob"), "bob", 10)})
	traced.Headers = append(traced.Headers, kafka.Header{Key: "traceparent", Value: []byte("00-" + recordTrace + "-" + recordSpan + "-01")})
	if err := s.writer.WriteMessages(t.Context(), traced); err != nil {
		t.Fatal(err)
	}
	s.settle()

	var reply *nats.Msg
	for reply == nil || reply.Header.Get("Nats-Service-Error-Code") != "" {
		request := nats.NewMsg("convoview.v1.demo.conversation.list")
		request.Data = []byte(`{"userID":"ann"}`)
		request.Header.Set("traceparent", "00-"+requestTrace+"-"+requestSpan+"-01")
		if reply, err = s.nc.RequestMsg(request, time.Minute); err != nil && !errors.Is(err, nats.ErrNoResponders) {
			t.Fatal(err)
		}
	}
	stop()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := traces.Component().Run(ended); err != nil { // sends the last ones
		t.Fatal(err)
	}

	// The way in: batch, its steps, and what query workers did.
	batches := to.in(recordTrace, "process batch")
	if len(batches) < 2 {
		t.Fatalf("%d batches in the trace of the records, want both", len(batches))
	}
	var links []string
	for _, l := range batches[0].GetLinks() {
		links = append(links, hex.EncodeToString(l.GetTraceId())+"-"+hex.EncodeToString(l.GetSpanId()))
	}
	if diff := cmp.Diff([]string{recordTrace + "-" + recordSpan, otherTrace + "-" + otherSpan}, links); diff != "" {
		t.Errorf("links of the batch (-want +got):\n%s", diff)
	}
	if got := hex.EncodeToString(batches[0].GetParentSpanId()); got != recordSpan {
		t.Errorf("the batch is below the span %s, want that of its first record", got)
	}
	below := func(children, parents []*tracepb.Span) bool {
		return len(children) > 0 && !slices.ContainsFunc(children, func(child *tracepb.Span) bool {
			return !slices.ContainsFunc(parents, func(parent *tracepb.Span) bool {
				return string(parent.GetSpanId()) == string(child.GetParentSpanId())
			})
		})
	}
	for _, step := range []string{"write", "announce", "commit"} {
		if !below(to.in(recordTrace, step), batches) {
			t.Errorf("%s: not below the batches", step)
		}
	}
	if !below(to.in(recordTrace, "apply"), to.in(recordTrace, "announce")) {
		t.Error("what the query worker applied is not below what was announced")
	}

	// The way out: the request, its loads, and the reply.
	requests := to.in(requestTrace, "conversation.list")
	if len(requests) == 0 {
		t.Fatal("no span of the request")
	}
	last := requests[len(requests)-1]
	if got := hex.EncodeToString(last.GetParentSpanId()); got != requestSpan {
		t.Errorf("the request is below the span %s, want %s", got, requestSpan)
	}
	if want := "00-" + requestTrace + "-" + hex.EncodeToString(last.GetSpanId()) + "-01"; reply.Header.Get("traceparent") != want {
		t.Errorf("the reply has traceparent %s, want %s", reply.Header.Get("traceparent"), want)
	}
	for _, load := range []string{"load inboxes", "load users"} {
		if !below(to.in(requestTrace, load), requests) {
			t.Errorf("%s: not below the request", load)
		}
	}
	if strings.Contains(string(reply.Data), "traceparent") {
		t.Error("the trace is in the reply's data")
	}
}
