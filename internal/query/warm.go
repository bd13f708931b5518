package query

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// How the warm-up tells of itself and waits.
const (
	warmUpTold   = 5 * time.Second
	warmUpPeriod = 100 * time.Millisecond // of looking whether the feed is whole
)

// warmFull is the part of the bound past which nothing more is loaded ahead of
// time: what came first would have to go for it.
const warmFull = 0.9

// warmUp has the lists of the most recent users in memory before they are asked
// for, those of one cohort at a time. It gives up when the store fails: lists are
// loaded when they are asked for, too.
func (w *Worker) warmUp(ctx context.Context) {
	begin := time.Now()
	if err := w.whole(ctx); err != nil {
		return
	}
	users, err := w.loads.recent(ctx, w.cfg.WarmUpUsers)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.log.Warn("nothing is warmed up", "error", err)
		return
	}
	w.metrics.warmUpLeft.Set(float64(len(users)))
	defer w.metrics.warmUpLeft.Set(0)
	log := w.log.With(slog.Int("of", len(users)))
	warm, told := 0, begin
	for cohort := range slices.Chunk(users, w.cfg.BatchInboxes) {
		w.cache.table.CleanUp() // else what it weighs lags behind
		if float64(w.cache.bytes()) > warmFull*float64(w.cache.maxBytes) {
			log.Info("warmed up until memory was full", "users", warm, "took", time.Since(begin))
			return
		}
		if err := w.warm(ctx, cohort); ctx.Err() != nil {
			return
		} else if err != nil {
			log.Warn("warm-up ended early", "users", warm, "error", err)
			return
		}
		warm += len(cohort)
		w.metrics.warmUpLeft.Sub(float64(len(cohort)))
		if time.Since(told) > warmUpTold {
			told = time.Now()
			log.Info("warming up", "users", warm)
		}
	}
	log.Info("warmed up", "users", warm, "took", time.Since(begin))
}

// whole waits until what is in memory can be relied on. Its error is the context's.
func (w *Worker) whole(ctx context.Context) error {
	for w.cache.fault() != "" {
		select {
		case <-time.After(warmUpPeriod):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// warm answers the requests that users may make, for nobody. It gives an error of
// the store's; a list that has another cannot be warmed up.
func (w *Worker) warm(ctx context.Context, users []projection.UserKey) error {
	var all sync.WaitGroup
	errs := make([]error, len(users))
	for i, user := range users {
		all.Go(func() {
			q := &query{app: user.App, userID: user.UserID, now: events.MicrosOf(w.clock()), begin: time.Now()}
			defer w.cache.done(q)
			_, errs[i] = w.join(ctx, &attempt{
				answer: w.list, query: q, maxBytes: int(w.nc.MaxPayload()), buffer: new(bytes.Buffer), done: make(chan struct{}),
			})
		})
	}
	all.Wait()
	for _, err := range errs {
		if failed := (*loadError)(nil); errors.As(err, &failed) {
			return err
		}
	}
	return nil
}
