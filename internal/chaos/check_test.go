package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// events are those of a range that count.
func (r *run) events(at events.Partition, from, to int64) (list []events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log[at]
	for o := from; o < min(to, int64(len(log))); o++ {
		if log[o].event != nil {
			list = append(list, *log[o].event)
		}
	}
	return list
}

// fold folds announced records.
func (r *run) fold(records []events.Record) *projection.Model {
	m := projection.NewModel()
	for _, record := range records {
		record.Timestamp = time.Now()
		e, err := r.decoder.Decode(record)
		if err != nil {
			r.wrong("an announced record: %v", err)
			continue
		}
		m.Fold(e)
	}
	return m
}

// checkAnnouncement holds that what is announced is visible, and complete.
func (r *run) checkAnnouncement(p *process, a announcement) {
	told, visible := r.fold(a.records), r.store.snapshot()
	for _, g := range a.ranges {
		list := r.events(g.Partition, g.From, g.To)
		if !has(told, list) {
			r.wrong("%s: announced %+v without its records", p.name, g)
		}
		if !has(visible, list) {
			r.wrong("%s: announced %+v before it was visible", p.name, g)
		}
	}
}

// checkCommit holds that what is committed is in the store, and was announced.
func (r *run) checkCommit(p *process, at events.Partition, offset int64, announced bool) {
	r.mu.Lock()
	covered := r.covered[at]
	r.mu.Unlock()
	if offset > covered {
		if !has(r.store.snapshot(), r.events(at, covered, offset)) {
			r.wrong("%s: commits %v at %d before it is in the store", p.name, at, offset)
		}
		r.mu.Lock()
		r.covered[at] = max(r.covered[at], offset)
		r.mu.Unlock()
	}
	if !announced && offset > r.committed()[at] {
		r.wrong("%s: commits %v at %d before it has announced it", p.name, at, offset)
	}
}

// accepted takes note of a commit that has become the group's.
func (r *run) accepted(at events.Partition, generation int32, member string, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits[at] = append(r.commits[at], accepted{generation, member, offset})
}

// committed are the group's offsets.
func (r *run) committed() map[events.Partition]int64 {
	all := map[events.Partition]int64{}
	if g := r.cluster.GroupInfo(group); g != nil {
		for topic, list := range g.Commits {
			for id, c := range list {
				all[events.Partition{Topic: topic, ID: int(id)}] = c.Offset
			}
		}
	}
	return all
}

// ends are those of the partitions that have something.
func (r *run) ends() map[events.Partition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[events.Partition]int64{}
	for p, log := range r.log {
		all[p] = int64(len(log))
	}
	return all
}

// uncommitted tells which partitions are not committed to their end.
func (r *run) uncommitted() string { return behind("committed", r.committed(), r.ends()) }

// unheard tells of which partitions the listener has not heard the end.
func (r *run) unheard() string {
	_, known := r.listener.snapshot()
	return behind("heard of", known, r.ends())
}

// unfinished tells that an insert is held up.
func (r *run) unfinished() string {
	if r.suffering.Load() > 0 {
		return "an insert"
	}
	return ""
}

func behind(what string, got, want map[events.Partition]int64) string {
	for p, end := range want {
		if got[p] != end {
			return fmt.Sprintf("%v is %s to %d, ends at %d", p, what, got[p], end)
		}
	}
	return ""
}

// compare compares what has become of everything with what was produced.
func (r *run) compare() {
	if got := r.store.snapshot(); !same(got, r.want) {
		r.wrong("the read model differs (-want +got):\n%s", difference(r.want, got))
	}
	if got, _ := r.listener.snapshot(); !same(got, r.want) {
		r.wrong("what was heard differs (-want +got):\n%s", difference(r.want, got))
	}
	for at, list := range r.commits {
		slices.SortStableFunc(list, func(a, b accepted) int { return int(a.generation - b.generation) })
		for i := 1; i < len(list); i++ {
			before, after := list[i-1], list[i]
			if after.offset < before.offset {
				r.wrong("%v: committed at %d in generation %d, then at %d in %d", at, before.offset, before.generation, after.offset, after.generation)
			}
			if after.generation == before.generation && after.member != before.member {
				r.wrong("%v: committed by two members in generation %d", at, after.generation)
			}
		}
	}
	r.compareLetters()
}

func difference(want, got *projection.Model) string {
	diff := cmp.Diff(want, got, projectiontest.SameModel)
	return diff[:min(len(diff), 3000)]
}

// compareLetters holds that there is a dead letter of each bad record, and of no other.
func (r *run) compareLetters() {
	missing := map[string]bool{}
	for at, log := range r.log {
		for offset, e := range log {
			if e.bad {
				missing[fmt.Sprintf("%v at %d", at, offset)] = true
			}
		}
	}
	bad := maps.Clone(missing)
	for id := range deadCount {
		for _, m := range r.read(deadTopic, id) {
			headers := map[string]string{}
			for _, h := range m.Headers {
				headers[h.Key] = string(h.Value)
			}
			partition, _ := strconv.Atoi(headers["convoview-partition"])
			name := fmt.Sprintf("%v at %s", events.Partition{Topic: headers["convoview-topic"], ID: partition}, headers["convoview-offset"])
			if !bad[name] {
				r.wrong("a dead letter of %s, which is sound", name)
			}
			delete(missing, name)
			r.count("a dead letter")
		}
	}
	for name := range missing {
		r.wrong("no dead letter of %s", name)
	}
}

// unpacker unpacks dead letters in the bubble that it is used in. The decoders of zstd that
// kafka-go and franz-go have are kept in pools, and come back in other bubbles or in none.
type unpacker struct{}

func (unpacker) Decompress(packed []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec != kgo.CodecZstd {
		return packed, nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(packed, nil)
}

// read gives all records of a partition.
func (r *run) read(topic string, id int) (list []*kgo.Record) {
	c, err := (&kafka.Dialer{DialFunc: r.dial}).DialLeader(r.ctx, "tcp", r.config.Brokers[0], topic, id)
	if err != nil {
		panic(err)
	}
	defer func() { _ = c.Close() }()
	next, end, err := c.ReadOffsets()
	if err != nil {
		panic(err)
	}
	client := r.client(kgo.WithDecompressor(unpacker{}), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(id): kgo.NewOffset().At(next)}}))
	defer client.Close()
	for next < end {
		fetches := client.PollFetches(r.ctx)
		if err := fetches.Err(); err != nil {
			panic(err)
		}
		fetches.EachRecord(func(m *kgo.Record) { list, next = append(list, m), m.Offset+1 })
	}
	return list
}
