package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// sample compares conversations of the first generation with the topics.
func (s *system) sample(now time.Time, size int) *rebuild.Sampled {
	s.t.Helper()
	return s.sampleOf(1, now, size)
}

// sampleOf does so with any generation.
func (s *system) sampleOf(generation int, now time.Time, size int) *rebuild.Sampled {
	s.t.Helper()
	sample := rebuild.Sample{
		Generation: s.readModel.Generation(generation), Ingest: s.ingest(), Decoder: events.NewDecoder(events.DefaultLimits()),
		Size: size, Seed: s.rng.Uint64(), Now: now, MaxDifferences: 100, Interval: 10 * time.Millisecond,
		Progress: func(int64, int64) {}, Log: s.log(),
	}
	found, err := sample.Run(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	groups, err := s.client.ListGroups(s.t.Context(), &kafka.ListGroupsRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range groups.Groups {
		if strings.HasPrefix(g.GroupID, s.group+"-verify-") {
			s.t.Errorf("group %s is left behind", g.GroupID)
		}
	}
	return found
}

// TestSample_HoldsAGenerationAgainstTheTopics compares conversations with what the
// topics say of them, while the chat goes on and after it, and then with a field
// changed, and with rows gone.
func TestSample_HoldsAGenerationAgainstTheTopics(t *testing.T) {
	const everything = 1 << 30
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.project()
	annBob := events.ConversationOf{UserID: "ann at last", ConversationID: "C2Cbob at last"}
	for _, body := range []events.Body{
		&events.MessageSent{Conversation: annBob.Conversation(), From: "bob at last", MessageID: "m", Sequence: 1, Type: events.TypeText},
		&events.ConversationDraftSet{ConversationOf: annBob, DraftText: "hello"},
	} {
		chat = append(chat, events.Event{ID: "at last " + body.Kind(), App: "demo", Time: chat[len(chat)-1].Time + 1, Body: body})
	}
	half := len(chat) / 2
	s.send(chat[:half]...)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for portion := range slices.Chunk(chat[half:], 20) {
			s.send(portion...)
		}
	}()
	for under := true; under; {
		select {
		case <-sent:
			under = false
		default:
		}
		if found := s.sample(now, everything); len(found.Differences) > 0 || !found.Whole {
			t.Fatalf("it differs from its topics: %+v", found)
		}
	}
	all := s.sample(now, everything)
	some := s.sample(now, all.Conversations/4)
	if some.Conversations == 0 || some.Conversations >= all.Conversations || some.Replies < some.Conversations || len(some.Differences) > 0 {
		t.Errorf("of %d conversations %+v", all.Conversations, some)
	}

	conn, db := sandboxtest.ClickHouse(t), s.database+"_g1"
	for _, c := range []struct{ change, ours, others string }{
		{
			"INSERT INTO {db}.registers SELECT app, owner, conversation_id, register, (g.1, g.2 + 1, g.3, 'corrupted') FROM (SELECT app, owner, conversation_id, register, max(greatest) AS g FROM {db}.registers WHERE owner = 'ann at last' AND register = 'draft' GROUP BY ALL)",
			`"corrupted"`, "",
		},
		{"ALTER TABLE {db}.registers DELETE WHERE owner = 'ann at last' AND register = 'draft' SETTINGS mutations_sync = 2", `""`, ""},
		{
			"ALTER TABLE {db}.registers DELETE WHERE owner = 'ann at last' SETTINGS mutations_sync = 2", `""`,
			"lastMessage.fromAccount lastMessage.lastSequence lastMessage.lastTime lastMessage.messageID lastMessage.type listed order",
		},
	} {
		if err := conn.Exec(t.Context(), strings.ReplaceAll(c.change, "{db}", db)); err != nil {
			t.Fatal(err)
		}
		found := s.sample(now, everything)
		if len(found.Differences) != 1 || !found.Whole || found.Replies != all.Replies {
			t.Fatalf("%s: %+v", c.change, found)
		}
		d := found.Differences[0]
		var others []string
		for _, f := range d.Fields[1:] {
			others = append(others, f.Field)
		}
		if draft := (rebuild.Field{Field: "draftText", Ours: c.ours, Theirs: `"hello"`}); d.App != "demo" || d.UserID != "ann at last" ||
			d.ConversationID != "C2Cbob at last" || d.Fields[0] != draft || strings.Join(others, " ") != c.others {
			t.Errorf("%s: %+v", c.change, d)
		}
	}
}
