package query

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// always is a feed that hears of everything.
type always struct{}

func (always) Check() error { return nil }

func (always) Await(context.Context, events.Partition, int64) error { return nil }

// later is a feed that hears of everything, but of offsets only when it is closed.
type later struct {
	always
	closed chan struct{}
}

func (l later) Await(ctx context.Context, _ events.Partition, _ int64) error {
	select {
	case <-l.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TestCache_KeepsAListThatHasSettled asks for a list that changes: only when it
// is found unchanged several times in a row is it kept as it is sent.
func TestCache_KeepsAListThatHasSettled(t *testing.T) {
	m := some()
	w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	kept := func() bool {
		t.Helper()
		q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
		if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
			t.Fatal(err)
		}
		return w.cache().enter(projection.UserKey{App: "demo", UserID: "ann"}).value.page != nil
	}
	if !kept() {
		t.Error("the first time: not kept")
	}
	for i := range uint64(2) {
		w.Apply(modelOf(ago(time.Minute), c2c("ben", "ann", 10+i, "more")), nil)
		for range settledAfter { // the first one finds the change
			if kept() {
				t.Error("not yet settled: kept")
			}
		}
	}
	if !kept() {
		t.Error("settled: not kept")
	}
}

// TestCache_LeavesAPageAloneThatIsBeingSent has a list change and settle again while a reply
// is on its way, and after it is sent: only then its bytes may become another item's or page's.
func TestCache_LeavesAPageAloneThatIsBeingSent(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func(w *Worker, q *query) []byte
	}{
		{"at once", func(w *Worker, q *query) []byte { return w.cache().ready(q, 1<<20) }},
		{"in its turn", func(w *Worker, q *query) []byte {
			reply, _, _ := w.list(q, 1<<20, new(bytes.Buffer)) // of no page if it failed
			return reply
		}},
	} {
		t.Run(c.name, func(t *testing.T) { leavesAPageAlone(t, c.ask) })
	}
}

func leavesAPageAlone(t *testing.T, askWith func(*Worker, *query) []byte) {
	w := New(DefaultConfig(), nil, Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	newQuery := func() *query {
		return &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
	}
	said := uint64(10)
	askAgain := func(times int) {
		t.Helper()
		for range times {
			if _, err := w.answered(t.Context(), w.list, newQuery(), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func() {
		t.Helper()
		said++
		w.Apply(modelOf(ago(time.Minute), c2c("ben", "ann", said, fmt.Sprint("more ", said))), nil)
		askAgain(1)
	}
	settle := func() {
		t.Helper()
		change()
		askAgain(settledAfter)
	}
	item := func() *byte {
		in := &w.cache().enter(projection.UserKey{App: "demo", UserID: "ann"}).value
		i, _ := find(in.rows, "C2Cben")
		return &in.rows[i].is.json[0]
	}
	ask := func() (*query, []byte) { // for what is not done yet
		t.Helper()
		q := newQuery()
		q.cache = w.cache()
		reply := askWith(w, q)
		if reply == nil || q.lent == nil {
			t.Fatalf("a reply of %d bytes, no page lent: expected one", len(reply))
		}
		return q, reply
	}

	askAgain(1) // nothing is heard before
	settle()
	sending, reply := ask()
	text := string(reply)
	settle()
	if string(reply) != text {
		t.Errorf("the reply on its way became\n%s\nexpected\n%s", reply, text)
	}
	w.cache().done(sending)
	sending, reply = ask()
	w.cache().done(sending)
	before := item()
	change()
	if item() != before {
		t.Error("the next item of its length does not lie where the one lay that is sent")
	}
	askAgain(settledAfter)
	if _, next := ask(); &next[0] != &reply[0] {
		t.Error("the next page does not lie where the one lay that is sent")
	}
}

// TestCache_TiesOfPlansFallAsInTheStore has one ID name two plans: what is heard second is the
// greater value, and cuts the list that was kept.
func TestCache_TiesOfPlansFallAsInTheStore(t *testing.T) {
	m := newMemory()
	m.fold(ago(time.Hour), c2c("ben", "ann", 1, "x"), c2c("eve", "ann", 1, "x"))
	tied := func(maxConversations uint32) *projection.Model {
		change := projection.NewModel()
		change.Fold(events.Event{ID: "e", App: "demo", Time: ago(time.Minute), Body: plan(maxConversations)})
		return change
	}
	m.model.Merge(tied(1))
	w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	listed := func() int {
		t.Helper()
		q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
		reply, err := w.answered(t.Context(), w.list, q, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return len(parseList(t, reply).Data.ConversationList)
	}
	if n := listed(); n != 1 {
		t.Fatalf("%d conversations, want 1", n)
	}
	w.Apply(tied(2), nil)
	if n := listed(); n != 2 {
		t.Errorf("%d conversations after the greater plan of the same ID, want 2", n)
	}
}

// TestWorker_KeepsWhatIsLentUntilItIsSent looks, while a reply is being sent, whether others
// may write to the page that it is.
func TestWorker_KeepsWhatIsLentUntilItIsSent(t *testing.T) {
	w := New(DefaultConfig(), connect(t, startServer(t, 0)), Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	p := &page{reply: []byte("{}")}
	q := &query{progress: progress{cache: w.cache(), lent: p}}
	p.lent.Add(1)
	sending := int32(-1)
	e := &endpoint{name: "list", seconds: prometheus.ObserverFunc(func(float64) { sending = p.lent.Load() })}
	w.inHand.Add(1)
	w.finish(&job{endpoint: e, reply: "to", query: q, in: &w.hall, arrived: time.Now()}, p.reply, nil)
	if sent := p.lent.Load(); sending != 1 || sent != 0 {
		t.Errorf("lent %d times while it is sent, and %d then: expected 1 and 0", sending, sent)
	}
}

// TestCache_AnswersNobodyElse asks one thing after the other: what is kept in memory of the
// first answer is no part of the second, which is what a worker says that has nothing in memory.
func TestCache_AnswersNobodyElse(t *testing.T) {
	m := some()
	newWorker := func() (ask func(text string) string) {
		_, ask = lister(t, m)
		return ask
	}
	requests := []string{
		`{"userID":"ann"}`,
		`{"userID":"ben"}`,
		`{"userID":"ann","limit":2}`,
		`{"userID":"ann","limit":2,"cursor":"` + parseList(t, []byte(newWorker()(`{"userID":"ann","limit":2}`))).NextCursor + `"}`,
		`{"userID":"ann","sync":true}`,
		`{"userID":"ann","since":"` + parseList(t, []byte(newWorker()(`{"userID":"ann","type":"C2C","sync":true}`))).SyncToken + `"}`,
		`{"userID":"ann","type":"C2C"}`,
		`{"userID":"ann","markType":0}`,
		`{"userID":"ann","groupName":"work"}`,
		`{"userID":"ann","hasUnreadCount":true}`,
		`{"userID":"ann","hasGroupAtInfo":false}`,
		`{"userID":"ann","conversationIDList":["C2Cdan","C2Cben"]}`,
	}
	want := map[string]string{}
	for _, request := range requests {
		want[request] = newWorker()(request)
	}
	for _, first := range requests {
		for _, second := range requests {
			ask := newWorker()
			ask(first)
			if got := ask(second); got != want[second] {
				t.Errorf("%s after %s:\nwant %s\ngot  %s", second, first, want[second], got)
			}
		}
	}
}

// TestWorker_HoldsNothingForNobody holds that what requests had in memory, however they were
// answered, goes when the inboxes go that show it.
func TestWorker_HoldsNothingForNobody(t *testing.T) {
	f := startFollowing(t, some(), always{})
	for range 2 { // loaded, and in memory
		for _, user := range []string{"ann", "ben"} {
			f.list(`{"userID":"` + user + `"}`)
			f.list(`{"userID":"` + user + `","type":"GROUP","sync":true}`)
			f.ask("unread", `{"userID":"`+user+`"}`)
			f.ask("profile", `{"userID":"`+user+`","conversationID":"GROUPg1"}`)
			f.ask("list", `{"userID":"`+user+`","limit":1000}`) // over the plan's
		}
	}
	c := f.worker.cache()
	held := func() []int {
		return []int{heldBy(c.apps), heldBy(c.groups), heldBy(c.people), heldBy(c.edits), heldBy(c.senders), int(c.shared.Load())}
	}
	before := held()
	c.table.InvalidateAll()
	f.await(fmt.Sprintf("nothing of %v is held", before), func() bool { return slices.Max(held()) == 0 })
}

// heldBy is how many values are in memory because somebody needs them.
func heldBy[K comparable, T, L any](s *shared[K, T, L]) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries)
}

// TestCache_WeighsWithoutWaiting has an inbox weighed while somebody holds it: the table has
// locks of its own then, which whoever holds an inbox may need.
func TestCache_WeighsWithoutWaiting(t *testing.T) {
	c := New(DefaultConfig(), nil, Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry()).cache()
	k := projection.UserKey{App: "demo", UserID: "ann"}
	e := c.enter(k)
	e.mu.Lock()
	e.value.bytes = 1000
	if !e.value.outweighs() || e.value.outweighs() {
		t.Error("an inbox that has grown does not outweigh once what is counted of it")
	}
	weighed := make(chan struct{})
	go func() { c.weigh(k, e); close(weighed) }()
	select {
	case <-weighed:
	case <-time.After(10 * time.Second):
		t.Error("the table waits for the inbox")
	}
	e.mu.Unlock()
	<-weighed
	c.table.CleanUp()
	if got, want := c.bytes(), uint64(1000); got < want {
		t.Errorf("%d bytes are in memory, want %d and what a user takes", got, want)
	}
}

// TestCache_SendersOfNewMentions holds that whoever is mentioned waits for
// nothing, unless there may be more than what was heard.
func TestCache_SendersOfNewMentions(t *testing.T) {
	m := some()
	newWorker := func() *Worker {
		w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		w.Follow(always{})
		return w
	}
	list := func(w *Worker) string {
		t.Helper()
		q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
		reply, err := w.answered(t.Context(), w.list, q, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return string(reply)
	}
	w := newWorker()
	list(w)
	type said struct {
		ago  time.Duration
		body *events.MessageSent
	}
	for _, c := range []struct {
		name          string
		unheard       []said // what only the store has, before it has what is heard
		heard         []said
		loads, sender string
	}{
		{"a new message", nil, []said{{60 * time.Minute, group("cid", "g1", 10, "ann?", "ann")}}, "", "cid"},
		{"to everyone", nil, []said{{59 * time.Minute, everyone(group("dan", "g1", 11, "all?"))}}, "", "dan"},
		{
			"two of one sequence", nil,
			[]said{{58 * time.Minute, group("cid", "g1", 12, "ann?", "ann")}, {57 * time.Minute, group("eve", "g1", 12, "hm")}},
			"", "eve",
		},
		{
			"of a sequence that is not new",
			[]said{{30 * time.Minute, group("old", "g1", 9, "hm")}},
			[]said{{56 * time.Minute, group("dan", "g1", 9, "ann?", "ann")}},
			"senders", "old",
		},
		{"that mentions nobody", nil, []said{{54 * time.Minute, group("eve", "g1", 13, "hm")}}, "", "eve"},
		{"of the sequence of that one, and earlier", nil, []said{{55 * time.Minute, group("dan", "g1", 13, "ann?", "ann")}}, "senders", "eve"},
	} {
		for _, s := range c.unheard {
			m.fold(ago(s.ago), s.body)
		}
		heard := newMemory()
		for _, s := range c.heard {
			m.fold(ago(s.ago), s.body)
			heard.fold(ago(s.ago), s.body)
		}
		w.Apply(heard.model, nil)
		loads := ""
		m.intercept(func(_ context.Context, name string) error {
			loads += name
			return nil
		})
		got := list(w)
		m.intercept(nil)
		if want := list(newWorker()); got != want {
			t.Errorf("%s:\nwant %s\ngot  %s", c.name, want, got)
		}
		if loads != c.loads || !strings.Contains(got, `"groupAtInfoList":[{"from":"`+c.sender+`"`) && c.loads == "" {
			t.Errorf("%s: loads %q, want %q and the sender %s in %s", c.name, loads, c.loads, c.sender, got)
		}
	}
}

// TestCache_HoldsNoLargePayloads hears of a message with a payload that no list shows: what is
// counted of a group does not count it.
func TestCache_HoldsNoLargePayloads(t *testing.T) {
	w := New(DefaultConfig(), nil, Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
	if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
		t.Fatal(err)
	}
	large := group("cid", "g1", 10, "large")
	large.Payload = []byte(`"` + strings.Repeat("x", projection.InlinePayloadBytes) + `"`)
	w.Apply(modelOf(ago(time.Minute), large), nil)
	g, held := w.cache().groups.find(projection.GroupKey{App: "demo", GroupID: "g1"})
	if !held {
		t.Fatal("the group is not in memory")
	}
	if value, _ := g.read(); value.state.Head.Sequence != 10 || value.state.Head.LargePayload != "" {
		t.Errorf("of message %d are %d bytes in memory", value.state.Head.Sequence, len(value.state.Head.LargePayload))
	}
}

// TestCache_ForgetsOldSenders bounds how many senders wait for those who may ask.
func TestCache_ForgetsOldSenders(t *testing.T) {
	cfg := DefaultConfig()
	cfg.CacheBytes = 1 << 20
	w := New(cfg, nil, Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
	if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
		t.Fatal(err)
	}
	before := len(w.cache().senders.entries)
	for i := range uint64(1000) {
		w.Apply(modelOf(ago(time.Minute), group("cid", "g1", 10+i, "ann?", "ann")), nil)
	}
	most := w.cache().maxBytes.Load() / latestShare / (entryBytes + senderBytes)
	if held := len(w.cache().senders.entries) - before; held != int(most) || held == 0 {
		t.Errorf("%d senders are held, want %d", held, most)
	}
}

// TestCache_BoundsWhatIsShared has users show groups that take much more than their inboxes.
func TestCache_BoundsWhatIsShared(t *testing.T) {
	cfg := DefaultConfig()
	cfg.CacheBytes = 1 << 20
	m := newMemory()
	for i := range 100 {
		user, g := fmt.Sprintf("user-%03d", i), fmt.Sprintf("g-%03d", i)
		said := group("cid", g, 1, "hi")
		said.CloudCustomData = strings.Repeat("x", 8<<10)
		m.fold(ago(time.Hour), joined(user, g, 0), said)
	}
	w := New(cfg, nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	for i := range 100 {
		q := &query{app: "demo", userID: fmt.Sprintf("user-%03d", i), now: events.MicrosOf(now), begin: time.Now()}
		if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	c := w.cache()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.table.CleanUp()
		if got, most := c.bytes(), uint64(c.maxBytes.Load()); got <= most && got > most/4 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d bytes are in memory, want at most %d and much of that", got, most)
		}
	}
}

// TestMergeApp_LeavesTheSetAlone holds that rules which are being asked look at a set that
// nobody writes to.
func TestMergeApp_LeavesTheSetAlone(t *testing.T) {
	a := projection.App{Erased: map[string]struct{}{"ann": {}}}
	before := a
	if !mergeApp(&a, &projection.App{Erased: map[string]struct{}{"ben": {}}}) || len(a.Erased) != 2 {
		t.Errorf("erased are %v, want ann and ben", a.Erased)
	}
	if len(before.Erased) != 1 {
		t.Errorf("the set before has become %v", before.Erased)
	}
}

// modelOf is what a projector announces of events.
func modelOf(at events.Micros, bodies ...events.Body) *projection.Model {
	m := newMemory()
	m.fold(at, bodies...)
	return m.model
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMemory()
			for i := range n {
				m.fold(ago(time.Duration(i+1)*time.Minute), c2c(fmt.Sprintf("user-%06d", i), "ann", 1, "Are you coming to the cinema tonight? It begins at eight."))
			}
			w := New(DefaultConfig(), connect(b, startServer(b, 0)), Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			w.Follow(always{})
			j := &job{endpoint: w.endpoints[0], subject: "convoview.v1.demo.conversation.list", data: []byte(`{"userID":"ann"}`), maxBytes: minPayload}
			size := 0
			var buffer bytes.Buffer
			for b.Loop() {
				j.arrived = time.Now()
				j.query = nil
				buffer.Reset()
				reply, err := w.done(b.Context(), j, &buffer)
				if err != nil {
					b.Fatal(err)
				}
				size = len(reply)
			}
			b.ReportMetric(float64(size), "reply-bytes")
		})
	}
}

// TestCache_CountsWhatItTakes holds what is counted of lists against what they take, which
// is what the bound is about.
func TestCache_CountsWhatItTakes(t *testing.T) {
	const users, conversations = 50, 10
	for _, c := range []struct {
		name string
		fold func(m *memory, user string, i int)
	}{
		{"short ones", func(*memory, string, int) {}},
		{"many marks", func(m *memory, user string, i int) {
			marks := make([]uint64, 1000)
			for j := range marks {
				marks[j] = uint64(j + 5)
			}
			m.fold(ago(time.Hour), marked(user, fmt.Sprintf("C2Cpeer-%d", i), marks...))
		}},
		{"many groups", func(m *memory, user string, i int) {
			groups := make([]string, 1000)
			for j := range groups {
				groups[j] = fmt.Sprintf("%04d", j)
			}
			m.fold(ago(time.Hour), grouped(user, fmt.Sprintf("C2Cpeer-%d", i), groups...))
		}},
		{"many mentions", func(m *memory, user string, i int) {
			g := fmt.Sprintf("g-%d", i)
			m.fold(ago(time.Hour), joined(user, g, 0))
			for j := range 20 { // as many as a list names
				m.fold(ago(time.Minute), group("eve", g, uint64(i*100+j+1), "hi", user))
			}
		}},
	} {
		m := newMemory()
		for u := range users {
			for i := range conversations {
				user := fmt.Sprintf("user-%d", u)
				m.fold(ago(time.Hour), c2c(fmt.Sprintf("peer-%d", i), user, 1, "hello"))
				c.fold(m, user, i)
			}
		}
		for _, endpoint := range []string{"unread", "list"} {
			w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			w.Follow(always{})
			before := live()
			for u := range users {
				q := &query{app: "demo", userID: fmt.Sprintf("user-%d", u), now: events.MicrosOf(now), begin: time.Now()}
				answer := w.list
				if endpoint == "unread" {
					answer = w.unread
				}
				if _, err := w.answered(t.Context(), answer, q, 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			w.cache().table.CleanUp()
			took, counted := live()-before, int(w.cache().bytes())
			if most := counted + counted/lostShare + 64<<10; took > most { // a little is nobody's
				t.Errorf("%s, %s: %d bytes are taken and %d counted, want at most %d taken", c.name, endpoint, took, counted, most)
			}
			w.cache().table.InvalidateAll() // before the next are measured
			w.cache().table.CleanUp()
		}
	}
}

// live is what is in memory and needed.
func live() int {
	runtime.GC()
	runtime.GC() // pools are emptied by two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestCache_LetsGoOfWhatNobodyHasEntered has the table give up an inbox before whoever has put
// it there has entered it: what others hold stays.
func TestCache_LetsGoOfWhatNobodyHasEntered(t *testing.T) {
	c := New(DefaultConfig(), nil, Only(some()), time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry()).cache()
	c.enter(projection.UserKey{App: "demo", UserID: "ann"})
	k, e := projection.UserKey{App: "demo", UserID: "ben"}, &entry[inbox]{value: inbox{holders: 1}}
	c.leave(k, e)
	if n := heldBy(c.apps); n != 1 {
		t.Errorf("%d apps are held, want ann's", n)
	}
}
