package readmodel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Live writes to every generation that is kept. One goroutine uses it, but for Begun.
type Live struct {
	server  *Server
	kept    map[int]*live
	leftOut map[string]struct{}               // by any of them
	covers  map[int]map[events.Partition]bool // what was said of generations that are being filled
	begun   map[events.Partition]bool         // what was said of any; nil: nobody has looked

	mu    sync.Mutex
	first *Registry // that was looked at
}

// AnewError says that the read model was made anew under whoever writes it: what was
// written before is not in it.
type AnewError struct {
	Was, Is time.Time // when it was made
}

// Error implements error.
func (e *AnewError) Error() string {
	return fmt.Sprintf("the read model of %s is gone, another one was made at %s: what was written before has to be written again",
		e.Was.Format(time.RFC3339), e.Is.Format(time.RFC3339))
}

// Permanent says that trying again is of no use.
func (e *AnewError) Permanent() bool { return true }

// live is a generation that is kept.
type live struct {
	*Store
	leftOut map[string]struct{}
}

// models are those of a batch, and one of the events that came apart and are not left out.
func (g *live) models(models []*projection.Model, apart []events.Event) []*projection.Model {
	if len(apart) == 0 {
		return models
	}
	others := projection.NewModel()
	for _, e := range apart {
		if _, is := g.leftOut[e.ID]; !is {
			others.Fold(e)
		}
	}
	return append(slices.Clip(models), others)
}

// NewLive makes a writer that knows of no generation before Keep.
func NewLive(server *Server) *Live {
	return &Live{server: server, kept: map[int]*live{}, covers: map[int]map[events.Partition]bool{}}
}

// Keep looks which generations are kept: from now on Insert writes to all of them.
// From is the offset of each partition from which on that is so, which whoever fills
// a generation has to know. It is true only if whoever owns a partition later looks
// later, so owned has to be nil first.
func (l *Live) Keep(ctx context.Context, from map[events.Partition]int64, owned func() error) error {
	r, err := l.look(ctx)
	if err != nil {
		return err
	}
	if l.begun == nil {
		if l.begun, err = l.server.Begun(ctx); err != nil {
			return err
		}
	}
	for _, g := range r.Generations {
		if g.State != Filling {
			delete(l.covers, g.Number)
			continue
		}
		if l.covers[g.Number] == nil {
			l.covers[g.Number] = map[events.Partition]bool{}
		}
		if err := l.cover(ctx, r, g.Number, from, l.covers[g.Number], owned); err != nil {
			return err
		}
	}
	return l.cover(ctx, r, r.Current, from, l.begun, owned)
}

// cover says from where on a generation is written, of those partitions of which it was
// not said.
func (l *Live) cover(ctx context.Context, r Registry, generation int, from map[events.Partition]int64, said map[events.Partition]bool, owned func() error) error {
	news := maps.Clone(from)
	maps.DeleteFunc(news, func(p events.Partition, _ int64) bool { return said[p] })
	if len(news) == 0 {
		return nil
	}
	if err := owned(); err != nil {
		return fmt.Errorf("say from where on generation %d is written: %w", generation, err)
	}
	if err := l.server.Cover(ctx, r, generation, news); err != nil {
		return err
	}
	for p := range news {
		said[p] = true
	}
	return nil
}

// Begun gives the partitions of which was said from where on they are written: in the read
// model that is written from now on, and no other. Any goroutine may ask.
func (l *Live) Begun(ctx context.Context) (map[events.Partition]bool, error) {
	if _, err := l.registry(ctx); err != nil {
		return nil, err
	}
	return l.server.Begun(ctx)
}

// LeftOut are the IDs of events that any of the generations leaves out; nil for none.
func (l *Live) LeftOut() map[string]struct{} { return l.leftOut }

// look finds out which generations are kept, and what they leave out: all of it, or
// nothing is as it was not.
func (l *Live) look(ctx context.Context) (Registry, error) {
	r, err := l.registry(ctx)
	if err != nil {
		return Registry{}, err
	}
	kept := map[int]*live{}
	for _, g := range r.Generations {
		if !g.Kept() {
			continue
		}
		if kept[g.Number] = l.kept[g.Number]; kept[g.Number] != nil {
			continue
		}
		// Not read again: what a generation leaves out is said before there is one.
		leftOut, err := l.server.LeftOut(ctx, g)
		if err != nil {
			return Registry{}, err
		}
		kept[g.Number] = &live{l.server.Generation(g.Number), leftOut}
	}
	l.keep(kept)
	return r, nil
}

// registry gives what the registry says. Its error is an *AnewError when it is not the one
// that was looked at before.
func (l *Live) registry(ctx context.Context) (Registry, error) {
	r, err := l.server.Registry(ctx)
	if err != nil {
		return Registry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = &r
	}
	if r.origin != l.first.origin {
		return Registry{}, &AnewError{l.first.Made, r.Made}
	}
	return r, nil
}

func (l *Live) keep(kept map[int]*live) {
	l.kept, l.leftOut = kept, nil
	for _, g := range kept {
		switch {
		case len(g.leftOut) == 0:
		case len(l.leftOut) == 0:
			l.leftOut = g.leftOut
		default:
			l.leftOut = maps.Clone(l.leftOut)
			maps.Copy(l.leftOut, g.leftOut)
		}
	}
}

// Insert writes batches to all generations that are kept, as Store.Insert does to one, and
// of the events that came apart to each those that it does not leave out.
func (l *Live) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	if len(l.kept) == 0 {
		return fmt.Errorf("%w: nobody has looked which generations there are", ErrNotMigrated)
	}
	err := insert(ctx, slices.Collect(maps.Values(l.kept)), batches)
	if err != nil && ctx.Err() == nil {
		if failed := l.forget(ctx); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

// forget has nothing more written to generations that were dropped. It takes in no
// others: what is being written may have in it what those leave out.
func (l *Live) forget(ctx context.Context) error {
	r, err := l.registry(ctx)
	if err != nil {
		return err
	}
	kept := maps.Clone(l.kept)
	maps.DeleteFunc(kept, func(number int, _ *live) bool {
		g, ok := r.Find(number)
		return !ok || !g.Kept()
	})
	l.keep(kept)
	return nil
}
