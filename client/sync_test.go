package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convoview/convoview/client"
)

// How a list is put together of what has changed; e2e has it with real lists. An
// item is written ID@time, with ! before it when it is pinned, without a time when
// its last message is cleared.
func TestClient_Sync(t *testing.T) {
	const whole = "the whole list"
	for _, c := range []struct {
		name    string
		list    []string
		changed []string
		removed string
		want    []string
	}{
		{"a new message", []string{"!p@1", "a@9", "b@8"}, []string{"b@10"}, "", []string{"p", "b", "a"}},
		{"a new conversation", []string{"a@9", "b@8"}, []string{"c@1", "d"}, "", []string{"a", "b", "c", "d"}},
		{"between others", []string{"a@9", "b@7"}, []string{"c@8"}, "", []string{"a", "c", "b"}},
		{"removed and changed", []string{"a@9", "b@8", "c@7"}, []string{"a@9"}, `"b"`, []string{"a", "c"}},
		{"pinned", []string{"!p@5", "a@9", "b@8"}, []string{"!b@8"}, "", []string{"b", "p", "a"}},
		{"unpinned", []string{"!p@5", "a@9", "b@3"}, []string{"p@5"}, "", []string{"a", "p", "b"}},
		{"the same message", []string{"a@9", "b@9"}, []string{"b@9"}, "", []string{"a", "b"}},
		{"of the same second", []string{"a@9", "b@8"}, []string{"c@9"}, "", []string{whole}},
		{"cleared", []string{"a@9", "b@8"}, []string{"a"}, "", []string{whole}},
		{"above a cleared one", []string{"a@9", "b", "c@7"}, []string{"d@10"}, "", []string{"d", "a", "b", "c"}},
		{"below a cleared one", []string{"a@9", "b", "c@7"}, []string{"d@6"}, "", []string{"a", "b", "c", "d"}},
		{"above or below a cleared one", []string{"a@9", "b", "c@7"}, []string{"d@8"}, "", []string{whole}},
		{"a cleared one", []string{"a@9", "b", "c@7"}, []string{"b"}, "", []string{whole}},
		{"pinned beside a cleared one", []string{"!p", "a@9"}, []string{"!b@5"}, "", []string{whole}},
		{"nothing", []string{"a@9", "b", "c@7"}, nil, "", []string{"a", "b", "c"}},
		{"everything", nil, []string{"a@9", "b"}, "", []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, []string{"list"}, page("", "1", "", c.list...), page("", "2", `,"removed":[`+c.removed+`]`, c.changed...), page("", "3", "", whole))
			l := &client.LocalList{UserID: "ann"}
			client := newClient(t, client.Config{App: s.app})
			for range 2 {
				if _, err := client.Sync(t.Context(), l); err != nil {
					t.Fatal(err)
				}
			}
			if got := idsOf(l.Conversations); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			want := []string{`list {"userID":"ann","sync":true}`, `list {"userID":"ann","sync":true,"since":"1"}`}
			token := "2"
			if c.want[0] == whole {
				want, token = append(want, want[0]), "3"
			}
			if got := s.asked(); !slices.Equal(got, want) || l.SyncToken != token {
				t.Errorf("got %q and token %s, want %q", got, l.SyncToken, want)
			}
		})
	}
}

// What has changed and stays in its place is as it is now.
func TestClient_SyncChangesInPlace(t *testing.T) {
	item := func(unread int) answer {
		return say(fmt.Sprintf(`{"code":0,"data":{"conversationList":[{"conversationID":"a","unreadCount":%d,`+
			`"lastMessage":{"messageID":"m","lastSequence":9,"lastTime":9}}]},"syncToken":"t"}`, unread))
	}
	s := play(t, []string{"list"}, item(1), item(0))
	c, l := newClient(t, client.Config{App: s.app}), &client.LocalList{UserID: "ann"}
	for _, unread := range []uint64{1, 0} {
		changes, err := c.Sync(t.Context(), l)
		if err != nil || len(changes.Changed) != 1 || len(l.Conversations) != 1 || l.Conversations[0].UnreadCount != unread {
			t.Errorf("got %+v and %+v, %v, want %d unread", changes, l.Conversations, err, unread)
		}
	}
}

// A sync of several pages has the token of the first; one that fails leaves
// everything as it was.
func TestClient_SyncPages(t *testing.T) {
	s := play(t, []string{"list"},
		page("1", "t1", "", "a@9", "b@8"), page("", "", "", "c@6"),
		page("2", "t2", `,"removed":["c"]`, "d@12"), refuse(400, "no", ""),
		page("3", "t3", `,"removed":["c"]`, "d@12"), page("", "", "", "b@10"),
		page("", "t4", `,"reset":true`, "e@1"))
	c := newClient(t, client.Config{App: s.app})
	l := &client.LocalList{UserID: "ann", Filter: client.Filter{Type: client.TypeC2C}}
	if changes, err := c.Sync(t.Context(), l); err != nil || !slices.Equal(idsOf(changes.Changed), []string{"a", "b", "c"}) || l.SyncToken != "t1" {
		t.Errorf("%+v, %v", changes, err)
	}
	before := *l
	if changes, err := c.Sync(t.Context(), l); !errors.Is(err, client.ErrBadRequest) || !reflect.DeepEqual(changes, client.Changes{}) || !reflect.DeepEqual(*l, before) {
		t.Errorf("%+v, %v", changes, err)
	}
	changes, err := c.Sync(t.Context(), l, client.Offset{Topic: "t", Offset: 1})
	if err != nil || !slices.Equal(idsOf(changes.Changed), []string{"d", "b"}) || !slices.Equal(changes.Removed, []string{"c"}) {
		t.Errorf("%+v, %v", changes, err)
	}
	if got := idsOf(l.Conversations); !slices.Equal(got, []string{"d", "b", "a"}) || l.SyncToken != "t3" {
		t.Errorf("%q, %s", got, l.SyncToken)
	}
	changes, err = c.Sync(t.Context(), l)
	if err != nil || !slices.Equal(idsOf(changes.Changed), []string{"e"}) || len(changes.Removed) != 3 || !slices.Equal(idsOf(l.Conversations), []string{"e"}) {
		t.Errorf("%+v, %v", changes, err)
	}
	want := []string{
		`list {"userID":"ann","type":"C2C","sync":true}`,
		`list {"userID":"ann","type":"C2C","cursor":"1","sync":true}`,
		`list {"userID":"ann","type":"C2C","sync":true,"since":"t1"}`,
		`list {"userID":"ann","type":"C2C","cursor":"2","sync":true,"since":"t1"}`,
		`list {"userID":"ann","type":"C2C","sync":true,"since":"t1","after":[{"topic":"t","partition":0,"offset":1}]}`,
		`list {"userID":"ann","type":"C2C","cursor":"3","sync":true,"since":"t1","after":[{"topic":"t","partition":0,"offset":1}]}`,
		`list {"userID":"ann","type":"C2C","sync":true,"since":"t3"}`,
	}
	if got := s.asked(); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// A list that begins anew on a later page is the list from there on, with that page's token.
func TestClient_SyncBeginsAgain(t *testing.T) {
	const reset = `,"reset":true`
	s := play(t, []string{"list"},
		page("1", "t1", "", "a@9"), page("2", "t2", reset, "b@10"), page("", "", "", "a@9"),
		page("3", "t3", `,"removed":["a"]`, "c@12"), page("4", "t4", reset, "a@13"), page("5", "t5", reset, "d@14"), page("", "", "", "c@12"),
		page("6", "t6", "", "e@15"), page("7", "t7", reset, "f@16"))
	c := newClient(t, client.Config{App: s.app})
	l := &client.LocalList{UserID: "ann"}
	if _, err := c.Sync(t.Context(), l); err != nil || !slices.Equal(idsOf(l.Conversations), []string{"b", "a"}) || l.SyncToken != "t2" {
		t.Errorf("%+v, %v", l, err)
	}
	changes, err := c.Sync(t.Context(), l)
	if err != nil || !slices.Equal(idsOf(l.Conversations), []string{"d", "c"}) || l.SyncToken != "t5" ||
		!slices.Equal(idsOf(changes.Changed), []string{"d", "c"}) || !slices.Equal(changes.Removed, []string{"b", "a"}) {
		t.Errorf("%+v, %+v, %v", l, changes, err)
	}
	before, asked := *l, len(s.asked())
	if _, err := c.Sync(t.Context(), l); !errors.Is(err, client.ErrUnsettled) || !reflect.DeepEqual(*l, before) {
		t.Errorf("%+v, %v", l, err)
	}
	if n := len(s.asked()) - asked; n != 22 {
		t.Errorf("%d pages were asked for, want the first one and those of 20 more beginnings, and one that is one too many", n)
	}
}

// What is too large for a reply is left out by name, and the rest is kept up to date.
func TestClient_SyncLeavesOutWhatIsTooLarge(t *testing.T) {
	s := play(t, []string{"list"},
		refuse(413, "large", `,"conversationID":"fat","nextCursor":"1","syncToken":"t1"`), page("", "", "", "a@9"),
		page("", "t2", "", "b@10"),
		page("2", "t3", "", "c@11"), refuse(413, "large", `,"conversationID":"b"`),
		refuse(413, "large", `,"conversationID":"c","nextCursor":"3","removed":["b"],"syncToken":"t4"`), page("", "", "", "fat@4"),
		refuse(413, "large", `,"conversationID":"a","reset":true,"syncToken":"t5"`),
		refuse(413, "large", `,"conversationID":"a","syncToken":"t6"`))
	c := newClient(t, client.Config{App: s.app})
	l := &client.LocalList{UserID: "ann"}
	for i, want := range []struct {
		list, leftOut, changed, removed []string
		token                           string
	}{
		{[]string{"a"}, []string{"fat"}, []string{"a"}, nil, "t1"},
		{[]string{"b", "a"}, []string{"fat"}, []string{"b"}, nil, "t2"},
		{[]string{"c", "a"}, []string{"fat", "b"}, []string{"c"}, []string{"b"}, "t3"},
		{[]string{"a", "fat"}, []string{"c"}, []string{"fat"}, []string{"c"}, "t4"},
		{[]string{}, []string{"a"}, []string{}, []string{"a", "fat"}, "t5"},
		{[]string{}, []string{"a"}, []string{}, nil, "t6"},
	} {
		changes, err := c.Sync(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(idsOf(l.Conversations), want.list) || !slices.Equal(l.LeftOut, want.leftOut) || l.SyncToken != want.token ||
			!slices.Equal(idsOf(changes.Changed), want.changed) || !slices.Equal(changes.Removed, want.removed) {
			t.Errorf("%d: got %+v and %+v, want %+v", i, *l, changes, want)
		}
	}
}

// A list that was kept as JSON says what it said before, though json.Marshal writes
// some characters otherwise.
func TestClient_SyncOfAKeptList(t *testing.T) {
	item := func(payload string) answer {
		return say(`{"code":0,"data":{"conversationList":[{"conversationID":"a","lastMessage":{"payload":` + payload + `}}],"reset":true},"syncToken":"t"}`)
	}
	s := play(t, []string{"list"}, item(`{"text":"a & <b>"}`), item(`{"text":"a & <b>"}`), item(`{"text":"a & <c>"}`))
	c := newClient(t, client.Config{App: s.app})
	l := &client.LocalList{UserID: "ann"}
	for _, changed := range []int{1, 0, 1} {
		kept, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		l = &client.LocalList{}
		if err := json.Unmarshal(kept, l); err != nil {
			t.Fatal(err)
		}
		changes, err := c.Sync(t.Context(), l)
		if err != nil || len(changes.Changed) != changed || len(changes.Removed) > 0 {
			t.Errorf("got %+v, %v, want %d changed", changes, err, changed)
		}
	}
}
