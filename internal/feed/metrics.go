package feed

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

type metrics struct {
	announcements prometheus.Counter
	events        prometheus.Counter
	gaps          prometheus.Counter
	freshness     prometheus.Histogram
}

// newMetrics makes the metrics of a follower; whole says why it is not, when somebody asks.
func newMetrics(r prometheus.Registerer, whole func() error) *metrics {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "convoview_feed_whole",
		Help: "1 when every partition was heard of lately; 0: requests are answered from ClickHouse alone.",
	}, func() float64 {
		if whole() != nil {
			return 0
		}
		return 1
	})
	return &metrics{
		announcements: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_feed_announcements_total",
			Help: "Announcements of projectors that were heard.",
		}),
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_feed_events_total",
			Help: "Events in those announcements, repeats included.",
		}),
		gaps: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_feed_gaps_total",
			Help: "How often something was lost on the way, after which what is in memory is loaded anew. A connection that was away is one.",
		}),
		freshness: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "convoview_feed_freshness_seconds",
			Help:    "Age, by its Kafka timestamp, of the oldest record of each partition in an announcement when what is in memory has it. No record of it took longer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 22),
		}),
	}
}

// applied counts an announcement that was applied.
func (m *metrics) applied(a *feedpb.Announcement, now time.Time) {
	m.announcements.Inc()
	m.events.Add(float64(len(a.GetRecords())))
	for _, r := range a.GetRanges() {
		if r.OldestMs != nil {
			m.freshness.Observe(max(0, now.Sub(time.UnixMilli(r.GetOldestMs()))).Seconds())
		}
	}
}
