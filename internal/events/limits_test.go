package events

import (
	"fmt"
	"strings"
	"testing"
)

// TestDecode_Limits holds every limit, at it and one past it, in both encodings.
func TestDecode_Limits(t *testing.T) {
	const kb = 1024
	text := func(n int) string { return strings.Repeat("x", n) }
	// payload is a compact object of n bytes.
	payload := func(n int) []byte { return []byte(`{"a":"` + text(n-8) + `"}`) }
	numbered := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("n%06d", i)
		}
		return list
	}
	sent := func(change func(*MessageSent)) Body {
		m := &MessageSent{Conversation: Group("g"), From: "a", MessageID: "m", Sequence: 1, Type: "t"}
		change(m)
		return m
	}
	of := ConversationOf{UserID: "u", ConversationID: "C2Cv"}
	group := func(change func(*GroupProfileChanged)) Body {
		g := &GroupProfileChanged{GroupID: "g"}
		change(g)
		return g
	}
	user := func(change func(*UserProfileChanged)) Body {
		u := &UserProfileChanged{UserID: "u"}
		change(u)
		return u
	}
	// fields are n custom fields of 4 KB keys and values together.
	fields := func(bytes int) []KeyValue {
		var list []KeyValue
		for ; bytes > 0; bytes -= 8 * kb {
			list = append(list, KeyValue{text(min(bytes, 4*kb)), text(max(0, min(bytes, 8*kb)-4*kb))})
		}
		return list
	}

	for _, test := range []struct {
		field string
		limit int
		body  func(n int) Body
	}{
		{"messageSent.payload", 64 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.Payload = payload(n) }) }},
		{"messageModified.payload", 64 * kb, func(n int) Body {
			return &MessageModified{Conversation: Group("g"), Sequence: 1, Version: 1, Payload: payload(n)}
		}},
		{"messageSent.cloudCustomData", 8 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.CloudCustomData = text(n) }) }},
		{"messageModified.cloudCustomData", 8 * kb, func(n int) Body {
			return &MessageModified{Conversation: Group("g"), Sequence: 1, Version: 1, HasCloudCustomData: true, CloudCustomData: text(n)}
		}},
		{"messageSent.atUserList", 500, func(n int) Body { return sent(func(m *MessageSent) { m.AtUsers = numbered(n) }) }},
		{"messageSent.messageID", 4 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.MessageID = text(n) }) }},
		{"messageSent.type", 4 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.Type = text(n) }) }},
		{"messageSent.nick", 4 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.Nick = text(n) }) }},
		{"messageSent.avatar", 4 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.Avatar = text(n) }) }},
		{"messageSent.nameCard", 4 * kb, func(n int) Body { return sent(func(m *MessageSent) { m.NameCard = text(n) }) }},
		{"messageRecalled.reason", 4 * kb, func(n int) Body {
			return &MessageRecalled{Conversation: Group("g"), Sequence: 1, Reason: text(n)}
		}},
		{"conversationCustomDataSet.customData", 4 * kb, func(n int) Body { return &ConversationCustomDataSet{of, text(n)} }},
		{"conversationDraftSet.draftText", 4 * kb, func(n int) Body { return &ConversationDraftSet{of, text(n)} }},
		{"conversationMarked.markList", 1000, func(n int) Body {
			marks := make([]uint64, n)
			for i := range marks {
				marks[i] = uint64(i + 1)
			}
			return &ConversationMarked{of, marks}
		}},
		{"conversationGroupsSet.conversationGroupList", 1000, func(n int) Body { return &ConversationGroupsSet{of, numbered(n)} }},
		{"conversationGroupsSet.conversationGroupList[1]", 4 * kb, func(n int) Body { return &ConversationGroupsSet{of, []string{"a", text(n)}} }},
		{"groupMemberChanged.nameCard", 4 * kb, func(n int) Body {
			return &GroupMemberChanged{GroupID: "g", UserID: "u", Status: StatusLeft, NameCard: text(n)}
		}},
		{"groupProfileChanged.name", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.Name = text(n) }) }},
		{"groupProfileChanged.avatar", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.Avatar = text(n) }) }},
		{"groupProfileChanged.introduction", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.Introduction = text(n) }) }},
		{"groupProfileChanged.notification", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.Notification = text(n) }) }},
		{"groupProfileChanged.joinOption", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.JoinOption = text(n) }) }},
		{"groupProfileChanged.inviteOption", 4 * kb, func(n int) Body { return group(func(g *GroupProfileChanged) { g.InviteOption = text(n) }) }},
		{"groupProfileChanged.groupCustomField[0].key", 4 * kb, func(n int) Body {
			return group(func(g *GroupProfileChanged) { g.GroupCustomField = []KeyValue{{Key: text(n)}} })
		}},
		{"groupProfileChanged.groupCustomField[1].value", 4 * kb, func(n int) Body {
			return group(func(g *GroupProfileChanged) { g.GroupCustomField = []KeyValue{{}, {Value: text(n)}} })
		}},
		{"groupProfileChanged", 64 * kb, func(n int) Body {
			return group(func(g *GroupProfileChanged) { g.Name = "name"; g.GroupCustomField = fields(n - 4) })
		}},
		{"userProfileChanged.nick", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.Nick = text(n) }) }},
		{"userProfileChanged.avatar", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.Avatar = text(n) }) }},
		{"userProfileChanged.gender", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.Gender = text(n) }) }},
		{"userProfileChanged.location", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.Location = text(n) }) }},
		{"userProfileChanged.selfSignature", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.SelfSignature = text(n) }) }},
		{"userProfileChanged.allowType", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.AllowType = text(n) }) }},
		{"userProfileChanged.adminForbidType", 4 * kb, func(n int) Body { return user(func(u *UserProfileChanged) { u.AdminForbidType = text(n) }) }},
		{"userProfileChanged", 64 * kb, func(n int) Body {
			return user(func(u *UserProfileChanged) { u.Location = "here"; u.ProfileCustomField = fields(n - 4) })
		}},
		{"friendRemarkSet.remark", 4 * kb, func(n int) Body { return &FriendRemarkSet{"u", "f", text(n)} }},
	} {
		t.Run(test.field, func(t *testing.T) {
			at := Event{ID: "e1", App: "demo", Time: eventTime, Body: test.body(test.limit)}
			past := Event{ID: "e1", App: "demo", Time: eventTime, Body: test.body(test.limit + 1)}
			for _, record := range bothEncodings(t, at) {
				mustDecode(t, record)
			}
			for _, record := range bothEncodings(t, past) {
				wantError(t, record, CodeTooLarge, test.field)
			}
		})
	}
}

// TestDecode_LimitOfTheEvent holds that its size is checked before anything is read.
func TestDecode_LimitOfTheEvent(t *testing.T) {
	event := eventJSON(`"userErased":{"userID":"u"}`)
	record := jsonRecord(event + strings.Repeat(" ", 256*1024-len(event)))
	mustDecode(t, record)
	record.Value = append(record.Value, '#')
	wantError(t, record, CodeTooLarge, "")
	record.Headers = []Header{{HeaderContentType, []byte("application/avro")}}
	wantError(t, record, CodeTooLarge, "")
}

// TestDecode_LimitsCountWhatWasSent holds that repeats and entries that are null count,
// and that a payload is measured without its whitespace.
func TestDecode_LimitsCountWhatWasSent(t *testing.T) {
	repeated := func(n int) Record {
		return jsonRecord(eventJSON(`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":1,"type":"t","atUserList":["b"` +
			strings.Repeat(`,"b"`, n-1) + `]}`))
	}
	mustDecode(t, repeated(500))
	wantError(t, repeated(501), CodeTooLarge, "messageSent.atUserList")
	marks := func(nulls int) Record {
		return jsonRecord(eventJSON(`"conversationMarked":{"userID":"u","conversationID":"C2Cv","markList":[` + strings.Repeat(`null,`, nulls) + `1]}`))
	}
	mustDecode(t, marks(999))
	wantError(t, marks(1000), CodeTooLarge, "conversationMarked.markList")

	e := mustDecode(t, jsonRecord(eventJSON(`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":1,"type":"t","payload":{`+
		strings.Repeat(" ", 100*1024)+`}}`)))
	if payload := e.Body.(*MessageSent).Payload; cap(payload) > 1024 {
		t.Errorf("a payload of %d bytes keeps %d", len(payload), cap(payload))
	}
}

// TestDecode_PayloadDepth holds the bound of a payload's nesting.
func TestDecode_PayloadDepth(t *testing.T) {
	nested := func(depth int) map[string]Record {
		payload := `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
		return bothEncodings(t, Event{ID: "e1", App: "demo", Time: eventTime, Body: &MessageSent{
			Conversation: Group("g"), From: "a", MessageID: "m", Sequence: 1, Type: "t", Payload: []byte(payload),
		}})
	}
	for _, record := range nested(maxPayloadDepth) {
		mustDecode(t, record)
	}
	for _, record := range []Record{
		jsonRecord(eventJSON(`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":1,"type":"t","payload":{"a":` +
			strings.Repeat("[", maxPayloadDepth) + strings.Repeat("]", maxPayloadDepth) + `}}`)),
	} {
		wantError(t, record, CodeInvalidField, "messageSent.payload")
	}
	wantError(t, jsonRecord(eventJSON(`"x":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000))), CodeMalformed, "")
}

// TestLimits_Validate holds that every limit is checked, and named.
func TestLimits_Validate(t *testing.T) {
	if err := DefaultLimits().Validate(); err != nil {
		t.Errorf("the default limits: %v", err)
	}
	err := Limits{TextBytes: -1, EventBytes: 1}.Validate()
	if err == nil {
		t.Fatal("no error of limits that are all zero")
	}
	for _, name := range []string{
		"limit payload bytes 0", "limit cloud custom data bytes 0", "limit custom data bytes 0", "limit draft text bytes 0", "limit text bytes -1",
		"limit profile bytes 0", "limit at user list 0", "limit mark list 0", "limit conversation group list 0",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v\ndoes not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "event bytes") {
		t.Errorf("%v\nnames the event bytes, which are valid", err)
	}
}

// TestDecoder_UsesItsLimits holds that the limits are the decoder's.
func TestDecoder_UsesItsLimits(t *testing.T) {
	limits := DefaultLimits()
	limits.TextBytes = 1
	record := jsonRecord(eventJSON(`"friendRemarkSet":{"userID":"u","friendID":"f","remark":"rr"}`))
	if _, err := NewDecoder(limits).Decode(record); err == nil || !strings.Contains(err.Error(), "expected at most 1") {
		t.Errorf("Decode = %v, want it to name the limit of 1", err)
	}
}

// TestDecode_TheLimitOfProfiles holds that what a profile may have in all bounds nothing else.
func TestDecode_TheLimitOfProfiles(t *testing.T) {
	limits := DefaultLimits()
	limits.ProfileBytes = 3
	for body, refused := range map[string]bool{
		`"userProfileChanged":{"userID":"u","nick":"rr","location":"r"}`:  false,
		`"userProfileChanged":{"userID":"u","nick":"rr","location":"rr"}`: true,
		`"friendRemarkSet":{"userID":"u","friendID":"f","remark":"rrrr"}`: false,
	} {
		if _, err := NewDecoder(limits).Decode(jsonRecord(eventJSON(body))); (err != nil) != refused {
			t.Errorf("%s: %v, want refused %t", body, err, refused)
		}
	}
}
