package events

import (
	"strings"
	"testing"
)

// TestDecode_Rules holds what makes a body invalid, beyond the limits.
func TestDecode_Rules(t *testing.T) {
	sent := func(rest string) string {
		return `"messageSent":{"messageID":"m","sequence":1,"type":"t",` + rest + `}`
	}
	recalled := func(rest string) string { return `"messageRecalled":{"sequence":1,` + rest + `}` }
	modified := func(rest string) string { return `"messageModified":{"sequence":1,"version":1,` + rest + `}` }
	register := func(body, rest string) string {
		return `"` + body + `":{"userID":"u","conversationID":"C2Cv"` + rest + `}`
	}
	member := func(rest string) string { return `"groupMemberChanged":{"groupID":"g","userID":"u",` + rest + `}` }
	longID := strings.Repeat("x", 129)

	for _, test := range []struct {
		body  string
		code  Code
		field string
	}{
		// Number and form of bodies.
		{`"x":1`, CodeBodyCount, ""},
		{`"x":"messageSent"`, CodeBodyCount, ""},
		{`"messageSent":null`, CodeBodyCount, ""},
		{`"userErased":{"userID":"u"},"appPlanChanged":{}`, CodeBodyCount, ""},
		{`"userErased":7,"appPlanChanged":{}`, CodeBodyCount, ""},
		{`"userErased":{},"appPlanChanged":null`, CodeMissingField, "userErased.userID"},
		{`"userErased":"u"`, CodeInvalidField, "userErased"},
		{`"userErased":[{"userID":"u"}]`, CodeInvalidField, "userErased"},

		// Addresses.
		{sent(`"from":"a"`), CodeInvalidAddress, "messageSent"},
		{sent(`"from":"a","to":"","groupID":null,"system":false`), CodeInvalidAddress, "messageSent"},
		{sent(`"from":"a","to":"b","groupID":"g"`), CodeInvalidAddress, "messageSent"},
		{sent(`"from":"a","system":true,"groupID":"g"`), CodeInvalidAddress, "messageSent"},
		{sent(`"from":"a","system":true,"to":"b","groupID":"g"`), CodeInvalidAddress, "messageSent"},
		{sent(`"from":"a","system":true`), CodeMissingField, "messageSent.to"},
		{sent(`"to":"b"`), CodeMissingField, "messageSent.from"},
		{sent(`"from":"","to":"b"`), CodeMissingField, "messageSent.from"},
		{sent(`"groupID":"g"`), CodeMissingField, "messageSent.from"},
		{recalled(`"revoker":"r"`), CodeInvalidAddress, "messageRecalled"},
		{recalled(`"to":"b"`), CodeMissingField, "messageRecalled.from"},
		{recalled(`"system":true`), CodeMissingField, "messageRecalled.to"},
		{modified(`"from":"a"`), CodeInvalidAddress, "messageModified"},
		{modified(`"to":"b"`), CodeMissingField, "messageModified.from"},
		{modified(`"from":"a","to":"b","groupID":"g"`), CodeInvalidAddress, "messageModified"},
		{`"conversationRead":{"userID":"u","conversationID":"v","sequence":1}`, CodeInvalidAddress, "conversationRead.conversationID"},
		{`"conversationRead":{"userID":"u","conversationID":"C2C","sequence":1}`, CodeInvalidAddress, "conversationRead.conversationID"},
		{`"conversationRead":{"userID":"u","conversationID":"c2cv","sequence":1}`, CodeInvalidAddress, "conversationRead.conversationID"},
		{`"conversationRead":{"userID":"u","conversationID":"GROUP` + longID + `","sequence":1}`, CodeInvalidAddress, "conversationRead.conversationID"},
		{`"conversationRead":{"userID":"u","conversationID":"@TIM#SYSTEM2","sequence":1}`, CodeInvalidAddress, "conversationRead.conversationID"},
		{`"conversationRead":{"userID":"u","conversationID":7,"sequence":1}`, CodeInvalidField, "conversationRead.conversationID"},

		// IDs.
		{sent(`"from":"a\u0000","to":"b"`), CodeInvalidField, "messageSent.from"},
		{sent(`"from":"a","to":"b\u0085"`), CodeInvalidField, "messageSent.to"},
		{sent(`"from":"a","groupID":"` + longID + `"`), CodeInvalidField, "messageSent.groupID"},
		{sent(`"from":"a\n","system":true,"to":"b"`), CodeInvalidField, "messageSent.from"},
		{sent(`"from":"a","groupID":"g","atUserList":["b","\t"]`), CodeInvalidField, "messageSent.atUserList[1]"},
		{recalled(`"groupID":"g","revoker":"\u007f"`), CodeInvalidField, "messageRecalled.revoker"},
		{recalled(`"groupID":"g","from":"\u007f"`), CodeInvalidField, "messageRecalled.from"},
		{member(`"status":"left","operatorID":"` + longID + `"`), CodeInvalidField, "groupMemberChanged.operatorID"},
		{`"groupProfileChanged":{"groupID":"g","ownerID":"\r"}`, CodeInvalidField, "groupProfileChanged.ownerID"},
		{`"friendRemarkSet":{"userID":"u","friendID":"\u009f","remark":""}`, CodeInvalidField, "friendRemarkSet.friendID"},
		{`"userErased":{"userID":"` + longID + `"}`, CodeInvalidField, "userErased.userID"},

		// Required fields.
		{`"messageSent":{"from":"a","to":"b","sequence":1,"type":"t"}`, CodeMissingField, "messageSent.messageID"},
		{`"messageSent":{"from":"a","to":"b","messageID":"","sequence":1,"type":"t"}`, CodeMissingField, "messageSent.messageID"},
		{`"messageSent":{"from":"a","to":"b","messageID":"m","type":"t"}`, CodeMissingField, "messageSent.sequence"},
		{`"messageSent":{"from":"a","to":"b","messageID":"m","sequence":null,"type":"t"}`, CodeMissingField, "messageSent.sequence"},
		{`"messageSent":{"from":"a","to":"b","messageID":"m","sequence":1}`, CodeMissingField, "messageSent.type"},
		{`"messageSent":{"from":"a","to":"b","messageID":"m","sequence":1,"type":""}`, CodeMissingField, "messageSent.type"},
		{`"messageRecalled":{"groupID":"g"}`, CodeMissingField, "messageRecalled.sequence"},
		{`"messageModified":{"groupID":"g","version":1}`, CodeMissingField, "messageModified.sequence"},
		{`"messageModified":{"groupID":"g","sequence":1}`, CodeMissingField, "messageModified.version"},
		{`"conversationRead":{"conversationID":"C2Cv","sequence":1}`, CodeMissingField, "conversationRead.userID"},
		{`"conversationRead":{"userID":"u","sequence":1}`, CodeMissingField, "conversationRead.conversationID"},
		{register("conversationRead", ``), CodeMissingField, "conversationRead.sequence"},
		{register("conversationPinned", ``), CodeMissingField, "conversationPinned.isPinned"},
		{register("conversationPinned", `,"isPinned":null`), CodeMissingField, "conversationPinned.isPinned"},
		{register("conversationRemindTypeSet", ``), CodeMissingField, "conversationRemindTypeSet.messageRemindType"},
		{register("conversationRemindTypeSet", `,"messageRemindType":""`), CodeMissingField, "conversationRemindTypeSet.messageRemindType"},
		{register("conversationMarked", ``), CodeMissingField, "conversationMarked.markList"},
		{register("conversationMarked", `,"markList":null`), CodeMissingField, "conversationMarked.markList"},
		{register("conversationGroupsSet", ``), CodeMissingField, "conversationGroupsSet.conversationGroupList"},
		{register("conversationCustomDataSet", ``), CodeMissingField, "conversationCustomDataSet.customData"},
		{register("conversationDraftSet", ``), CodeMissingField, "conversationDraftSet.draftText"},
		{register("conversationDeleted", `,"clearHistory":true`), CodeMissingField, "conversationDeleted.throughSequence"},
		{register("conversationCleared", ``), CodeMissingField, "conversationCleared.throughSequence"},
		{`"groupMemberChanged":{"userID":"u","status":"left"}`, CodeMissingField, "groupMemberChanged.groupID"},
		{`"groupMemberChanged":{"groupID":"g","status":"left"}`, CodeMissingField, "groupMemberChanged.userID"},
		{`"groupMemberChanged":{"groupID":"g","userID":"u"}`, CodeMissingField, "groupMemberChanged.status"},
		{member(`"status":"joined"`), CodeMissingField, "groupMemberChanged.joinSequence"},
		{`"groupProfileChanged":{"name":"n"}`, CodeMissingField, "groupProfileChanged.groupID"},
		{`"userProfileChanged":{"nick":"n"}`, CodeMissingField, "userProfileChanged.userID"},
		{`"friendRemarkSet":{"friendID":"f","remark":"r"}`, CodeMissingField, "friendRemarkSet.userID"},
		{`"friendRemarkSet":{"userID":"u","remark":"r"}`, CodeMissingField, "friendRemarkSet.friendID"},
		{`"friendRemarkSet":{"userID":"u","friendID":"f"}`, CodeMissingField, "friendRemarkSet.remark"},
		{`"userErased":{}`, CodeMissingField, "userErased.userID"},
		{`"userErased":{"userid":"u"}`, CodeMissingField, "userErased.userID"},

		// Enumerations.
		{register("conversationRemindTypeSet", `,"messageRemindType":"discard"`), CodeInvalidField, "conversationRemindTypeSet.messageRemindType"},
		{member(`"status":"Joined","joinSequence":1`), CodeInvalidField, "groupMemberChanged.status"},
		{member(`"status":"left","role":"owner"`), CodeInvalidField, "groupMemberChanged.role"},
		{`"groupProfileChanged":{"groupID":"g","type":"Meeting"}`, CodeInvalidField, "groupProfileChanged.type"},

		// Lists.
		{register("conversationMarked", `,"markList":[0]`), CodeInvalidField, "conversationMarked.markList[0]"},
		{register("conversationMarked", `,"markList":[1,9007199254740992]`), CodeInvalidField, "conversationMarked.markList[1]"},
		{register("conversationMarked", `,"markList":[1,-1]`), CodeInvalidField, "conversationMarked.markList[1]"},
		{register("conversationMarked", `,"markList":[1,1.5,"x"]`), CodeInvalidField, "conversationMarked.markList[1]"},
		{register("conversationMarked", `,"markList":4`), CodeInvalidField, "conversationMarked.markList"},
		{register("conversationGroupsSet", `,"conversationGroupList":["a",""]`), CodeInvalidField, "conversationGroupsSet.conversationGroupList[1]"},
		{register("conversationGroupsSet", `,"conversationGroupList":["a",1]`), CodeInvalidField, "conversationGroupsSet.conversationGroupList[1]"},
		{register("conversationMarked", `,"markList":[null,1,null,null,0,null]`), CodeInvalidField, "conversationMarked.markList[4]"},
		{register("conversationGroupsSet", `,"conversationGroupList":[null,""]`), CodeInvalidField, "conversationGroupsSet.conversationGroupList[1]"},
		{register("conversationGroupsSet", `,"conversationGroupList":[null,"`+strings.Repeat("x", 4097)+`"]`), CodeTooLarge, "conversationGroupsSet.conversationGroupList[1]"},
		{
			`"groupProfileChanged":{"groupID":"g","groupCustomField":[{},null,{"value":"` + strings.Repeat("x", 4097) + `"}]}`,
			CodeTooLarge, "groupProfileChanged.groupCustomField[2].value",
		},
		{register("conversationGroupsSet", `,"conversationGroupList":{}`), CodeInvalidField, "conversationGroupsSet.conversationGroupList"},
		{sent(`"from":"a","groupID":"g","atUserList":"b"`), CodeInvalidField, "messageSent.atUserList"},
		{`"groupProfileChanged":{"groupID":"g","groupCustomField":{"key":"k"}}`, CodeInvalidField, "groupProfileChanged.groupCustomField"},
		{`"groupProfileChanged":{"groupID":"g","groupCustomField":[{},"k"]}`, CodeInvalidField, "groupProfileChanged.groupCustomField[1]"},
		{`"groupProfileChanged":{"groupID":"g","groupCustomField":[{"key":"k","value":1}]}`, CodeInvalidField, "groupProfileChanged.groupCustomField[0]"},
		{`"userProfileChanged":{"userID":"u","profileCustomField":[{"key":["k"]}]}`, CodeInvalidField, "userProfileChanged.profileCustomField[0]"},

		// Types and ranges.
		{sent(`"from":"a","to":"b","nick":7`), CodeInvalidField, "messageSent.nick"},
		{sent(`"from":"a","to":"b","payload":"{}"`), CodeInvalidField, "messageSent.payload"},
		{sent(`"from":"a","to":"b","payload":[]`), CodeInvalidField, "messageSent.payload"},
		{sent(`"from":"a","to":"b","onlineOnly":"true"`), CodeInvalidField, "messageSent.onlineOnly"},
		{sent(`"from":"a","to":"b","system":1`), CodeInvalidField, "messageSent.system"},
		{register("conversationPinned", `,"isPinned":0`), CodeInvalidField, "conversationPinned.isPinned"},
		{register("conversationRead", `,"sequence":-1`), CodeInvalidField, "conversationRead.sequence"},
		{register("conversationRead", `,"sequence":9007199254740992`), CodeInvalidField, "conversationRead.sequence"},
		{register("conversationDeleted", `,"throughSequence":"9007199254740992"`), CodeInvalidField, "conversationDeleted.throughSequence"},
		{register("conversationCleared", `,"throughSequence":9007199254740992`), CodeInvalidField, "conversationCleared.throughSequence"},
		{member(`"status":"left","joinSequence":9007199254740992`), CodeInvalidField, "groupMemberChanged.joinSequence"},
		{member(`"status":"left","joinTime":"yesterday"`), CodeInvalidField, "groupMemberChanged.joinTime"},
		{member(`"status":"left","joinTime":1700000000`), CodeInvalidField, "groupMemberChanged.joinTime"},
		{member(`"status":"left","joinTime":"0000-12-31T23:59:59Z"`), CodeInvalidField, "groupMemberChanged.joinTime"},
		{member(`"status":"left","joinTime":"9999-12-31T23:59:59-00:01"`), CodeInvalidField, "groupMemberChanged.joinTime"},
		{`"messageSent":{"from":"a","to":"b","messageID":"m","sequence":0,"type":"t"}`, CodeInvalidField, "messageSent.sequence"},
		{`"messageRecalled":{"groupID":"g","sequence":0}`, CodeInvalidField, "messageRecalled.sequence"},
		{`"messageModified":{"groupID":"g","sequence":1,"version":0}`, CodeInvalidField, "messageModified.version"},
		{`"messageModified":{"groupID":"g","sequence":1,"version":9223372036854775808}`, CodeInvalidField, "messageModified.version"},
		{`"groupProfileChanged":{"groupID":"g","memberCount":-1}`, CodeInvalidField, "groupProfileChanged.memberCount"},
		{`"userProfileChanged":{"userID":"u","level":4294967296}`, CodeInvalidField, "userProfileChanged.level"},
		{`"userProfileChanged":{"userID":"u","birthday":-1}`, CodeInvalidField, "userProfileChanged.birthday"},
		{`"appPlanChanged":{"maxConversations":0}`, CodeInvalidField, "appPlanChanged.maxConversations"},
		{`"appPlanChanged":{"maxConversations":1001}`, CodeInvalidField, "appPlanChanged.maxConversations"},
		{`"appPlanChanged":{"retention":-1}`, CodeInvalidField, "appPlanChanged.retention"},
	} {
		wantError(t, jsonRecord(eventJSON(test.body)), test.code, test.field)
	}
}

// TestDecode_Integers holds how an integer may be written.
func TestDecode_Integers(t *testing.T) {
	for written, want := range map[string]int64{ // -1: refused
		`7`: 7, `"7"`: 7, `0`: 0, `"007"`: 7, `"\u0037"`: 7, `9007199254740991`: MaxSequence, `"9007199254740991"`: MaxSequence,
		`-1`: -1, `"-1"`: -1, `7.0`: -1, `7e0`: -1, `0.7e1`: -1, `"7.0"`: -1, `"7e0"`: -1, `""`: -1, `" 7"`: -1, `"7 "`: -1,
		`"+7"`: -1, `"0x7"`: -1, `"7_0"`: -1, `"٧"`: -1, `"-"`: -1, `"--7"`: -1, `true`: -1, `[7]`: -1, `{}`: -1,
		`9007199254740992`: -1, `9223372036854775808`: -1, `1e300`: -1, `"99999999999999999999999"`: -1,
	} {
		record := jsonRecord(eventJSON(`"conversationRead":{"userID":"u","conversationID":"C2Cv","sequence":` + written + `}`))
		if want < 0 {
			wantError(t, record, CodeInvalidField, "conversationRead.sequence")
			continue
		}
		if got := mustDecode(t, record).Body.(*ConversationRead).Sequence; got != uint64(want) {
			t.Errorf("sequence %s = %d, want %d", written, got, want)
		}
	}
}

// TestDecode_Header holds the rules of id, app and time, and that they come
// before those of the body, in this order.
func TestDecode_Header(t *testing.T) {
	const tail = `"messageSent":{"sequence":-1},"userErased":{}}`
	long := strings.Repeat("i", 129)
	for _, test := range []struct {
		value string
		code  Code
		field string
	}{
		{`{` + tail, CodeMissingField, "id"},
		{`{"id":"",` + tail, CodeMissingField, "id"},
		{`{"id":null,` + tail, CodeMissingField, "id"},
		{`{"ID":"e",` + tail, CodeMissingField, "id"},
		{`{"id":7,` + tail, CodeInvalidField, "id"},
		{`{"id":"` + long + `",` + tail, CodeInvalidField, "id"},
		{`{"id":"` + long[1:] + `",` + tail, CodeMissingField, "app"},
		{`{"id":"\u0000","app":"",` + tail, CodeMissingField, "app"},
		{`{"id":"e","app":["a"],` + tail, CodeInvalidField, "app"},
		{`{"id":"e","app":"a.b",` + tail, CodeInvalidField, "app"},
		{`{"id":"e","app":"é",` + tail, CodeInvalidField, "app"},
		{`{"id":"e","app":"` + long[:65] + `",` + tail, CodeInvalidField, "app"},
		{`{"id":"e","app":"` + long[:64] + `",` + tail, CodeMissingField, "time"},
		{`{"id":"e","app":"aZ09_-","time":null,` + tail, CodeMissingField, "time"},
		{`{"id":"e","app":"a","time":1700000000,` + tail, CodeInvalidField, "time"},
		{`{"id":"e","app":"a","time":"",` + tail, CodeInvalidField, "time"},
		{`{"id":"e","app":"a","time":"2026-11-23",` + tail, CodeInvalidField, "time"},
		{`{"id":"e","app":"a","time":"1970-01-01T00:00:00Z",` + tail, CodeTimeOutOfRange, "time"},
		{`{"id":"e","app":"a","time":"2026-11-23T03:00:00Z",` + tail, CodeBodyCount, ""},
		{`{"app":"a","time":"2026-11-23T03:00:00Z","reactionAdded":{}}`, CodeMissingField, "id"},
		{`{"id":"e","app":"a","time":"2036-11-23T03:00:00Z","reactionAdded":{}}`, CodeTimeOutOfRange, "time"},
	} {
		wantError(t, jsonRecord(test.value), test.code, test.field)
	}
}

// TestError_Reads holds that an error names field, value and what was expected, and stays short.
func TestError_Reads(t *testing.T) {
	long := strings.Repeat("日", 100)
	for _, test := range []struct{ value, want string }{
		{
			eventJSON(`"conversationRead":{"userID":"u","conversationID":"C2Cv","sequence":-5}`),
			`invalid_field: conversationRead.sequence is -5, expected an integer from 0 to 9007199254740991`,
		},
		{
			eventJSON(`"friendRemarkSet":{"userID":"u","friendID":"f","remark":7}`),
			`invalid_field: friendRemarkSet.remark is 7, expected a string`,
		},
		{
			eventJSON(`"conversationPinned":{"userID":"u","conversationID":"C2Cv","isPinned":"true"}`),
			`invalid_field: conversationPinned.isPinned is "true", expected true or false`,
		},
		{
			eventJSON(`"conversationMarked":{"userID":"u","conversationID":"C2Cv","markList":[true]}`),
			`invalid_field: conversationMarked.markList[0] is true, expected an integer from 1 to 9007199254740991`,
		},
		{
			eventJSON(`"groupProfileChanged":{"groupID":"g","groupCustomField":[{"key":"level","value":1}]}`),
			`invalid_field: groupProfileChanged.groupCustomField[0] is "{\"value\":1}", expected an object with the strings key and value`,
		},
		{
			eventJSON(`"friendRemarkSet":{"userID":"u","friendID":"f","remark":` + strings.Repeat("1", 65) + `}`),
			`invalid_field: friendRemarkSet.remark is "` + strings.Repeat("1", 64) + `"…, expected a string`,
		},
		{
			eventJSON(`"userErased":{"userID":"` + long + `"}`),
			`invalid_field: userErased.userID is "` + long[:63] + `"…, expected 1 to 128 bytes of UTF-8 without control characters`,
		},
		{
			eventJSON(`"userErased":{"userID":{"a":"` + long + `"}}`),
			`invalid_field: userErased.userID is "{\"a\":\"` + long[:57] + `"…, expected 1 to 128 bytes of UTF-8 without control characters`,
		},
		{
			eventJSON(`"messageSent":{"from":"a","to":"b","groupID":"g","messageID":"m","sequence":1,"type":"t"}`),
			`invalid_address: messageSent names the group "g" and more (to "b", system false), expected exactly one of to (C2C), groupID (GROUP), or system: true with to`,
		},
		{
			eventJSON(`"conversationDraftSet":{"userID":"u","conversationID":"C2Cv","draftText":"` + strings.Repeat("x", 4097) + `"}`),
			`too_large: conversationDraftSet.draftText is 4097 bytes, expected at most 4096`,
		},
		{
			eventJSON(`"groupMemberChanged":{"groupID":"g","userID":"u","status":"in"}`),
			`invalid_field: groupMemberChanged.status is "in", expected one of joined, left, kicked`,
		},
		{
			`{"id":"e","app":"a","time":"2026-11-23T03:10:05.5Z","userErased":{"userID":"u"}}`,
			`time_out_of_range: time is 2026-11-23T03:10:05.5Z, expected 2000-01-01T00:00:00Z to 2026-11-23T03:10:05Z (the record's timestamp and 10m0s)`,
		},
		{eventJSON(`"x":0`), `body_count: the event has 0 bodies, expected exactly one`},
	} {
		_, err := NewDecoder(DefaultLimits()).Decode(jsonRecord(test.value))
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
	_, err := NewDecoder(DefaultLimits()).Decode(jsonRecord(`{"` + long + strings.Repeat("z", 5000) + `"`))
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("an error of malformed JSON: %v, want at most 500 bytes", err)
	}
}
