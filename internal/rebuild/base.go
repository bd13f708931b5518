package rebuild

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/readmodel"
)

// copy has the generation begin with the rows of its base. What was killed in the middle
// is done again from the table on in which it was: rows merge.
func (r *Rebuild) copy(ctx context.Context, tell func(Progress)) error {
	done, err := r.server.Copied(ctx, r.Generation())
	if err != nil {
		return err
	}
	if done[""] {
		return nil
	}
	// In this order: what is before the offsets from which on projectors write the
	// generation is in the base then, and is copied.
	if err := r.awaitCoverage(ctx, tell); err != nil {
		return err
	}
	r.log.Warn("beginning with the rows of the generation that was read: where a sequence of it is too great, or a last change too late, it stays so",
		"generation", r.Generation(), "base", r.options.Base)
	copying := r.store.CopyOf(r.server.Generation(r.options.Base))
	var told time.Time
	for more := true; more; {
		var at readmodel.Copied
		at, more, err = copying.Step(ctx)
		failed := (*readmodel.Error)(nil)
		switch {
		case err == nil && more && (at.Ranges == at.Of || time.Since(told) > r.config.ProgressInterval):
			told = time.Now()
			r.log.Info("copying", "generation", r.Generation(), "base", r.options.Base, "table", at.Table, "range", at.Ranges, "of", at.Of, "tables_left", at.TablesLeft)
		case err == nil:
		case errors.As(err, &failed) && failed.Away && ctx.Err() == nil:
			r.log.Warn("cannot copy; trying again", "table", at.Table, "error", err)
			if err := pause.For(ctx, r.config.ProgressInterval); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// awaitCoverage waits until projectors have said of every partition from where on they
// write the generation.
func (r *Rebuild) awaitCoverage(ctx context.Context, tell func(Progress)) error {
	offsets, err := ingest.NewOffsets(r.config.Ingest)
	if err != nil {
		return err
	}
	defer offsets.Close()
	for {
		ends, err := offsets.Ends(ctx)
		var covered map[events.Partition]int64
		if err == nil {
			covered, err = r.covered(ctx)
		}
		gone := (*readmodel.GoneError)(nil)
		switch {
		case errors.As(err, &gone):
			return err
		case err != nil:
			r.log.Warn("cannot see from where on projectors write the generation; trying again", "error", err)
		default:
			p := Progress{Generation: r.Generation()}
			for partition := range ends {
				if _, known := covered[partition]; !known {
					p.Waiting = append(p.Waiting, partition)
				}
			}
			if len(p.Waiting) == 0 {
				return nil
			}
			slices.SortFunc(p.Waiting, events.Partition.Compare)
			tell(p)
		}
		if err := pause.For(ctx, r.config.ProgressInterval); err != nil {
			return err
		}
	}
}
