package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

var schedules = flag.Int("schedules", 10_000, "how many schedules of projector, feed and requests to play")

// TestCoherence plays schedules, each drawn from its seed: projectors write,
// announce, crash and repeat; the feed loses, delays, repeats and reorders; messages
// expire; requests load while all that happens. Whenever the feed has caught up, every
// reply is what folding everything visible gives.
func TestCoherence(t *testing.T) {
	for seed := range uint64(*schedules) {
		if fault := playSchedule(t, seed, protocol{}); fault != "" {
			t.Fatalf("seed %d: %s", seed, fault)
		}
	}
}

// TestCoherence_CatchesBrokenProtocols holds that the test above can fail.
func TestCoherence_CatchesBrokenProtocols(t *testing.T) {
	for _, broken := range []protocol{
		{name: "losses are not heeded", deafToLoss: true},
		{name: "announced before it is visible", announceFirst: true},
		{name: "positions are not repeated", noRepeats: true},
		{name: "what is heard during a load is dropped", deafDuringLoads: true},
		{name: "a load under way outlives a loss", loadsOutliveLosses: true},
		{name: "a reply is sent again although something has changed", stalePages: true},
		{name: "a later page is not held against the first page's list", blindPages: true},
	} {
		t.Run(broken.name, func(t *testing.T) {
			for seed := range uint64(20_000) {
				if playSchedule(t, seed, broken) != "" {
					return
				}
			}
			t.Error("no schedule shows that it is broken")
		})
	}
}

// protocol says what is broken of it.
type protocol struct {
	name                                                  string
	deafToLoss, announceFirst, noRepeats, deafDuringLoads bool
	loadsOutliveLosses, stalePages, blindPages            bool
}

// world is a read model, a projector that fills it from a log, the feed on its
// way to a worker, and the worker.
type world struct {
	protocol
	rng   *rand.Rand
	log   []events.Event // a partition
	store *memory

	name      string // the projector's, which changes with every crash
	number    uint64
	next      int // what it writes next
	announced int
	committed int
	visible   int // how much of the log is in the store

	way      []announced // announcements on their way
	receiver *feed.Receiver
	worker   *Worker
	silent   bool               // as Feed
	now      events.Micros      // when every request is made
	clients  map[string]*client // by user ID

	mu    sync.Mutex
	gates []*held // loads that wait
}

type announced struct {
	from string
	*feedpb.Announcement
}

// held holds up a load until the schedule lets it go on.
type held struct {
	name string
	open chan struct{}
}

func playSchedule(t *testing.T, seed uint64, p protocol) (fault string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed, p)
		for range 40 {
			if fault == "" {
				fault = w.step(t)
			}
		}
		if fault == "" {
			w.catchUp()
			fault = w.compare(t)
		}
	})
	return fault
}

var drawnEvents = rapid.Custom(func(t *rapid.T) []events.Event { return projectiontest.Events(t, 40) })

func newWorld(seed uint64, p protocol) *world {
	w := &world{
		protocol: p,
		rng:      rand.New(rand.NewPCG(seed, 0)),
		log:      drawnEvents.Example(int(seed)),
		store:    newMemory(),
		name:     "p0",
		now:      projectiontest.Now,
		clients:  map[string]*client{},
	}
	cfg := DefaultConfig()
	cfg.LoadConcurrency = 1
	w.worker = New(cfg, nil, Only(gated{w.store, w}), func() time.Time { return projectiontest.Now.Time() },
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.worker.Follow(w)
	w.receiver = feed.NewReceiver(w)
	return w
}

// Check is the feed's.
func (w *world) Check() error {
	if w.silent {
		return errOverloaded // any
	}
	return nil
}

// Await is nobody's in these tests.
func (w *world) Await(context.Context, events.Partition, int64) error { panic("not asked for") }

// Apply and Lost are the receiver's handler.
func (w *world) Apply(m *projection.Model, list []events.Event) {
	if w.deafDuringLoads && len(w.waiting()) > 0 {
		return
	}
	if w.stalePages {
		defer w.keepPages()()
	}
	w.worker.Apply(m, list)
}

func (w *world) Lost() {
	if !w.deafToLoss {
		w.worker.Lost()
	}
	if w.loadsOutliveLosses {
		for e := range w.worker.cache().table.Values() {
			if e.call != nil {
				e.call.epoch = w.worker.cache().epoch.Load()
			}
		}
	}
}

// keepPages gives what puts the pages back that are there now.
func (w *world) keepPages() (undo func()) {
	pages := map[*entry[inbox]]*page{}
	for e := range w.worker.cache().table.Values() {
		e.mu.Lock() // somebody may be forgotten meanwhile
		pages[e] = e.value.page
		e.mu.Unlock()
	}
	return func() {
		for e, p := range pages {
			if p == nil {
				continue
			}
			e.mu.Lock()
			e.value.page = p
			for i := range p.deps {
				p.deps[i].is = p.deps[i].version.Load()
			}
			e.mu.Unlock()
		}
	}
}

// step does something that happens by itself, or asks something.
func (w *world) step(t *testing.T) string {
	switch n := w.rng.IntN(10); {
	case n < 7:
		w.happen()
		return ""
	case n < 8:
		w.ask(t, w.anyUser(), true)
		return ""
	case n < 9:
		user := w.anyUser()
		if fault := w.sync(t, user, true); fault != "" {
			return fmt.Sprintf("sync of %s, disturbed: %s", user, fault)
		}
		return ""
	default:
		w.catchUp()
		return w.compare(t)
	}
}

// happen is one thing that happens in the world without the worker's doing.
func (w *world) happen() {
	switch n := w.rng.IntN(20); {
	case n < 7:
		w.project()
	case n < 13 && len(w.way) > 0: // it arrives, mostly the oldest first
		i := 0
		if w.rng.IntN(4) == 0 {
			i = w.rng.IntN(len(w.way))
		}
		w.deliver(i, w.rng.IntN(8) == 0)
	case n < 15 && len(w.way) > 0: // it is lost
		i := w.rng.IntN(len(w.way))
		w.way = slices.Delete(w.way, i, i+1)
	case n < 16: // crash: another begins where this one was committed
		w.name, w.number = fmt.Sprintf("%s'", w.name), 0
		w.next, w.announced = w.committed, w.committed
	case n < 17:
		w.repeat()
	case n < 18:
		w.silent = !w.silent
	case n < 19:
		time.Sleep(time.Minute) // entries age
	default: // messages expire
		w.now += events.Micros(time.Duration(w.rng.IntN(30)) * time.Hour / time.Microsecond)
	}
}

// project writes some of the log, announces it and commits it, or stops in between.
func (w *world) project() {
	to := min(w.next+1+w.rng.IntN(3), len(w.log))
	batch := w.log[w.next:to]
	write := func() {
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		for _, e := range batch {
			w.store.model.Fold(e)
		}
		w.visible = max(w.visible, to)
	}
	announce := func() {
		for i, e := range batch {
			value, err := events.AppendProtobuf(nil, e)
			if err != nil {
				panic(err)
			}
			a := &feedpb.Announcement{Records: []*feedpb.Record{{Value: value, ContentType: new(events.ContentTypeProtobuf)}}}
			if i == len(batch)-1 {
				a.Ranges = []*feedpb.Range{{Topic: "t", From: int64(w.announced), To: int64(to)}}
			}
			w.say(a)
		}
		w.announced = to
	}
	if len(batch) == 0 {
		return
	}
	first, second := write, announce
	if w.announceFirst {
		first, second = announce, write
	}
	first()
	if w.rng.IntN(8) == 0 {
		w.next = w.announced // it tries again, or crashes and another does
		return
	}
	if w.announceFirst && w.rng.IntN(2) == 0 {
		w.happenOthers() // between announcing and writing
	}
	second()
	w.next = to
	if w.rng.IntN(3) > 0 {
		w.committed = to
	}
}

// happenOthers lets announcements arrive.
func (w *world) happenOthers() {
	for len(w.way) > 0 && w.rng.IntN(3) > 0 {
		w.deliver(0, false)
	}
}

func (w *world) say(a *feedpb.Announcement) {
	w.number++
	a.Number = w.number
	w.way = append(w.way, announced{w.name, a})
}

// repeat is what an owner does every second.
func (w *world) repeat() {
	if !w.noRepeats {
		w.say(&feedpb.Announcement{Ranges: []*feedpb.Range{{Topic: "t", From: int64(w.announced), To: int64(w.announced)}}})
	}
}

func (w *world) deliver(i int, again bool) {
	m := w.way[i]
	if !again {
		w.way = slices.Delete(w.way, i, i+1)
	}
	w.receiver.Take(m.from, m.Announcement, time.Now())
}

// catchUp has the projector finish what it began, and the feed bring all that it has not lost.
func (w *world) catchUp() {
	for w.announced < w.visible {
		w.project()
	}
	w.repeat()
	for len(w.way) > 0 {
		w.deliver(0, false)
	}
	w.silent = false
}

func (w *world) anyUser() string { return projectiontest.Users[w.rng.IntN(len(projectiontest.Users))] }

// ask asks for a user's list and total. With others, things happen while it
// loads; what it answers then is not looked at.
func (w *world) ask(t *testing.T, user string, others bool) (list, total []byte) {
	time.Sleep(time.Millisecond) // no two requests come at the same moment
	done := false
	go func() {
		q := &query{app: projectiontest.Apps[0], userID: user, now: w.now, begin: time.Now()}
		var err error
		if list, err = w.worker.answered(context.Background(), w.worker.list, q, 1<<20); err != nil {
			t.Error(err)
		}
		if total, err = w.worker.answered(context.Background(), w.worker.unread, q, 0); err != nil {
			t.Error(err)
		}
		done = true
	}()
	for {
		synctest.Wait()
		if done {
			return list, total
		}
		waiting := w.waiting()
		if others && w.rng.IntN(3) > 0 {
			w.happen()
			continue
		}
		w.release(waiting[w.rng.IntN(len(waiting))])
	}
}

// compare asks for everybody's list and total.
func (w *world) compare(t *testing.T) string {
	visible := bruteforce.New(w.log[:w.visible], w.now)
	app := projectiontest.Apps[0]
	for _, user := range projectiontest.Users {
		list, total := w.ask(t, user, false)
		var want bytes.Buffer
		want.WriteString(listHead)
		for i, item := range visible.List(app, user, bruteforce.Filter{}) {
			if i > 0 {
				want.WriteByte(',')
			}
			if err := encode(&want, item); err != nil {
				t.Fatal(err)
			}
		}
		want.WriteString(listTail("", "[]", false, ""))
		if !bytes.Equal(want.Bytes(), list) {
			return fmt.Sprintf("list of %s\nwant %s\ngot  %s", user, want.Bytes(), list)
		}
		if fault := cmp.Or(w.sync(t, user, false), w.clients[user].differs(t, list)); fault != "" {
			return fmt.Sprintf("sync of %s: %s", user, fault)
		}
		if want := encodeUnread(visible.Unread(app, user, bruteforce.Filter{}, false)); !bytes.Equal(want, total) {
			return fmt.Sprintf("total of %s: want %s, got %s", user, want, total)
		}
	}
	return w.miscounted()
}

// miscounted says whose inbox counts for more or less than what is in it.
func (w *world) miscounted() string {
	for k, e := range w.worker.cache().table.All() {
		in, want := &e.value, e.value.last.size()
		for _, r := range in.rows {
			want += rowBytes + len(r.id) + len(r.own) + r.is.size() + r.extra.size()
		}
		if in.bytes != want {
			return fmt.Sprintf("the inbox of %s counts for %d bytes, want %d", k.UserID, in.bytes, want)
		}
	}
	return ""
}

// sync has a client of the user's sync, some of it page by page. With others, things
// happen between the pages. Whatever happens, the token stands for what the client
// then holds.
func (w *world) sync(t *testing.T, user string, others bool) string {
	c := w.clients[user]
	q := &query{app: projectiontest.Apps[0], userID: user, sync: true, limit: w.rng.Uint64N(2)}
	if c == nil {
		c = &client{items: map[string]string{}}
		w.clients[user] = c
	} else {
		q.since = new(c.token)
	}
	for disturbances := 5; ; disturbances-- {
		page := w.page(t, q)
		if fault := c.take(t, page, q.cursor == nil); fault != "" {
			return fault
		}
		if page.NextCursor == "" {
			return c.isWhole(q)
		}
		q.cursor = &page.NextCursor
		if others && disturbances > 0 {
			for range w.rng.IntN(8) {
				w.happen()
			}
			if w.blindPages {
				w.blind(t, q)
			}
		}
	}
}

// blind has the cursor of a query say that it is of the list as it is now.
func (w *world) blind(t *testing.T, q *query) {
	now := *q
	now.progress, now.cursor, now.limit = progress{}, nil, 1
	next := w.page(t, &now).NextCursor
	if next == "" {
		return
	}
	of, err := q.decodeCursor(next)
	if err != nil {
		t.Fatal(err)
	}
	at, err := q.decodeCursor(*q.cursor)
	if err != nil {
		t.Fatal(err)
	}
	q.cursor = new(q.encodeCursor(cursor{at.Position, at.synced, of.of}))
}

// page asks for a page of a list while nothing else happens.
func (w *world) page(t *testing.T, q *query) (page listBody) {
	time.Sleep(time.Millisecond)
	q.now, q.begin = w.now, time.Now()
	var body []byte
	go func() {
		var err error
		if body, err = w.worker.answered(context.Background(), w.worker.list, q, 1<<20); err != nil {
			t.Error(err)
			body = []byte("{}")
		}
	}()
	for {
		synctest.Wait()
		if body != nil {
			break
		}
		w.release(w.waiting()[0])
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	return page
}

// pass holds up a load until the schedule lets it go on.
func (w *world) pass(name string) {
	g := &held{name, make(chan struct{})}
	w.mu.Lock()
	w.gates = append(w.gates, g)
	w.mu.Unlock()
	<-g.open
}

// waiting are the loads that are held up, in an order that is the same in every run.
func (w *world) waiting() []*held {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.gates, func(a, b *held) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return slices.Clone(w.gates)
}

func (w *world) release(g *held) {
	w.mu.Lock()
	w.gates = slices.DeleteFunc(w.gates, func(other *held) bool { return other == g })
	w.mu.Unlock()
	close(g.open)
}

// gated is the store, whose loads are held up before and after they read.
type gated struct {
	*memory
	w *world
}

func through[K comparable, V any](ctx context.Context, w *world, name string, keys []K, load loadFunc[K, V]) (map[K]V, error) {
	w.pass(name + " begins")
	values, err := load(ctx, keys)
	w.pass(name + " ends")
	return values, err
}

func (g gated) Inboxes(ctx context.Context, keys []projection.UserKey, most int) (map[projection.UserKey]map[string]*projection.State, error) {
	return through(ctx, g.w, "inboxes", keys, func(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]map[string]*projection.State, error) {
		return g.memory.Inboxes(ctx, keys, most)
	})
}

func (g gated) States(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return through(ctx, g.w, "states", keys, g.memory.States)
}

func (g gated) Groups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return through(ctx, g.w, "groups", keys, g.memory.Groups)
}

func (g gated) Users(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return through(ctx, g.w, "users", keys, g.memory.Users)
}

func (g gated) Edits(ctx context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error) {
	return through(ctx, g.w, "edits", keys, g.memory.Edits)
}

func (g gated) Senders(ctx context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error) {
	return through(ctx, g.w, "senders", keys, g.memory.Senders)
}

func (g gated) Apps(ctx context.Context, keys []string) (map[string]*projection.App, error) {
	return through(ctx, g.w, "apps", keys, g.memory.Apps)
}
