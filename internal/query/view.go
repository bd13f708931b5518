package query

import (
	"slices"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// view is how a request sees a user's inbox, which is locked as long.
type view struct {
	cache *cache
	query *query
	user  projection.UserKey
	entry *entry[inbox]
	inbox *inbox
	rules projection.Rules
	fresh bool // a row was judged or shown anew
	lacks *missing

	*scratch // nil: not needed yet
}

// scratch is what is used for one row after the other.
type scratch struct {
	own     projection.CompactDecoder
	encoded []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// view opens the inbox of the user who asks. The query keeps it in memory until it is left.
func (c *cache) view(q *query) *view {
	if q.inbox == nil {
		q.inbox, q.demand = c.enter(projection.UserKey{App: q.app, UserID: q.userID}), c.demand(q.begin)
	}
	q.inbox.mu.Lock()
	return c.open(q, q.inbox)
}

// open looks at a user's inbox, which is locked.
func (c *cache) open(q *query, e *entry[inbox]) *view {
	v := &view{cache: c, query: q, user: projection.UserKey{App: q.app, UserID: q.userID}, entry: e, inbox: &e.value}
	app, version := v.inbox.app.read()
	v.rules = app.Rules(q.now)
	if b := (basis{version, v.rules.FirstDay()}); b != v.inbox.basis {
		v.inbox.basis = b
		for _, r := range v.inbox.rows {
			v.inbox.unjudge(r)
		}
	}
	return v
}

// ready gives the page that answers a query, if there is one. It waits for nobody.
func (c *cache) ready(q *query, maxBytes int) []byte {
	e, ok := c.table.GetIfPresent(projection.UserKey{App: q.app, UserID: q.userID})
	if !ok || !e.mu.TryLock() {
		return nil
	}
	defer e.mu.Unlock()
	if e.value.page == nil || e.value.app == nil {
		return nil
	}
	q.demand = c.demand(q.begin)
	v := c.open(q, e)
	if p := v.inbox.page; p != nil && v.sends(p, maxBytes) {
		return v.lend(p)
	}
	return nil
}

// lend gives a page as a reply. It stays as it is until the query is done.
func (v *view) lend(p *page) []byte {
	p.lent.Add(1)
	v.query.lent = p
	return p.reply
}

func (v *view) close() {
	weigh := v.inbox.outweighs()
	v.entry.mu.Unlock()
	if v.scratch != nil {
		scratches.Put(v.scratch)
	}
	if weigh {
		v.cache.weigh(v.user, v.entry)
	}
}

// limit is the greatest length of a page.
func (v *view) limit() (int, error) {
	most := v.rules.MaxConversations
	switch limit := v.query.limit; {
	case limit == 0:
		return most, nil
	case limit > uint64(most): // at least 1
		return 0, badRequest("limit %d: expected an integer from 1 to %d, the app's maxConversations", limit, most)
	default:
		return int(limit), nil // at most maxPlanList
	}
}

// sends reports whether a page answers the query. It may have been made for another
// server, which takes more.
func (v *view) sends(p *page, maxBytes int) bool {
	q := v.query
	limit, err := v.limit()
	return q.plain() && err == nil && p.items <= limit && len(p.reply) <= maxBytes &&
		v.entry.meets(q.demand) && v.inbox.app.meets(q.demand) && p.holds(q.demand)
}

// judge has the rules say of every row what they have not said yet. What the
// whole list will show besides may be loaded ahead.
func (v *view) judge(ahead bool) *missing {
	d, in := v.query.demand, v.inbox
	v.lacks = nil
	if !v.entry.meets(d) {
		v.lacking().inboxes.add(v.user, v.entry)
	}
	if !in.app.meets(d) {
		v.lacking().apps.add(v.user.App, in.app)
	}
	if v.lacks != nil {
		return v.lacks
	}
	for _, r := range in.rows {
		if !r.joined {
			v.cache.dropGroup(v.user.App, r)
		} else if g := v.cache.holdGroup(v.user.App, r); !g.meets(d) {
			v.lacking().groups.add(projection.GroupKey{App: v.user.App, GroupID: r.name()}, g)
		}
	}
	if v.lacks != nil {
		if ahead && len(in.rows) <= v.rules.MaxConversations {
			v.foresee()
		}
		return v.lacks
	}
	moved := false
	for _, r := range in.rows {
		v.judgeRow(r)
		moved = moved || r.moved
	}
	if moved {
		in.sort()
	}
	return nil
}

// foresee adds the peers that the list will show: they are known before its
// groups are, and so need no step of their own.
func (v *view) foresee() {
	for _, r := range v.inbox.rows {
		if r.joined {
			continue
		}
		v.judgeRow(r)
		if l := &r.is.listing; r.is.listed && l.Type == events.TypeC2C && v.query.filter.Wants(l) {
			v.wantPeer(r)
		}
	}
}

func (v *view) wantPeer(r *row) {
	if p := v.cache.holdPeer(v.user.App, r); !p.meets(v.query.demand) {
		v.lacking().people.add(projection.UserKey{App: v.user.App, UserID: r.name()}, p)
	}
}

// lacking is where to note what has to be loaded. Most requests lack nothing.
func (v *view) lacking() *missing {
	if v.lacks == nil {
		v.lacks = &missing{}
	}
	return v.lacks
}

func (v *view) judgeRow(r *row) {
	j := &r.is
	if r.judged && (r.group == nil || r.group.version.Load() == j.group) {
		return
	}
	v.inbox.unjudge(r)
	var group *groupValue
	if r.group != nil {
		r.group.mu.Lock()
		defer r.group.mu.Unlock()
		group, j.group = &r.group.value, r.group.version.Load()
	}
	c := v.conversation(r, group)
	j.edit, j.shown, j.hashes = nil, false, nil
	j.erased = ofErased(&c)
	before := j.size()
	j.listing, j.listed = c.Listing(v.rules)
	v.inbox.bytes += j.size() - before
	if j.listed {
		if key, ok := c.HeadEdit(v.user.App, v.rules); ok {
			edit := key // in memory only where there is one
			j.edit = &edit
		}
	} else {
		v.inbox.replaceItem(j, nil) // nobody is shown it
	}
	r.judged, r.moved, v.fresh = true, true, true
}

// conversation is what the user sees, until it is asked for another; group is nil
// outside groups, and for groups that the user is not in.
func (v *view) conversation(r *row, group *groupValue) projection.Conversation {
	var shared *projection.State
	var profile *projection.GroupProfile
	if group != nil {
		shared, profile = &group.state, &group.profile
	}
	if v.scratch == nil {
		v.scratch = scratches.Get().(*scratch)
	}
	c, _ := projection.NewConversation(v.user.UserID, r.id, r.decode(&v.own), shared, profile) // rows have conversation IDs
	return c
}

// selected are the rows that the filter lets through, in list order. All are judged.
func (v *view) selected() []*row {
	filter := &v.query.filter
	list := make([]*row, 0, len(v.inbox.order))
	for _, r := range v.inbox.order {
		if filter.Wants(&r.is.listing) {
			list = append(list, r)
		}
	}
	return list
}

// show makes the items of rows that have none, or none of what they show now.
// It reports false when a group has changed since its row was judged.
func (v *view) show(list []*row) (lacks *missing, whole bool) {
	d := v.query.demand
	v.lacks = nil
	for _, r := range list {
		if r.is.listing.Type == events.TypeC2C {
			v.wantPeer(r)
		}
		v.showExtra(r)
		if x := r.extra; x != nil {
			for i, e := range x.edits {
				if !e.meets(d) {
					v.lacking().edits.add(x.editKeys[i], e)
				}
			}
			for i, e := range x.senders {
				if !e.meets(d) {
					v.lacking().senders.add(x.mentionKeys[i], e)
				}
			}
		}
	}
	if v.lacks != nil {
		return v.lacks, true
	}
	for _, r := range list {
		if r.is.shown && r.is.details == r.detailed() {
			continue
		}
		if !v.showRow(r) {
			return nil, false
		}
	}
	return nil, true
}

// showExtra has a row hold what its item shows besides registers, the peer aside.
func (v *view) showExtra(r *row) {
	j := &r.is
	if r.extra == nil && j.edit == nil && len(j.listing.Mentions()) == 0 || j.shown {
		return // the extra belongs to the item, if there is one
	}
	x := &extra{}
	if j.edit != nil {
		x.editKeys = []projection.EditKey{*j.edit}
	}
	if mentions := j.listing.Mentions(); len(mentions) > 0 {
		x.mentionKeys = make([]projection.MentionKey, len(mentions))
		for i, m := range mentions {
			x.mentionKeys[i] = projection.MentionKey{App: v.user.App, GroupID: r.name(), Mention: m.Mention}
		}
	}
	v.inbox.bytes -= r.extra.size()
	v.cache.showExtra(r, x)
	v.inbox.bytes += r.extra.size()
}

// showRow makes a row's item, unless its group has changed since it was judged.
func (v *view) showRow(r *row) (whole bool) {
	j := &r.is
	version := r.detailed() // first: what changes meanwhile is shown again
	shows := projection.Details{}
	if r.peer != nil {
		p, _ := r.peer.read()
		shows.Peer = p.profile()
	}
	if x := r.extra; x != nil {
		if j.erased { // nobody knew that when it was loaded or heard
			v.cache.forgetEdits(r)
		}
		for _, e := range x.edits {
			shows.Edit, _ = e.read()
		}
		shows.Sender = x.sender
	}

	if !v.encode(r, shows) {
		return false
	}
	v.inbox.replaceItem(j, v.encoded)
	j.details, j.shown, j.hashes = version, true, nil
	v.inbox.page, v.fresh = nil, true
	return true
}

// encode makes an item, unless its group has changed since the row was judged.
func (v *view) encode(r *row, shows projection.Details) (whole bool) {
	var group *groupValue
	var shown *lastShown
	if r.group != nil {
		r.group.mu.Lock()
		defer r.group.mu.Unlock()
		if r.group.version.Load() != r.is.group {
			return false
		}
		group, shown = &r.group.value, &r.group.value.shown
	}
	c := v.conversation(r, group)
	item := c.Item(shows, v.rules)
	v.encoded = appendItem(v.encoded[:0], &item, shown)
	return true
}

// settled reports whether it is worth to keep the whole list. While everybody talks
// it is another one for whoever asks, and to keep it costs as much as to make it
// several times from its items.
func (v *view) settled() bool {
	in := v.inbox
	if v.fresh {
		in.unchanged = 0
	} else {
		in.unchanged++
	}
	return in.last == nil || in.unchanged >= settledAfter
}

// settledAfter is how often in a row a list is found unchanged before it is kept again.
const settledAfter = 4

// keep keeps the whole list as it is sent. Its items lie in it from then on.
func (v *view) keep(reply []byte, list []*row) {
	in := v.inbox
	p := &page{items: len(list)}
	for _, r := range in.rows {
		if r.group != nil {
			p.dependOn(&r.group.stamp, r.is.group)
		}
	}
	for _, r := range list {
		var sum uint64
		for s := range r.details {
			version := s.version.Load()
			p.dependOn(s, version)
			sum += version
		}
		if sum != r.is.details { // it has changed since
			return
		}
	}
	p.deps = slices.Clone(p.deps) // of exactly this length
	// Where everybody talks pages come and go, and are what makes the collector run.
	p.reply = append(in.last.spare(len(reply)), reply...)
	at := len(listHead)
	for _, r := range list {
		j := &r.is
		in.bytes -= j.size()
		end := at + len(j.json)
		j.json, j.page = p.reply[at:end:end], p
		in.bytes += j.size()
		at = end + len(",")
	}
	for _, r := range in.rows {
		if j := &r.is; j.page != nil && j.page != p { // it must not keep the page before in memory
			j.json, j.page, j.shown = nil, nil, false
		}
	}
	in.bytes += p.size() - in.last.size()
	in.page, in.last = p, p
}
