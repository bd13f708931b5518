package query

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// entry is a value in a table. Its value is read and changed under mu.
type entry[T any] struct {
	mu    sync.Mutex
	value T
	// version changes with the value.
	version uint64

	epoch  uint64    // of the load; 0: not loaded yet
	loaded time.Time // when the load began
	until  time.Time // when it is loaded again, to be sure
}

// fresh reports whether the value is what a load would bring that began with
// the request, at begin: it was loaded since, or every change since is in it.
func (e *entry[T]) fresh(c *cache, begin time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.epoch == 0 {
		return false
	}
	return !e.loaded.Before(begin) ||
		c.feed != nil && e.epoch == c.epoch.Load() && begin.Before(e.until) && c.feed.Check() == nil
}

// read gives a copy of the value and its version.
func (e *entry[T]) read() (T, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.value, e.version
}

// currently is the version of the value.
func (e *entry[T]) currently() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.version
}

// table holds values of one kind in memory: loads them when they are asked for,
// and merges into them what the feed brings. Since merging is idempotent, a load
// and the changes that are heard of meanwhile need no order: both are merged.
type table[K comparable, T, L any] struct {
	cache   *cache
	entries *otter.Cache[K, *entry[T]]
	load    func(context.Context, []K) (map[K]L, error)
	// merge puts what was loaded or heard into a value and reports whether
	// anything changed. Nothing is nil: what does not exist has nothing to merge.
	merge func(*T, L) bool
}

// newTable makes a table of at most maxBytes, by weigh.
func newTable[K comparable, T, L any](
	c *cache, maxBytes int, load func(context.Context, []K) (map[K]L, error), weigh func(K, *T) int, merge func(*T, L) bool,
) *table[K, T, L] {
	return &table[K, T, L]{
		cache: c, load: load, merge: merge,
		entries: otter.Must(&otter.Options[K, *entry[T]]{
			MaximumWeight: uint64(maxBytes), //nolint:gosec // Config.Validate has seen it
			Weigher: func(k K, e *entry[T]) uint32 {
				e.mu.Lock()
				defer e.mu.Unlock()
				return uint32(min(entryBytes+weigh(k, &e.value), 1<<31)) //nolint:gosec // bounded here
			},
		}),
	}
}

// entryBytes is about what an entry takes besides its key and value.
const entryBytes = 256

// held gives the entry of each key if all of them are in memory, as fresh as if
// they were loaded at begin.
func (t *table[K, T, L]) held(begin time.Time, keys ...K) ([]*entry[T], bool) {
	found := make([]*entry[T], len(keys))
	for i, k := range keys {
		e, ok := t.entries.GetIfPresent(k)
		if !ok || !e.fresh(t.cache, begin) {
			return nil, false
		}
		found[i] = e
	}
	return found, true
}

// get gives the entry of each key, those of what does not exist included, as
// fresh as if they were loaded at begin. The caller locks what it looks at.
func (t *table[K, T, L]) get(ctx context.Context, begin time.Time, keys ...K) ([]*entry[T], error) {
	found := make([]*entry[T], len(keys))
	var missing []int
	for i, k := range keys {
		e, ok := t.entries.GetIfPresent(k)
		if !ok {
			e = &entry[T]{}
			if t.cache.feed != nil {
				// It is there before the load begins, so that nothing that is heard meanwhile is lost.
				e, _ = t.entries.SetIfAbsent(k, e)
			}
		}
		found[i] = e
		if !e.fresh(t.cache, begin) {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	wanted := make([]K, len(missing))
	for i, at := range missing {
		wanted[i] = keys[at]
	}
	epoch, loaded := t.cache.epoch.Load(), time.Now()
	values, err := t.load(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for i, k := range wanted {
		e := found[missing[i]]
		value, exists := values[k]
		t.update(e, func() bool { return exists && t.merge(&e.value, value) })
		e.mu.Lock()
		if !loaded.Before(e.loaded) {
			e.epoch, e.loaded = epoch, loaded
			e.until = loaded.Add(t.cache.maxAge/2 + rand.N(t.cache.maxAge/2+1)) // not all at the same time
		}
		e.mu.Unlock()
		t.weigh(k, e)
	}
	return found, nil
}

// heard merges a change into a value that is in memory. What is not is loaded when it is asked for.
func (t *table[K, T, L]) heard(k K, change L) {
	e, ok := t.entries.GetEntryQuietly(k)
	if !ok {
		return
	}
	if t.update(e.Value, func() bool { return t.merge(&e.Value.value, change) }) {
		t.weigh(k, e.Value)
	}
}

// update changes a value and gives it a new version if it did change.
func (t *table[K, T, L]) update(e *entry[T], change func() bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := change()
	if changed || e.version == 0 {
		e.version = t.cache.versions.Add(1)
	}
	return changed
}

// weigh has the entry weighed anew, if it is still in the table. It must not be
// put back: meanwhile it has heard of nothing.
func (t *table[K, T, L]) weigh(k K, e *entry[T]) {
	t.entries.ComputeIfPresent(k, func(now *entry[T]) (*entry[T], otter.ComputeOp) {
		if now != e {
			return now, otter.CancelOp
		}
		return now, otter.WriteOp
	})
}
