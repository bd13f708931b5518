package readmodel

import (
	"context"
	"maps"
	"math"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/projection"
)

// Inboxes gives all conversations under each user, by conversation ID, without large payloads.
// Several users that have more than so many together are not read to the end: the error has a
// method TooMany.
func (s *Store) Inboxes(ctx context.Context, users []projection.UserKey, most int) (map[projection.UserKey]map[string]*projection.State, error) {
	if len(users) == 1 {
		most = anyNumber
	}
	m, err := states(ctx, s, &ownerKey, users, false, most)
	if err != nil {
		return nil, err
	}
	out := make(map[projection.UserKey]map[string]*projection.State, len(users))
	for k, state := range m.States {
		user := projection.UserKey{App: k.App, UserID: k.Owner}
		if out[user] == nil {
			out[user] = map[string]*projection.State{}
		}
		out[user][k.ConversationID] = state
	}
	return out, nil
}

// States gives exact conversations, without large payloads.
func (s *Store) States(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return s.exactStates(ctx, keys, false)
}

// FullStates gives exact conversations, with large payloads.
func (s *Store) FullStates(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return s.exactStates(ctx, keys, true)
}

func (s *Store) exactStates(ctx context.Context, keys []projection.Key, full bool) (map[projection.Key]*projection.State, error) {
	if s.form.cluster == "" {
		m, err := states(ctx, s, &conversationKey, keys, full, anyNumber)
		if err != nil {
			return nil, err
		}
		return m.States, nil
	}
	var owned, others []projection.Key
	for _, k := range keys {
		if k.Owner != "" {
			owned = append(owned, k)
		} else {
			others = append(others, k)
		}
	}
	m, err := states(ctx, s, &ownedKey, owned, full, anyNumber)
	if err != nil {
		return nil, err
	}
	rest, err := states(ctx, s, &sharedKey, others, full, anyNumber)
	if err != nil {
		return nil, err
	}
	maps.Copy(m.States, rest.States)
	return m.States, nil
}

// anyNumber of states is read.
const anyNumber = math.MaxInt

// states folds the rows of the two tables that states are made of, which are to be of so many at most.
func states[K any](ctx context.Context, s *Store, by *key[K], keys []K, full bool, most int) (*projection.Model, error) {
	m := projection.NewModel()
	var mu sync.Mutex // guards m
	fold := func(k projection.Key, state *projection.State) error {
		mu.Lock()
		defer mu.Unlock()
		if m.State(k).Merge(state); len(m.States) > most {
			return &tooManyError{len(keys), most}
		}
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var state projection.State // of one row after the other
		return load(gctx, s, &registersTable, by, keys, full, func(r *registerRow) error {
			state = projection.State{}
			if err := r.readInto(&state); err != nil {
				return err
			}
			return fold(r.Key, &state)
		})
	})
	g.Go(func() error {
		var state projection.State
		return load(gctx, s, &sequencesTable, by, keys, full, func(r *sequencesRow) error {
			state = projection.State{Days: state.Days[:0]}
			if err := r.readInto(&state); err != nil {
				return err
			}
			return fold(r.Key, &state)
		})
	})
	if err := g.Wait(); err != nil {
		return nil, classify(ctx, err)
	}
	return m, nil
}

// Groups gives name, avatar, type and dismissal of groups.
func (s *Store) Groups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return s.groups(ctx, keys, false)
}

// FullGroups gives whole profiles of groups.
func (s *Store) FullGroups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return s.groups(ctx, keys, true)
}

func (s *Store) groups(ctx context.Context, keys []projection.GroupKey, full bool) (map[projection.GroupKey]*projection.GroupProfile, error) {
	m := projection.NewModel()
	err := load(ctx, s, &groupsTable, &groupKey, keys, full, func(r *groupRow) error {
		p, err := r.profile()
		if err == nil {
			m.Merge(&projection.Model{Groups: map[projection.GroupKey]*projection.GroupProfile{r.GroupKey: p}})
		}
		return err
	})
	return m.Groups, classify(ctx, err)
}

// Users gives nick and avatar of users.
func (s *Store) Users(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return s.users(ctx, keys, false)
}

// FullUsers gives whole profiles of users.
func (s *Store) FullUsers(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return s.users(ctx, keys, true)
}

func (s *Store) users(ctx context.Context, keys []projection.UserKey, full bool) (map[projection.UserKey]*projection.UserProfile, error) {
	m := projection.NewModel()
	err := load(ctx, s, &usersTable, &userKey, keys, full, func(r *userRow) error {
		p, err := r.profile()
		if err == nil {
			m.Merge(&projection.Model{Users: map[projection.UserKey]*projection.UserProfile{r.UserKey: p}})
		}
		return err
	})
	return m.Users, classify(ctx, err)
}

// Edits gives what happened to messages after they were sent.
func (s *Store) Edits(ctx context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error) {
	m := projection.NewModel()
	err := load(ctx, s, &editsTable, &editKey, keys, true, func(r *editRow) error {
		e, err := r.edit()
		if err == nil {
			m.Merge(&projection.Model{Edits: map[projection.EditKey]*projection.Edit{r.key(): e}})
		}
		return err
	})
	return m.Edits, classify(ctx, err)
}

// Senders gives the sender of the latest message at each mention's place.
func (s *Store) Senders(ctx context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error) {
	latest := map[projection.MentionKey]projection.Register[string]{}
	err := load(ctx, s, &messagesTable, &mentionKey, keys, false, func(r *messageRow) error {
		k := projection.MentionKey{
			App: r.App, GroupID: r.A,
			Mention: projection.Mention{Day: r.Day, Sequence: r.Sequence},
		}
		sender := latest[k]
		projection.MergeText(&sender, projection.Register[string]{
			Version: projection.Version{Time: r.Time, ID: r.ID},
			Value:   r.From,
		})
		latest[k] = sender
		return nil
	})
	return latest, classify(ctx, err)
}

// Apps gives the plans and the erased users of apps.
func (s *Store) Apps(ctx context.Context, apps []string) (map[string]*projection.App, error) {
	m := projection.NewModel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return load(gctx, s, &plansTable, &appKey, apps, true, func(r *planRow) error {
			plan := r.Plan
			m.Merge(&projection.Model{Plans: map[string]*projection.Plan{r.App: &plan}})
			return nil
		})
	})
	erased := map[projection.UserKey]struct{}{}
	g.Go(func() error {
		return load(gctx, s, &erasedTable, &appKey, apps, false, func(r *projection.Erasure) error {
			erased[r.UserKey] = struct{}{}
			return nil
		})
	})
	if err := g.Wait(); err != nil {
		return nil, classify(ctx, err)
	}
	out := make(map[string]*projection.App, len(apps))
	for _, app := range apps {
		out[app] = &projection.App{Erased: map[string]struct{}{}}
		if plan := m.Plans[app]; plan != nil {
			out[app].Plan = *plan
		}
	}
	for k := range erased {
		out[k.App].Erased[k.UserID] = struct{}{}
	}
	return out, nil
}

// manyKeys are worth a second thread.
const manyKeys = 16

// load reads the rows of a table whose key is one of keys.
func load[R, K any](ctx context.Context, s *Store, t *table[R], by *key[K], keys []K, full bool, visit func(*R) error) error {
	if len(keys) == 0 {
		return nil
	}
	condition, parameters := by.where(keys, s.form.cluster != "")
	threads := 1 // for a few granules more only cost their start
	if len(keys) >= manyKeys {
		threads = 2
	}
	ctx = clickhouse.Context(ctx,
		clickhouse.WithSpan(trace.SpanContextFromContext(ctx)),
		clickhouse.WithParameters(parameters),
		clickhouse.WithSettings(clickhouse.Settings{"max_threads": threads}),
	)
	are := by.known(keys)
	return t.load(ctx, s, t.selectQuery(s.db, full, s.form.face(by.face), are)+" WHERE "+condition, full, are, visit)
}
