package query

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// c2c is a text message between users.
func c2c(from, to string, sequence uint64, text string) *events.MessageSent {
	return message(events.C2C(from, to), from, sequence, text)
}

// group is a text message to a group.
func group(from, groupID string, sequence uint64, text string, at ...string) *events.MessageSent {
	m := message(events.Group(groupID), from, sequence, text)
	m.AtUsers = at
	return m
}

// everyone has a group message mention everyone.
func everyone(m *events.MessageSent) *events.MessageSent {
	m.AtAll = true
	return m
}

// system is a text message to a user's SYSTEM conversation.
func system(to string, sequence uint64, text string) *events.MessageSent {
	return message(events.System(to), "admin", sequence, text)
}

func message(c events.Conversation, from string, sequence uint64, text string) *events.MessageSent {
	payload, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		panic(err)
	}
	return &events.MessageSent{
		Conversation: c, From: from, MessageID: "m-" + text, Sequence: sequence,
		Type: events.TypeText, Payload: payload, MessageForShow: text,
	}
}

func of(userID, conversationID string) events.ConversationOf {
	return events.ConversationOf{UserID: userID, ConversationID: conversationID}
}

func joined(userID, groupID string, sequence uint64) *events.GroupMemberChanged {
	return &events.GroupMemberChanged{GroupID: groupID, UserID: userID, Status: events.StatusJoined, Role: "Member", JoinSequence: sequence}
}

func left(userID, groupID string) *events.GroupMemberChanged {
	return &events.GroupMemberChanged{GroupID: groupID, UserID: userID, Status: events.StatusLeft}
}

func pinned(userID, conversationID string) *events.ConversationPinned {
	return &events.ConversationPinned{ConversationOf: of(userID, conversationID), IsPinned: true}
}

func marked(userID, conversationID string, marks ...uint64) *events.ConversationMarked {
	return &events.ConversationMarked{ConversationOf: of(userID, conversationID), MarkList: marks}
}

func grouped(userID, conversationID string, groups ...string) *events.ConversationGroupsSet {
	return &events.ConversationGroupsSet{ConversationOf: of(userID, conversationID), ConversationGroupList: groups}
}

func remind(userID, conversationID, as string) *events.ConversationRemindTypeSet {
	return &events.ConversationRemindTypeSet{ConversationOf: of(userID, conversationID), MessageRemindType: as}
}

func read(userID, conversationID string, sequence uint64) *events.ConversationRead {
	return &events.ConversationRead{ConversationOf: of(userID, conversationID), Sequence: sequence}
}

func plan(maxConversations uint32) *events.AppPlanChanged {
	return &events.AppPlanChanged{MaxConversations: maxConversations, Retention: events.DefaultRetention}
}

// request is a request as JSON; nil values are left out.
func request(fields map[string]any) string {
	for name, value := range fields {
		if value == nil {
			delete(fields, name)
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// list asks for a list and gives its body.
func (f *fixture) list(request string) listBody {
	f.t.Helper()
	code, body := f.ask("list", request)
	if code != "0" {
		f.t.Fatalf("list %s: %s %s", request, code, body)
	}
	return parseList(f.t, []byte(body))
}

// ids are the conversations of a list, in its order.
func (b listBody) ids(t testing.TB) []string {
	t.Helper()
	ids := []string{}
	for _, raw := range b.Data.ConversationList {
		var item struct {
			ConversationID string `json:"conversationID"`
		}
		if err := json.Unmarshal(raw, &item); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, item.ConversationID)
	}
	return ids
}

// refuses checks that a request is refused with a code and a message.
func (f *fixture) refuses(endpoint, request, code, message string) {
	f.t.Helper()
	gotCode, gotMessage := f.ask(endpoint, request)
	if gotCode != code || gotMessage != message {
		f.t.Errorf("%s %s:\n got %s %s\nwant %s %s", endpoint, request, gotCode, gotMessage, code, message)
	}
}

// some is a chat with a bit of everything, as ann sees it:
// in order @TIM#SYSTEM (pinned), GROUPg1, C2Cben, C2Cann, GROUPg2, C2Ccid; hidden C2Cdan.
func some() *memory {
	m := newMemory()
	m.fold(ago(9*time.Hour),
		&events.GroupProfileChanged{GroupID: "g1", Name: "One", Avatar: "a1", Type: "Public"},
		&events.GroupProfileChanged{GroupID: "g2", Name: "Two", Type: "Private"},
		&events.UserProfileChanged{UserID: "ben", Nick: "Ben", Avatar: "b.png", Level: 3},
		joined("ann", "g1", 0), joined("ann", "g2", 0), joined("ann", "g3", 0), left("ann", "g4"))
	m.fold(ago(8*time.Hour), c2c("cid", "ann", 1, "from cid"), group("ben", "g4", 1, "not for ann any more"))
	m.fold(ago(7*time.Hour), group("ben", "g2", 1, "two"), read("ann", "GROUPg2", 1))
	m.fold(ago(6*time.Hour), c2c("ann", "ann", 1, "note"))
	m.fold(ago(5*time.Hour), c2c("ben", "ann", 1, "one"), c2c("ben", "ann", 2, "two"))
	m.fold(ago(4*time.Hour), group("ben", "g1", 7, "hi ann", "ann"))
	m.fold(ago(3*time.Hour), system("ann", 5, "news"))
	m.fold(ago(2*time.Hour), c2c("dan", "ann", 1, "hidden"))
	m.fold(ago(time.Hour),
		pinned("ann", "@TIM#SYSTEM"), marked("ann", "C2Cdan", 4), marked("ann", "C2Cben", 1, 2),
		grouped("ann", "C2Cben", "work"), grouped("ann", "GROUPg1", "fun", "work"),
		remind("ann", "C2Ccid", events.RemindDiscard))
	return m
}
