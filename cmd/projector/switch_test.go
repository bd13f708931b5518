package main

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
)

// TestSwitch_Again says that the generation is read already.
func TestSwitch_Again(t *testing.T) {
	config := readmodeltest.Config(t)
	readmodeltest.New(t, config)
	for _, flags := range []string{"", "--force"} {
		var out strings.Builder
		args := append([]string{"switch", "1", "--clickhouse-addresses", config.Addresses[0], "--clickhouse-database", config.Database}, strings.Fields(flags)...)
		if err := run(t.Context(), args, func(string) string { return "" }, &out); err != nil || out.String() != "generation 1 is read already\n" {
			t.Errorf("switch 1 %s: got %q, %v", flags, out.String(), err)
		}
	}
}

// TestSwitch_AfterAnother has somebody switch while a switch compares, which then is told so:
// what it has compared with is not read any more.
func TestSwitch_AfterAnother(t *testing.T) {
	o := newOperator(t)
	o.mustRun("migrate")
	for _, generation := range []int{2, 3} {
		_, err := o.server.Add(t.Context(), readmodel.Options{})
		if err = errors.Join(err, o.server.Filled(t.Context(), generation)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "switch", "2")
	cmd.Env = o.env
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stderr)
	waits := false
	for !waits && said.Scan() {
		waits = strings.Contains(said.Text(), "waiting until projectors have written")
	}
	if err := o.server.Switch(t.Context(), 3, "another"); err != nil {
		t.Fatal(err)
	}
	o.project()
	last := ""
	for said.Scan() {
		last = said.Text()
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(last, "somebody else has just switched") {
		t.Errorf("got %v: %s", err, last)
	}
	if current, err := o.server.Current(t.Context()); err != nil || current != 3 {
		t.Errorf("generation %d is read, want 3: %v", current, err)
	}
}

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

// asOperator is how an operator connects.
func asOperator(s *server.Server) *lifecycle.NATSConfig {
	return &lifecycle.NATSConfig{URL: strings.Replace(s.ClientURL(), "nats://", "nats://operator:o@", 1)}
}

// told is what tellSwitch logs.
func told(s *server.Server) string {
	var log strings.Builder
	tellSwitch(asOperator(s), slog.New(slog.NewTextHandler(&log, nil)))
	return log.String()
}

func TestTellSwitch(t *testing.T) {
	s := startNATS(t, "convoview.feed.v1.>")
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("query", "q"), nats.Timeout(30*time.Second))
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

// TestUnread names the query worker that reads the generation which is to be dropped. Who
// cannot ask does not drop it.
func TestUnread(t *testing.T) {
	s := startNATS(t, "$SRV.STATS.convoview")
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("query", "q"), nats.Timeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	idle, err := readmodel.Open(readmodel.DefaultConfig()) // nobody asks it for anything
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	worker := query.New(query.DefaultConfig(), nc, query.Only(idle.Generation(1)), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for { // it takes a moment until the worker is there
		if readers, err := query.Readers(nc, 100*time.Millisecond); err != nil && !errors.Is(err, query.ErrSilent) {
			t.Fatal(err)
		} else if len(readers) == 1 && readers[0].Generation == 1 {
			break
		}
	}

	if err := unread(asOperator(s), 1); err == nil || !strings.Contains(err.Error(), "generation 1: query worker ") {
		t.Errorf("the one that is read: got %v", err)
	}
	if err := unread(asOperator(s), 2); err != nil {
		t.Errorf("another one: got %v", err)
	}
	if err := unread(asOperator(startNATS(t, "convoview.v1.>")), 1); err == nil || !strings.Contains(err.Error(), "nats: permissions violation") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("forbidden: got %v", err)
	}
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
