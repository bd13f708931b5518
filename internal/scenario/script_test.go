package scenario_test

import (
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/scenario"
)

func TestParse_Refuses(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"nothing", "", "must say what the scenario shows"},
		{"no sentence", "-- list ann --\n", "must say what the scenario shows"},
		{"no question", "Why?\n-- now 10:00 --\n", "the last step must be a question"},
		{"another section", "Why?\n-- lists ann --\n", `section "lists ann": "lists": expected events, now`},
		{"no user", "Why?\n-- list --\n", "userID is missing"},
		{"no conversation", "Why?\n-- profile ann app=other --\n", "conversationID is missing"},
		{"a field of another name", "Why?\n-- list ann markTypes=4 --\n", `unknown field "markTypes"`},
		{"a field twice", "Why?\n-- list ann markType=4 markType=1 --\n", "markType=1: expected name=value, once each"},
		{"a second user", "Why?\n-- list ann bob --\n", `"bob": expected name=value, once each`},
		{"no events", "Why?\n-- events --\n# none\n-- list ann --\n", "no events"},
		{"a time of another form", "Why?\n-- events --\n10h userErased userID=bob\n-- list ann --\n", `time "10h": expected one such as 10:00`},
		{"an event that no producer may send", "Why?\n-- events --\n10:00 userErased\n-- list ann --\n", "userErased.userID is missing"},
		{"a field that no event has", "Why?\n-- events --\n10:00 userErased userID=bob user=bob\n-- list ann --\n", "a field that the contract does not have"},
		{"a body that no event has", "Why?\n-- events --\n10:00 userHidden userID=bob\n-- list ann --\n", "unknown body"},
		{"half a value", "Why?\n-- events --\n10:00 userErased userID=\"bob\n-- list ann --\n", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := scenario.Parse([]byte(c.script))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestRender(t *testing.T) {
	for _, c := range []struct{ name, endpoint, answer, want string }{
		{"total", "unread", `7`, "7\n"},
		{"unknown conversation", "profile", `null`, "404\n"},
		{"empty list", "list", `[]`, "(none)\n"},
		{
			"what looks like nothing", "list",
			`[{"conversationID":"C2Cb c","draftText":"0","remark":"false","customData":"a=b","markList":[],"unreadCount":0}]`,
			`"C2Cb c" draftText="0" remark="false" customData="a=b"` + "\n",
		},
		{
			"messageID and type of a scenario", "list",
			`[{"conversationID":"C2Cb","lastMessage":{"messageID":"m7","lastSequence":7,"type":"TIMTextElem","payload":{"a":{}},"revoker":null}}]`,
			"C2Cb\n  lastMessage lastSequence=7 payload={\"a\":{}}\n",
		},
		{
			"other messageID and type", "list",
			`[{"conversationID":"C2Cb","lastMessage":{"messageID":"m8","lastSequence":7,"type":"x"}}]`,
			"C2Cb\n  lastMessage messageID=m8 lastSequence=7 type=x\n",
		},
		{
			"times", "list",
			`[{"conversationID":"C2Cb","peerReadTime":1773100801,"lastMessage":{"lastTime":1773100799}}]`,
			"C2Cb peerReadTime=00:00:01\n  lastMessage lastTime=2026-03-09T23:59:59Z\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scenario.Render(c.endpoint, []byte(c.answer))
			if err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	_, err := scenario.Render("profile", []byte(`{"conversationID":"GROUPg","lastMessage":{"a":1},"groupProfile":{"lastMessage":{"a":2}}}`))
	if err == nil || !strings.Contains(err.Error(), "groupProfile.lastMessage") {
		t.Errorf("two last messages that differ: got %v", err)
	}
}
