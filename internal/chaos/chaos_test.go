package chaos

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection"
)

var (
	runs = flag.Int("runs", 1000, "how many runs to play")
	seed = flag.Uint64("seed", 1, "seed of the first run; the others follow")
)

// patience is how long a run may take, by the machine's clock, before it is taken for one
// that stands still. It decides nothing else.
const patience = 2 * time.Minute

// TestChaos plays runs: projectors are killed between any two steps, and everything that
// can happen to their links happens. Nothing is lost, nothing doubled, nothing goes backwards.
func TestChaos(t *testing.T) {
	var mu sync.Mutex
	counts, next, begin := map[string]int{}, 0, time.Now()
	const players = 2 // a run waits for nothing but the processor
	t.Run("runs", func(t *testing.T) {
		for player := range players {
			t.Run(fmt.Sprint(player), func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					n := next
					next++
					mu.Unlock()
					if n >= *runs || t.Failed() {
						return
					}
					o := playInTime(t, *seed+uint64(n), broken{})
					if len(o.wrongs) > 0 {
						t.Errorf("seed %d: %s\n%s\n%s", *seed+uint64(n), strings.Join(o.wrongs, "\n"), o.story, again(*seed+uint64(n)))
						return
					}
					mu.Lock()
					for what, n := range o.counts {
						counts[what] += n
					}
					if (n+1)%100 == 0 {
						t.Logf("%d runs in %v", n+1, time.Since(begin).Round(time.Second))
					}
					mu.Unlock()
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "\n%7d  %s", counts[what], what)
	}
	t.Logf("%d runs in %v%s", *runs, time.Since(begin).Round(time.Second), b.String())
	if *runs >= 1000 {
		checkCoverage(t, counts)
	}
}

func again(seed uint64) string {
	return fmt.Sprintf("again: make chaos SEED=%d RUNS=1 ENGINE_RUNS=0 COUNT=100", seed)
}

// playInTime plays a run, and says which it was if it stands still or panics.
func playInTime(t *testing.T, seed uint64, b broken) outcome {
	late := time.AfterFunc(patience, func() { panic("a run stands still; " + again(seed)) })
	defer late.Stop()
	defer func() {
		if e := recover(); e != nil {
			panic(fmt.Sprintf("%v; %s", e, again(seed)))
		}
	}()
	return play(t, seed, b)
}

// checkCoverage holds that everything that can happen has happened.
func checkCoverage(t *testing.T, counts map[string]int) {
	all := []string{
		stopped, isolated, moved, partitions, "a transaction is aborted", "a transaction is committed", "a dead letter",
		"a commit is refused by the coordinator", "who follows loads again",
	}
	for _, entry := range menu {
		for _, a := range entry.actions {
			all = append(all, string(entry.step)+": "+string(a))
		}
	}
	for _, what := range all {
		if counts[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}

// broken is what is broken of a projector or its neighbours; nothing is in the zero value.
type broken struct {
	name string
	// shows is what is then said to be wrong.
	shows string
	// insert takes a model in the place of the store.
	insert func(*process, *projection.Model)
	// commit gives the offset to be committed instead.
	commit func(r *run, at events.Partition, offset int64) int64
	// announce reports whether an announcement is lost that nobody knows of.
	announce func() bool
	// decode gives the error to be taken for a decoder's.
	decode func(error) error
}

// TestChaos_CatchesBrokenProjectors holds that the test above can fail.
func TestChaos_CatchesBrokenProjectors(t *testing.T) {
	for _, b := range []broken{
		{name: "acknowledged before it is written", shows: "the read model differs", insert: func(p *process, m *projection.Model) {
			p.run.background.Go(func() {
				time.Sleep(time.Second)
				if !p.isDead() {
					p.run.store.insert(m)
				}
			})
		}},
		{name: "rows get their identity when they are inserted", shows: "the read model differs", insert: func(p *process, m *projection.Model) {
			for k, v := range m.Messages {
				one := projection.NewModel()
				k.ID += time.Since(p.run.begin).String()
				one.Messages[k] = v
				p.run.store.insert(one)
			}
			rest := merged(m)
			rest.Messages = nil
			p.run.store.insert(rest)
		}},
		{name: "committed before it is written", shows: "before it is in the store", commit: func(r *run, at events.Partition, _ int64) int64 { return r.ends()[at] }},
		{name: "commits go backwards", shows: ": committed at", commit: func(_ *run, _ events.Partition, offset int64) int64 { return offset / 2 }},
		{name: "announcements vanish", shows: "no announcement of it is lost", announce: everyOther()},
		{name: "dead letters are left out", shows: "no dead letter of", decode: func(err error) error {
			var bad *events.Error
			if errors.As(err, &bad) {
				return ingest.ErrLeftOut
			}
			return err
		}},
	} {
		t.Run(b.name, func(t *testing.T) {
			for seed := range uint64(50) {
				o := playInTime(t, seed, b)
				if slices.ContainsFunc(o.wrongs, func(wrong string) bool { return strings.Contains(wrong, b.shows) }) {
					return
				}
			}
			t.Error("no run shows that it is broken")
		})
	}
}

// everyOther reports true every other time.
func everyOther() func() bool {
	var mu sync.Mutex
	odd := false
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		odd = !odd
		return odd
	}
}
