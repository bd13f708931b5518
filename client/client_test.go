package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/convoview/convoview/client"
)

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

// What is no UTF-8 would be another text in JSON: it is refused by name, and nobody is asked.
func TestClient_RefusesWhatIsNoUTF8(t *testing.T) {
	s := play(t, []string{"list", "unread", "profile"}, say(emptyList))
	c := newClient(t, client.Config{App: s.app})
	list := func(r client.ListRequest) error {
		_, err := c.List(t.Context(), r)
		return err
	}
	unread := func(r client.UnreadRequest) error {
		_, err := c.Unread(t.Context(), r)
		return err
	}
	profile := func(r client.ProfileRequest) error {
		_, err := c.Profile(t.Context(), r)
		return err
	}
	_, sync := c.Sync(t.Context(), &client.LocalList{UserID: "\xff"})
	user, filter := `bad request: userID "\xff": expected UTF-8`, client.Filter{ConversationIDList: []string{"C2Cbob", "C2C\xff"}, GroupName: new("\xff")}
	filters := `bad request: conversationIDList[1] "C2C\xff": expected UTF-8` + "\n" + `bad request: groupName "\xff": expected UTF-8`
	for _, c := range []struct {
		got  error
		want string
	}{
		{list(client.ListRequest{UserID: "\xff"}), user},
		{unread(client.UnreadRequest{UserID: "\xff"}), user},
		{profile(client.ProfileRequest{UserID: "\xff"}), user},
		{sync, user},
		{list(client.ListRequest{UserID: "ann", Filter: filter}), filters},
		{unread(client.UnreadRequest{UserID: "ann", Filter: filter}), filters},
		{profile(client.ProfileRequest{UserID: "ann", ConversationID: "C2C\xff"}), `bad request: conversationID "C2C\xff": expected UTF-8`},
	} {
		if !errors.Is(c.got, client.ErrBadRequest) || c.got.Error() != c.want {
			t.Errorf("got %v, want %s", c.got, c.want)
		}
	}
	if got := s.asked(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
	if err := list(client.ListRequest{UserID: "\ufffd"}); err != nil {
		t.Errorf("of one whose ID has U+FFFD in it: %v", err)
	}
}

// What is left of the context's deadline, less a little for the reply's way, is the
// request's timeoutMs, up to what a worker takes anyway; but not in place of one that is given.
func TestClient_DeadlineIsTheTimeout(t *testing.T) {
	s := play(t, []string{"unread"}, say(total))
	c := newClient(t, client.Config{App: s.app})
	for _, is := range []struct {
		left  time.Duration
		given uint64
	}{{4 * time.Second, 0}, {time.Hour, 0}, {4 * time.Second, 250}, {4 * time.Second, 4900}} {
		ctx, cancel := context.WithTimeout(t.Context(), is.left)
		defer cancel()
		if _, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann", TimeoutMs: is.given}); err != nil {
			t.Fatal(err)
		}
	}
	ms := timeouts(t, s)
	if len(ms) != 4 || ms[0] < 1 || ms[0] > 3950 || !slices.Equal(ms[1:], []int{0, 250, 4900}) {
		t.Errorf("timeoutMs %d", ms)
	}
}

// Each attempt has what is left by then.
func TestClient_DeadlineOfAnotherAttempt(t *testing.T) {
	s := play(t, []string{"unread"}, refuse(503, "away", ""), say(total))
	c, err := client.New(dial(t), client.Config{App: s.app, Wait: 40 * time.Millisecond}) // of which it waits a quarter at least
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann"}); err != nil {
		t.Fatal(err)
	}
	if ms := timeouts(t, s); len(ms) != 2 || ms[0]-ms[1] < 10 {
		t.Errorf("timeoutMs %d", ms)
	}
}

// timeouts are the timeoutMs of all that was asked; 0: none.
func timeouts(t *testing.T, s *script) (ms []int) {
	t.Helper()
	for _, asked := range s.asked() {
		var body struct{ TimeoutMs int }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(asked, "unread ")), &body); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, body.TimeoutMs)
	}
	return ms
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
			"not a refusal whose code is no number", 0,
			[]answer{func(r micro.Request) error { return r.Error("many", "wrong", nil) }},
			1,
			errors.New(`a reply with the error code "many": expected a number: wrong`),
		},
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

// A worker that never replies is waited for as long as it may take, and for the way of its reply.
func TestClient_NoReply(t *testing.T) {
	s := play(t, []string{"unread"}, func(micro.Request) error { return nil })
	c := newClient(t, client.Config{App: s.app, Attempts: 1})
	_, err := c.Unread(t.Context(), client.UnreadRequest{UserID: "ann", TimeoutMs: 1})
	if want := "timeout: convoview.v1." + s.app + ".conversation.unread has not answered within 1.001s"; !errors.Is(err, client.ErrTimeout) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
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

// So it is when it is done while the client waits to ask again.
func TestClient_ContextIsDoneInAWait(t *testing.T) {
	s := play(t, []string{"list"}, refuse(503, "away", ""))
	gone := errors.New("the user is gone")
	for range 10 { // in some of them the client has the refusal before the context is done
		ctx, cancel := context.WithCancelCause(t.Context())
		nc := dial(t)
		c, err := client.New(nc, client.Config{App: s.app, Wait: 10 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for nc.Stats().InMsgs == 0 {
				runtime.Gosched()
			}
			_ = nc.Flush()
			cancel(gone)
		}()
		if _, err := c.List(ctx, client.ListRequest{UserID: "ann"}); !errors.Is(err, gone) {
			t.Error(err)
		}
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
