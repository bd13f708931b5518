package projection_test

import (
	"cmp"
	"runtime"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

var forEver = projection.NewRules(
	projection.Plan{Version: projection.Version{Time: 1}}, projectiontest.Now, func(string) bool { return false })

// inGroup is what a member sees of a group.
func inGroup(t *testing.T, own, shared projection.State) projection.Conversation {
	t.Helper()
	own.Set = &projection.Settings{Member: projection.Register[projection.Member]{
		Version: projection.Version{Time: 1}, Value: projection.Member{Status: events.StatusJoined},
	}}
	c, ok := projection.NewConversation("ann", "GROUPg", &own, &shared, nil)
	if !ok {
		t.Fatal("no conversation")
	}
	return c
}

// mostNamed is how many mentions a list names, by the contract.
const mostNamed = 20

// TestConversation_NamesTheNewestMentions has far more than are named, in days that are not
// in the order of their sequences.
func TestConversation_NamesTheNewestMentions(t *testing.T) {
	const days, messages = 7, 10_000
	var own, shared projection.State
	shared.Days = make([]projection.Day, days)
	var want []projection.MentionOf
	for day := range events.Day(days) {
		shared.Days[day].Day = day + 1
		for seq := uint64(day*3)%days + 1; seq <= messages; seq += days {
			shared.Days[day].Counted.Add(seq)
			kind := int(seq % 4) // 0: of nobody
			m := projection.Mention{Day: day + 1, Sequence: seq}
			if kind == 1 || kind == 3 {
				own.Mentions = append(own.Mentions, m)
			}
			if kind == 2 || kind == 3 {
				shared.Mentions = append(shared.Mentions, m)
			}
			switch {
			case seq%5 == 0:
				shared.Recalled.Add(seq)
			case seq%11 == 0:
				shared.Days[day].Uncounted.Add(seq)
			case kind != 0:
				want = append(want, projection.MentionOf{Mention: m, Kind: kind})
			}
		}
	}
	slices.SortFunc(want, func(a, b projection.MentionOf) int { return cmp.Compare(b.Sequence, a.Sequence) })
	for _, read := range []uint64{0, messages - 60, messages - 20, messages} {
		own.Read.Sequence = read
		c := inGroup(t, own, shared)
		got, named := c.Mentions(forEver), want
		if i := slices.IndexFunc(want, func(m projection.MentionOf) bool { return m.Sequence <= read }); i >= 0 {
			named = want[:i]
		}
		named = named[:min(len(named), mostNamed)]
		if diff := gocmp.Diff(append([]projection.MentionOf(nil), named...), got); diff != "" {
			t.Errorf("above %d (-want +got):\n%s", read, diff)
		}
		if most := 2 * mostNamed; cap(got) > most { // who keeps the list keeps what is behind it
			t.Errorf("above %d: %d mentions have room for %d, want at most %d", read, len(got), cap(got), most)
		}
	}
}

// TestConversation_LooksAtTheRecallsOfADay holds that each day is counted without what was
// recalled of all others.
func TestConversation_LooksAtTheRecallsOfADay(t *testing.T) {
	const days, messages = 200, 100
	var shared projection.State
	seq, want := uint64(0), uint64(0)
	for day := range events.Day(days) {
		d := projection.Day{Day: day + 1}
		for i := range messages {
			seq += 2
			d.Counted.Add(seq)
			if i%3 == 0 {
				shared.Recalled.Add(seq)
			} else {
				want++
			}
		}
		shared.Days = append(shared.Days, d)
	}
	c := inGroup(t, projection.State{}, shared)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := c.Unread(forEver)
	runtime.ReadMemStats(&after)
	if got != want {
		t.Errorf("%d are unread, want %d", got, want)
	}
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(2<<20); used > most { // of all days for each: 20 MB
		t.Errorf("it took %d bytes, want at most %d", used, most)
	}
}
