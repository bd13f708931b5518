package main

import (
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// TestWorld_HasItsShape holds that in a folded past everybody lists as many
// conversations as the shape says.
func TestWorld_HasItsShape(t *testing.T) {
	c := newChat()
	now := events.Micros(1_800_000_000_000_000)
	for _, s := range []shape{
		{app: "few", people: 300, conversations: 20},
		{app: "odd", people: 300, conversations: 11},
		{app: "mixed", people: 200, conversations: 100, others: 9800, othersConversations: 5},
	} {
		w, err := newWorld(s, c)
		if err != nil {
			t.Fatal(err)
		}
		m := projection.NewModel()
		for e := range w.past(now) {
			m.Fold(e)
		}
		if len(m.Conflicts) > 0 {
			t.Errorf("%s: %d sequences are used twice", s.app, len(m.Conflicts))
		}
		rules := projection.NewRules(projection.Plan{}, now, func(string) bool { return false })
		listed := map[string]int{}
		for k, own := range m.States {
			_, name, _ := events.SplitConversationID(k.ConversationID)
			shared, profile := m.States[projection.Key{App: k.App, ConversationID: k.ConversationID}], m.Groups[projection.GroupKey{App: k.App, GroupID: name}]
			conversation, _ := projection.NewConversation(k.Owner, k.ConversationID, own, shared, profile)
			if k.Owner != "" && conversation.Listed(rules) {
				listed[k.Owner]++
			}
		}
		for i, user := range w.people {
			want := s.conversations
			if i >= s.people {
				want = s.othersConversations
			}
			if listed[user] != want {
				t.Fatalf("%s: user %d lists %d conversations, want %d", s.app, i, listed[user], want)
			}
		}
	}
}
