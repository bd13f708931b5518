package main

import (
	"context"
	"errors"
	"fmt"
)

// hotUsers are how many users are in memory of each kind.
const hotUsers = 10_000

// hot are users with many conversations, and with few. Nobody else is there.
var hot = []shape{
	{app: "hot100", people: hotUsers, conversations: 100},
	{app: "hot20", people: hotUsers, conversations: 20},
}

// hotMemory holds all of them.
var hotMemory = []string{"--cache-bytes", "4GiB"}

// listHot compares lists from memory with an echo.
func listHot(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, hot...)
	if err != nil {
		return err
	}
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	for _, w := range worlds {
		l, err := b.whole(ctx, w)
		if err != nil {
			return err
		}
		echo, err := l.echo(b.conns[0])
		if err != nil {
			return err
		}
		for _, inFlight := range []int{64, 1} {
			what := fmt.Sprintf("%d/%d", w.conversations, inFlight)
			samples, err := b.fromMemory(ctx, func() ([][]sample, error) {
				return b.rounds(ctx, "list_hot/"+what, b.under(ctx, "echo", inFlight, echo), b.under(ctx, "ours", inFlight, l.ask))
			})
			if err != nil {
				return err
			}
			for _, figure := range []struct {
				name string
				of   func(sample) float64
			}{{"rate", sample.rate}, {"p99", sample.p99}} {
				if err := f.compare(what+"/"+figure.name, median(samples[1], figure.of), median(samples[0], figure.of)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// under is a side that is asked with a number of requests in flight.
func (b *bench) under(ctx context.Context, name string, inFlight int, do ask) side {
	return side{name, func(int) (sample, error) {
		return closedLoop(ctx, b.conns, inFlight, b.config.round, 0, do)
	}}
}

// fromMemory fails when what was measured was not answered from memory.
func (b *bench) fromMemory(ctx context.Context, measure func() ([][]sample, error)) ([][]sample, error) {
	before, err := b.answers(ctx)
	if err != nil {
		return nil, err
	}
	samples, err := measure()
	if err != nil {
		return nil, err
	}
	after, err := b.answers(ctx)
	if misses := after.misses - before.misses; err == nil && misses > 0 {
		err = fmt.Errorf("%v requests were not answered from memory", misses)
	}
	return samples, err
}

// answers are how many lists needed nothing but memory, and how many more.
type answers struct{ hits, misses float64 }

func (b *bench) answers(ctx context.Context) (answers, error) {
	m, err := b.queryMetrics(ctx)
	if err != nil {
		return answers{}, err
	}
	hits, noHits := m.of("convoview_query_cache_hits_total")
	misses, noMisses := m.of("convoview_query_cache_misses_total")
	return answers{hits, misses}, errors.Join(noHits, noMisses)
}
