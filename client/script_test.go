package client_test

import (
	"fmt"
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
