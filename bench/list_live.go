package main

import (
	"context"
)

// listLive compares lists while much happens with lists while nothing does, at
// half of the rate that the query worker has when nothing happens.
func listLive(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, hot[0])
	if err != nil {
		return err
	}
	w := worlds[0]
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	l, err := b.whole(ctx, w)
	if err != nil {
		return err
	}
	full, err := b.rounds(ctx, "list_live at full rate", b.under(ctx, "ours", 64, l.ask))
	if err != nil {
		return err
	}
	rate := median(full[0], sample.rate) / 2
	// The lists change: only their length is known.
	open := func() (sample, error) { return openLoop(ctx, b.conns, rate, b.config.round, l.askAny) }
	hits, all := 0.0, 0.0
	samples, err := b.rounds(ctx, "list_live",
		side{"idle", func(int) (sample, error) {
			if err := b.settle(ctx, w); err != nil {
				return sample{}, err
			}
			return open()
		}},
		side{"live", func(int) (s sample, err error) {
			err = b.during(ctx, w, func() error {
				before, err := b.answers(ctx)
				if err != nil {
					return err
				}
				if s, err = open(); err != nil {
					return err
				}
				after, err := b.answers(ctx)
				hits += after.hits - before.hits
				all += after.hits - before.hits + after.misses - before.misses
				return err
			})
			return s, err
		}},
	)
	if err != nil {
		return err
	}
	if err := f.tell("rate", rate); err != nil {
		return err
	}
	if err := f.compare("p99", median(samples[1], sample.p99), median(samples[0], sample.p99)); err != nil {
		return err
	}
	return f.tell("hit_ratio", hits/all)
}

// settle waits until nothing is left to be done of what has happened.
func (b *bench) settle(ctx context.Context, w *world) error {
	if err := b.merged(ctx); err != nil {
		return err
	}
	return b.askAll(ctx, w, "list", w.people, 64)
}
