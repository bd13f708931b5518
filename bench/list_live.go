package main

import (
	"context"
	"errors"
)

// listLive compares lists while much happens with lists while nothing does, at
// parts of the rate that the query worker has when nothing happens.
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
	for _, part := range []struct {
		name string
		of   float64
	}{{"half", 2}, {"eighth", 8}} {
		if err := b.liveAt(ctx, w, l, median(full[0], sample.rate)/part.of, part.name, f); err != nil {
			return err
		}
	}
	return nil
}

// liveAt compares lists at a rate while much happens with lists while nothing does.
func (b *bench) liveAt(ctx context.Context, w *world, l *lists, rate float64, name string, f *figures) error {
	// The lists change: only their length is known.
	open := func() (sample, error) { return openLoop(ctx, b.conns, rate, b.config.round, l.askAny) }
	hits, all := 0.0, 0.0
	samples, err := b.rounds(ctx, "list_live at "+name+" of the full rate",
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
	return errors.Join(
		f.tell(name+"/rate", rate),
		f.compare(name+"/p99", median(samples[1], sample.p99), median(samples[0], sample.p99)),
		f.tell(name+"/refused", median(samples[1], sample.refusals)),
		f.tell(name+"/hit_ratio", hits/all),
	)
}

// settle waits until nothing is left to be done of what has happened.
func (b *bench) settle(ctx context.Context, w *world) error {
	if err := b.merged(ctx); err != nil {
		return err
	}
	return b.askAll(ctx, w, "list", w.people, 64)
}
