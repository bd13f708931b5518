package rebuild

import (
	"context"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
)

// folded is a source of what was folded.
type folded struct {
	model   *projection.Model
	erased  map[string]map[string]struct{} // by app
	senders map[projection.MentionKey]projection.Register[string]
}

func newFolded(m *projection.Model) *folded {
	f := &folded{m, map[string]map[string]struct{}{}, map[projection.MentionKey]projection.Register[string]{}}
	for k := range m.Erased {
		if f.erased[k.App] == nil {
			f.erased[k.App] = map[string]struct{}{}
		}
		f.erased[k.App][k.UserID] = struct{}{}
	}
	for k, v := range m.Messages {
		key := k.Mention()
		sender := f.senders[key]
		projection.MergeText(&sender, projection.Register[string]{Version: projection.Version{Time: k.Time, ID: k.ID}, Value: v.From})
		f.senders[key] = sender
	}
	return f
}

// those are what is at keys.
func those[K comparable, V any](keys []K, of map[K]V) map[K]V {
	found := map[K]V{}
	for _, k := range keys {
		if v, ok := of[k]; ok {
			found[k] = v
		}
	}
	return found
}

func (f *folded) FullStates(_ context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	return those(keys, f.model.States), nil
}

func (f *folded) FullGroups(_ context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	return those(keys, f.model.Groups), nil
}

func (f *folded) FullUsers(_ context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	return those(keys, f.model.Users), nil
}

func (f *folded) Edits(_ context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error) {
	return those(keys, f.model.Edits), nil
}

func (f *folded) Senders(_ context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error) {
	return those(keys, f.senders), nil
}

func (f *folded) Apps(_ context.Context, apps []string) (map[string]*projection.App, error) {
	found := map[string]*projection.App{}
	for _, app := range apps {
		found[app] = &projection.App{Erased: f.erased[app]}
		if plan := f.model.Plans[app]; plan != nil {
			found[app].Plan = *plan
		}
	}
	return found, nil
}

// recorder is a generation as a source, and keeps all that is read of it.
type recorder struct {
	*readmodel.Store
	mu sync.Mutex
	to *projection.Model
}

// record keeps what was read.
func record[T any](r *recorder, read T, err error, part func(T) *projection.Model) (T, error) {
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.to.Merge(part(read))
	}
	return read, err
}

func (r *recorder) FullStates(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error) {
	read, err := r.Store.FullStates(ctx, keys)
	return record(r, read, err, func(read map[projection.Key]*projection.State) *projection.Model {
		return &projection.Model{States: read}
	})
}

func (r *recorder) FullGroups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error) {
	read, err := r.Store.FullGroups(ctx, keys)
	return record(r, read, err, func(read map[projection.GroupKey]*projection.GroupProfile) *projection.Model {
		return &projection.Model{Groups: read}
	})
}

func (r *recorder) FullUsers(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error) {
	read, err := r.Store.FullUsers(ctx, keys)
	return record(r, read, err, func(read map[projection.UserKey]*projection.UserProfile) *projection.Model {
		return &projection.Model{Users: read}
	})
}

func (r *recorder) Edits(ctx context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error) {
	read, err := r.Store.Edits(ctx, keys)
	return record(r, read, err, func(read map[projection.EditKey]*projection.Edit) *projection.Model {
		return &projection.Model{Edits: read}
	})
}

func (r *recorder) Senders(ctx context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error) {
	read, err := r.Store.Senders(ctx, keys)
	return record(r, read, err, func(read map[projection.MentionKey]projection.Register[string]) *projection.Model {
		m := projection.NewModel()
		for k, sender := range read {
			m.Messages[projection.MessageKey{
				App: k.App, Conversation: events.Group(k.GroupID), Day: k.Day, Sequence: k.Sequence, Time: sender.Time, ID: sender.ID,
			}] = &projection.Message{From: sender.Value}
		}
		return m
	})
}

func (r *recorder) Apps(ctx context.Context, apps []string) (map[string]*projection.App, error) {
	read, err := r.Store.Apps(ctx, apps)
	return record(r, read, err, func(read map[string]*projection.App) *projection.Model {
		m := projection.NewModel()
		for app, of := range read {
			plan := of.Plan
			m.Plans[app] = &plan
			for user := range of.Erased {
				m.Erased[projection.Erasure{UserKey: projection.UserKey{App: app, UserID: user}}] = struct{}{}
			}
		}
		return m
	})
}
