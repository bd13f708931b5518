package query

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// Feed tells whether everything that becomes visible in the read model is heard of.
type Feed interface {
	// Check gives the reason why something may not be; nil if there is none. It
	// is asked with every request.
	Check() error
	// Await waits until everything up to and including an offset is heard of.
	// Its error is feed.ErrUnknownPartition or the context's.
	Await(ctx context.Context, p feed.Partition, offset int64) error
}

// cache is what is in memory of the read model. It is fed by loads and by the
// feed.
type cache struct {
	feed   Feed // nil: nothing is heard of, and everything is loaded for every request
	maxAge time.Duration
	// epoch counts the losses of the feed, from 1: what a load that began in an
	// earlier one has brought may lack something.
	epoch atomic.Uint64
	// versions are given to values as they change. No two are equal, so that a
	// value that was evicted and loaded again is not taken for what it was.
	versions atomic.Uint64

	inboxes *table[projection.UserKey, inbox, map[string]*projection.State]
	groups  *table[projection.GroupKey, groupValue, groupChange]
	people  *table[projection.UserKey, projection.UserProfile, *projection.UserProfile]
	edits   *table[projection.EditKey, projection.Edit, *projection.Edit]
	senders *table[projection.MentionKey, projection.Register[string], projection.Register[string]]
	apps    *table[string, projection.App, *projection.App]
}

// The parts of the memory that each table may take.
const (
	inboxShare = 0.70
	groupShare = 0.15
	otherShare = 0.05
)

func newCache(cfg Config, loads *loader) *cache {
	c := &cache{maxAge: cfg.CacheMaxAge}
	c.epoch.Store(1)
	part := func(share float64) int { return int(share * float64(cfg.CacheBytes)) }
	c.inboxes = newTable(c, part(inboxShare), loads.inboxes.get,
		func(k projection.UserKey, in *inbox) int { return len(k.App) + len(k.UserID) + in.bytes },
		(*inbox).merge)
	c.groups = newTable(c, part(groupShare), loads.bothOfGroups,
		func(k projection.GroupKey, g *groupValue) int { return len(k.App) + len(k.GroupID) + g.bytes() },
		(*groupValue).merge)
	c.people = newTable(c, part(otherShare), loads.users.get,
		func(k projection.UserKey, p *projection.UserProfile) int {
			return len(k.App) + len(k.UserID) + profileBytes + len(p.ID) + len(p.Value.Nick) + len(p.Value.Avatar)
		},
		func(p *projection.UserProfile, change *projection.UserProfile) bool {
			before := p.Version
			projection.MergeUser(p, projection.ShortUser(*change))
			return p.Version != before
		})
	c.edits = newTable(c, part(otherShare), loads.edits.get,
		func(k projection.EditKey, e *projection.Edit) int {
			return len(k.App) + len(k.Conversation.A) + len(k.Conversation.B) + editBytes +
				len(e.Recall.Value.Reason) + len(e.Modification.Payload) + len(e.Modification.MessageForShow) +
				len(e.Modification.PayloadText) + len(e.Modification.CloudCustomData)
		},
		func(e *projection.Edit, change *projection.Edit) bool {
			before := *e
			e.Merge(*change)
			return *e != before
		})
	c.senders = newTable(c, part(otherShare), loads.senders.get,
		func(k projection.MentionKey, s *projection.Register[string]) int {
			return len(k.App) + len(k.GroupID) + len(s.ID) + len(s.Value)
		},
		func(s *projection.Register[string], change projection.Register[string]) bool {
			before := *s
			projection.MergeText(s, change)
			return *s != before
		})
	c.apps = newTable(c, part(otherShare), loads.apps.get,
		func(app string, a *projection.App) int { return len(app) + erasedBytes*len(a.Erased) },
		mergeApp)
	return c
}

// About what these take besides their texts.
const (
	profileBytes = 256
	editBytes    = 256
	erasedBytes  = 64
)

// mergeApp replaces the set of erased users rather than change it: rules that
// were made before go on looking at it.
func mergeApp(a *projection.App, change *projection.App) bool {
	before := a.Plan.Version
	projection.MergePlan(&a.Plan, change.Plan)
	changed := a.Plan.Version != before
	var all map[string]struct{}
	for user := range change.Erased {
		if _, known := a.Erased[user]; known {
			continue
		}
		if all == nil {
			all = make(map[string]struct{}, len(a.Erased)+len(change.Erased))
			maps.Copy(all, a.Erased)
		}
		all[user] = struct{}{}
	}
	if all != nil {
		a.Erased, changed = all, true
	}
	return changed
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

// apply merges what has become visible into what is in memory.
func (c *cache) apply(m *projection.Model) {
	for k, state := range m.States {
		light := *state
		light.Head.LargePayload = "" // lists never show it
		if k.Owner != "" {
			c.inboxes.heard(projection.UserKey{App: k.App, UserID: k.Owner}, map[string]*projection.State{k.ConversationID: &light})
		} else {
			_, name, _ := events.SplitConversationID(k.ConversationID)
			c.groups.heard(projection.GroupKey{App: k.App, GroupID: name}, groupChange{state: &light})
		}
	}
	for k, profile := range m.Groups {
		short := projection.ShortGroup(*profile)
		c.groups.heard(k, groupChange{profile: &short})
	}
	for k, profile := range m.Users {
		c.people.heard(k, profile)
	}
	for k, edit := range m.Edits {
		c.edits.heard(k, edit)
	}
	for k, message := range m.Messages {
		if k.Conversation.Type == events.TypeGroup {
			c.senders.heard(projection.MentionKey{
				App: k.App, GroupID: k.Conversation.A, Mention: projection.Mention{Day: k.Day, Sequence: k.Sequence},
			}, projection.Register[string]{Version: projection.Version{Time: k.Time, ID: k.ID}, Value: message.From})
		}
	}
	for app, plan := range m.Plans {
		c.apps.heard(app, &projection.App{Plan: *plan})
	}
	for k := range m.Erased {
		c.apps.heard(k.App, &projection.App{Erased: map[string]struct{}{k.UserID: {}}})
	}
}
