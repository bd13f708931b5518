package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
)

// liveRate is how many events happen per second while we measure.
const liveRate = 5000

// How they are written: as backends do it, a few milliseconds' worth at a time.
const (
	liveEvery  = 20 * time.Millisecond
	liveWrites = 4 // at the same time
)

// live is a chat that goes on until it is stopped.
type live struct {
	world *world
	stop  context.CancelFunc
	done  chan struct{}
	begun time.Time

	// These may be read once done is closed.
	happened int
	last     written
	err      error
}

// begin lets a world's chat go on: messages, as many of them in groups as
// groups have their share, and people who read.
func (b *bench) begin(ctx context.Context, w *world) *live {
	ctx, cancel := context.WithCancel(ctx)
	l := &live{world: w, stop: cancel, done: make(chan struct{}), begun: time.Now(), last: written{}}
	go func() {
		defer close(l.done)
		l.err = l.run(ctx, b.kafka)
	}()
	return l
}

func (l *live) run(ctx context.Context, to *producer) error {
	// What has begun to be written is written to its end.
	g, writing := errgroup.WithContext(context.WithoutCancel(ctx))
	g.SetLimit(liveWrites)
	offsets := make(chan written, liveWrites)
	gathered := make(chan struct{})
	go func() {
		defer close(gathered)
		for w := range offsets {
			l.last.add(w)
		}
	}()
	p := pacer{rate: float64(time.Second / liveEvery), start: l.begun}
	for writing.Err() == nil {
		if _, err := p.wait(ctx); err != nil {
			break // stopped
		}
		batch := make([]events.Event, liveRate*liveEvery/time.Second)
		for i := range batch {
			batch[i] = l.world.something(events.MicrosOf(time.Now()))
		}
		l.happened += len(batch)
		g.Go(func() error {
			w, err := to.write(writing, batch...)
			if err == nil {
				offsets <- w
			}
			return err
		})
	}
	err := g.Wait()
	close(offsets)
	<-gathered
	return err
}

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
	l := b.begin(ctx, w)
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
