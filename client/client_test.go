package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/convoview/convoview/client"
)

// script answers the requests of an app in turn on the real NATS server, the last
// answer for ever, and keeps what it was asked.
type script struct {
	app string
	mu  sync.Mutex
	got []string // subject behind the app, and body
}

type answer func(micro.Request) error

func say(body string) answer {
	return func(r micro.Request) error { return r.Respond([]byte(body)) }
}

func refuse(code int, message, more string) answer {
	return func(r micro.Request) error {
		return r.Error(fmt.Sprint(code), message, fmt.Appendf(nil, `{"code":%d,"message":%q%s}`, code, message, more))
	}
}

// play starts a script at subjects such as "list" and "list.*".
func play(t *testing.T, subjects []string, answers ...answer) *script {
	t.Helper()
	s := &script{app: app(t)}
	nc := dial(t)
	service, err := micro.AddService(nc, micro.Config{Name: "script", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	prefix := "convoview.v1." + s.app + ".conversation."
	handler := micro.HandlerFunc(func(r micro.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, strings.TrimPrefix(r.Subject(), prefix)+" "+string(r.Data()))
		if err := answers[min(len(s.got), len(answers))-1](r); err != nil {
			t.Error(err)
		}
	})
	for i, subject := range subjects {
		if err := service.AddEndpoint(fmt.Sprint("e", i), handler, micro.WithEndpointSubject(prefix+subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// asked are the requests so far.
func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// dial connects to where nobody answers.
func dial(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(quietURL, nats.Timeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func newClient(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	config.Wait = time.Nanosecond
	c, err := client.New(dial(t), config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	emptyList = `{"code":0,"data":{"conversationList":[],"isSyncCompleted":true,"removed":[],"reset":false},"nextCursor":"","syncToken":""}`
	total     = `{"code":0,"data":{"totalUnreadMessageCount":3}}`
)

func TestConfig_Validate(t *testing.T) {
	_, err := client.New(nil, client.Config{App: "a.b", Attempts: -1, Wait: -time.Second, Buffer: -1})
	want := "app \"a.b\": expected 1 to 64 of A-Z, a-z, 0-9, _ and -\n" +
		"attempts -1: expected 0 (4) or more\nwait -1s: expected 0 (100ms) or more\nbuffer -1: expected 0 (1024) or more"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Every field of a request is sent, and what is not given is not.
func TestClient_SendsWhatIsGiven(t *testing.T) {
	s := play(t, []string{"list", "unread", "profile"}, say(emptyList), say(emptyList), say(emptyList), say(total), say(total), say(`{"code":0}`))
	c := newClient(t, client.Config{App: s.app})
	ctx := t.Context()
	filter := client.Filter{
		ConversationIDList: []string{}, Type: client.TypeC2C, MarkType: new(uint64(0)), GroupName: new(""),
		HasUnreadCount: new(false), HasGroupAtInfo: new(true),
	}
	after := client.After{{Topic: "chat.state", Partition: 3, Offset: 9}}
	for _, r := range []client.ListRequest{
		{UserID: "ann"},
		{UserID: "ann", Filter: filter},
		{UserID: "ann", Limit: 7, Cursor: "c", Sync: true, Since: "s", TimeoutMs: 250, After: after},
	} {
		if _, err := c.List(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []client.UnreadRequest{{UserID: "ann"}, {UserID: "ann", Filter: filter, IncludeMuted: true, After: after}} {
		if n, err := c.Unread(ctx, r); err != nil || n != 3 {
			t.Fatal(n, err)
		}
	}
	if _, err := c.Profile(ctx, client.ProfileRequest{UserID: "ann", ConversationID: client.Group("hike"), After: after}); err != nil {
		t.Fatal(err)
	}
	if reply, err := c.Ask(ctx, client.EndpointList, []byte(`{"nope"`)); err != nil || string(reply) != `{"code":0}` {
		t.Error(string(reply), err)
	}
	filters := `"conversationIDList":[],"type":"C2C","markType":0,"groupName":"","hasUnreadCount":false,"hasGroupAtInfo":true`
	afters := `"after":[{"topic":"chat.state","partition":3,"offset":9}]`
	want := []string{
		`list {"userID":"ann"}`,
		`list {"userID":"ann",` + filters + `}`,
		`list {"userID":"ann","limit":7,"cursor":"c","sync":true,"since":"s","timeoutMs":250,` + afters + `}`,
		`unread {"userID":"ann"}`,
		`unread {"userID":"ann",` + filters + `,"includeMuted":true,` + afters + `}`,
		`profile {"userID":"ann","conversationID":"GROUPhike",` + afters + `}`,
		`list {"nope"`,
	}
	if got := s.asked(); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// What is left of the context's deadline, less a little for the reply's way, is the
// request's timeoutMs, up to what a worker takes anyway.
func TestClient_DeadlineIsTheTimeout(t *testing.T) {
	s := play(t, []string{"unread"}, say(total))
	c := newClient(t, client.Config{App: s.app})
	for _, left := range []time.Duration{4 * time.Second, time.Hour} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		if _, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	var ms []int
	for _, asked := range s.asked() {
		var body struct{ TimeoutMs int }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(asked, "unread ")), &body); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, body.TimeoutMs)
	}
	if len(ms) != 2 || ms[0] < 1 || ms[0] > 3950 || ms[1] != 0 {
		t.Errorf("timeoutMs %d", ms)
	}
}

func TestClient_Errors(t *testing.T) {
	for code, want := range map[int]error{
		400: client.ErrBadRequest, 404: client.ErrNotFound, 413: client.ErrTooLarge, 429: client.ErrOverloaded,
		500: client.ErrInternal, 503: client.ErrUnavailable, 504: client.ErrTimeout, 418: nil,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := play(t, []string{"list"}, refuse(code, "so it is", `,"nextCursor":"c"`))
			_, err := newClient(t, client.Config{App: s.app, Attempts: 1}).List(t.Context(), client.ListRequest{UserID: "ann"})
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Code != code || refused.Message != "so it is" || refused.NextCursor != "c" || !json.Valid(refused.Body) {
				t.Errorf("got %#v", err)
			}
			if want != nil && !errors.Is(err, want) || refused.Error() != fmt.Sprint(code, " so it is") {
				t.Errorf("%v is not %v", err, want)
			}
		})
	}
}

func TestClient_AsksAgain(t *testing.T) {
	again := []answer{refuse(503, "away", ""), refuse(429, "overloaded", ""), refuse(504, "late", ""), say(total)}
	for _, c := range []struct {
		name     string
		attempts int
		answers  []answer
		asked    int
		err      error
	}{
		{"until there is an answer", 0, again, 4, nil},
		{"as often as it is set to", 2, again, 2, client.ErrOverloaded},
		{"not what will not pass", 0, []answer{refuse(400, "wrong", "")}, 1, client.ErrBadRequest},
		{"not a fault", 0, []answer{refuse(500, "fault", "")}, 1, client.ErrInternal},
		{"not what is no reply", 0, []answer{say("no JSON")}, 1, errors.New("read a reply of 7 bytes to unread: invalid character 'o' in literal null (expecting 'u')")},
		{
			"not what a stream says that has taken the request in", 0,
			[]answer{say(`{"stream":"AUDIT","seq":1}`)},
			1,
			errors.New(`read a reply of 26 bytes to unread: expected "code":0 in it: does anything else answer there, as a stream does?`),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, []string{"unread"}, c.answers...)
			_, err := newClient(t, client.Config{App: s.app, Attempts: c.attempts}).Unread(t.Context(), client.UnreadRequest{UserID: "ann"})
			if !errors.Is(err, c.err) && (c.err == nil || err == nil || err.Error() != c.err.Error()) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if n := len(s.asked()); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// A wait that would be longer than the deadline is not begun: the refusal is the error.
func TestClient_DoesNotWaitBeyondTheDeadline(t *testing.T) {
	s := play(t, []string{"unread"}, refuse(503, "away", ""))
	c, err := client.New(dial(t), client.Config{App: s.app, Wait: 10 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann"}); !errors.Is(err, client.ErrUnavailable) {
		t.Error(err)
	}
}

func TestClient_NobodyThere(t *testing.T) {
	_, err := newClient(t, client.Config{App: "demo"}).List(t.Context(), client.ListRequest{UserID: "ann"})
	if !errors.Is(err, client.ErrUnavailable) || !errors.Is(err, nats.ErrNoResponders) ||
		!strings.Contains(err.Error(), "no query worker answers on convoview.v1.demo.conversation.list") {
		t.Error(err)
	}
}

// Whom the server does not allow to ask, or to hear the reply, is told so.
func TestClient_Forbidden(t *testing.T) {
	for user, inPart := range map[string]string{
		"mute with a token": `not allowed: ask convoview.v1.demo.conversation.list.ann: nats: permissions violation: Permissions Violation for Publish to "convoview.v1.demo.conversation.list.0"`,
		"mute":              `not allowed: ask convoview.v1.demo.conversation.list: nats: permissions violation: Permissions Violation for Publish to "convoview.v1.demo.conversation.list"`,
		"deaf":              `not allowed: ask convoview.v1.demo.conversation.list: nats: permissions violation: Permissions Violation for Subscription to "_INBOX.`,
	} {
		t.Run(user, func(t *testing.T) {
			told := make(chan struct{}, 2)
			user, _, token := strings.Cut(user, " ")
			nc, err := nats.Connect(strictURL, nats.UserInfo(user, ""), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { told <- struct{}{} }))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			c, err := client.New(nc, client.Config{App: "demo", Affinity: token})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				if user == "mute" || i == 0 { // the server says each time that we may not ask, and once that we may not hear
					go func() { <-told; cancel() }()
				} else {
					time.AfterFunc(time.Millisecond, cancel)
				}
				_, err = c.List(ctx, client.ListRequest{UserID: "ann"})
				if !errors.Is(err, client.ErrForbidden) || !errors.Is(err, nats.ErrPermissionViolation) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), inPart) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
}

// When the context is done before there is a reply, the error is the context's.
func TestClient_ContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the user is gone")
	s := play(t, []string{"list"}, func(micro.Request) error { cancel(gone); return nil })
	_, err := newClient(t, client.Config{App: s.app}).List(ctx, client.ListRequest{UserID: "ann"})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}

func TestClient_Affinity(t *testing.T) {
	t.Run("asks with the token", func(t *testing.T) {
		s := play(t, []string{"unread", "unread.*"}, say(total))
		c := newClient(t, client.Config{App: app(t), Affinity: true})
		if _, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "a.b"}); err != nil {
			t.Fatal(err)
		}
		if got, want := s.asked(), []string{`unread.a%2Eb {"userID":"a.b"}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("without it where nobody answers", func(t *testing.T) {
		s := play(t, []string{"unread"}, say(total))
		c := newClient(t, client.Config{App: app(t), Affinity: true, Attempts: 1})
		if _, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann"}); err != nil {
			t.Fatal(err)
		}
		if got, want := s.asked(), []string{`unread {"userID":"ann"}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("without it when the worker stops", func(t *testing.T) {
		s := play(t, []string{"unread", "unread.*"}, refuse(503, "stopping", ""), say(total))
		c := newClient(t, client.Config{App: app(t), Affinity: true, Attempts: 1})
		if _, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann"}); err != nil {
			t.Fatal(err)
		}
		if got, want := s.asked(), []string{`unread.ann {"userID":"ann"}`, `unread {"userID":"ann"}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// app is the app of a test: nobody else's.
func app(t *testing.T) string {
	name := strings.NewReplacer("/", "-", "#", "-").Replace(t.Name())
	return name[max(0, len(name)-64):]
}

// page is a reply with conversations.
func page(next, token, more string, ids ...string) answer {
	var list []string
	for _, id := range ids {
		id, at, _ := strings.Cut(id, "@")
		if at == "" {
			at = "0"
		}
		list = append(list, fmt.Sprintf(`{"conversationID":%q,"isPinned":%t,"lastMessage":{"messageID":"m","lastSequence":%s,"lastTime":%s}}`,
			strings.TrimPrefix(id, "!"), id[0] == '!', at, at))
	}
	return say(fmt.Sprintf(`{"code":0,"data":{"conversationList":[%s]%s},"nextCursor":%q,"syncToken":%q}`, strings.Join(list, ","), more, next, token))
}

func idsOf(list []client.Conversation) []string {
	ids := []string{}
	for i := range list {
		ids = append(ids, list[i].ConversationID)
	}
	return ids
}

func TestClient_Conversations(t *testing.T) {
	s := play(t, []string{"list"}, page("1", "", "", "a", "b"), refuse(413, "b2 is too large", `,"nextCursor":"2"`), page("3", "", ""), page("", "", "", "c"))
	c := newClient(t, client.Config{App: s.app})
	var got []string
	for conversation, err := range c.Conversations(t.Context(), client.ListRequest{UserID: "ann", Limit: 2}) {
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, conversation.ConversationID)
		}
	}
	if want := []string{"a", "b", "413 b2 is too large", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	want := []string{
		`list {"userID":"ann","limit":2}`, `list {"userID":"ann","limit":2,"cursor":"1"}`,
		`list {"userID":"ann","limit":2,"cursor":"2"}`, `list {"userID":"ann","limit":2,"cursor":"3"}`,
	}
	if got := s.asked(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A sequence of pages is the same whenever it is begun.
func TestClient_PagesTwice(t *testing.T) {
	s := play(t, []string{"list"}, page("1", "", "", "a"), page("", "", "", "b"), page("1", "", "", "a"), page("", "", "", "b"))
	pages := newClient(t, client.Config{App: s.app}).Pages(t.Context(), client.ListRequest{UserID: "ann"})
	for range 2 {
		for _, err := range pages {
			if err != nil {
				t.Error(err)
			}
		}
	}
	first, second := `list {"userID":"ann"}`, `list {"userID":"ann","cursor":"1"}`
	if got, want := s.asked(), []string{first, second, first, second}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Nothing is asked for that nobody looks at, and an error ends it.
func TestClient_ConversationsEnd(t *testing.T) {
	s := play(t, []string{"list"}, page("1", "", "", "a", "b"), refuse(400, "no", ""))
	c := newClient(t, client.Config{App: s.app})
	for _, err := range c.Conversations(t.Context(), client.ListRequest{UserID: "ann"}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := len(s.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	n := 0
	for _, err := range c.Pages(t.Context(), client.ListRequest{UserID: "ann"}) {
		if n++; !errors.Is(err, client.ErrBadRequest) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d pages", n)
	}
}

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
		refuse(413, "large", `,"conversationID":"a","reset":true,"syncToken":"t5"`))
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

// A connection that is lost is nobody there, and asked again.
func TestClient_LostConnection(t *testing.T) {
	nc := dial(t)
	s := play(t, []string{"unread"}, func(micro.Request) error { return nc.ForceReconnect() }, say(total))
	c, err := client.New(nc, client.Config{App: s.app, Wait: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann"}); err != nil || n != 3 {
		t.Error(n, err)
	}

	nc, err = nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if c, err = client.New(nc, client.Config{App: s.app, Attempts: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann"}); !errors.Is(err, client.ErrUnavailable) || !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Error(err)
	}
}

func TestAfter_Add(t *testing.T) {
	var after client.After
	for _, at := range []client.Offset{{"b", 0, 4}, {"a", 0, 1}, {"a", 1, 7}, {"a", 0, 3}, {"a", 0, 2}} {
		after.Add(at.Topic, at.Partition, at.Offset)
	}
	if want := (client.After{{"b", 0, 4}, {"a", 0, 3}, {"a", 1, 7}}); !slices.Equal(after, want) {
		t.Errorf("got %v, want %v", after, want)
	}
}
