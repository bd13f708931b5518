package feed

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

var begin = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ranges(list ...[3]int64) []*feedpb.Range {
	var r []*feedpb.Range
	for _, v := range list {
		r = append(r, &feedpb.Range{Topic: "t", Partition: int32(v[0]), From: v[1], To: v[2]})
	}
	return r
}

func TestTracker_Gaps(t *testing.T) {
	type said struct {
		by     string
		number uint64
		ranges []*feedpb.Range
		lost   string
	}
	for _, c := range []struct {
		name string
		said []said
		want int64 // applied of partition 0
	}{
		{"what follows is no gap", []said{
			{"a", 1, ranges([3]int64{0, 10, 20}), "what came before offset 10 of t/0"},
			{"a", 2, ranges([3]int64{0, 20, 30}), ""},
			{"a", 3, ranges([3]int64{0, 30, 30}), ""},
		}, 30},
		{"a range that begins too late", []said{
			{"a", 1, ranges([3]int64{0, 10, 20}), "what came before offset 10 of t/0"},
			{"a", 2, ranges([3]int64{0, 25, 30}), "offsets 20 to 24 of t/0"},
			{"a", 3, ranges([3]int64{0, 30, 40}), ""},
		}, 40},
		{"an owner repeats its position after its last announcement was lost", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"b", 1, ranges([3]int64{0, 30, 30}), "offsets 20 to 29 of t/0"},
		}, 30},
		{"another owner begins where it was committed", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"b", 1, ranges([3]int64{0, 12, 20}), ""},
			{"b", 2, ranges([3]int64{0, 20, 25}), ""},
		}, 25},
		{"one that thinks it still owns the partition", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"b", 1, ranges([3]int64{0, 20, 40}), ""},
			{"a", 2, ranges([3]int64{0, 20, 30}), ""},
			{"b", 2, ranges([3]int64{0, 40, 50}), ""},
		}, 50},
		{"a part of a batch is lost", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"a", 3, ranges([3]int64{0, 20, 30}), "announcements 2 to 2 of projector a"},
		}, 30},
		{"a late part is not lost again", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"a", 3, nil, "announcements 2 to 2 of projector a"},
			{"a", 2, ranges([3]int64{0, 20, 30}), ""},
			{"a", 4, ranges([3]int64{0, 30, 31}), ""},
		}, 31},
		{"one that was not heard from its beginning", []said{
			{"a", 7, ranges([3]int64{0, 0, 20}), "announcements 1 to 6 of projector a"},
		}, 20},
		{"moved by force", []said{
			{"a", 1, ranges([3]int64{0, 0, 20}), "what came before offset 0 of t/0"},
			{"a", 2, []*feedpb.Range{{Topic: "t", From: 5, To: 6, Moved: true}}, "what came before offset 5 of t/0"},
			{"a", 3, ranges([3]int64{0, 6, 7}), ""},
		}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTracker()
			for i, s := range c.said {
				lost := tr.take(s.by, &feedpb.Announcement{Number: s.number, Ranges: s.ranges}, begin)
				if lost != s.lost {
					t.Errorf("announcement %d: lost %q, want %q", i, lost, s.lost)
				}
			}
			if got := tr.applied[events.Partition{Topic: "t"}]; got != c.want {
				t.Errorf("applied up to %d, want %d", got, c.want)
			}
		})
	}
}

func TestTracker_Silence(t *testing.T) {
	tr := newTracker()
	if _, known := tr.silent(begin); known {
		t.Error("topics are known before anybody spoke")
	}
	topics := []*feedpb.Topic{{Name: "t", Partitions: 3}}
	tr.take("a", &feedpb.Announcement{Number: 1, Topics: topics, Ranges: ranges([3]int64{0, 0, 0}, [3]int64{2, 0, 0})}, begin)
	tr.take("b", &feedpb.Announcement{Number: 1, Topics: topics, Ranges: ranges([3]int64{0, 0, 0})}, begin.Add(time.Second))
	silent, known := tr.silent(begin.Add(time.Second))
	if diff := cmp.Diff([]events.Partition{{Topic: "t", ID: 1}, {Topic: "t", ID: 2}}, silent); diff != "" || !known {
		t.Errorf("silent (-want +got):\n%s", diff)
	}
}

// Who knows of fewer partitions has not looked yet, unless nobody has known of more for long.
func TestTracker_PartitionsOfTopics(t *testing.T) {
	tr := newTracker()
	for _, c := range []struct {
		by   string
		says int32
		at   time.Duration
		want int32
	}{
		{"a", 2, 0, 2},
		{"b", 3, time.Second, 3},
		{"a", 2, 2 * time.Second, 3},
		{"b", 3, 8 * time.Second, 3},
		{"a", 2, 15 * time.Second, 3},
		{"a", 1, 19 * time.Second, 1},
		{"b", 1, 20 * time.Second, 1},
		{"b", 4, 21 * time.Second, 4},
	} {
		tr.take(c.by, &feedpb.Announcement{Topics: []*feedpb.Topic{{Name: "t", Partitions: c.says}}}, begin.Add(c.at))
		if got := tr.topics["t"].partitions; got != c.want {
			t.Errorf("after %s: %d partitions, want %d", c.at, got, c.want)
		}
	}
}

func TestTracker_ForgetsProjectors(t *testing.T) {
	tr := newTracker()
	for i := range 100 {
		tr.take(string(rune('a'+i)), &feedpb.Announcement{Number: 1}, begin.Add(time.Duration(i)*time.Minute))
	}
	if n := len(tr.projectors); n > 3 {
		t.Errorf("%d projectors are remembered", n)
	}
}
