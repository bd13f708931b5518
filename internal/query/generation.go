package query

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Generations are those of the read model. One of them is read; which one, changes
// when an operator switches.
type Generations struct {
	// Current gives the number of the one that is read.
	Current func(context.Context) (int, error)
	// Store gives a generation by its number, whether it is there or not.
	Store func(number int) Store
	// LeftOut gives the IDs of the events that a generation leaves out, which never
	// change; nil for none.
	LeftOut func(ctx context.Context, number int) (map[string]struct{}, error)
}

// Only gives a read model of one generation.
func Only(s Store) Generations {
	return Generations{
		Current: func(context.Context) (int, error) { return 1, nil },
		Store:   func(int) Store { return s },
		LeftOut: func(context.Context, int) (map[string]struct{}, error) { return nil, nil },
	}
}

// cache is that of the generation that is read. A request takes it once, so that
// it sees nothing of two generations.
func (w *Worker) cache() *cache { return w.current.Load() }

// open makes the cache of a generation that leaves some events out, which hears of
// changes from now on.
func (w *Worker) open(generation int, leftOut map[string]struct{}) *cache {
	c := newCache(w.cfg, generation, newLoader(w.cfg, w.generations.Store(generation), w.metrics, w.log), w.metrics)
	c.feed, c.leftOut = w.feed, leftOut
	w.hearing.Lock()
	defer w.hearing.Unlock()
	w.hearing.caches = append(slices.Clone(w.hearing.caches), c)
	return c
}

// spared gives what the generation takes of events that fold into a model: all of it, or
// what the events come to that it does not leave out.
func (c *cache) spared(m *projection.Model, list []events.Event) *projection.Model {
	left := func(e events.Event) bool { _, is := c.leftOut[e.ID]; return is }
	if len(c.leftOut) == 0 || !slices.ContainsFunc(list, left) {
		return m
	}
	others := projection.NewModel()
	for _, e := range list {
		if !left(e) {
			others.Fold(e)
		}
	}
	return others
}

// discard has a cache hear of nothing any more. Requests that have taken it came
// before, and see no less than they would have seen then.
func (w *Worker) discard(c *cache) {
	c.cohorts.hurry()
	w.hearing.Lock()
	defer w.hearing.Unlock()
	w.hearing.caches = slices.DeleteFunc(slices.Clone(w.hearing.caches), func(other *cache) bool { return other == c })
}

// hear gives the caches that hear of changes.
func (w *Worker) hear() []*cache {
	w.hearing.Lock()
	defer w.hearing.Unlock()
	return w.hearing.caches
}

// read has new requests answered from a cache, and nothing more put into the one before.
func (w *Worker) read(c *cache) {
	if before := w.current.Swap(c); before != nil {
		w.discard(before)
	}
	c.bound(w.cfg.CacheBytes)
}

// hearSwitch has attend look at once.
func (w *Worker) hearSwitch() {
	select {
	case w.switched <- struct{}{}:
	default: // it will look anyway
	}
}

// attend looks every now and then which generation is read, and at once when a switch
// is heard of.
func (w *Worker) attend(ctx context.Context) {
	for {
		select {
		case <-time.After(w.cfg.GenerationInterval):
		case <-w.switched:
			w.failed = failedTurn{} // somebody has seen to it
		case <-ctx.Done():
			return
		}
		w.look(ctx)
	}
}

// failedTurn is a generation that could not be turned to. It is left alone for a while,
// and longer each time: loading it costs ClickHouse as much as it did before.
type failedTurn struct {
	generation int // 0: none
	until      time.Time
	waits      *backoff.ExponentialBackOff
}

// maxTurnInterval is the longest time between two attempts to turn to a generation.
const maxTurnInterval = time.Minute

// fail notes that a generation could not be turned to. It gives the wait until the next attempt.
func (w *Worker) fail(generation int) (wait time.Duration) {
	if w.failed.generation != generation {
		w.failed = failedTurn{generation: generation, waits: &backoff.ExponentialBackOff{
			InitialInterval:     w.cfg.GenerationInterval,
			MaxInterval:         max(maxTurnInterval, w.cfg.GenerationInterval),
			Multiplier:          2,
			RandomizationFactor: 0.2, // workers need not come all at once
		}}
	}
	wait = w.failed.waits.NextBackOff()
	w.failed.until = time.Now().Add(wait)
	return wait
}

// lookTimeout is the longest wait for the registry. It does not hang on how often is
// looked: a ClickHouse that is slow at the start would never be asked for anything.
const lookTimeout = 5 * time.Second

// wanted gives the generation that is to be read.
func (w *Worker) wanted(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return w.generations.Current(ctx)
}

// look finds out which generation is read, and turns to it.
func (w *Worker) look(ctx context.Context) {
	number, err := w.wanted(ctx)
	if err != nil {
		if ctx.Err() == nil && w.cache().generation == 0 {
			w.log.Warn("cannot find out which generation is read; trying again", "error", err)
		}
		return
	}
	if number == w.cache().generation || number == w.failed.generation && time.Now().Before(w.failed.until) {
		return
	}
	w.turn(ctx, number)
}

// turn turns to another generation: first what is in memory of the one before is
// loaded from it, as far as half the bound goes for each, so that nobody who is used to
// be answered from memory has to wait; then it is read.
func (w *Worker) turn(ctx context.Context, number int) {
	begin, before := time.Now(), w.cache()
	log := w.log.With("generation", number, "before", before.generation)
	leftOut, err := w.generations.LeftOut(ctx, number)
	if err != nil {
		if ctx.Err() == nil {
			wait := w.fail(number)
			log.Error("cannot find out what the generation that is to be read leaves out; trying again", "error", err, "retry_in", wait)
		}
		return
	}
	next := w.open(number, leftOut)
	if before.generation == 0 {
		w.read(next)
		log.Info("generation is read")
		return
	}
	log.Info("loading another generation")
	before.bound(w.cfg.CacheBytes / 2)
	next.bound(w.cfg.CacheBytes / 2)
	var users []projection.UserKey
	for e := range before.table.Hottest() {
		users = append(users, e.Key)
	}
	warm, err := w.warm(ctx, func() *cache { return next }, users)
	if err != nil {
		w.discard(next)
		before.bound(w.cfg.CacheBytes)
		if ctx.Err() == nil {
			wait := w.fail(number)
			log.Error("cannot load the generation that is to be read; trying again", "error", err, "retry_in", wait)
		}
		return
	}
	if wanted, err := w.wanted(ctx); err == nil && wanted != number { // loading takes long enough for a rollback
		w.discard(next)
		before.bound(w.cfg.CacheBytes)
		log.Info("another generation is to be read by now", "wanted", wanted)
		return
	}
	w.read(next)
	w.failed = failedTurn{}
	log.Info("generation is read", "users", warm, "of", len(users), "took", time.Since(begin))
}
