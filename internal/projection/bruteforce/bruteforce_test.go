package bruteforce_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

const (
	minute events.Micros = 60_000_000
	day                  = 24 * 60 * minute
)

var now = events.MicrosOf(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// at is an event of the app demo; the order of the list gives it its ID.
type at struct {
	time events.Micros
	body events.Body
}

func chat(list ...at) *bruteforce.Chat {
	var all []events.Event
	for i, e := range list {
		all = append(all, events.Event{ID: fmt.Sprintf("e%02d", i), App: "demo", Time: e.time, Body: e.body})
	}
	return bruteforce.New(append(all, all...), now)
}

func sent(c events.Conversation, from string, sequence uint64) *events.MessageSent {
	return &events.MessageSent{
		Conversation: c, From: from, MessageID: fmt.Sprintf("m%d", sequence), Sequence: sequence,
		Type: events.TypeText, Payload: []byte(`{"text":"hi"}`), MessageForShow: "hi",
	}
}

func joined(group, user string, sequence uint64) *events.GroupMemberChanged {
	return &events.GroupMemberChanged{GroupID: group, UserID: user, Status: events.StatusJoined, JoinSequence: sequence}
}

func of(user, conversation string) events.ConversationOf {
	return events.ConversationOf{UserID: user, ConversationID: conversation}
}

func text(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// pick decodes an item and renders the members at some paths.
func pick(t *testing.T, v any, paths ...string) string {
	t.Helper()
	var shown []string
	for _, path := range paths {
		var value any
		if err := json.Unmarshal([]byte(text(t, v)), &value); err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(path, ".") {
			value = value.(map[string]any)[name]
		}
		shown = append(shown, text(t, value))
	}
	return strings.Join(shown, " ")
}

func ids(t *testing.T, list []any) string {
	t.Helper()
	var all []string
	for _, v := range list {
		all = append(all, strings.Trim(pick(t, v, "conversationID"), `"`))
	}
	return strings.Join(all, " ")
}

func ptr[T any](v T) *T { return &v }

var annBob, group = events.C2C("ann", "bob"), events.Group("g")

func TestChat_WholeItem(t *testing.T) {
	c := chat(at{now - minute, sent(annBob, "bob", 7)})
	want := `{"conversationID":"C2Cbob","type":"C2C","subType":"","unreadCount":1,"lastMessage":{"messageID":"m7",` +
		`"lastTime":1795435140,"lastSequence":7,"fromAccount":"bob","messageForShow":"hi","type":"TIMTextElem",` +
		`"payload":{"text":"hi"},"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":false,"nick":"",` +
		`"nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":0},"groupAtInfoList":[],` +
		`"peerReadTime":0,"isPinned":false,"messageRemindType":"AcceptAndNotify","markList":[],"customData":"",` +
		`"conversationGroupList":[],"draftText":"","remark":"","userProfile":{"userID":"bob","nick":"","avatar":""},` +
		`"groupProfile":null}`
	if diff := cmp.Diff(want, text(t, c.List("demo", "ann", bruteforce.Filter{})[0])); diff != "" {
		t.Errorf("item (-want +got):\n%s", diff)
	}
}

func TestChat_CompleteProfiles(t *testing.T) {
	c := chat(
		at{now - 3*minute, joined("g", "ann", 2)},
		at{now - 2*minute, sent(group, "bob", 4)},
		at{now - minute, &events.GroupProfileChanged{GroupID: "g", Type: "Public", OwnerID: "bob", CreateTime: 5_999_999}},
		at{now - minute, &events.FriendRemarkSet{UserID: "ann", FriendID: "bob", Remark: "Bobby"}},
		at{now - minute, sent(annBob, "ann", 1)},
	)
	got, ok := c.Profile("demo", "ann", "GROUPg")
	if !ok {
		t.Fatal("the group is not known")
	}
	last := pick(t, got, "lastMessage.lastSequence") + text(t, nil)
	if last != "4null" {
		t.Errorf("the head is %s", last)
	}
	want := `"Public" 5 1795435140 {"joinSequence":2,"joinTime":0,"messageRemindType":"AcceptAndNotify","nameCard":"",` +
		`"readedSequence":2,"role":"","userID":"ann"} 5 4`
	if diff := cmp.Diff(want, pick(t, got, "subType", "groupProfile.createTime", "groupProfile.lastInfoTime",
		"groupProfile.selfInfo", "groupProfile.nextMessageSeq", "groupProfile.lastMessage.lastSequence")); diff != "" {
		t.Errorf("group profile (-want +got):\n%s", diff)
	}
	got, _ = c.Profile("demo", "ann", "C2Cbob")
	want = `"Bobby" "Gender_Type_Unknown" [] 0`
	if diff := cmp.Diff(want, pick(t, got, "remark", "userProfile.gender", "userProfile.profileCustomField",
		"userProfile.lastUpdatedTime")); diff != "" {
		t.Errorf("user profile (-want +got):\n%s", diff)
	}
}

func TestChat_OneSequence(t *testing.T) {
	mention := sent(group, "bob", 5)
	mention.AtUsers = []string{"ann"}
	everyone := sent(group, "cid", 5)
	everyone.AtAll, everyone.ExcludedFromLast = true, true
	quiet := sent(group, "dan", 6)
	quiet.ExcludedFromUnread = true
	c := chat(
		at{now - day, joined("g", "ann", 0)},
		at{now - 3*minute, mention}, at{now - 2*minute, everyone}, at{now - day, sent(group, "eve", 5)},
		at{now, sent(group, "bob", 6)}, at{now, quiet},
	)
	got := pick(t, c.List("demo", "ann", bruteforce.Filter{})[0], "unreadCount", "groupAtInfoList", "lastMessage.fromAccount")
	want := `2 [{"atTypeArray":[3],"from":"cid","groupID":"g","messageSequence":5}] "dan"`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChat_RecallAndModification(t *testing.T) {
	modified := &events.MessageModified{Conversation: annBob, Sequence: 3, Version: 2, Payload: []byte(`{"text":"new"}`), PayloadText: "new"}
	older := &events.MessageModified{Conversation: annBob, Sequence: 3, Version: 1, HasCloudCustomData: true, CloudCustomData: "x"}
	list := []at{
		{now - 9*minute, sent(annBob, "bob", 3)},
		{now - 8*minute, modified},
		{now - 7*minute, older},
	}
	paths := []string{"messageForShow", "payload", "cloudCustomData", "version", "isRevoked", "revoker", "revokeReason"}
	for i := range paths {
		paths[i] = "lastMessage." + paths[i]
	}
	got := pick(t, chat(list...).List("demo", "ann", bruteforce.Filter{})[0], paths...)
	if diff := cmp.Diff(`"new" {"text":"new"} "" 2 false null ""`, got); diff != "" {
		t.Errorf("modified (-want +got):\n%s", diff)
	}
	list = append(list, at{now, &events.MessageRecalled{Conversation: annBob, Sequence: 3, Revoker: "bob", Reason: "late"}},
		at{now - minute, &events.MessageRecalled{Conversation: annBob, Sequence: 3, Revoker: "ann", Reason: "early"}})
	got = pick(t, chat(list...).List("demo", "ann", bruteforce.Filter{})[0], append(paths, "unreadCount")...)
	if diff := cmp.Diff(`"" null "" 2 true "bob" "late" 0`, got); diff != "" {
		t.Errorf("recalled (-want +got):\n%s", diff)
	}
}

func TestChat_Expiry(t *testing.T) {
	list := []at{{now - 7*day - 11*60*minute, sent(annBob, "bob", 1)}}
	if got := ids(t, chat(list...).List("demo", "ann", bruteforce.Filter{})); got != "C2Cbob" {
		t.Errorf("a message of the first unexpired day lists %q", got)
	}
	list[0].time -= 2 * 60 * minute
	if got := ids(t, chat(list...).List("demo", "ann", bruteforce.Filter{})); got != "" {
		t.Errorf("an expired message lists %q", got)
	}
	if _, ok := chat(list...).Profile("demo", "ann", "C2Cbob"); ok {
		t.Error("a conversation with expired messages alone is known")
	}
	list = append(list, at{now - 30*day, &events.AppPlanChanged{MaxConversations: 1, Retention: 0}})
	if got := ids(t, chat(list...).List("demo", "ann", bruteforce.Filter{})); got != "C2Cbob" {
		t.Errorf("kept for ever, the list is %q", got)
	}
}

func TestChat_ListOrderCutAndFilters(t *testing.T) {
	c := chat(
		at{now - 4*minute, sent(annBob, "bob", 1)},
		at{now - 3*minute, sent(events.C2C("ann", "cid"), "cid", 1)},
		at{now - 3*minute, sent(events.C2C("ann", "ann"), "ann", 1)},
		at{now - 2*minute, sent(events.System("ann"), "ann", 1)},
		at{now - minute, sent(events.C2C("ann", "dan"), "dan", 1)},
		at{now - minute, &events.ConversationMarked{ConversationOf: of("ann", "C2Cdan"), MarkList: []uint64{4}}},
		at{now, &events.ConversationPinned{ConversationOf: of("ann", "C2Cbob"), IsPinned: true}},
		at{now, &events.ConversationRemindTypeSet{ConversationOf: of("ann", "C2Ccid"), MessageRemindType: events.RemindDiscard}},
		at{now, &events.AppPlanChanged{MaxConversations: 3, Retention: events.DefaultRetention}},
	)
	for _, test := range []struct {
		filter       bruteforce.Filter
		want         string
		total, muted uint64
	}{
		{bruteforce.Filter{}, "C2Cbob @TIM#SYSTEM C2Cann", 1, 3},
		{bruteforce.Filter{IDs: []string{"C2Ccid", "C2Cdan", "C2Cdan", "C2Cx", "C2Cann"}}, "C2Cdan C2Cann C2Ccid", 1, 2},
		{bruteforce.Filter{IDs: []string{}}, "", 0, 0},
		{bruteforce.Filter{MarkType: ptr[uint64](4)}, "C2Cdan", 1, 1},
		{bruteforce.Filter{MarkType: ptr[uint64](0), Type: "C2C"}, "C2Cbob C2Cann C2Ccid", 1, 2},
		{bruteforce.Filter{HasUnreadCount: ptr(false)}, "C2Cann", 0, 0},
		{bruteforce.Filter{GroupName: ptr("")}, "C2Cbob @TIM#SYSTEM C2Cann", 1, 3},
		{bruteforce.Filter{GroupName: ptr("work")}, "", 0, 0},
		{bruteforce.Filter{HasGroupAtInfo: ptr(true)}, "", 0, 0},
	} {
		if got := ids(t, c.List("demo", "ann", test.filter)); got != test.want {
			t.Errorf("%s lists %q, want %q", text(t, test.filter), got, test.want)
		}
		total, muted := c.Unread("demo", "ann", test.filter, false), c.Unread("demo", "ann", test.filter, true)
		if total != test.total || muted != test.muted {
			t.Errorf("%s counts %d and %d, want %d and %d", text(t, test.filter), total, muted, test.total, test.muted)
		}
	}
	if got := c.List("other", "ann", bruteforce.Filter{}); len(got) > 0 {
		t.Errorf("another app lists %v", got)
	}
	if diff := cmp.Diff([]string{"ann", "bob", "cid", "dan"}, c.Users("demo")); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func TestChat_DeletedAndCleared(t *testing.T) {
	list := []at{
		{now - 2*minute, sent(annBob, "bob", 3)},
		{now, &events.ConversationCleared{ConversationOf: of("ann", "C2Cbob"), ThroughSequence: 3}},
	}
	got := pick(t, chat(list...).List("demo", "ann", bruteforce.Filter{})[0], "unreadCount", "lastMessage.lastTime", "lastMessage.payload")
	if got != "0 0 null" {
		t.Errorf("cleared: %s", got)
	}
	list[1].body = &events.ConversationDeleted{ConversationOf: of("ann", "C2Cbob"), ThroughSequence: 3}
	if got := ids(t, chat(list...).List("demo", "ann", bruteforce.Filter{})); got != "" {
		t.Errorf("deleted, the list is %q", got)
	}
	profile, _ := chat(list...).Profile("demo", "ann", "C2Cbob")
	if got := pick(t, profile, "unreadCount", "lastMessage.messageID"); got != `0 "m3"` {
		t.Errorf("deleted: %s", got)
	}
	if got := ids(t, chat(append(list, at{now, sent(annBob, "ann", 4)})...).List("demo", "ann", bruteforce.Filter{})); got != "C2Cbob" {
		t.Errorf("after the next message, the list is %q", got)
	}
}

func TestChat_PeerRead(t *testing.T) {
	list := []at{
		{now - 9*minute, sent(annBob, "ann", 3)},
		{now - 8*minute, &events.ConversationRead{ConversationOf: of("bob", "C2Cann"), Sequence: 2}},
		{now - 7*minute, &events.ConversationRead{ConversationOf: of("bob", "C2Cann"), Sequence: 1}},
	}
	paths := []string{"peerReadTime", "lastMessage.isPeerRead"}
	want := fmt.Sprint((now - 8*minute).Seconds())
	if got := pick(t, chat(list...).List("demo", "ann", bruteforce.Filter{})[0], paths...); got != want+" false" {
		t.Errorf("got %s, want %s false", got, want)
	}
	onlineOnly := sent(annBob, "bob", 4)
	onlineOnly.OnlineOnly = true
	list = append(list, at{now, onlineOnly})
	if got := pick(t, chat(list...).List("demo", "ann", bruteforce.Filter{})[0], paths...); got != want+" true" {
		t.Errorf("after the peer's message: got %s, want %s true", got, want)
	}
	self := chat(at{now, sent(events.C2C("ann", "ann"), "ann", 1)})
	if got := pick(t, self.List("demo", "ann", bruteforce.Filter{})[0], paths...); got != "0 true" {
		t.Errorf("with oneself: got %s", got)
	}
}

func TestChat_Groups(t *testing.T) {
	list := []at{
		{now - day, joined("g", "ann", 1)},
		{now - 2*minute, sent(group, "bob", 5)},
		{now - 2*minute, sent(group, "bob", 9)},
		{now, &events.GroupProfileChanged{GroupID: "g", Type: events.GroupTypeChatRoom, OwnerID: "bob"}},
	}
	paths := []string{"unreadCount", "lastMessage.lastSequence", "groupProfile.nextMessageSeq", "groupProfile.selfInfo.readedSequence"}
	profile := func(list []at) string {
		v, ok := chat(list...).Profile("demo", "ann", "GROUPg")
		if !ok {
			return "unknown"
		}
		return pick(t, v, paths...)
	}
	for _, test := range []struct {
		list []at
		want string
	}{
		{list[1:], "unknown"},
		{list[:3], "2 9 10 1"},
		{list, "0 9 10 1"},
		{append(list[:3:3], at{now, &events.GroupMemberChanged{GroupID: "g", UserID: "ann", Status: events.StatusLeft, JoinSequence: 7}}), "0 0 0 0"},
		{append(list[:3:3], at{now, &events.GroupProfileChanged{GroupID: "g", Dismissed: true}}), "0 0 0 1"},
	} {
		if got := profile(test.list); got != test.want {
			t.Errorf("after %d events: %s, want %s", len(test.list), got, test.want)
		}
	}
}

func TestChat_Erasure(t *testing.T) {
	mention := sent(group, "bob", 5)
	mention.AtUsers = []string{"ann"}
	c := chat(
		at{now - day, joined("g", "ann", 0)}, at{now - day, joined("g", "bob", 0)},
		at{now - day, &events.GroupProfileChanged{GroupID: "g", OwnerID: "bob"}},
		at{now, mention}, at{now, sent(annBob, "ann", 1)}, at{now, sent(events.System("ann"), "bob", 1)},
		at{now, sent(events.C2C("ann", "cid"), "cid", 1)},
		at{now, &events.MessageRecalled{Conversation: events.C2C("ann", "cid"), Sequence: 1, Revoker: "bob", Reason: "r"}},
		at{now, &events.ConversationDraftSet{ConversationOf: of("ann", "C2Cbob"), DraftText: "d"}},
		at{now - 9*day, &events.UserErased{UserID: "bob"}},
	)
	list := c.List("demo", "ann", bruteforce.Filter{})
	if got := ids(t, list); got != "@TIM#SYSTEM C2Ccid GROUPg" {
		t.Fatalf("the list is %q", got)
	}
	message := []string{"lastMessage.messageID", "lastMessage.fromAccount", "lastMessage.isRevoked", "lastMessage.revoker", "lastMessage.revokeReason", "lastMessage.messageForShow"}
	if got := pick(t, list[0], append(message, "unreadCount")...); got != `"m1" "" true null "" "" 1` {
		t.Errorf("SYSTEM: %s", got)
	}
	if got := pick(t, list[1], append(message, "unreadCount")...); got != `"m1" "cid" true null "r" "" 0` {
		t.Errorf("recalled by bob: %s", got)
	}
	if got := pick(t, list[2], append(message, "unreadCount", "groupAtInfoList")...); got !=
		`"m5" "" true null "" "" 1 [{"atTypeArray":[1],"from":"","groupID":"g","messageSequence":5}]` {
		t.Errorf("group: %s", got)
	}
	for _, unknown := range [][2]string{{"ann", "C2Cbob"}, {"bob", "GROUPg"}, {"bob", "C2Cann"}} {
		if _, ok := c.Profile("demo", unknown[0], unknown[1]); ok {
			t.Errorf("%s knows %s", unknown[0], unknown[1])
		}
	}
	profile, _ := c.Profile("demo", "ann", "GROUPg")
	if got := pick(t, profile, "groupProfile.ownerID"); got != `""` {
		t.Errorf("the owner is %s", got)
	}
	if list := c.List("demo", "bob", bruteforce.Filter{}); len(list) > 0 {
		t.Errorf("bob lists %v", list)
	}
}

func TestChat_LargePayload(t *testing.T) {
	large := sent(annBob, "bob", 1)
	large.Payload = []byte(`{"text":"` + strings.Repeat("x", 1024-11) + `"}`)
	c := chat(at{now, large})
	if got := text(t, c.List("demo", "ann", bruteforce.Filter{})[0]); !strings.Contains(got, `x"},"isRevoked"`) {
		t.Errorf("1 KB in a list: %s", got)
	}
	large.Payload = []byte(`{"text":"` + strings.Repeat("x", 1024-10) + `"}`)
	c = chat(at{now, large})
	if got := text(t, c.List("demo", "ann", bruteforce.Filter{})[0]); !strings.Contains(got, `"payload":null,"payloadOmitted":true,"isRevoked"`) {
		t.Errorf("over 1 KB in a list: %s", got)
	}
	profile, _ := c.Profile("demo", "ann", "C2Cbob")
	if got := text(t, profile); strings.Contains(got, "payloadOmitted") || !strings.Contains(got, `x"},"isRevoked"`) {
		t.Errorf("over 1 KB in a profile: %s", got)
	}
}
