package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

const (
	messagesTopic = events.TopicMessages
	stateTopic    = events.TopicState
	deadTopic     = events.TopicDead
	deadCount     = 2 // partitions of deadTopic
	group         = "projector"
)

// run is one run: a broker, projectors, a read model, and who follows.
type run struct {
	seed    uint64
	broken  broken
	rng     *rand.Rand // of the main goroutine
	plan    plan
	config  ingest.Config
	network network
	cluster *kfake.Cluster
	begin   time.Time
	ctx     context.Context

	store      *store
	listener   *listener
	decoder    *events.Decoder
	calm       atomic.Bool  // no more faults
	suffering  atomic.Int32 // processes whose insert is held up
	background sync.WaitGroup

	mu      sync.Mutex
	slots   []*process
	log     map[events.Partition][]entry // what was produced
	commits map[events.Partition][]accepted
	covered map[events.Partition]int64 // before it the store was seen to have everything
	want    *projection.Model
	wrongs  []string
	notes   []string
	counts  map[string]int
	members map[string]*conn // of the group, and where they have spoken last
	joins   map[string]*conn // by client ID
}

// entry is an offset of a partition.
type entry struct {
	event *events.Event // nil: none that counts
	bad   bool          // to become a dead letter
}

// accepted is a commit that the coordinator has accepted.
type accepted struct {
	generation int32
	member     string
	offset     int64
}

// outcome is what came of a run.
type outcome struct {
	wrongs []string // what must not be
	story  string
	counts map[string]int
}

// play plays a run.
func play(t *testing.T, seed uint64, b broken) (o outcome) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(projectiontest.Now.Time()))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := newRun(ctx, seed, b)
		r.play()
		cancel()
		r.cluster.Close()
		r.background.Wait()
		o = outcome{wrongs: r.wrongs, counts: r.counts, story: r.plan.String() + strings.Join(r.notes, "\n")}
	})
	return o
}

func newRun(ctx context.Context, seed uint64, b broken) *run {
	rng := rand.New(rand.NewPCG(seed, 0))
	r := &run{
		seed: seed, broken: b, rng: rng, plan: drawPlan(rng), begin: time.Now(), ctx: ctx,
		store:   &store{model: projection.NewModel()},
		decoder: events.NewDecoder(events.Unlimited()),
		log:     map[events.Partition][]entry{}, commits: map[events.Partition][]accepted{}, covered: map[events.Partition]int64{},
		want: projection.NewModel(), counts: map[string]int{}, members: map[string]*conn{}, joins: map[string]*conn{},
	}
	r.listener = &listener{
		run: r, model: projection.NewModel(), known: map[events.Partition]int64{}, missed: map[events.Partition]map[int64]int{},
	}
	r.slots = make([]*process, r.plan.slots)
	var err error
	r.cluster, err = kfake.NewCluster(kfake.NumBrokers(1+rng.IntN(3)), kfake.ListenFn(r.network.listen))
	if err != nil {
		panic(err)
	}
	for _, t := range []struct {
		name       string
		partitions int32
		maxBytes   string
	}{
		{messagesTopic, 1 + rng.Int32N(4), "1048588"},
		{stateTopic, 1 + rng.Int32N(2), "1048588"},
		{deadTopic, deadCount, "1114124"},
	} {
		if err := r.cluster.CreateTopic(t.name, t.partitions, map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": t.maxBytes}); err != nil {
			panic(err)
		}
	}
	oneOf := func(list ...time.Duration) time.Duration { return list[rng.IntN(len(list))] }
	c := ingest.DefaultConfig()
	c.Brokers, c.GroupID = r.cluster.ListenAddrs(), group
	c.FlushInterval = oneOf(time.Millisecond, c.FlushInterval, 2*time.Second)
	c.MaxBatchEvents, c.MaxPieceEvents = 1+rng.IntN(30), 1+rng.IntN(10)
	c.FetchMaxBytes = []int{1, 1000, c.FetchMaxBytes}[rng.IntN(3)]
	c.MaxDeadLetterBytes = []int{1, c.MaxDeadLetterBytes}[rng.IntN(2)]
	c.RequestTimeout = oneOf(c.RequestTimeout, 40*time.Second)
	r.config = c
	return r
}

func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf("%9.3fs  ", time.Since(r.begin).Seconds())+fmt.Sprintf(format, args...))
}

// wrong notes what must not be.
func (r *run) wrong(format string, args ...any) {
	r.note("WRONG: "+format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrongs = append(r.wrongs, fmt.Sprintf(format, args...))
}

func (r *run) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
}

// play produces, has happen what is planned, and in the end compares.
func (r *run) play() {
	ctx, stopAll := context.WithCancel(r.ctx)
	var slots sync.WaitGroup
	for slot := range r.slots {
		slots.Go(func() { r.fill(ctx, slot) })
	}
	r.background.Go(func() { r.bury(ctx) })
	var changes sync.WaitGroup
	for _, c := range r.plan.changes {
		changes.Go(func() { r.change(c) })
	}
	r.produce()
	changes.Wait()
	// Whatever is to happen happens until everything is committed, or until it is time to
	// see that the system gets well by itself.
	r.await(5*time.Minute, r.uncommitted)
	r.calm.Store(true)
	r.send([]sent{r.valid(projectiontest.Now)})
	for _, what := range []func() string{r.uncommitted, r.unheard, r.unfinished} {
		if missing := r.await(10*time.Minute, what); missing != "" {
			r.wrong("never done: %s", missing)
		}
	}
	stopAll()
	slots.Wait()
	r.compare()
}

// await waits until there is nothing to wait for, and gives what there still is when it gives up.
func (r *run) await(patience time.Duration, missing func() string) string {
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		what := missing()
		if what == "" || time.Now().After(end) {
			return what
		}
	}
}

// fill has a process run in a slot until ctx ends: another one for each that is killed.
func (r *run) fill(ctx context.Context, slot int) {
	for life := 0; ; life++ {
		var faults []fault
		restart := time.Second
		if life < lives {
			faults, restart = r.plan.faults[slot*lives+life], r.plan.restart[slot*lives+life]
		}
		p, done := r.start(ctx, fmt.Sprintf("%d.%d", slot, life), faults)
		r.mu.Lock()
		r.slots[slot] = p
		r.mu.Unlock()
		select {
		case <-p.died:
			r.count("a process is killed")
			select {
			case <-time.After(restart):
			case <-ctx.Done():
				return
			}
		case err := <-done:
			if err != nil && ctx.Err() != nil && !p.isDead() && !p.leaving.Load() {
				r.wrong("process %s did not stop as it should: %v", p.name, err)
			}
			if ctx.Err() != nil {
				return
			}
			time.Sleep(restart)
		}
	}
}

// bury removes members from the group whose connection has been closed for a session. Brokers
// do so; kfake forgets those whose connection was closed when their joining was answered, and
// has the others wait for them.
func (r *run) bury(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		g := r.cluster.GroupInfo(group)
		if g == nil {
			continue
		}
		for _, m := range g.Members {
			r.mu.Lock()
			c := r.members[m.MemberID]
			if c == nil {
				c = r.joins[m.ClientID]
			}
			r.mu.Unlock()
			if c == nil || !c.closedFor(r.config.SessionTimeout) {
				continue
			}
			client := r.client()
			if err := leave(ctx, client, m.MemberID); err != nil && ctx.Err() == nil {
				r.wrong("a dead member cannot be removed: %v", err)
			}
			client.Close()
		}
	}
}

// speaks notes on which connection a member speaks.
func (r *run) speaks(member string, c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[member] = c
}

// joining notes a connection on which somebody joins, and gives it a name.
func (r *run) joining(c *conn) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := fmt.Sprintf("%s#%d", c.p.name, len(r.joins))
	r.joins[name] = c
	return name
}

// leave removes a member from the group.
func leave(ctx context.Context, client *kgo.Client, member string) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	left := kmsg.NewLeaveGroupRequestMember()
	left.MemberID = member
	req.Members = append(req.Members, left)
	_, err := req.RequestWith(ctx, client)
	return err
}

// change has something happen at its time.
func (r *run) change(c change) {
	time.Sleep(c.at)
	r.mu.Lock()
	p := r.slots[c.slot]
	r.mu.Unlock()
	r.note("slot %d: %s", c.slot, c.what)
	r.count(c.what)
	switch c.what {
	case stopped:
		p.leaving.Store(true)
		p.stop()
	case isolated:
		p.isolate(c.takes)
	case moved:
		r.cluster.ShufflePartitionLeaders()
		r.cluster.RehashCoordinators()
	case partitions:
		req := kmsg.NewPtrCreatePartitionsRequest()
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = messagesTopic, int32(len(r.cluster.PartitionInfos(messagesTopic))+1)
		req.Topics, req.TimeoutMillis = append(req.Topics, t), 1000
		client := r.client()
		defer client.Close()
		if res, err := req.RequestWith(r.ctx, client); err != nil || res.Topics[0].ErrorCode != 0 {
			r.wrong("no more partitions: %v", err)
		}
	}
}

// logs gives a handler that takes down what a process says, for when the run fails.
func (r *run) logs(name string) slog.Handler { return logs{r, name} }

type logs struct {
	run  *run
	name string
}

func (logs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l logs) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		l.name += " " + a.String()
	}
	return l
}
func (l logs) WithGroup(string) slog.Handler { return l }

func (l logs) Handle(_ context.Context, record slog.Record) error {
	var b strings.Builder
	record.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %v", a); return true })
	l.run.note("%s: %s%s", l.name, record.Message, b.String())
	if strings.HasPrefix(record.Message, "offsets not committed: the generation is over") {
		l.run.count("a commit is not made: the generation is over")
	}
	return nil
}
