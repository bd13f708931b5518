package ingest

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// balancer spreads the partitions of all topics together evenly over the
// members. (kafka-go's balancers do it topic by topic, so that with two topics
// of few partitions some members would get two and others none.) It also
// remembers what it has spread, against which the leader looks for new partitions.
type balancer struct {
	process string // what the members of the group know this one by

	mu     sync.Mutex
	counts map[string]int // partitions by topic; nil: not the leader since the last take
}

// ProtocolName implements kafka.GroupBalancer.
func (b *balancer) ProtocolName() string { return "convoview-spread" }

// UserData implements kafka.GroupBalancer.
func (b *balancer) UserData() ([]byte, error) { return []byte(b.process), nil }

// AssignGroups implements kafka.GroupBalancer.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	members = slices.SortedFunc(slices.Values(members), func(x, y kafka.GroupMember) int { return cmp.Compare(x.ID, y.ID) })
	partitions = slices.SortedFunc(slices.Values(partitions), func(x, y kafka.Partition) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.ID, y.ID))
	})

	assignments := kafka.GroupMemberAssignments{}
	for _, m := range members {
		assignments[m.ID] = map[string][]int{}
	}
	counts, load := map[string]int{}, map[string]int{}
	for _, p := range partitions {
		counts[p.Topic]++
		least := ""
		for _, m := range members {
			if slices.Contains(m.Topics, p.Topic) && (least == "" || load[m.ID] < load[least]) {
				least = m.ID
			}
		}
		if least != "" {
			load[least]++
			assignments[least][p.Topic] = append(assignments[least][p.Topic], p.ID)
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts = counts
	return assignments
}

// take gives the number of partitions by topic that were spread since the last
// take; nil when it was another member that spread them.
func (b *balancer) take() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := b.counts
	b.counts = nil
	return maps.Clone(counts)
}
