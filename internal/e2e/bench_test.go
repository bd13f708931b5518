package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// BenchmarkSize asks for the largest lists and profiles, one at a time:
//
//	go test -run '^$' -bench Size -benchtime 200x ./internal/e2e -full
func BenchmarkSize(b *testing.B) {
	b.Run("conversations=500", func(b *testing.B) {
		m := newMany(b, 500, 500)
		b.Run("list", func(b *testing.B) { m.measure(b, "list", map[string]any{"userID": busy}) })
	})
	b.Run("conversations=5000", func(b *testing.B) {
		m := newMany(b, 5000, 1000)
		b.Run("list=100", func(b *testing.B) { m.measure(b, "list", map[string]any{"userID": busy, "limit": 100}) })
		b.Run("list=1000", func(b *testing.B) { m.measure(b, "list", map[string]any{"userID": busy}) })
	})
	for _, sparse := range []bool{false, true} {
		b.Run(fmt.Sprintf("sparse=%t", sparse), func(b *testing.B) {
			g := newGreat(b, sparse)
			member := memberID(talkers + int(reads))
			b.Run("list", func(b *testing.B) { g.measure(b, "list", map[string]any{"userID": member}) })
			b.Run("profile", func(b *testing.B) {
				g.measure(b, "profile", map[string]any{"userID": member, "conversationID": events.Group(greatGroup).IDFor(member)})
			})
		})
	}
}

// measure reports the median and the 99th percentile of a request's latency.
func (w *script) measure(b *testing.B, operation string, request map[string]any) {
	ask := func() {
		var reply struct{ Code int }
		if err := w.ask(operation, w.app, request, &reply); err != nil {
			b.Fatal(err)
		}
	}
	for range 20 { // warm up
		ask()
	}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		ask()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}
