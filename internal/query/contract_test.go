package query

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
)

// Permissions of NATS alone say which app a backend may ask about.
func TestWorker_PermissionsNameTheApp(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		ServerName: t.Name(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "worker"},
			{Username: "backend", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"convoview.v1.demo.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	refused := make(chan error, 1)
	connect := func(user string) *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(user, ""),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	w := New(DefaultConfig(), connect("worker"), some(), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	(&fixture{t: t, client: connect("worker")}).awaitService()

	backend := &fixture{t: t, client: connect("backend")}
	if code, body := backend.ask("unread", `{"userID":"ann"}`); code != "0" || body != `{"code":0,"data":{"totalUnreadMessageCount":3}}` {
		t.Errorf("its own app: %s %s", code, body)
	}
	if err := backend.client.PublishRequest("convoview.v1.other.conversation.unread", nats.NewInbox(), []byte(`{"userID":"ann"}`)); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; !strings.Contains(err.Error(), `Permissions Violation for Publish to "convoview.v1.other.conversation.unread"`) {
		t.Errorf("another app: %v", err)
	}
}

// A modification is of all messages of its sequence: of the head, too, that came after it.
func TestList_ModificationOfSeveralMessages(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(3*time.Hour), c2c("ben", "ann", 1, "first"))
	f.fold(ago(2*time.Hour), &events.MessageModified{
		Conversation: events.C2C("ann", "ben"), Sequence: 1, Version: 1, HasMessageForShow: true, MessageForShow: "modified",
	})
	f.fold(ago(time.Hour), c2c("ben", "ann", 1, "second"))
	got := string(f.list(`{"userID":"ann"}`).Data.ConversationList[0])
	if !strings.Contains(got, `"messageID":"m-second"`) || !strings.Contains(got, `"messageForShow":"modified"`) {
		t.Errorf("the head is not the second message as modified: %s", got)
	}
}
