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
	if !s.ReadyForConnections(30 * time.Second) {
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
	w := New(DefaultConfig(), connect("worker"), Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
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
