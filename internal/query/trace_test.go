package query

import (
	"context"
	"log/slog"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// TestBatcher_LinksWhoWaits has one load serve several requests that are traced: its span
// is below that of the first one, and linked to the others.
func TestBatcher_LinksWhoWaits(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	came, open := make(chan struct{}, 2), make(chan struct{})
	load := func(context.Context, []string) (map[string]int, error) {
		came <- struct{}{}
		<-open
		return nil, nil
	}
	b := newBatcher(observed(observer{newMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)}, "users", load), 10, 1)
	var g errgroup.Group
	get := func(ctx context.Context, key string) {
		g.Go(func() error { _, err := b.get(ctx, []string{key}); return err })
	}
	get(t.Context(), "untraced")
	<-came // the only slot is taken
	waiting := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.waiting) == 0 {
			return 0
		}
		return b.waiting[0].callers
	}
	var want []trace.SpanID
	for i, key := range []string{"ann", "ben", "ann"} {
		ctx, span := tracer.Start(t.Context(), "request")
		want = append(want, span.SpanContext().SpanID())
		get(ctx, key)
		for waiting() != i+1 {
			runtime.Gosched()
		}
	}
	close(open)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	loads := recorder.Ended()
	if len(loads) != 1 || loads[0].Name() != "load users" {
		t.Fatalf("%d spans, want one of the load that traced requests waited for", len(loads))
	}
	got := []trace.SpanID{loads[0].Parent().SpanID()}
	for _, l := range loads[0].Links() {
		got = append(got, l.SpanContext.SpanID())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parent and links (-want +got):\n%s", diff)
	}
}

// TestTracedIn_CostsNothing holds that whoever is not traced pays nothing for it.
func TestTracedIn_CostsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(100, func() {
		if len(tracedIn(ctx, maxLinks)) > 0 || forTraced(ctx, nil) != ctx {
			t.Error("spans out of nothing")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
