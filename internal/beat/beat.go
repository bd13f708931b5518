// Package beat tells whether a loop moves that has to. A loop that waits for nobody but
// for work marks its beat each time round, and wakes every now and then (Every) when it has
// no work. One that waits for another process marks it before and after each attempt, each
// of which has an end: who is away must not make us look stuck.
package beat

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Every is how often a loop moves that has nothing to do.
const Every = time.Second

// Beat is that of one loop.
type Beat struct {
	within time.Duration
	last   atomic.Pointer[time.Time] // nil: the loop does not run
}

// New makes a beat that is to be marked again within a time, from its first mark on.
func New(within time.Duration) *Beat { return &Beat{within: within} }

// Mark says that the loop moves.
func (b *Beat) Mark() {
	now := time.Now()
	b.last.Store(&now)
}

// Rest says that the loop has ended: nothing is expected of it.
func (b *Beat) Rest() { b.last.Store(nil) }

// Check gives an error when the loop runs and has not moved in time.
func (b *Beat) Check() error {
	last := b.last.Load()
	if last == nil {
		return nil
	}
	if since := time.Since(*last); since > b.within {
		return fmt.Errorf("last moved %v ago, expected within %v", since.Round(time.Second), b.within)
	}
	return nil
}
