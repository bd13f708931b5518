package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

const (
	// askersAtOnce is how many questions are asked at the same time.
	askersAtOnce = 2048
	// usersPerLog is how many users are compared between two lines of the log.
	usersPerLog = 2000
	// pageSize makes many lists take several pages.
	pageSize = 7
	// maxIDs is the contract's bound of a conversationIDList.
	maxIDs = 500
)

// comparison asks systems that were given the same chat the same questions.
// They must give the same bytes, and what the brute-force reading gives.
type comparison struct {
	systems []*system
	want    *bruteforce.Chat
	replies atomic.Int64
}

// compareAll compares all that every user of a chat may see: lists and totals
// with each filter, and the profiles of conversations, known or not.
func compareAll(t *testing.T, chat []events.Event, now time.Time, systems ...*system) {
	t.Helper()
	c := &comparison{systems: systems, want: bruteforce.New(chat, events.MicrosOf(now))}
	met := conversationsOf(chat)
	users, listed, most := 0, 0, 0
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(askersAtOnce)
	ask := func(u user, compare func() error) {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := compare(); err != nil {
				return fmt.Errorf("user %q of app %s: %w", u.id, u.app, err)
			}
			return nil
		})
	}
	// In order, users that are asked for together are side by side in the tables.
	inOrder := slices.SortedFunc(maps.Keys(met), func(a, b user) int { return strings.Compare(a.app+" "+a.id, b.app+" "+b.id) })
	for _, u := range inOrder {
		ids := met[u]
		some := bruteforce.Filter{IDs: ids[:min(maxIDs, len(ids))]}
		for _, f := range append(slices.Clip(filters), some) {
			ask(u, func() error { return c.list(u, f) })
			ask(u, func() error { return c.unread(u, f, false) })
		}
		ask(u, func() error { return c.unread(u, bruteforce.Filter{}, true) })
		for _, id := range ids {
			ask(u, func() error { return c.profile(u, id) })
		}
		listed += len(c.want.List(u.app, u.id, bruteforce.Filter{}))
		most = max(most, len(ids))
		if users++; users%usersPerLog == 0 {
			t.Logf("asked for %d of %d users", users, len(met))
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("compared %d replies to %d users, who list %d conversations; the busiest may know %d", c.replies.Load(), users, listed, most)
	if listed == 0 {
		t.Fatal("no conversations at all")
	}
}

// filters are those that everybody asks with, none first.
var filters = []bruteforce.Filter{
	{},
	{Type: "GROUP"},
	{MarkType: new(uint64(0))},
	{MarkType: new(uint64(events.MarkHidden))},
	{GroupName: new("work")},
	{HasUnreadCount: new(true), GroupName: new("")},
	{HasUnreadCount: new(false), Type: "C2C"},
	{HasGroupAtInfo: new(true)},
}

// list compares all pages of a list.
func (c *comparison) list(u user, f bruteforce.Filter) error {
	items, err := jsonOf(c.want.List(u.app, u.id, f)...)
	if err != nil {
		return err
	}
	request := requestOf(u, f)
	request["limit"] = pageSize
	for more := true; more; {
		page := items[:min(pageSize, len(items))]
		items = items[len(page):]
		more = len(items) > 0

		got, err := c.ask("list", u, request)
		if err != nil {
			return err
		}
		// A cursor is opaque: only whether there is one is known.
		var next struct {
			Cursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal([]byte(got.data), &next); err != nil {
			return err
		}
		if more != (next.Cursor != "") {
			return fmt.Errorf("list with %v: nextCursor %q before the last %d items", request, next.Cursor, len(items))
		}
		want := fmt.Sprintf(`{"code":0,"data":{"conversationList":[%s],"isSyncCompleted":%t,"removed":[],"reset":false},"nextCursor":%q,"syncToken":""}`,
			strings.Join(page, ","), !more, next.Cursor)
		if err := differ("list", request, want, got); err != nil {
			return err
		}
		request["cursor"] = next.Cursor
	}
	return nil
}

// unread compares a total.
func (c *comparison) unread(u user, f bruteforce.Filter, includeMuted bool) error {
	request := requestOf(u, f)
	request["includeMuted"] = includeMuted
	got, err := c.ask("unread", u, request)
	if err != nil {
		return err
	}
	want := fmt.Sprintf(`{"code":0,"data":{"totalUnreadMessageCount":%d}}`, c.want.Unread(u.app, u.id, f, includeMuted))
	return differ("unread", request, want, got)
}

// profile compares the profile of a conversation, known to the user or not.
func (c *comparison) profile(u user, conversationID string) error {
	request := map[string]any{"userID": u.id, "conversationID": conversationID}
	got, err := c.ask("profile", u, request)
	if err != nil {
		return err
	}
	profile, known := c.want.Profile(u.app, u.id, conversationID)
	if !known {
		if got.code != "404" {
			return fmt.Errorf("profile with %v: %s, want 404", request, got.data)
		}
		return nil
	}
	item, err := jsonOf(profile)
	if err != nil {
		return err
	}
	return differ("profile", request, `{"code":0,"data":{"conversation":`+item[0]+`}}`, got)
}

// ask gives the reply that all systems give.
func (c *comparison) ask(operation string, u user, request map[string]any) (reply, error) {
	var first reply
	for i, s := range c.systems {
		got, err := s.request(operation, u.app, request)
		if err != nil {
			return reply{}, err
		}
		if i == 0 {
			first = got
		}
		if got != first {
			return reply{}, fmt.Errorf("%s with %v (-first +other system):\n%s", operation, request, cmp.Diff(first.data, got.data))
		}
		c.replies.Add(1)
	}
	return first, nil
}

// differ is an error when a reply is not the one wanted.
func differ(operation string, request any, want string, got reply) error {
	if got.data == want && got.code == "" {
		return nil
	}
	return fmt.Errorf("%s with %v (-want +got):\n%s", operation, request, cmp.Diff(want, got.data))
}

// requestOf is a request with a filter.
func requestOf(u user, f bruteforce.Filter) map[string]any {
	request := map[string]any{"userID": u.id}
	if f.IDs != nil {
		request["conversationIDList"] = f.IDs
	}
	if f.Type != "" {
		request["type"] = f.Type
	}
	if f.MarkType != nil {
		request["markType"] = *f.MarkType
	}
	if f.GroupName != nil {
		request["groupName"] = *f.GroupName
	}
	if f.HasUnreadCount != nil {
		request["hasUnreadCount"] = *f.HasUnreadCount
	}
	if f.HasGroupAtInfo != nil {
		request["hasGroupAtInfo"] = *f.HasGroupAtInfo
	}
	return request
}

// user is a user of an app.
type user struct{ app, id string }

// conversationsOf gives all users that a chat names, each with the IDs of all
// conversations in which it names them, known to them or not, and of some that
// it does not name.
func conversationsOf(chat []events.Event) map[user][]string {
	met := map[user][]string{}
	for _, e := range chat {
		meet := func(c events.Conversation, users ...string) {
			for _, id := range users {
				met[user{e.App, id}] = append(met[user{e.App, id}], c.IDFor(id))
			}
		}
		happen := func(c events.Conversation, inGroup ...string) {
			switch c.Type {
			case events.TypeC2C:
				meet(c, c.A, c.B)
			case events.TypeSystem:
				meet(c, c.A)
			case events.TypeGroup:
				meet(c, inGroup...)
			}
		}
		switch b := e.Body.(type) {
		case *events.MessageSent:
			happen(b.Conversation, append(slices.Clip(b.AtUsers), b.From)...)
		case *events.MessageRecalled:
			happen(b.Conversation)
		case *events.MessageModified:
			happen(b.Conversation)
		case *events.GroupMemberChanged:
			happen(events.Group(b.GroupID), b.UserID)
		case *events.FriendRemarkSet:
			happen(events.C2C(b.UserID, b.FriendID))
		case *events.UserProfileChanged:
			happen(events.System(b.UserID))
		case *events.UserErased:
			happen(events.System(b.UserID))
		default:
			if of := reflect.ValueOf(b).Elem().FieldByName("ConversationOf"); of.IsValid() {
				of := of.Interface().(events.ConversationOf)
				happen(of.Conversation(), of.UserID)
			}
		}
	}
	for u, ids := range met {
		ids = append(ids, "C2Cnobody", "GROUPnone", events.SystemConversationID)
		slices.Sort(ids)
		met[u] = slices.Compact(ids)
	}
	return met
}

// jsonOf encodes each value as the API does.
func jsonOf(values ...any) ([]string, error) {
	var list []string
	for _, v := range values {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return nil, err
		}
		list = append(list, strings.TrimSuffix(b.String(), "\n"))
	}
	return list, nil
}
