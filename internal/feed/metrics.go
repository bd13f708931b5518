package feed

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	announcements prometheus.Counter
	events        prometheus.Counter
	gaps          prometheus.Counter
	whole         prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
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
			Help: "How often something was lost on the way, after which what is in memory is loaded anew.",
		}),
		whole: f.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_feed_whole",
			Help: "1 when every partition was heard of lately; 0: requests are answered from ClickHouse alone.",
		}),
	}
}
