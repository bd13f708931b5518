package query

import (
	"slices"

	"github.com/convoview/convoview/internal/projection"
)

// restlessAfter is how often something may be lacking of what a list shows, and each time
// something else: what one try finds, the next one finds again when nothing was loaded between.
const restlessAfter = 3

// lacked notes what is lacking of what a list shows, if anything is. A list may change faster
// than that can be loaded; then the query goes on with it as it is now.
func (v *view) lacked(list []*row, lacks *missing) *missing {
	if lacks == nil {
		return nil
	}
	if v.query.lacked++; v.query.lacked > restlessAfter {
		v.freeze(list)
	}
	return lacks
}

// freeze has the query go on with rows and groups of its own, which hear of nothing more. It
// does nothing when a group has changed since its row was judged: then the list is another one.
func (v *view) freeze(list []*row) {
	c, app := v.cache, v.user.App
	frozen := &entry[inbox]{value: inbox{holders: 1, app: c.apps.hold(app)}}
	frozen.loadedBy(v.entry.last())
	rows, same := make([]*row, len(list)), true
	for i, r := range list {
		rows[i] = &row{id: r.id, own: r.own, joined: r.joined}
		if r.group != nil {
			c.groups.hold(projection.GroupKey{App: app, GroupID: r.name()}) // let go of as any other
			rows[i].group = frozenGroup(r.group)
			same = same && rows[i].group.version.Load() == r.is.group
		}
	}
	frozen.value.add(rows)
	if frozen.value.all = v.inbox.all; v.query.since != nil && v.inbox.all == nil { // a client is told what is gone
		frozen.value.all = slices.Clone(v.inbox.rows)
	}
	if !same {
		c.leave(v.user, frozen)
		return
	}
	v.query.inbox = frozen
	c.left(v.user, &v.entry.value)
}

// frozenGroup gives a copy of what is in memory of a group.
func frozenGroup(g *entry[groupValue]) *entry[groupValue] {
	g.mu.Lock()
	defer g.mu.Unlock()
	frozen := &entry[groupValue]{}
	frozen.value.merge(groupChange{&g.value.state, &g.value.profile})
	frozen.version.Store(g.version.Load())
	frozen.loadedBy(g.last())
	return frozen
}
