package ingest

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
)

// TestPartition_Lag follows one partition through all that its lag may be.
func TestPartition_Lag(t *testing.T) {
	begin := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	p := newPartition("t", kafka.PartitionAssignment{Offset: 10}, nil)
	if _, _, known := p.lag(at(0)); known {
		t.Error("a lag is known, and the end is not")
	}
	p.sawEnd(12, at(0))
	if records, age, _ := p.lag(at(3)); records != 2 || age != 3*time.Second || p.behind() {
		t.Errorf("where it begins is not known: %d records, %v, behind %v", records, age, p.behind())
	}
	p.sawEnd(10, at(0))
	p.resume(true)
	holds := func(what string, now time.Time, records int64, age time.Duration) {
		t.Helper()
		if r, a, known := p.lag(now); r != records || a != age || !known {
			t.Errorf("%s: %d records, %v, want %d, %v", what, r, a, records, age)
		}
	}
	holds("nothing is known", at(0), 0, 0)
	p.sawEnd(10, at(0))
	holds("nothing is there", at(100), 0, 0)

	p.sawEnd(15, at(100))
	holds("heard of, not read", at(103), 5, 3*time.Second)

	p.advance(13)
	p.holds(at(40)) // they were written long ago
	holds("read in part", at(103), 5, 63*time.Second)
	p.advance(15)
	p.holds(at(50))
	holds("read", at(104), 5, 64*time.Second)

	p.wrote(&piece{to: 13, latest: at(45)})
	holds("written in part", at(105), 2, 60*time.Second)
	p.wrote(&piece{to: 15, latest: at(52)})
	holds("written", at(500), 0, 0)

	p.sawEnd(16, at(500))
	p.advance(16)
	p.holds(at(499))
	holds("after a long silence", at(501), 1, 2*time.Second)
	holds("by a clock that is behind Kafka's", at(498), 1, 0)

	p.reset(20) // reading goes on elsewhere
	p.wrote(&piece{to: 17, latest: at(499)})
	p.sawEnd(30, at(505))
	holds("elsewhere", at(510), 10, 10*time.Second)
}

// TestLags_OfUnknownBeginnings holds that nothing is said of a partition without a
// committed offset until it is known where reading begins.
func TestLags_OfUnknownBeginnings(t *testing.T) {
	p := newPartition("t", kafka.PartitionAssignment{Offset: -1}, nil)
	p.sawEnd(506, time.Now())
	l := newLags("ingest", func() *session { return &session{partitions: []*partition{p}} })
	if n := testutil.CollectAndCount(l, "ingest_lag_records", "ingest_lag_seconds"); n != 0 {
		t.Errorf("%d lags, and nobody knows any", n)
	}
	p.reset(6)
	if n := testutil.CollectAndCount(l, "ingest_lag_records", "ingest_lag_seconds"); n != 2 {
		t.Errorf("%d lags, want one in records and one in seconds", n)
	}
}

// TestSample_IsOfFew holds that hardly any event is timed.
func TestSample_IsOfFew(t *testing.T) {
	timed := 0
	for offset := range int64(100 * sampledEvery) {
		if watch := sample(offset); !watch.at.IsZero() {
			timed++
		}
	}
	if timed != 100 {
		t.Errorf("%d of %d", timed, 100*sampledEvery)
	}
}
