package projection_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestModel_Messages holds what analysts get to see of a message.
func TestModel_Messages(t *testing.T) {
	sent := events.MessageSent{
		From: "ann", MessageID: "m-7", Sequence: 7, Type: "TIMImageElem", MessageForShow: "[Image]",
		AtUsers: []string{"bob", "carol"}, AtAll: true,
	}
	want := projection.Message{
		From: "ann", MessageID: "m-7", Type: "TIMImageElem", Text: "[Image]",
		AtUsers: []string{"bob", "carol"}, AtAll: true, Counted: true, Shown: true,
	}
	for _, c := range []struct {
		name   string
		change func(*events.MessageSent, *projection.Message)
	}{
		{"in a group", func(b *events.MessageSent, _ *projection.Message) { b.Conversation = events.Group("hike") }},
		{"C2C", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, m.To = events.C2C("ann", "bob"), "bob"
		}},
		{"in a system conversation", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, m.To = events.System("bob"), "bob"
		}},
		{"that mentions nobody", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, b.AtUsers, b.AtAll, m.AtUsers, m.AtAll = events.Group("hike"), nil, false, nil, false
		}},
		{"online only", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, b.OnlineOnly, m.Counted, m.Shown = events.Group("hike"), true, false, false
		}},
		{"excluded from the count", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, b.ExcludedFromUnread, m.Counted = events.Group("hike"), true, false
		}},
		{"excluded from the last message", func(b *events.MessageSent, m *projection.Message) {
			b.Conversation, b.ExcludedFromLast, m.Shown = events.Group("hike"), true, false
		}},
	} {
		body, message := sent, want
		c.change(&body, &message)
		e := events.Event{ID: "e", App: "demo", Time: projectiontest.Now, Body: &body}
		key := projection.MessageKey{
			App: "demo", Conversation: body.Conversation, Day: e.Time.Day(), Sequence: 7, Time: e.Time, ID: "e",
		}
		if diff := cmp.Diff(map[projection.MessageKey]*projection.Message{key: &message}, fold(e).Messages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestModel_Membership holds that a membership keeps all that its event says,
// also what no reply shows.
func TestModel_Membership(t *testing.T) {
	joined := projectiontest.Now - 1
	m := fold(events.Event{ID: "e", App: "demo", Time: projectiontest.Now, Body: &events.GroupMemberChanged{
		GroupID: "hike", UserID: "ann", Status: events.StatusJoined, Role: "Admin", NameCard: "A", JoinSequence: 7, JoinTime: joined, OperatorID: "bob",
	}})
	want := projection.Register[projection.Member]{
		Version: projection.Version{Time: projectiontest.Now, ID: "e"},
		Value:   projection.Member{Status: events.StatusJoined, Role: "Admin", NameCard: "A", JoinSequence: 7, JoinTime: joined, OperatorID: "bob"},
	}
	if diff := cmp.Diff(want, m.State(projection.Key{App: "demo", Owner: "ann", ConversationID: "GROUPhike"}).Settings().Member); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestModel_Owners holds whose registers an event writes, and that it writes nobody else's.
func TestModel_Owners(t *testing.T) {
	of := func(user, conversation string) events.ConversationOf {
		return events.ConversationOf{UserID: user, ConversationID: conversation}
	}
	for _, c := range []struct {
		name string
		body events.Body
		want []string // owners and conversations; " " begins what the members of a group share
	}{
		{"a message", &events.MessageSent{Conversation: events.C2C("ann", "bob"), From: "ann", Sequence: 1}, []string{"ann C2Cbob", "bob C2Cann"}},
		{"a message to oneself", &events.MessageSent{Conversation: events.C2C("ann", "ann"), From: "ann", Sequence: 1}, []string{"ann C2Cann"}},
		{
			"a message to a group", &events.MessageSent{Conversation: events.Group("hike"), From: "ann", Sequence: 1, AtAll: true},
			[]string{" GROUPhike", "ann GROUPhike"},
		},
		{
			"a message that mentions", &events.MessageSent{Conversation: events.Group("hike"), From: "ann", Sequence: 1, AtUsers: []string{"bob"}},
			[]string{" GROUPhike", "ann GROUPhike", "bob GROUPhike"},
		},
		{"a notice of the system", &events.MessageSent{Conversation: events.System("ann"), From: "bob", Sequence: 1}, []string{"ann @TIM#SYSTEM"}},
		{"a recall", &events.MessageRecalled{Conversation: events.C2C("ann", "bob"), Sequence: 1}, []string{"ann C2Cbob", "bob C2Cann"}},
		{"a recall in a group", &events.MessageRecalled{Conversation: events.Group("hike"), Sequence: 1, Revoker: "ann"}, []string{" GROUPhike"}},
		{"a read", &events.ConversationRead{ConversationOf: of("ann", "C2Cbob"), Sequence: 1}, []string{"ann C2Cbob", "bob C2Cann"}},
		{"a read of what is one's own", &events.ConversationRead{ConversationOf: of("ann", "C2Cann"), Sequence: 1}, []string{"ann C2Cann"}},
		{"a read in a group", &events.ConversationRead{ConversationOf: of("ann", "GROUPhike"), Sequence: 1}, []string{"ann GROUPhike"}},
		{"a read of notices", &events.ConversationRead{ConversationOf: of("ann", "@TIM#SYSTEM"), Sequence: 1}, []string{"ann @TIM#SYSTEM"}},
		{"a pin", &events.ConversationPinned{ConversationOf: of("ann", "C2Cbob"), IsPinned: true}, []string{"ann C2Cbob"}},
		{"a deletion", &events.ConversationDeleted{ConversationOf: of("ann", "C2Cbob"), ThroughSequence: 1}, []string{"ann C2Cbob"}},
		{"a remark", &events.FriendRemarkSet{UserID: "ann", FriendID: "bob", Remark: "B"}, []string{"ann C2Cbob"}},
		{"a membership", &events.GroupMemberChanged{GroupID: "hike", UserID: "ann", OperatorID: "bob"}, []string{"ann GROUPhike"}},
		{"a profile", &events.GroupProfileChanged{GroupID: "hike", OwnerID: "ann"}, nil},
	} {
		var got []string
		for k := range fold(events.Event{ID: "e", App: "demo", Time: projectiontest.Now, Body: c.body}).States {
			got = append(got, k.Owner+" "+k.ConversationID)
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
