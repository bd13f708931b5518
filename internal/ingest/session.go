package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// session is our part in one generation of the consumer group.
type session struct {
	generation int32
	partitions []*partition
	// commit is fenced by the generation: the coordinator refuses it afterwards.
	commit func(map[string]map[int]int64) error
	// commitAfter is when the next attempt is due after one that has failed. It is the writer's.
	commitAfter time.Time
	// done is closed when the generation has ended, or the coordinator has said so before
	// the heartbeat noticed.
	done chan struct{}
	once sync.Once // closes done
	// resumed is closed when it is known where the partitions begin.
	resumed chan struct{}
	// reading counts the owners that have not stopped reading.
	reading sync.WaitGroup
}

func newSession(g *kafka.Generation) *session {
	s := &session{generation: g.ID, commit: g.CommitOffsets, done: make(chan struct{}), resumed: make(chan struct{})}
	for topic, assigned := range g.Assignments {
		for _, a := range assigned {
			s.partitions = append(s.partitions, newPartition(topic, a, s))
		}
	}
	return s
}

// end says that nothing may be committed any more.
func (s *session) end() { s.once.Do(func() { close(s.done) }) }

// ended reports whether nothing may be committed any more.
func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// stopReading waits until all owners have stopped, which they were told to. It reports
// false when one has not in time: the others' work is not to wait for it.
func (s *session) stopReading(within time.Duration) bool {
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.reading.Wait() }()
	select {
	case <-stopped:
		return true
	case <-time.After(within):
		return false
	}
}

// resume has the partitions that were begun where the sink writes go on where the group was.
func (s *session) resume(begun func(events.Partition) bool) {
	for _, p := range s.partitions {
		p.resume(begun(p.Partition))
	}
	close(s.resumed)
}

// committable gives the offsets that are news to the group.
func (s *session) committable() map[*partition]int64 {
	offsets := map[*partition]int64{}
	for _, p := range s.partitions {
		if offset, news := p.committable(); news {
			offsets[p] = offset
		}
	}
	return offsets
}

// writing are the offsets from which on everything is still to be written, of the
// partitions of which it is known.
func (s *session) writing() map[events.Partition]int64 {
	from := map[events.Partition]int64{}
	for _, p := range s.partitions {
		if written, _ := p.progress(); written >= 0 {
			from[p.Partition] = written
		}
	}
	return from
}

// unread is how many records can be read that were not, as far as is known.
func (s *session) unread() (n int64) {
	for _, p := range s.partitions {
		n += p.unread()
	}
	return n
}

// spokenOf are the empty ranges at what others were told of.
func (s *session) spokenOf() []events.Range {
	var ranges []events.Range
	for _, p := range s.partitions {
		if r, ok := p.spokenOf(); ok {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// names gives the IDs of the partitions by topic, and one readable list.
func (s *session) names() (map[string][]int, []string) {
	ids := map[string][]int{}
	var names []string
	for _, p := range s.partitions {
		ids[p.Topic] = append(ids[p.Topic], p.ID)
		names = append(names, p.String())
	}
	slices.Sort(names)
	return ids, names
}
