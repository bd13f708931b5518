package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// manyWorkers gives the codes of one language in that section of the page for operators.
func manyWorkers(t *testing.T, language string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Many workers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var codes []string
	for {
		_, rest, ok := strings.Cut(section, "```"+language+"\n")
		if !ok {
			return codes
		}
		var code string
		code, section, _ = strings.Cut(rest, "```")
		codes = append(codes, code)
	}
}

// tokensOf gives the affinity tokens with which the page has a pod start its worker.
func tokensOf(t *testing.T, pod string) []string {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "query"), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\""), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", manyWorkers(t, "sh")[0])
	cmd.Env = []string{"HOSTNAME=" + pod, "PATH=" + bin + ":" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	tokens, ok := strings.CutPrefix(string(out), "--affinity-tokens\n")
	if !ok {
		t.Fatalf("got %q", out)
	}
	return strings.Split(strings.TrimSpace(tokens), ",")
}

// cluster is any number of workers at one server, and a backend of the app demo.
type cluster struct {
	*memory
	t       *testing.T
	server  *server.Server
	backend *nats.Conn
	workers []*member
}

// member is a worker of a cluster.
type member struct {
	*Worker
	leave func() // once
}

// startCluster starts a server, with the page's mapping and permissions, and no worker yet.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	t.Setenv("QUERY_PASSWORD", "secret-of-query")
	t.Setenv("DEMO_PASSWORD", "secret-of-demo")
	o := &server.Options{}
	if err := o.ProcessConfigString(strings.Join(manyWorkers(t, "conf"), "")); err != nil {
		t.Fatal(err)
	}
	s := startServerWith(t, o)
	return &cluster{memory: newMemory(), t: t, server: s, backend: connect(t, s, nats.UserInfo("demo", "secret-of-demo"))}
}

// join starts a worker that serves tokens.
func (c *cluster) join(tokens ...string) *member {
	c.t.Helper()
	cfg := DefaultConfig()
	cfg.AffinityTokens = tokens
	if err := cfg.Validate(); err != nil {
		c.t.Fatal(err)
	}
	nc := connect(c.t, c.server, nats.UserInfo("query", "secret-of-query"))
	w := New(cfg, nc, Only(c.memory), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	m := &member{w, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})}
	c.t.Cleanup(m.leave)
	c.workers = append(c.workers, m)

	id, err := nc.GetClientID()
	if err != nil {
		c.t.Fatal(err)
	}
	for last := w.endpoints[len(w.endpoints)-1].subject; ; {
		z, err := c.server.Connz(&server.ConnzOptions{CID: id, Subscriptions: true})
		if err != nil {
			c.t.Fatal(err)
		}
		if slices.Contains(z.Conns[0].Subs, last) {
			return m
		}
	}
}

// joinPods starts the three workers as the page does.
func (c *cluster) joinPods() {
	c.t.Helper()
	for i := range 3 {
		c.join(tokensOf(c.t, fmt.Sprintf("query-%d", i))...)
	}
}

// happen has something happen now, of which every worker hears.
func (c *cluster) happen(bodies ...events.Body) {
	c.fold(events.MicrosOf(now), bodies...)
	for _, w := range c.workers {
		m := projection.NewModel()
		for i, b := range bodies {
			m.Fold(events.Event{ID: fmt.Sprintf("e%06d", c.count-len(bodies)+i+1), App: "demo", Time: events.MicrosOf(now), Body: b})
		}
		w.Apply(m, nil)
	}
}

// asked is how many requests a worker has answered.
func (m *member) asked() (n int) {
	for _, e := range m.endpoints {
		n += e.stats.data().NumRequests
	}
	return n
}

// ask asks for demo and gives the reply's body and the one worker that it is from.
func (c *cluster) ask(endpoint, request string) (body string, by int) {
	c.t.Helper()
	before := make([]int, len(c.workers))
	for i, w := range c.workers {
		before[i] = w.asked()
	}
	m, err := c.backend.Request("convoview.v1.demo.conversation."+endpoint, []byte(request), 30*time.Second)
	if err != nil {
		c.t.Fatalf("%s %s: %v", endpoint, request, err)
	}
	if code := codeOf(m); code != "0" {
		c.t.Fatalf("%s %s: %s %s", endpoint, request, code, m.Data)
	}
	by = -1
	for i, w := range c.workers {
		switch n := w.asked() - before[i]; {
		case n == 1 && by < 0:
			by = i
		case n != 0:
			c.t.Fatalf("%s %s was answered more than once", endpoint, request)
		}
	}
	if by < 0 {
		c.t.Fatalf("%s %s was answered by nobody", endpoint, request)
	}
	return string(m.Data), by
}

// askAs asks with a user's token, for the same user.
func (c *cluster) askAs(userID, endpoint string, fields map[string]any) (body string, by int) {
	c.t.Helper()
	fields["userID"] = userID
	return c.ask(endpoint+"."+feed.SubjectToken(userID), request(fields))
}

// total checks a user's total and gives the worker that said it.
func (c *cluster) total(userID string, want int) (by int) {
	c.t.Helper()
	body, by := c.askAs(userID, "unread", map[string]any{})
	if want := fmt.Sprintf(`{"code":0,"data":{"totalUnreadMessageCount":%d}}`, want); body != want {
		c.t.Errorf("%s:\n got %s\nwant %s", userID, body, want)
	}
	return by
}

// people are users of whom the i-th has i%4 unread messages of ben.
func (c *cluster) people() []string {
	users := []string{"a.b", "*", ">", "a b", "é", "%2E", "🪴", strings.Repeat("x", 128)}
	for i := range 292 {
		users = append(users, fmt.Sprintf("user%d", i))
	}
	for i, u := range users {
		c.fold(ago(time.Hour), c2c(u, "ben", 1, "hello"))
		for n := range i % 4 {
			c.fold(ago(time.Hour), c2c("ben", u, uint64(n+2), "hello"))
		}
	}
	return users
}

// With the page's mapping and settings each user has one worker, which has them in memory.
func TestAffinity(t *testing.T) {
	c := startCluster(t)
	users := c.people()
	c.joinPods()
	of := map[string]int{} // the user's worker
	share := make([]int, len(c.workers))
	lists := map[string]string{}
	for i, u := range users {
		by := c.total(u, i%4)
		of[u] = by
		share[by]++
		lists[u], _ = c.ask("list", request(map[string]any{"userID": u})) // of any worker
	}
	for i, n := range share {
		if n < len(users)/4 {
			t.Errorf("worker %d has %d of %d users", i, n, len(users))
		}
	}
	for _, u := range users {
		got, by := c.askAs(u, "list", map[string]any{})
		if by != of[u] || got != lists[u] {
			t.Errorf("the list of %q by %d, want that of %d:\n got %s\nwant %s", u, by, of[u], got, lists[u])
		}
		profile, by := c.askAs(u, "profile", map[string]any{"conversationID": "C2Cben"})
		if by != of[u] || !strings.Contains(profile, `"conversationID":"C2Cben"`) {
			t.Errorf("the profile of %q by %d, want it by %d: %s", u, by, of[u], profile)
		}
	}
	c.intercept(func(context.Context, string) error { return errors.New("something was loaded") })
	for i, u := range users {
		c.total(u, i%4)
		if got, by := c.askAs(u, "list", map[string]any{}); by != of[u] || got != lists[u] {
			t.Errorf("the list of %q by %d, want that of %d:\n got %s\nwant %s", u, by, of[u], got, lists[u])
		}
	}
}

// The page's table of settings is what its command makes of the pods' names.
func TestAffinity_Settings(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for i := range 3 {
		pod := fmt.Sprintf("query-%d", i)
		tokens := tokensOf(t, pod)
		if row := "| `" + pod + "` | `" + strings.Join(tokens, ",") + "` |\n"; !strings.Contains(string(page), row) {
			t.Errorf("the page lacks the row %s", row)
		}
		for _, token := range tokens {
			all[token] = true
		}
	}
	for i := range 12 {
		if !all[fmt.Sprint(i)] {
			t.Errorf("nobody serves partition %d", i)
		}
	}
}

// A partition without a worker says so at once, and any other worker answers
// at the subject without a token.
func TestAffinity_AWorkerIsAway(t *testing.T) {
	c := startCluster(t)
	users := c.people()
	c.joinPods()
	of := map[string]int{}
	for i, u := range users {
		of[u] = c.total(u, i%4)
	}
	c.workers[1].leave()
	for i, u := range users {
		if of[u] != 1 {
			if by := c.total(u, i%4); by != of[u] {
				t.Errorf("%q by %d, want %d as before", u, by, of[u])
			}
			continue
		}
		ask := request(map[string]any{"userID": u})
		_, err := c.backend.Request("convoview.v1.demo.conversation.unread."+feed.SubjectToken(u), []byte(ask), 30*time.Second)
		if !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%q: got %v", u, err)
		}
		if body, by := c.ask("unread", ask); by == 1 || body != fmt.Sprintf(`{"code":0,"data":{"totalUnreadMessageCount":%d}}`, i%4) {
			t.Errorf("%q by %d: %s", u, by, body)
		}
	}
	c.join(tokensOf(t, "query-1")...)
	for i, u := range users {
		if by := c.total(u, i%4); (by == 3) != (of[u] == 1) || by == 1 {
			t.Errorf("%q by %d, before by %d", u, by, of[u])
		}
	}
}

// Tokens move between workers while the chat goes on, and two may have the
// same: each request gets one reply, and that is what has happened.
func TestAffinity_TokensMove(t *testing.T) {
	c := startCluster(t)
	users := c.people()
	unread := make([]int, len(users))
	for i := range users {
		unread[i] = i % 4
	}
	check := func() {
		t.Helper()
		for i, u := range users {
			c.total(u, unread[i])
			if body, _ := c.ask("unread", request(map[string]any{"userID": u})); body != fmt.Sprintf(`{"code":0,"data":{"totalUnreadMessageCount":%d}}`, unread[i]) {
				t.Errorf("%q without a token: %s", u, body)
			}
		}
		for i, u := range users[:20] {
			c.happen(c2c("ben", u, uint64(unread[i]+2), "hello"))
			unread[i]++
		}
	}
	c.join("*")
	check()
	c.join(tokensOf(t, "query-0")...)
	check()
	c.join(tokensOf(t, "query-1")...)
	c.join(tokensOf(t, "query-2")...)
	check()
	c.workers[0].leave() // the one of all tokens
	check()
	c.join(tokensOf(t, "query-0")...)
	c.join("1", "2", "4", "5", "7", "8", "10", "11")
	check()
	c.workers[1].leave()
	c.workers[2].leave()
	c.workers[3].leave()
	check()
}

// NATS looks at the permission for the subject that the mapping makes; the app is in both.
func TestAffinity_Permissions(t *testing.T) {
	c := startCluster(t)
	c.people()
	c.joinPods()
	refused, replies := make(chan error, 1), make(chan *nats.Msg, 1)
	demo := connect(t, c.server, nats.UserInfo("demo", "secret-of-demo"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	inbox := demo.NewRespInbox()
	if _, err := demo.Subscribe(inbox, func(m *nats.Msg) { replies <- m }); err != nil {
		t.Fatal(err)
	}
	for subject, checked := range map[string]string{
		"convoview.v1.demo.conversation.unread":        "",
		"convoview.v1.demo.conversation.unread.user1":  "",
		"convoview.v1.other.conversation.unread":       `"convoview.v1.other.conversation.unread"`,
		"convoview.v1.other.conversation.unread.user1": `"convoview.v1.other.conversation.unread.5"`,
	} {
		if err := demo.PublishRequest(subject, inbox, []byte(`{"userID":"user1"}`)); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-replies:
			if code := codeOf(m); code != "0" || checked != "" {
				t.Errorf("%s: %s %s, want %q refused", subject, code, m.Data, checked)
			}
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) || checked == "" || !strings.Contains(err.Error(), checked) {
				t.Errorf("%s: %v, want %q refused", subject, err, checked)
			}
		}
	}
}

// Without a mapping the default serves every token, by whichever worker.
func TestAffinity_WithoutAMapping(t *testing.T) {
	c := &cluster{memory: newMemory(), t: t, server: startServer(t, 0)}
	c.backend = connect(t, c.server)
	users := c.people()
	c.join(DefaultConfig().AffinityTokens...)
	c.join(DefaultConfig().AffinityTokens...)
	var share [2]int
	for share[0] == 0 || share[1] == 0 {
		for i, u := range users {
			share[c.total(u, i%4)]++
		}
	}
}

// A token only chooses the worker: the app is the subject's, the user the request's.
func TestAffinity_TheTokenSaysNothing(t *testing.T) {
	f := start(t, some())
	_, want := f.ask("unread", `{"userID":"ann"}`)
	if code, got := f.ask("unread.ben", `{"userID":"ann"}`); code != "0" || got != want {
		t.Errorf("with the token of ben: %s %s, want %s", code, got, want)
	}
	if code, got := f.askApp("other", "unread.demo", `{"userID":"ann"}`); code != "0" || got == want {
		t.Errorf("of another app: %s %s", code, got)
	}
	for _, endpoint := range []string{"unread", "unread.ann", "unread.demo"} {
		if code, message := f.askApp("a:b", endpoint, `{"userID":"ann"}`); code != "400" || !strings.HasPrefix(message, `app "a:b": expected 1 to 64`) {
			t.Errorf("%s: %s %s", endpoint, code, message)
		}
	}
}

// Each subject is counted for itself, under the endpoint's name.
func TestAffinity_Stats(t *testing.T) {
	f := start(t, some(), func(c *Config) { c.AffinityTokens = []string{"7"} })
	f.ask("list", `{"userID":"ann"}`)
	f.ask("list.7", `{"userID":"ann"}`)
	f.ask("list.7", `{}`)
	type counts struct {
		Subject, Name           string
		Requests, Errors, Taken int
	}
	var got []counts
	// micro counts a request once its handler has returned, which may be after the reply.
	for taken := 0; taken < 3; {
		m, err := f.client.Request("$SRV.STATS.convoview", nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var stats micro.Stats
		if err := json.Unmarshal(m.Data, &stats); err != nil {
			t.Fatal(err)
		}
		got, taken = nil, 0
		for _, e := range stats.Endpoints {
			var data statsData
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			got = append(got, counts{e.Subject, e.Name, data.NumRequests, data.NumErrors, e.NumRequests})
			taken += e.NumRequests
		}
	}
	want := []counts{
		{"convoview.v1.*.conversation.list", "list", 1, 0, 1},
		{"convoview.v1.*.conversation.profile", "profile", 0, 0, 0},
		{"convoview.v1.*.conversation.unread", "unread", 0, 0, 0},
		{"convoview.v1.*.conversation.list.7", "list", 2, 1, 2},
		{"convoview.v1.*.conversation.profile.7", "profile", 0, 0, 0},
		{"convoview.v1.*.conversation.unread.7", "unread", 0, 0, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := counted(t, f.worker, "list", "0"); got != 2 {
		t.Errorf("the metric counts %v lists, want both", got)
	}
}

func TestConfig_AffinityTokens(t *testing.T) {
	for _, c := range []struct {
		tokens []string
		want   string
	}{
		{[]string{"*"}, ""},
		{[]string{"0", "3", "eu-west_1", "%2E", "é"}, ""},
		{nil, "affinity tokens: expected at least one, or * for all"},
		{[]string{"*", "3"}, "affinity token *: expected no other beside it"},
		{[]string{"3", "4", "3"}, "affinity token 3: expected once"},
		{
			[]string{"", "a.b", "a*", ">", "a b", "a\n", "3"},
			`affinity token "": expected one token of a subject: no dot, blank or wildcard in it
affinity token "a.b": expected one token of a subject: no dot, blank or wildcard in it
affinity token "a*": expected one token of a subject: no dot, blank or wildcard in it
affinity token ">": expected one token of a subject: no dot, blank or wildcard in it
affinity token "a b": expected one token of a subject: no dot, blank or wildcard in it
affinity token "a\n": expected one token of a subject: no dot, blank or wildcard in it`,
		},
	} {
		cfg := DefaultConfig()
		cfg.AffinityTokens = c.tokens
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", c.tokens, diff)
		}
	}
}
