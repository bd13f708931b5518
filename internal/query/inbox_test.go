package query

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/projection"
)

// TestInbox_RowsAreInOrder merges conversations in any portions, some of them again.
func TestInbox_RowsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		portions := rapid.SliceOfN(rapid.SliceOf(rapid.SampledFrom([]string{"C2Ca", "C2Cab", "C2Cb", "C2Cd", "GROUPa", "GROUPg", "@TIM#SYSTEM"})), 1, 5)
		var in inbox
		all := map[string]struct{}{}
		for _, portion := range portions.Draw(t, "portions") {
			states := map[string]*projection.State{}
			for _, id := range portion {
				states[id], all[id] = &projection.State{Known: true}, struct{}{}
			}
			in.merge(states)
			var got []string
			for _, r := range in.rows {
				got = append(got, r.id)
			}
			if want := slices.Sorted(maps.Keys(all)); !slices.Equal(want, got) {
				t.Fatalf("want %q, got %q", want, got)
			}
		}
	})
}

// TestPage_Spare holds that a page's bytes become those of another one that fits, and that a
// short list does not lie in what a long one took.
func TestPage_Spare(t *testing.T) {
	for _, c := range []struct {
		name                   string
		length, capacity, size int
		lent                   int32
		spared                 bool
	}{
		{"as large", 100, 100, 100, 0, true},
		{"larger than what lay there, and fits", 60, 100, 100, 0, true},
		{"half as large", 100, 100, 50, 0, true},
		{"smaller than half", 100, 100, 49, 0, false},
		{"too large", 100, 100, 101, 0, false},
		{"lent", 100, 100, 100, 1, false},
	} {
		p := &page{reply: make([]byte, c.length, c.capacity)}
		p.lent.Store(c.lent)
		if got := p.spare(c.size); len(got) != 0 || (cap(got) == c.capacity) != c.spared {
			t.Errorf("%s: %d bytes of %d, spared: want %t", c.name, cap(got), c.capacity, c.spared)
		}
	}
	if got := (*page)(nil).spare(1); got != nil {
		t.Errorf("of no page: %d bytes", cap(got))
	}
}

// BenchmarkInbox_NewConversation is what one more conversation costs a user who has many.
func BenchmarkInbox_NewConversation(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var in inbox
			states := map[string]*projection.State{}
			for i := range n {
				states[fmt.Sprintf("C2Cuser-%08d", i*7919%n)] = &projection.State{Known: true}
			}
			in.merge(states)
			i := 0
			for b.Loop() {
				i++
				in.merge(map[string]*projection.State{fmt.Sprintf("C2Cuser-%08d-%d", i*7919%n, i): {Known: true}})
			}
		})
	}
}
