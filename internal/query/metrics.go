package query

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	dropped     prometheus.Counter
	hits        prometheus.Counter
	misses      prometheus.Counter
	evictions   prometheus.Counter
	warmUpLeft  prometheus.Gauge
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
		hits: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_query_memory_hits_total",
			Help: "Lists and totals for which all that they needed was in memory.",
		}),
		misses: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_query_memory_misses_total",
			Help: "Lists and totals for which something had to be loaded.",
		}),
		evictions: f.NewCounter(prometheus.CounterOpts{
			Name: "convoview_query_memory_evictions_total",
			Help: "Users whose inboxes had to leave memory for others.",
		}),
		warmUpLeft: f.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_query_warm_up_left",
			Help: "Users whose lists are still to be loaded before they are asked for.",
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

// watch exports what the worker counts anyway.
func (w *Worker) watch(r prometheus.Registerer) {
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"running", "Requests that are being answered from memory.", func() float64 { return float64(w.running.Load()) }},
		{"hall", "Requests that are being answered from memory, and that wait for that.", func() float64 { return float64(w.hall.taken.Load()) }},
		{"waiting", "Requests that wait, or had to wait, for what is not in memory or for what they are to be answered after.", func() float64 { return float64(w.waiting.taken.Load()) }},
		{"generation", "The generation of the read model that is read; 0: not known yet.", func() float64 { return float64(w.cache().generation) }},
		{"memory_bytes", "About how much of the read model is in memory.", func() float64 { return float64(w.cache().bytes()) }},
		{"memory_inboxes", "Users whose inboxes are in memory.", func() float64 { return float64(w.cache().table.EstimatedSize()) }},
	} {
		promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{Name: "convoview_query_" + g.name, Help: g.help}, g.value)
	}
}
