package feed

import "time"

// doubts are partitions that requests wait for and no projector knows of.
type doubts map[Partition]doubt

// doubt is since when a partition has been asked for, and when it was last.
type doubt struct{ since, last time.Time }

// maxDoubts bounds what senseless requests make us remember.
const maxDoubts = 1000

// lasts notes that somebody asks for a partition, and reports whether that has gone
// on for so long that it would be known if it existed.
func (d doubts) lasts(p Partition, now time.Time, discovery time.Duration) bool {
	of, known := d[p]
	if !known && len(d) == maxDoubts {
		clear(d) // they are only asked for a little longer
	}
	if !known || now.Sub(of.last) > forgetAfter { // it may have been added meanwhile
		of.since = now
	}
	of.last = now
	d[p] = of
	return now.Sub(of.since) >= discovery
}
