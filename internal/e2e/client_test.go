package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/client"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/schemas/schematest"
)

// repliesAreSound gives a check of replies: AsyncAPI has such a message, and the
// client's types hold all of it, so that what they are encoded to says the same.
func repliesAreSound(t *testing.T) func(operation string, reply []byte) {
	schemas := map[string]schematest.Schema{}
	for _, operation := range []string{"list", "profile", "unread"} {
		schemas[operation] = schematest.Compile(t, "asyncapi.yaml#/components/messages/"+operation+"Reply/payload")
	}
	return func(operation string, reply []byte) {
		if err := schemas[operation].Validate(reply); err != nil {
			t.Errorf("%s %s: %v", operation, reply, err)
		}
		var whole struct {
			Data struct {
				client.List
				Conversation *client.Profile `json:"conversation"`
			} `json:"data"`
		}
		var plain struct {
			Data struct {
				ConversationList []any `json:"conversationList"`
				Conversation     any   `json:"conversation"`
			} `json:"data"`
		}
		decode(t, reply, &whole)
		decode(t, reply, &plain)
		for i, item := range whole.Data.ConversationList {
			saysTheSame(t, plain.Data.ConversationList[i], item)
		}
		if plain.Data.Conversation != nil {
			saysTheSame(t, plain.Data.Conversation, whole.Data.Conversation)
		}
	}
}

func decode(t *testing.T, data []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

func saysTheSame(t *testing.T, want, item any) {
	t.Helper()
	encoded, err := json.Marshal(item)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	decode(t, encoded, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("through the client's types (-reply +client):\n%s", diff)
	}
}

// asks gives a client of an app.
func (s *system) asks(app string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.nc, client.Config{App: app, Attempts: 100}) // nothing here is timed
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestClient_After reads each message right after kafka-go has written it.
func TestClient_After(t *testing.T) {
	s := newSystem(t)
	s.project()
	s.serve(time.Now)
	c := s.asks("demo")
	var after client.After
	s.writer.Completion = func(written []kafka.Message, err error) {
		for _, m := range written {
			if err == nil {
				after.Add(m.Topic, m.Partition, m.Offset)
			}
		}
	}
	for i := range uint64(20) {
		peer := fmt.Sprint("bob", i%7)
		s.send(events.Event{
			ID: fmt.Sprint(i), App: "demo", Time: events.MicrosOf(time.Now()), Body: text(events.C2C("ann", peer), peer, i+1),
		})
		unread, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann", After: after})
		if err != nil || unread != i+1 {
			t.Fatalf("after %d messages %d are unread: %v", i+1, unread, err)
		}
	}
	if len(after) == 0 || len(after) > messagePartitions {
		t.Errorf("%d places, want one for each partition that was written to", len(after))
	}
}

// TestClient_Sync keeps the lists of some people while a chat goes on, and holds
// them against the lists themselves: the same items in the same order.
func TestClient_Sync(t *testing.T) {
	const steps, perStep = 25, 120
	s := newSystem(t)
	s.project()
	s.serve(time.Now)

	config := generate.DefaultConfig()
	config.People, config.Groups = 30, 8
	config.Start = time.Now().Add(-24 * time.Hour)
	config.Seed = s.rng.Uint64()
	chat := generate.New(config)
	users := chat.Users("demo")
	c := s.asks("demo")
	var lists []*client.LocalList
	for _, user := range users[:6] {
		lists = append(lists, &client.LocalList{UserID: user}, &client.LocalList{UserID: user, Filter: client.Filter{HasUnreadCount: new(true)}})
	}
	changed := 0
	for step := range steps {
		var list []events.Event
		for range perStep {
			e := chat.Next()
			e.Time = events.MicrosOf(e.Time.Time().Truncate(4 * time.Second)) // many at one time
			if m, ok := e.Body.(*events.MessageSent); ok && m.Type == events.TypeText {
				m.Payload = []byte(`{"text":"this & <that>"}`) // is kept as JSON otherwise than it comes
			}
			list = append(list, e)
		}
		for i, user := range users[:3] { // hardly anybody clears anything in such a chat
			l := lists[2*i]
			if len(l.Conversations) == 0 || s.rng.IntN(4) > 0 {
				continue
			}
			first := l.Conversations[0]
			list = append(list, events.Event{
				ID: fmt.Sprint("clear-", user, "-", step), App: "demo", Time: list[0].Time,
				Body: &events.ConversationCleared{
					ConversationOf:  events.ConversationOf{UserID: user, ConversationID: first.ConversationID},
					ThroughSequence: first.LastMessage.LastSequence,
				},
			})
		}
		s.send(list...)
		s.settle()
		for i, l := range lists {
			// As it would be after a restart of the client's user.
			kept, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			var again client.LocalList
			decode(t, kept, &again)
			lists[i] = &again
			before := again.Conversations
			changes, err := c.Sync(t.Context(), &again)
			if err != nil {
				t.Fatal(err)
			}
			changed += len(changes.Changed)
			var want []client.Conversation
			for conversation, err := range c.Conversations(t.Context(), client.ListRequest{UserID: again.UserID, Filter: again.Filter, Limit: 7}) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, conversation)
			}
			if diff := cmp.Diff(want, again.Conversations, cmpopts.EquateEmpty(), samePayloads); diff != "" {
				t.Fatalf("the list of %s (-list +local):\n%s", again.UserID, diff)
			}
			for _, conversation := range changes.Changed {
				i := slices.IndexFunc(before, func(other client.Conversation) bool { return other.ConversationID == conversation.ConversationID })
				if i >= 0 && cmp.Equal(before[i], conversation, cmpopts.EquateEmpty(), samePayloads) {
					t.Fatalf("%s of %s is told as changed and has not", conversation.ConversationID, again.UserID)
				}
			}
			if diff := cmp.Diff(ids(want), ids(applied(before, changes))); diff != "" {
				t.Fatalf("the changes of %s (-list +applied):\n%s", again.UserID, diff)
			}
		}
	}
	if changed == 0 {
		t.Error("nothing has changed")
	}
}

// samePayloads compares payloads by what they say.
var samePayloads = cmp.Comparer(func(a, b json.RawMessage) bool {
	var decoded [2]any
	for i, payload := range [][]byte{a, b} {
		if len(payload) > 0 && json.Unmarshal(payload, &decoded[i]) != nil {
			return false
		}
	}
	return cmp.Equal(decoded[0], decoded[1])
})

// applied are the conversations after some changes, in any order.
func applied(list []client.Conversation, changes client.Changes) []client.Conversation {
	byID := map[string]client.Conversation{}
	for _, conversation := range slices.Concat(list, changes.Changed) {
		byID[conversation.ConversationID] = conversation
	}
	for _, id := range changes.Removed {
		delete(byID, id)
	}
	all := make([]client.Conversation, 0, len(byID))
	for _, conversation := range byID {
		all = append(all, conversation)
	}
	return all
}

func ids(list []client.Conversation) []string {
	all := make([]string, 0, len(list))
	for i := range list {
		all = append(all, list[i].ConversationID)
	}
	slices.Sort(all)
	return all
}

// TestClient_Notices hears of what happens to a user and in a group, whose IDs are
// odd, and finds it when asking.
func TestClient_Notices(t *testing.T) {
	s := newSystem(t)
	s.project()
	s.serve(time.Now)
	c := s.asks("demo")
	const user, group = "a.*>é %", "hi ke.>"
	heard, err := c.Subscribe(client.OfUser(user), client.OfGroup(group))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Close() }()
	next := func() client.Notice {
		t.Helper()
		n, err := heard.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := next(); !n.Missed {
		t.Errorf("the first notice is %+v", n)
	}
	now := events.MicrosOf(time.Now())
	s.send(
		events.Event{ID: "1", App: "demo", Time: now, Body: text(events.C2C(user, "bob"), "bob", 1)},
		events.Event{ID: "2", App: "other", Time: now, Body: text(events.C2C(user, "bob"), "bob", 1)},
	)
	n := next()
	if n.UserID != user || !slices.Equal(n.ConversationIDList, []string{client.C2C("bob")}) || !slices.Contains(n.Kinds, client.KindMessage) || n.Time.IsZero() {
		t.Errorf("%+v", n)
	}
	l := &client.LocalList{UserID: user}
	for len(l.Conversations) == 0 { // the worker may hear of it a moment later
		if _, err := c.Sync(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	s.send(events.Event{ID: "3", App: "demo", Time: now, Body: text(events.Group(group), "bob", 1)})
	for n.UserID != "" { // what was noticed before may be said again
		n = next()
	}
	if n.GroupID != group || !slices.Equal(n.ConversationIDList, []string{client.Group(group)}) {
		t.Errorf("%+v", n)
	}
}
