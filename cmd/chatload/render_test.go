package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/client"
)

var update = flag.Bool("update", false, "write the golden files again")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var renderNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// before is a time in seconds so long before renderNow.
func before(d time.Duration) int64 { return renderNow.Add(-d).Unix() }

func testItem(id string, last client.LastMessage, changes ...func(*client.Conversation)) client.Conversation {
	c := client.Conversation{}
	c.ConversationID, c.LastMessage, c.MessageRemindType = id, last, "AcceptAndNotify"
	switch {
	case strings.HasPrefix(id, "C2C"):
		c.Type = "C2C"
		c.UserProfile = &client.UserInfo{UserID: id[3:]}
	case strings.HasPrefix(id, "GROUP"):
		c.Type = "GROUP"
		c.GroupProfile = &client.GroupInfo{GroupID: id[5:]}
	default:
		c.Type = id
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func said(by, text string, ago time.Duration) client.LastMessage {
	return client.LastMessage{MessageID: "m1", LastSequence: 9, LastTime: before(ago), FromAccount: by, MessageForShow: text, Type: "TIMTextElem"}
}

func nicked(nick string) func(*client.Conversation) {
	return func(c *client.Conversation) { c.UserProfile.Nick = nick }
}

func called(name string) func(*client.Conversation) {
	return func(c *client.Conversation) { c.GroupProfile.Name = name }
}

func testList() client.List {
	bob := "bob"
	var r client.List
	r.ConversationList = []client.Conversation{
		testItem("C2Cbob", said("ann", "See you at noon", 2*time.Second), nicked("Bob Hughes"), func(c *client.Conversation) {
			c.IsPinned, c.LastMessage.IsPeerRead, c.MarkList = true, true, []uint64{1}
		}),
		testItem("GROUPhikers", said("leo", "Who has the map?", 40*time.Second), called("Weekend Hikers 🥾"), func(c *client.Conversation) {
			c.UnreadCount, c.LastMessage.Nick, c.LastMessage.NameCard = 12, "Leo Clark", "Leo · guide"
			c.GroupAtInfoList = []client.GroupAtInfo{{From: "leo", AtTypeArray: []int{2}}, {From: "leo", AtTypeArray: []int{1}}}
		}),
		testItem("GROUPall", said("x", "[Image]", 5*time.Minute), called("旅行の計画"), func(c *client.Conversation) {
			c.UnreadCount, c.LastMessage.Nick = 1234, "さくら"
			c.GroupAtInfoList = []client.GroupAtInfo{{AtTypeArray: []int{2}}}
			c.MessageRemindType = "Discard"
		}),
		testItem("C2Cmei", said("mei", "你好,今天下午一起去图书馆吗?我想把那本书还掉,然后我们可以喝杯咖啡聊聊天再回家。", 3*time.Hour), nicked("李娜"), func(c *client.Conversation) {
			c.UnreadCount, c.DraftText = 1, "好的"
		}),
		testItem("C2Ccara", said("cara", "", 26*time.Hour), nicked("Cara"), func(c *client.Conversation) {
			c.Remark = "Cara next door"
			c.LastMessage.IsRevoked, c.LastMessage.Revoker, c.LastMessage.RevokeReason = true, &bob, "off topic"
		}),
		testItem("C2Cdan", said("ann", "fixed the typo", 8*24*time.Hour), func(c *client.Conversation) {
			c.LastMessage.Version = 2
			c.MarkList = []uint64{2, 3, 4}
		}),
		testItem("C2C*.> \u202eabc", said("evil", "line\nbreak\tand \x1b]0;title\a\u200f escape", 400*24*time.Hour)),
		testItem("@TIM#SYSTEM", said("", "You signed in on a new device.", 3*24*time.Hour), func(c *client.Conversation) { c.UnreadCount = 3 }),
		testItem("GROUPtip", said("leo", "Mia joined the group", time.Hour), called("Choir"), func(c *client.Conversation) {
			c.LastMessage.Type = "TIMGroupTipElem"
		}),
		testItem("GROUPcleared", client.LastMessage{}, called("A group with a name that is far too long for its column 👩‍👩‍👧‍👦 in any table"), func(c *client.Conversation) {
			c.MessageRemindType = "AcceptNotNotify"
		}),
	}
	return r
}

func TestRenderList(t *testing.T) {
	for name, c := range map[string]struct {
		width  int
		userID string
		list   func(*client.List)
	}{
		"list":        {100, "ann", func(*client.List) {}},
		"list-narrow": {64, "ann", func(*client.List) {}},
		"list-short":  {100, "ann", func(r *client.List) { r.ConversationList = r.ConversationList[:1] }},
		"list-stranger": {100, "", func(r *client.List) {
			r.ConversationList = r.ConversationList[:2]
		}},
		"list-changes": {100, "ann", func(r *client.List) {
			r.ConversationList = nil
			r.Removed, r.Reset = []string{"C2Cgone", "GROUPleft\x1b[0m"}, true
			r.NextCursor, r.SyncToken = "Y3Vyc29y", "dG9rZW4"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testList()
			c.list(&r)
			var b bytes.Buffer
			if err := renderList(&b, r, c.userID, renderNow, c.width); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.String())
			for line := range strings.Lines(b.String()) {
				if n := columns(strings.TrimSuffix(line, "\n")); n > c.width && !strings.HasPrefix(line, "since") {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

func TestRenderProfile(t *testing.T) {
	user := client.Profile{Item: testList().ConversationList[0].Item}
	user.UserProfile = &client.UserDetails{UserInfo: *testList().ConversationList[0].UserProfile}
	user.PeerReadTime = before(time.Minute)
	user.LastMessage.Payload = json.RawMessage(`{"text":"See you at noon"}`)
	user.ConversationGroupList, user.CustomData, user.DraftText = []string{"family", "work"}, `{"color":"teal"}`, "and then"
	u := user.UserProfile
	u.Avatar, u.Gender, u.Birthday, u.Location, u.SelfSignature, u.Level, u.LastUpdatedTime = "https://example.com/bob.png", "Gender_Type_Male", 19900102, "Porto", "Coffee first.", 7, before(time.Hour)

	group := client.Profile{Item: testList().ConversationList[1].Item}
	group.GroupProfile = &client.GroupDetails{GroupInfo: *testList().ConversationList[1].GroupProfile}
	group.SubType = "Public"
	g := group.GroupProfile
	g.Introduction, g.OwnerID, g.CreateTime, g.MemberCount, g.MuteAllMembers, g.NextMessageSeq = "We walk.", "leo", before(1000*time.Hour), 42, true, 10
	g.SelfInfo = client.SelfInfo{UserID: "ann", Role: "Member", NameCard: "Ann · map", JoinTime: before(900 * time.Hour), JoinSequence: 3, ReadedSequence: 4}
	for name, item := range map[string]client.Profile{"profile-user": user, "profile-group": group} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := renderProfile(&b, &item, "ann", renderNow, 100); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.String())
		})
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "long…"},
		{"图书馆", 6, "图书馆"},
		{"图书馆", 5, "图书…"},
		{"图书馆", 4, "图…"},
		{"👩‍👩‍👧‍👦x", 3, "👩‍👩‍👧‍👦x"},
		{"👩‍👩‍👧‍👦xy", 3, "👩‍👩‍👧‍👦…"},
		{"e\u0301clair", 3, "e\u0301c…"},
		{"ab", 1, "…"},
	} {
		if got := fit(c.text, c.width); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
