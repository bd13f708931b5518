package readmodel_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestStore_Ranges holds that each key is in one range, whichever generation has it, and that
// there are not many more ranges than rows are for, whichever has few.
func TestStore_Ranges(t *testing.T) {
	for name, users := range map[string][2]int{"as many": {400, 400}, "none of ours": {0, 400}, "none of theirs": {400, 0}, "few of ours": {20, 400}} {
		t.Run(name, func(t *testing.T) { divides(t, users) })
	}
}

// divides divides the keys of ours and of theirs into ranges.
func divides(t *testing.T, users [2]int) {
	ours := open(t)
	theirs, err := ours.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stores := []*readmodel.Store{ours, theirs}
	for of, store := range stores {
		m := projection.NewModel()
		for i := range users[of] {
			key := projection.UserKey{App: fmt.Sprintf("app '%d\\", i%3), UserID: fmt.Sprintf("%d's user '%d\\", of, i)}
			m.Erased[projection.Erasure{UserKey: key}] = struct{}{}
		}
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	ranges, err := ours.Ranges(t.Context(), theirs, "erased_users", 20)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ranges); n < 5 || n > 80 {
		t.Errorf("%d ranges of about 20 of 400 rows", n)
	}
	conn := sandboxtest.ClickHouse(t)
	for of, store := range stores {
		var all uint64
		for _, where := range ranges {
			var n uint64
			if err := conn.QueryRow(t.Context(), "SELECT count() FROM "+store.Database()+".erased_users WHERE "+where).Scan(&n); err != nil {
				t.Fatal(err)
			}
			all += n
		}
		if all != uint64(users[of]) {
			t.Errorf("%d rows are in the ranges of generation %d, want %d", all, store.Number(), users[of])
		}
	}
}

// TestStore_ComparesActivity writes messages to two generations, in other batches and
// orders, and then one more to each: those are as many, but not the same.
func TestStore_ComparesActivity(t *testing.T) {
	ours := open(t)
	theirs, err := ours.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(store *readmodel.Store, list ...events.Event) {
		t.Helper()
		if err := store.Write(t.Context(), fold(list)); err != nil {
			t.Fatal(err)
		}
	}
	differ := func() (names []string) {
		t.Helper()
		var found []readmodel.Difference
		err := ours.Compare(t.Context(), theirs, time.Time{}, func(d readmodel.Difference) error {
			found = append(found, d)
			return nil
		}, func(readmodel.Compared) {})
		if err != nil {
			t.Fatal(err)
		}
		again, err := ours.Again(t.Context(), theirs, found)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(found, again) {
			t.Errorf("looking again gives %+v, want %+v", again, found)
		}
		for _, d := range found {
			if strings.HasPrefix(d.Table, "activity") {
				oursMany, _, _ := strings.Cut(d.Ours, ",")
				if theirsMany, _, _ := strings.Cut(d.Theirs, ","); oursMany != theirsMany {
					t.Errorf("not as many: %+v", d)
				}
				_, key, _ := strings.Cut(d.Key, " = ")
				names = append(names, d.Table+" "+key)
			}
		}
		return names
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var list []events.Event
	for i := range 200 { // numbers of elements of one byte, and of two
		list = append(list, sent("demo", at, events.Group("g"), fmt.Sprintf("user%d", i%3), uint64(i+1), fmt.Sprintf("e%d", i)))
	}
	for batch := range slices.Chunk(list, 30) {
		write(ours, batch...)
	}
	slices.Reverse(list)
	write(theirs, list[50:]...)
	write(theirs, list[:130]...)
	if found := differ(); len(found) > 0 {
		t.Fatalf("of the same messages: %v", found)
	}
	write(ours, sent("demo", at, events.Group("g"), "user1", 1000, "e1000"))
	write(theirs, sent("demo", at, events.Group("g"), "user1", 1001, "e1001"))
	found := differ()
	if len(found) != 2 || !strings.HasPrefix(found[0], "activity ('demo','2026-11-01','GROUP',") {
		t.Fatalf("of other messages: %v", found)
	}
	if diff := cmp.Diff("activity_users ('demo','user1','2026-11-01')", found[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStore_FindsOfMany asks for more groups and users than a query's text may usually name.
func TestStore_FindsOfMany(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	id := func(i int) string { return fmt.Sprintf("%0128d", i) }
	const n = 3000
	var groups []projection.GroupKey
	var users []projection.UserKey
	for i := range n {
		at := events.MicrosOf(time.Now())
		m.Fold(events.Event{ID: "e" + id(i), App: "demo", Time: at, Body: &events.GroupMemberChanged{GroupID: id(i), UserID: "ann", Status: events.StatusJoined}})
		m.Fold(events.Event{ID: "f" + id(i), App: "demo", Time: at, Body: &events.FriendRemarkSet{UserID: id(i), FriendID: "bob", Remark: "b"}})
		groups = append(groups, projection.GroupKey{App: "demo", GroupID: id(i)})
		users = append(users, projection.UserKey{App: "demo", UserID: id(i)})
	}
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	members, peers := 0, 0
	if err := store.Members(t.Context(), groups, func(projection.Key) error { members++; return nil }); err != nil {
		t.Errorf("%.300v", err)
	}
	if err := store.Peers(t.Context(), users, func(projection.Key) error { peers++; return nil }); err != nil {
		t.Errorf("%.300v", err)
	}
	if members != n || peers != n {
		t.Errorf("%d members and %d peers, want %d each", members, peers, n)
	}
}

// TestStore_ComparesWhatIsShown has messages that one of two generations lacks, and in one of
// them an app may have a plan that it has not in the other.
func TestStore_ComparesWhatIsShown(t *testing.T) {
	ours, theirs, now := open(t), open(t), time.Now()
	want := map[string]bool{"sequences of recalled": true}
	var our, their []events.Event
	for _, app := range []struct {
		name       string
		ours       int // days for which messages are kept; 0: there is no plan
		theirs     int
		sent       int // days ago
		shown, our bool
	}{
		{"usual", 0, 0, 5, true, true},
		{"expired", 0, 0, 9, false, true},
		{"long", 30, 30, 20, true, true},
		{"short", 2, 2, 5, false, false},
		{"longer", 30, 0, 20, true, false},
		{"theirs-longer", 0, 30, 20, true, true},
		{"shorter", 2, 0, 5, true, true},
		{"theirs-shorter", 0, 2, 5, true, false},
	} {
		plan := func(to *[]events.Event, days int) {
			if days > 0 {
				*to = append(*to, events.Event{ID: "plan", App: app.name, Time: events.MicrosOf(now), Body: &events.AppPlanChanged{MaxConversations: 10, Retention: uint64(days) * 86_400}})
			}
		}
		plan(&our, app.ours)
		plan(&their, app.theirs)
		to := &their
		if app.our {
			to = &our
		}
		*to = append(*to, sent(app.name, now.AddDate(0, 0, -app.sent), events.Group("g"), "ann", 1, "e"))
		if app.shown {
			want["messages of "+app.name], want["sequences of "+app.name] = true, true
		}
	}
	our = append(our, events.Event{ID: "recall", App: "recalled", Time: events.MicrosOf(now), Body: &events.MessageRecalled{Conversation: events.Group("g"), Sequence: 1}})
	for store, list := range map[*readmodel.Store][]events.Event{ours: our, theirs: their} {
		if err := store.Write(t.Context(), fold(list)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	err := ours.Compare(t.Context(), theirs, now, func(d readmodel.Difference) error {
		if d.Table == "messages" || d.Table == "sequences" {
			got[d.Table+" of "+d.Columns[0]] = true
		}
		return nil
	}, func(readmodel.Compared) {})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("differences (-want +got), %v:\n%s", err, diff)
	}
}
