package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/readmodel"
)

// Verify compares two generations.
type Verify struct {
	// Ours is compared with Theirs.
	Ours, Theirs *readmodel.Store
	// Offsets are those of the projectors.
	Offsets *ingest.Offsets
	// MaxDifferences is how many differing rows are named.
	MaxDifferences int
	// Interval is how often is looked whether projectors have written what was there
	// when a difference was seen.
	Interval time.Duration
	// Progress is told of how far it is.
	Progress func(readmodel.Compared)
	Log      *slog.Logger
}

// errEnough ends a comparison.
var errEnough = errors.New("enough")

// Run gives what differs; whole says that nothing else does. While projectors write,
// rows differ that one generation has and the other one not yet: a difference counts
// if it is the same after both have all that was in the topics when it was seen, or
// if the row is written all the time and never equal.
func (v *Verify) Run(ctx context.Context) (differences []readmodel.Difference, whole bool, err error) {
	// What projectors are behind would only be seen to differ.
	if err := v.settle(ctx); err != nil {
		return nil, false, err
	}
	var seen []readmodel.Difference
	err = v.Ours.Compare(ctx, v.Theirs, func(d readmodel.Difference) error {
		if seen = append(seen, d); len(seen) >= max(v.MaxDifferences, seenAtOnce) {
			return errEnough
		}
		return nil
	}, v.Progress)
	whole = !errors.Is(err, errEnough)
	if err != nil && whole {
		return nil, false, err //nolint:wrapcheck // it says what it is about
	}
	for round := 1; len(seen) > 0; round++ {
		if err := v.settle(ctx); err != nil {
			return nil, false, err
		}
		now, err := v.Ours.Again(ctx, v.Theirs, seen)
		if err != nil {
			return nil, false, err //nolint:wrapcheck // as above
		}
		before := map[readmodel.Difference]bool{}
		for _, d := range seen {
			before[d] = true
		}
		seen = nil
		for _, d := range now {
			if before[d] || round == mostRounds {
				differences = append(differences, d)
			} else { // it has been written since
				seen = append(seen, d)
			}
		}
	}
	if len(differences) > v.MaxDifferences {
		differences, whole = differences[:v.MaxDifferences], false
	}
	return differences, whole, nil
}

// mostRounds is how often is looked again at a row that goes on being written. By then
// it differs, and not because one generation has an event and the other one not yet.
const mostRounds = 10

// seenAtOnce is how many rows may be seen to differ, and may be looked at again, before
// nothing more is looked for. Most of them are only being written, while much happens.
const seenAtOnce = 10_000

// settle waits until projectors have written what is in the topics when it begins.
func (v *Verify) settle(ctx context.Context) error {
	ends, err := v.Offsets.Ends(ctx)
	if err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}
	told := time.Now()
	for {
		behind, err := v.Offsets.Behind(ctx, ends)
		if err != nil {
			return err //nolint:wrapcheck // as above
		}
		if len(behind) == 0 {
			return nil
		}
		if time.Since(told) > settleTold {
			told = time.Now()
			v.Log.Warn("waiting until projectors have written what is in the topics", "partitions", len(behind), "first", behind[0].String())
		}
		select {
		case <-time.After(v.Interval):
		case <-ctx.Done():
			return fmt.Errorf("wait for the projectors: %w", context.Cause(ctx))
		}
	}
}

// settleTold is how often is said that projectors are waited for.
const settleTold = 5 * time.Second
