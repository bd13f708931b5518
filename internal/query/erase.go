package query

import (
	"slices"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// What erased users have in the read model, and what is heard of them, stays out of memory:
// it is left out of everything that is merged into a value, by what is known of the app
// then. When more becomes known, what was merged before is looked through.

// erased gives who of an app is known to be erased. The set never changes.
func (c *cache) erased(app string) map[string]struct{} {
	e, ok := c.apps.find(app)
	if !ok { // then nothing of it is in memory
		return nil
	}
	a, _ := e.read()
	return a.Erased
}

// among reports whether a user is in a set.
func among(erased map[string]struct{}) func(userID string) bool {
	return func(userID string) bool { _, is := erased[userID]; return is }
}

func (c *cache) mergeInbox(k projection.UserKey, in *inbox, states map[string]*projection.State) bool {
	if erased := c.erased(k.App); len(erased) > 0 {
		left := make(map[string]*projection.State, len(states))
		for id, s := range states {
			if s := s.Without(projection.Key{App: k.App, Owner: k.UserID, ConversationID: id}, among(erased)); s != nil {
				left[id] = s
			}
		}
		states = left
	}
	return in.merge(states)
}

func (c *cache) mergeGroup(k projection.GroupKey, g *groupValue, change groupChange) bool {
	if erased := c.erased(k.App); len(erased) > 0 && change.state != nil {
		change.state = change.state.Without(sharedKey(k), among(erased))
	}
	return g.merge(change)
}

func (c *cache) mergePerson(k projection.UserKey, p *person, change *projection.UserProfile) bool {
	return !among(c.erased(k.App))(k.UserID) && p.merge(change)
}

func (c *cache) mergeEdit(k projection.EditKey, e, change *projection.Edit) bool {
	if among(c.erased(k.App))(change.Recall.Value.Revoker) { // of another's message: the recall and its reason stay
		without := *change
		without.Recall.Value.Revoker, change = projection.ErasedUser, &without
	}
	return mergeEdit(e, change)
}

func (c *cache) mergeSender(k projection.MentionKey, s *projection.Register[string], change projection.Register[string]) bool {
	if among(c.erased(k.App))(change.Value) {
		change.Value = projection.ErasedUser
	}
	return mergeSender(s, change)
}

func (c *cache) mergeApp(app string, a, change *projection.App) bool {
	before := len(a.Erased)
	changed := mergeApp(a, change)
	if len(a.Erased) > before {
		c.forgetter.forget(app, c.forget)
	}
	return changed
}

// forgetter has memory looked through, one app after the other; nobody waits for it.
type forgetter struct {
	mu      sync.Mutex
	apps    []string // that are to be looked through
	running bool
}

func (f *forgetter) forget(app string, look func(app string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.apps, app) {
		f.apps = append(f.apps, app)
	}
	if !f.running {
		f.running = true
		go f.run(look)
	}
}

func (f *forgetter) run(look func(app string)) {
	for {
		f.mu.Lock()
		if f.running = len(f.apps) > 0; !f.running {
			f.mu.Unlock()
			return
		}
		app := f.apps[0]
		f.apps = f.apps[1:]
		f.mu.Unlock()
		look(app)
	}
}

// forget takes out of memory what was merged before a user of the app was known to be
// erased. Who merges something looks at the same set, each value locked: so what is merged
// after a value was looked at has nothing of the user either.
func (c *cache) forget(app string) {
	erased := among(c.erased(app))
	c.groups.each(func(k projection.GroupKey) bool { return k.App == app }, func(k projection.GroupKey, e *entry[groupValue]) {
		if g := &e.value; g.state.Head != nil && erased(g.state.Head.From) {
			g.state = *g.state.Without(sharedKey(k), erased)
			e.version.Store(c.versions.Add(1))
		}
		e.value.shown = lastShown{}
	})
	c.people.each(func(k projection.UserKey) bool { return k.App == app && erased(k.UserID) }, func(_ projection.UserKey, e *entry[person]) {
		e.value = person{}
		e.version.Store(c.versions.Add(1))
	})
	c.senders.each(func(k projection.MentionKey) bool { return k.App == app }, func(_ projection.MentionKey, e *entry[projection.Register[string]]) {
		if erased(e.value.Value) {
			e.value.Value = projection.ErasedUser
			e.version.Store(c.versions.Add(1))
		}
	})
	c.edits.each(func(k projection.EditKey) bool { return k.App == app }, func(_ projection.EditKey, e *entry[projection.Edit]) {
		if recall := &e.value.Recall; erased(recall.Value.Revoker) {
			recall.Value.Revoker = projection.ErasedUser
			e.version.Store(c.versions.Add(1))
		}
	})
	for k, e := range c.table.All() { // after the groups: their heads say whose edits are whose
		switch {
		case k.App != app:
		case erased(k.UserID):
			c.table.Invalidate(k)
		default:
			c.forgetRows(k, e, erased)
			c.weigh(k, e)
		}
	}
}

// forgetRows does so in the inbox of somebody else, whose items have to be made anew: the
// rules have changed.
func (c *cache) forgetRows(k projection.UserKey, e *entry[inbox], erased func(userID string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := &e.value
	in.page, in.bytes, in.last = nil, in.bytes-in.last.size(), nil
	var decoder projection.CompactDecoder
	for _, r := range in.rows {
		in.forget(r)
		if r.joined {
			if r.group != nil {
				if g, _ := r.group.read(); g.state.Head != nil && g.state.Head.From == projection.ErasedUser {
					c.forgetEdits(r)
				}
			}
			continue
		}
		own := r.decode(&decoder)
		switch left := own.Without(projection.Key{App: k.App, Owner: k.UserID, ConversationID: r.id}, erased); {
		case left == nil:
			// The row stays: only by its ID can a client be told what was removed.
			in.bytes -= r.extra.size()
			c.letGo(k.App, r)
			in.put(r, string(new(projection.State).AppendCompact(nil)), false)
		case left != own:
			c.forgetEdits(r)
			in.put(r, string(left.AppendCompact(nil)), false)
		}
	}
}

// forgetEdits takes out of memory what was made of a row's head, which is an erased user's.
func (c *cache) forgetEdits(r *row) {
	if r.extra == nil {
		return
	}
	for i, e := range r.extra.edits {
		e.mu.Lock()
		e.value = e.value.Without()
		e.mu.Unlock()
		c.edits.resize(r.extra.editKeys[i], e)
	}
}

// each visits the values that somebody holds, each locked.
func (s *shared[K, T, L]) each(of func(K) bool, visit func(K, *entry[T])) {
	var keys []K
	var entries []*entry[T]
	s.mu.RLock()
	for k, e := range s.entries {
		if of(k) {
			keys, entries = append(keys, k), append(entries, e)
		}
	}
	s.mu.RUnlock()
	for i, e := range entries {
		e.mu.Lock()
		visit(keys[i], e)
		e.mu.Unlock()
		s.resize(keys[i], e)
	}
}

// ofErased reports whether a conversation's head is an erased user's.
func ofErased(c *projection.Conversation) bool {
	return c.Type != events.TypeC2C && c.Shared.Head != nil && c.Shared.Head.From == projection.ErasedUser
}
