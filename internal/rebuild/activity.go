package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
)

// carryActivity takes over from the generation that is read what it has of the activity
// of days before the topic of messages begins. Activity outlives messages, so the topic
// need not have them any more. Trying again changes nothing.
func (r *Rebuild) carryActivity(ctx context.Context, offsets *ingest.Offsets) error {
	if r.options.Base != 0 {
		return nil // it has all of it
	}
	return r.retry(ctx, func() error { return r.tryCarryActivity(ctx, offsets) }, func(err error) {
		r.log.Warn("cannot take over the activity of earlier days; trying again", "error", err)
	})
}

func (r *Rebuild) tryCarryActivity(ctx context.Context, offsets *ingest.Offsets) error {
	through, missing, err := r.begins(ctx, offsets, time.Now())
	if err != nil || !missing {
		return err
	}
	registry, err := r.server.Registry(ctx)
	if err != nil {
		return err
	}
	if err := r.store.CarryActivity(ctx, r.server.Generation(registry.Current), through); err != nil {
		return fmt.Errorf("take over activity: %w", err)
	}
	r.log.Info("took over the activity of days before the topics begin", "from", registry.Current, "through", through.Time().Format(time.DateOnly))
	return nil
}

// begins gives the last day of which messages may be missing from what is read.
func (r *Rebuild) begins(ctx context.Context, offsets *ingest.Offsets, now time.Time) (through events.Day, missing bool, err error) {
	starts, err := offsets.Starts(ctx)
	if err != nil {
		return 0, false, err
	}
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return 0, false, err
	}
	first := map[events.Partition]int64{} // of the partitions that lack something
	last := events.MicrosOf(now).Day()
	for p, start := range starts {
		if begin := max(start, r.config.Ingest.StartAt[p]); begin > 0 && p.Topic == r.config.Ingest.Topics[0] {
			first[p] = begin
			if begin >= ends[p] { // there is nothing to tell when it begins
				return last, true, nil
			}
		}
	}
	if len(first) == 0 {
		return 0, false, nil
	}
	// The first day after which no partition begins any more.
	low, high := events.Day(0), last
	for low < high {
		middle := low + (high-low)/2
		since, err := offsets.Since(ctx, (middle + 1).Time())
		if err != nil {
			return 0, false, err
		}
		later := false
		for p, begin := range first {
			later = later || since[p] >= 0 && since[p] <= begin
		}
		if later {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low + 1, true, nil // an event may be ahead of the broker's clock
}
