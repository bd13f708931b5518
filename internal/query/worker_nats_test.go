package query

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWorker_NoReplySubject(t *testing.T) {
	f := start(t, some())
	if err := f.client.Publish("convoview.v1.demo.conversation.unread", []byte(`{"userID":"ann"}`)); err != nil {
		t.Fatal(err)
	}
	// The same subscription sees the next message after it.
	f.ask("unread", `{"userID":"ann"}`)
	if got := testutil.ToFloat64(f.worker.metrics.dropped); got != 1 {
		t.Errorf("%v dropped, want 1", got)
	}
	if got := counted(t, f.worker, "unread", "0"); got != 1 {
		t.Errorf("%v answered, want 1", got)
	}
}

func TestWorker_Micro(t *testing.T) {
	f := start(t, some())
	f.ask("list", `{"userID":"ann"}`)
	f.ask("list", `{}`)
	verb := func(verb string, to any) {
		t.Helper()
		m, err := f.client.Request("$SRV."+verb+".convoview", nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Data, to); err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
	}
	var ping micro.Ping
	if verb("PING", &ping); ping.Name != "convoview" || ping.Version != "0.1.0" || ping.Type != micro.PingResponseType {
		t.Errorf("ping: %+v", ping)
	}
	var info micro.Info
	verb("INFO", &info)
	want := []micro.EndpointInfo{
		{Name: "list", Subject: "convoview.v1.*.conversation.list", QueueGroup: "convoview"},
		{Name: "profile", Subject: "convoview.v1.*.conversation.profile", QueueGroup: "convoview"},
		{Name: "unread", Subject: "convoview.v1.*.conversation.unread", QueueGroup: "convoview"},
		{Name: "list", Subject: "convoview.v1.*.conversation.list.*", QueueGroup: "convoview"},
		{Name: "profile", Subject: "convoview.v1.*.conversation.profile.*", QueueGroup: "convoview"},
		{Name: "unread", Subject: "convoview.v1.*.conversation.unread.*", QueueGroup: "convoview"},
	}
	if diff := cmp.Diff(want, info.Endpoints); diff != "" || info.Description == "" {
		t.Errorf("info (-want +got)\n%s", diff)
	}
	var stats micro.Stats
	for len(stats.Endpoints) == 0 || stats.Endpoints[0].NumRequests < 2 { // micro counts after the reply
		verb("STATS", &stats)
	}
	var data statsData
	if err := json.Unmarshal(stats.Endpoints[0].Data, &data); err != nil {
		t.Fatal(err)
	}
	if data.NumRequests != 2 || data.NumErrors != 1 || !strings.HasPrefix(data.LastError, "400: userID is missing") ||
		data.ProcessingTime <= 0 || data.AverageProcessingTime != data.ProcessingTime/2 {
		t.Errorf("stats: %+v", data)
	}
	if n := stats.Endpoints[0].NumRequests; n != 2 {
		t.Errorf("micro counts %d", n)
	}
}

// Two workers share what is asked; a cursor of one works with the other.
func TestWorker_Several(t *testing.T) {
	m := some()
	s := startServer(t, 0)
	client := connect(t, s)
	f := &fixture{memory: m, t: t, client: client}
	connections := []*nats.Conn{connect(t, s), connect(t, s)}
	var ended sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(ended.Wait)
	t.Cleanup(stop)
	var workers []*Worker
	for _, nc := range connections {
		w := New(DefaultConfig(), nc, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		workers = append(workers, w)
		ended.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	f.awaitService()
	for counted(t, workers[0], "list", "0") == 0 || counted(t, workers[1], "list", "0") == 0 {
		var got []string
		cursor := ""
		for {
			page := f.list(`{"userID":"ann","limit":1` + cursor + `}`)
			got = append(got, page.ids(t)...)
			if page.NextCursor == "" {
				break
			}
			cursor = `,"cursor":"` + page.NextCursor + `"`
		}
		if diff := cmp.Diff([]string{"@TIM#SYSTEM", "GROUPg1", "C2Cben", "C2Cann", "GROUPg2", "C2Ccid"}, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	}
}

func TestWorker_RefusesASmallMaximumPayload(t *testing.T) {
	s := startServer(t, 1<<20-1)
	w := New(DefaultConfig(), connect(t, s), Only(newMemory()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := w.Run(ctx)
	if err == nil || !strings.HasSuffix(err.Error(), "takes messages of up to 1048575 bytes: expected at least 1048576 (max_payload)") {
		t.Errorf("got %v", err)
	}
}

// TestWorker_RefusesAServerWithoutHeaders holds that no refusal is lost, which has its code in one.
func TestWorker_RefusesAServerWithoutHeaders(t *testing.T) {
	s := startServerWith(t, &server.Options{NoHeaderSupport: true})
	w := New(DefaultConfig(), connect(t, s), Only(newMemory()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Run(ctx); err == nil || !strings.HasSuffix(err.Error(), "takes no headers: expected them (no_header_support: false)") {
		t.Errorf("got %v", err)
	}
}

// TestWorker_AnotherServerTakesLess has a list in memory as it was sent when more could be.
func TestWorker_AnotherServerTakesLess(t *testing.T) {
	f, takesLess := startLarge(t, always{})
	for range 2 * settledAfter { // until it is kept
		if code, body := f.ask("list", `{"userID":"ann"}`); code != "0" || len(parseList(t, []byte(body)).Data.ConversationList) != 3 {
			t.Fatal(code, len(body))
		}
	}

	takesLess()
	code, body := f.ask("list", `{"userID":"ann"}`)
	if page := parseList(t, []byte(body)); code != "0" || len(page.Data.ConversationList) != 2 || page.NextCursor == "" {
		t.Errorf("got %s, %d bytes: expected a page of what the server takes now", code, len(body))
	}
}

// TestWorker_AnotherServerTakesLessByThen has a reply become too large while its request is in hand.
func TestWorker_AnotherServerTakesLessByThen(t *testing.T) {
	f, takesLess := startLarge(t, nil)
	g := newGate(f.memory)
	reply := f.send("list", `{"userID":"ann"}`)
	<-g.came
	takesLess()
	close(g.open)
	select {
	case m := <-reply:
		if want := `{"code":503,"message":"the reply is larger than the NATS server takes that the worker is connected to by now, ask again"}`; codeOf(m) != "503" || string(m.Data) != want {
			t.Errorf("got %s, %d bytes", codeOf(m), len(m.Data))
		}
	case <-time.After(10 * time.Second):
		t.Error("no reply")
	}
	if code, body := f.ask("list", `{"userID":"ann"}`); code != "0" || parseList(t, []byte(body)).NextCursor == "" {
		t.Errorf("asked again: got %s, %d bytes: expected a page of what the server takes now", code, len(body))
	}
}

// startLarge starts a worker at a server that takes more than it must, and has a list that is
// as large. takesLess has the server take no more than it must, and the worker connect again.
func startLarge(t *testing.T, feed Feed) (f *fixture, takesLess func()) {
	t.Helper()
	o := &server.Options{MaxPayload: 2 << 20}
	s := startServerWith(t, o)
	nc := connect(t, s)
	f = &fixture{memory: newMemory(), t: t, client: connect(t, s)}
	for i := range 3 {
		f.fold(ago(time.Hour), c2c(fmt.Sprint("peer", i), "ann", 1, strings.Repeat("x", 200<<10)))
	}
	f.worker = New(DefaultConfig(), nc, Only(f.memory), f.now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	f.worker.Follow(feed)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	f.awaitService()
	return f, func() {
		t.Helper()
		less := o.Clone()
		less.MaxPayload = minPayload
		if err := s.ReloadOptions(less); err != nil {
			t.Fatal(err)
		}
		back := nc.StatusChanged(nats.CONNECTED)
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-back
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWorker_EndsWithItsConnection(t *testing.T) {
	s := startServer(t, 0)
	nc := connect(t, s)
	f := &fixture{t: t, client: connect(t, s)}
	w := New(DefaultConfig(), nc, Only(newMemory()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	f.awaitService()
	nc.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "its nats connection was closed") {
		t.Errorf("got %v", err)
	}
}
