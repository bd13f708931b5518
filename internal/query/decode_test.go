package query

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// decoders are the endpoints' parts of decoding.
var decoders = map[string]func(*fields, *query){
	"list": decodeList, "profile": decodeProfile, "unread": decodeUnread,
}

func TestDecode_Refuses(t *testing.T) {
	long := strings.Repeat("x", 129)
	id := ": expected 1 to 128 bytes of UTF-8 without control characters"
	cid := ": expected C2C<userID>, GROUP<groupID> or @TIM#SYSTEM"
	for _, c := range []struct{ endpoint, request, want string }{
		// not an object
		{"list", ``, `request "": expected one JSON object`},
		{"list", `null`, `request "null": expected one JSON object`},
		{"list", `[]`, `request "[]": expected one JSON object`},
		{"list", `"x"`, `request "\"x\"": expected one JSON object`},
		{"list", `{`, `request "{": expected one JSON object (byte 1: unexpected EOF)`},
		{"list", `{"userID":"a"} x`, `request "{\"userID\":\"a\"} x": expected one JSON object (byte 15: `},
		{"list", `{"userID":"a"}{}`, `: expected one JSON object (byte 14: `},
		{"list", `{"userID":"a","userID":"a"}`, `(byte 14, "userID": duplicate object member name`},
		{"list", "{\"userID\":\"\xff\"}", `expected one JSON object (byte 11, "userID": invalid UTF-8`},
		{"list", `{"userID":'a'}`, `expected one JSON object (byte 10`},
		{"list", `{"userID":"a","groupName":"\ud800"}`, `expected one JSON object (byte 27, "groupName": invalid`},

		// unknown fields
		{"list", `{"userId":"a"}`, `unknown field "userId": expected userID, timeoutMs, after, conversationIDList, type, markType, groupName, hasUnreadCount, hasGroupAtInfo, limit, cursor, sync, since`},
		{"list", `{"userID":"a","includeMuted":true}`, `unknown field "includeMuted": expected `},
		{"list", `{"userID":"a","conversationID":"C2Cb"}`, `unknown field "conversationID": expected `},
		{"list", `{"userID":"a","":1}`, `unknown field "": expected `},
		{"unread", `{"userID":"a","limit":1}`, `unknown field "limit": expected userID, timeoutMs, after, conversationIDList, type, markType, groupName, hasUnreadCount, hasGroupAtInfo, includeMuted`},
		{"unread", `{"userID":"a","cursor":"x"}`, `unknown field "cursor": expected `},
		{"profile", `{"userID":"a","conversationID":"C2Cb","type":"C2C"}`, `unknown field "type": expected userID, timeoutMs, after, conversationID`},
		{"profile", `{"userID":"a","conversationID":"C2Cb","x\u0000\u2028":null}`, `unknown field "x\x00\u2028": expected `},

		// userID
		{"list", `{}`, `userID is missing` + id},
		{"list", `{"userID":null}`, `userID is missing` + id},
		{"list", `{"userID":""}`, `userID ""` + id},
		{"list", `{"userID":7}`, `userID 7` + id},
		{"list", `{"userID":{"a": [1]}}`, `userID {"a": [1]}` + id},
		{"list", `{"userID":"a\nb"}`, `userID "a\nb"` + id},
		{"list", `{"userID":"a\u0085b"}`, `userID "a\u0085b"` + id},
		{"list", `{"userID":"` + long + `"}`, `userID "` + long[:64] + `…"` + id},
		{"unread", `{}`, `userID is missing` + id},
		{"profile", `{"conversationID":"C2Cb"}`, `userID is missing` + id},

		// timeoutMs
		{"list", `{"userID":"a","timeoutMs":0}`, `timeoutMs 0: expected an integer from 1 to 5000`},
		{"list", `{"userID":"a","timeoutMs":5001}`, `timeoutMs 5001: expected an integer from 1 to 5000`},
		{"unread", `{"userID":"a","timeoutMs":-1}`, `timeoutMs -1: expected an integer from 1 to 5000`},
		{"profile", `{"userID":"a","conversationID":"C2Cb","timeoutMs":"5"}`, `timeoutMs "5": expected an integer from 1 to 5000`},
		{"list", `{"userID":"a","timeoutMs":1.5}`, `timeoutMs 1.5: expected an integer from 1 to 5000`},

		// conversationIDList
		{"list", `{"userID":"a","conversationIDList":"C2Cb"}`, `conversationIDList "C2Cb": expected a list of conversation IDs`},
		{"list", `{"userID":"a","conversationIDList":{}}`, `conversationIDList {}: expected a list of conversation IDs`},
		{"list", `{"userID":"a","conversationIDList":["C2Cb","x"]}`, `conversationIDList[1] "x"` + cid},
		{"list", `{"userID":"a","conversationIDList":["C2C"]}`, `conversationIDList[0] "C2C"` + cid},
		{"list", `{"userID":"a","conversationIDList":["GROUP"]}`, `conversationIDList[0] "GROUP"` + cid},
		{"list", `{"userID":"a","conversationIDList":["@TIM#system"]}`, `conversationIDList[0] "@TIM#system"` + cid},
		{"list", `{"userID":"a","conversationIDList":[null]}`, `conversationIDList[0] null` + cid},
		{"list", `{"userID":"a","conversationIDList":[1]}`, `conversationIDList[0] 1` + cid},
		{"list", `{"userID":"a","conversationIDList":["C2C` + long + `"]}`, `conversationIDList[0] "C2C` + long[:61] + `…"` + cid},
		{"unread", `{"userID":"a","conversationIDList":["c2cb"]}`, `conversationIDList[0] "c2cb"` + cid},
		{"list", `{"userID":"a","conversationIDList":[` + strings.Repeat(`"C2Cb",`, 500) + `"C2Cb"]}`, `conversationIDList of 501: expected at most 500`},

		// the other filters
		{"list", `{"userID":"a","type":""}`, `type "": expected C2C, GROUP or @TIM#SYSTEM`},
		{"list", `{"userID":"a","type":"c2c"}`, `type "c2c": expected C2C, GROUP or @TIM#SYSTEM`},
		{"list", `{"userID":"a","type":1}`, `type 1: expected C2C, GROUP or @TIM#SYSTEM`},
		{"list", `{"userID":"a","markType":-1}`, `markType -1: expected an integer from 0 to 9007199254740991`},
		{"list", `{"userID":"a","markType":9007199254740992}`, `markType 9007199254740992: expected an integer from 0 to 9007199254740991`},
		{"list", `{"userID":"a","markType":1e400}`, `markType 1e400: expected an integer from 0 to 9007199254740991`},
		{"list", `{"userID":"a","markType":"4"}`, `markType "4": expected an integer from 0 to 9007199254740991`},
		{"list", `{"userID":"a","groupName":1}`, `groupName 1: expected a text`},
		{"list", `{"userID":"a","hasUnreadCount":1}`, `hasUnreadCount 1: expected true or false`},
		{"list", `{"userID":"a","hasGroupAtInfo":"true"}`, `hasGroupAtInfo "true": expected true or false`},
		{"unread", `{"userID":"a","includeMuted":0}`, `includeMuted 0: expected true or false`},

		// limit, cursor, conversationID
		{"list", `{"userID":"a","limit":0}`, `limit 0: expected an integer from 1 to 1000`},
		{"list", `{"userID":"a","limit":1001}`, `limit 1001: expected an integer from 1 to 1000`},
		{"list", `{"userID":"a","limit":99999999999999999999}`, `limit 99999999999999999999: expected an integer from 1 to 1000`},
		{"list", `{"userID":"a","cursor":1}`, `cursor 1: expected the nextCursor of the page before`},
		{"profile", `{"userID":"a"}`, `conversationID is missing` + cid},
		{"profile", `{"userID":"a","conversationID":"b"}`, `conversationID "b"` + cid},
		{"profile", `{"userID":"a","conversationID":["C2Cb"]}`, `conversationID ["C2Cb"]` + cid},
		{"profile", `{"userID":"a","conversationID":"C2Cb\u007f"}`, `conversationID "C2Cb\x7f"` + cid},

		{"unread", `{"userID":"a","sync":true}`, `unknown field "sync": expected `},
		{"list", `{"userID":"a","sync":1}`, `sync 1: expected true or false`},
		{"list", `{"userID":"a","since":{}}`, `since {}: expected a syncToken`},

		// after
		{"list", `{"userID":"a","after":{}}`, `after {}: expected a list of {"topic","partition","offset"}`},
		{"unread", `{"userID":"a","after":[7]}`, `after[0] 7: expected {"topic","partition","offset"}`},
		{"profile", `{"userID":"a","conversationID":"C2Cb","after":[{"topic":"t","partition":0,"offset":0},null]}`, `after[1] null: expected {"topic"`},
		{"list", `{"userID":"a","after":[{"partition":0,"offset":0}]}`, `after[0]: topic is missing: expected the name of a topic`},
		{"list", `{"userID":"a","after":[{"topic":1,"partition":0,"offset":0}]}`, `after[0]: topic 1: expected the name of a topic`},
		{"list", `{"userID":"a","after":[{"topic":"t","offset":0}]}`, `after[0]: partition is missing: expected an integer from 0 to 2147483647`},
		{"list", `{"userID":"a","after":[{"topic":"t","partition":-1,"offset":0}]}`, `after[0]: partition -1: expected an integer from 0 to 2147483647`},
		{"list", `{"userID":"a","after":[{"topic":"t","partition":0}]}`, `after[0]: offset is missing: expected an integer from 0 to 9223372036854775806`},
		{"list", `{"userID":"a","after":[{"topic":"t","partition":0,"offset":9223372036854775807}]}`, `after[0]: offset 9223372036854775807: expected an integer`},
		{"list", `{"userID":"a","after":[{"topic":"t","partition":0,"offset":0,"x":1}]}`, `after[0]: unknown field "x": expected topic, partition, offset`},
		{"list", `{"userID":"a","after":[` + strings.Repeat(`{"topic":"t","partition":0,"offset":0},`, 5000) + `0]}`, `after[5000] 0: expected {"topic"`},

		// the first of several
		{"list", `{"userID":"","limit":0}`, `userID ""` + id},
		{"list", `{"userID":"","after":[{}]}`, `userID ""` + id},
		{"list", `{"userID":"a","timeoutMs":0,"conversationIDList":[` + strings.Repeat(`"C2Cb",`, 500) + `"C2Cb"]}`, `timeoutMs 0: `},

		// one line, not too long, of whole characters
		{"list", "{\"userID\":{\r\n\"b\":\"\u2028\"}}", `userID {  "b":" "}` + id},
		{"list", `{"userID":"a","limit":` + strings.Repeat("9", 64) + `}`, `limit ` + strings.Repeat("9", 64) + `: expected an integer`},
		{"list", `{"userID":"a","limit":` + strings.Repeat("9", 65) + `}`, `limit ` + strings.Repeat("9", 64) + `…: expected an integer`},
		{"list", `{"userID":"` + long[:63] + strings.Repeat("é", 33) + `"}`, `userID "` + long[:63] + `…"` + id},
		{"list", `{"userID":"` + long[:61] + strings.Repeat("😀", 17) + `"}`, `userID "` + long[:61] + `…"` + id},
	} {
		_, err := decode("demo", []byte(c.request), decoders[c.endpoint])
		var refused *replyError
		switch {
		case !errors.As(err, &refused):
			t.Errorf("%s %s: got %v, want an error", c.endpoint, c.request, err)
		case refused.Code != 400 || !strings.Contains(refused.Message, c.want):
			t.Errorf("%s %.200s:\n got %q\nwant %q", c.endpoint, c.request, refused.Message, c.want)
		}
	}
}

func TestDecode_Apps(t *testing.T) {
	for _, app := range []string{"", "a b", "a:b", "é", strings.Repeat("a", 65)} {
		_, err := decode(app, []byte(`{"userID":"a"}`), decodeList)
		var refused *replyError
		if !errors.As(err, &refused) || refused.Code != 400 || !strings.HasPrefix(refused.Message, "app ") {
			t.Errorf("app %q: got %v", app, err)
		}
	}
	if _, err := decode("a-Z_09"+strings.Repeat("a", 58), []byte(`{"userID":"a"}`), decodeList); err != nil {
		t.Error(err)
	}
}

func TestDecode_Accepts(t *testing.T) {
	fill := func(q query) query {
		q.app, q.userID = "demo", "a"
		if q.timeout == 0 {
			q.timeout = 5 * time.Second
		}
		return q
	}
	set := func(ids ...string) map[string]struct{} {
		s := map[string]struct{}{}
		for _, id := range ids {
			s[id] = struct{}{}
		}
		return s
	}
	for _, c := range []struct {
		endpoint, request string
		want              query
	}{
		{"list", `{"userID":"a"}`, query{}},
		{"list", " {\"userID\" : \"\\u0061\"}\n", query{}},
		{
			"list", `{"userID":"a","timeoutMs":null,"conversationIDList":null,"type":null,"markType":null,
				"groupName":null,"hasUnreadCount":null,"hasGroupAtInfo":null,"limit":null,"cursor":null}`, query{},
		},
		{"list", `{"userID":"a","timeoutMs":1}`, query{timeout: time.Millisecond}},
		{"list", `{"userID":"a","conversationIDList":[]}`, query{filter: projection.Filter{IDs: set()}}},
		{
			"list", `{"userID":"a","conversationIDList":["C2Ca","GROUPa.*> /%","@TIM#SYSTEM","C2Ca"]}`,
			query{filter: projection.Filter{IDs: set("C2Ca", "GROUPa.*> /%", "@TIM#SYSTEM")}},
		},
		{
			"list", `{"userID":"a","type":"@TIM#SYSTEM","markType":0,"groupName":"","hasUnreadCount":false,"hasGroupAtInfo":true,"limit":1000,"cursor":""}`,
			query{
				limit: 1000, cursor: new(string),
				filter: projection.Filter{
					Type: events.TypeSystem, MarkType: new(uint64), GroupName: new(string),
					HasUnreadCount: new(bool), HasGroupAtInfo: new(true),
				},
			},
		},
		{
			"list", `{"userID":"a","markType":9007199254740991}`,
			query{filter: projection.Filter{MarkType: new(uint64(events.MaxSequence))}},
		},
		{"unread", `{"userID":"a","type":"C2C","includeMuted":true}`, query{includeMuted: true, filter: projection.Filter{Type: events.TypeC2C}}},
		{"unread", `{"userID":"a","type":"GROUP","includeMuted":false}`, query{filter: projection.Filter{Type: events.TypeGroup}}},
		{"profile", `{"userID":"a","conversationID":"GROUP😀","timeoutMs":5000}`, query{conversationID: "GROUP😀"}},
	} {
		got, err := decode("demo", []byte(c.request), decoders[c.endpoint])
		if err != nil {
			t.Errorf("%s %s: %v", c.endpoint, c.request, err)
			continue
		}
		if diff := cmp.Diff(fill(c.want), *got, cmp.AllowUnexported(query{}), cmpopts.IgnoreFields(query{}, "progress")); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", c.endpoint, c.request, diff)
		}
	}
}
