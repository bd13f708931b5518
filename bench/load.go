package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ask sends the n-th request of a round over a connection and judges its reply.
type ask func(nc *nats.Conn, n int) error

// sample is what one side of one round has given.
type sample struct {
	took    []time.Duration // ascending; of those that were answered
	refused int             // requests that were too many; only an open loop has them
	elapsed time.Duration
}

func newSample(took []time.Duration, elapsed time.Duration) sample {
	slices.Sort(took)
	return sample{took: took, elapsed: elapsed}
}

// rate is in requests per second.
func (s sample) rate() float64 { return float64(len(s.took)) / s.elapsed.Seconds() }

// refusals are the share of requests that were too many.
func (s sample) refusals() float64 { return float64(s.refused) / float64(s.refused+len(s.took)) }

// p99 is in milliseconds.
func (s sample) p99() float64 { return percentile(s.took, 0.99).Seconds() * 1e3 }

// percentile gives the least value that a share of all does not exceed.
func percentile(ascending []time.Duration, share float64) time.Duration {
	n := len(ascending)
	at := int(math.Ceil(share*float64(n))) - 1
	return ascending[min(max(at, 0), n-1)]
}

// median of a value of each sample.
func median[T any](samples []T, of func(T) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// middle is the median of values.
func middle(values []float64) float64 { return median(values, func(v float64) float64 { return v }) }

// closedLoop keeps a number of requests in flight for a while: each that is
// answered makes room for the next. count, when it is not 0, ends it earlier.
func closedLoop(ctx context.Context, conns []*nats.Conn, inFlight int, d time.Duration, count int, do ask) (sample, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	next := 0
	take := func() (int, bool) { // the number of the next request
		mu.Lock()
		defer mu.Unlock()
		if len(errs) > 0 || ctx.Err() != nil || count > 0 && next == count {
			return 0, false
		}
		next++
		return next - 1, true
	}
	runtime.GC() // of what the side before has left
	var wg sync.WaitGroup
	start := time.Now()
	for i := range inFlight {
		nc := conns[i%len(conns)]
		wg.Go(func() {
			var took []time.Duration
			var err error
			for err == nil {
				begin := time.Now()
				if begin.Sub(start) >= d {
					break
				}
				n, more := take()
				if !more {
					break
				}
				err = do(nc, n)
				took = append(took, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return newSample(all, time.Since(start)), firstOf(ctx, errs)
}

// openLoop sends requests at a rate, whether or not those before are answered.
// Their time counts from when they were due. Those that are too many are refused.
func openLoop(ctx context.Context, conns []*nats.Conn, rate float64, d time.Duration, do ask) (sample, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	refused := 0
	var failed atomic.Bool
	runtime.GC()
	var wg sync.WaitGroup
	p := pacer{rate: rate, start: time.Now()}
	total := int(rate * d.Seconds())
	for n := range total {
		due, err := p.wait(ctx)
		if err != nil || failed.Load() {
			break
		}
		nc := conns[n%len(conns)]
		wg.Go(func() {
			err := do(nc, n)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if isRefused(err, codeOverloaded) {
				refused++
				return
			}
			all = append(all, took)
			if err != nil {
				failed.Store(true)
				errs = append(errs, fmt.Errorf("after %d of %d requests at %.0f/s: %w", len(all), total, rate, err))
			}
		})
	}
	wg.Wait()
	s := newSample(all, time.Since(p.start))
	s.refused = refused
	return s, firstOf(ctx, errs)
}

// firstOf is the first error; those after it are often its consequences.
func firstOf(ctx context.Context, errs []error) error {
	if len(errs) > 0 {
		return errs[0]
	}
	return context.Cause(ctx)
}

// pacer says when things are due that happen at a rate.
type pacer struct {
	rate  float64 // per second
	start time.Time
	count int
}

// due is when the next one is due.
func (p *pacer) due() time.Time {
	due := p.start.Add(time.Duration(float64(p.count) * float64(time.Second) / p.rate))
	p.count++
	return due
}

// wait returns when the next one is due, or at once when that is past.
func (p *pacer) wait(ctx context.Context) (due time.Time, err error) {
	due = p.due()
	ahead := time.Until(due)
	if ahead <= 0 {
		return due, context.Cause(ctx)
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return due, nil
	case <-ctx.Done():
		return due, context.Cause(ctx)
	}
}
