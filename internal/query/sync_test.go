package query

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
)

func TestSync_OnlyWhatChanged(t *testing.T) {
	f := start(t, newMemory())
	for i, peer := range []string{"bob", "carol", "dave"} {
		f.fold(ago(time.Duration(i+1)*time.Hour), c2c(peer, "ann", 1, "x"))
	}
	if got := f.list(`{"userID":"ann"}`).SyncToken; got != "" {
		t.Errorf("a token that nobody asked for: %q", got)
	}
	whole := f.list(`{"userID":"ann","sync":true}`)
	if len(whole.Data.ConversationList) != 3 || whole.SyncToken == "" {
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
		{"no token at all", `{"userID":"ann","since":"what changed?"}`},
		{"removed without a name", `{"userID":"ann","since":"` + unnamed + `"}`},
	} {
		got := f.list(c.request)
		if !got.Data.Reset || len(got.Data.ConversationList) != 1 || len(got.Data.Removed) != 0 {
			t.Errorf("%s: got %+v, want the whole list and reset", c.name, got.Data)
		}
	}
	if got := f.list(`{"userID":"ann","limit":1,"timeoutMs":5000,"since":"` + token + `"}`); got.Data.Reset || len(got.Data.ConversationList) != 0 {
		t.Errorf("another limit: got %+v", got.Data)
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
