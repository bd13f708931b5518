package rebuild

import (
	"slices"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
)

// TestProgress_IsWhole holds that a generation has everything only when each partition that
// there is was read up to where projectors write it: what is declared whole too early lacks
// records for ever.
func TestProgress_IsWhole(t *testing.T) {
	a, b, c := events.Partition{Topic: "t"}, events.Partition{Topic: "t", ID: 1}, events.Partition{Topic: "t", ID: 2}
	type read = map[events.Partition]ingest.Progress
	type offsets = map[events.Partition]int64
	of := func(written, end int64) ingest.Progress { return ingest.Progress{Written: written, End: end} }
	both := []events.Partition{a, b}
	for name, at := range map[string]struct {
		read        read
		covered     offsets
		all         []events.Partition
		whole       bool
		done, total int64
		waiting     []events.Partition
	}{
		"up to where projectors write":  {read{a: of(10, 12), b: of(5, 5)}, offsets{a: 10, b: 5}, both, true, 15, 15, nil},
		"beyond":                        {read{a: of(12, 12), b: of(5, 5)}, offsets{a: 10, b: 5}, both, true, 15, 15, nil},
		"one short":                     {read{a: of(9, 12), b: of(5, 5)}, offsets{a: 10, b: 5}, both, false, 14, 15, nil},
		"no projector writes one":       {read{a: of(10, 12), b: of(5, 7)}, offsets{a: 10}, both, false, 15, 17, []events.Partition{b}},
		"nor is there anything in it":   {read{a: of(10, 12), b: of(0, 0)}, offsets{a: 10}, both, false, 10, 10, []events.Partition{b}},
		"empty, and written from 0 on":  {read{a: of(0, 0), b: of(0, 0)}, offsets{a: 0, b: 0}, both, true, 0, 0, nil},
		"it is not known where one is":  {read{a: of(10, 12), b: of(-1, -1)}, offsets{a: 10, b: 0}, both, false, 10, 10, nil},
		"neither is known of one":       {read{a: of(10, 12), b: of(-1, -1)}, offsets{a: 10}, both, false, 10, 10, []events.Partition{b}},
		"nothing is read":               {read{}, offsets{}, nil, false, 0, 0, nil},
		"somebody else reads one":       {read{a: of(10, 10)}, offsets{a: 10, b: 5}, both, false, 10, 10, nil},
		"one is new":                    {read{a: of(10, 10), b: of(5, 5)}, offsets{a: 10, b: 5}, []events.Partition{a, b, c}, false, 15, 15, nil},
		"one is new to projectors only": {read{a: of(10, 10)}, offsets{a: 10, b: 5}, []events.Partition{a}, false, 10, 10, nil},
	} {
		p, whole := progress(at.read, at.covered, at.all)
		if whole != at.whole || p.Done != at.done || p.Total != at.total || !slices.Equal(p.Waiting, at.waiting) {
			t.Errorf("%s: whole %t, %d of %d, waiting for %v; want %t, %d of %d, %v",
				name, whole, p.Done, p.Total, p.Waiting, at.whole, at.done, at.total, at.waiting)
		}
	}
}
