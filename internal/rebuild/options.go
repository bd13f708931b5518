package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/readmodel"
)

// From is where the topics are read from: from a time on, as brokers see it, or from
// offsets of some partitions. The zero From is their beginning.
type From struct {
	time    time.Time
	offsets map[events.Partition]int64
}

// String gives it as Set takes it, always in the same way; "" is the beginning.
func (f *From) String() string {
	if f.offsets == nil {
		if f.time.IsZero() {
			return ""
		}
		return f.time.Format(time.RFC3339Nano)
	}
	var parts []string
	for p, offset := range f.offsets {
		parts = append(parts, fmt.Sprintf("%v=%d", p, offset))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// Set reads a time (RFC 3339) or a list of offsets (topic/partition=offset,…).
func (f *From) Set(text string) error {
	*f = From{}
	if text == "" {
		return nil
	}
	if !strings.Contains(text, "=") {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.IsZero() {
			return errors.New("expected a time such as 2026-11-23T03:00:00Z, or offsets such as chat.state/0=1200,chat.state/1=900")
		}
		f.time = t.UTC()
		return nil
	}
	f.offsets = map[events.Partition]int64{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(part), "=")
		var p events.Partition
		if err := p.UnmarshalText([]byte(name)); err != nil {
			return err
		}
		offset, err := strconv.ParseInt(number, 10, 64)
		if err != nil || offset < 0 {
			return fmt.Errorf("offset %q of %v: expected a number, at least 0", number, p)
		}
		if _, twice := f.offsets[p]; twice {
			return fmt.Errorf("%v is named twice", p)
		}
		f.offsets[p] = offset
	}
	return nil
}

// starts gives the offsets at which partitions are begun; one that is not among them
// begins at its beginning.
func (f *From) starts(ctx context.Context, offsets *ingest.Offsets) (map[events.Partition]int64, error) {
	if f.String() == "" {
		return nil, nil
	}
	// In this order: what comes after the ends were asked for is not passed over
	// because all that was there is older.
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return nil, err
	}
	firsts, err := offsets.Starts(ctx)
	if err != nil {
		return nil, err
	}
	if f.offsets != nil {
		starts := map[events.Partition]int64{}
		for _, p := range slices.SortedFunc(maps.Keys(f.offsets), events.Partition.Compare) {
			at := f.offsets[p]
			end, there := ends[p]
			switch {
			case !there:
				return nil, fmt.Errorf("--from: %v: there is no such partition", p)
			case at > end:
				return nil, fmt.Errorf("--from: %v=%d: it ends at offset %d", p, at, end)
			}
			starts[p] = max(at, firsts[p])
		}
		return starts, nil
	}
	starts, err := offsets.Since(ctx, f.time)
	if err != nil {
		return nil, err
	}
	for p, at := range starts {
		if at < 0 { // all are older
			at = ends[p]
		}
		starts[p] = max(at, firsts[p])
	}
	return starts, nil
}

// agree holds that what was asked for is how the generation is being made that a rebuild
// goes on with. What was not asked for stays as it is.
func (c *Config) agree(generation int, with readmodel.Options) error {
	var errs []error
	if from := c.From.String(); from != "" && from != with.From {
		errs = append(errs, fmt.Errorf("--from %s: generation %d is being filled from %s", from, generation, cmp.Or(with.From, "the beginning")))
	}
	if c.Base && with.Base == 0 {
		errs = append(errs, fmt.Errorf("--base: generation %d is being filled without a base", generation))
	}
	if list := readmodel.ListOf(c.Without); len(c.Without) > 0 && list != with.Without {
		ours := readmodel.Options{Without: list, WithoutIDs: len(c.Without)}
		theirs := readmodel.Options{Without: with.Without, WithoutIDs: with.WithoutIDs}
		errs = append(errs, fmt.Errorf("--without: generation %d is being filled %s, not %s", generation, cmp.Or(theirs.String(), "with all events"), ours.String()))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w (without the option it goes on; projector generations drop %d gives it up)", errors.Join(errs...), generation)
	}
	return nil
}
