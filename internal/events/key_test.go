package events

import "testing"

// TestKey holds the keys of the contract.
func TestKey(t *testing.T) {
	of := ConversationOf{UserID: "u", ConversationID: "C2Cv"}
	for _, test := range []struct {
		body  Body
		topic string
		want  string
	}{
		{&MessageSent{Conversation: C2C("b", "a"), From: "b"}, TopicMessages, `["demo","C2C","a","b"]`},
		{&MessageSent{Conversation: C2C("a", "a"), From: "a"}, TopicMessages, `["demo","C2C","a","a"]`},
		{&MessageRecalled{Conversation: Group(`g "1" <é>&`)}, TopicMessages, `["demo","GROUP","g \"1\" <é>&"]`},
		{&MessageModified{Conversation: System("u")}, TopicMessages, `["demo","@TIM#SYSTEM","u"]`},
		{&ConversationRead{of, 1}, TopicState, `["demo","conversationRead","u","C2Cv"]`},
		{&ConversationPinned{of, true}, TopicState, `["demo","conversationPinned","u","C2Cv"]`},
		{&ConversationRemindTypeSet{of, RemindDiscard}, TopicState, `["demo","conversationRemindTypeSet","u","C2Cv"]`},
		{&ConversationMarked{of, nil}, TopicState, `["demo","conversationMarked","u","C2Cv"]`},
		{&ConversationGroupsSet{of, nil}, TopicState, `["demo","conversationGroupsSet","u","C2Cv"]`},
		{&ConversationCustomDataSet{of, ""}, TopicState, `["demo","conversationCustomDataSet","u","C2Cv"]`},
		{&ConversationDraftSet{of, ""}, TopicState, `["demo","conversationDraftSet","u","C2Cv"]`},
		{&ConversationDeleted{of, 1, true}, TopicState, `["demo","conversationDeleted","u","C2Cv"]`},
		{&ConversationCleared{of, 1}, TopicState, `["demo","conversationCleared","u","C2Cv"]`},
		{&GroupMemberChanged{GroupID: "g", UserID: "u"}, TopicState, `["demo","groupMemberChanged","g","u"]`},
		{&GroupProfileChanged{GroupID: "g"}, TopicState, `["demo","groupProfileChanged","g"]`},
		{&UserProfileChanged{UserID: "u"}, TopicState, `["demo","userProfileChanged","u"]`},
		{&FriendRemarkSet{"u", "f", ""}, TopicState, `["demo","friendRemarkSet","u","f"]`},
		{&AppPlanChanged{}, TopicState, `["demo","appPlanChanged"]`},
		{&UserErased{"u"}, TopicState, `["demo","userErased","u"]`},
	} {
		if got := Key(Event{App: "demo", Body: test.body}); got != test.want {
			t.Errorf("Key = %s, want %s", got, test.want)
		}
		if got := Topic(test.body); got != test.topic {
			t.Errorf("Topic(%s) = %s, want %s", test.body.Kind(), got, test.topic)
		}
	}
}

func TestKeyWithID(t *testing.T) {
	for _, c := range []struct{ key, id, want string }{
		{`["demo","conversationPinned","ann","GROUPhike"]`, "e-8", `["demo","conversationPinned","ann","GROUPhike","e-8"]`},
		{`["demo","userErased","ann"]`, "ann", `["demo","userErased","ann","ann"]`},
		{` ["demo", "appPlanChanged" ] `, `a"b`, `["demo", "appPlanChanged","a\"b"]`},
		{`[]`, "e-8", `["e-8"]`},
		{``, "e-8", `["e-8"]`},
		{`ann`, "e-8", "ann\x00e-8"},
		{`ann-e-8`, "e-8", "ann-e-8\x00e-8"},
		{`"ann"`, "e-8", "\"ann\"\x00e-8"},
		{`{"user":"ann"}`, "e-8", "{\"user\":\"ann\"}\x00e-8"},
		{`1400000000`, "e-8", "1400000000\x00e-8"},
		{`["ann"`, "e-8", "[\"ann\"\x00e-8"},
		{"\x00\x00\x00\x00\x07\xff", "e-8", "\x00\x00\x00\x00\x07\xff\x00e-8"},
	} {
		key := []byte(c.key)
		if got := string(KeyWithID(key, c.id)); got != c.want {
			t.Errorf("%q with %q: got %q, want %q", c.key, c.id, got, c.want)
		}
		if string(key) != c.key {
			t.Errorf("%q was written to: %q", c.key, key)
		}
	}
}
