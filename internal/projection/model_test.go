package projection_test

import (
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
