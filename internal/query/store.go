package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/convoview/convoview/internal/projection"
)

// Store is the read model. Every method takes the keys of many requests at
// once and returns what exists of them as it is when the call starts or later;
// a missing key is absent from the map. What it returns is read only from then
// on. It returns soon after its context is done. An error that has a method
// Unavailable() bool saying true means that asking again later may help.
type Store interface {
	// Inboxes gives all registers of users, by conversation ID. Of several users that have more
	// than so many conversations together it gives none, but an error that has a method
	// TooMany() bool saying true: fewer are to be asked for at once.
	Inboxes(ctx context.Context, users []projection.UserKey, most int) (map[projection.UserKey]map[string]*projection.State, error)
	// States gives registers without large payloads, FullStates with them.
	States(context.Context, []projection.Key) (map[projection.Key]*projection.State, error)
	FullStates(context.Context, []projection.Key) (map[projection.Key]*projection.State, error)
	// Groups gives name, avatar, type and dismissed, FullGroups everything.
	Groups(context.Context, []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error)
	FullGroups(context.Context, []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error)
	// Users gives nick and avatar, FullUsers everything.
	Users(context.Context, []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error)
	FullUsers(context.Context, []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error)
	// Edits gives what happened to messages after they were sent.
	Edits(context.Context, []projection.EditKey) (map[projection.EditKey]*projection.Edit, error)
	// Senders gives the latest sender of messages that mention somebody.
	Senders(context.Context, []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error)
	// Recent gives so many users who have sent a message within the last days, the
	// latest first.
	Recent(ctx context.Context, most int) ([]projection.UserKey, error)
	// Apps gives plans and erased users.
	Apps(context.Context, []string) (map[string]*projection.App, error)
}

// loader is the store behind one batcher per kind of call.
type loader struct {
	inboxes    *batcher[projection.UserKey, map[string]*projection.State]
	states     *batcher[projection.Key, *projection.State]
	fullStates *batcher[projection.Key, *projection.State]
	groups     *batcher[projection.GroupKey, *projection.GroupProfile]
	fullGroups *batcher[projection.GroupKey, *projection.GroupProfile]
	users      *batcher[projection.UserKey, *projection.UserProfile]
	fullUsers  *batcher[projection.UserKey, *projection.UserProfile]
	edits      *batcher[projection.EditKey, *projection.Edit]
	senders    *batcher[projection.MentionKey, projection.Register[string]]
	apps       *batcher[string, *projection.App]
	recent     func(ctx context.Context, most int) ([]projection.UserKey, error)
}

func newLoader(cfg Config, s Store, m *metrics, log *slog.Logger) *loader {
	o := observer{m, log}
	most := maxLoaded(cfg.CacheBytes)
	inboxes, keys, slots := cfg.BatchInboxes, cfg.BatchKeys, cfg.LoadConcurrency
	return &loader{
		inboxes: newBatcher(observed(o, "inboxes", func(ctx context.Context, users []projection.UserKey) (map[projection.UserKey]map[string]*projection.State, error) {
			return s.Inboxes(ctx, users, most)
		}), inboxes, slots),
		states:     newBatcher(observed(o, "states", s.States), keys, slots),
		fullStates: newBatcher(observed(o, "full_states", s.FullStates), keys, slots),
		groups:     newBatcher(observed(o, "groups", s.Groups), keys, slots),
		fullGroups: newBatcher(observed(o, "full_groups", s.FullGroups), keys, slots),
		users:      newBatcher(observed(o, "users", s.Users), keys, slots),
		fullUsers:  newBatcher(observed(o, "full_users", s.FullUsers), keys, slots),
		edits:      newBatcher(observed(o, "edits", s.Edits), keys, slots),
		senders:    newBatcher(observed(o, "senders", s.Senders), keys, slots),
		apps:       newBatcher(observed(o, "apps", s.Apps), keys, slots),
		recent:     s.Recent,
	}
}

// maxLoaded is how many conversations the inboxes of several users may have that are loaded at
// once: what is loaded takes some times what is kept of it, beside what is in memory.
func maxLoaded(cacheBytes int) int {
	const share, least, loaded = 16, 16 << 20, 1536 // about what a conversation takes while it is
	return (cacheBytes/share + least) / loaded
}

// tooMany reports whether a load was broken off because fewer keys are to be asked for at once.
func tooMany(err error) bool {
	var store interface{ TooMany() bool }
	return errors.As(err, &store) && store.TooMany()
}

type observer struct {
	metrics *metrics
	log     *slog.Logger
}

// observed counts and times the calls of load. Its errors are logged here, once
// per call and not once per request that waited for it, and named.
func observed[K comparable, V any](o observer, name string, load loadFunc[K, V]) loadFunc[K, V] {
	keysPerLoad := o.metrics.loadKeys.WithLabelValues(name)
	seconds := o.metrics.loadSeconds.WithLabelValues(name)
	failures := o.metrics.loadFailures.WithLabelValues(name)
	return func(ctx context.Context, keys []K) (values map[K]V, err error) {
		ctx, span := beginLoad(ctx, name, len(keys))
		defer span.End()
		keysPerLoad.Observe(float64(len(keys)))
		start := time.Now()
		defer func() {
			if p := recover(); p != nil {
				err = panicked(p)
			}
			seconds.Observe(time.Since(start).Seconds())
			if err == nil {
				return
			}
			err = &loadError{fmt.Errorf("load %d %s: %w", len(keys), name, err)}
			span.SetStatus(codes.Error, err.Error())
			if ctx.Err() == nil && !tooMany(err) { // else nobody waits for it, or it is made in parts
				failures.Inc()
				o.log.Error("the store failed", "error", err)
			}
		}()
		return load(ctx, keys)
	}
}
