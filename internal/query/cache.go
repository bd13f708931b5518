package query

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Feed tells whether everything that becomes visible in the read model is heard of.
type Feed interface {
	// Check gives the reason why something may not be; nil if there is none. It
	// is asked with every request.
	Check() error
	// Await waits until everything up to and including an offset is heard of.
	// Its error is feed.ErrUnknownPartition or the context's.
	Await(ctx context.Context, p events.Partition, offset int64) error
}

// cache is what is in memory of the read model. It is fed by loads and by the
// feed. Inboxes come and go as they are asked for, within its bound; what they
// show besides their own registers is shared, and in memory while an inbox
// that shows it is.
type cache struct {
	clock
	generation int
	leftOut    map[string]struct{} // the IDs of events that the generation leaves out
	loads      *loader
	cohorts    *batcher[*attempt, struct{}] // of requests that lack something
	feed       Feed                         // nil: nothing is heard of, and everything is loaded for every request
	maxAge     time.Duration
	// epoch counts the losses of the feed, from 1: what a load that began in an
	// earlier one has brought may lack something.
	epoch    atomic.Uint64
	versions atomic.Uint64 // the greatest that was given

	maxBytes  atomic.Int64
	evictions prometheus.Counter
	coalesced prometheus.Observer // requests that are loaded for together
	shared    atomic.Int64        // bytes of what inboxes share
	balanced  atomic.Int64        // shared as it was when the bound of inboxes was set

	inboxes source[projection.UserKey, inbox, map[string]*projection.State]
	table   *otter.Cache[projection.UserKey, *entry[inbox]]
	groups  *shared[projection.GroupKey, groupValue, groupChange]
	people  *shared[projection.UserKey, person, *projection.UserProfile]
	edits   *shared[projection.EditKey, projection.Edit, *projection.Edit]
	senders *shared[projection.MentionKey, projection.Register[string], projection.Register[string]]
	apps    *shared[string, projection.App, *projection.App]
	latest  []projection.MentionKey // the senders that are held for those who are about to ask

	forgetter forgetter
}

func newCache(cfg Config, generation int, loads *loader, m *metrics) *cache {
	c := &cache{clock: clock{time.Now()}, generation: generation, loads: loads, maxAge: cfg.CacheMaxAge, evictions: m.evictions, coalesced: m.coalesced}
	c.maxBytes.Store(usable(cfg.CacheBytes))
	c.epoch.Store(1)
	c.cohorts = newBatcher(c.accompany, cfg.BatchInboxes, cfg.LoadConcurrency)
	c.cohorts.patience = cfg.LoadPatience
	c.cohorts.linger = func() time.Duration {
		if c.fault() != "" { // who asks again could not rely on it
			return 0
		}
		return cfg.LoadLinger
	}
	c.inboxes = source[projection.UserKey, inbox, map[string]*projection.State]{
		cache: c, load: loads.inboxes.get, merge: c.mergeInbox, changed: c.reweigh,
	}
	c.table = otter.Must(&otter.Options[projection.UserKey, *entry[inbox]]{
		MaximumWeight: uint64(c.maxBytes.Load()), // Config.Validate has seen it
		Weigher: func(k projection.UserKey, e *entry[inbox]) uint32 {
			return uint32(min(int64(entryBytes+inboxBytes+len(k.App)+len(k.UserID))+e.value.weighed.Load(), 1<<31)) // bounded here
		},
		OnDeletion: func(d otter.DeletionEvent[projection.UserKey, *entry[inbox]]) {
			if d.Cause != otter.CauseReplacement { // by itself, when it is weighed
				c.evictions.Inc()
				c.leave(d.Key, d.Value)
			}
		},
	})
	c.groups = newShared(c, loads.bothOfGroups,
		func(k projection.GroupKey, g *groupValue) int { return len(k.App) + len(k.GroupID) + g.bytes() },
		c.mergeGroup)
	c.people = newShared(c, loads.users.get,
		func(k projection.UserKey, p *person) int {
			return personBytes + len(k.App) + len(k.UserID) + len(p.ID) + len(p.nick) + len(p.avatar)
		},
		c.mergePerson)
	c.edits = newShared(c, loads.edits.get,
		func(k projection.EditKey, e *projection.Edit) int {
			return len(k.App) + len(k.Conversation.A) + len(k.Conversation.B) + editBytes +
				len(e.Recall.Value.Reason) + len(e.Modification.Payload) + len(e.Modification.MessageForShow) +
				len(e.Modification.PayloadText) + len(e.Modification.CloudCustomData)
		},
		c.mergeEdit)
	c.senders = newShared(c, loads.senders.get,
		func(k projection.MentionKey, s *projection.Register[string]) int {
			return senderBytes + len(k.App) + len(k.GroupID) + len(s.ID) + len(s.Value)
		},
		c.mergeSender)
	c.apps = newShared(c, loads.apps.get,
		func(app string, a *projection.App) int { return len(app) + erasedBytes*len(a.Erased) },
		c.mergeApp)
	return c
}

// usable is what may be in memory under a bound.
func usable(bytes int) int64 { return int64(bytes - bytes/lostShare) }

// lostShare is the part of the bound that is left for what allocations take
// beyond what is asked of them.
const lostShare = 8

// About what these take besides their texts.
const (
	personBytes = 128
	editBytes   = 320
	senderBytes = 192
	erasedBytes = 64
)

// demand is that of a request that came at begin.
func (c *cache) demand(begin time.Time) demand {
	d := demand{begin: c.at(begin)}
	if c.feed != nil && c.feed.Check() == nil {
		d.epoch = c.epoch.Load()
	}
	return d
}

// fault says why nothing is answered from memory; "" when it is.
func (c *cache) fault() string {
	if c.feed == nil {
		return "none"
	}
	if err := c.feed.Check(); err != nil {
		return err.Error()
	}
	return ""
}

// lost says that whatever was loaded before may lack something.
func (c *cache) lost() { c.epoch.Add(1) }

// enter gives a user's inbox, loaded or not, and keeps it until the user is left.
func (c *cache) enter(k projection.UserKey) *entry[inbox] {
	e, ok := c.table.GetIfPresent(k)
	if !ok {
		e, _ = c.table.SetIfAbsent(k, &entry[inbox]{value: inbox{holders: 1}})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.value.holders++
	if e.value.app == nil {
		e.value.app = c.apps.hold(k.App)
	}
	return e
}

// leave says that somebody needs an inbox no more.
func (c *cache) leave(k projection.UserKey, e *entry[inbox]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.left(k, &e.value)
}

// left does so with an inbox that is locked.
func (c *cache) left(k projection.UserKey, in *inbox) {
	in.holders--
	if in.holders > 0 {
		return
	}
	for _, r := range in.rows {
		c.letGo(k.App, r)
		in.forget(r)
	}
	if in.app != nil { // else the table gave it up before it was entered
		c.apps.drop(k.App)
		in.app = nil
	}
}

// letGo drops what a row holds.
func (c *cache) letGo(app string, r *row) {
	c.dropGroup(app, r)
	if r.peer != nil {
		c.people.drop(projection.UserKey{App: app, UserID: r.name()})
		r.peer = nil
	}
	c.showExtra(r, nil)
}

// done says that a query is answered, and the answer sent.
func (c *cache) done(q *query) {
	if q.lent != nil {
		q.lent.lent.Add(-1)
		q.lent = nil
	}
	if q.inbox != nil {
		c.leave(projection.UserKey{App: q.app, UserID: q.userID}, q.inbox)
		q.inbox = nil
	}
}

// bytes is about what is in memory.
func (c *cache) bytes() uint64 { return c.table.WeightedSize() + uint64(c.shared.Load()) } // not negative

// reweigh has the table count what an inbox takes now if that is worth it.
func (c *cache) reweigh(k projection.UserKey, e *entry[inbox]) {
	e.mu.Lock()
	weigh := e.value.outweighs()
	e.mu.Unlock()
	if weigh {
		c.weigh(k, e)
	}
}

// weigh has the table count what an inbox takes now.
func (c *cache) weigh(k projection.UserKey, e *entry[inbox]) {
	c.table.ComputeIfPresent(k, func(now *entry[inbox]) (*entry[inbox], otter.ComputeOp) {
		if now != e {
			return now, otter.CancelOp
		}
		return now, otter.WriteOp
	})
}

// grow notes that what inboxes share takes more bytes, and leaves the rest of the bound to the inboxes.
func (c *cache) grow(bytes int) {
	shared := c.shared.Add(int64(bytes))
	before := c.balanced.Load()
	if step := c.maxBytes.Load() / steps; shared-before < step && before-shared < step || !c.balanced.CompareAndSwap(before, shared) {
		return
	}
	c.balance(shared)
}

// bound sets how much may be in memory.
func (c *cache) bound(bytes int) {
	c.maxBytes.Store(usable(bytes))
	shared := c.shared.Load()
	c.balanced.Store(shared)
	c.balance(shared)
}

// balance leaves to the inboxes what others do not take, or a little.
func (c *cache) balance(shared int64) {
	most := c.maxBytes.Load()
	c.table.SetMaximum(uint64(max(most-shared, most/steps))) // positive
}

// steps are how many parts of the bound are told from each other.
const steps = 64

// holdGroup has a row that is joined hold its group.
func (c *cache) holdGroup(app string, r *row) *entry[groupValue] {
	if r.group == nil {
		r.group = c.groups.hold(projection.GroupKey{App: app, GroupID: r.name()})
	}
	return r.group
}

func (c *cache) dropGroup(app string, r *row) {
	if r.group != nil {
		c.groups.drop(projection.GroupKey{App: app, GroupID: r.name()})
		r.group = nil
	}
}

func (c *cache) holdPeer(app string, r *row) *entry[person] {
	if r.peer == nil {
		r.peer = c.people.hold(projection.UserKey{App: app, UserID: r.name()})
	}
	return r.peer
}

// showExtra has a row hold the extra that its item shows now, instead of what it showed before.
func (c *cache) showExtra(r *row, x *extra) {
	if x != nil {
		x.edits = c.edits.holdAll(x.editKeys)
		x.senders = c.senders.holdAll(x.mentionKeys)
	}
	if before := r.extra; before != nil { // after the new ones are held: most are the same
		for _, k := range before.editKeys {
			c.edits.drop(k)
		}
		for _, k := range before.mentionKeys {
			c.senders.drop(k)
		}
	}
	r.extra = x
}

// missing is what has to be loaded before a request can be answered.
type missing struct {
	inboxes missed[projection.UserKey, inbox]
	apps    missed[string, projection.App]
	groups  missed[projection.GroupKey, groupValue]
	people  missed[projection.UserKey, person]
	edits   missed[projection.EditKey, projection.Edit]
	senders missed[projection.MentionKey, projection.Register[string]]
	// alone is what nobody else can make use of: there is nothing besides.
	alone func(context.Context) error
}

// include adds what another request is missing.
func (m *missing) include(other *missing) {
	m.inboxes.include(&other.inboxes)
	m.apps.include(&other.apps)
	m.groups.include(&other.groups)
	m.people.include(&other.people)
	m.edits.include(&other.edits)
	m.senders.include(&other.senders)
}

type missed[K comparable, T any] struct {
	keys    []K
	entries []*entry[T]
}

func (m *missed[K, T]) add(k K, e *entry[T]) {
	m.keys, m.entries = append(m.keys, k), append(m.entries, e)
}

func (m *missed[K, T]) include(other *missed[K, T]) {
	m.keys, m.entries = append(m.keys, other.keys...), append(m.entries, other.entries...)
}

// load loads what is missing.
func (c *cache) load(ctx context.Context, d demand, m *missing) error {
	g, ctx := errgroup.WithContext(ctx)
	refresh(ctx, g, d, &c.inboxes, &m.inboxes)
	refresh(ctx, g, d, &c.apps.source, &m.apps)
	refresh(ctx, g, d, &c.groups.source, &m.groups)
	refresh(ctx, g, d, &c.people.source, &m.people)
	refresh(ctx, g, d, &c.edits.source, &m.edits)
	refresh(ctx, g, d, &c.senders.source, &m.senders)
	return g.Wait()
}

func refresh[K comparable, T, L any](ctx context.Context, g *errgroup.Group, d demand, s *source[K, T, L], m *missed[K, T]) {
	if len(m.keys) > 0 {
		g.Go(func() error { return s.refresh(ctx, d, m.keys, m.entries) })
	}
}

// bothOfGroups loads what the members of groups share, and their profiles.
func (l *loader) bothOfGroups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]groupChange, error) {
	stateKeys := make([]projection.Key, len(keys))
	for i, k := range keys {
		stateKeys[i] = sharedKey(k)
	}
	var states map[projection.Key]*projection.State
	var profiles map[projection.GroupKey]*projection.GroupProfile
	g, ctx := errgroup.WithContext(ctx)
	fetch(ctx, g, l.states, stateKeys, &states)
	fetch(ctx, g, l.groups, keys, &profiles)
	if err := g.Wait(); err != nil {
		return nil, err
	}
	found := make(map[projection.GroupKey]groupChange, len(keys))
	for i, k := range keys {
		found[k] = groupChange{states[stateKeys[i]], profiles[k]}
	}
	return found, nil
}

func sharedKey(k projection.GroupKey) projection.Key {
	return projection.Key{App: k.App, ConversationID: events.Group(k.GroupID).IDFor("")}
}

// apply merges what has become visible into what is in memory. It is called by
// one goroutine.
func (c *cache) apply(m *projection.Model) {
	c.applyMessages(m.Messages) // before the groups have heard of them
	one := map[string]*projection.State{}
	for k, state := range m.States {
		if k.Owner != "" {
			user := projection.UserKey{App: k.App, UserID: k.Owner}
			if e, ok := c.table.GetEntryQuietly(user); ok {
				clear(one)
				one[k.ConversationID] = state
				c.inboxes.heard(user, e.Value, one)
			}
		} else {
			_, name, _ := events.SplitConversationID(k.ConversationID)
			c.groups.hear(projection.GroupKey{App: k.App, GroupID: name}, groupChange{state: state})
		}
	}
	for k, profile := range m.Groups {
		short := projection.ShortGroup(*profile)
		c.groups.hear(k, groupChange{profile: &short})
	}
	for k, profile := range m.Users {
		c.people.hear(k, profile)
	}
	for k, edit := range m.Edits {
		c.edits.hear(k, edit)
	}
	for app, plan := range m.Plans {
		c.apps.hear(app, &projection.App{Plan: *plan})
	}
	erased := map[string]map[string]struct{}{}
	for k := range m.Erased {
		if erased[k.App] == nil {
			erased[k.App] = map[string]struct{}{}
		}
		erased[k.App][k.UserID] = struct{}{}
	}
	for app, users := range erased {
		c.apps.hear(app, &projection.App{Erased: users})
	}
}

// applyMessages merges who has sent messages into what is in memory. The senders
// of new mentions are put there before anybody asks: those who are mentioned soon do.
func (c *cache) applyMessages(messages map[projection.MessageKey]*projection.Message) {
	type introduced struct {
		*entry[projection.Register[string]]
		loading
	}
	var all []introduced
	for k, m := range messages {
		if m.AtAll || len(m.AtUsers) > 0 {
			if l, ok := c.loadedWithout(k); ok {
				all = append(all, introduced{c.holdSender(k.Mention()), l})
			}
		}
	}
	for k, m := range messages {
		if k.Conversation.Type == events.TypeGroup {
			c.senders.hear(k.Mention(), projection.Register[string]{Version: projection.Version{Time: k.Time, ID: k.ID}, Value: m.From})
		}
	}
	for _, i := range all { // now they have all that was heard of their sequence
		i.mu.Lock()
		i.loadedBy(i.loading)
		i.mu.Unlock()
	}
}

// loadedWithout gives the load of a message's group, if a load that began with it
// would have found no message of that sequence: the group has never had so great a one.
func (c *cache) loadedWithout(k projection.MessageKey) (l loading, ok bool) {
	g, ok := c.groups.find(projection.GroupKey{App: k.App, GroupID: k.Conversation.A})
	if !ok || k.Conversation.Type != events.TypeGroup {
		return loading{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last(), g.epoch.Load() == c.epoch.Load() && g.value.state.LastSequence < k.Sequence
}

// holdSender has the sender of a new mention in memory until a number of others are newer.
func (c *cache) holdSender(k projection.MentionKey) *entry[projection.Register[string]] {
	if most := max(1, int(c.maxBytes.Load())/latestShare/(entryBytes+senderBytes)); len(c.latest) >= most {
		c.senders.drop(c.latest[0])
		c.latest = c.latest[1:]
	}
	c.latest = append(c.latest, k)
	return c.senders.hold(k)
}

// latestShare is the part of the bound that the senders of the latest mentions may take.
const latestShare = 64
