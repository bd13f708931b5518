package readmodel_test

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func setOf(ids ...string) map[string]struct{} {
	set := map[string]struct{}{}
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return set
}

// without makes a generation that leaves events out.
func without(t *testing.T, s *readmodel.Server, ids ...string) *readmodel.Store {
	t.Helper()
	var options readmodel.Options
	if err := s.LeaveOut(t.Context(), setOf(ids...), &options); err != nil {
		t.Fatal(err)
	}
	return addFilled(t, s, options)
}

// erasing is an event with an ID that erases the user of that name.
func erasing(id string) events.Event {
	return events.Event{ID: id, App: "demo", Time: 1, Body: &events.UserErased{UserID: id}}
}

// erased are the users who are erased in a generation, in order.
func erased(t *testing.T, s *readmodel.Store) string {
	t.Helper()
	apps, err := s.Apps(t.Context(), []string{"demo"})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Sorted(maps.Keys(apps["demo"].Erased)), " ")
}

func keep(t *testing.T, l *readmodel.Live) {
	t.Helper()
	if err := l.Keep(t.Context(), map[events.Partition]int64{{Topic: "t"}: 1}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// batchOf is one batch.
func batchOf(apart []events.Event, models ...*projection.Model) iter.Seq2[[]*projection.Model, []events.Event] {
	return func(yield func([]*projection.Model, []events.Event) bool) { yield(models, apart) }
}

// TestLive_LeavesOut writes to each generation what it does not leave out.
func TestLive_LeavesOut(t *testing.T) {
	first := open(t)
	s := first.Server
	live := readmodel.NewLive(s)
	keep(t, live)
	if live.LeftOut() != nil {
		t.Errorf("nothing leaves %v out", live.LeftOut())
	}
	write := func(id string, apart ...string) {
		t.Helper()
		m := projection.NewModel()
		m.Fold(erasing(id))
		models := append(make([]*projection.Model, 0, 2), m) // with room behind it, which is common to all
		var list []events.Event
		for _, id := range apart {
			list = append(list, erasing(id))
		}
		if err := live.Insert(t.Context(), batchOf(list, models...)); err != nil {
			t.Fatal(err)
		}
	}
	has := func(s *readmodel.Store, want string) {
		t.Helper()
		if got := erased(t, s); got != want {
			t.Errorf("generation %d has %s, want %s", s.Number(), got, want)
		}
	}
	second := without(t, s, "a", "it's\\\n\x00\xff")
	third := without(t, s, "a", "b")
	fourth := without(t, s, "a", "b") // the same list
	keep(t, live)
	if got := live.LeftOut(); !maps.Equal(got, setOf("a", "b", "it's\\\n\x00\xff")) {
		t.Errorf("left out are %q", got)
	}
	write("m", "a", "b", "c", "it's\\\n\x00\xff")
	has(first, "a b c it's\\\n\x00\xff m")
	has(second, "b c m")
	has(third, "c it's\\\n\x00\xff m")
	has(fourth, "c it's\\\n\x00\xff m")

	// A generation that nobody has looked for yet is not written to, though another one
	// is found to be gone: what is written may be what it leaves out.
	fifth := without(t, s, "d")
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	m := projection.NewModel()
	m.Fold(erasing("d"))
	if err := live.Insert(t.Context(), batchOf(nil, m)); err == nil {
		t.Error("written to a generation that is gone")
	}
	if err := live.Insert(t.Context(), batchOf(nil, m)); err != nil {
		t.Error(err)
	}
	has(first, "a b c d it's\\\n\x00\xff m")
	has(third, "c d it's\\\n\x00\xff m")
	has(fifth, "a b c it's\\\n\x00\xff m")

	// Dropping the generations ends it.
	for number := 3; number <= 5; number++ {
		if err := s.DropGeneration(t.Context(), number, 0); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, live)
	if live.LeftOut() != nil {
		t.Errorf("nothing leaves %v out any more", live.LeftOut())
	}
}

// TestAdd_KnowsWhoWasErased has a new generation know from the start whom the one that is
// read knows to be erased, and in the end whom it has heard of meanwhile, but for the
// erasures that it leaves out.
func TestAdd_KnowsWhoWasErased(t *testing.T) {
	first := open(t)
	write := func(id, user string) {
		t.Helper()
		m := projection.NewModel()
		m.Fold(event(id, &events.UserErased{UserID: user}))
		if err := first.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	has := func(s *readmodel.Store, want string) {
		t.Helper()
		if got := erased(t, s); got != want {
			t.Errorf("generation %d has %s, want %s", s.Number(), got, want)
		}
	}
	write("1", "ann")
	write("2", "bob")
	write("another", "bob")
	second, err := first.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	has(second, "ann bob")
	write("3", "cid") // by who does not write to the second yet
	has(second, "ann bob")
	if err := first.Filled(t.Context(), second.Number()); err != nil {
		t.Fatal(err)
	}
	has(second, "ann bob cid")

	var options readmodel.Options
	if err := first.LeaveOut(t.Context(), setOf("1", "2", "4"), &options); err != nil {
		t.Fatal(err)
	}
	third, err := first.Add(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	has(third, "bob cid")
	write("4", "dan")
	write("5", "eve")
	if err := first.Filled(t.Context(), third.Number()); err != nil {
		t.Fatal(err)
	}
	has(third, "bob cid eve")
	if err := first.Switch(t.Context(), third.Number(), t.Name()); err != nil {
		t.Fatal(err)
	}
	fourth, err := first.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	has(fourth, "bob cid eve") // what is read now knows no others
}

// TestLeftOut_Damaged does not write to a generation of which nobody knows what it
// leaves out.
func TestLeftOut_Damaged(t *testing.T) {
	first := open(t)
	live := readmodel.NewLive(first.Server)
	keep(t, live)
	second := without(t, first.Server, "a", "b")
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "ALTER TABLE "+first.Registers()+".left_out DELETE WHERE id = 'b' SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	err := live.Keep(t.Context(), map[events.Partition]int64{}, func() error { return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "generation 2 leaves 2 events out, and the list of them has 1 or others") {
		t.Errorf("got %v", err)
	}
	m := projection.NewModel()
	m.Fold(erasing("b"))
	if err := live.Insert(t.Context(), batchOf(nil, m)); err != nil {
		t.Error(err)
	}
	if got := erased(t, first) + "|" + erased(t, second); got != "b|" {
		t.Errorf("got %s", got)
	}
}

// TestListOf is the same for the same IDs alone.
func TestListOf(t *testing.T) {
	seen := map[string][]string{}
	for _, ids := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"ab"}, {"a", "b", "c"}, {"a", "bc"}, {"ab", "c"}, {"\x01a"}} {
		name := readmodel.ListOf(setOf(ids...))
		if other, is := seen[name]; is || len(name) != 64 {
			t.Errorf("%q and %q are both %s", ids, other, name)
		}
		seen[name] = ids
	}
	if readmodel.ListOf(setOf("a", "b")) != readmodel.ListOf(setOf("b", "a")) {
		t.Error("the order counts")
	}
}
