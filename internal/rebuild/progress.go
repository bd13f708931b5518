package rebuild

import (
	"maps"
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
)

// Progress is how far a rebuild is.
type Progress struct {
	Generation int
	// Done and Total are offsets: those that were read, and all that are to be; what
	// compaction and retention have left out counts as read.
	Done, Total int64
	// Waiting are partitions of which no projector has said yet from where on it writes them.
	Waiting []events.Partition
	// Rate is in offsets a second, lately.
	Rate float64
}

// Left is about how long it will take; 0 if nobody knows.
func (p Progress) Left() time.Duration {
	if p.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
}

// progress compares how far partitions are read with what projectors do not write
// themselves. It is whole when nothing of that is left in any partition.
func progress(read map[events.Partition]ingest.Progress, covered map[events.Partition]int64, all []events.Partition) (p Progress, whole bool) {
	whole = len(read) > 0
	for partition, at := range read {
		to, known := covered[partition]
		if !known {
			p.Waiting = append(p.Waiting, partition)
			to, whole = at.End, false
		}
		p.Total += max(0, to)
		p.Done += max(0, min(to, at.Written))
		whole = whole && at.Written >= to
	}
	for _, partition := range slices.AppendSeq(all, maps.Keys(covered)) {
		if _, assigned := read[partition]; !assigned { // it is new, or somebody else's
			whole = false
		}
	}
	return p, whole
}

// meter knows how fast it goes.
type meter struct {
	at   time.Time
	from int64 // done at the time at; -1: nothing was read yet
	rate float64
}

// meterWindow is the time over which a rate is taken.
const meterWindow = 5 * time.Second

func (m *meter) read(p *Progress) {
	now := time.Now()
	if m.from < 0 {
		m.from, m.at = p.Done, now
	}
	if since := now.Sub(m.at); since > 0 {
		p.Rate = float64(p.Done-m.from) / since.Seconds()
		if m.rate > 0 && since < meterWindow/2 {
			p.Rate = m.rate
		}
		if since > meterWindow {
			m.rate, m.from, m.at = p.Rate, p.Done, now
		}
	}
}
