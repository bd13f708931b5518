package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox"
)

// TestRebuild_BesideTheLiveSystem rebuilds the read model while a chat goes on, breaks
// the rebuild off and goes on with it, switches, rolls back and switches again. Every
// reply is that of the brute force before, meanwhile and after, and in the end
// when the first generation is gone; nobody is refused meanwhile.
func TestRebuild_BesideTheLiveSystem(t *testing.T) { besideTheLiveSystem(t, "") }

// TestCluster_BesideTheLiveSystem does the same in the cluster form: on the engine, through
// Distributed tables over two shards, both of which are the engine.
func TestCluster_BesideTheLiveSystem(t *testing.T) { besideTheLiveSystem(t, sandbox.Cluster) }

func besideTheLiveSystem(t *testing.T, cluster string) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	people := peopleOf(chat)
	s := newSystemIn(t, rng, cluster, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.project()

	rebuilt := make(chan error, 1)
	portion := 0
	for list := range portions(chat) {
		s.send(list...)
		switch portion++; portion {
		case 2:
			s.settle()
			go func() { rebuilt <- s.rebuild(func(p rebuild.Progress) bool { return p.Done > 0 }) }()
		case 3:
			if err := <-rebuilt; !errors.Is(err, context.Canceled) {
				t.Fatalf("broken off: %v", err)
			}
			go func() { rebuilt <- s.rebuild(toTheEnd) }()
		}
		s.visit(people)
	}
	if err := <-rebuilt; err != nil {
		t.Fatal(err)
	}
	s.settle()
	if found := s.verify(now, true, 100); len(found.Differences) > 0 || !found.Whole {
		t.Fatalf("the generations differ: %+v", found)
	}
	want := bruteforce.New(chat, events.MicrosOf(now))
	compareAll(t, people, want, s)
	stop := s.askAlways(people, want)
	for _, generation := range []int{2, 1, 2} {
		s.switchTo(generation)
	}
	stop() // the last of them may have begun before the switch
	stop = s.askAlways(people, want)
	if err := s.readModel.DropGeneration(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	compareAll(t, people, want, s)

	// Projectors have noticed, too.
	last := chat[len(chat)-1]
	last.ID += "-again"
	s.send(last)
	s.settle()
}

// askers ask at the same time, one question after the other.
const askers = 8

// askAlways asks for lists and profiles, all the time until stop, which fails the test
// when one was not right, or refused.
func (s *system) askAlways(people []person, want *bruteforce.Chat) (stop func()) {
	c := &comparison{systems: []*system{s}, want: want}
	ctx, cancel := context.WithCancel(s.t.Context())
	refused := s.refused.Load()
	var g errgroup.Group
	for i := range askers {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), uint64(i)))
		g.Go(func() error {
			for ctx.Err() == nil {
				u := people[rng.IntN(len(people))]
				err := c.list(u, bruteforce.Filter{})
				if n := len(u.conversationIDs); err == nil && n > 0 {
					err = c.profile(u, u.conversationIDs[rng.IntN(n)])
				}
				if err != nil {
					return fmt.Errorf("user %q of app %s: %w", u.id, u.app, err)
				}
			}
			return nil
		})
	}
	return func() {
		s.t.Helper()
		cancel()
		if err := g.Wait(); err != nil {
			s.t.Error(err)
		}
		if n := s.refused.Load() - refused; n > 0 {
			s.t.Errorf("%d requests were refused meanwhile", n)
		}
		s.t.Logf("%d replies meanwhile", c.replies.Load())
	}
}

// TestRebuild_OneAtATime tells the second one who fills a generation that somebody
// is at it, and goes on when they are not any more.
func TestRebuild_OneAtATime(t *testing.T) {
	s := newSystem(t) // no projector: the first one waits
	at := make(chan struct{})
	first := make(chan error, 1)
	leave := make(chan struct{})
	go func() {
		first <- s.rebuild(func(p rebuild.Progress) bool {
			if len(p.Waiting) == len(s.partitions) {
				select {
				case <-at:
				default:
					close(at)
				}
			}
			select {
			case <-leave:
				return true
			default:
				return false
			}
		})
	}()
	<-at
	if err := s.rebuild(nil); err == nil || !strings.Contains(err.Error(), "generation 2 is being filled by somebody else: convoview-projector at ") {
		t.Errorf("got %v", err)
	}
	close(leave)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.project()
	if err := s.rebuild(toTheEnd); err != nil {
		t.Error(err)
	}
}

// TestRebuild_TwoAtOnce begins two rebuilds, neither of which finds the other one in the
// consumer group. One is told so once both are there; the other one goes on with
// everything, and fills the generation whole.
func TestRebuild_TwoAtOnce(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	const rounds = 4
	n := len(chat) / (rounds + 1)
	stopProjector := s.project()
	s.send(chat[:n]...)
	s.settle()
	stopProjector() // else one may be done before the other one is there
	for round := range rounds {
		chat = chat[n:]
		if round == rounds-1 {
			n = len(chat)
		}
		s.send(chat[:n]...)
		ctx, stop := context.WithCancel(t.Context())
		var both [2]*rebuild.Rebuild
		for i := range both {
			var err error
			if both[i], err = s.beginRebuild(ctx, func(string) {}); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan error, 2)
		for _, r := range both {
			go func() { ended <- s.runRebuild(ctx, r, func(rebuild.Progress) {}) }()
		}
		err := <-ended
		if taken := (*rebuild.TakenError)(nil); !errors.As(err, &taken) || taken.Generation != 2 {
			t.Fatalf("round %d: the first to end: %v, want that somebody else is at it", round, err)
		}
		if round < rounds-1 {
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Fatalf("round %d: the second to end: %v, want that it was broken off", round, err)
			}
			continue
		}
		s.project()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		stop()
	}
	if found := s.verify(now, true, 10); len(found.Differences) > 0 || !found.Whole {
		t.Errorf("the generations differ: %+v", found)
	}
}

// TestRebuild_OfWhatIsGoneMeanwhile breaks a rebuild off and deletes what it has not read
// yet. It says that the generation cannot be made whole, whenever it is run again, and
// goes on only when told to.
func TestRebuild_OfWhatIsGoneMeanwhile(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	s := newSystemOf(t, rng, 1, 1)
	s.project()
	s.send(chat...)
	s.settle()
	few := func(c *rebuild.Config) { c.Ingest.MaxPieceEvents, c.Ingest.MaxBatchEvents = 10, 10 }
	if err := s.rebuild(func(p rebuild.Progress) bool { return p.Done > 0 }, few); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.forget()
	for range 2 {
		err := s.rebuild(toTheEnd)
		if lacking := (*rebuild.LackingError)(nil); !errors.As(err, &lacking) || lacking.Generation != 2 || lacking.Lost.First <= lacking.Lost.Wanted {
			t.Fatalf("got %v", err)
		}
	}
	if err := s.rebuild(toTheEnd, func(c *rebuild.Config) { c.Incomplete = true }); err != nil {
		t.Error(err)
	}
	// What has happened on which day is taken over.
	now := chat[len(chat)-1].Time.Time()
	for _, d := range s.verify(now, true, 1<<30).Differences {
		if strings.HasPrefix(d.Table, "activity") {
			t.Fatalf("activity was not taken over: %+v", d)
		}
	}
}

// toTheEnd is a rebuild that is not to be broken off.
func toTheEnd(rebuild.Progress) bool { return false }

// rebuild fills a new generation, or goes on with it, unless it is to be broken off.
func (s *system) rebuild(breakOff func(rebuild.Progress) bool, options ...func(*rebuild.Config)) error {
	return s.rebuildHeard(s.t.Context(), func(string) {}, breakOff, options...)
}

// rebuildHeard does so while somebody listens to its log.
func (s *system) rebuildHeard(ctx context.Context, hear func(line string), breakOff func(rebuild.Progress) bool, options ...func(*rebuild.Config)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := s.beginRebuild(ctx, hear, options...)
	if err != nil {
		return err
	}
	return s.runRebuild(ctx, r, func(p rebuild.Progress) {
		if breakOff(p) {
			cancel()
		}
	})
}

func (s *system) beginRebuild(ctx context.Context, hear func(line string), options ...func(*rebuild.Config)) (*rebuild.Rebuild, error) {
	config := rebuild.DefaultConfig()
	config.Ingest = s.ingest()
	config.Ingest.SessionTimeout, config.Ingest.HeartbeatInterval = time.Second, 100*time.Millisecond
	config.ProgressInterval = 10 * time.Millisecond
	for _, set := range options {
		set(&config)
	}
	return rebuild.Begin(ctx, config, s.readModel, slog.New(slog.NewTextHandler(lines(hear), nil)))
}

func (s *system) runRebuild(ctx context.Context, r *rebuild.Rebuild, tell func(rebuild.Progress)) error {
	registry := prometheus.NewRegistry()
	var last rebuild.Progress
	err := r.Run(ctx, events.NewDecoder(events.DefaultLimits()), registry, func(p rebuild.Progress) {
		last = p
		tell(p)
	})
	if err != nil {
		return err
	}
	const want = `
# HELP convoview_rebuild_all_offsets Offsets that are to be read.
# TYPE convoview_rebuild_all_offsets gauge
convoview_rebuild_all_offsets %[1]d
# HELP convoview_rebuild_done_offsets Offsets that were read; what compaction and retention have left out counts as read.
# TYPE convoview_rebuild_done_offsets gauge
convoview_rebuild_done_offsets %[1]d
`
	return testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(want, last.Total)), "convoview_rebuild_all_offsets", "convoview_rebuild_done_offsets")
}

// switchTo has the query worker read another generation.
func (s *system) switchTo(number int) {
	s.t.Helper()
	if err := s.readModel.Switch(s.t.Context(), number, s.t.Name()); err != nil {
		s.t.Fatal(err)
	}
	if err := feed.TellSwitch(s.nc, time.Minute); err != nil {
		s.t.Fatal(err)
	}
	s.awaitGeneration(number)
}

// awaitGeneration waits until the query worker reads a generation.
func (s *system) awaitGeneration(number int) {
	s.t.Helper()
	for {
		m, err := s.nc.Request("$SRV.STATS."+query.ServiceName, nil, time.Minute)
		if errors.Is(err, nats.ErrNoResponders) { // the worker is still starting
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		var stats micro.Stats
		if err := json.Unmarshal(m.Data, &stats); err != nil {
			s.t.Fatal(err)
		}
		if len(stats.Endpoints) == 0 { // so it is
			continue
		}
		var data struct {
			Generation int `json:"generation"`
		}
		if err := json.Unmarshal(stats.Endpoints[0].Data, &data); err != nil {
			s.t.Fatal(err)
		}
		if data.Generation == number {
			return
		}
	}
}
