package query

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// What the worker says over NATS, page by page, is what reading the contract
// word by word over the raw events says.
func TestWorker_AgreesWithTheContract(t *testing.T) {
	f := start(t, newMemory())
	f.clock.Store(new(func() time.Time { return projectiontest.Now.Time() }))
	rapid.Check(t, func(rt *rapid.T) {
		all := projectiontest.Events(rt, 60)
		f.refold(all)
		f.worker.read(f.worker.open(1, nil)) // registers never go back
		chat := bruteforce.New(all, projectiontest.Now)
		app := rapid.SampledFrom(projectiontest.Apps).Draw(rt, "app")
		ids := conversationIDs()

		for _, user := range projectiontest.Users {
			filter, filters := drawFilter(rt, ids)
			asked := fmt.Sprintf("%s %s %v", app, user, filters)
			ask := func(endpoint string, more map[string]any) (string, string) {
				fields := map[string]any{"userID": user}
				for _, m := range []map[string]any{filters, more} {
					for k, v := range m {
						fields[k] = v
					}
				}
				return f.askApp(app, endpoint, request(fields))
			}

			want := encoded(rt, chat.List(app, user, filter))
			var got []byte
			for cursor := any(nil); ; {
				more := map[string]any{"cursor": cursor, "limit": any(nil)}
				if rapid.Bool().Draw(rt, "limited") {
					more["limit"] = 1
				}
				code, body := ask("list", more)
				if code != "0" {
					rt.Fatalf("list %s: %s %s", asked, code, body)
				}
				page := parseList(t, []byte(body))
				for _, item := range page.Data.ConversationList {
					got = append(append(got, ','), item...)
				}
				if page.NextCursor == "" {
					break
				}
				cursor = page.NextCursor
			}
			got = append(append([]byte("["), bytes.TrimPrefix(got, []byte(","))...), ']')
			if diff := cmp.Diff(want, string(got)); diff != "" {
				rt.Fatalf("list %s (-want +got)\n%s", asked, diff)
			}

			muted := rapid.Bool().Draw(rt, "includeMuted")
			_, body := ask("unread", map[string]any{"includeMuted": muted})
			if want := string(encodeUnread(chat.Unread(app, user, filter, muted))); body != want {
				rt.Fatalf("unread %s: got %s, want %s", asked, body, want)
			}

			id := rapid.SampledFrom(ids).Draw(rt, "conversationID")
			code, body := f.askApp(app, "profile", request(map[string]any{"userID": user, "conversationID": id}))
			item, known := chat.Profile(app, user, id)
			switch {
			case !known && code != "404":
				rt.Fatalf("profile of %s for %s: got %s %s, want 404", id, asked, code, body)
			case known:
				if diff := cmp.Diff(`{"code":0,"data":{"conversation":`+encoded(rt, item)+`}}`, body); diff != "" {
					rt.Fatalf("profile of %s for %s (-want +got)\n%s", id, asked, diff)
				}
			}
		}
	})
}

// refold begins a new model with these events.
func (m *memory) refold(all []events.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.model = projection.NewModel()
	for _, e := range all {
		m.model.Fold(e)
	}
}

// conversationIDs are all that drawn events may be about.
func conversationIDs() []string {
	ids := []string{events.SystemConversationID}
	for _, user := range projectiontest.Users {
		ids = append(ids, "C2C"+user)
	}
	for _, group := range projectiontest.Groups {
		ids = append(ids, "GROUP"+group)
	}
	return ids
}

// drawFilter draws filters, as bruteforce and as a request has them.
func drawFilter(t *rapid.T, ids []string) (bruteforce.Filter, map[string]any) {
	f, fields := bruteforce.Filter{}, map[string]any{}
	given := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) == 0 }
	if given("byID") {
		f.IDs = append([]string{}, rapid.SliceOf(rapid.SampledFrom(ids)).Draw(t, "ids")...)
		fields["conversationIDList"] = f.IDs
	}
	if given("byType") {
		f.Type = rapid.SampledFrom([]string{"C2C", "GROUP", "@TIM#SYSTEM"}).Draw(t, "type")
		fields["type"] = f.Type
	}
	if given("byMark") {
		f.MarkType = new(rapid.Uint64Range(0, 5).Draw(t, "mark"))
		fields["markType"] = *f.MarkType
	}
	if given("byGroup") {
		f.GroupName = new(rapid.SampledFrom([]string{"", "work", `it's \`, "a"}).Draw(t, "group"))
		fields["groupName"] = *f.GroupName
	}
	if given("byUnread") {
		f.HasUnreadCount = new(rapid.Bool().Draw(t, "unread"))
		fields["hasUnreadCount"] = *f.HasUnreadCount
	}
	if given("byMention") {
		f.HasGroupAtInfo = new(rapid.Bool().Draw(t, "mention"))
		fields["hasGroupAtInfo"] = *f.HasGroupAtInfo
	}
	return f, fields
}

func encoded(t *rapid.T, v any) string {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
