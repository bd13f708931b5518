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
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// analysis is all that the views say of some apps.
type analysis struct {
	Messages          []messageView
	Conversations     []conversationView
	Reads             []readView
	GroupMembers      []memberView
	GroupProfiles     []groupView
	UserProfiles      []userView
	ActivityDaily     []activityView
	ActivityUserDaily []userActivityView
}

type messageView struct {
	App         string    `ch:"app"`
	Type        string    `ch:"type"`
	GroupID     string    `ch:"group_id"`
	FromUser    string    `ch:"from_user"`
	ToUser      string    `ch:"to_user"`
	Sequence    uint64    `ch:"sequence"`
	MessageID   string    `ch:"message_id"`
	MessageType string    `ch:"message_type"`
	Time        time.Time `ch:"time"`
	Text        string    `ch:"text"`
	Mentions    []string  `ch:"mentions"`
	MentionsAll bool      `ch:"mentions_all"`
	Counted     bool      `ch:"counted"`
	Shown       bool      `ch:"shown"`
	IsRecalled  bool      `ch:"is_recalled"`
	Version     uint64    `ch:"version"`
}

type conversationView struct {
	App                string    `ch:"app"`
	UserID             string    `ch:"user_id"`
	ConversationID     string    `ch:"conversation_id"`
	Type               string    `ch:"type"`
	UnreadCount        uint64    `ch:"unread_count"`
	LastTime           time.Time `ch:"last_time"`
	LastSequence       uint64    `ch:"last_sequence"`
	LastFrom           string    `ch:"last_from"`
	LastText           string    `ch:"last_text"`
	IsPinned           bool      `ch:"is_pinned"`
	IsHidden           bool      `ch:"is_hidden"`
	RemindType         string    `ch:"remind_type"`
	Marks              []uint64  `ch:"marks"`
	ConversationGroups []string  `ch:"conversation_groups"`
}

type readView struct {
	App            string    `ch:"app"`
	UserID         string    `ch:"user_id"`
	ConversationID string    `ch:"conversation_id"`
	Sequence       uint64    `ch:"sequence"`
	Time           time.Time `ch:"time"`
}

type memberView struct {
	App          string    `ch:"app"`
	GroupID      string    `ch:"group_id"`
	UserID       string    `ch:"user_id"`
	Status       string    `ch:"status"`
	Role         string    `ch:"role"`
	NameCard     string    `ch:"name_card"`
	JoinSequence uint64    `ch:"join_sequence"`
	Time         time.Time `ch:"time"`
}

type groupView struct {
	App              string            `ch:"app"`
	GroupID          string            `ch:"group_id"`
	Name             string            `ch:"name"`
	Avatar           string            `ch:"avatar"`
	Type             string            `ch:"type"`
	Introduction     string            `ch:"introduction"`
	Notification     string            `ch:"notification"`
	OwnerID          string            `ch:"owner_id"`
	CreateTime       int64             `ch:"create_time"` // the client does not know the years after 2262
	MemberCount      uint64            `ch:"member_count"`
	MaxMemberCount   uint64            `ch:"max_member_count"`
	MuteAllMembers   bool              `ch:"mute_all_members"`
	JoinOption       string            `ch:"join_option"`
	InviteOption     string            `ch:"invite_option"`
	IsSupportTopic   bool              `ch:"is_support_topic"`
	InfoSequence     uint64            `ch:"info_sequence"`
	GroupCustomField []events.KeyValue `ch:"group_custom_field"`
	Dismissed        bool              `ch:"dismissed"`
	Time             time.Time         `ch:"time"`
}

type userView struct {
	App                string            `ch:"app"`
	UserID             string            `ch:"user_id"`
	Nick               string            `ch:"nick"`
	Avatar             string            `ch:"avatar"`
	Gender             string            `ch:"gender"`
	Birthday           uint32            `ch:"birthday"`
	Location           string            `ch:"location"`
	SelfSignature      string            `ch:"self_signature"`
	AllowType          string            `ch:"allow_type"`
	Language           uint32            `ch:"language"`
	MessageSettings    uint32            `ch:"message_settings"`
	AdminForbidType    string            `ch:"admin_forbid_type"`
	Level              uint32            `ch:"level"`
	Role               uint32            `ch:"role"`
	ProfileCustomField []events.KeyValue `ch:"profile_custom_field"`
	Time               time.Time         `ch:"time"`
}

type activityView struct {
	App           string    `ch:"app"`
	Day           time.Time `ch:"day"`
	Type          string    `ch:"type"`
	Messages      uint64    `ch:"messages"`
	Senders       uint64    `ch:"senders"`
	Conversations uint64    `ch:"conversations"`
}

type userActivityView struct {
	App           string    `ch:"app"`
	Day           time.Time `ch:"day"`
	UserID        string    `ch:"user_id"`
	Messages      uint64    `ch:"messages"`
	Conversations uint64    `ch:"conversations"`
}

// analyze reads all views, or those rows of them for which a condition holds.
func analyze(t testing.TB, rt rapid.TB, conn driver.Conn, database, where string) (a analysis) {
	for view, rows := range map[string]any{
		"messages": &a.Messages, "conversations": &a.Conversations, "reads": &a.Reads,
		"group_members": &a.GroupMembers, "group_profiles": &a.GroupProfiles, "user_profiles": &a.UserProfiles,
		"activity_daily": &a.ActivityDaily, "activity_user_daily": &a.ActivityUserDaily,
	} {
		columns := "*"
		if view == "group_profiles" {
			columns = "* REPLACE (toUnixTimestamp64Micro(create_time) AS create_time)"
		}
		if err := conn.Select(t.Context(), rows, "SELECT "+columns+" FROM "+database+"."+view+" WHERE "+where); err != nil {
			rt.Fatalf("%s: %v", view, err)
		}
	}
	return a
}

// inAnyOrder compares analyses: views have no order, and empty lists are nil in some.
var inAnyOrder = cmp.Options{
	cmpopts.EquateEmpty(),
	sorted(func(r messageView) []any {
		return []any{r.App, r.Type, r.GroupID, r.ToUser, r.FromUser, r.Sequence, r.Time, r.MessageID, r}
	}),
	sorted(func(r conversationView) []any { return []any{r.App, r.UserID, r.ConversationID} }),
	sorted(func(r readView) []any { return []any{r.App, r.UserID, r.ConversationID} }),
	sorted(func(r memberView) []any { return []any{r.App, r.GroupID, r.UserID} }),
	sorted(func(r groupView) []any { return []any{r.App, r.GroupID} }),
	sorted(func(r userView) []any { return []any{r.App, r.UserID} }),
	sorted(func(r activityView) []any { return []any{r.App, r.Day, r.Type} }),
	sorted(func(r userActivityView) []any { return []any{r.App, r.Day, r.UserID} }),
}

func sorted[R any](key func(R) []any) cmp.Option {
	text := func(r R) string {
		b, err := json.Marshal(key(r))
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	return cmpopts.SortSlices(func(a, b R) int { return strings.Compare(text(a), text(b)) })
}

// expect says what the views are to say of events at a time: conversations as reading
// the contract word by word gives them, the rest counted and looked up one by one.
func expect(t rapid.TB, list []events.Event, now events.Micros) analysis {
	o := newOracle(list, now)
	for _, e := range o.list {
		o.message(e)
		o.register(e)
	}
	o.activity()
	o.conversations(t)
	return o.analysis
}

// oracle reads events without any merging: it looks through all of them for each answer.
type oracle struct {
	analysis
	list   []events.Event
	now    events.Micros
	erased map[[2]string]bool // by app and user
}

func newOracle(list []events.Event, now events.Micros) *oracle {
	o := &oracle{now: now, erased: map[[2]string]bool{}}
	seen := map[[2]string]bool{}
	for _, e := range list {
		if id := [2]string{e.App, e.ID}; !seen[id] {
			seen[id] = true
			o.list = append(o.list, e)
		}
		if b, ok := e.Body.(*events.UserErased); ok {
			o.erased[[2]string{e.App, b.UserID}] = true
		}
	}
	return o
}

// later reports whether an event of a register wins over another one.
func later(e, than events.Event) bool {
	return e.Time > than.Time || e.Time == than.Time && e.ID > than.ID
}

// last reports whether no event of the same register wins over e.
func (o *oracle) last(e events.Event, same func(other events.Event) bool) bool {
	return !slices.ContainsFunc(o.list, func(other events.Event) bool {
		return other.App == e.App && same(other) && later(other, e)
	})
}

func (o *oracle) expired(e events.Event) bool {
	retention := uint64(events.DefaultRetention)
	var plan events.Event
	for _, other := range o.list {
		if b, ok := other.Body.(*events.AppPlanChanged); ok && other.App == e.App && later(other, plan) {
			plan, retention = other, b.Retention
		}
	}
	if now := uint64(o.now.Seconds()); retention == 0 || retention > now {
		return false
	}
	return e.Time.Day() < (o.now - events.Micros(retention)*1_000_000).Day()
}

// typeOf is a conversation's type as the views have it.
func typeOf(c events.Conversation) string { return strings.TrimPrefix(c.Type.String(), "@TIM#") }

// gone reports whether erasure leaves nothing of a conversation.
func (o *oracle) gone(app string, c events.Conversation) bool {
	return c.Type != events.TypeGroup && (o.erased[[2]string{app, c.A}] || o.erased[[2]string{app, c.B}])
}

func (o *oracle) message(e events.Event) {
	b, ok := e.Body.(*events.MessageSent)
	if !ok || o.expired(e) || o.gone(e.App, b.Conversation) {
		return
	}
	row := messageView{
		App: e.App, Type: typeOf(b.Conversation), FromUser: b.From, Sequence: b.Sequence, MessageID: b.MessageID,
		MessageType: b.Type, Time: e.Time.Time(), Text: b.MessageForShow, MentionsAll: b.AtAll,
		Counted: !b.OnlineOnly && !b.ExcludedFromUnread, Shown: !b.OnlineOnly && !b.ExcludedFromLast,
	}
	switch b.Conversation.Type {
	case events.TypeGroup:
		row.GroupID = b.Conversation.A
	case events.TypeC2C:
		row.ToUser = b.Conversation.Peer(b.From)
	case events.TypeSystem:
		row.ToUser = b.Conversation.A
	}
	for _, user := range b.AtUsers {
		if !o.erased[[2]string{e.App, user}] {
			row.Mentions = append(row.Mentions, user)
		}
	}
	var modified events.Event
	for _, other := range o.list {
		if other.App != e.App {
			continue
		}
		switch m := other.Body.(type) {
		case *events.MessageRecalled:
			row.IsRecalled = row.IsRecalled || m.Conversation == b.Conversation && m.Sequence == b.Sequence
		case *events.MessageModified:
			if m.Conversation == b.Conversation && m.Sequence == b.Sequence &&
				(m.Version > row.Version || m.Version == row.Version && later(other, modified)) {
				row.Version, modified = m.Version, other
			}
		}
	}
	if m, ok := modified.Body.(*events.MessageModified); ok {
		switch {
		case m.HasMessageForShow:
			row.Text = m.MessageForShow
		case m.Payload != nil:
			row.Text = events.Preview(b.Type, m.PayloadText)
		}
	}
	if o.erased[[2]string{e.App, b.From}] {
		row.FromUser, row.IsRecalled = "", true
	}
	if row.IsRecalled {
		row.Text = ""
	}
	o.Messages = append(o.Messages, row)
}

func (o *oracle) register(e events.Event) {
	erased := func(user string) bool { return o.erased[[2]string{e.App, user}] }
	switch b := e.Body.(type) {
	case *events.ConversationRead:
		if erased(b.UserID) || o.gone(e.App, b.Conversation()) || slices.ContainsFunc(o.list, func(other events.Event) bool {
			r, ok := other.Body.(*events.ConversationRead)
			return ok && other.App == e.App && r.ConversationOf == b.ConversationOf &&
				(r.Sequence > b.Sequence || r.Sequence == b.Sequence && later(other, e))
		}) {
			return
		}
		o.Reads = append(o.Reads, readView{e.App, b.UserID, b.ConversationID, b.Sequence, e.Time.Time()})
	case *events.GroupMemberChanged:
		if erased(b.UserID) || !o.last(e, func(other events.Event) bool {
			m, ok := other.Body.(*events.GroupMemberChanged)
			return ok && m.GroupID == b.GroupID && m.UserID == b.UserID
		}) {
			return
		}
		o.GroupMembers = append(o.GroupMembers, memberView{e.App, b.GroupID, b.UserID, b.Status, b.Role, b.NameCard, b.JoinSequence, e.Time.Time()})
	case *events.GroupProfileChanged:
		if !o.last(e, func(other events.Event) bool {
			g, ok := other.Body.(*events.GroupProfileChanged)
			return ok && g.GroupID == b.GroupID
		}) {
			return
		}
		owner := b.OwnerID
		if erased(owner) {
			owner = ""
		}
		o.GroupProfiles = append(o.GroupProfiles, groupView{
			e.App, b.GroupID, b.Name, b.Avatar, b.Type, b.Introduction, b.Notification, owner,
			min(max(int64(b.CreateTime), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()), time.Date(2300, 1, 1, 0, 0, 0, -1000, time.UTC).UnixMicro()),
			b.MemberCount, b.MaxMemberCount, b.MuteAllMembers, b.JoinOption, b.InviteOption, b.IsSupportTopic, b.InfoSequence,
			b.GroupCustomField, b.Dismissed, e.Time.Time(),
		})
	case *events.UserProfileChanged:
		if erased(b.UserID) || !o.last(e, func(other events.Event) bool {
			u, ok := other.Body.(*events.UserProfileChanged)
			return ok && u.UserID == b.UserID
		}) {
			return
		}
		o.UserProfiles = append(o.UserProfiles, userView{
			e.App, b.UserID, b.Nick, b.Avatar, b.Gender, b.Birthday, b.Location, b.SelfSignature, b.AllowType,
			b.Language, b.MessageSettings, b.AdminForbidType, b.Level, b.Role, b.ProfileCustomField, e.Time.Time(),
		})
	}
}

func (o *oracle) activity() {
	counted := countActivity(o.list)
	for k, c := range counted.Types {
		o.ActivityDaily = append(o.ActivityDaily, activityView{k.App, k.Day.Time(), k.Of, c.Messages, c.Senders, c.Conversations})
	}
	for k, c := range counted.Users {
		if !o.erased[[2]string{k.App, k.Of}] {
			o.ActivityUserDaily = append(o.ActivityUserDaily, userActivityView{k.App, k.Day.Time(), k.Of, c.Messages, c.Conversations})
		}
	}
}

// item is what an item of the API and a row of the view both say.
type item struct {
	ConversationID        string   `json:"conversationID"`
	Type                  string   `json:"type"`
	UnreadCount           uint64   `json:"unreadCount"`
	IsPinned              bool     `json:"isPinned"`
	MessageRemindType     string   `json:"messageRemindType"`
	MarkList              []uint64 `json:"markList"`
	ConversationGroupList []string `json:"conversationGroupList"`
	LastMessage           struct {
		LastTime       int64  `json:"lastTime"`
		LastSequence   uint64 `json:"lastSequence"`
		FromAccount    string `json:"fromAccount"`
		MessageForShow string `json:"messageForShow"`
	} `json:"lastMessage"`
}

// conversations are what lists show, and what they hide. Their cut is no matter of the view.
func (o *oracle) conversations(t rapid.TB) {
	chat := bruteforce.New(uncut(o.list), o.now)
	for app, ids := range idsByApp(o.list) {
		for _, user := range chat.Users(app) {
			visible := map[string]bool{}
			for _, i := range itemsOf(t, chat.List(app, user, bruteforce.Filter{})) {
				visible[i.ConversationID] = true
			}
			for _, i := range itemsOf(t, chat.List(app, user, bruteforce.Filter{IDs: ids})) {
				o.Conversations = append(o.Conversations, conversationView{
					app, user, i.ConversationID, strings.TrimPrefix(i.Type, "@TIM#"), i.UnreadCount,
					time.Unix(i.LastMessage.LastTime, 0).UTC(), i.LastMessage.LastSequence, i.LastMessage.FromAccount, i.LastMessage.MessageForShow,
					i.IsPinned, !visible[i.ConversationID], i.MessageRemindType, i.MarkList, i.ConversationGroupList,
				})
			}
		}
	}
}

// uncut has no list cut.
func uncut(list []events.Event) []events.Event {
	list = slices.Clone(list)
	for i := range list {
		if b, ok := list[i].Body.(*events.AppPlanChanged); ok {
			list[i].Body = &events.AppPlanChanged{MaxConversations: 1000, Retention: b.Retention}
		}
	}
	return list
}

// idsByApp gives the IDs of all conversations that anybody could have, by app.
func idsByApp(list []events.Event) map[string][]string {
	ids := map[string][]string{}
	for _, e := range list {
		add := func(id string) { ids[e.App] = append(ids[e.App], id) }
		switch b := e.Body.(type) {
		case *events.MessageSent:
			add(b.Conversation.IDFor(b.Conversation.A))
			add(b.Conversation.IDFor(b.Conversation.Peer(b.Conversation.A)))
		default:
			add(events.SystemConversationID)
		}
	}
	for app := range ids {
		slices.Sort(ids[app])
		ids[app] = slices.Compact(ids[app])
	}
	return ids
}

func itemsOf(t rapid.TB, list []any) []item {
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var items []item
	if err := json.Unmarshal(b, &items); err != nil {
		t.Fatal(err)
	}
	return items
}

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
	second, err := first.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Filled(t.Context(), second.Number()); err != nil {
		t.Fatal(err)
	}
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
	second, err := first.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Filled(t.Context(), second.Number()); err != nil {
		t.Fatal(err)
	}
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
