package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/events"
)

// What has changed of each user's list since the token: as many groups as pairs
// have their share.
const (
	changedPairs  = 4
	changedGroups = 1
)

// syncing compares replies of what has changed with whole lists.
func syncing(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, hot[0])
	if err != nil {
		return err
	}
	w := worlds[0]
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	if _, err := b.whole(ctx, w); err != nil {
		return err
	}
	tokens, err := b.tokens(ctx, w)
	if err != nil {
		return err
	}
	if err := b.change(ctx, w); err != nil {
		return err
	}
	whole, err := b.whole(ctx, w)
	if err != nil {
		return err
	}
	since, err := b.learn(ctx, w.app, w.shape.people, changedPairs+changedGroups, func(n int) any {
		return map[string]any{"userID": w.people[n], "sync": true, "since": tokens[n]}
	})
	if err != nil {
		return err
	}
	samples, err := b.fromMemory(ctx, func() ([][]sample, error) {
		return b.rounds(ctx, "sync", b.under(ctx, "whole lists", 64, whole.ask), b.under(ctx, "since", 64, since.ask))
	})
	if err != nil {
		return err
	}
	if err := f.compare("bytes", float64(since.meanSize()), float64(whole.meanSize())); err != nil {
		return err
	}
	return f.compare("rate", median(samples[1], sample.rate), median(samples[0], sample.rate))
}

// tokens takes a sync token of each user.
func (b *bench) tokens(ctx context.Context, w *world) ([]string, error) {
	tokens := make([]string, w.shape.people)
	_, err := closedLoop(ctx, b.conns, 64, time.Hour, len(tokens), patient(func(nc *nats.Conn, n int) error {
		body, err := json.Marshal(map[string]any{"userID": w.people[n], "sync": true})
		if err != nil {
			return err
		}
		r, _, err := askList(nc, w.app, body)
		tokens[n] = r.SyncToken
		return err
	}))
	return tokens, err
}

// change has somebody say something in as many conversations of each user, and
// waits until it is to be seen.
func (b *bench) change(ctx context.Context, w *world) error {
	now := events.MicrosOf(time.Now())
	var said []events.Event
	for _, i := range w.friendly(changedPairs) {
		said = append(said, w.inPair(i, now))
	}
	for _, i := range w.gathered(changedGroups) {
		said = append(said, w.inGroup(i, now))
	}
	done, err := b.kafka.writeAll(ctx, said)
	if err != nil {
		return err
	}
	return b.applied(ctx, w.app, w.people[0], done)
}
