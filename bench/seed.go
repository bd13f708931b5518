package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// How the past is: every conversation has some messages, the last of them
// days ago at most, hours apart from each other; some have been edited.
const (
	hour = events.Micros(time.Hour / time.Microsecond)

	lastWithin    = 48 * hour
	maxPause      = 4 * hour
	longAgo       = 30 * 24 * hour
	maxInPair     = 3
	maxInGroup    = 20
	editedEvery   = 50
	readersOfFive = 3 // members of five who have read some of it
)

// How it is written.
const (
	rowsPerWrite = 100_000
	writesAtOnce = 2
	tellEvery    = 20 * time.Second
)

// seeded gives worlds whose past is in ClickHouse. It is written once.
func (b *bench) seeded(ctx context.Context, shapes ...shape) ([]*world, error) {
	var worlds []*world
	for _, s := range shapes {
		if b.worlds[s.app] == nil {
			w, err := newWorld(s, b.chat)
			if err == nil {
				err = b.seed(ctx, w)
			}
			if err != nil {
				return nil, fmt.Errorf("seed %s: %w", s.app, err)
			}
			b.worlds[s.app] = w
		}
		worlds = append(worlds, b.worlds[s.app])
	}
	return worlds, b.merged(ctx)
}

// seed writes a world's past.
func (b *bench) seed(ctx context.Context, w *world) error {
	b.note("seed %s: %d people, %d pairs, %d groups", w.app, len(w.people), len(w.pairs), len(w.groups))
	return b.write(ctx, w.app, w.past(events.MicrosOf(time.Now())))
}

// write writes events of the past, folded and stored as projectors do it.
func (b *bench) write(ctx context.Context, app string, past iter.Seq[events.Event]) error {
	begin := time.Now()
	writes, wctx := errgroup.WithContext(ctx)
	writes.SetLimit(writesAtOnce)
	happened, rows := 0, 0
	model := projection.NewModel()
	write := func() {
		full := model
		model, rows = projection.NewModel(), rows+full.Rows()
		writes.Go(func() error { return b.store.Write(wctx, full) })
	}
	told := begin
	for e := range past {
		happened++
		model.Fold(e)
		if model.Rows() < rowsPerWrite {
			continue
		}
		if write(); wctx.Err() != nil {
			break
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			b.note("seed %s: %d events so far", app, happened)
		}
	}
	write()
	if err := writes.Wait(); err != nil {
		return err
	}
	b.note("seed %s: %d events made %d rows in %v", app, happened, rows, time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// past yields what has happened, conversation by conversation.
func (w *world) past(now events.Micros) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		for i := range w.people {
			if !yield(w.event(w.ago(now, longAgo), w.chat.person(i))) {
				return
			}
		}
		for i := range w.pairs {
			n := 1 + w.rng.IntN(maxInPair)
			at := w.begin(now, n)
			for range n {
				at += w.pause()
				if !yield(w.inPair(i, at)) {
					return
				}
			}
			p := w.pairs[i]
			if !w.edited(events.C2C(w.people[p.a], w.people[p.b]), p.last, at, yield) {
				return
			}
		}
		for i := range w.groups {
			if !w.pastOf(i, now, yield) {
				return
			}
		}
	}
}

// pastOf yields the past of a group.
func (w *world) pastOf(i int, now events.Micros, yield func(events.Event) bool) bool {
	g := &w.groups[i]
	founded := w.ago(now, longAgo) - longAgo
	if !yield(w.event(founded, w.chat.group(i))) {
		return false
	}
	for _, member := range g.members {
		if !yield(w.event(founded, &events.GroupMemberChanged{
			GroupID: g.id, UserID: w.people[member], Status: events.StatusJoined, Role: "Member", JoinTime: founded,
		})) {
			return false
		}
	}
	n := 1 + w.rng.IntN(maxInGroup)
	at := w.begin(now, n)
	for range n {
		at += w.pause()
		if !yield(w.inGroup(i, at)) {
			return false
		}
	}
	for _, member := range g.members {
		if w.rng.IntN(5) < readersOfFive && !yield(w.event(at, &events.ConversationRead{
			ConversationOf: events.ConversationOf{UserID: w.people[member], ConversationID: events.Group(g.id).IDFor("")},
			Sequence:       w.rng.Uint64N(g.last + 1),
		})) {
			return false
		}
	}
	return w.edited(events.Group(g.id), g.last, at, yield)
}

// edited yields what was done to the last message, if anything was.
func (w *world) edited(in events.Conversation, sequence uint64, at events.Micros, yield func(events.Event) bool) bool {
	switch t := w.chat.texts[w.rng.IntN(len(w.chat.texts))]; w.rng.IntN(2 * editedEvery) {
	case 0:
		return yield(w.event(at, &events.MessageRecalled{Conversation: in, Sequence: sequence, Reason: "typo"}))
	case 1:
		return yield(w.event(at, &events.MessageModified{Conversation: in, Sequence: sequence, Version: 1, Payload: t.payload, PayloadText: t.shown}))
	default:
		return true
	}
}

// begin is before the first of n messages.
func (w *world) begin(now events.Micros, n int) events.Micros {
	return w.ago(now, lastWithin) - events.Micros(n)*maxPause
}

// ago is a time before now.
func (w *world) ago(now, most events.Micros) events.Micros {
	return now - 1 - events.Micros(w.rng.Int64N(int64(most)))
}

func (w *world) pause() events.Micros { return 1 + events.Micros(w.rng.Int64N(int64(maxPause))) }

// quiet is how long ClickHouse merges nothing before it has nothing to merge.
const quiet = 2 * time.Second

// merged waits until ClickHouse has nothing to merge: what it does in the
// background would be charged to whoever is measured first.
func (b *bench) merged(ctx context.Context) error {
	begin := time.Now()
	busy := begin
	err := b.eventually(ctx, "ClickHouse has merged what was written", seldom, func() (bool, error) {
		var running uint64
		if err := b.engine.QueryRow(ctx, "SELECT count() FROM system.merges").Scan(&running); err != nil {
			return false, fmt.Errorf("ask what is merged: %w", err)
		}
		if running > 0 {
			busy = time.Now()
		}
		return time.Since(busy) > quiet, nil
	})
	if took := busy.Sub(begin); took > time.Second {
		b.note("ClickHouse merged for another %v", took.Round(time.Second))
	}
	return err
}
