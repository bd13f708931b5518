package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
)

// liveRate is how many events happen per second while we measure.
const liveRate = 5000

// How they are written: as backends do it, a few milliseconds' worth at a time, and in
// order those of each conversation.
const (
	liveEvery = 20 * time.Millisecond
	liveLanes = 4  // that write at the same time
	liveAhead = 50 // writes of a lane that wait for it
)

// live is a chat that goes on until it is stopped.
type live struct {
	world  *world
	ledger *ledger // nil: nobody compares what is shown
	stop   context.CancelFunc
	done   chan struct{}
	begun  time.Time

	// These may be read once done is closed.
	happened int
	last     written
	err      error
}

// begin lets a world's chat go on: messages, as many of them in groups as
// groups have their share, and people who read.
func (b *bench) begin(ctx context.Context, w *world, ledger *ledger) *live {
	ctx, cancel := context.WithCancel(ctx)
	l := &live{world: w, ledger: ledger, stop: cancel, done: make(chan struct{}), begun: time.Now(), last: written{}}
	go func() {
		defer close(l.done)
		l.err = l.run(ctx, b.kafka)
	}()
	return l
}

func (l *live) run(ctx context.Context, to *producer) error {
	// What has begun to be written is written to its end.
	g, writing := errgroup.WithContext(context.WithoutCancel(ctx))
	var mu sync.Mutex // guards last
	var lanes [liveLanes]chan []events.Event
	for i := range lanes {
		lanes[i] = make(chan []events.Event, liveAhead)
		g.Go(func() error {
			for batch := range lanes[i] {
				w, err := to.write(writing, batch...)
				if err != nil {
					return err
				}
				if l.ledger != nil {
					l.ledger.end(batch, w)
				}
				mu.Lock()
				l.last.add(w)
				mu.Unlock()
			}
			return nil
		})
	}
	l.happen(ctx, writing, &lanes)
	for _, lane := range lanes {
		close(lane)
	}
	return g.Wait()
}

// happen hands to the lanes what happens, until it is stopped or writing has ended.
func (l *live) happen(ctx, writing context.Context, lanes *[liveLanes]chan []events.Event) {
	p := pacer{rate: float64(time.Second / liveEvery), start: l.begun}
	for {
		if _, err := p.wait(ctx); err != nil {
			return
		}
		var batches [liveLanes][]events.Event
		for range liveRate * liveEvery / time.Second {
			e := l.world.something(events.MicrosOf(time.Now()))
			i := maphash.String(laneSeed, events.Key(e)) % liveLanes
			batches[i] = append(batches[i], e)
		}
		for i, batch := range batches {
			if len(batch) == 0 {
				continue
			}
			if l.ledger != nil {
				l.ledger.begin(batch)
			}
			select {
			case lanes[i] <- batch:
				l.happened += len(batch)
			case <-writing.Done():
				return
			}
		}
	}
}

var laneSeed = maphash.MakeSeed()

// end stops the chat and reports whether it was as lively as it should be.
func (l *live) end() (written, error) {
	took := time.Since(l.begun)
	l.stop()
	<-l.done
	if l.err != nil {
		return nil, l.err
	}
	if rate := float64(l.happened) / took.Seconds(); rate < 0.95*liveRate {
		return nil, fmt.Errorf("only %.0f events/s could be written", rate)
	}
	return l.last, nil
}

// during does something while a world's chat goes on, and returns when what
// has happened meanwhile is to be seen.
func (b *bench) during(ctx context.Context, w *world, do func() error) error {
	return b.accounted(ctx, w, nil, do)
}

// accounted is during, with a ledger of what happens.
func (b *bench) accounted(ctx context.Context, w *world, ledger *ledger, do func() error) error {
	l := b.begin(ctx, w, ledger)
	err := do()
	last, ended := l.end()
	if err := errors.Join(err, ended); err != nil {
		return err
	}
	return b.applied(ctx, w.app, w.people[0], last)
}

// readShare is the share of events that say that somebody has read something.
const readShare = 0.2

// something is what happens next in a world.
func (w *world) something(at events.Micros) events.Event {
	inGroup := w.rng.Float64() < groupShare
	pair, group := w.rng.IntN(len(w.pairs)), w.rng.IntN(len(w.groups))
	switch reads := w.rng.Float64() < readShare; {
	case inGroup && reads:
		g := &w.groups[group]
		return w.reading(at, w.people[g.members[w.rng.IntN(len(g.members))]], events.Group(g.id), g.last)
	case inGroup:
		return w.inGroup(group, at)
	case reads:
		p := &w.pairs[pair]
		return w.reading(at, w.people[p.a], events.C2C(w.people[p.a], w.people[p.b]), p.last)
	default:
		return w.inPair(pair, at)
	}
}

func (w *world) reading(at events.Micros, user string, in events.Conversation, sequence uint64) events.Event {
	return w.event(at, &events.ConversationRead{
		ConversationOf: events.ConversationOf{UserID: user, ConversationID: in.IDFor(user)}, Sequence: sequence,
	})
}
