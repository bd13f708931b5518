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

	"github.com/convoview/convoview/internal/projection"
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

func testItem(id string, last projection.LastMessage, changes ...func(*conversation)) conversation {
	c := conversation{}
	c.ConversationID, c.LastMessage, c.MessageRemindType = id, last, "AcceptAndNotify"
	switch {
	case strings.HasPrefix(id, "C2C"):
		c.Type = "C2C"
		c.UserProfile = &projection.UserDetails{UserInfo: projection.UserInfo{UserID: id[3:]}}
	case strings.HasPrefix(id, "GROUP"):
		c.Type = "GROUP"
		c.GroupProfile = &projection.GroupDetails{GroupInfo: projection.GroupInfo{GroupID: id[5:]}}
	default:
		c.Type = id
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func said(by, text string, ago time.Duration) projection.LastMessage {
	return projection.LastMessage{MessageID: "m1", LastSequence: 9, LastTime: before(ago), FromAccount: by, MessageForShow: text, Type: "TIMTextElem"}
}

func nicked(nick string) func(*conversation) {
	return func(c *conversation) { c.UserProfile.Nick = nick }
}

func called(name string) func(*conversation) {
	return func(c *conversation) { c.GroupProfile.Name = name }
}

func testList() listReply {
	bob := "bob"
	r := listReply{UserID: "ann"}
	r.Data.ConversationList = []conversation{
		testItem("C2Cbob", said("ann", "See you at noon", 2*time.Second), nicked("Bob Hughes"), func(c *conversation) {
			c.IsPinned, c.LastMessage.IsPeerRead, c.MarkList = true, true, []uint64{1}
		}),
		testItem("GROUPhikers", said("leo", "Who has the map?", 40*time.Second), called("Weekend Hikers 🥾"), func(c *conversation) {
			c.UnreadCount, c.LastMessage.Nick, c.LastMessage.NameCard = 12, "Leo Clark", "Leo · guide"
			c.GroupAtInfoList = []projection.GroupAtInfo{{From: "leo", AtTypeArray: []int{2}}, {From: "leo", AtTypeArray: []int{1}}}
		}),
		testItem("GROUPall", said("x", "[Image]", 5*time.Minute), called("旅行の計画"), func(c *conversation) {
			c.UnreadCount, c.LastMessage.Nick = 1234, "さくら"
			c.GroupAtInfoList = []projection.GroupAtInfo{{AtTypeArray: []int{2}}}
			c.MessageRemindType = "Discard"
		}),
		testItem("C2Cmei", said("mei", "你好,今天下午一起去图书馆吗?我想把那本书还掉,然后我们可以喝杯咖啡聊聊天再回家。", 3*time.Hour), nicked("李娜"), func(c *conversation) {
			c.UnreadCount, c.DraftText = 1, "好的"
		}),
		testItem("C2Ccara", said("cara", "", 26*time.Hour), nicked("Cara"), func(c *conversation) {
			c.Remark = "Cara next door"
			c.LastMessage.IsRevoked, c.LastMessage.Revoker, c.LastMessage.RevokeReason = true, &bob, "off topic"
		}),
		testItem("C2Cdan", said("ann", "fixed the typo", 8*24*time.Hour), func(c *conversation) {
			c.LastMessage.Version = 2
			c.MarkList = []uint64{2, 3, 4}
		}),
		testItem("C2C*.> \u202eabc", said("evil", "line\nbreak\tand \x1b]0;title\a\u200f escape", 400*24*time.Hour)),
		testItem("@TIM#SYSTEM", said("", "You signed in on a new device.", 3*24*time.Hour), func(c *conversation) { c.UnreadCount = 3 }),
		testItem("GROUPtip", said("leo", "Mia joined the group", time.Hour), called("Choir"), func(c *conversation) {
			c.LastMessage.Type = "TIMGroupTipElem"
		}),
		testItem("GROUPcleared", projection.LastMessage{}, called("A group with a name that is far too long for its column 👩‍👩‍👧‍👦 in any table"), func(c *conversation) {
			c.MessageRemindType = "AcceptNotNotify"
		}),
	}
	return r
}

func TestRenderList(t *testing.T) {
	for name, c := range map[string]struct {
		width int
		list  func(*listReply)
	}{
		"list":        {100, func(*listReply) {}},
		"list-narrow": {64, func(*listReply) {}},
		"list-short":  {100, func(r *listReply) { r.Data.ConversationList = r.Data.ConversationList[:1] }},
		"list-stranger": {100, func(r *listReply) {
			r.UserID = ""
			r.Data.ConversationList = r.Data.ConversationList[:2]
		}},
		"list-changes": {100, func(r *listReply) {
			r.Data.ConversationList = nil
			r.Data.Removed, r.Data.Reset = []string{"C2Cgone", "GROUPleft\x1b[0m"}, true
			r.NextCursor, r.SyncToken = "Y3Vyc29y", "dG9rZW4"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testList()
			c.list(&r)
			var b bytes.Buffer
			if err := renderList(&b, r, renderNow, c.width); err != nil {
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
	user := testList().Data.ConversationList[0]
	user.PeerReadTime = before(time.Minute)
	user.LastMessage.Payload = json.RawMessage(`{"text":"See you at noon"}`)
	user.ConversationGroupList, user.CustomData, user.DraftText = []string{"family", "work"}, `{"color":"teal"}`, "and then"
	u := user.UserProfile
	u.Avatar, u.Gender, u.Birthday, u.Location, u.SelfSignature, u.Level, u.LastUpdatedTime = "https://example.com/bob.png", "Gender_Type_Male", 19900102, "Porto", "Coffee first.", 7, before(time.Hour)

	group := testList().Data.ConversationList[1]
	group.SubType = "Public"
	g := group.GroupProfile
	g.Introduction, g.OwnerID, g.CreateTime, g.MemberCount, g.MuteAllMembers, g.NextMessageSeq = "We walk.", "leo", before(1000*time.Hour), 42, true, 10
	g.SelfInfo = projection.SelfInfo{UserID: "ann", Role: "Member", NameCard: "Ann · map", JoinTime: before(900 * time.Hour), JoinSequence: 3, ReadedSequence: 4}
	for name, item := range map[string]conversation{"profile-user": user, "profile-group": group} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := renderProfile(&b, item, "ann", renderNow, 100); err != nil {
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
