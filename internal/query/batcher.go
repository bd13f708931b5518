package query

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// batcher makes one call of the keys that many requests ask for at the same
// moment. A batch starts as soon as one of the slots is free, so that a lone
// request waits for nothing and a herd waits for one call. It may be patient:
// then a small one waits a while for others to come as long as a call is under way. And its
// calls may linger when all who waited have left, if they leave something behind for those
// who ask again: else what takes longer than anybody waits would never be done.
//
// A request joins only batches that have not started: what was loaded for it
// was read after it came.
type batcher[K comparable, V any] struct {
	load     loadFunc[K, V]
	maxKeys  int                  // in one call
	slots    int                  // calls at the same time
	patience time.Duration        // that a batch which is not full has while a call is under way
	linger   func() time.Duration // that a call goes on when nobody waits for it any more; nil: none

	mu      sync.Mutex
	running map[*batch[K, V]]*time.Timer // with what cancels one that nobody waits for any more; else nil
	waiting []*batch[K, V]               // not started, first in, first out
	places  map[K]*batch[K, V]           // where each key of the waiting batches is
}

// loadFunc loads keys; what does not exist is absent. It must return soon after its context is done.
type loadFunc[K comparable, V any] func(context.Context, []K) (map[K]V, error)

type batch[K comparable, V any] struct {
	keys    []K
	late    *bool              // its patience is at an end
	callers int                // who still wait for it
	spans   []trace.Span       // of callers that are traced
	cancel  context.CancelFunc // nil before the start
	done    chan struct{}      // closed when values and err are set
	values  map[K]V
	err     error
}

func newBatcher[K comparable, V any](load loadFunc[K, V], maxKeys, slots int) *batcher[K, V] {
	return &batcher[K, V]{load: load, maxKeys: maxKeys, slots: slots, running: map[*batch[K, V]]*time.Timer{}, places: map[K]*batch[K, V]{}}
}

// get gives what exists of keys. The values are shared with other callers: read only.
func (b *batcher[K, V]) get(ctx context.Context, keys []K) (map[K]V, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	batches := b.join(ctx, keys)
	defer b.leave(batches)
	values := make(map[K]V, len(keys))
	for joined := range batches {
		select {
		case <-joined.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if joined.err != nil {
			return nil, joined.err
		}
		for _, k := range keys {
			if v, ok := joined.values[k]; ok {
				values[k] = v
			}
		}
	}
	return values, nil
}

// follow waits until the batch of a key has made enough of it, or is done.
func (b *batcher[K, V]) follow(ctx context.Context, k K, enough <-chan struct{}) error {
	batches := b.join(ctx, []K{k})
	defer b.leave(batches)
	for joined := range batches {
		select {
		case <-enough:
		case <-joined.done:
			return joined.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// join puts each key into the waiting batch that has it, or into the last one while that has room.
func (b *batcher[K, V]) join(ctx context.Context, keys []K) map[*batch[K, V]]struct{} {
	joined := map[*batch[K, V]]struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		place := b.places[k]
		if place == nil {
			place = b.room()
			place.keys = append(place.keys, k)
			b.places[k] = place
		}
		if _, ok := joined[place]; !ok {
			joined[place] = struct{}{}
			place.callers++
			place.spans = append(place.spans, tracedIn(ctx, maxLinks-len(place.spans))...)
		}
	}
	b.start()
	return joined
}

// room is a waiting batch that can take one more key.
func (b *batcher[K, V]) room() *batch[K, V] {
	if n := len(b.waiting); n > 0 && len(b.waiting[n-1].keys) < b.maxKeys {
		return b.waiting[n-1]
	}
	fresh := &batch[K, V]{done: make(chan struct{}), late: new(bool)}
	b.waiting = append(b.waiting, fresh)
	if b.patience > 0 && len(b.running) > 0 {
		late := fresh.late // and not the batch, which the timer would keep with all that it brings
		time.AfterFunc(b.patience, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			*late = true
			b.start()
		})
	}
	return fresh
}

// leave says that a caller waits no longer. What nobody waits for is cancelled after a while,
// or, before it has begun, forgotten at once: it might be long until its turn.
func (b *batcher[K, V]) leave(batches map[*batch[K, V]]struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for left := range batches {
		left.callers--
		_, runs := b.running[left]
		switch {
		case left.callers > 0:
		case left.cancel == nil:
			b.forget(slices.Index(b.waiting, left))
		case runs && b.linger != nil:
			b.running[left] = time.AfterFunc(b.linger(), left.cancel)
		default:
			left.cancel()
		}
	}
}

// hurry has no call go on for nobody from now on.
func (b *batcher[K, V]) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.linger = nil
	for running, left := range b.running {
		if left != nil {
			running.cancel()
		}
	}
}

// forget takes a batch out of those that wait. b.mu is held.
func (b *batcher[K, V]) forget(i int) {
	for _, k := range b.waiting[i].keys {
		delete(b.places, k)
	}
	b.waiting = slices.Delete(b.waiting, i, i+1) // and what it brings is for those who wait for it alone
}

// start starts waiting batches while slots are free. b.mu is held.
func (b *batcher[K, V]) start() {
	for len(b.running) < b.slots && len(b.waiting) > 0 {
		next := b.waiting[0]
		if b.patience > 0 && len(b.running) > 0 && len(next.keys) < b.maxKeys && !*next.late {
			return
		}
		b.forget(0)
		b.running[next] = nil
		// The context is no caller's: one that leaves does no harm to the others.
		ctx, cancel := context.WithCancel(forTraced(context.Background(), next.spans))
		next.cancel = cancel
		go b.run(ctx, next)
	}
}

func (b *batcher[K, V]) run(ctx context.Context, running *batch[K, V]) {
	values, err := b.load(ctx, running.keys)
	b.mu.Lock()
	defer b.mu.Unlock()
	running.cancel()
	if left := b.running[running]; left != nil {
		left.Stop()
	}
	delete(b.running, running)
	running.values, running.err = values, err
	close(running.done)
	b.start()
}
