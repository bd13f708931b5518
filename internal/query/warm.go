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
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/projection"
)

// How a warm-up tells of itself and waits.
const (
	warmUpTold   = 5 * time.Second
	warmUpPeriod = 100 * time.Millisecond // of looking whether the feed is whole
)

// warmFull is the part of the bound past which nothing more is loaded ahead of
// time: what came first would have to go for it.
const warmFull = 0.9

// warmUp has the lists of the most recent users in memory before they are asked for.
func (w *Worker) warmUp(ctx context.Context) {
	begin := time.Now()
	for w.cache().generation == 0 || w.cache().fault() != "" { // what is in memory cannot be relied on
		if pause.For(ctx, warmUpPeriod) != nil {
			return
		}
	}
	users, err := w.cache().loads.recent(ctx, w.cfg.WarmUpUsers)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.log.Warn("nothing is warmed up", "error", err)
		return
	}
	warm, err := w.warm(ctx, w.cache, users)
	switch log := w.log.With(slog.Int("of", len(users)), slog.Int("users", warm), slog.Duration("took", time.Since(begin))); {
	case ctx.Err() != nil:
	case err != nil:
		log.Warn("warm-up ended early", "error", err)
	case warm < len(users):
		log.Info("warmed up until memory was full")
	default:
		log.Info("warmed up")
	}
}

// warm has the lists of users in memory, those of one cohort at a time, as far as there is
// room: in that of the cache that into gives by then. It gives of how many, and up when
// the store fails.
func (w *Worker) warm(ctx context.Context, into func() *cache, users []projection.UserKey) (warm int, err error) {
	w.metrics.warmUpLeft.Add(float64(len(users))) // a start and a switch may each have some
	defer func() { w.metrics.warmUpLeft.Sub(float64(len(users) - warm)) }()
	told := time.Now()
	for cohort := range slices.Chunk(users, w.cfg.BatchInboxes) {
		c := into()
		c.table.CleanUp() // else what it weighs lags behind
		if float64(c.bytes()) > warmFull*float64(c.maxBytes.Load()) {
			break
		}
		if err := w.warmCohort(ctx, c, cohort); err != nil {
			return warm, err
		}
		warm += len(cohort)
		w.metrics.warmUpLeft.Sub(float64(len(cohort)))
		if time.Since(told) > warmUpTold {
			told = time.Now()
			w.log.Info("warming up", "generation", c.generation, "users", warm, "of", len(users))
		}
	}
	return warm, nil
}

// warmCohort answers the requests that users may make, for nobody. It gives an error of
// the store's; a list that has another cannot be warmed up.
func (w *Worker) warmCohort(ctx context.Context, c *cache, users []projection.UserKey) error {
	var all sync.WaitGroup
	errs := make([]error, len(users))
	for i, user := range users {
		all.Go(func() {
			q := &query{app: user.App, userID: user.UserID, now: events.MicrosOf(w.clock()), begin: time.Now()}
			q.cache = c
			defer c.done(q)
			_, errs[i] = c.join(ctx, &attempt{
				answer: w.list, query: q, maxBytes: int(w.nc.MaxPayload()), buffer: new(bytes.Buffer), done: make(chan struct{}),
			})
		})
	}
	all.Wait()
	for _, err := range errs {
		if failed := (*loadError)(nil); errors.As(err, &failed) || ctx.Err() != nil {
			return err
		}
	}
	return nil
}
