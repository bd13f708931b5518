package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

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
	after   []map[string]any // what every reply is to have in it
	replies atomic.Int64
}

// compareAll compares all that every user of a chat may see: lists and totals
// with each filter, and the profiles of conversations, known or not.
func compareAll(t *testing.T, people []person, want *bruteforce.Chat, systems ...*system) {
	t.Helper()
	(&comparison{systems: systems, want: want}).all(t, people)
}

func (c *comparison) all(t *testing.T, people []person) {
	t.Helper()
	listed, most := 0, 0
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(askersAtOnce)
	ask := func(u person, compare func() error) {
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
	for i, u := range people {
		some := bruteforce.Filter{IDs: u.conversationIDs[:min(maxIDs, len(u.conversationIDs))]}
		for _, f := range append(slices.Clip(filters), some) {
			ask(u, func() error { return c.list(u, f) })
			ask(u, func() error { return c.unread(u, f, false) })
		}
		ask(u, func() error { return c.unread(u, bruteforce.Filter{}, true) })
		for _, id := range u.conversationIDs {
			ask(u, func() error { return c.profile(u, id) })
		}
		listed += len(c.want.List(u.app, u.id, bruteforce.Filter{}))
		most = max(most, len(u.conversationIDs))
		if i%usersPerLog == usersPerLog-1 {
			t.Logf("asked for %d of %d users", i+1, len(people))
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("compared %d replies to %d users, who list %d conversations; the busiest may know %d", c.replies.Load(), len(people), listed, most)
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
func (c *comparison) list(u person, f bruteforce.Filter) error {
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
func (c *comparison) unread(u person, f bruteforce.Filter, includeMuted bool) error {
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
func (c *comparison) profile(u person, conversationID string) error {
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
func (c *comparison) ask(operation string, u person, request map[string]any) (reply, error) {
	var first reply
	for i, s := range c.systems {
		if c.after != nil {
			request["after"] = c.after
		}
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
func requestOf(u person, f bruteforce.Filter) map[string]any {
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
