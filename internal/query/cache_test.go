package query

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
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

func BenchmarkList(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMemory()
			for i := range n {
				m.fold(ago(time.Duration(i+1)*time.Minute), c2c(fmt.Sprintf("user-%06d", i), "ann", 1, "Are you coming to the cinema tonight? It begins at eight."))
			}
			w := New(DefaultConfig(), nil, m, time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			w.Follow(always{})
			q := listQuery(b, "demo", `{"userID":"ann"}`)
			size := 0
			for b.Loop() {
				q.now, q.begin = events.MicrosOf(now), time.Now()
				reply, err := w.answered(b.Context(), w.list, q, 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				size = len(reply)
			}
			b.ReportMetric(float64(size), "reply-bytes")
		})
	}
}
