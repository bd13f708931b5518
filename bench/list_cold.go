package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// cold are a million users, of whom those with many conversations are asked for.
var cold = shape{app: "cold", people: 20_000, conversations: 100, others: 980_000, othersConversations: 5}

// What one round reads. The sides of a round read different users, lest one
// finds in ClickHouse's caches what another has just brought there.
const (
	coldBatch   = 64  // users in one read of the engine's
	coldBatches = 16  // of the engine
	coldAlone   = 256 // users who are read one by one
)

// listCold compares lists of users who were never asked for with reading their
// rows.
func listCold(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, cold)
	if err != nil {
		return err
	}
	w := worlds[0]
	users := w.people[:w.shape.people]
	perRound := len(users) / b.config.rounds
	// of gives the users of a round, and others for each side beside ours.
	of := func(round, side int) []string {
		first := (round + side) % b.config.rounds * perRound
		return users[first : first+perRound]
	}
	if err := b.serve(ctx); err != nil {
		return err
	}

	batches := make([][]needs, b.config.rounds)
	for round := range batches {
		if batches[round], err = b.batchesOf(ctx, of(round, 2)); err != nil {
			return err
		}
	}
	atOnce, err := b.fastest(ctx, batches[0])
	if err != nil {
		return err
	}
	samples, err := b.rounds(ctx, "list_cold",
		side{"one by one", func(round int) (sample, error) {
			alone := of(round, 1)[:coldAlone]
			return closedLoop(ctx, b.conns, 64, time.Hour, len(alone), func(_ *nats.Conn, n int) error {
				_, err := b.readLists(ctx, w.app, alone[n:n+1])
				return err
			})
		}},
		side{"the engine", func(round int) (sample, error) { return b.engineReads(ctx, batches[round], atOnce) }},
		side{"ours", func(round int) (sample, error) {
			asked := of(round, 0)
			return closedLoop(ctx, b.conns, 64, time.Hour, len(asked), func(nc *nats.Conn, n int) error {
				return askOnce(nc, w, asked[n])
			})
		}},
	)
	if err != nil {
		return err
	}
	engine := func(s sample) float64 { return s.rate() * coldBatch }
	ours := median(samples[2], sample.rate)
	if err := f.compare("one_by_one/rate", ours, median(samples[0], sample.rate)); err != nil {
		return err
	}
	if err := f.compare("engine/rate", ours, median(samples[1], engine)); err != nil {
		return err
	}
	return f.tell("p99", median(samples[2], sample.p99))
}

// askOnce asks for a list that nothing is known of but its length.
func askOnce(nc *nats.Conn, w *world, user string) error {
	body, err := json.Marshal(map[string]any{"userID": user})
	if err != nil {
		return err
	}
	reply, err := request(nc, subjectOf(w.app, "list"), body)
	if err != nil {
		return err
	}
	return checkItems(reply.Data, w.conversations)
}

// batchesOf finds out which rows batches of users need.
func (b *bench) batchesOf(ctx context.Context, users []string) ([]needs, error) {
	var list []needs
	for batch := range slices.Chunk(users[:min(coldBatches*coldBatch, len(users))], coldBatch) {
		n, err := b.readLists(ctx, cold.app, batch)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// engineReads reads batches, some of them at the same time.
func (b *bench) engineReads(ctx context.Context, batches []needs, atOnce int) (sample, error) {
	return closedLoop(ctx, b.conns, atOnce, time.Hour, len(batches), func(_ *nats.Conn, n int) error {
		return b.readRows(ctx, batches[n])
	})
}

// fastest tries how many batches at once the engine reads fastest.
func (b *bench) fastest(ctx context.Context, batches []needs) (atOnce int, err error) {
	best := 0.0
	for _, n := range []int{1, 2, 4} {
		s, err := b.engineReads(ctx, batches, n)
		if err != nil {
			return 0, err
		}
		users := s.rate() * coldBatch
		b.note("list_cold: the engine reads %.0f users/s with %d batches at once", users, n)
		if users > best {
			best, atOnce = users, n
		}
	}
	return atOnce, nil
}
