package query

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	dropped     prometheus.Counter
	running     prometheus.Gauge
	queued      prometheus.Gauge
	loadKeys    *prometheus.HistogramVec
	loadSeconds *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "convoview_query_requests_total",
			Help: "Requests answered, by endpoint and the code of the reply (0: no error).",
		}, []string{"endpoint", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_request_seconds",
			Help:    "Time from a request's arrival to its reply, refusals included.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"endpoint"}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_query_dropped_total",
			Help: "Messages dropped because they name no reply subject.",
		}),
		running: f.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_query_running",
			Help: "Requests that are being answered.",
		}),
		queued: f.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_query_queued",
			Help: "Requests that wait to be answered.",
		}),
		loadKeys: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_load_keys",
			Help:    "Keys in one call of the store, by kind of call.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}, []string{"load"}),
		loadSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_load_seconds",
			Help:    "Time of one call of the store, by kind of call.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"load"}),
	}
}
