package ingest

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/convoview/convoview/internal/events"
)

type metrics struct {
	records, recordBytes                            *prometheus.CounterVec
	deadLetters, skipped                            *prometheus.CounterVec
	unknownFields, conflicts, leftOut               prometheus.Counter
	batchEvents, batchBytes                         prometheus.Histogram
	decode, fold, write, announce, commit           prometheus.Observer
	visible, announced                              prometheus.Observer
	writeFailures, announceFailures                 prometheus.Counter
	commits, commitFailures                         prometheus.Counter
	deadLetterFailures                              prometheus.Counter
	stalls, outOfRange, lostRecords, fetchFailures  *prometheus.CounterVec
	corruptedBatches                                *prometheus.CounterVec
	bufferedEvents, bufferedBytes, waitingForRoom   prometheus.Gauge
	partitions, deadLettersWaiting, generationGauge prometheus.Gauge
}

// The values of labels that are known beforehand, so that each is there, as 0, before
// it happens: what begins with 1 has no rate.
var (
	stages = struct{ decode, fold, write, announce, commit, visible, announced string }{
		"decode", "fold", "write", "announce", "commit", "visible", "announced",
	}
	skipReasons = []string{"empty_value", "unknown_body", "left_out", "aborted", "control"}
)

func newMetrics(registerer prometheus.Registerer, prefix string, topics []string) *metrics {
	factory := promauto.With(registerer)
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Name: prefix + "_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: prefix + "_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Name: prefix + "_" + name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return factory.NewHistogram(prometheus.HistogramOpts{Name: prefix + "_" + name, Help: help, Buckets: buckets})
	}
	histograms := func(name, help, label string, buckets []float64) *prometheus.HistogramVec {
		return factory.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + "_" + name, Help: help, Buckets: buckets}, []string{label})
	}
	perEvent := histograms("event_duration_seconds", "Time that one event takes in a stage (decode, fold), measured of one event in 64.",
		"stage", prometheus.ExponentialBuckets(0.25e-6, 4, 10))
	perBatch := histograms("batch_duration_seconds", "Time that what is written in one go takes in a stage: the write that succeeded, without the attempts before it and without waiting for more (write), telling query workers (announce), the successful commit of its offsets (commit).",
		"stage", prometheus.ExponentialBuckets(0.0001, 2, 18))
	freshness := histograms("freshness_seconds", "Age, by its Kafka timestamp, of the oldest record of each partition in a batch when its rows are visible in the read model (visible) and when query workers were told (announced). No record of it took longer.",
		"stage", freshnessBuckets)
	m := &metrics{
		decode: perEvent.WithLabelValues(stages.decode), fold: perEvent.WithLabelValues(stages.fold),
		write: perBatch.WithLabelValues(stages.write), announce: perBatch.WithLabelValues(stages.announce), commit: perBatch.WithLabelValues(stages.commit),
		visible: freshness.WithLabelValues(stages.visible), announced: freshness.WithLabelValues(stages.announced),
		records:     counters("records_total", "Records read from a topic, whatever became of them.", "topic"),
		recordBytes: counters("record_bytes_total", "Bytes of keys, values and headers of the records read from a topic.", "topic"),
		deadLetters: counters("dead_letters_total", "Records that held no valid event, by the code of the dead letter. They are counted when met, so those met again after a restart count again.", "code"),
		skipped:     counters("skipped_records_total", "Records that hold nothing for this version and are no error: empty values (empty_value), events of an unknown kind (unknown_body), events that a rebuild leaves out (left_out), records of aborted transactions (aborted) and the markers that end transactions (control). The latter two are not in records_total.", "reason"),
		unknownFields: counter("unknown_fields_total",
			"Fields of valid events that this version does not know and ignored. A newer producer writes them, or somebody misspelt one."),
		conflicts: counter("sequence_conflicts_total",
			"Messages that were seen with the sequence of another message of their conversation within one batch: a producer's fault."),
		leftOut: counter("left_out_events_total",
			"Events that came although a generation of the read model leaves them out. The other ones have them."),
		batchEvents: histogram("batch_events", "Events folded into one write.", prometheus.ExponentialBuckets(1, 4, 10)),
		batchBytes:  histogram("batch_bytes", "Bytes of the records folded into one write.", prometheus.ExponentialBuckets(256, 4, 11)),
		writeFailures: counter("write_failures_total",
			"Attempts to write a batch that the sink refused. The batch is tried again until it succeeds, and nothing is committed before."),
		announceFailures:   counter("announce_failures_total", "Announcements that did not get out. Who follows them notices and loads again what is in memory."),
		commits:            counter("commits_total", "Successful commits of offsets."),
		commitFailures:     counter("commit_failures_total", "Failed commits of offsets. What is not committed is read again after a restart or rebalance, which changes nothing."),
		deadLetterFailures: counter("dead_letter_write_failures_total", "Failed attempts to write dead letters to their topic. The offsets of their partitions are not committed before they succeed."),
		stalls:             counters("stalls_total", "Times that a partition made no progress for the stall timeout although its end is ahead. Its connection is then made anew; a growing number needs somebody to look.", "topic"),
		outOfRange:         counters("offset_out_of_range_total", "Times that the next offset of a partition was no longer in it and reading went on at the earliest one: data were lost unless the log names a topic made anew.", "topic"),
		lostRecords:        counters("lost_offsets_total", "Offsets that were deleted from a topic before they were read.", "topic"),
		corruptedBatches:   counters("corrupted_batches_total", "Record batches that the leader holds corrupted. Their records are not projected; the log names the offsets.", "topic"),
		fetchFailures:      counters("fetch_failures_total", "Failed fetches and connections to partition leaders.", "topic"),
		bufferedEvents:     gauge("buffered_events", "Events folded and waiting for the next write."),
		bufferedBytes:      gauge("buffered_bytes", "Bytes of the records folded and waiting for the next write."),
		waitingForRoom:     gauge("partitions_waiting_for_room", "Partitions that are not read because the next batch is full while the previous one is being written."),
		partitions:         gauge("partitions", "Partitions that this process reads."),
		deadLettersWaiting: gauge("dead_letters_waiting", "Dead letters that are not yet written to their topic."),
		generationGauge:    gauge("group_generation", "Generation of the consumer group that this process is in."),
	}
	for _, code := range events.Codes() {
		m.deadLetters.WithLabelValues(string(code))
	}
	for _, reason := range skipReasons {
		m.skipped.WithLabelValues(reason)
	}
	for _, topic := range topics {
		for _, v := range []*prometheus.CounterVec{m.records, m.recordBytes, m.stalls, m.outOfRange, m.lostRecords, m.corruptedBatches, m.fetchFailures} {
			v.WithLabelValues(topic)
		}
	}
	return m
}

// freshnessBuckets are from 5 ms to 2.7 hours.
var freshnessBuckets = prometheus.ExponentialBuckets(0.005, 2, 22)

// sampledEvery is of how many events one is timed: the clock would take a tenth of what
// decoding does.
const sampledEvery = 64

// stopwatch times the stages of one event, or nothing.
type stopwatch struct{ at time.Time }

func sample(offset int64) stopwatch {
	if offset%sampledEvery != 0 {
		return stopwatch{}
	}
	return stopwatch{time.Now()}
}

// lap ends a stage and begins the next one.
func (s *stopwatch) lap(of prometheus.Observer) {
	if !s.at.IsZero() {
		now := time.Now()
		of.Observe(now.Sub(s.at).Seconds())
		s.at = now
	}
}

// lags exports how far the partitions are behind that this process reads, as it is when
// somebody asks.
type lags struct {
	session                  func() *session // nil, or one that has ended: there are none
	joined, records, seconds *prometheus.Desc
}

func newLags(prefix string, session func() *session) *lags {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+"_"+name, help, labels, nil)
	}
	return &lags{
		session: session,
		joined:  desc("group_joined", "1 while this process is a member of the consumer group, with or without partitions; 0: it reads nothing."),
		records: desc("lag_records", "Offsets between what was written to the sink and the end of the partition, for the partitions of this process of which it is known where reading begins.", "topic", "partition"),
		seconds: desc("lag_seconds", "Age, by its Kafka timestamp, of the oldest record that is not written yet, for the partitions of this process; 0: all are. While that record could not be read, the time since it was heard of.", "topic", "partition"),
	}
}

// Describe implements prometheus.Collector.
func (l *lags) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.joined, l.records, l.seconds} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (l *lags) Collect(to chan<- prometheus.Metric) {
	s := l.session()
	if s == nil || s.ended() {
		to <- prometheus.MustNewConstMetric(l.joined, prometheus.GaugeValue, 0)
		return
	}
	to <- prometheus.MustNewConstMetric(l.joined, prometheus.GaugeValue, 1)
	for _, p := range s.partitions {
		records, age, known := p.lag(time.Now())
		if !known { // 0 would say that nothing is left to read
			continue
		}
		id := strconv.Itoa(p.ID)
		to <- prometheus.MustNewConstMetric(l.records, prometheus.GaugeValue, float64(records), p.Topic, id)
		to <- prometheus.MustNewConstMetric(l.seconds, prometheus.GaugeValue, age.Seconds(), p.Topic, id)
	}
}
