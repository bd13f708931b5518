package readmodel_test

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// check compares what the views say with what they are to say. Both look at the clock, so
// it looks again if the time between changed the answer.
func check(t testing.TB, rt rapid.TB, conn driver.Conn, database, where string, list []events.Event) {
	for {
		want := expect(rt, list, events.MicrosOf(time.Now()))
		got := analyze(t, rt, conn, database, where)
		for i := range got.Conversations { // the API's are seconds
			got.Conversations[i].LastTime = got.Conversations[i].LastTime.Truncate(time.Second)
		}
		if cmp.Equal(want, got, inAnyOrder) {
			return
		}
		if again := expect(rt, list, events.MicrosOf(time.Now())); cmp.Equal(want, again, inAnyOrder) {
			rt.Fatalf("views (-want +got):\n%s", cmp.Diff(want, got, inAnyOrder))
		}
	}
}

// untilNow moves drawn events to where they were drawn just now.
func untilNow(list []events.Event) {
	shift := events.MicrosOf(time.Now()) - projectiontest.Now
	for i := range list {
		if list[i].Time.Time().Year() > 2000 {
			list[i].Time += shift
		}
	}
}

// TestViews_SayWhatTheContractSays draws chats and writes each in parts, some of them
// twice and in any order, to two generations, one of which lacks a part. It holds
// every row of every view against the events: of partial rows, of merged ones, and
// after each switch.
func TestViews_SayWhatTheContractSays(t *testing.T) {
	first := open(t)
	second := addFilled(t, first.Server, readmodel.Options{})
	conn := sandboxtest.ClickHouse(t)
	type chat struct {
		where       string
		all, lacked []events.Event
	}
	var chats []chat
	draws := 0
	few(t, 25) // each takes the engine a second
	rapid.Check(t, func(rt *rapid.T) {
		draws++
		suffix := "-" + strconv.Itoa(draws) // ends its apps' names
		c := chat{where: "endsWith(app, '" + suffix + "')", all: projectiontest.Events(rt, 60)}
		untilNow(c.all)
		for i := range c.all {
			c.all[i].App += suffix
		}
		c.lacked = c.all[:len(c.all)*3/4]

		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for store, list := range map[*readmodel.Store][]events.Event{first: c.all, second: c.lacked} {
			repeated := append(slices.Clone(list), list[:len(list)/3]...)
			rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
			for batch := range slices.Chunk(repeated, 1+len(repeated)/3) {
				if err := store.Write(t.Context(), fold(batch)); err != nil {
					rt.Fatal(err)
				}
			}
		}
		check(t, rt, conn, first.Registers(), c.where, c.all)
		chats = append(chats, c)
	})

	everything := func(of func(chat) []events.Event) {
		t.Helper()
		var list []events.Event
		for _, c := range chats {
			list = append(list, of(c)...)
		}
		check(t, t, conn, first.Registers(), "1", list)
	}
	if err := first.Switch(t.Context(), second.Number(), "the test"); err != nil {
		t.Fatal(err)
	}
	everything(func(c chat) []events.Event { return c.lacked })
	if err := first.Switch(t.Context(), first.Number(), "the test"); err != nil {
		t.Fatal(err)
	}
	if err := first.Optimize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.DropGeneration(t.Context(), second.Number(), 0); err != nil {
		t.Fatal(err)
	}
	everything(func(c chat) []events.Event { return c.all })
}

// few bounds how much rapid draws, unless its flag is given.
func few(t *testing.T, n int) {
	checks := flag.Lookup("rapid.checks")
	if before := checks.Value.String(); before == checks.DefValue {
		set := func(n string) {
			if err := checks.Value.Set(n); err != nil {
				t.Fatal(err)
			}
		}
		set(strconv.Itoa(n))
		t.Cleanup(func() { set(before) })
	}
}

// TestViews_WhateverTheReaderHasSet has settings change what other queries mean.
func TestViews_WhateverTheReaderHasSet(t *testing.T) {
	store := open(t)
	var list []events.Event
	for g := generate.New(recentChat()); len(list) < 400; {
		list = append(list, g.Next())
	}
	for batch := range slices.Chunk(list, 100) {
		if err := store.Write(t.Context(), fold(batch)); err != nil {
			t.Fatal(err)
		}
	}
	options := sandboxtest.Options(t, store.Registers())
	options.Settings = clickhouse.Settings{
		"join_use_nulls": 1, "transform_null_in": 1, "final": 1,
		"prefer_column_name_to_alias": 1, "session_timezone": "Asia/Tokyo", "union_default_mode": "DISTINCT",
		"join_default_strictness": "ANY", "any_join_distinct_right_table_keys": 1, "short_circuit_function_evaluation": "disable",
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	check(t, t, conn, store.Registers(), "app = 'demo'", list)
	// Who may only read may not change settings, either.
	check(t, t, sandboxtest.ClickHouse(t), store.Registers(), "app = 'demo' SETTINGS readonly = 1", list)
}

// TestViews_ReadLittleOfOneUser has one user among many, whose rows are next to each other.
func TestViews_ReadLittleOfOneUser(t *testing.T) {
	store := open(t)
	conn := sandboxtest.ClickHouse(t)
	const users = 20_000
	for _, insert := range []string{
		"registers_in SELECT 'demo', concat('u', toString(number)), 'C2Cu', 'head', 1, toUnixTimestamp64Micro(now64(6)), 'e', 'm' FROM numbers({n:UInt32})",
		"registers_in SELECT 'demo', concat('u', toString(number)), 'GROUPg', 'member', 0, 1, 'e', 'joined\\0\\0\\00' FROM numbers({n:UInt32})",
		"registers_in SELECT 'demo', '', 'GROUPg', 'head', 1, toUnixTimestamp64Micro(now64(6)), 'e', 'm'",
		"registers_in SELECT 'demo', concat('u', toString(number)), 'C2Cu', 'read', 1, 1, '', '' FROM numbers({n:UInt32})",
		"sequences_in SELECT 'demo', concat('u', toString(number)), 'C2Cu', today(), 'counted', [1] FROM numbers({n:UInt32})",
		"sequences_in SELECT 'demo', '', 'GROUPg', today(), 'counted', [1]",
	} {
		if err := conn.Exec(t.Context(), "INSERT INTO "+store.Database()+"."+insert, clickhouse.Named("n", users)); err != nil {
			t.Fatal(err)
		}
	}
	for view, want := range map[string]int{"conversations": 2, "reads": 1, "group_members": 1} {
		query := "SELECT conversation_id FROM " + store.Registers() + "." + view + " WHERE app = 'demo' AND user_id = 'u17'"
		if view == "group_members" {
			query = strings.Replace(query, "conversation_id", "group_id", 1)
		}
		got := askHTTP(t, query)
		if got.Rows != want {
			t.Errorf("%s has %d rows of one user, expected %d", view, got.Rows, want)
		}
		if read := got.Statistics.RowsRead; read == 0 || read > users {
			t.Errorf("%s of one user reads %d rows where %d users have four each", view, read, users)
		}
	}
}

// answer is what the engine's JSON says of an answer.
type answer struct {
	Rows       int `json:"rows"`
	Statistics struct {
		RowsRead int `json:"rows_read"`
	} `json:"statistics"`
}

// askHTTP asks as whoever wants to know how much was read.
func askHTTP(t *testing.T, query string) (a answer) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sandboxtest.Start(t).HTTPURL(), strings.NewReader(query+" FORMAT JSON"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatalf("%s: %v", response.Status, err)
	}
	return a
}

// TestViews_ShowTextsAsTheyCame has in every text the bytes that values are made of: the
// separator of fields, and what stands for it.
func TestViews_ShowTextsAsTheyCame(t *testing.T) {
	store := open(t)
	const odd = "\x00a\x01\x00\x01\x01\x02\x00\x00"
	now := time.Now().Add(-time.Minute)
	of := events.ConversationOf{UserID: "ann", ConversationID: "GROUPg"}
	sent := func(c events.Conversation, from, kind string) *events.MessageSent {
		return &events.MessageSent{
			Conversation: c, From: from, MessageID: odd, Sequence: 1, Type: kind, Payload: []byte(`{}`),
			MessageForShow: odd, Nick: odd, Avatar: odd, NameCard: odd, CloudCustomData: odd,
		}
	}
	var list []events.Event
	for i, body := range []events.Body{
		&events.GroupMemberChanged{GroupID: "g", UserID: "ann", Status: events.StatusJoined, NameCard: odd, JoinSequence: 0},
		&events.GroupProfileChanged{
			GroupID: "g", Name: odd, Avatar: odd, Introduction: odd, Notification: odd, JoinOption: odd, InviteOption: odd,
			Type: "Public", OwnerID: "bob", MemberCount: 3, GroupCustomField: []events.KeyValue{{}, {Key: odd, Value: odd}},
		},
		&events.UserProfileChanged{
			UserID: "bob", Nick: odd, Avatar: odd, Gender: odd, Location: odd, SelfSignature: odd, AllowType: odd, AdminForbidType: odd,
			Level: 7, ProfileCustomField: []events.KeyValue{{Key: odd, Value: odd}, {}},
		},
		&events.ConversationGroupsSet{ConversationOf: of, ConversationGroupList: []string{odd, odd + "b", "c"}},
		sent(events.Group("g"), "bob", odd),
		sent(events.C2C("ann", "bob"), "bob", events.TypeText),
		&events.MessageModified{Conversation: events.C2C("ann", "bob"), Sequence: 1, Version: 1, HasMessageForShow: true, MessageForShow: "b" + odd},
		sent(events.C2C("ann", "cat"), "cat", events.TypeText),
		&events.MessageModified{
			Conversation: events.C2C("ann", "cat"), Sequence: 1, Version: 1, Payload: []byte(`{"text":"\u0000"}`), PayloadText: "c" + odd,
		},
	} {
		list = append(list, events.Event{ID: strconv.Itoa(i), App: "demo", Time: events.MicrosOf(now), Body: body})
	}
	if err := store.Write(t.Context(), fold(list)); err != nil {
		t.Fatal(err)
	}
	check(t, t, sandboxtest.ClickHouse(t), store.Registers(), "app = 'demo'", list)
}

// TestViews_ShowNobodyWhoWasSwept has in the place of users what stands there after a sweep.
func TestViews_ShowNobodyWhoWasSwept(t *testing.T) {
	store := open(t)
	const swept = "\xff"
	now := time.Now().Add(-time.Minute)
	at := events.MicrosOf(now)
	if err := store.Write(t.Context(), fold([]events.Event{
		sent("demo", now, events.Group("g"), swept, 1, "e1"),
		{ID: "e2", App: "demo", Time: at, Body: &events.GroupMemberChanged{GroupID: "g", UserID: "ann", Status: events.StatusJoined}},
		{ID: "e3", App: "demo", Time: at, Body: &events.GroupProfileChanged{GroupID: "g", OwnerID: swept}},
	})); err != nil {
		t.Fatal(err)
	}
	got := analyze(t, t, sandboxtest.ClickHouse(t), store.Registers(), "app = 'demo'")
	if len(got.Messages) != 1 || got.Messages[0].FromUser != "" || !got.Messages[0].IsRecalled {
		t.Errorf("messages: %+v", got.Messages)
	}
	if len(got.Conversations) != 1 || got.Conversations[0].LastFrom != "" || got.Conversations[0].UnreadCount != 1 {
		t.Errorf("conversations: %+v", got.Conversations)
	}
	if len(got.GroupProfiles) != 1 || got.GroupProfiles[0].OwnerID != "" {
		t.Errorf("group profiles: %+v", got.GroupProfiles)
	}
}

// TestViews_ShowWhatComesInPlaceOfASweptMessage has a producer use a sequence again whose
// message, an erased user's, was modified and swept: views show it as lists do.
func TestViews_ShowWhatComesInPlaceOfASweptMessage(t *testing.T) {
	store := open(t)
	now := time.Now().Add(-time.Minute)
	at := events.MicrosOf(now)
	group := events.Group("g")
	write := func(list ...events.Event) {
		t.Helper()
		if err := store.Write(t.Context(), fold(list)); err != nil {
			t.Fatal(err)
		}
	}
	write(
		sent("demo", now, group, "dave", 5, "e1"),
		events.Event{ID: "e2", App: "demo", Time: at, Body: &events.MessageModified{Conversation: group, Sequence: 5, Version: 1, Payload: []byte(`{"text":"dave's"}`)}},
		events.Event{ID: "e3", App: "demo", Time: at, Body: &events.GroupMemberChanged{GroupID: "g", UserID: "ann", Status: events.StatusJoined}},
		events.Event{ID: "e4", App: "demo", Time: at, Body: &events.UserErased{UserID: "dave"}},
	)
	sweep(t, store)
	write(events.Event{ID: "e5", App: "demo", Time: at + 1, Body: &events.MessageSent{
		Conversation: group, From: "bob", MessageID: "m5", Sequence: 5, Type: events.TypeText, MessageForShow: "bob's",
	}})
	got := analyze(t, t, sandboxtest.ClickHouse(t), store.Registers(), "app = 'demo'")
	if !slices.ContainsFunc(got.Messages, func(m messageView) bool { return m.FromUser == "bob" && m.Text == "bob's" }) {
		t.Errorf("messages: %+v", got.Messages)
	}
	if len(got.Conversations) != 1 || got.Conversations[0].LastFrom != "bob" || got.Conversations[0].LastText != "bob's" {
		t.Errorf("conversations: %+v", got.Conversations)
	}
}

// TestViews_ReadAsWhoMadeThem holds that readers of views need no right to tables.
func TestViews_ReadAsWhoMadeThem(t *testing.T) {
	store := open(t)
	var views []struct {
		Name   string `ch:"name"`
		Create string `ch:"create_table_query"`
	}
	err := sandboxtest.ClickHouse(t).Select(t.Context(), &views,
		"SELECT name, create_table_query FROM system.tables WHERE database = '"+store.Registers()+"' AND engine = 'View'")
	if err != nil || len(views) == 0 {
		t.Fatalf("%d views: %v", len(views), err)
	}
	for _, v := range views {
		if !strings.Contains(v.Create, "SQL SECURITY DEFINER") {
			t.Errorf("%s reads as who asks: %s", v.Name, v.Create)
		}
	}
}

// TestViews_AreOneGenerationEach switches to and fro while somebody reads a view that
// reads many tables: all that it shows is of one generation.
func TestViews_AreOneGenerationEach(t *testing.T) {
	first := open(t)
	second := addFilled(t, first.Server, readmodel.Options{})
	// In one generation ann is in group g alone, in the other one in h alone.
	for store, group := range map[*readmodel.Store]string{first: "g", second: "h"} {
		now := time.Now().Add(-time.Minute)
		list := []events.Event{
			sent("demo", now, events.Group(group), "bob", 1, "e1"),
			{ID: "e2", App: "demo", Time: events.MicrosOf(now), Body: &events.GroupMemberChanged{GroupID: group, UserID: "ann", Status: events.StatusJoined}},
		}
		if err := store.Write(t.Context(), fold(list)); err != nil {
			t.Fatal(err)
		}
	}
	conn := sandboxtest.ClickHouse(t)
	const switches = 40
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range switches {
			if failed = first.Switch(t.Context(), []int{second.Number(), first.Number()}[n%2], "the test"); failed != nil {
				return
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		var got []conversationView
		if err := conn.Select(t.Context(), &got, "SELECT * FROM "+first.Registers()+".conversations WHERE app = 'demo' AND user_id = 'ann'"); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].UnreadCount != 1 || got[0].LastSequence != 1 {
			t.Fatalf("ann's list is of no generation: %+v", got)
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
}

// recentChat is one of ten days until now, of which the first ones are expired.
func recentChat() generate.Config {
	config := generate.DefaultConfig()
	config.People, config.Groups = 60, 8
	config.Start = time.Now().Add(-10 * 24 * time.Hour)
	config.Retention = 7 * 24 * time.Hour
	config.Rate = 2500 / (10 * 24 * time.Hour).Seconds()
	return config
}

// TestViews_OfAGeneratedChat has people come, go, read, pin, recall and be erased, as the
// generator has it, and holds the whole chat against the events.
func TestViews_OfAGeneratedChat(t *testing.T) {
	store := open(t)
	var list []events.Event
	for g := generate.New(recentChat()); len(list) == 0 || list[len(list)-1].Time.Time().Before(time.Now().Add(-time.Minute)); {
		list = append(list, g.Next())
	}
	for batch := range slices.Chunk(list, 700) {
		if err := store.Write(t.Context(), fold(batch)); err != nil {
			t.Fatal(err)
		}
	}
	conn := sandboxtest.ClickHouse(t)
	check(t, t, conn, store.Registers(), "app = 'demo'", list)

	// One user's rows are those of the user among all.
	all := analyze(t, t, conn, store.Registers(), "app = 'demo'")
	if len(all.Conversations) == 0 {
		t.Fatal("nobody lists anything")
	}
	user := all.Conversations[0].UserID
	var want, got []conversationView
	for _, c := range all.Conversations {
		if c.UserID == user {
			want = append(want, c)
		}
	}
	if err := conn.Select(t.Context(), &got, "SELECT * FROM "+store.Registers()+".conversations WHERE app = 'demo' AND user_id = {user:String}", clickhouse.Named("user", user)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, inAnyOrder); diff != "" {
		t.Errorf("conversations of %s (-among all +alone):\n%s", user, diff)
	}
}
