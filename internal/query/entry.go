package query

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// stamp says which value an entry has, and for whom it is good enough. It is read without the entry's lock.
type stamp struct {
	// version changes when the value may have. No two of the cache are equal, so
	// that a value that was dropped and loaded again is not taken for what it was.
	version atomic.Uint64

	epoch  atomic.Uint64 // of the feed, in which the load began; 0: not loaded yet
	loaded atomic.Int64  // when the load began, on the cache's clock
	until  atomic.Int64  // when it is loaded again, to be sure
}

// demand is what a request asks of what it is answered from.
type demand struct {
	begin int64  // when the request came, on the cache's clock
	epoch uint64 // of the feed; 0: something may not have been heard of, and only a load since begin will do
}

// and is what meets both demands.
func (d demand) and(other demand) demand {
	both := demand{begin: max(d.begin, other.begin)}
	if d.epoch != 0 && other.epoch != 0 {
		both.epoch = max(d.epoch, other.epoch)
	}
	return both
}

// meets reports whether the value is what a load that began with the request
// would bring: it was loaded since, or every change since it was is in it.
func (s *stamp) meets(d demand) bool {
	epoch := s.epoch.Load()
	if epoch == 0 {
		return false
	}
	return d.epoch != 0 && epoch >= d.epoch && d.begin < s.until.Load() || s.loaded.Load() >= d.begin
}

// entry is a value in memory, which is read and changed under mu.
type entry[T any] struct {
	stamp
	mu    sync.Mutex
	value T
	call  *call // that is loading it

	bytes   int // guarded by the lock of the shared values, as is:
	holders int // how many need it
}

// read gives a copy of the value and its version.
func (e *entry[T]) read() (T, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.value, e.version.Load()
}

// call is a load under way.
type call struct {
	epoch uint64
	done  chan struct{} // closed when err is set
	err   error
}

// errLeft says that a load ended because the request that made it left.
var errLeft = errors.New("the request that made the load left")

// source loads values of one kind and merges into them what is heard of them.
// Since merging is idempotent, a load and the changes that are heard of
// meanwhile need no order: both are merged.
type source[K comparable, T, L any] struct {
	cache *cache
	load  func(context.Context, []K) (map[K]L, error)
	// merge puts what was loaded or heard of a key into its value and reports whether
	// anything changed. What does not exist has nothing to merge.
	merge func(K, *T, L) bool
	// changed is told of every value that may have changed its size.
	changed func(K, *entry[T])
}

// refresh loads those entries that do not meet the demand. All of them were
// where changes are heard of before, so that nothing is missed between.
func (s *source[K, T, L]) refresh(ctx context.Context, d demand, keys []K, entries []*entry[T]) error {
	for {
		var missing []K
		var mine []*entry[T]
		others := map[*call]struct{}{}
		c := &call{epoch: s.cache.epoch.Load(), done: make(chan struct{})}
		for i, e := range entries {
			switch other, needed := e.begin(d, c); {
			case !needed, other == c: // it is in the list twice
			case other != nil:
				others[other] = struct{}{}
			default:
				missing, mine = append(missing, keys[i]), append(mine, e)
			}
		}
		if len(mine) > 0 {
			if err := s.run(ctx, c, missing, mine); err != nil {
				return err
			}
		}
		for other := range others {
			select {
			case <-other.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if other.err != nil && !errors.Is(other.err, errLeft) {
				return other.err
			}
		}
		if len(mine)+len(others) == 0 {
			return nil
		}
	}
}

// begin reports whether the entry has to be loaded for the demand, and by which
// call it already is. If by none, c is to load it.
func (e *entry[T]) begin(d demand, c *call) (other *call, needed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.meets(d):
		return nil, false
	case e.call != nil && d.epoch != 0 && e.call.epoch >= d.epoch:
		return e.call, true
	default:
		e.call = c
		return nil, true
	}
}

// run loads entries.
func (s *source[K, T, L]) run(ctx context.Context, c *call, keys []K, entries []*entry[T]) error {
	began := s.cache.now()
	values, err := s.load(ctx, keys)
	c.err = err
	if err != nil && ctx.Err() != nil {
		c.err = errLeft
	}
	for i, k := range keys {
		e := entries[i]
		e.mu.Lock()
		if err == nil {
			if value, exists := values[k]; exists {
				s.merge(k, &e.value, value)
			}
			e.version.Store(s.cache.versions.Add(1))
			e.loadedBy(newLoading(began, s.cache.maxAge, c.epoch))
		}
		if e.call == c {
			e.call = nil
		}
		e.mu.Unlock()
		if err == nil {
			s.changed(k, e)
		}
	}
	close(c.done)
	return err
}

// loading is a load that brought a value.
type loading struct {
	epoch        uint64
	began, until int64
}

func newLoading(began int64, maxAge time.Duration, epoch uint64) loading {
	age := maxAge/2 + rand.N(maxAge/2+1) // not all at the same time
	return loading{epoch: epoch, began: began, until: began + int64(age)}
}

// last is the latest load. The entry is locked.
func (s *stamp) last() loading {
	return loading{epoch: s.epoch.Load(), began: s.loaded.Load(), until: s.until.Load()}
}

// loadedBy says which load has brought the value. The entry is locked.
func (s *stamp) loadedBy(l loading) {
	if l.began < s.loaded.Load() {
		return
	}
	s.loaded.Store(l.began)
	s.until.Store(l.until)
	s.epoch.Store(l.epoch) // last: whoever sees it sees the others
}

// heard merges a change.
func (s *source[K, T, L]) heard(k K, e *entry[T], change L) {
	e.mu.Lock()
	changed := s.merge(k, &e.value, change)
	if changed {
		e.version.Store(s.cache.versions.Add(1))
	}
	e.mu.Unlock()
	if changed {
		s.changed(k, e)
	}
}

// shared holds what several inboxes look at. A value is in memory while
// somebody needs it.
type shared[K comparable, T, L any] struct {
	source[K, T, L]
	weigh func(K, *T) int // in bytes

	mu      sync.RWMutex
	entries map[K]*entry[T]
}

func newShared[K comparable, T, L any](
	c *cache, load func(context.Context, []K) (map[K]L, error), weigh func(K, *T) int, merge func(K, *T, L) bool,
) *shared[K, T, L] {
	s := &shared[K, T, L]{weigh: weigh, entries: map[K]*entry[T]{}}
	s.source = source[K, T, L]{cache: c, load: load, merge: merge, changed: s.resize}
	return s
}

// hold gives a value's entry, and keeps it until it is dropped as often as it was held.
func (s *shared[K, T, L]) hold(k K) *entry[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		e = &entry[T]{}
		s.entries[k] = e
	}
	e.holders++
	return e
}

// holdAll gives the entries of values, and none of none.
func (s *shared[K, T, L]) holdAll(keys []K) (entries []*entry[T]) {
	if len(keys) > 0 {
		entries = make([]*entry[T], len(keys))
	}
	for i, k := range keys {
		entries[i] = s.hold(k)
	}
	return entries
}

func (s *shared[K, T, L]) drop(k K) {
	s.mu.Lock()
	e, freed := s.entries[k], 0
	e.holders--
	if e.holders == 0 {
		delete(s.entries, k)
		freed = e.bytes
	}
	s.mu.Unlock()
	s.cache.grow(-freed)
}

// find gives the entry of a value that somebody holds.
func (s *shared[K, T, L]) find(k K) (*entry[T], bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries[k]
	return e, ok
}

// hear merges a change into a value that is in memory. What is not is loaded when it is asked for.
func (s *shared[K, T, L]) hear(k K, change L) {
	if e, ok := s.find(k); ok {
		s.heard(k, e, change)
	}
}

// resize counts what an entry takes.
func (s *shared[K, T, L]) resize(k K, e *entry[T]) {
	e.mu.Lock()
	bytes := entryBytes + s.weigh(k, &e.value)
	e.mu.Unlock()
	s.mu.Lock()
	more := 0
	if s.entries[k] == e { // else it is dropped and counts for nothing
		more, e.bytes = bytes-e.bytes, bytes
	}
	s.mu.Unlock()
	s.cache.grow(more)
}

// entryBytes is about what an entry takes besides its key and value.
const entryBytes = 160

// clock tells the time since the cache was made.
type clock struct{ born time.Time }

func (c clock) now() int64 { return c.at(time.Now()) }

func (c clock) at(t time.Time) int64 { return int64(t.Sub(c.born)) }
