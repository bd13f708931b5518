package projection_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestProjection_AnswersWhatTheContractSays holds every answer that is made of
// registers against the brute-force reading of the same events.
func TestProjection_AnswersWhatTheContractSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := projectiontest.Events(t, 100)
		chat := bruteforce.New(all, projectiontest.Now)
		model := fold(shuffled(t, all)...)
		filters := append(slices.Clone(plainFilters), drawFilter(t))
		for _, app := range append([]string{"empty"}, projectiontest.Apps...) {
			m := projectiontest.NewReader(app, model, projectiontest.Now)
			for _, user := range append([]string{"nobody"}, projectiontest.Users...) {
				for _, f := range filters {
					where := fmt.Sprintf("app %q, user %q, filter %s", app, user, encode(t, f))
					wantEqual(t, "list of "+where, encode(t, chat.List(app, user, f)), encode(t, m.List(user, f)))
					for _, muted := range []bool{false, true} {
						want, got := chat.Unread(app, user, f, muted), m.Unread(user, f, muted)
						if want != got {
							t.Fatalf("unread of %s, includeMuted %t: want %d, got %d", where, muted, want, got)
						}
					}
				}
				for _, id := range conversationIDs() {
					where := fmt.Sprintf("profile of app %q, user %q, conversation %q", app, user, id)
					want, wantKnown := chat.Profile(app, user, id)
					got, gotKnown := m.Profile(user, id)
					if wantKnown != gotKnown {
						t.Fatalf("%s: want known %t, got %t", where, wantKnown, gotKnown)
					}
					if wantKnown {
						wantEqual(t, where, encode(t, want), encode(t, got))
					}
				}
			}
		}
	})
}

// TestModel_FoldsInAnyOrder shuffles events, repeats some, and folds them in
// batches whose models are merged in any order.
func TestModel_FoldsInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := projectiontest.Tied(t, 60)
		want := fold(all...)
		repeated := shuffled(t, append(slices.Clone(all), all[:rapid.IntRange(0, len(all)).Draw(t, "repeated")]...))
		got := projection.NewModel()
		for len(repeated) > 0 {
			n := rapid.IntRange(1, len(repeated)).Draw(t, "batch")
			if rapid.Bool().Draw(t, "apart") {
				got.Merge(fold(repeated[:n]...))
			} else {
				for _, e := range repeated[:n] {
					got.Fold(e)
				}
			}
			repeated = repeated[n:]
		}
		wantSame(t, "folded in another order", want, got)
	})
}

// TestModel_MergeIsASemilattice merges models of different events.
func TestModel_MergeIsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts [3][]events.Event
		for i, e := range projectiontest.Tied(t, 60) {
			part := rapid.IntRange(0, 2).Draw(t, "part")
			parts[part] = append(parts[part], e)
			if i%7 == 0 { // parts may overlap
				parts[(part+1)%3] = append(parts[(part+1)%3], e)
			}
		}
		a, b, c := fold(parts[0]...), fold(parts[1]...), fold(parts[2]...)
		left, right := merge(merge(a, b), c), merge(a, merge(b, c))
		wantSame(t, "(a+b)+c and a+(b+c)", left, right)
		wantSame(t, "a+b and b+a", merge(a, b), merge(b, a))
		wantSame(t, "a and a+a", a, merge(a, a))
		wantSame(t, "a+b and (a+b)+b", merge(a, b), merge(merge(a, b), b))
		wantSame(t, "a and a+nothing", a, merge(a, projection.NewModel()))
		wantSame(t, "folded at once and merged", fold(slices.Concat(parts[:]...)...), left)

		// What was merged into something else stays as it was, whatever
		// happens to that later.
		for _, e := range slices.Concat(parts[:]...) {
			left.Fold(e)
			right.Fold(e)
		}
		for i, m := range []*projection.Model{a, b, c} {
			wantSame(t, fmt.Sprintf("part %d before and after", i), fold(parts[i]...), m)
		}
	})
}

// TestState_MergeIsASemilattice merges states under one key.
func TestState_MergeIsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := projectiontest.Tied(t, 60)
		models := make([]*projection.Model, 3)
		for i := range models {
			models[i] = projection.NewModel()
		}
		for _, e := range all {
			rapid.SampledFrom(models).Draw(t, "part").Fold(e)
		}
		for k := range fold(all...).States {
			a, b, c := models[0].State(k), models[1].State(k), models[2].State(k)
			sum := func(states ...*projection.State) *projection.State {
				var s projection.State
				for _, other := range states {
					s.Merge(other)
				}
				return &s
			}
			wantSame(t, "(a+b)+c and a+(b+c)", sum(sum(a, b), c), sum(a, sum(b, c)))
			wantSame(t, "a+b and b+a", sum(a, b), sum(b, a))
			wantSame(t, "a and a+a", a, sum(a, a))
		}
	})
}

// fold folds events into a new model.
func fold(list ...events.Event) *projection.Model {
	m := projection.NewModel()
	for _, e := range list {
		m.Fold(e)
	}
	return m
}

// merge merges models into a new one.
func merge(list ...*projection.Model) *projection.Model {
	m := projection.NewModel()
	for _, other := range list {
		m.Merge(other)
	}
	return m
}

func shuffled(t *rapid.T, list []events.Event) []events.Event {
	if len(list) == 0 {
		return nil
	}
	return rapid.Permutation(list).Draw(t, "order")
}

func wantSame[T any](t *rapid.T, what string, want, got T) {
	if !cmp.Equal(want, got, projectiontest.SameModel) {
		t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, got, projectiontest.SameModel))
	}
}

func wantEqual(t *rapid.T, what, want, got string) {
	if want != got {
		t.Fatalf("%s\nwant %s\ngot  %s", what, want, got)
	}
}

// encode is v as JSON, with nothing escaped that JSON does not escape.
func encode(t rapid.TB, v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatalf("encode: %v", err)
	}
	return b.String()
}

// conversationIDs are all that drawn events can name, and some that nothing names.
func conversationIDs() []string {
	ids := []string{events.SystemConversationID, "C2Cnobody", "GROUPnone", "C2C", "", "nonsense"}
	for _, u := range projectiontest.Users {
		ids = append(ids, "C2C"+u)
	}
	for _, g := range projectiontest.Groups {
		ids = append(ids, "GROUP"+g)
	}
	return ids
}

// plainFilters are each filter with each value that means something of its own.
var plainFilters = []bruteforce.Filter{
	{},
	{IDs: []string{}},
	{IDs: conversationIDs()},
	{Type: "C2C"},
	{Type: "GROUP"},
	{Type: events.SystemConversationID},
	{MarkType: new(uint64(0))},
	{MarkType: new(uint64(1))},
	{MarkType: new(uint64(events.MarkHidden))},
	{GroupName: new("")},
	{GroupName: new("work")},
	{HasUnreadCount: new(true)},
	{HasUnreadCount: new(false)},
	{HasGroupAtInfo: new(true)},
	{HasGroupAtInfo: new(false)},
}

// drawFilter combines filters.
func drawFilter(t *rapid.T) bruteforce.Filter {
	f := bruteforce.Filter{
		Type: rapid.SampledFrom([]string{"", "", "C2C", "GROUP", events.SystemConversationID}).Draw(t, "filterType"),
	}
	if rapid.Bool().Draw(t, "byIDs") {
		f.IDs = rapid.SliceOf(rapid.SampledFrom(conversationIDs())).Draw(t, "ids")
	}
	if rapid.Bool().Draw(t, "byMark") {
		f.MarkType = new(rapid.SampledFrom([]uint64{0, 1, events.MarkHidden, events.MaxSequence}).Draw(t, "mark"))
	}
	if rapid.Bool().Draw(t, "byGroupName") {
		f.GroupName = new(rapid.SampledFrom([]string{"", "work", "it's \\", "none"}).Draw(t, "groupName"))
	}
	if rapid.Bool().Draw(t, "byUnread") {
		f.HasUnreadCount = new(rapid.Bool().Draw(t, "hasUnread"))
	}
	if rapid.Bool().Draw(t, "byGroupAt") {
		f.HasGroupAtInfo = new(rapid.Bool().Draw(t, "hasGroupAt"))
	}
	return f
}
