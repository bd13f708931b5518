package readmodel_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestStore_TiesFallAsInGo writes registers of one version twice, for every two
// of their fields once with a greater value in the one and once in the other.
// Which of them wins must be decided alike in the fold and by the engine's merge.
func TestStore_TiesFallAsInGo(t *testing.T) {
	store := open(t)
	one, other := projection.NewModel(), projection.NewModel()
	tie := projection.Version{Time: projectiontest.Now, ID: "e"}
	count := 0
	next := func(kind string) string { count++; return fmt.Sprintf("%s%03d", kind, count) }

	for a, b := range pairs[projection.Head]("Sequence", "Time", "ID") {
		k := projection.Key{App: "demo", Owner: "ann", ConversationID: next("C2C")}
		one.State(k).Head, other.State(k).Head = &a, &b
		one.State(k).LastSequence, other.State(k).LastSequence = 1, 1 // a row is there for what was reached
	}
	for a, b := range pairs[projection.Member]() {
		k := projection.Key{App: "demo", Owner: "ann", ConversationID: next("GROUP")}
		one.State(k).Set = &projection.Settings{Member: projection.Register[projection.Member]{Version: tie, Value: a}}
		other.State(k).Set = &projection.Settings{Member: projection.Register[projection.Member]{Version: tie, Value: b}}
	}
	edit := func() projection.EditKey {
		return projection.EditKey{App: "demo", Conversation: events.C2C("ann", next("u")), Sequence: 1}
	}
	for a, b := range pairs[projection.Recall]() {
		k := edit()
		one.Edits[k] = &projection.Edit{Recall: projection.Register[projection.Recall]{Version: tie, Value: a}}
		other.Edits[k] = &projection.Edit{Recall: projection.Register[projection.Recall]{Version: tie, Value: b}}
	}
	for a, b := range pairs[projection.Modification]("Number", "Time", "ID") {
		k := edit()
		one.Edits[k], other.Edits[k] = &projection.Edit{Modification: a}, &projection.Edit{Modification: b}
	}
	for a, b := range pairs[events.UserProfileChanged]("UserID") {
		k := projection.UserKey{App: "demo", UserID: next("u")}
		a.UserID, b.UserID = k.UserID, k.UserID
		one.Users[k] = &projection.UserProfile{Version: tie, Value: a}
		other.Users[k] = &projection.UserProfile{Version: tie, Value: b}
	}
	for a, b := range pairs[events.GroupProfileChanged]("GroupID") {
		k := projection.GroupKey{App: "demo", GroupID: next("g")}
		a.GroupID, b.GroupID = k.GroupID, k.GroupID
		one.Groups[k] = &projection.GroupProfile{Version: tie, Value: a}
		other.Groups[k] = &projection.GroupProfile{Version: tie, Value: b}
	}
	for a, b := range pairs[events.AppPlanChanged]() {
		app := next("app")
		one.Plans[app] = &projection.Plan{Version: tie, Value: a}
		other.Plans[app] = &projection.Plan{Version: tie, Value: b}
	}
	for a, b := range pairs[projection.Message]() {
		k := projection.MessageKey{
			App: "demo", Conversation: events.Group(next("g")), Day: projectiontest.Now.Day(), Sequence: 1, Time: tie.Time, ID: tie.ID,
		}
		one.Messages[k], other.Messages[k] = &a, &b
	}

	want, reversed := projection.NewModel(), projection.NewModel()
	for _, m := range []*projection.Model{one, other} {
		want.Merge(m)
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	reversed.Merge(other)
	reversed.Merge(one)
	wantSame(t, "folded in either order", want, reversed)
	compare(t, t, store, want)
	if err := store.Optimize(t.Context()); err != nil {
		t.Fatal(err)
	}
	compare(t, t, store, want)
}

// pairs yields two values that are equal but for two fields, of which each has
// the greater one: for every two fields of a struct. And for every field two
// that are equal but for that. Some fields stay equal in all.
func pairs[T any](equal ...string) func(yield func(a, b T) bool) {
	return func(yield func(a, b T) bool) {
		fields := reflect.TypeFor[T]()
		varies := func(field int) bool { return !slices.Contains(equal, fields.Field(field).Name) }
		for i := range fields.NumField() {
			for j := range i + 1 { // i itself: in nothing else
				if !varies(i) || !varies(j) {
					continue
				}
				for _, pairs := range keyValues {
					var a, b T
					for f := range fields.NumField() {
						set(reflect.ValueOf(&a).Elem().Field(f), pairs, f == i)
						set(reflect.ValueOf(&b).Elem().Field(f), pairs, f == j && j != i)
					}
					if !yield(a, b) {
						return
					}
				}
			}
		}
	}
}

// keyValues are two lists, the lesser first, once by a key and once by a value.
// What follows would decide otherwise.
var keyValues = [][2][]events.KeyValue{
	{{{Key: "k", Value: "b"}}, {{Key: "l", Value: "a"}}},
	{{{Key: "k", Value: "a"}, {Key: "k"}}, {{Key: "k", Value: "b"}, {Key: "j"}}},
}

// set gives a field one of two values.
func set(field reflect.Value, pairs [2][]events.KeyValue, greater bool) {
	var small, great any
	switch field.Interface().(type) {
	case string:
		small, great = "a", "b"
	case bool:
		small, great = false, true
	case uint32:
		small, great = uint32(1), uint32(2)
	case uint64:
		small, great = uint64(1), uint64(2)
	case events.Micros:
		small, great = projectiontest.Now, projectiontest.Now+1
	case []string:
		small, great = []string{"a", "z"}, []string{"b"}
	case []events.KeyValue:
		small, great = pairs[0], pairs[1]
	default:
		panic(fmt.Sprintf("no values of type %T", field.Interface()))
	}
	if greater {
		small = great
	}
	field.Set(reflect.ValueOf(small))
}

func wantSame(t *testing.T, what string, want, got *projection.Model) {
	t.Helper()
	if diff := cmp.Diff(want, got, projectiontest.SameModel); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
