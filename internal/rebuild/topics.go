package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
)

// IncompleteError says that a rebuild from the topics would lack something.
type IncompleteError struct {
	// Lacking are the partitions of which records are gone that may still matter.
	Lacking []Lacking
	// Retention is how long messages are shown at least in some app; 0: for ever.
	Retention time.Duration
}

// Lacking is a partition that begins too late.
type Lacking struct {
	events.Partition
	First int64 // the first offset that it still has, or is read from
}

// Error implements error.
func (e *IncompleteError) Error() string {
	list := make([]string, len(e.Lacking))
	for i, l := range e.Lacking {
		list[i] = fmt.Sprintf("%v begins at offset %d", l.Partition, l.First)
	}
	shown := "for ever"
	if e.Retention > 0 {
		shown = "for " + e.Retention.String()
	}
	return fmt.Sprintf("the topics do not have everything: %s; what was before would be missing, and some app shows messages %s", strings.Join(list, ", "), shown)
}

// margin is how much longer than shown records have to be there: an event may be
// ahead of the broker's clock, and messages are shown until their day is over.
const margin = 25 * time.Hour

// complete holds that nothing is gone from the topics that may still matter. Of a
// compacted topic, which holds what does not expire, nothing may be gone but what
// compaction takes. Of others old records may be, when there are some left so old that
// nobody is shown what came before them. A partition that is read from a later offset on
// has nothing before it.
func complete(ctx context.Context, offsets *ingest.Offsets, from map[events.Partition]int64, retention time.Duration, now time.Time) error {
	starts, err := offsets.Starts(ctx)
	if err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	recent, err := offsets.Since(ctx, now.Add(-retention).Add(-margin))
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	compacted, err := offsets.Compacted(ctx)
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	e := &IncompleteError{Retention: retention}
	for p, kept := range starts {
		first := max(kept, from[p])
		since := recent[p]
		if since < 0 { // all are older
			since = ends[p]
		}
		if first > 0 && (since <= kept || since < first || retention == 0 || compacted[p.Topic]) {
			e.Lacking = append(e.Lacking, Lacking{p, first})
		}
	}
	if len(e.Lacking) == 0 {
		return nil
	}
	slices.SortFunc(e.Lacking, func(a, b Lacking) int { return comparePartitions(a.Partition, b.Partition) })
	return e
}
