package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go"
)

// balancer spreads the partitions of all topics together evenly over the
// members. (kafka-go's balancers do it topic by topic, so that with two topics
// of few partitions some members would get two and others none.) It also
// remembers what it has spread, against which the leader looks for new partitions.
type balancer struct {
	process string                   // what the members of the group know this one by
	others  func() []kafka.Partition // those of the topics that exist

	mu     sync.Mutex
	counts map[string]int // partitions by topic; nil: not the leader since the last take
	doubt  bool           // a commit has no answer, and may still get there
	doubts int            // joins with one in doubt
}

// ProtocolName implements kafka.GroupBalancer.
func (b *balancer) ProtocolName() string { return "convoview-spread" }

// UserData implements kafka.GroupBalancer. It is what joining says, and the group gives a
// member that comes back with the same words the generation that it had. A commit of before
// that is still under way would then be taken, and put back what was committed since. So
// with one in doubt it says something new, which makes a new generation.
func (b *balancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doubt {
		b.doubt = false
		b.doubts++
	}
	if b.doubts == 0 {
		return []byte(b.process), nil
	}
	return []byte(b.process + doubtMark + strconv.Itoa(b.doubts)), nil
}

// doubtMark is in no process's name.
const doubtMark = "/"

// processOf is whose user data it is.
func processOf(userData []byte) string {
	process, _, _ := strings.Cut(string(userData), doubtMark)
	return process
}

// inDoubt says that a commit is under way or was not answered, or that there is none.
func (b *balancer) inDoubt(doubt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubt = doubt
}

// AssignGroups implements kafka.GroupBalancer. When a topic is missing, kafka-go gives the
// partitions of none.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	if len(partitions) == 0 {
		partitions = b.others()
	}
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
