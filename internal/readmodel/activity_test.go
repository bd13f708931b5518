package readmodel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// activity is how much was written: by app, day and type, and by app, day and user.
type activity struct {
	Types map[activityKey]counts
	Users map[activityKey]counts
}

// activityKey has a type or a user behind its app and day.
type activityKey struct {
	App string
	Day events.Day
	Of  string
}

// counts has no senders where it is a user's.
type counts struct{ Messages, Senders, Conversations uint64 }

// countActivity counts messages one by one.
func countActivity(list []events.Event) activity {
	type sets struct{ messages, senders, conversations map[any]bool }
	types, users := map[activityKey]sets{}, map[activityKey]sets{}
	in := func(m map[activityKey]sets, k activityKey) sets {
		if _, ok := m[k]; !ok {
			m[k] = sets{map[any]bool{}, map[any]bool{}, map[any]bool{}}
		}
		return m[k]
	}
	for _, e := range list {
		m, ok := e.Body.(*events.MessageSent)
		if !ok {
			continue
		}
		kind := strings.TrimPrefix(m.Conversation.Type.String(), "@TIM#")
		of := []sets{in(types, activityKey{e.App, e.Time.Day(), kind})}
		if m.From != "" {
			of[0].senders[m.From] = true
			of = append(of, in(users, activityKey{e.App, e.Time.Day(), m.From}))
		}
		for _, s := range of {
			s.messages[e.ID] = true
			s.conversations[m.Conversation] = true
		}
	}
	count := func(m map[activityKey]sets) map[activityKey]counts {
		out := map[activityKey]counts{}
		for k, s := range m {
			out[k] = counts{uint64(len(s.messages)), uint64(len(s.senders)), uint64(len(s.conversations))}
		}
		return out
	}
	return activity{Types: count(types), Users: count(users)}
}

// readActivity reads what the tables say of all apps, or of one.
func readActivity(t *testing.T, rt rapid.TB, store *readmodel.Store, app string) activity {
	conn := sandboxtest.ClickHouse(t)
	read := func(query string) map[activityKey]counts {
		out := map[activityKey]counts{}
		rows, err := conn.Query(t.Context(), query)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var k activityKey
			var c counts
			if err := rows.Scan(&k.App, (*int32)(&k.Day), &k.Of, &c.Messages, &c.Senders, &c.Conversations); err != nil {
				rt.Fatal(err)
			}
			out[k] = c
		}
		if err := rows.Err(); err != nil {
			rt.Fatal(err)
		}
		return out
	}
	where := "endsWith(app, '" + app + "')"
	return activity{
		Types: read(`SELECT app, toInt32(day), type, uniqExactMerge(messages), uniqExactMerge(senders), uniqExactMerge(conversations)
			FROM ` + store.Database() + `.activity WHERE ` + where + ` GROUP BY app, day, type`),
		Users: read(`SELECT app, toInt32(day), user_id, uniqExactMerge(messages), toUInt64(0), uniqExactMerge(conversations)
			FROM ` + store.Database() + `.activity_users WHERE ` + where + ` GROUP BY app, day, user_id`),
	}
}

// TestActivity_IsWhatWasSent writes chats in parts, some of them several times and in any
// order, and holds their activity against a count of the events: first as partial
// rows, then as the engine has merged them.
func TestActivity_IsWhatWasSent(t *testing.T) {
	store := open(t)
	chats := map[string]activity{}
	rapid.Check(t, func(rt *rapid.T) {
		all := projectiontest.Events(rt, 60)
		chat := "-" + strconv.Itoa(len(chats)) // ends its apps' names
		for i := range all {
			all[i].App += chat
		}
		want := countActivity(all)

		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		repeated := append(slices.Clone(all), all[:len(all)/2]...)
		rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
		for batch := range slices.Chunk(repeated, 1+len(repeated)/3) {
			if err := store.Write(t.Context(), fold(batch)); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, readActivity(t, rt, store, chat)); diff != "" {
			rt.Fatalf("activity (-want +got):\n%s", diff)
		}
		chats[chat] = want
	})

	if err := store.Optimize(t.Context()); err != nil {
		t.Fatal(err)
	}
	for chat, want := range chats {
		if diff := cmp.Diff(want, readActivity(t, t, store, chat)); diff != "" {
			t.Fatalf("merged activity of apps %s (-want +got):\n%s", chat, diff)
		}
	}
}

// sent is a message whose ID also is its event's.
func sent(app string, at time.Time, c events.Conversation, from string, sequence uint64, id string) events.Event {
	return events.Event{ID: id, App: app, Time: events.MicrosOf(at), Body: &events.MessageSent{
		Conversation: c, From: from, MessageID: id, Sequence: sequence, Type: events.TypeText,
	}}
}

// TestActivity_Counts says by example what counts as one.
func TestActivity_Counts(t *testing.T) {
	store := open(t)
	night := time.Date(2026, 3, 31, 23, 59, 59, 0, time.UTC)
	pair := events.C2C("bob", "ann")
	list := []events.Event{
		// Both ways it is one conversation.
		sent("demo", night, pair, "ann", 1, "e1"),
		sent("demo", night, pair, "bob", 2, "e2"),
		// Two messages of one sequence are two, and the next day begins at midnight, UTC.
		sent("demo", night, events.Group("g"), "ann", 5, "e3"),
		sent("demo", night, events.Group("g"), "ann", 5, "e4"),
		sent("demo", night.Add(time.Second), events.Group("g"), "ann", 6, "e5"),
		// A group and a SYSTEM conversation of one name are two; nobody is no sender.
		sent("demo", night, events.Group("ann"), "ann", 1, "e6"),
		sent("demo", night, events.System("ann"), "ann", 1, "e7"),
		sent("demo", night, events.System("ann"), "", 2, "e8"),
		sent("demo", night.Add(time.Second), events.System("ann"), "", 3, "e9"),
		// Another app is another chat.
		sent("other", night, pair, "ann", 1, "e1"),
	}
	quiet := sent("demo", night, pair, "ann", 3, "e10")
	body := quiet.Body.(*events.MessageSent)
	body.OnlineOnly, body.ExcludedFromUnread, body.ExcludedFromLast = true, true, true
	list = append(
		list, quiet,
		events.Event{ID: "e11", App: "demo", Time: events.MicrosOf(night), Body: &events.MessageRecalled{Conversation: pair, Sequence: 2}},
		events.Event{ID: "e12", App: "demo", Time: events.MicrosOf(night), Body: &events.UserErased{UserID: "nobody"}},
	)
	for _, batch := range [][]events.Event{list, list[:3], list[2:]} {
		if err := store.Write(t.Context(), fold(batch)); err != nil {
			t.Fatal(err)
		}
	}
	first, next := events.MicrosOf(night).Day(), events.MicrosOf(night).Day()+1
	want := activity{
		Types: map[activityKey]counts{
			{"demo", first, "C2C"}:    {3, 2, 1},
			{"demo", first, "GROUP"}:  {3, 1, 2},
			{"demo", first, "SYSTEM"}: {2, 1, 1},
			{"demo", next, "GROUP"}:   {1, 1, 1},
			{"demo", next, "SYSTEM"}:  {1, 0, 1},
			{"other", first, "C2C"}:   {1, 1, 1},
		},
		Users: map[activityKey]counts{
			{"demo", first, "ann"}:  {6, 0, 4},
			{"demo", first, "bob"}:  {1, 0, 1},
			{"demo", next, "ann"}:   {1, 0, 1},
			{"other", first, "ann"}: {1, 0, 1},
		},
	}
	if diff := cmp.Diff(want, readActivity(t, t, store, "")); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, countActivity(list)); diff != "" {
		t.Errorf("the property test counts otherwise (-want +got):\n%s", diff)
	}
}

// TestActivity_OutlivesMessages deletes them.
func TestActivity_OutlivesMessages(t *testing.T) {
	store := open(t)
	list := []events.Event{sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 1, "e1")}
	if err := store.Write(t.Context(), fold(list)); err != nil {
		t.Fatal(err)
	}
	err := sandboxtest.ClickHouse(t).Exec(t.Context(), "ALTER TABLE "+store.Database()+".messages DELETE WHERE app = 'demo' SETTINGS mutations_sync = 2")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := store.Messages(t.Context(), []string{"demo"}); err != nil || len(left) > 0 {
		t.Fatalf("messages are left: %v, %v", left, err)
	}
	if diff := cmp.Diff(countActivity(list), readActivity(t, t, store, "")); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
}

// TestCarryActivity has each of two generations know some messages that the other one
// does not, of the same days.
func TestCarryActivity(t *testing.T) {
	before := open(t)
	rebuilt, err := before.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 1, 30, 12, 0, 0, 0, time.UTC)
	through := events.MicrosOf(begin).Day() + 3 // in the next month
	var olds, news, want []events.Event
	for day := range 6 {
		for i := range 60 {
			at := begin.AddDate(0, 0, day)
			from := fmt.Sprintf("user%d", i%7)
			e := sent([]string{"demo", "other"}[i%2], at, events.Group(fmt.Sprintf("g%d", i%11)), from, uint64(i+1), fmt.Sprintf("e%d-%d", day, i))
			if old := i%3 > 0; old {
				olds = append(olds, e)
				if e.Time.Day() <= through {
					want = append(want, e)
				}
			}
			if i%3 < 2 {
				news = append(news, e)
				want = append(want, e)
			}
		}
	}
	if diff := cmp.Diff(countActivity(news), countActivity(want)); diff == "" {
		t.Fatal("there is nothing to carry over")
	}
	for _, w := range []struct {
		store *readmodel.Store
		list  []events.Event
	}{{before, olds}, {rebuilt, news}} {
		for batch := range slices.Chunk(w.list, 50) {
			if err := w.store.Write(t.Context(), fold(batch)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, time := range []string{"once", "twice"} {
		if err := rebuilt.CarryActivity(t.Context(), before, through); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(countActivity(want), readActivity(t, t, rebuilt, "")); diff != "" {
			t.Errorf("carried over %s (-want +got):\n%s", time, diff)
		}
	}
	if diff := cmp.Diff(countActivity(olds), readActivity(t, t, before, "")); diff != "" {
		t.Errorf("where it was carried over from (-want +got):\n%s", diff)
	}
}
