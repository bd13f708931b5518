package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
)

func TestList_Reply(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(10*time.Hour),
		&events.GroupProfileChanged{GroupID: "g", Name: "G", Avatar: "g.png", Type: "Public", Introduction: "not in a list"},
		joined("ann", "g", 1))
	sent := group("ben", "g", 3, "<b>&</b> \u2028", "ann")
	sent.Nick, sent.NameCard, sent.Avatar, sent.CloudCustomData = "Ben", "B.", "b.png", "cloud"
	f.fold(ago(9*time.Hour), sent)
	recalled := c2c("ben", "ann", 4, "oops")
	f.fold(ago(8*time.Hour), recalled,
		&events.MessageRecalled{Conversation: events.C2C("ben", "ann"), Sequence: 4, Revoker: "ben", Reason: "typo"},
		&events.UserProfileChanged{UserID: "ben", Nick: "Benny", Avatar: "n.png", Location: "not in a list"},
		read("ben", "C2Cann", 2))
	f.fold(ago(7*time.Hour),
		marked("ann", "C2Cben", 1, 3), grouped("ann", "C2Cben", "a", "b"), remind("ann", "C2Cben", "AcceptNotNotify"),
		&events.ConversationCustomDataSet{ConversationOf: of("ann", "C2Cben"), CustomData: "custom"},
		&events.ConversationDraftSet{ConversationOf: of("ann", "C2Cben"), DraftText: "draft"},
		&events.FriendRemarkSet{UserID: "ann", FriendID: "ben", Remark: "my Ben"})
	f.fold(ago(6*time.Hour), system("ann", 1, "news"), pinned("ann", "@TIM#SYSTEM"),
		&events.ConversationCleared{ConversationOf: of("ann", "@TIM#SYSTEM"), ThroughSequence: 1})

	const empty = `{"messageID":"","lastTime":0,"lastSequence":0,"fromAccount":"","messageForShow":"","type":"","payload":null,` +
		`"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":false,"nick":"","nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":0}`
	const want = `{"code":0,"data":{"conversationList":[` +
		`{"conversationID":"@TIM#SYSTEM","type":"@TIM#SYSTEM","subType":"","unreadCount":0,"lastMessage":` + empty +
		`,"groupAtInfoList":[],"peerReadTime":0,"isPinned":true,"messageRemindType":"AcceptAndNotify","markList":[],"customData":"",` +
		`"conversationGroupList":[],"draftText":"","remark":"","userProfile":null,"groupProfile":null},` +
		`{"conversationID":"C2Cben","type":"C2C","subType":"","unreadCount":0,"lastMessage":{"messageID":"m-oops","lastTime":1795406400,` +
		`"lastSequence":4,"fromAccount":"ben","messageForShow":"","type":"TIMTextElem","payload":null,"isRevoked":true,"revoker":"ben",` +
		`"revokeReason":"typo","isPeerRead":false,"nick":"","nameCard":"","avatar":"","cloudCustomData":"","onlineOnlyFlag":false,"version":0},` +
		`"groupAtInfoList":[],"peerReadTime":1795406400,"isPinned":false,"messageRemindType":"AcceptNotNotify","markList":[1,3],"customData":"custom",` +
		`"conversationGroupList":["a","b"],"draftText":"draft","remark":"my Ben","userProfile":{"userID":"ben","nick":"Benny","avatar":"n.png"},"groupProfile":null},` +
		`{"conversationID":"GROUPg","type":"GROUP","subType":"Public","unreadCount":1,"lastMessage":{"messageID":"m-<b>&</b> ` + "\u2028" + `","lastTime":1795402800,` +
		`"lastSequence":3,"fromAccount":"ben","messageForShow":"<b>&</b> ` + "\u2028" + `","type":"TIMTextElem","payload":{"text":"\u003cb\u003e\u0026\u003c/b\u003e \u2028"},` +
		`"isRevoked":false,"revoker":null,"revokeReason":"","isPeerRead":false,"nick":"Ben","nameCard":"B.","avatar":"b.png","cloudCustomData":"cloud","onlineOnlyFlag":false,"version":0},` +
		`"groupAtInfoList":[{"from":"ben","groupID":"g","messageSequence":3,"atTypeArray":[1]}],"peerReadTime":0,"isPinned":false,"messageRemindType":"AcceptAndNotify",` +
		`"markList":[],"customData":"","conversationGroupList":[],"draftText":"","remark":"","userProfile":null,"groupProfile":{"groupID":"g","name":"G","avatar":"g.png","type":"Public"}}` +
		`],"isSyncCompleted":true,"removed":[],"reset":false},"nextCursor":"","syncToken":""}`
	code, got := f.ask("list", `{"userID":"ann"}`)
	if diff := cmp.Diff(want, got); code != "0" || diff != "" {
		t.Errorf("%s (-want +got)\n%s", code, diff)
	}

	const nobody = `{"code":0,"data":{"conversationList":[],"isSyncCompleted":true,"removed":[],"reset":false},"nextCursor":"","syncToken":""}`
	for _, c := range [][2]string{{"demo", `{"userID":"zoe"}`}, {"other", `{"userID":"ann"}`}, {"demo", `{"userID":"ann","conversationIDList":[]}`}} {
		if code, got := f.askApp(c[0], "list", c[1]); code != "0" || got != nobody {
			t.Errorf("%s %s: %s %s", c[0], c[1], code, got)
		}
	}
}

func TestList_Filters(t *testing.T) {
	f := start(t, some())
	all := []string{"@TIM#SYSTEM", "GROUPg1", "C2Cben", "C2Cann", "GROUPg2", "C2Ccid"}
	for _, c := range []struct {
		filters string
		want    []string
	}{
		{``, all},
		{`,"type":"C2C"`, []string{"C2Cben", "C2Cann", "C2Ccid"}},
		{`,"type":"GROUP"`, []string{"GROUPg1", "GROUPg2"}},
		{`,"type":"@TIM#SYSTEM"`, []string{"@TIM#SYSTEM"}},
		{`,"markType":1`, []string{"C2Cben"}},
		{`,"markType":3`, []string{}},
		{`,"markType":4`, []string{"C2Cdan"}},
		{`,"markType":0`, []string{"@TIM#SYSTEM", "GROUPg1", "C2Cann", "GROUPg2", "C2Ccid"}},
		{`,"groupName":"work"`, []string{"GROUPg1", "C2Cben"}},
		{`,"groupName":"fun"`, []string{"GROUPg1"}},
		{`,"groupName":"none"`, []string{}},
		{`,"groupName":""`, []string{"@TIM#SYSTEM", "C2Cann", "GROUPg2", "C2Ccid"}},
		{`,"hasUnreadCount":true`, []string{"@TIM#SYSTEM", "GROUPg1", "C2Cben", "C2Ccid"}},
		{`,"hasUnreadCount":false`, []string{"C2Cann", "GROUPg2"}},
		{`,"hasGroupAtInfo":true`, []string{"GROUPg1"}},
		{`,"hasGroupAtInfo":false`, []string{"@TIM#SYSTEM", "C2Cben", "C2Cann", "GROUPg2", "C2Ccid"}},
		{`,"type":"C2C","groupName":"","hasUnreadCount":true`, []string{"C2Ccid"}},
		{`,"type":"GROUP","markType":1`, []string{}},

		{`,"conversationIDList":["C2Ccid","C2Cdan","C2Ccid","GROUPg1","GROUPg3","GROUPg4","GROUPnone","C2Cnone","C2Czoe"]`, []string{"C2Cdan", "GROUPg1", "C2Ccid"}},
		{`,"conversationIDList":["C2Cdan","C2Cben"],"markType":0`, []string{}},
		{`,"conversationIDList":["C2Cdan","C2Cben"],"type":"C2C","markType":4`, []string{"C2Cdan"}},
		{`,"conversationIDList":["@TIM#SYSTEM"]`, []string{"@TIM#SYSTEM"}},
		{`,"conversationIDList":[]`, []string{}},
	} {
		got := f.list(`{"userID":"ann"` + c.filters + `}`).ids(t)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.filters, diff)
		}
		// The same in pages of one.
		paged := []string{}
		cursor := ""
		for range all {
			page := f.list(`{"userID":"ann","limit":1` + cursor + c.filters + `}`)
			paged = append(paged, page.ids(t)...)
			if page.NextCursor == "" {
				break
			}
			cursor = `,"cursor":"` + page.NextCursor + `"`
		}
		if diff := cmp.Diff(c.want, paged); diff != "" {
			t.Errorf("%s in pages (-want +got)\n%s", c.filters, diff)
		}
	}
}

func TestList_HiddenUntilTheNextMessage(t *testing.T) {
	f := start(t, some())
	contains := func(filters string) bool {
		return slices.Contains(f.list(`{"userID":"ann"`+filters+`}`).ids(t), "C2Cdan")
	}
	if contains(``) || contains(`,"type":"C2C"`) || contains(`,"markType":0`) || contains(`,"groupName":""`) {
		t.Error("a hidden conversation is in a list")
	}
	f.fold(ago(time.Minute), c2c("dan", "ann", 2, "again"))
	if !contains(``) || !contains(`,"markType":4`) || !contains(`,"groupName":""`) {
		t.Error("a new message does not bring it back")
	}
}

func TestList_CutAndLimit(t *testing.T) {
	f := start(t, some())
	f.fold(ago(time.Hour), plan(3))
	whole := f.list(`{"userID":"ann"}`)
	if diff := cmp.Diff([]string{"@TIM#SYSTEM", "GROUPg1", "C2Cben"}, whole.ids(t)); diff != "" || whole.NextCursor != "" {
		t.Errorf("the cut (-want +got)\n%s", diff)
	}
	// Filters come before the cut.
	if diff := cmp.Diff([]string{"C2Cben", "C2Cann", "C2Ccid"}, f.list(`{"userID":"ann","type":"C2C"}`).ids(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	page := f.list(`{"userID":"ann","limit":2}`)
	if diff := cmp.Diff([]string{"@TIM#SYSTEM", "GROUPg1"}, page.ids(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	page = f.list(`{"userID":"ann","limit":3,"cursor":"` + page.NextCursor + `"}`)
	if diff := cmp.Diff([]string{"C2Cben"}, page.ids(t)); diff != "" || page.NextCursor != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// By conversationIDList nothing is cut, but a page is no longer.
	const byID = `{"userID":"ann","conversationIDList":["C2Ccid","GROUPg2","C2Cann","C2Cben"]`
	page = f.list(byID + `}`)
	if diff := cmp.Diff([]string{"C2Cben", "C2Cann", "GROUPg2"}, page.ids(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	page = f.list(byID + `,"cursor":"` + page.NextCursor + `"}`)
	if diff := cmp.Diff([]string{"C2Ccid"}, page.ids(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	const refused = "limit 4: expected an integer from 1 to 3, the app's maxConversations"
	f.refuses("list", `{"userID":"ann","limit":4}`, "400", refused)
	f.refuses("list", `{"userID":"ann","limit":4,"conversationIDList":["C2Ccid"]}`, "400", refused)
	f.refuses("list", `{"userID":"zoe","limit":4}`, "400", refused)
}

func TestList_DefaultPlan(t *testing.T) {
	f := start(t, newMemory())
	for i := range 101 {
		f.fold(ago(time.Hour), c2c(fmt.Sprintf("u%03d", i), "ann", 1, "x"))
	}
	got := f.list(`{"userID":"ann"}`)
	if ids := got.ids(t); len(ids) != 100 || ids[0] != "C2Cu000" || ids[99] != "C2Cu099" || got.NextCursor != "" {
		t.Errorf("%d conversations, cursor %q", len(ids), got.NextCursor)
	}
	f.refuses("list", `{"userID":"ann","limit":101}`, "400", "limit 101: expected an integer from 1 to 100, the app's maxConversations")
}

func TestList_CursorOfAnother(t *testing.T) {
	f := start(t, some())
	cursor := f.list(`{"userID":"ann","limit":1}`).NextCursor
	for _, r := range []string{
		`{"userID":"ben","cursor":"` + cursor + `"}`,
		`{"userID":"ann","type":"C2C","cursor":"` + cursor + `"}`,
		`{"userID":"ann","cursor":""}`,
		`{"userID":"ann","cursor":"garbage"}`,
	} {
		if code, message := f.ask("list", r); code != "400" || !strings.HasPrefix(message, "cursor ") {
			t.Errorf("%s: %s %s", r, code, message)
		}
	}
	if code, _ := f.askApp("other", "list", `{"userID":"ann","cursor":"`+cursor+`"}`); code != "400" {
		t.Errorf("another app: %s", code)
	}
}

// Elsewhere paging skips or repeats while the list changes. Here between two
// pages conversations move up, vanish and appear, and what did not change is
// seen once.
func TestElsewhere_PagingSkipsOrRepeatsWhileTheListChanges(t *testing.T) {
	f := start(t, newMemory())
	var unchanged []string
	for i := range 60 {
		peer := fmt.Sprintf("u%02d", i)
		f.fold(ago(time.Duration(i%7+2)*time.Hour), c2c(peer, "ann", 1, "x")) // many at the same time
		if i%10 == 0 {
			f.fold(ago(time.Hour), pinned("ann", "C2C"+peer))
		}
		if i%3 == 1 {
			unchanged = append(unchanged, "C2C"+peer)
		}
	}
	seen := map[string]int{}
	cursor := ""
	for step := uint64(0); ; step++ {
		page := f.list(`{"userID":"ann","limit":5` + cursor + `}`)
		for _, id := range page.ids(t) {
			seen[id]++
		}
		if page.NextCursor == "" {
			break
		}
		cursor = `,"cursor":"` + page.NextCursor + `"`
		for i := step * 5; i < step*5+5; i++ {
			peer := fmt.Sprintf("u%02d", i*7%60)
			switch i * 7 % 60 % 3 {
			case 0:
				f.fold(ago(30*time.Minute-time.Duration(i)*time.Second), c2c(peer, "ann", 2+i, "moves up"))
			case 2:
				f.fold(ago(time.Minute), &events.ConversationDeleted{ConversationOf: of("ann", "C2C"+peer), ThroughSequence: 1})
			}
		}
		f.fold(ago(time.Minute), c2c(fmt.Sprintf("new%d", step), "ann", 1, "appears"))
	}
	for _, id := range unchanged {
		if seen[id] != 1 {
			t.Errorf("%s was seen %d times", id, seen[id])
		}
	}
}

func TestList_PageEndsEarlyAtTheMaximumPayload(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(time.Hour), plan(1000))
	draft := strings.Repeat("\x01", 4096) // 6 bytes each in JSON
	var want []string
	for i := range 100 {
		peer := fmt.Sprintf("u%03d", i)
		f.fold(ago(time.Hour), c2c(peer, "ann", 1, "x"),
			&events.ConversationDraftSet{ConversationOf: of("ann", "C2C"+peer), DraftText: draft})
		want = append(want, "C2C"+peer)
	}
	var got []string
	cursor, pages := "", 0
	for {
		page := f.list(`{"userID":"ann"` + cursor + `}`)
		got, pages = append(got, page.ids(t)...), pages+1
		if page.NextCursor == "" {
			break
		}
		cursor = `,"cursor":"` + page.NextCursor + `"`
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
		t.Errorf("%d pages (-want +got)\n%s", pages, diff)
	}
}

// A conversation that alone is larger than a reply may be is refused, and does
// not bar the way to those after it.
func TestList_GoesOnAfterAnItemOverTheMaximumPayload(t *testing.T) {
	f := start(t, newMemory())
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("%02d", i)+strings.Repeat("\x01", 4094))
	}
	for i, peer := range []string{"a", "fat", "b", "fatter", "fattest"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
		if strings.HasPrefix(peer, "fat") {
			f.fold(ago(time.Hour), grouped("ann", "C2C"+peer, names...))
		}
	}
	var got []string
	cursor := ""
	for {
		m, err := f.client.Request("convoview.v1.demo.conversation.list", []byte(`{"userID":"ann"`+cursor+`}`), 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var next string
		if codeOf(m) == "413" {
			var refused replyError
			if err := json.Unmarshal(m.Data, &refused); err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(refused.Message, `conversation "`), `"`)
			got, next = append(got, "413 "+id), refused.NextCursor
		} else {
			page := parseList(t, m.Data)
			got, next = append(got, page.ids(t)...), page.NextCursor
		}
		if next == "" {
			break
		}
		cursor = `,"cursor":"` + next + `"`
	}
	if diff := cmp.Diff([]string{"C2Ca", "413 C2Cfat", "C2Cb", "413 C2Cfatter", "413 C2Cfattest"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestList_LargePayloadsAreLeftOut(t *testing.T) {
	f := start(t, newMemory())
	for i, size := range []int{1024, 1025} {
		m := c2c(fmt.Sprintf("u%d", i), "ann", 1, "x")
		m.Payload = []byte(`{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`)
		f.fold(ago(time.Hour), m)
	}
	list := f.list(`{"userID":"ann"}`).Data.ConversationList
	if s := string(list[0]); !strings.Contains(s, `"payload":{"text":"xxx`) || strings.Contains(s, "payloadOmitted") {
		t.Errorf("1 KB: %s", s)
	}
	if s := string(list[1]); !strings.Contains(s, `"payload":null,"payloadOmitted":true,"isRevoked"`) {
		t.Errorf("over 1 KB: %s", s)
	}
	for _, peer := range []string{"u0", "u1"} {
		_, body := f.ask("profile", `{"userID":"ann","conversationID":"C2C`+peer+`"}`)
		if !strings.Contains(body, `"payload":{"text":"xxx`) || strings.Contains(body, "payloadOmitted") {
			t.Errorf("profile: %s", body)
		}
	}
}

func TestList_Erased(t *testing.T) {
	f := start(t, some())
	f.fold(ago(time.Minute), &events.UserErased{UserID: "ben"})
	want := []string{"@TIM#SYSTEM", "GROUPg1", "C2Cann", "GROUPg2", "C2Ccid"}
	got := f.list(`{"userID":"ann"}`)
	if diff := cmp.Diff(want, got.ids(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s := string(got.Data.ConversationList[1])
	for _, part := range []string{
		`"unreadCount":1`, `"fromAccount":"","messageForShow":"","type":"TIMTextElem","payload":null,"isRevoked":true,"revoker":null`,
		`"groupAtInfoList":[{"from":"","groupID":"g1","messageSequence":7,"atTypeArray":[1]}]`,
	} {
		if !strings.Contains(s, part) {
			t.Errorf("no %s in %s", part, s)
		}
	}
	f.fold(ago(time.Minute), &events.UserErased{UserID: "ann"})
	if got := f.list(`{"userID":"ann"}`).ids(t); len(got) != 0 {
		t.Errorf("an erased user's list: %v", got)
	}
	f.refuses("profile", `{"userID":"ann","conversationID":"C2Cann"}`, "404", `conversationID "C2Cann": expected a conversation known to user "ann"`)
}

func TestList_OddIDs(t *testing.T) {
	f := start(t, newMemory())
	for _, id := range []string{"a.b", "*", ">", "a b/%", "😀", "C2C", `"\`, "<&>", strings.Repeat("é", 64)} {
		f.fold(ago(time.Hour), c2c("peer", id, 1, "x"), c2c(id, id, 1, "y"), joined(id, id, 0), group(id, id, 1, "z"))
		r := request(map[string]any{"userID": id, "conversationIDList": []string{"C2C" + id, "GROUP" + id}})
		if diff := cmp.Diff([]string{"C2C" + id, "GROUP" + id}, f.list(r).ids(t)); diff != "" {
			t.Errorf("%q (-want +got)\n%s", id, diff)
		}
		r = request(map[string]any{"userID": id, "conversationID": "GROUP" + id})
		if code, body := f.ask("profile", r); code != "0" {
			t.Errorf("%q: %s %s", id, code, body)
		}
		r = request(map[string]any{"userID": "nobody é😀", "conversationID": "GROUP" + id})
		if code, body := f.ask("profile", r); code != "404" || !strings.HasSuffix(body, `known to user "nobody é😀"`) {
			t.Errorf("%q: %s %s", id, code, body)
		}
	}
}

func TestList_ManyConversationIDs(t *testing.T) {
	f := start(t, newMemory(), func(c *Config) { c.BatchKeys = 7 })
	f.fold(ago(time.Hour), plan(1000))
	var ids []string
	for i := range 500 {
		id := fmt.Sprintf("u%03d", i)
		f.fold(ago(time.Hour), c2c(id, "ann", 1, "x"))
		ids = append(ids, "C2C"+id)
	}
	got := f.list(request(map[string]any{"userID": "ann", "conversationIDList": ids})).ids(t)
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestList_ThatNeverRests has something else be lacking of a user's list whenever what was
// lacking is loaded: it is answered as it was at one moment since it was asked for.
func TestList_ThatNeverRests(t *testing.T) {
	for _, c := range []struct {
		name, loads string
		next        func(i uint64) []events.Body
	}{
		{"one stranger after the other writes", "users", func(i uint64) []events.Body {
			return []events.Body{c2c(fmt.Sprintf("stranger-%03d", i), "ann", 1, fmt.Sprint(i))}
		}},
		{"all that is said in a group is modified", "edits", func(i uint64) []events.Body {
			return []events.Body{
				group("cid", "g1", 100+i, "first"),
				&events.MessageModified{Conversation: events.Group("g1"), Sequence: 100 + i, Version: 1, HasMessageForShow: true, MessageForShow: fmt.Sprint(i)},
			}
		}},
	} {
		for _, fields := range []string{``, `,"sync":true`, `,"limit":3`, `,"sync":true,"since":"token"`} {
			t.Run(c.name+fields, func(t *testing.T) {
				m := some()
				f := startFollowing(t, m, always{})
				token := f.list(`{"userID":"ann","sync":true}`).SyncToken
				request := `{"userID":"ann"` + strings.Replace(fields, "token", token, 1) + `}`
				gone := &events.ConversationDeleted{ConversationOf: of("ann", "C2Ccid"), ThroughSequence: 1}
				m.fold(ago(2*time.Minute), gone)
				f.worker.Apply(modelOf(ago(2*time.Minute), gone), nil)
				var happened atomic.Uint64
				happen := func() {
					i := happened.Add(1)
					at, bodies := ago(time.Minute-time.Duration(i)*time.Second), c.next(i)
					m.fold(at, bodies...)
					f.worker.Apply(modelOf(at, bodies...), nil)
				}
				m.intercept(func(_ context.Context, name string) error {
					if name == c.loads {
						happen()
					}
					if happened.Load() > 50 {
						return errors.New("it is loaded again and again")
					}
					return nil
				})
				happen()
				code, body := f.ask("list", request)
				m.intercept(nil)
				if code != "0" {
					t.Fatalf("got %s %s", code, body)
				}
				// The latest that it shows says at what moment it is, and all else is as it was then.
				shown := uint64(0)
				for _, item := range parseList(t, []byte(body)).Data.ConversationList {
					var says struct {
						LastMessage struct{ MessageForShow string }
					}
					if err := json.Unmarshal(item, &says); err != nil {
						t.Fatal(err)
					}
					if i, err := strconv.ParseUint(says.LastMessage.MessageForShow, 10, 64); err == nil {
						shown = max(shown, i)
					}
				}
				if shown == 0 {
					t.Fatalf("it shows nothing of what happens: %s", body)
				}
				then := some()
				then.fold(ago(2*time.Minute), gone)
				for i := range shown {
					then.fold(ago(time.Minute-time.Duration(i+1)*time.Second), c.next(i+1)...)
				}
				if want := startFollowing(t, then, always{}).mustList(request); body != want {
					t.Errorf("want %s\ngot  %s", want, body)
				}
				all := f.worker.cache()
				all.table.InvalidateAll()
				f.await("nothing is held", func() bool {
					return heldBy(all.apps)+heldBy(all.groups)+heldBy(all.people)+heldBy(all.edits)+heldBy(all.senders)+int(all.shared.Load()) == 0
				})
			})
		}
	}
}

func (f *fixture) mustList(request string) string {
	f.t.Helper()
	code, body := f.ask("list", request)
	if code != "0" {
		f.t.Fatalf("list %s: %s %s", request, code, body)
	}
	return body
}
