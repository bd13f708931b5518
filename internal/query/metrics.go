package query

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	seconds       *prometheus.HistogramVec
	dropped       prometheus.Counter
	hits          prometheus.Counter
	misses        prometheus.Counter
	evictions     prometheus.Counter
	warmUpLeft    prometheus.Gauge
	coalesced     prometheus.Histogram
	loadKeys      *prometheus.HistogramVec
	loadSeconds   *prometheus.HistogramVec
	loadFailures  *prometheus.CounterVec
	repliesFailed prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "convoview_query_" + name, Help: help})
	}
	m := &metrics{
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_request_duration_seconds",
			Help:    "Time from a request's arrival to its reply, by endpoint and the code of the reply (0: no error). Its count is that of the requests answered.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}, []string{"endpoint", "code"}),
		dropped:       counter("dropped_messages_total", "Messages dropped because they name no reply subject."),
		repliesFailed: counter("reply_failures_total", "Replies that could not be sent. Whoever asked hears nothing."),
		hits:          counter("cache_hits_total", "Lists and totals for which all that they needed was in memory."),
		misses:        counter("cache_misses_total", "Lists and totals for which something had to be loaded."),
		evictions:     counter("cache_evictions_total", "Users whose inboxes had to leave memory for others."),
		warmUpLeft: f.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_query_warm_up_users",
			Help: "Users whose lists are still to be loaded before they are asked for.",
		}),
		coalesced: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "convoview_query_load_requests",
			Help:    "Lists and totals that one step of loading serves together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		loadKeys: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_load_keys",
			Help:    "Keys in one call of the store, by kind of call.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}, []string{"load"}),
		loadSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "convoview_query_load_duration_seconds",
			Help:    "Time of one call of the store, by kind of call.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"load"}),
		loadFailures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "convoview_query_load_failures_total",
			Help: "Calls of the store that failed, by kind of call. The log says why.",
		}, []string{"load"}),
	}
	for _, endpoint := range []string{"list", "profile", "unread"} {
		for _, code := range allCodes { // known beforehand: what begins with 1 has no rate
			m.seconds.WithLabelValues(endpoint, strconv.Itoa(code))
		}
	}
	return m
}

// watch exports what the worker counts anyway.
func (w *Worker) watch(r prometheus.Registerer) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{Name: "convoview_query_" + name, Help: help, ConstLabels: labels}, value)
	}
	for state, value := range map[string]func() float64{
		"running": func() float64 { return float64(w.running.Load()) },
		"queued":  func() float64 { return float64(len(w.queue)) },
		"waiting": func() float64 { return float64(w.waiting.taken.Load()) },
	} {
		gauge("in_flight_requests", "Requests in hand: being answered from memory (running), waiting for that (queued), and waiting for what is not in memory or for what they are to be answered after (waiting).",
			prometheus.Labels{"state": state}, value)
	}
	gauge("generation", "The generation of the read model that is read; 0: not known yet.", nil, func() float64 { return float64(w.cache().generation) })
	gauge("cache_bytes", "About how much of the read model is in memory.", nil, func() float64 { return float64(w.cache().bytes()) })
	gauge("cache_limit_bytes", "About how much of the read model may be in memory.", nil, func() float64 { return float64(w.cache().maxBytes.Load()) })
	gauge("cache_inboxes", "Users whose inboxes are in memory.", nil, func() float64 { return float64(w.cache().table.EstimatedSize()) })
}
