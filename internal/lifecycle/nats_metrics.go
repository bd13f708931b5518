package lifecycle

import (
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// natsMetrics exports what a connection counts anyway.
type natsMetrics struct {
	nc   *nats.Conn
	list []natsMetric
}

type natsMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(nats.Statistics) float64
}

// Export exports the state of the connection.
func (n NATS) Export(r prometheus.Registerer) {
	m := &natsMetrics{nc: n.Conn}
	add := func(name, help string, kind prometheus.ValueType, value func(nats.Statistics) float64) {
		m.list = append(m.list, natsMetric{prometheus.NewDesc("convoview_nats_"+name, help, nil, nil), kind, value})
	}
	add("connected", "1 while there is a connection to a NATS server.", prometheus.GaugeValue, func(nats.Statistics) float64 {
		if n.IsConnected() {
			return 1
		}
		return 0
	})
	counter := func(name, help string, value func(nats.Statistics) uint64) {
		add(name, help, prometheus.CounterValue, func(s nats.Statistics) float64 { return float64(value(s)) })
	}
	counter("reconnects_total", "Connections that were made after the first one was lost, those that ended before they were of use included.", func(s nats.Statistics) uint64 { return s.Reconnects })
	counter("received_messages_total", "Messages that came over the connection.", func(s nats.Statistics) uint64 { return s.InMsgs })
	counter("received_bytes_total", "Bytes of those messages.", func(s nats.Statistics) uint64 { return s.InBytes })
	counter("sent_messages_total", "Messages that were sent over the connection.", func(s nats.Statistics) uint64 { return s.OutMsgs })
	counter("sent_bytes_total", "Bytes of those messages.", func(s nats.Statistics) uint64 { return s.OutBytes })
	r.MustRegister(m)
}

// Describe implements prometheus.Collector.
func (m *natsMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, metric := range m.list {
		to <- metric.desc
	}
}

// Collect implements prometheus.Collector.
func (m *natsMetrics) Collect(to chan<- prometheus.Metric) {
	stats := m.nc.Stats()
	for _, metric := range m.list {
		to <- prometheus.MustNewConstMetric(metric.desc, metric.kind, metric.value(stats))
	}
}
