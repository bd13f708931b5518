package query

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// attempt is a request that lacked something when it was tried. A cohort goes on
// with it until it has a reply or leaves.
type attempt struct {
	answer   answer
	query    *query
	maxBytes int
	buffer   *bytes.Buffer

	mu    sync.Mutex // held while it is tried
	left  bool
	done  chan struct{} // closed when there is a reply or an error
	reply []byte
	err   error
}

// accompany answers a cohort: what its requests lack is loaded for all of them
// at once, step by step. A list takes three steps, and a step costs one call of
// the store for each kind of thing, however many requests there are; if each
// went its own way, they would drift apart, and so would the calls.
func (c *cache) accompany(ctx context.Context, cohort []*attempt) (map[*attempt]struct{}, error) {
	for {
		lacks, lacking, d := advance(cohort)
		if len(lacking) == 0 {
			return nil, nil // each has its own reply
		}
		c.coalesced.Observe(float64(len(lacking)))
		switch err := c.load(ctx, d, lacks); {
		case tooMany(err):
			return nil, c.accompanyApart(ctx, lacking)
		case err != nil:
			return nil, err
		}
		cohort = lacking
	}
}

// accompanyApart answers a cohort whose users have too many conversations to be loaded at once,
// one part of it after the other: each has its replies, and lets go of its inboxes, before the
// next begins.
func (c *cache) accompanyApart(ctx context.Context, cohort []*attempt) error {
	const parts = 8
	for part := range slices.Chunk(cohort, max(1, len(cohort)/parts)) {
		if _, err := c.accompany(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// advance tries all requests again. It gives what those lack together that have
// no reply, and the demand that meets the demands of all.
func advance(cohort []*attempt) (lacks *missing, lacking []*attempt, d demand) {
	all, demands := make([]*missing, len(cohort)), make([]demand, len(cohort))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, a := range cohort {
		g.Go(func() error {
			all[i], demands[i] = a.again()
			return nil
		})
	}
	_ = g.Wait() // none fails
	lacks = &missing{}
	for i, a := range cohort {
		if all[i] == nil {
			continue
		}
		if lacking = append(lacking, a); len(lacking) == 1 {
			d = demands[i]
		}
		d = d.and(demands[i])
		lacks.include(all[i])
	}
	return lacks, lacking, d
}

// again tries a request once more and gives what it still lacks, and its demand; nil when
// it is answered or has left.
func (a *attempt) again() (lacks *missing, d demand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return nil, d
	}
	var reply []byte
	var err error
	defer func() {
		if p := recover(); p != nil {
			lacks, err = nil, panicked(p)
		}
		if lacks == nil {
			a.reply, a.err = reply, err
			close(a.done)
		}
	}()
	reply, lacks, err = a.answer(a.query, a.maxBytes, a.buffer)
	return lacks, a.query.demand
}

// join has a cohort go on with a request.
func (c *cache) join(ctx context.Context, a *attempt) ([]byte, error) {
	err := c.cohorts.follow(ctx, a, a.done)
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.done:
		return a.reply, a.err
	default:
		a.left, a.query, a.buffer = true, nil, nil // its cohort may be long in waiting
		return nil, err
	}
}
