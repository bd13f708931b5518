package readmodel

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Live writes to every generation that is kept. One goroutine uses it.
type Live struct {
	server *Server
	kept   map[int]*Store
	covers map[int]map[events.Partition]bool // what was said of generations that are being filled
}

// NewLive makes a writer that knows of no generation before Keep.
func NewLive(server *Server) *Live {
	return &Live{server: server, kept: map[int]*Store{}, covers: map[int]map[events.Partition]bool{}}
}

// Keep looks which generations are kept: from now on Write writes to all of them.
// From is the offset of each partition from which on that is so, which whoever fills
// a generation has to know. It is true only if whoever owns a partition later looks
// later, so owned has to be nil first.
func (l *Live) Keep(ctx context.Context, from map[events.Partition]int64, owned func() error) error {
	r, err := l.look(ctx)
	if err != nil {
		return err
	}
	for _, g := range r.Generations {
		if g.State != Filling {
			delete(l.covers, g.Number)
			continue
		}
		said, news := l.covers[g.Number], map[events.Partition]int64{}
		for p, offset := range from {
			if !said[p] {
				news[p] = offset
			}
		}
		if len(news) == 0 {
			continue
		}
		if err := owned(); err != nil {
			return fmt.Errorf("say from where on generation %d is written: %w", g.Number, err)
		}
		if err := l.server.Cover(ctx, g.Number, news); err != nil {
			return err
		}
		if said == nil {
			said = map[events.Partition]bool{}
			l.covers[g.Number] = said
		}
		for p := range news {
			said[p] = true
		}
	}
	return nil
}

// look finds out which generations are kept.
func (l *Live) look(ctx context.Context) (Registry, error) {
	r, err := l.server.Registry(ctx)
	if err != nil {
		return Registry{}, err
	}
	kept := map[int]*Store{}
	for _, g := range r.Generations {
		if !g.Kept() {
			continue
		}
		if kept[g.Number] = l.kept[g.Number]; kept[g.Number] == nil {
			kept[g.Number] = l.server.Generation(g.Number)
		}
	}
	l.kept = kept
	return r, nil
}

// Write writes m to all generations that are kept. It returns nil when all have it.
func (l *Live) Write(ctx context.Context, m *projection.Model) error {
	if len(l.kept) == 0 {
		return fmt.Errorf("%w: nobody has looked which generations there are", ErrNotMigrated)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, store := range l.kept {
		g.Go(func() error {
			if err := store.Write(gctx, m); err != nil {
				return fmt.Errorf("generation %d: %w", store.number, err)
			}
			return nil
		})
	}
	err := g.Wait()
	if err != nil && ctx.Err() == nil {
		// It may have been dropped since.
		if _, failed := l.look(ctx); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}
