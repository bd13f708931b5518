package readmodel_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
)

// TestDropExpired_RepliesStay plays chats and drops what is expired at later and later times,
// while some of it comes again. All replies are what the brute-force reading of the events gives.
func TestDropExpired_RepliesStay(t *testing.T) { inBothForms(t, repliesStay) }

func repliesStay(t *testing.T, open func(testing.TB) *readmodel.Store) {
	dropped, kept := open(t), open(t)
	var rows uint64
	var at events.Micros
	const chats = 4
	for n := range chats {
		all := oneSenderEach(drawnChats.Example(n))
		for i, app := range projectiontest.Apps {
			all = append(all, events.Event{ID: "plan of " + app, App: app, Time: projectiontest.Now, Body: &events.AppPlanChanged{
				MaxConversations: 1000, Retention: []uint64{1, events.DefaultRetention}[(n+i)%2],
			}})
		}
		for i := range all {
			all[i].App += strconv.Itoa(n)
		}
		everything := fold(all)
		for _, store := range []*readmodel.Store{dropped, kept} {
			if err := store.Write(t.Context(), everything); err != nil {
				t.Fatal(err)
			}
		}
		for _, days := range []int64{1, 9, 20, 40} {
			at = projectiontest.Now + events.Micros(days*86_400_000_000)
			for range 2 { // the second one waits for the first
				gone, err := dropped.DropExpired(t.Context(), at.Time())
				if err != nil {
					t.Fatal(err)
				}
				rows += gone
			}
			chat, got := bruteforce.New(all, at), readBack(t, t, dropped, everything)
			for _, app := range projectiontest.Apps {
				app += strconv.Itoa(n)
				wantReplies(t, fmt.Sprintf("chat %d, app %s, %d days later", n, app, days), chat, projectiontest.NewReader(app, got, at), app)
			}
			if err := dropped.Write(t.Context(), fold(all[:len(all)/3])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rows == 0 {
		t.Error("nothing was dropped")
	}
	err := dropped.Compare(t.Context(), kept, at.Time(), func(d readmodel.Difference) error {
		t.Errorf("differs: %+v", d)
		return nil
	}, func(readmodel.Compared) {})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDropExpired_ByThePlan has two apps with messages of the same days, of which one has said
// for how long it keeps them. What is dropped counts for no difference; what is not does. A
// sweep still finds whose was what somebody has made of a message to a group.
func TestDropExpired_ByThePlan(t *testing.T) {
	dropped, kept := open(t), open(t)
	now := time.Now()
	m := fold([]events.Event{{ID: "plan", App: "planned", Time: events.MicrosOf(now), Body: &events.AppPlanChanged{MaxConversations: 10, Retention: 3 * 86_400}}})
	for _, app := range []string{"planned", "unplanned"} {
		for i, days := range []int{0, 5, 10, 11, 30} { // expired for a week and not longer are those of ten
			for _, c := range []events.Conversation{events.C2C("ann", "bob"), events.Group("g")} {
				m.Merge(fold([]events.Event{sent(app, now.AddDate(0, 0, -days), c, "ann", uint64(i+1), fmt.Sprint(c.Type, days))}))
			}
		}
		m.Fold(events.Event{ID: "recall", App: app, Time: events.MicrosOf(now), Body: &events.MessageRecalled{Conversation: events.Group("g"), Sequence: 4, Revoker: "ann"}})
	}
	m.Fold(events.Event{ID: "changed", App: "planned", Time: events.MicrosOf(now), Body: &events.MessageModified{Conversation: events.Group("g"), Sequence: 4, Version: 1, PayloadText: "of ann"}})
	for _, store := range []*readmodel.Store{dropped, kept} {
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(at time.Time) (rows uint64) {
		t.Helper()
		for range 2 { // the second one waits for the first
			gone, err := dropped.DropExpired(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			rows += gone
		}
		return rows
	}
	if rows := drop(now); rows == 0 {
		t.Error("nothing is dropped")
	}
	left, err := dropped.Messages(t.Context(), []string{"planned", "unplanned"})
	if err != nil {
		t.Fatal(err)
	}
	days := map[string]int{}
	for k := range left {
		days[fmt.Sprint(k.App, " ", k.Conversation.Type)]++
	}
	if diff := cmp.Diff(map[string]int{"planned C2C": 3, "planned GROUP": 5, "unplanned C2C": 5, "unplanned GROUP": 5}, days); diff != "" {
		t.Errorf("days of messages (-want +left):\n%s", diff)
	}
	key := projection.Key{App: "planned", ConversationID: "GROUPg"}
	states, err := dropped.States(t.Context(), []projection.Key{key})
	if err != nil || states[key] == nil || len(states[key].Days) != 3 || !states[key].Recalled.Contains(4) {
		t.Errorf("of the group there is %+v, %v, want three days and a recall", states[key], err)
	}
	compare := func() (found int) {
		t.Helper()
		tell := func(readmodel.Difference) error { found++; return nil }
		if err := dropped.Compare(t.Context(), kept, time.Time{}, tell, func(readmodel.Compared) {}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := compare(); found == 0 {
		t.Error("what was dropped is not missed in a generation that was never swept")
	}
	if err := dropped.Swept(t.Context(), dropped.Number(), now); err != nil {
		t.Fatal(err)
	}
	if found := compare(); found > 0 {
		t.Errorf("%d rows differ", found)
	}
	// One day that is expired and stays: it goes with the next that has been for long.
	for _, store := range []*readmodel.Store{dropped, kept} {
		if err := store.Write(t.Context(), fold([]events.Event{sent("planned", now.AddDate(0, 0, -17), events.C2C("ann", "bob"), "ann", 9, "late")})); err != nil {
			t.Fatal(err)
		}
	}
	if rows := drop(now); rows != 0 {
		t.Errorf("%d rows are dropped for one that has been expired for two weeks and not longer", rows)
	}
	// The clock of who drops may be ahead of the clock of who compares.
	if rows := drop(now.AddDate(0, 0, 1)); rows == 0 {
		t.Error("nothing is dropped a day later")
	}
	if found := compare(); found > 0 {
		t.Errorf("%d rows differ once some were dropped by a clock that is ahead", found)
	}
	if err := dropped.Write(t.Context(), fold([]events.Event{sent("planned", now.AddDate(0, 0, -5), events.C2C("ann", "bob"), "ann", 10, "later")})); err != nil {
		t.Fatal(err)
	}
	if found := compare(); found == 0 {
		t.Error("a message of five days ago is in one alone, and nothing differs")
	}
	if err := dropped.Write(t.Context(), fold([]events.Event{{ID: "erased", App: "planned", Time: events.MicrosOf(now), Body: &events.UserErased{UserID: "ann"}}})); err != nil {
		t.Fatal(err)
	}
	unswept, err := dropped.Unswept(t.Context(), dropped)
	if err != nil || !slices.ContainsFunc(unswept, func(u readmodel.Unswept) bool { return u.Table == "edits" && u.Blanked > 0 }) {
		t.Errorf("a sweep does not find what was made of ann's message: %v, %v", unswept, err)
	}
}

// TestDropExpired_ManyApps has as many apps as one statement names, by the longest names there are.
func TestDropExpired_ManyApps(t *testing.T) {
	store, now := open(t), time.Now()
	const apps = 1000
	var list []events.Event
	for i := range apps {
		app := fmt.Sprintf("%064d", i)
		list = append(list,
			events.Event{ID: "plan", App: app, Time: events.MicrosOf(now), Body: &events.AppPlanChanged{MaxConversations: 10, Retention: 86_400}},
			sent(app, now.AddDate(0, 0, -30), events.C2C("ann", "bob"), "ann", 1, "e"))
	}
	if err := store.Write(t.Context(), fold(list)); err != nil {
		t.Fatal(err)
	}
	// Of each a message, and the day of both ends.
	if rows, err := store.DropExpired(t.Context(), now); err != nil || rows != 3*apps {
		t.Errorf("%d rows are dropped of %d apps, want %d, %.300v", rows, apps, 3*apps, err)
	}
}
