package events

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDecode_Bodies holds what each body becomes.
func TestDecode_Bodies(t *testing.T) {
	of := ConversationOf{UserID: "u", ConversationID: "C2Cv"}
	for _, test := range []struct {
		name string
		body string
		want Body
	}{
		{
			"C2C message",
			`"messageSent":{"from":"b","to":"a","messageID":"m","sequence":1,"type":"TIMTextElem","payload":{ "text" : "hi \"x\"", "n": [ 1.0, 2 ] }}`,
			&MessageSent{
				Conversation: C2C("a", "b"), From: "b", MessageID: "m", Sequence: 1, Type: TypeText,
				Payload: []byte(`{"text":"hi \"x\"","n":[1.0,2]}`), MessageForShow: `hi "x"`,
			},
		},
		{
			"message to oneself",
			`"messageSent":{"from":"a","to":"a","messageID":"m","sequence":1,"type":"t"}`,
			&MessageSent{
				Conversation: C2C("a", "a"), From: "a", MessageID: "m", Sequence: 1, Type: "t",
				MessageForShow: "[Message]",
			},
		},
		{
			"group message with everything",
			`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":"9007199254740991","type":"TIMImageElem",
			  "payload":{},"messageForShow":"","nick":"n","avatar":"v","nameCard":"c",
			  "atUserList":["z","","__kImSDK_MesssageAtALL__","b",null,"z"],"cloudCustomData":"d",
			  "onlineOnly":true,"excludedFromUnreadCount":true,"excludedFromLastMessage":true}`,
			&MessageSent{
				Conversation: Group("g"), From: "a", MessageID: "m", Sequence: MaxSequence, Type: "TIMImageElem",
				Payload: []byte(`{}`), Nick: "n", Avatar: "v", NameCard: "c",
				AtUsers: []string{"b", "z"}, AtAll: true, CloudCustomData: "d",
				OnlineOnly: true, ExcludedFromUnread: true, ExcludedFromLast: true,
			},
		},
		{
			"SYSTEM message without a sender, empty strings as absent",
			`"messageSent":{"from":"","groupID":"","system":true,"to":"a","messageID":"m","sequence":7,"type":"TIMGroupTipElem"}`,
			&MessageSent{
				Conversation: System("a"), MessageID: "m", Sequence: 7, Type: "TIMGroupTipElem",
				MessageForShow: "[Group Tip]",
			},
		},
		{
			"SYSTEM message with a sender",
			`"messageSent":{"from":"admin","system":true,"to":"a","messageID":"m","sequence":7,"type":"t"}`,
			&MessageSent{
				Conversation: System("a"), From: "admin", MessageID: "m", Sequence: 7, Type: "t",
				MessageForShow: "[Message]",
			},
		},
		{
			"recall, C2C in either order",
			`"messageRecalled":{"from":"b","to":"a","sequence":3,"revoker":"b","reason":"typo"}`,
			&MessageRecalled{Conversation: C2C("a", "b"), Sequence: 3, Revoker: "b", Reason: "typo"},
		},
		{
			"recall in a group without a sender",
			`"messageRecalled":{"groupID":"g","sequence":3}`,
			&MessageRecalled{Conversation: Group("g"), Sequence: 3},
		},
		{
			"recall in SYSTEM",
			`"messageRecalled":{"system":true,"to":"a","sequence":3}`,
			&MessageRecalled{Conversation: System("a"), Sequence: 3},
		},
		{
			"modification that changes nothing",
			`"messageModified":{"from":"a","to":"b","sequence":3,"version":1,"payload":null,"messageForShow":null,"cloudCustomData":null}`,
			&MessageModified{Conversation: C2C("a", "b"), Sequence: 3, Version: 1},
		},
		{
			"modification that empties",
			`"messageModified":{"groupID":"g","sequence":3,"version":2,"messageForShow":"","cloudCustomData":""}`,
			&MessageModified{Conversation: Group("g"), Sequence: 3, Version: 2, HasMessageForShow: true, HasCloudCustomData: true},
		},
		{
			"modification with a payload",
			`"messageModified":{"groupID":"g","sequence":3,"version":9223372036854775807,"payload":{"text":"new"},"messageForShow":"s","cloudCustomData":"d"}`,
			&MessageModified{
				Conversation: Group("g"), Sequence: 3, Version: 9223372036854775807,
				Payload: []byte(`{"text":"new"}`), PayloadText: "new",
				HasMessageForShow: true, MessageForShow: "s", HasCloudCustomData: true, CloudCustomData: "d",
			},
		},
		{"read", `"conversationRead":{"userID":"u","conversationID":"C2Cv","sequence":0}`, &ConversationRead{of, 0}},
		{
			"read in SYSTEM",
			`"conversationRead":{"userID":"u","conversationID":"@TIM#SYSTEM","sequence":"5"}`,
			&ConversationRead{ConversationOf{"u", SystemConversationID}, 5},
		},
		{"unpinned", `"conversationPinned":{"userID":"u","conversationID":"C2Cv","isPinned":false}`, &ConversationPinned{of, false}},
		{"pinned", `"conversationPinned":{"userID":"u","conversationID":"C2Cv","isPinned":true}`, &ConversationPinned{of, true}},
		{
			"remind type",
			`"conversationRemindTypeSet":{"userID":"u","conversationID":"C2Cv","messageRemindType":"AcceptNotNotifyExceptAt"}`,
			&ConversationRemindTypeSet{of, "AcceptNotNotifyExceptAt"},
		},
		{"no marks", `"conversationMarked":{"userID":"u","conversationID":"C2Cv","markList":[]}`, &ConversationMarked{of, nil}},
		{
			"marks",
			`"conversationMarked":{"userID":"u","conversationID":"C2Cv","markList":[4,"1",null,9007199254740991,4]}`,
			&ConversationMarked{of, []uint64{1, 4, MaxSequence}},
		},
		{"no groups", `"conversationGroupsSet":{"userID":"u","conversationID":"C2Cv","conversationGroupList":[]}`, &ConversationGroupsSet{of, nil}},
		{
			"groups",
			`"conversationGroupsSet":{"userID":"u","conversationID":"C2Cv","conversationGroupList":["b","B","b","a"]}`,
			&ConversationGroupsSet{of, []string{"B", "a", "b"}},
		},
		{"custom data", `"conversationCustomDataSet":{"userID":"u","conversationID":"C2Cv","customData":""}`, &ConversationCustomDataSet{of, ""}},
		{"draft", `"conversationDraftSet":{"userID":"u","conversationID":"C2Cv","draftText":"dear"}`, &ConversationDraftSet{of, "dear"}},
		{"deleted", `"conversationDeleted":{"userID":"u","conversationID":"C2Cv","throughSequence":0}`, &ConversationDeleted{of, 0, false}},
		{
			"deleted with its history",
			`"conversationDeleted":{"userID":"u","conversationID":"C2Cv","throughSequence":3,"clearHistory":true}`,
			&ConversationDeleted{of, 3, true},
		},
		{"cleared", `"conversationCleared":{"userID":"u","conversationID":"C2Cv","throughSequence":4}`, &ConversationCleared{of, 4}},
		{
			"joined",
			`"groupMemberChanged":{"groupID":"g","userID":"u","status":"joined","role":"Owner","nameCard":"c","joinSequence":0,"joinTime":"1970-01-01T00:00:01Z","operatorID":"o"}`,
			&GroupMemberChanged{
				GroupID: "g", UserID: "u", Status: StatusJoined, Role: "Owner", NameCard: "c",
				JoinTime: 1_000_000, OperatorID: "o",
			},
		},
		{
			"left",
			`"groupMemberChanged":{"groupID":"g","userID":"u","status":"left"}`,
			&GroupMemberChanged{GroupID: "g", UserID: "u", Status: StatusLeft},
		},
		{"group profile", `"groupProfileChanged":{"groupID":"g"}`, &GroupProfileChanged{GroupID: "g"}},
		{
			"group profile with everything",
			`"groupProfileChanged":{"groupID":"g","name":"n","avatar":"a","type":"AVChatRoom","introduction":"i","notification":"t","ownerID":"o",
			  "createTime":"0001-01-01T00:00:00Z","memberCount":"9223372036854775807","maxMemberCount":2,"muteAllMembers":true,"joinOption":"j",
			  "inviteOption":"v","isSupportTopic":true,"infoSequence":3,"groupCustomField":[{"value":"x","key":"k"},{},null],"dismissed":true}`,
			&GroupProfileChanged{
				GroupID: "g", Name: "n", Avatar: "a", Type: GroupTypeAVChatRoom, Introduction: "i", Notification: "t", OwnerID: "o",
				CreateTime: -62_135_596_800_000_000, MemberCount: 9223372036854775807, MaxMemberCount: 2, MuteAllMembers: true,
				JoinOption: "j", InviteOption: "v", IsSupportTopic: true, InfoSequence: 3,
				GroupCustomField: []KeyValue{{"k", "x"}, {}}, Dismissed: true,
			},
		},
		{
			"user profile with its defaults",
			`"userProfileChanged":{"userID":"u","gender":""}`,
			&UserProfileChanged{
				UserID: "u", Gender: "Gender_Type_Unknown", AllowType: "AllowType_Type_AllowAny", AdminForbidType: "AdminForbid_Type_None",
			},
		},
		{
			"user profile with everything",
			`"userProfileChanged":{"userID":"u","nick":"n","avatar":"a","gender":"g","birthday":19991231,"location":"l","selfSignature":"s",
			  "allowType":"t","language":4294967295,"messageSettings":1,"adminForbidType":"f","level":2,"role":3,"profileCustomField":[{"key":"k","value":"v"}]}`,
			&UserProfileChanged{
				UserID: "u", Nick: "n", Avatar: "a", Gender: "g", Birthday: 19991231, Location: "l", SelfSignature: "s",
				AllowType: "t", Language: 4294967295, MessageSettings: 1, AdminForbidType: "f", Level: 2, Role: 3,
				ProfileCustomField: []KeyValue{{"k", "v"}},
			},
		},
		{"remark", `"friendRemarkSet":{"userID":"u","friendID":"f","remark":"r"}`, &FriendRemarkSet{"u", "f", "r"}},
		{"plan by default", `"appPlanChanged":{}`, &AppPlanChanged{MaxConversations: 100, Retention: 604800}},
		{"plan", `"appPlanChanged":{"maxConversations":1000,"retention":0}`, &AppPlanChanged{MaxConversations: 1000}},
		{"erased", `"userErased":{"userID":"u"}`, &UserErased{"u"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := Event{ID: "e1", App: "demo", Time: eventTime, Body: test.want}
			if diff := cmp.Diff(want, mustDecode(t, jsonRecord(eventJSON(test.body)))); diff != "" {
				t.Errorf("from JSON (-want +got):\n%s", diff)
			}
			for encoding, record := range bothEncodings(t, want) {
				if diff := cmp.Diff(want, mustDecode(t, record)); diff != "" {
					t.Errorf("again, from %s (-want +got):\n%s", encoding, diff)
				}
			}
		})
	}
}

// TestDecode_Previews holds messageForShow, given and derived.
func TestDecode_Previews(t *testing.T) {
	message := func(rest string) string {
		return eventJSON(`"messageSent":{"from":"a","to":"b","messageID":"m","sequence":1,` + rest + `}`)
	}
	long := strings.Repeat("é", 201)
	for _, test := range []struct{ name, rest, want string }{
		{"text", `"type":"TIMTextElem","payload":{"text":"hi"}`, "hi"},
		{"text with escapes", `"type":"TIMTextElem","payload":{"t\u0065xt":"a\n\ud83d\ude00"}`, "a\n😀"},
		{"text without payload", `"type":"TIMTextElem"`, ""},
		{"text without text", `"type":"TIMTextElem","payload":{"Text":"x","a":{"text":"y"},"b":["text"]}`, ""},
		{"text that is no string", `"type":"TIMTextElem","payload":{"text":{"text":"y"}}`, ""},
		{"text null", `"type":"TIMTextElem","payload":{"text":null}`, ""},
		{"text after others", `"type":"TIMTextElem","payload":{"a":1,"b":"text","c":[{"x":"]"}],"d":true,"text":"t","e":-1.5e3}`, "t"},
		{"text twice, the last counts", `"type":"TIMTextElem","payload":{"text":"1","text":"2"}`, "2"},
		{"200 runes", `"type":"TIMTextElem","payload":{"text":"` + long[:400] + `"}`, long[:400]},
		{"201 runes", `"type":"TIMTextElem","payload":{"text":"` + long + `"}`, long[:400]},
		{"given", `"type":"TIMTextElem","payload":{"text":"hi"},"messageForShow":"bye"`, "bye"},
		{"given empty", `"type":"TIMTextElem","payload":{"text":"hi"},"messageForShow":""`, ""},
		{"given null", `"type":"TIMTextElem","payload":{"text":"hi"},"messageForShow":null`, "hi"},
		{"given too long", `"type":"x","messageForShow":"` + long + `"`, long[:400]},
		{"given 201 ASCII", `"type":"x","messageForShow":"` + strings.Repeat("a", 201) + `"`, strings.Repeat("a", 200)},
		{"image", `"type":"TIMImageElem"`, "[Image]"},
		{"sound", `"type":"TIMSoundElem"`, "[Voice]"},
		{"video", `"type":"TIMVideoFileElem"`, "[Video]"},
		{"file", `"type":"TIMFileElem","payload":{"text":"no"}`, "[File]"},
		{"face", `"type":"TIMFaceElem"`, "[Sticker]"},
		{"location", `"type":"TIMLocationElem"`, "[Location]"},
		{"custom", `"type":"TIMCustomElem"`, "[Custom]"},
		{"relay", `"type":"TIMRelayElem"`, "[Chat History]"},
		{"group tip", `"type":"TIMGroupTipElem"`, "[Group Tip]"},
		{"system notice", `"type":"TIMGroupSystemNoticeElem"`, "[System Notice]"},
		{"other", `"type":"timtextelem","payload":{"text":"no"}`, "[Message]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := mustDecode(t, jsonRecord(message(test.rest))).Body.(*MessageSent).MessageForShow
			if got != test.want {
				t.Errorf("messageForShow = %q, want %q", got, test.want)
			}
		})
	}
}

// TestDecode_Time holds the range of an event's time.
func TestDecode_Time(t *testing.T) {
	latest := recordTime.Add(10 * time.Minute)
	at := func(value string) Record {
		return jsonRecord(`{"id":"e1","app":"demo","time":"` + value + `","userErased":{"userID":"u"}}`)
	}
	for _, test := range []struct {
		value string
		want  time.Time // zero: out of range
	}{
		{"2000-01-01T00:00:00Z", time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"1999-12-31T23:59:59.999999999Z", time.Time{}},
		{"2000-01-01T05:30:00+05:30", time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"2000-01-01T00:00:00+00:01", time.Time{}},
		{"2026-11-23T03:10:05Z", latest},
		{"2026-11-23T03:10:05.0000009Z", latest}, // truncated first
		{"2026-11-23T03:10:05.000001Z", time.Time{}},
		{"2026-11-23T03:10:06Z", time.Time{}},
		{"0000-01-01T00:00:00Z", time.Time{}},
		{"9999-12-31T23:59:59Z", time.Time{}},
	} {
		if test.want.IsZero() {
			wantError(t, at(test.value), CodeTimeOutOfRange, "time")
			continue
		}
		if got := mustDecode(t, at(test.value)).Time.Time(); !got.Equal(test.want) {
			t.Errorf("time %s = %v, want %v", test.value, got, test.want)
		}
	}
}

// TestDecode_TimeByAnyClock holds that a timestamp, which may be a producer's
// and then anything, bounds the time and nothing else.
func TestDecode_TimeByAnyClock(t *testing.T) {
	event := func(seconds uint64, timestamp time.Time) Record {
		record := protobufRecord([]byte(wire{}.bytes(1, "e").bytes(2, "a").bytes(3, string(wire{}.varint(1, seconds))).bytes(34, string(wire{}.bytes(1, "u")))))
		record.Timestamp = timestamp
		return record
	}
	seconds := uint64(eventTime.Seconds())
	for _, ahead := range []time.Time{
		EndOfTime, time.UnixMicro(recordTime.UnixNano()), time.UnixMilli(recordTime.UnixNano()), time.UnixMilli(math.MaxInt64),
	} {
		if got := mustDecode(t, event(seconds, ahead)).Time; got != Micros(seconds*1_000_000) {
			t.Errorf("at %d: time %d", ahead.UnixMilli(), got)
		}
		mustDecode(t, event(maxSeconds, ahead))
		wantError(t, event(maxSeconds+1, ahead), CodeTimeOutOfRange, "time")
		wantError(t, event(1<<62, ahead), CodeTimeOutOfRange, "time")
	}
	for _, behind := range []time.Time{{}, time.UnixMilli(0), time.UnixMilli(math.MinInt64)} {
		wantError(t, event(seconds, behind), CodeTimeOutOfRange, "time")
	}
}

// TestDecode_CountsUnknownFields holds that they are ignored at every level.
func TestDecode_CountsUnknownFields(t *testing.T) {
	for value, want := range map[string]int{
		`{"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"userID":"u"}}`:                                         0,
		`{"ID":"x","x":1,"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"userID":"u","userid":[{}]},"y":{}}`:     4,
		`{"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"userID":"u","z":null},"reaction":{"a":1,"a":2}}`:       1,
		`{"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","messageSent":null,"userErased":{"userID":"u","a":"b"}}`:              1,
		`{"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"userID":"u"},"é":"é"}`:                                 1,
		`{"x":1,"x":2,"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"y":1,"userID":"u","y":{}}}`:                4,
		`{"\u0069d":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z","userErased":{"user\u0049D":"u"}}`:                               0,
		" \n\t{\"id\":\"e1\",\"app\":\"demo\",\"time\":\"2026-11-23T03:00:00.123Z\",\"userErased\":{\"userID\":\"u\"}}\r\n ":             0,
		`{"userErased":{"userID":"u"},"time":"2026-11-23T03:00:00.123Z","app":"demo","id":"e1","payload":{"userErased":{"userID":"u"}}}`: 1,
	} {
		record := jsonRecord(value)
		record.Headers = []Header{{HeaderContentType, []byte(ContentTypeJSON)}}
		want := Event{ID: "e1", App: "demo", Time: eventTime, Body: &UserErased{"u"}, UnknownFields: want}
		if diff := cmp.Diff(want, mustDecode(t, record)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", value, diff)
		}
	}
}

// TestDecode_Skips holds the records that are no dead letters, but no events either.
func TestDecode_Skips(t *testing.T) {
	header := `"id":"e1","app":"demo","time":"2026-11-23T03:00:00Z"`
	for _, test := range []struct {
		name   string
		record Record
		want   error
	}{
		{"nil value", Record{}, ErrEmptyValue},
		{"empty value, whatever its headers", Record{Value: []byte{}, Headers: []Header{{HeaderContentType, []byte("x")}}}, ErrEmptyValue},
		{"unknown body", jsonRecord(`{` + header + `,"reactionAdded":{"x":1}}`), ErrUnknownBody},
		{"unknown body beside a null one", jsonRecord(`{` + header + `,"messageSent":null,"reactionAdded":{}}`), ErrUnknownBody},
		{"body in another case", jsonRecord(`{` + header + `,"MessageSent":{}}`), ErrUnknownBody},
		{"two unknown bodies", jsonRecord(`{` + header + `,"a":{},"b":{}}`), ErrUnknownBody},
	} {
		if _, err := NewDecoder(DefaultLimits()).Decode(test.record); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// TestDecode_LeavesTheValueAlone holds that a dead letter can be written
// unchanged, and that no event shares memory with its record.
func TestDecode_LeavesTheValueAlone(t *testing.T) {
	value := eventJSON(`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":1,"type":"TIMTextElem","payload":{ "text":"x" },"atUserList":["b"]}`)
	e := mustDecode(t, jsonRecord(value))
	p, err := AppendProtobuf(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range []Record{jsonRecord(value), protobufRecord(p)} {
		before := string(record.Value)
		got := mustDecode(t, record)
		if string(record.Value) != before {
			t.Errorf("the value became %q, want %q", record.Value, before)
		}
		clear(record.Value)
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("after its value was overwritten (-want +got):\n%s", diff)
		}
	}
}
