package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/lifecycle"
)

// startNATS starts a server on which an operator may publish on some subjects only.
func startNATS(t *testing.T, allowed ...string) *server.Server {
	t.Helper()
	publish := &server.SubjectPermission{Allow: allowed}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "operator", Password: "o", Permissions: &server.Permissions{Publish: publish}},
			{Username: "query", Password: "q"},
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
	return s
}

// told is what tellSwitch logs.
func told(s *server.Server) string {
	url := strings.Replace(s.ClientURL(), "nats://", "nats://operator:o@", 1)
	var log strings.Builder
	tellSwitch(&lifecycle.NATSConfig{URL: url}, slog.New(slog.NewTextHandler(&log, nil)))
	return log.String()
}

func TestTellSwitch(t *testing.T) {
	s := startNATS(t, "convoview.feed.v1.>")
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("query", "q"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard := make(chan struct{}, 1)
	stop, err := feed.HearSwitches(nc, func() { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if log := told(s); log != "" {
		t.Errorf("logged %s", log)
	}
	<-heard
}

// TestTellSwitch_InVain says so in one line, and is no failure.
func TestTellSwitch_InVain(t *testing.T) {
	gone := startNATS(t)
	gone.Shutdown()
	gone.WaitForShutdown()
	for name, c := range map[string]struct {
		server *server.Server
		why    string
	}{
		"nobody is there": {gone, "connect to nats"},
		"forbidden":       {startNATS(t, "convoview.v1.>"), "convoview.feed.v1.generation.switched"},
	} {
		log := told(c.server)
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "--generation-interval") || !strings.Contains(log, c.why) {
			t.Errorf("%s: logged %q", name, log)
		}
	}
}
