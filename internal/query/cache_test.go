package query

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// always is a feed that hears of everything.
type always struct{}

func (always) Check() error { return nil }

func (always) Await(context.Context, feed.Partition, int64) error { return nil }

// later is a feed that hears of everything, but of offsets only when it is closed.
type later struct {
	always
	closed chan struct{}
}

func (l later) Await(ctx context.Context, _ feed.Partition, _ int64) error {
	select {
	case <-l.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TestCache_KeepsAListThatHasSettled asks for a list that changes: only when it
// is found as it was the last time is it kept as it is sent.
func TestCache_KeepsAListThatHasSettled(t *testing.T) {
	m := some()
	w := New(DefaultConfig(), nil, m, func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	kept := func() bool {
		t.Helper()
		q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
		if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
			t.Fatal(err)
		}
		return w.cache.enter(projection.UserKey{App: "demo", UserID: "ann"}).value.page != nil
	}
	if !kept() {
		t.Error("the first time: not kept")
	}
	for i := range uint64(2) {
		w.Apply(modelOf(ago(time.Minute), c2c("ben", "ann", 10+i, "more")))
		if kept() {
			t.Error("as it changes: kept")
		}
	}
	if !kept() {
		t.Error("settled: not kept")
	}
}

// modelOf is what a projector announces of events.
func modelOf(at events.Micros, bodies ...events.Body) *projection.Model {
	m := newMemory()
	m.fold(at, bodies...)
	return m.model
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMemory()
			for i := range n {
				m.fold(ago(time.Duration(i+1)*time.Minute), c2c(fmt.Sprintf("user-%06d", i), "ann", 1, "Are you coming to the cinema tonight? It begins at eight."))
			}
			w := New(DefaultConfig(), connect(b, startServer(b, 0)), m, func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			w.Follow(always{})
			j := job{endpoint: w.endpoints[0], subject: "convoview.v1.demo.conversation.list", data: []byte(`{"userID":"ann"}`)}
			size := 0
			var buffer bytes.Buffer
			for b.Loop() {
				j.arrived = time.Now()
				w.hall.enter(len(j.data))
				reply, err := w.serve(b.Context(), j, &buffer)
				if err != nil {
					b.Fatal(err)
				}
				size = len(reply)
			}
			b.ReportMetric(float64(size), "reply-bytes")
		})
	}
}
