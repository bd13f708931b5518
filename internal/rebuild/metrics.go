package rebuild

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metricsPrefix begins the names of a rebuild's metrics, those of reading, too.
const metricsPrefix = "convoview_rebuild"

type metrics struct{ generation, done, total, waiting prometheus.Gauge }

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return promauto.With(r).NewGauge(prometheus.GaugeOpts{Name: metricsPrefix + "_" + name, Help: help})
	}
	return &metrics{
		generation: gauge("generation", "The generation that is being filled."),
		done:       gauge("done_offsets", "Offsets that were read; what compaction and retention have left out counts as read."),
		total:      gauge("all_offsets", "Offsets that are to be read."),
		waiting:    gauge("waiting_partitions", "Partitions of which no projector has said yet from where on it writes them."),
	}
}

func (m *metrics) progress(p Progress) {
	m.generation.Set(float64(p.Generation))
	m.done.Set(float64(p.Done))
	m.total.Set(float64(p.Total))
	m.waiting.Set(float64(len(p.Waiting)))
}
