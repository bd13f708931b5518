package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	records, recordBytes                            *prometheus.CounterVec
	deadLetters, skipped                            *prometheus.CounterVec
	unknownFields, conflicts, leftOut               prometheus.Counter
	batchEvents, batchBytes, writeSeconds           prometheus.Histogram
	writeFailures, announceFailures                 prometheus.Counter
	commits, commitFailures                         prometheus.Counter
	deadLetterFailures                              prometheus.Counter
	lag                                             *prometheus.GaugeVec
	stalls, outOfRange, lostRecords, fetchFailures  *prometheus.CounterVec
	corruptedBatches                                *prometheus.CounterVec
	bufferedEvents, bufferedBytes, waitingForRoom   prometheus.Gauge
	partitions, deadLettersWaiting, generationGauge prometheus.Gauge
}

const namespace = "convoview"

func newMetrics(registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: "ingest", Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: "ingest", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return factory.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: "ingest", Name: name, Help: help, Buckets: buckets})
	}
	return &metrics{
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
		batchEvents:  histogram("batch_events", "Events folded into one write.", prometheus.ExponentialBuckets(1, 4, 10)),
		batchBytes:   histogram("batch_bytes", "Bytes of the records folded into one write.", prometheus.ExponentialBuckets(256, 4, 11)),
		writeSeconds: histogram("write_seconds", "Duration of the successful writes to the sink, without the attempts before them.", prometheus.ExponentialBuckets(0.001, 2, 15)),
		writeFailures: counter("write_failures_total",
			"Attempts to write a batch that the sink refused. The batch is tried again until it succeeds, and nothing is committed before."),
		announceFailures:   counter("announce_failures_total", "Announcements that did not get out. Who follows them notices and loads again what is in memory."),
		commits:            counter("commits_total", "Successful commits of offsets."),
		commitFailures:     counter("commit_failures_total", "Failed commits of offsets. What is not committed is read again after a restart or rebalance, which changes nothing."),
		deadLetterFailures: counter("dead_letter_write_failures_total", "Failed attempts to write dead letters to their topic. The offsets of their partitions are not committed before they succeed."),
		lag:                factory.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: "ingest", Name: "lag_records", Help: "Offsets between what was written to the sink and the end of the partition, for the partitions of this process."}, []string{"topic", "partition"}),
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
}
