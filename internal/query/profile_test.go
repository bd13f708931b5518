package query

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
)

const emptyMessage = `{"messageID":"","lastTime":0,"lastSequence":0,"fromAccount":"","messageForShow":"","type":"","payload":null,` +
	`"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":false,"nick":"","nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":0}`

func TestProfile_Group(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(10*time.Hour), &events.GroupProfileChanged{
		GroupID: "g", Name: "G", Avatar: "g.png", Type: "Public", Introduction: "intro", Notification: "note", OwnerID: "ben",
		CreateTime: ago(100 * time.Hour), MemberCount: 3, MaxMemberCount: 200, MuteAllMembers: true, JoinOption: "Free",
		InviteOption: "Any", IsSupportTopic: true, InfoSequence: 12, GroupCustomField: []events.KeyValue{{Key: "k", Value: "v"}},
	}, &events.GroupMemberChanged{
		GroupID: "g", UserID: "ann", Status: events.StatusJoined, Role: "Admin", NameCard: "A.", JoinSequence: 1, JoinTime: ago(99 * time.Hour),
	})
	f.fold(ago(9*time.Hour), group("ben", "g", 3, "one"), group("ben", "g", 4, "two"), remind("ann", "GROUPg", "Discard"))
	f.fold(ago(8*time.Hour), &events.MessageModified{
		Conversation: events.Group("g"), Sequence: 4, Version: 2, Payload: []byte(`{"text":"2"}`), PayloadText: "2",
	}, read("ann", "GROUPg", 3), &events.MessageSent{Conversation: events.Group("g"), From: "ben", Sequence: 9, OnlineOnly: true})

	const message = `{"messageID":"m-two","lastTime":1795402800,"lastSequence":4,"fromAccount":"ben","messageForShow":"2","type":"TIMTextElem","payload":{"text":"2"},` +
		`"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":false,"nick":"","nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":2}`
	item := func(unread, message, next, status string) string {
		return `{"code":0,"data":{"conversation":{"conversationID":"GROUPg","type":"GROUP","subType":"Public","unreadCount":` + unread + `,"lastMessage":` + message +
			`,"groupAtInfoList":[],"peerReadTime":0,"isPinned":false,"messageRemindType":"Discard","markList":[],"customData":"","conversationGroupList":[],"draftText":"","remark":"",` +
			`"userProfile":null,"groupProfile":{"groupID":"g","name":"G","avatar":"g.png","type":"Public","introduction":"intro","notification":"note","ownerID":"ben",` +
			`"createTime":1795075200,"memberCount":3,"maxMemberCount":200,"muteAllMembers":true,"joinOption":"Free","inviteOption":"Any","isSupportTopic":true,` +
			`"infoSequence":12,"groupCustomField":[{"key":"k","value":"v"}],"lastInfoTime":1795399200,"selfInfo":` + status +
			`,"nextMessageSeq":` + next + `,"lastMessage":` + message + `}}}}`
	}
	ask := func(want string) {
		t.Helper()
		code, got := f.ask("profile", `{"userID":"ann","conversationID":"GROUPg"}`)
		if diff := cmp.Diff(want, got); code != "0" || diff != "" {
			t.Errorf("%s (-want +got)\n%s", code, diff)
		}
	}
	ask(item("1", message, "10",
		`{"userID":"ann","role":"Admin","nameCard":"A.","joinTime":1795078800,"joinSequence":1,"messageRemindType":"Discard","readedSequence":3}`))

	f.refuses("profile", `{"userID":"ben","conversationID":"GROUPg"}`, "404", `conversationID "GROUPg": expected a conversation known to user "ben"`)
	f.refuses("profile", `{"userID":"ann","conversationID":"GROUPh"}`, "404", `conversationID "GROUPh": expected a conversation known to user "ann"`)

	f.fold(ago(7*time.Hour), left("ann", "g"))
	ask(item("0", emptyMessage, "0",
		`{"userID":"ann","role":"","nameCard":"","joinTime":0,"joinSequence":0,"messageRemindType":"Discard","readedSequence":3}`))
}

func TestProfile_OfAnUnknownGroupProfile(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(time.Hour), joined("ann", "g", 0))
	const want = `{"code":0,"data":{"conversation":{"conversationID":"GROUPg","type":"GROUP","subType":"","unreadCount":0,"lastMessage":` + emptyMessage +
		`,"groupAtInfoList":[],"peerReadTime":0,"isPinned":false,"messageRemindType":"AcceptAndNotify","markList":[],"customData":"","conversationGroupList":[],"draftText":"","remark":"",` +
		`"userProfile":null,"groupProfile":{"groupID":"g","name":"","avatar":"","type":"","introduction":"","notification":"","ownerID":"",` +
		`"createTime":0,"memberCount":0,"maxMemberCount":0,"muteAllMembers":false,"joinOption":"","inviteOption":"","isSupportTopic":false,` +
		`"infoSequence":0,"groupCustomField":[],"lastInfoTime":0,"selfInfo":{"userID":"ann","role":"Member","nameCard":"","joinTime":0,"joinSequence":0,` +
		`"messageRemindType":"AcceptAndNotify","readedSequence":0},"nextMessageSeq":1,"lastMessage":` + emptyMessage + `}}}}`
	_, got := f.ask("profile", `{"userID":"ann","conversationID":"GROUPg"}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestProfile_C2C(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(9*time.Hour), &events.UserProfileChanged{
		UserID: "ben", Nick: "Ben", Avatar: "b.png", Gender: "Gender_Type_Male", Birthday: 19900101, Location: "loc", SelfSignature: "sig",
		AllowType: "AllowType_Type_NeedConfirm", Language: 1, MessageSettings: 2, AdminForbidType: "AdminForbid_Type_SendOut", Level: 3, Role: 4,
		ProfileCustomField: []events.KeyValue{{Key: "k", Value: "v"}},
	}, c2c("ann", "ben", 2, "hi"))
	f.fold(ago(8*time.Hour), read("ben", "C2Cann", 2))
	const want = `{"code":0,"data":{"conversation":{"conversationID":"C2Cben","type":"C2C","subType":"","unreadCount":0,"lastMessage":{"messageID":"m-hi","lastTime":1795402800,` +
		`"lastSequence":2,"fromAccount":"ann","messageForShow":"hi","type":"TIMTextElem","payload":{"text":"hi"},"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":true,` +
		`"nick":"","nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":0},"groupAtInfoList":[],"peerReadTime":1795406400,"isPinned":false,` +
		`"messageRemindType":"AcceptAndNotify","markList":[],"customData":"","conversationGroupList":[],"draftText":"","remark":"",` +
		`"userProfile":{"userID":"ben","nick":"Ben","avatar":"b.png","gender":"Gender_Type_Male","birthday":19900101,"location":"loc","selfSignature":"sig",` +
		`"allowType":"AllowType_Type_NeedConfirm","language":1,"messageSettings":2,"adminForbidType":"AdminForbid_Type_SendOut","level":3,"role":4,` +
		`"profileCustomField":[{"key":"k","value":"v"}],"lastUpdatedTime":1795402800},"groupProfile":null}}}`
	code, got := f.ask("profile", `{"userID":"ann","conversationID":"C2Cben"}`)
	if diff := cmp.Diff(want, got); code != "0" || diff != "" {
		t.Errorf("%s (-want +got)\n%s", code, diff)
	}
}

func TestProfile_Known(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(30*24*time.Hour), c2c("old", "ann", 1, "expired"), c2c("draft", "ann", 1, "expired"))
	f.fold(ago(time.Hour),
		&events.ConversationDraftSet{ConversationOf: of("ann", "C2Cdraft"), DraftText: "x"},
		&events.FriendRemarkSet{UserID: "ann", FriendID: "friend", Remark: "x"},
		&events.MessageSent{Conversation: events.C2C("online", "ann"), From: "online", Sequence: 1, OnlineOnly: true},
		pinned("ann", "GROUPg"), left("ann", "h"), system("ann", 1, "x"), read("reader", "C2Cann", 1))
	for id, known := range map[string]bool{
		"C2Cold": false, "C2Cdraft": true, "C2Cfriend": false, "C2Conline": true, "C2Creader": false, "C2Cann": false,
		"GROUPg": false, "GROUPh": true, "@TIM#SYSTEM": true,
	} {
		want := map[bool]string{true: "0", false: "404"}[known]
		if code, body := f.ask("profile", request(map[string]any{"userID": "ann", "conversationID": id})); code != want {
			t.Errorf("%s: %s %s, want %s", id, code, body, want)
		}
	}
	if code, _ := f.ask("profile", `{"userID":"zoe","conversationID":"@TIM#SYSTEM"}`); code != "404" {
		t.Errorf("an unknown user's: %s", code)
	}
}

// TestProfile_LoadsItsAppOnce holds that who was erased is not loaded for each profile, and is
// heard of.
func TestProfile_LoadsItsAppOnce(t *testing.T) {
	m := some()
	f := startFollowing(t, m, always{})
	f.list(`{"userID":"ann"}`)
	var loads atomic.Int64
	m.intercept(func(_ context.Context, name string) error {
		if name == "apps" {
			loads.Add(1)
		}
		return nil
	})
	const request = `{"userID":"ann","conversationID":"C2Cben"}`
	for range 3 {
		if code, body := f.ask("profile", request); code != "0" {
			t.Fatalf("got %s %s", code, body)
		}
	}
	erased := &events.UserErased{UserID: "ben"}
	m.fold(ago(0), erased)
	f.worker.Apply(modelOf(ago(0), erased), nil)
	if code, body := f.ask("profile", request); code != "404" {
		t.Errorf("with somebody who was erased: got %s %s", code, body)
	}
	if n := loads.Load(); n != 0 {
		t.Errorf("%d loads of the app, want none", n)
	}
	f.worker.Lost()
	if code, body := f.ask("profile", request); code != "404" || loads.Load() != 1 {
		t.Errorf("after a loss: got %s %s and %d loads of the app, want 1", code, body, loads.Load())
	}
}

// TestProfile_OfAnAppThatIsNotInMemory holds that a profile has nobody look through memory for
// whom its app has erased: where nothing of the app is, that would come to all of it each time.
func TestProfile_OfAnAppThatIsNotInMemory(t *testing.T) {
	m := some()
	m.fold(ago(time.Minute), &events.UserErased{UserID: "ben"})
	f := startFollowing(t, m, always{})
	c := f.worker.cache()
	c.groups.mu.Lock() // who looks does not get past this
	for peer, want := range map[string]string{"cid": "0", "ben": "404"} {
		if code, body := f.ask("profile", `{"userID":"ann","conversationID":"C2C`+peer+`"}`); code != want {
			t.Errorf("of %s: got %s %s", peer, code, body)
		}
	}
	c.forgetter.mu.Lock()
	if c.forgetter.running {
		t.Error("memory is looked through")
	}
	c.forgetter.mu.Unlock()
	c.groups.mu.Unlock()
}
