package main

import (
	"context"
	"time"

	"github.com/convoview/convoview/internal/pause"
)

// paceStep is the shortest wait: below it, timers cost more than they order.
const paceStep = 2 * time.Millisecond

// pacer spreads calls evenly over time.
type pacer struct {
	rate  float64 // per second; 0: at once
	start time.Time
	count int64
}

// wait returns when the next one is due. Before it has to wait it calls flush,
// so that nothing that is due is held back.
func (p *pacer) wait(ctx context.Context, flush func(context.Context) error) error {
	if p.rate <= 0 {
		return context.Cause(ctx)
	}
	if p.start.IsZero() {
		p.start = time.Now()
	}
	due := p.start.Add(time.Duration(float64(p.count) / p.rate * float64(time.Second)))
	p.count++
	ahead := time.Until(due)
	if ahead < paceStep {
		return context.Cause(ctx)
	}
	if err := flush(ctx); err != nil {
		return err
	}
	return pause.For(ctx, ahead)
}
