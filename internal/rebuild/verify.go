package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/readmodel"
)

// Verify compares two generations.
type Verify struct {
	// Ours is compared with Theirs.
	Ours, Theirs *readmodel.Store
	// Strict has every register count. Else only what replies show at Now does.
	Strict bool
	Now    time.Time
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

// Difference is a row that differs, and where replies do.
type Difference struct {
	readmodel.Difference
	Shown *Shown `json:"shown,omitempty"` // nil: in all replies of the app, or nobody has looked
}

// Verified is what a comparison has found.
type Verified struct {
	Differences []Difference
	// Unshown are how many rows differ, too, but no reply does.
	Unshown int
	// Whole says that nothing else differs.
	Whole bool
}

// errEnough ends a comparison.
var errEnough = errors.New("enough")

// Run finds what differs. While projectors write, rows differ that one generation has
// and the other one not yet: a difference counts if it is the same after both have all
// that was in the topics when it was seen, or if the row is written all the time and
// never equal.
func (v *Verify) Run(ctx context.Context) (*Verified, error) {
	// What projectors are behind would only be seen to differ.
	if err := v.settle(ctx); err != nil {
		return nil, err
	}
	found := &Verified{}
	var seen []sight
	confirm := func() error {
		list := seen
		seen = nil
		return v.confirm(ctx, list, found)
	}
	at := v.Now
	if v.Strict {
		at = time.Time{}
	}
	err := v.Ours.Compare(ctx, v.Theirs, at, func(d readmodel.Difference) error {
		if seen = append(seen, sight{row: d}); len(seen) < seenAtOnce {
			return nil
		}
		return confirm()
	}, v.Progress)
	if err == nil {
		err = confirm()
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	found.Whole = err == nil
	return found, nil
}

// mostRounds is how often is looked again at a row that goes on being written. By then
// it differs, and not because one generation has an event and the other one not yet.
const mostRounds = 10

// seenAtOnce is how many rows are seen to differ before they are looked at again.
// Most of them are only being written, while much happens.
const seenAtOnce = 10_000

// confirm looks again at rows that were seen to differ, and adds those that do.
func (v *Verify) confirm(ctx context.Context, seen []sight, to *Verified) error {
	j := judge{ours: v.Ours, theirs: v.Theirs, now: events.MicrosOf(v.Now)}
	for round := 1; len(seen) > 0; round++ {
		if err := v.settle(ctx); err != nil {
			return err
		}
		rows := make([]readmodel.Difference, len(seen))
		before := map[string]sight{}
		for i, s := range seen {
			rows[i] = s.row
			before[s.row.Table+s.row.Key] = s
		}
		rows, err := v.Ours.Again(ctx, v.Theirs, rows)
		if err != nil {
			return err
		}
		now := make([]sight, len(rows))
		for i, row := range rows {
			now[i] = sight{row, before[row.Table+row.Key].shown}
		}
		if !v.Strict {
			if err := j.look(ctx, now); err != nil {
				return err
			}
		}
		seen = seen[:0]
		for _, s := range now {
			switch was := before[s.row.Table+s.row.Key]; {
			case !v.Strict && s.shown == nil:
				to.Unshown++
			case round < mostRounds && !s.same(was):
				seen = append(seen, s)
			case len(to.Differences) == v.MaxDifferences:
				return errEnough
			default:
				d := Difference{s.row, s.shown}
				if s.shown != nil && s.shown.ConversationID == "" {
					d.Shown = nil
				}
				to.Differences = append(to.Differences, d)
			}
		}
	}
	return nil
}

// same reports whether a row differs as it did before, and replies with it.
func (s sight) same(before sight) bool {
	if s.row.Ours != before.row.Ours || s.row.Theirs != before.row.Theirs || (s.shown == nil) != (before.shown == nil) {
		return false
	}
	return s.shown == nil || s.shown.place() == before.shown.place() && slices.Equal(s.shown.Fields, before.shown.Fields)
}

// settle waits until projectors have written what is in the topics when it begins.
func (v *Verify) settle(ctx context.Context) error {
	ends, err := v.Offsets.Ends(ctx)
	if err != nil {
		return err
	}
	return settled(ctx, v.Offsets, ends, v.Interval, v.Log)
}

// settled waits until projectors have written everything before the given offsets.
func settled(ctx context.Context, offsets *ingest.Offsets, before map[events.Partition]int64, interval time.Duration, log *slog.Logger) error {
	told := time.Now()
	for {
		behind, err := offsets.Behind(ctx, before)
		if err != nil {
			return err
		}
		if len(behind) == 0 {
			return nil
		}
		if time.Since(told) > settleTold {
			told = time.Now()
			log.Warn("waiting until projectors have written what is in the topics", "partitions", len(behind), "first", behind[0].String())
		}
		if err := pause.For(ctx, interval); err != nil {
			return fmt.Errorf("until projectors are level: %w", err)
		}
	}
}

// settleTold is how often is said that projectors are waited for.
const settleTold = 5 * time.Second
