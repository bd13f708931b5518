package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Compacted are topics of messages of which compaction may have taken any.
	Compacted []string
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
	var list []string
	for _, l := range e.Lacking {
		list = append(list, fmt.Sprintf("%v begins at offset %d", l.Partition, l.First))
	}
	for _, topic := range e.Compacted {
		list = append(list, fmt.Sprintf("%s is compacted, and may have lost all messages of a conversation but the last", topic))
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

// topics are those that a rebuild is made from, and how they are looked at.
type topics struct {
	*ingest.Offsets
	messages  string                     // the topic that holds them
	from      map[events.Partition]int64 // where partitions are read from, if not from their beginning
	retention time.Duration              // how long messages are shown; 0: for ever
	// unknown says to go on although the topics' settings may not be read.
	unknown bool
	log     *slog.Logger
}

// keeping gives what topics keep, and says when that is too little in the long run.
func (t *topics) keeping(ctx context.Context) (map[string]ingest.Keeping, error) {
	all, err := t.Keeping(ctx)
	if errors.Is(err, ingest.ErrForbidden) && t.unknown {
		t.log.Warn("cannot see what topics keep", "error", err)
		return nil, nil // nothing is known of any
	}
	if err != nil {
		return nil, fmt.Errorf("look what topics keep: %w", err)
	}
	for topic, keeps := range all {
		need, needed := time.Duration(0), "for ever"
		if t.retention > 0 && topic == t.messages {
			need = t.retention + margin
			needed = need.String()
		}
		if keeps.Retention > 0 && (need == 0 || keeps.Retention < need) {
			t.log.Warn("topic does not keep records for as long as they matter: a later rebuild will not be whole",
				"topic", topic, "keeps", keeps.Retention.String(), "needed", needed)
		}
	}
	return all, nil
}

// complete holds that nothing is gone from the topics that may still matter. Of states,
// which do not expire, nothing may be gone but what compaction takes. Of messages old
// ones may be, when there are some left so old that nobody is shown what came before
// them. A partition that is read from a later offset on has nothing before it.
func (t *topics) complete(ctx context.Context, now time.Time) error {
	starts, err := t.Starts(ctx)
	if err != nil {
		return err
	}
	ends, err := t.Ends(ctx)
	if err != nil {
		return err
	}
	recent, err := t.Since(ctx, now.Add(-t.retention).Add(-margin))
	if err != nil {
		return err
	}
	keeping, err := t.keeping(ctx)
	if err != nil {
		return err
	}
	e := &IncompleteError{Retention: t.retention}
	if keeping[t.messages].Compacted {
		e.Compacted = append(e.Compacted, t.messages)
	}
	for p, kept := range starts {
		first := max(kept, t.from[p])
		since := recent[p]
		if since < 0 { // all are older
			since = ends[p]
		}
		if first > 0 && (since <= kept || since < first || t.retention == 0 || p.Topic != t.messages) {
			e.Lacking = append(e.Lacking, Lacking{p, first})
		}
	}
	if len(e.Lacking)+len(e.Compacted) == 0 {
		return nil
	}
	slices.SortFunc(e.Lacking, func(a, b Lacking) int { return a.Compare(b.Partition) })
	return e
}
