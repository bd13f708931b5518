package ingest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// session is our part in one generation of the consumer group.
type session struct {
	generation int32
	partitions []*partition
	// commit is fenced by the generation: the coordinator refuses it afterwards.
	commit func(map[string]map[int]int64) error
	// done is closed when the generation has ended.
	done chan struct{}
	// lost: the coordinator said so before the heartbeat noticed.
	lost atomic.Bool
	// resumed: the partitions have begun where the group was, if they do. Who looks
	// whether they do is in resuming, which has room for one.
	resumed  bool
	resuming chan struct{}
	// reading counts the owners that have not stopped reading.
	reading sync.WaitGroup
}

func newSession(g *kafka.Generation) *session {
	s := &session{generation: g.ID, commit: g.CommitOffsets, done: make(chan struct{}), resuming: make(chan struct{}, 1)}
	for topic, assigned := range g.Assignments {
		for _, a := range assigned {
			s.partitions = append(s.partitions, newPartition(topic, a, s))
		}
	}
	return s
}

// ended reports whether nothing may be committed any more.
func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return s.lost.Load()
	}
}

// resume has the partitions begin where the group was, once it is known that what is
// before that was written where the keeper writes, who is nil if there is but one place.
func (s *session) resume(ctx context.Context, keeper Keeper) error {
	select {
	case s.resuming <- struct{}{}:
		defer func() { <-s.resuming }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.resumed {
		return nil
	}
	var begun map[events.Partition]bool
	if keeper != nil {
		var err error
		if begun, err = keeper.Begun(ctx); err != nil {
			return fmt.Errorf("look whether what is committed was written here: %w", err)
		}
	}
	for _, p := range s.partitions {
		if keeper == nil || begun[events.Partition{Topic: p.topic, ID: p.id}] {
			p.resume()
		}
	}
	s.resumed = true
	return nil
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
			from[events.Partition{Topic: p.topic, ID: p.id}] = written
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
		ids[p.topic] = append(ids[p.topic], p.id)
		names = append(names, p.topic+"/"+strconv.Itoa(p.id))
	}
	slices.Sort(names)
	return ids, names
}
