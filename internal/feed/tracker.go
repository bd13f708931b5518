package feed

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// tracker knows what was heard of each projector and each partition. It has no
// clock and no lock of its own.
type tracker struct {
	projectors map[string]*projector
	applied    map[events.Partition]int64     // the offset up to which everything is applied
	heard      map[events.Partition]time.Time // when somebody last spoke of it
	topics     map[string]count
}

// count is how many partitions a topic has, and when somebody last said that it has
// no fewer.
type count struct {
	partitions int32
	said       time.Time
}

type projector struct {
	number uint64
	heard  time.Time
}

func newTracker() *tracker {
	return &tracker{
		projectors: map[string]*projector{},
		applied:    map[events.Partition]int64{},
		heard:      map[events.Partition]time.Time{},
		topics:     map[string]count{},
	}
}

// forgetAfter is how long a silent projector is remembered. One that speaks
// again is taken for a new one, which costs a gap and nothing else.
const forgetAfter = time.Minute

// outdatedAfter is how long it counts that a topic had more partitions than are said
// now. Projectors see at different times that some were added, and repeat every
// second what they know; a topic that was made anew may have fewer.
const outdatedAfter = 10 * time.Second

// take takes an announcement. It gives what was lost before it, "" if nothing was.
func (t *tracker) take(name string, a *feedpb.Announcement, now time.Time) (lost string) {
	from := t.projectors[name]
	if from == nil {
		from = &projector{}
		t.projectors[name] = from
		for other, p := range t.projectors {
			if other != name && now.Sub(p.heard) > forgetAfter {
				delete(t.projectors, other)
			}
		}
	}
	from.heard = now
	if n := a.GetNumber(); n > from.number {
		if n != from.number+1 {
			lost = fmt.Sprintf("announcements %d to %d of projector %s", from.number+1, n-1, name)
		}
		from.number = n
	}
	for _, topic := range a.GetTopics() {
		if known, n := t.topics[topic.GetName()], topic.GetPartitions(); n >= known.partitions || now.Sub(known.said) > outdatedAfter {
			t.topics[topic.GetName()] = count{n, now}
		}
	}
	for _, r := range a.GetRanges() {
		p := partitionOf(r)
		known, ok := t.applied[p]
		switch {
		case r.GetMoved():
			lost, known = cmp.Or(lost, fmt.Sprintf("what came before offset %d of %s", r.GetFrom(), p)), 0
		case !ok:
			lost = cmp.Or(lost, fmt.Sprintf("what came before offset %d of %s", r.GetFrom(), p))
		case r.GetFrom() > known:
			lost = cmp.Or(lost, fmt.Sprintf("offsets %d to %d of %s", known, r.GetFrom()-1, p))
		}
		t.applied[p] = max(known, r.GetTo())
		t.heard[p] = now
	}
	return lost
}

func partitionOf(r *feedpb.Range) events.Partition {
	return events.Partition{Topic: r.GetTopic(), ID: int(r.GetPartition())}
}

// silent are the partitions of which nothing was heard since a time; nil is
// what to hope for. It reports false when no topic is known at all.
func (t *tracker) silent(since time.Time) (list []events.Partition, known bool) {
	for topic, has := range t.topics {
		for id := range has.partitions {
			p := events.Partition{Topic: topic, ID: int(id)}
			if t.heard[p].Before(since) {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, events.Partition.Compare)
	return list, len(t.topics) > 0
}
