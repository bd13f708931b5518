package erasure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/readmodel"
)

// Config is how often is swept.
type Config struct {
	// Interval is the time from the beginning of a generation's sweep to that of the next
	// one; 0: never by itself, only looking when it was. With what a sweep takes it has to
	// stay below 24 hours.
	Interval time.Duration
}

// DefaultConfig leaves a sweep four hours of a day.
func DefaultConfig() Config { return Config{Interval: 20 * time.Hour} }

// maxInterval is the longest that keeps the promise that nothing is left after 24 hours.
const maxInterval = 23 * time.Hour

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	if c.Interval < 0 || c.Interval > maxInterval {
		return fmt.Errorf("sweep interval %v: expected 0 (never) to %v, so that nothing of an erased user is left after 24 hours", c.Interval, maxInterval)
	}
	return nil
}

// How often the sweeper looks and waits.
const (
	lookAtMost   = time.Hour        // until it looks again who has swept
	lookApart    = 5 * time.Minute  // at most, so that several do not begin together
	retryFirst   = time.Minute      // after a failure
	retryMost    = 30 * time.Minute // the longest wait after one
	partsEvery   = time.Second      // until it looks again whether old parts are gone
	partsPatient = time.Hour        // until the next sweep has what is left of them
)

// Progress is how far a sweep is.
type Progress struct {
	Generation int
	readmodel.Sweeping
	// OldParts are those that queries do not read any more and that ClickHouse has not removed yet.
	OldParts int
}

// Swept is what was taken out of a table, or is to be.
type Swept struct {
	Generation int `json:"generation"`
	readmodel.Unswept
}

// Sweeper sweeps the generations that are there.
type Sweeper struct {
	config  Config
	server  *readmodel.Server
	log     *slog.Logger
	metrics *metrics
}

// New makes a sweeper.
func New(config Config, server *readmodel.Server, log *slog.Logger, registry prometheus.Registerer) *Sweeper {
	return &Sweeper{config, server, log, newMetrics(registry)}
}

// Run sweeps each generation when it is due, unless somebody else is to, and tells metrics
// of the sweeps that were, until ctx is done. It never gives up: what fails is tried again.
func (s *Sweeper) Run(ctx context.Context) error {
	waits := backoff.ExponentialBackOff{InitialInterval: retryFirst, MaxInterval: retryMost, Multiplier: 2, RandomizationFactor: 0.5}
	for ctx.Err() == nil {
		wait, err := s.sweepDue(ctx)
		if err == nil {
			waits.Reset()
			wait = min(wait, lookAtMost) + rand.N(lookApart) // it need not be a secret
		} else if ctx.Err() == nil {
			wait = waits.NextBackOff()
			s.metrics.failures.Inc()
			s.log.Error("the sweep, or the look at when the last one was, failed; trying again", "error", err, "retry_in", wait.Round(time.Second))
		}
		_ = pause.For(ctx, wait) // the loop looks
	}
	return nil
}

// sweepDue sweeps the generations that are due, and says how long none will be.
func (s *Sweeper) sweepDue(ctx context.Context) (wait time.Duration, err error) {
	there, last, err := s.observe(ctx)
	if err != nil || s.config.Interval == 0 {
		return lookAtMost, err
	}
	wait = s.config.Interval
	var errs []error // one that is stuck does not keep the others from being swept
	swept := false
	for _, g := range there {
		if left := time.Until(lastOf(g, last).Add(s.config.Interval)); left > 0 {
			wait = min(wait, left)
			continue
		}
		errs = append(errs, s.sweepNow(ctx, g))
		swept = true
	}
	if swept {
		_, _, err = s.observe(ctx)
	}
	return wait, errors.Join(append(errs, err)...)
}

// sweepNow sweeps a generation, and logs what came of it.
func (s *Sweeper) sweepNow(ctx context.Context, g readmodel.Generation) error {
	begin := time.Now()
	swept, err := s.generation(ctx, g, func(Progress) {})
	if err != nil {
		return err
	}
	old, err := s.awaitParts(ctx, g.Number, partsPatient, func(int) {})
	if err != nil {
		return err
	}
	log := s.log.With("generation", g.Number, "deleted", deleted(swept), "blanked", blanked(swept), "took", time.Since(begin).Round(time.Millisecond))
	if old > 0 {
		log.Warn("swept; but ClickHouse has not removed all old parts", "old_parts", old, "waited", partsPatient)
	} else {
		log.Info("swept")
	}
	return nil
}

// lastOf is when a generation was swept last, or made.
func lastOf(g readmodel.Generation, last map[int]time.Time) time.Time {
	if at := last[g.Number]; at.After(g.Made) {
		return at
	}
	return g.Made
}

// observe finds out when each generation that is there was swept last, whoever has done it,
// and tells metrics.
func (s *Sweeper) observe(ctx context.Context) (there []readmodel.Generation, last map[int]time.Time, err error) {
	if there, err = s.there(ctx); err != nil {
		return nil, nil, err
	}
	if last, err = s.server.LastSweeps(ctx); err != nil {
		return nil, nil, err
	}
	users, err := s.server.ErasedUsers(ctx)
	if err != nil {
		return nil, nil, err
	}
	oldest := lastOf(there[0], last)
	for _, g := range there {
		if at := lastOf(g, last); at.Before(oldest) {
			oldest = at
		}
	}
	s.metrics.last.Set(float64(oldest.UnixMicro()) / 1e6)
	s.metrics.users.Set(float64(users))
	s.metrics.known()
	return there, last, nil
}

// there are the generations whose tables are there: those that are kept, and of those that
// were dropped what somebody has left behind. No replies are made of that, but it is there.
func (s *Sweeper) there(ctx context.Context) (there []readmodel.Generation, err error) {
	r, err := s.server.Registry(ctx)
	if err != nil {
		return nil, err
	}
	left, err := s.server.Leftover(ctx, r)
	if err != nil {
		return nil, err
	}
	kept := false
	for _, g := range r.Generations {
		if g.Kept() || left[g.Number] {
			there = append(there, g)
		}
		kept = kept || g.Kept()
	}
	if !kept {
		return nil, fmt.Errorf("%w: all generations were dropped", readmodel.ErrNotMigrated)
	}
	return there, nil
}

// store gives a generation's store. One that was dropped is told here who was erased since,
// for projectors do not tell it, and is complained of.
func (s *Sweeper) store(ctx context.Context, g readmodel.Generation) (*readmodel.Store, error) {
	store := s.server.Generation(g.Number)
	if g.Kept() {
		return store, nil
	}
	s.complain(g)
	r, err := s.server.Registry(ctx)
	if err == nil {
		err = s.server.TakeErased(ctx, r, g)
	}
	return store, err
}

func (s *Sweeper) complain(g readmodel.Generation) {
	s.log.Warn("dropped, but its tables are still there: projector generations drop removes them", "generation", g.Number)
}

// Left gives what is left of erased users in every generation that is there.
func (s *Sweeper) Left(ctx context.Context) (all []Swept, err error) {
	there, err := s.there(ctx)
	if err != nil {
		return nil, err
	}
	current, err := s.server.Current(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range there {
		store := s.server.Generation(g.Number)
		known := store
		if !g.Kept() { // projectors do not tell it of anybody any more
			s.complain(g)
			known = s.server.Generation(current)
		}
		list, err := store.Unswept(ctx, known)
		if err != nil {
			return nil, err
		}
		all = append(all, of(g.Number, list)...)
	}
	return all, nil
}

// Sweep sweeps every generation that is there, due or not, and gives what it has taken out.
// It returns when nothing of that is on ClickHouse's disks.
func (s *Sweeper) Sweep(ctx context.Context, progress func(Progress)) (all []Swept, err error) {
	there, err := s.there(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, g := range there {
		swept, err := s.generation(ctx, g, progress)
		errs = append(errs, err)
		all = append(all, swept...)
	}
	for _, g := range there {
		_, err := s.awaitParts(ctx, g.Number, 0, func(n int) { progress(Progress{Generation: g.Number, OldParts: n}) })
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// generation sweeps one generation, and says so in the registry. One that is gone meanwhile
// has nothing left.
func (s *Sweeper) generation(ctx context.Context, g readmodel.Generation, progress func(Progress)) ([]Swept, error) {
	begin := time.Now()
	var list []readmodel.Unswept
	store, err := s.store(ctx, g)
	if err == nil {
		list, err = store.Sweep(ctx, func(at readmodel.Sweeping) {
			progress(Progress{Generation: g.Number, Sweeping: at})
		})
	}
	if err == nil {
		err = s.server.Swept(ctx, g.Number, begin)
	}
	if err == nil && g.State == readmodel.Filled { // else it may not know the plans of apps yet
		err = s.dropExpired(ctx, store) // once it is known that it was swept; see readmodel.Compare
	}
	if err != nil {
		there, failed := s.there(ctx)
		if is := func(other readmodel.Generation) bool { return other.Number == g.Number }; failed == nil && !slices.ContainsFunc(there, is) {
			return nil, nil
		}
		return nil, fmt.Errorf("generation %d: %w", g.Number, err)
	}
	swept := of(g.Number, list)
	s.metrics.deleted.Add(float64(deleted(swept)))
	s.metrics.blanked.Add(float64(blanked(swept)))
	return swept, nil
}

// dropExpired drops the days of a generation that nobody is shown any more.
func (s *Sweeper) dropExpired(ctx context.Context, store *readmodel.Store) error {
	rows, err := store.DropExpired(ctx, time.Now())
	if rows > 0 {
		s.metrics.expired.Add(float64(rows))
		s.log.Info("dropping expired days", "generation", store.Number(), "rows", rows)
	}
	return err
}

// awaitParts waits until ClickHouse has removed the parts that it has replaced by now, so
// long at most unless that is 0, and gives how many are left.
func (s *Sweeper) awaitParts(ctx context.Context, number int, most time.Duration, tell func(left int)) (left int, err error) {
	store, begin := s.server.Generation(number), time.Now()
	old, err := store.OldParts(ctx)
	for err == nil && len(old) > 0 && (most == 0 || time.Since(begin) < most) {
		tell(len(old))
		if err := pause.For(ctx, partsEvery); err != nil {
			return len(old), fmt.Errorf("wait until ClickHouse has removed %d old parts of generation %d: %w", len(old), number, err)
		}
		var now map[readmodel.OldPart]struct{}
		now, err = store.OldParts(ctx)
		for p := range old {
			if _, there := now[p]; !there {
				delete(old, p)
			}
		}
	}
	return len(old), err
}

func of(number int, list []readmodel.Unswept) []Swept {
	swept := make([]Swept, len(list))
	for i, u := range list {
		swept[i] = Swept{number, u}
	}
	return swept
}

func deleted(list []Swept) (n uint64) {
	for _, s := range list {
		n += s.Deleted
	}
	return n
}

func blanked(list []Swept) (n uint64) {
	for _, s := range list {
		n += s.Blanked
	}
	return n
}
