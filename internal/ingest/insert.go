package ingest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// insert is what the sink takes in one go, and what is announced and committed together.
type insert struct {
	session *session // the one that is current when it begins
	batches []batch
	amount
	conflicts []projection.EditKey
	changes   projection.Changes // nil: nobody wants to know
	span      trace.Span
	links     int           // of the span
	waited    time.Duration // for batches
	err       error         // what kept it from giving the sink a batch
}

// add adds a batch, but for pieces of generations that have ended: they could not be
// committed, and their partitions' owners read them again.
func (i *insert) add(b batch) {
	b.pieces = slices.DeleteFunc(b.pieces, func(p *piece) bool { return p.partition.session.ended() })
	for _, p := range b.pieces {
		b.events += p.events
		i.amount = i.plus(p.amount)
		i.conflicts = append(i.conflicts, p.model.Conflicts...)
		if i.changes != nil {
			i.changes.Add(p.model)
		}
	}
	i.batches = append(i.batches, b)
}

// pieces are those of all batches.
func (i *insert) pieces() iter.Seq[*piece] {
	return func(yield func(*piece) bool) {
		for _, b := range i.batches {
			for _, p := range b.pieces {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// partitions is how many the records are of.
func (i *insert) partitions() int {
	all := map[*partition]struct{}{}
	for p := range i.pieces() {
		all[p.partition] = struct{}{}
	}
	return len(all)
}

// observe tells how old the records are now.
func (i *insert) observe(ages prometheus.Observer) {
	now := time.Now()
	for p := range i.pieces() {
		if !p.oldest.IsZero() {
			ages.Observe(max(0, now.Sub(p.oldest)).Seconds())
		}
	}
}

// batch is what was taken from the accumulator at once. The models of its pieces are apart:
// those of different partitions have hardly a key in common.
type batch struct {
	pieces []*piece
	events int
	full   bool // it was taken since it had reached a bound
	// told says that somebody was told of the events that came apart.
	told bool
}

// fold gives what the batch comes to, and its events of some IDs apart. Which those are is
// looked at here and not when pieces are folded, so that it does not matter what was known
// then. They are few: hardly any piece is folded again for them, but for those that were
// begun before anybody knew of any. Others are when an insert has failed that had them already.
func (b batch) fold(apart map[string]struct{}, decoder Decoder) (models []*projection.Model, taken []events.Event, err error) {
	is := func(id string) bool { _, is := apart[id]; return is }
	for _, p := range b.pieces {
		if p.model != nil && (len(apart) == 0 || p.named && !slices.ContainsFunc(p.ids, is)) {
			models = append(models, p.model)
			continue
		}
		m := projection.NewModelFor(p.events)
		for _, record := range p.kept {
			e, err := decoder.Decode(record)
			if err != nil {
				return nil, nil, fmt.Errorf("read an event again: %w", err)
			}
			if is(e.ID) {
				taken = append(taken, e)
			} else {
				m.Fold(e)
			}
		}
		models = append(models, m)
	}
	return models, taken, nil
}

// drop drops what the batch comes to.
func (b batch) drop() {
	for _, p := range b.pieces {
		p.model = nil
	}
}

// inserting gives the sink an insert's batches from one on, as long as there are.
func (w *writer) inserting(i *insert, from int, is func(n int) bool) iter.Seq2[[]*projection.Model, []events.Event] {
	return func(yield func([]*projection.Model, []events.Event) bool) {
		var apart map[string]struct{}
		if w.keeper != nil {
			apart = w.keeper.LeftOut()
			w.names.Store(len(apart) > 0)
		}
		for n := from; is(n); n++ {
			w.beat.Mark()
			models, taken, err := i.batches[n].fold(apart, w.decoder)
			if err != nil {
				i.err = err
				return
			}
			if len(taken) > 0 && !i.batches[n].told {
				i.batches[n].told = true
				w.metrics.leftOut.Add(float64(len(taken)))
				w.logger.Info("events that a generation leaves out", "events", len(taken), "first", taken[0].ID)
			}
			taking := yield(models, taken)
			i.batches[n].drop()
			if !taking {
				return
			}
		}
	}
}

// changesPerRow is how many users and groups may have changes, for each row of a batch,
// before an insert takes no more: they are notified when all of it is visible.
const changesPerRow = 4

// more adds another batch to an insert when reading is so far behind that it is there, or
// will be at once.
func (w *writer) more(ctx context.Context, i *insert) bool {
	last := i.batches[len(i.batches)-1]
	waiting, _ := w.accumulator.counts()
	if !last.full || len(i.batches) >= w.config.MaxInsertBatches || len(i.changes) >= changesPerRow*w.config.MaxBatchRows ||
		w.config.MaxRate > 0 || i.session.ended() || int64(waiting)+i.session.unread() < int64(last.events) {
		return false
	}
	w.beat.Mark()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.config.FlushInterval)
	defer cancel()
	b, _ := w.accumulator.take(ctx, nil)
	i.waited += time.Since(begin)
	if w.session.Load() != i.session { // for which the keeper has not looked yet
		w.next = b
		return false
	}
	if len(b.pieces) == 0 {
		return false
	}
	i.add(b)
	i.link()
	return true
}
