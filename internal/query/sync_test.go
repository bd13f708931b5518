package query

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
)

// client holds a list and keeps it up to date by what the pages of a sync say.
type client struct {
	token string
	items map[string]string // by conversation ID
}

// take takes a page, and gives what is wrong with it.
func (c *client) take(t *testing.T, page listBody, first bool) string {
	if page.Data.Reset {
		clear(c.items)
	}
	switch begins := first || page.Data.Reset; {
	case begins && page.SyncToken == "":
		return "no token where the list begins"
	case begins:
		c.token = page.SyncToken
	case page.SyncToken != "" || len(page.Data.Removed) > 0:
		return "a token or removed ones where the list goes on"
	}
	for _, id := range page.Data.Removed {
		if _, held := c.items[id]; !held {
			return "told to remove " + id + ", which it has not"
		}
		delete(c.items, id)
	}
	for i, id := range page.ids(t) {
		if c.items[id] == string(page.Data.ConversationList[i]) {
			return "sent again what it has: " + c.items[id]
		}
		c.items[id] = string(page.Data.ConversationList[i])
	}
	return ""
}

// isWhole holds that the token stands for what the client holds.
func (c *client) isWhole(q *query) string {
	held, ok := q.decodeSync(c.token)
	if !ok {
		return "a token that is none: " + c.token
	}
	for id, item := range c.items {
		if of, ok := held[hashOf([]byte(id))]; !ok || of != hashOf([]byte(item)) {
			return "the token does not stand for " + item
		}
	}
	if len(held) != len(c.items) {
		return fmt.Sprintf("the token stands for %d conversations, %d are held", len(held), len(c.items))
	}
	return ""
}

// differs holds that the client holds a list.
func (c *client) differs(t *testing.T, list []byte) string {
	want := map[string]string{}
	whole := parseList(t, list)
	for i, id := range whole.ids(t) {
		want[id] = string(whole.Data.ConversationList[i])
	}
	return cmp.Diff(want, c.items)
}

func TestSync_OnlyWhatChanged(t *testing.T) {
	f := start(t, newMemory())
	for i, peer := range []string{"bob", "carol", "dave"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
	}
	if got := f.list(`{"userID":"ann"}`).SyncToken; got != "" {
		t.Errorf("a token that nobody asked for: %q", got)
	}
	whole := f.list(`{"userID":"ann","sync":true}`)
	if len(whole.Data.ConversationList) != 3 || whole.SyncToken == "" || whole.Data.Reset { // nothing is to be thrown away
		t.Fatalf("got %+v", whole)
	}
	sync := func(what string, list, removed []string) {
		t.Helper()
		got := f.list(`{"userID":"ann","since":"` + whole.SyncToken + `"}`)
		if diff := cmp.Diff(list, got.ids(t)); diff != "" {
			t.Errorf("%s: list (-want +got)\n%s", what, diff)
		}
		if diff := cmp.Diff(removed, got.Data.Removed); diff != "" || got.Data.Reset || got.SyncToken != "" {
			t.Errorf("%s: removed (-want +got), reset %t\n%s", what, got.Data.Reset, diff)
		}
	}
	sync("nothing", []string{}, []string{})
	f.fold(ago(time.Minute), &events.UserProfileChanged{UserID: "carol", Nick: "Carol"})
	sync("a profile", []string{"C2Ccarol"}, []string{})
	f.fold(ago(time.Minute), &events.ConversationDeleted{ConversationOf: of("ann", "C2Cbob"), ThroughSequence: 1})
	f.fold(ago(time.Minute), &events.ConversationMarked{ConversationOf: of("ann", "C2Cdave"), MarkList: []uint64{4}})
	sync("deleted and hidden", []string{"C2Ccarol"}, []string{"C2Cbob", "C2Cdave"})
	f.fold(ago(time.Second), c2c("bob", "ann", 2, "y"), c2c("eve", "ann", 1, "z"))
	sync("back again, and new", []string{"C2Cbob", "C2Ceve", "C2Ccarol"}, []string{"C2Cdave"})
}

func TestSync_Tokens(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(time.Hour), c2c("bob", "ann", 1, "x"), c2c("bob", "carol", 1, "x"))
	token := f.list(`{"userID":"ann","sync":true}`).SyncToken
	// A conversation that nobody knows the name of.
	unnamed := syncEncoding.EncodeToString(append(mustDecode(t, token), make([]byte, syncEntry)...))
	for _, c := range []struct{ name, request string }{
		{"another user", `{"userID":"carol","since":"` + token + `"}`},
		{"other filters", `{"userID":"ann","type":"C2C","since":"` + token + `"}`},
		{"empty", `{"userID":"ann","since":""}`},
		{"another format", `{"userID":"ann","since":"` + syncEncoding.EncodeToString(append([]byte{9}, mustDecode(t, token)[1:]...)) + `"}`},
		{"cut off", `{"userID":"ann","since":"` + token[:len(token)-3] + `"}`},
		{"cut off within an entry", `{"userID":"ann","since":"` + token[:len(token)-4] + `"}`},
		{"nothing but the format", `{"userID":"ann","since":"` + syncEncoding.EncodeToString([]byte{syncFormat}) + `"}`},
		{"no token at all", `{"userID":"ann","since":"what changed?"}`},
		{"removed without a name", `{"userID":"ann","since":"` + unnamed + `"}`},
	} {
		got := f.list(c.request)
		if !got.Data.Reset || len(got.Data.ConversationList) != 1 || len(got.Data.Removed) != 0 || got.SyncToken != "" {
			t.Errorf("%s: got %+v, want the whole list, reset, and no token that nobody asked for", c.name, got)
		}
	}
	if got := f.list(`{"userID":"ann","limit":1,"timeoutMs":5000,"since":"` + token + `"}`); got.Data.Reset || len(got.Data.ConversationList) != 0 {
		t.Errorf("another limit: got %+v", got.Data)
	}
}

// What happens between two pages, and is undone before the next sync, shows all the
// same: the page after it begins the list anew.
func TestSync_ListChangesBetweenPages(t *testing.T) {
	aside := c2c("b", "ann", 2, "y")
	aside.ExcludedFromLast = true // its conversation stays where it is
	for _, c := range []struct {
		name, filter    string
		before, between []events.Body
		afterward       events.Body
		pages           []string // what each page has, from where it begins anew: !
	}{
		{
			"moved before the cursor, and back", "", nil,
			[]events.Body{pinned("ann", "C2Cb")},
			&events.ConversationPinned{ConversationOf: of("ann", "C2Cb")},
			[]string{"C2Ca", "!C2Cb", "C2Ca", "C2Cc"},
		},
		{
			"passed the filter, and did not any more", `,"hasUnreadCount":true`,
			[]events.Body{read("ann", "C2Cb", 1)},
			[]events.Body{aside},
			read("ann", "C2Cb", 2),
			[]string{"C2Ca", "!C2Ca", "C2Cb", "C2Cc"},
		},
		{
			"gone from behind the cursor, and back", "", nil,
			[]events.Body{marked("ann", "C2Cb", 4)},
			marked("ann", "C2Cb"),
			[]string{"C2Ca", "!C2Ca", "C2Cc"},
		},
		{
			"changed behind the cursor where it is, and back", "", nil,
			[]events.Body{&events.ConversationDraftSet{ConversationOf: of("ann", "C2Cb"), DraftText: "x"}},
			&events.ConversationDraftSet{ConversationOf: of("ann", "C2Cb")},
			[]string{"C2Ca", "!C2Ca", "C2Cb", "C2Cc"},
		},
		{
			"moved before the cursor without a sign", "",
			[]events.Body{&events.ConversationCleared{ConversationOf: of("ann", "C2Cb"), ThroughSequence: 9}},
			[]events.Body{c2c("b", "ann", 2, "y")},
			nil,
			[]string{"C2Ca", "!C2Cb", "C2Ca", "C2Cc"},
		},
		{
			"moved before the cursor without a sign, and what was before it as well", "",
			[]events.Body{
				&events.ConversationCleared{ConversationOf: of("ann", "C2Ca"), ThroughSequence: 9},
				&events.ConversationCleared{ConversationOf: of("ann", "C2Cb"), ThroughSequence: 9},
			},
			[]events.Body{c2c("a", "ann", 2, "y"), c2c("b", "ann", 2, "y")},
			nil,
			[]string{"C2Ca", "!C2Ca", "C2Cb", "C2Cc"},
		},
		{"nothing", "", nil, nil, nil, []string{"C2Ca", "C2Cb", "C2Cc"}},
	} {
		for _, since := range []string{"no token", "a token", "no use of a token"} {
			t.Run(c.name+", since "+since, func(t *testing.T) {
				f := start(t, newMemory())
				held := &client{items: map[string]string{}}
				request := `{"userID":"ann"` + c.filter + `,"sync":true,"limit":1`
				switch since {
				case "a token":
					held.token = f.list(request + "}").SyncToken // of an empty list
					request += `,"since":"` + held.token + `"`
				case "no use of a token":
					request += `,"since":"of another list"`
				}
				for i, peer := range []string{"a", "b", "c"} {
					f.fold(ago(time.Duration(i+2)*time.Hour), c2c(peer, "ann", 1, "x"))
				}
				f.fold(ago(90*time.Minute), c.before...)
				var got []string
				cursor := ""
				for more := true; more; {
					page := f.list(request + cursor + "}")
					if fault := held.take(t, page, cursor == ""); fault != "" {
						t.Fatal(fault)
					}
					ids := strings.Join(page.ids(t), " ")
					if page.Data.Reset && cursor != "" {
						ids = "!" + ids
					}
					got = append(got, ids)
					if cursor == "" && c.between != nil {
						f.fold(ago(time.Hour), c.between...)
					}
					cursor, more = `,"cursor":"`+page.NextCursor+`"`, page.NextCursor != ""
				}
				if diff := cmp.Diff(c.pages, got); diff != "" {
					t.Errorf("pages (-want +got)\n%s", diff)
				}
				q := listQuery(t, "demo", `{"userID":"ann"`+c.filter+"}")
				if fault := held.isWhole(q); fault != "" {
					t.Error(fault)
				}
				if c.afterward != nil {
					f.fold(ago(time.Minute), c.afterward)
				}
				page := f.list(`{"userID":"ann"` + c.filter + `,"sync":true,"since":"` + held.token + `"}`)
				if fault := held.take(t, page, true); fault != "" {
					t.Fatal(fault)
				}
				_, list := f.ask("list", `{"userID":"ann"`+c.filter+"}")
				if diff := held.differs(t, []byte(list)); diff != "" {
					t.Errorf("what the client holds (-want +got)\n%s", diff)
				}
			})
		}
	}
}

// A later page that is asked for with another token begins the list anew as well.
func TestSync_AnotherTokenOnALaterPage(t *testing.T) {
	f := start(t, newMemory())
	older := f.list(`{"userID":"ann","sync":true}`).SyncToken
	for i, peer := range []string{"a", "b", "c"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
	}
	token := f.list(`{"userID":"ann","sync":true}`).SyncToken
	cursor := f.list(`{"userID":"ann","since":"` + older + `","limit":1}`).NextCursor
	page := f.list(`{"userID":"ann","since":"` + token + `","limit":1,"cursor":"` + cursor + `"}`)
	if diff := cmp.Diff([]string{"C2Ca"}, page.ids(t)); diff != "" || !page.Data.Reset || page.SyncToken == "" {
		t.Errorf("(-want +got), reset %t, token %q\n%s", page.Data.Reset, page.SyncToken, diff)
	}
}

// Who syncs need not say so again on later pages: their cursor does. Without the token that
// the first page had, the rest of the list comes, and not only what has changed in it. One
// that begins to sync goes on where the one before was, and has no token: that would be of
// the first page.
func TestSync_OnSomePagesOnly(t *testing.T) {
	f := start(t, newMemory())
	for i, peer := range []string{"a", "b", "c"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
	}
	first := f.list(`{"userID":"ann","sync":true,"limit":1}`)
	for name, cursor := range map[string]string{
		"without sync": first.NextCursor, "without since": f.list(`{"userID":"ann","since":"` + emptyToken(t) + `","limit":1}`).NextCursor,
	} {
		page := f.list(`{"userID":"ann","limit":1,"cursor":"` + cursor + `"}`)
		if diff := cmp.Diff([]string{"C2Cb"}, page.ids(t)); diff != "" || page.Data.Reset || page.SyncToken != "" {
			t.Errorf("%s: (-want +got), reset %t, token %q\n%s", name, page.Data.Reset, page.SyncToken, diff)
		}
		if page = f.list(`{"userID":"ann","limit":1,"cursor":"` + page.NextCursor + `"}`); !cmp.Equal([]string{"C2Cc"}, page.ids(t)) || page.NextCursor != "" {
			t.Errorf("%s: the last page is %+v", name, page)
		}
	}
	f.fold(ago(time.Minute), c2c("c", "ann", 2, "y"))
	page := f.list(`{"userID":"ann","limit":1,"cursor":"` + first.NextCursor + `"}`)
	if diff := cmp.Diff([]string{"C2Cc"}, page.ids(t)); diff != "" || !page.Data.Reset || page.SyncToken == "" {
		t.Errorf("of a list that has changed: (-want +got), reset %t, token %q\n%s", page.Data.Reset, page.SyncToken, diff)
	}
	if page = f.list(`{"userID":"ann","since":"` + page.SyncToken + `"}`); len(page.ids(t)) > 0 || page.Data.Reset {
		t.Errorf("the token of the page that began the list anew: %+v", page)
	}
	second := f.list(`{"userID":"ann","limit":1}`).NextCursor
	page = f.list(`{"userID":"ann","sync":true,"limit":1,"cursor":"` + second + `"}`)
	if diff := cmp.Diff([]string{"C2Ca"}, page.ids(t)); diff != "" || page.Data.Reset || page.SyncToken != "" {
		t.Errorf("with sync from then on: (-want +got), reset %t, token %q\n%s", page.Data.Reset, page.SyncToken, diff)
	}
	page = f.list(`{"userID":"ann","sync":true,"limit":1,"cursor":"` + page.NextCursor + `"}`)
	if diff := cmp.Diff([]string{"C2Cb"}, page.ids(t)); diff != "" || page.Data.Reset || page.SyncToken != "" || page.NextCursor != "" {
		t.Errorf("and on the page after that: (-want +got), %+v\n%s", page, diff)
	}

	token := f.list(`{"userID":"ann","sync":true}`).SyncToken
	f.fold(ago(time.Second), c2c("a", "ann", 2, "z"))
	f.fold(ago(time.Minute), grouped("ann", "C2Cb", "work"))
	unsynced := f.list(`{"userID":"ann","limit":1}`).NextCursor
	page = f.list(`{"userID":"ann","limit":5,"since":"` + token + `","cursor":"` + unsynced + `"}`)
	if diff := cmp.Diff([]string{"C2Cb"}, page.ids(t)); diff != "" || page.Data.Reset || page.SyncToken != "" {
		t.Errorf("with since from then on: (-want +got), reset %t, token %q\n%s", page.Data.Reset, page.SyncToken, diff)
	}
	page = f.list(`{"userID":"ann","limit":5,"since":"of another list","cursor":"` + unsynced + `"}`)
	if diff := cmp.Diff([]string{"C2Ca", "C2Cc", "C2Cb"}, page.ids(t)); diff != "" || !page.Data.Reset {
		t.Errorf("with a token that says nothing: (-want +got), reset %t\n%s", page.Data.Reset, diff)
	}
}

// emptyToken is a token of ann's list from before there was anything in it.
func emptyToken(t *testing.T) string {
	t.Helper()
	return listQuery(t, "demo", `{"userID":"ann"}`).encodeSync(nil)
}

// What the first page has besides items is in a refusal, too, when its first item is
// larger than a reply may be.
func TestSync_TheFirstItemIsOverTheMaximumPayload(t *testing.T) {
	f := start(t, newMemory())
	for i, peer := range []string{"gone", "fat", "a"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
	}
	token := f.list(`{"userID":"ann","sync":true}`).SyncToken
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("%02d", i)+strings.Repeat("\x01", 4094))
	}
	f.fold(ago(time.Hour), grouped("ann", "C2Cfat", names...),
		&events.ConversationDeleted{ConversationOf: of("ann", "C2Cgone"), ThroughSequence: 1}, c2c("a", "ann", 2, "y"), pinned("ann", "C2Cfat"))
	for _, c := range []struct {
		since   string
		removed []string
		reset   bool
	}{{token, []string{"C2Cgone"}, false}, {"of another list", nil, true}} {
		request := `{"userID":"ann","sync":true,"since":"` + c.since + `"`
		m, err := f.client.Request("convoview.v1.demo.conversation.list", []byte(request+"}"), 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var refused replyError
		if err := json.Unmarshal(m.Data, &refused); err != nil {
			t.Fatal(err)
		}
		rest := f.list(request + `,"cursor":"` + refused.NextCursor + `"}`)
		if diff := cmp.Diff([]string{"C2Ca"}, rest.ids(t)); diff != "" || rest.Data.Reset || rest.SyncToken != "" {
			t.Errorf("the rest (-want +got), reset %t\n%s", rest.Data.Reset, diff)
		}
		if got := f.list(`{"userID":"ann","since":"` + refused.SyncToken + `"}`); got.Data.Reset || len(got.Data.ConversationList) != 0 {
			t.Errorf("since its token: %+v", got.Data)
		}
		refused.Message, refused.NextCursor, refused.SyncToken = "", "", ""
		want := replyError{Code: codeTooLarge, leftOut: leftOut{ConversationID: "C2Cfat", Removed: c.removed, Reset: c.reset}}
		if diff := cmp.Diff(want, refused, cmp.AllowUnexported(replyError{})); diff != "" {
			t.Errorf("the refusal (-want +got)\n%s", diff)
		}
	}
}

func mustDecode(t *testing.T, token string) []byte {
	t.Helper()
	raw, err := syncEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The longest list there can be has a token of at most 32 KB.
func TestSync_TokenOfTheLongestList(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(time.Hour), plan(1000))
	for i := range 1001 {
		f.fold(ago(time.Duration(i+1)*time.Second), c2c(fmt.Sprintf("%s%04d", strings.Repeat("x", 124), i), "ann", 1, ""))
	}
	page := f.list(`{"userID":"ann","sync":true,"limit":10}`)
	if n := len(page.SyncToken); n > 32<<10 {
		t.Errorf("a token of %d bytes", n)
	}
	if raw := mustDecode(t, page.SyncToken); len(raw) != syncHead+1000*syncEntry {
		t.Errorf("%d bytes are not a thousand conversations", len(raw))
	}
	if next := f.list(`{"userID":"ann","sync":true,"limit":10,"cursor":"` + page.NextCursor + `"}`); next.SyncToken != "" {
		t.Error("a token on the second page")
	}
}
