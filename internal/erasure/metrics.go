package erasure

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	known            func()           // has last and users exported
	last, users      prometheus.Gauge // exported once they are known, since 0 is none
	deleted, blanked prometheus.Counter
	expired          prometheus.Counter
	failures         prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	rows := f.NewCounterVec(prometheus.CounterOpts{
		Name: "convoview_sweep_rows_total",
		Help: "Rows that this process has swept, by what it did: deleted those of erased users, blanked what was theirs in others, or dropped those of expired days.",
	}, []string{"change"})
	m := &metrics{
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "convoview_sweep_last_timestamp_seconds",
			Help: "When the last finished sweep of erased users began, whoever made it, or the generation was made; of several generations that of the one that waits longest. After 24 hours something of an erased user may be left.",
		}),
		users:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "convoview_sweep_erased_users", Help: "Users who were erased, in all apps."}),
		deleted:  rows.WithLabelValues("deleted"),
		blanked:  rows.WithLabelValues("blanked"),
		expired:  rows.WithLabelValues("expired"),
		failures: f.NewCounter(prometheus.CounterOpts{Name: "convoview_sweep_failures_total", Help: "Sweeps of erased users, or looks at when the last one was, that failed and were tried again later."}),
	}
	m.known = sync.OnceFunc(func() { r.MustRegister(m.last, m.users) })
	return m
}
