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
)

// always is a feed that hears of everything.
type always struct{}

func (always) Check() error { return nil }

func (always) Await(context.Context, feed.Partition, int64) error { return nil }

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
			var reply bytes.Buffer
			for b.Loop() {
				q.now, q.begin = events.MicrosOf(now), time.Now()
				reply.Reset()
				if err := w.list(b.Context(), q, 1<<20, &reply); err != nil {
					b.Fatal(err)
				}
				size = reply.Len()
			}
			b.ReportMetric(float64(size), "reply-bytes")
		})
	}
}
