package feed_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/schemas/schematest"
)

func TestPublisher_Notices(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	sub, err := nc.SubscribeSync("convoview.v1.*.changed.>")
	if err != nil {
		t.Fatal(err)
	}
	annBob := events.ConversationOf{UserID: "ann", ConversationID: "C2Cbob"}
	annHike := events.ConversationOf{UserID: "ann", ConversationID: "GROUPhi ke"}
	schema := schematest.Compile(t, "asyncapi.yaml#/components/messages/notice/payload")
	sent := func(c events.Conversation, from string, at ...string) events.Body {
		return &events.MessageSent{Conversation: c, From: from, MessageID: "m", Sequence: 1, Type: events.TypeText, AtUsers: at}
	}
	for _, c := range []struct {
		name   string
		bodies []events.Body
		want   []string // subject after the app, conversations, kinds
	}{
		{"a C2C message, on both ends", []events.Body{sent(events.C2C("ann", "bob"), "bob")}, []string{
			"user.ann C2Cbob message", "user.bob C2Cann message",
		}},
		{"a group's message and profile, merged", []events.Body{sent(events.Group("hi ke"), "bob"), &events.GroupProfileChanged{GroupID: "hi ke"}}, []string{
			"group.hi%20ke GROUPhi ke message,profile",
		}},
		{"a system message", []events.Body{sent(events.System("ann"), "")}, []string{"user.ann @TIM#SYSTEM message"}},
		{"a group's message, once", []events.Body{sent(events.Group("hi ke"), "bob", "ann", "carol")}, []string{
			"group.hi%20ke GROUPhi ke message",
		}},
		{"a recall and a modification", []events.Body{
			&events.MessageRecalled{Conversation: events.Group("hi ke"), Sequence: 1},
			&events.MessageModified{Conversation: events.C2C("ann", "bob"), Sequence: 1, Version: 1},
		}, []string{"group.hi%20ke GROUPhi ke message", "user.ann C2Cbob message", "user.bob C2Cann message"}},
		{"a read, on both ends", []events.Body{&events.ConversationRead{ConversationOf: annBob, Sequence: 1}}, []string{
			"user.ann C2Cbob read", "user.bob C2Cann read",
		}},
		{"a read in a group", []events.Body{&events.ConversationRead{ConversationOf: annHike, Sequence: 1}}, []string{"user.ann GROUPhi ke read"}},
		{"registers", []events.Body{
			&events.ConversationPinned{ConversationOf: annBob}, &events.ConversationDeleted{ConversationOf: annHike, ThroughSequence: 1},
		}, []string{"user.ann C2Cbob,GROUPhi ke register"}},
		{"what makes a conversation known and no more", []events.Body{
			&events.ConversationDeleted{ConversationOf: annBob}, &events.ConversationCleared{ConversationOf: annHike},
		}, []string{"user.ann C2Cbob,GROUPhi ke register"}},
		{"a remark", []events.Body{&events.FriendRemarkSet{UserID: "ann", FriendID: "bob"}}, []string{"user.ann C2Cbob register"}},
		{"a membership", []events.Body{&events.GroupMemberChanged{GroupID: "hi ke", UserID: "ann", Status: events.StatusJoined}}, []string{
			"user.ann GROUPhi ke member",
		}},
		{"profiles", []events.Body{
			&events.UserProfileChanged{UserID: "a.*>é"}, &events.GroupProfileChanged{GroupID: "hi ke"},
		}, []string{"group.hi%20ke GROUPhi ke profile", "user.a%2E%2A%3E%C3%A9  profile"}},
		{"an erasure", []events.Body{&events.UserErased{UserID: "ann"}}, []string{"user.ann  erased"}},
		{"a plan is nobody's", []events.Body{&events.AppPlanChanged{MaxConversations: 1}}, nil},
		{"all of a batch, merged", []events.Body{
			sent(events.C2C("ann", "bob"), "bob"), &events.ConversationRead{ConversationOf: annBob, Sequence: 1},
			&events.ConversationPinned{ConversationOf: annHike},
		}, []string{"user.ann C2Cbob,GROUPhi ke message,read,register", "user.bob C2Cann message,read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := projection.NewModel()
			for _, b := range c.bodies {
				model.Fold(events.Event{ID: "e", App: "demo", Time: events.MicrosOf(time.Now()), Body: b})
			}
			begin := time.Now()
			p := feed.NewPublisher(nc)
			if err := errors.Join(p.Announce(t.Context(), changesOf(model), nil, nil, nil), p.Close()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for range c.want {
				m, err := sub.NextMsg(30 * time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(m.Data); err != nil {
					t.Errorf("%s: %v", m.Data, err)
				}
				var n feed.Notice
				if err := json.Unmarshal(m.Data, &n); err != nil {
					t.Fatal(err)
				}
				if n.App != "demo" || n.Subject() != m.Subject || n.Time.Before(begin.Add(-time.Second)) || n.ConversationIDList == nil {
					t.Errorf("%s on %s", m.Data, m.Subject)
				}
				where := strings.TrimPrefix(m.Subject, "convoview.v1.demo.changed.")
				got = append(got, where+" "+strings.Join(n.ConversationIDList, ",")+" "+strings.Join(n.Kinds, ","))
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			if n, _, err := sub.Pending(); n > 0 || err != nil {
				t.Errorf("%d notices more, %v", n, err)
			}
		})
	}
}

// TestPublisher_NoticesOfManyConversations holds that who writes to everybody is told of all
// of it, although it is more than NATS takes at once.
func TestPublisher_NoticesOfManyConversations(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	sub, err := nc.SubscribeSync("convoview.v1.demo.changed.user.all")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	model := projection.NewModel()
	for i := range 5_000 {
		peer := fmt.Sprintf("%04d%s", i, strings.Repeat(`"`, 124))
		want = append(want, "C2C"+peer)
		model.Fold(events.Event{ID: peer, App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.MessageSent{
			Conversation: events.C2C("all", peer), From: "all", MessageID: peer, Sequence: 1, Type: events.TypeText,
		}})
	}
	p := feed.NewPublisher(nc)
	if err := errors.Join(p.Announce(t.Context(), changesOf(model), nil, nil, nil), p.Close()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < len(want) {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var n feed.Notice
		if err := json.Unmarshal(m.Data, &n); err != nil {
			t.Fatal(err)
		}
		got = append(got, n.ConversationIDList...)
		if n.UserID != "all" || !slices.Equal(n.Kinds, []string{"message"}) {
			t.Errorf("%d bytes of %s, kinds %v", len(m.Data), n.UserID, n.Kinds)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestNotice_JSON holds that a notice is written as its tags have it.
func TestNotice_JSON(t *testing.T) {
	for _, n := range []feed.Notice{
		{App: "demo", UserID: "ann \"<\u2028>\"\n", ConversationIDList: []string{"C2Cbob", "GROUPü"}, Kinds: []string{"message", "read"}, Time: time.Unix(1, 5000).UTC()},
		{App: "demo", GroupID: "hike", ConversationIDList: []string{}, Kinds: []string{"profile"}, Time: time.Unix(1, 0).UTC()},
	} {
		var got feed.Notice
		if err := json.Unmarshal(n.Append(nil), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// TestSubjectToken holds what listeners are promised of the last token of a subject: which
// bytes of an ID are in it as they are, and what the others are.
func TestSubjectToken(t *testing.T) {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	for c := range 256 {
		id := string([]byte{byte(c)})
		want := fmt.Sprintf("%%%02X", c)
		if strings.Contains(plain, id) {
			want = id
		}
		for _, beside := range []string{"", ".", plain} {
			if got := feed.SubjectToken(beside + id); got != feed.SubjectToken(beside)+want {
				t.Errorf("%q makes %q, want %q at the end", beside+id, got, want)
			}
		}
	}
	if got := feed.SubjectToken("ü.>*%"); got != "%C3%BC%2E%3E%2A%25" {
		t.Errorf("got %q", got)
	}
}

// TestNotices_ComeByThemselves holds that nobody has to close a publisher to be told.
func TestNotices_ComeByThemselves(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	sub, err := nc.SubscribeSync("convoview.v1.*.changed.>")
	if err != nil {
		t.Fatal(err)
	}
	model := projection.NewModel()
	model.Fold(events.Event{ID: "e", App: "demo", Time: 1, Body: &events.UserProfileChanged{UserID: "ann"}})
	if err := feed.NewPublisher(nc).Announce(t.Context(), changesOf(model), nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(30 * time.Second); err != nil {
		t.Error(err)
	}
}

// TestNotices_ComeAfterTheirAnnouncement holds that whoever asks because of a notice asks
// a worker that has had time to merge what was announced.
func TestNotices_ComeAfterTheirAnnouncement(t *testing.T) {
	s := startServer(t)
	nc := connect(t, s)
	announced, err := nc.SubscribeSync(feed.SubjectPrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	noticed, err := nc.SubscribeSync("convoview.v1.*.changed.>")
	if err != nil {
		t.Fatal(err)
	}
	pending := func(announcements, notices int) {
		t.Helper()
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		a, _, _ := announced.Pending()
		n, _, _ := noticed.Pending()
		if a != announcements || n != notices {
			t.Errorf("%d announcements and %d notices, want %d and %d", a, n, announcements, notices)
		}
	}
	pending(0, 0) // the server knows of both
	var held []func()
	teller := connect(t, s)
	p := feed.NewPublisher(teller)
	p.Hold(func(tell func()) { held = append(held, tell) })
	changed := func(user string) projection.Changes {
		model := projection.NewModel()
		model.Fold(events.Event{ID: "e", App: "demo", Time: 1, Body: &events.UserProfileChanged{UserID: user}})
		return changesOf(model)
	}
	tell := func(user string) {
		t.Helper()
		if err := errors.Join(p.Announce(t.Context(), changed(user), nil, nil, nil), teller.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	tell("ann")
	tell("ben")
	pending(2, 0)
	held[0]()
	if err := teller.Flush(); err != nil {
		t.Fatal(err)
	}
	pending(2, 1)
	if err := errors.Join(p.Close(), teller.Flush()); err != nil {
		t.Fatal(err)
	}
	pending(2, 2)
	for _, user := range []string{"ann", "ben"} { // who was told of last has not waited yet
		m, err := noticed.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != "convoview.v1.demo.changed.user."+user {
			t.Errorf("got %s, want the notice of %s", m.Subject, user)
		}
	}
	held[1]() // too late: it was told
	tell("ann")
	teller.Close()
	held[2]()
	if err := p.Announce(t.Context(), changed("ann"), nil, nil, nil); err == nil || !strings.Contains(err.Error(), "1 notices did not get out") {
		t.Errorf("got %v", err)
	}
	if err := p.Close(); err == nil || err.Error() != "1 notices did not get out" {
		t.Errorf("got %v", err)
	}
}

func changesOf(m *projection.Model) projection.Changes {
	changes := projection.Changes{}
	changes.Add(m)
	return changes
}
