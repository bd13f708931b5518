package query

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// list answers conversation.list.
func (w *Worker) list(ctx context.Context, q *query, maxBytes int, to *bytes.Buffer) error {
	var from *projection.Position
	if q.cursor != nil {
		position, err := q.decodeCursor(*q.cursor)
		if err != nil {
			return err
		}
		from = &position
	}
	for range viewAttempts {
		v, err := w.view(ctx, q)
		if err != nil {
			return err
		}
		limit, err := v.limit()
		if err != nil {
			return err
		}
		list := v.selected[:q.filter.Cut(len(v.selected), v.rules)]
		c := changes{list: list}
		syncs := q.sync || q.since != nil
		whole := true
		if syncs { // it takes the items of all
			if whole, err = w.show(ctx, v, list); err == nil && whole {
				c = q.changes(v, list)
			}
		}
		rest := c.list[after(c.list, from):]
		page := rest[:min(limit, len(rest))]
		if !syncs {
			whole, err = w.show(ctx, v, page)
		}
		switch {
		case err != nil:
			return err
		case whole: // else a group has changed meanwhile
			return replyWith(to, q, page, len(page) < len(rest), c, maxBytes)
		}
	}
	return fmt.Errorf("the list of user %s changed %d times while it was read", quote(q.userID), viewAttempts)
}

// after is where a list goes on after a position; nil is before its beginning.
func after(list []selected, from *projection.Position) int {
	if from == nil {
		return 0
	}
	i, found := slices.BinarySearchFunc(list, *from, func(s selected, p projection.Position) int {
		return s.judged.listing.Position.Compare(p)
	})
	if found {
		i++
	}
	return i
}

// replyWith writes the reply of a page; more says that there is more after it.
func replyWith(to *bytes.Buffer, q *query, page []selected, more bool, c changes, maxBytes int) error {
	reply := newListReply(to, q, c, maxBytes)
	for i, s := range page {
		fits, err := reply.add(s.shown.json, s.judged.listing.Position, i == len(page)-1 && !more)
		if err != nil {
			return err
		}
		if !fits {
			break
		}
	}
	reply.end()
	return nil
}

// viewAttempts is how often a list is read again because it changes meanwhile.
const viewAttempts = 100

// unread answers conversation.unread.
func (w *Worker) unread(ctx context.Context, q *query, _ int, to *bytes.Buffer) error {
	v, err := w.view(ctx, q)
	if err != nil {
		return err
	}
	var total uint64
	for _, s := range v.selected {
		if l := s.judged.listing; q.includeMuted || !l.Muted {
			total += l.Unread
		}
	}
	to.Write(encodeUnread(total))
	return nil
}

// view is a user's list at one moment: the conversations that the request
// selects, in order and not cut.
type view struct {
	query    *query
	inbox    *entry[inbox]
	groups   map[string]*entry[groupValue] // by conversation ID
	rules    projection.Rules
	selected []selected
}

// selected is a row as it was when the view was taken.
type selected struct {
	row    *row
	own    []byte
	joined bool
	judged *judgement
	shown  *shown
}

// view takes the user's list as it is.
func (w *Worker) view(ctx context.Context, q *query) (*view, error) {
	v := &view{query: q}
	user := projection.UserKey{App: q.app, UserID: q.userID}
	apps, hasApp := w.cache.apps.held(q.begin, q.app)
	inboxes, hasInbox := w.cache.inboxes.held(q.begin, user)
	if !hasApp || !hasInbox {
		g, gctx := errgroup.WithContext(ctx)
		g.Go(func() (err error) { apps, err = w.cache.apps.get(gctx, q.begin, q.app); return err })
		g.Go(func() (err error) { inboxes, err = w.cache.inboxes.get(gctx, q.begin, user); return err })
		if err := g.Wait(); err != nil {
			return nil, err
		}
	}
	v.inbox = inboxes[0]
	app, appVersion := apps[0].read()
	v.rules = rulesOf(app, q.now)
	v.inbox.mu.Lock()
	missing := v.inbox.value.groupIDs()
	v.inbox.mu.Unlock()
	for {
		if err := w.groupsOf(ctx, v, missing); err != nil {
			return nil, err
		}
		if missing = v.take(basis{app: appVersion, day: v.rules.FirstDay()}); len(missing) == 0 {
			return v, nil
		}
	}
}

// groupsOf gets what the members of groups share.
func (w *Worker) groupsOf(ctx context.Context, v *view, ids []string) error {
	keys := make([]projection.GroupKey, len(ids))
	for i, id := range ids {
		_, name, _ := events.SplitConversationID(id)
		keys[i] = projection.GroupKey{App: v.query.app, GroupID: name}
	}
	entries, err := w.cache.groups.get(ctx, v.query.begin, keys...)
	if err != nil {
		return err
	}
	if v.groups == nil {
		v.groups = make(map[string]*entry[groupValue], len(ids))
	}
	for i, id := range ids {
		v.groups[id] = entries[i]
	}
	return nil
}

// take judges what has to be judged anew and takes what the filter lets
// through; or gives the groups that are missing for that.
func (v *view) take(b basis) (missing []string) {
	v.inbox.mu.Lock()
	defer v.inbox.mu.Unlock()
	in := &v.inbox.value
	for _, r := range in.rows {
		if !r.joined {
			v.judge(in, r, nil, b)
			continue
		}
		g := v.groups[r.id]
		if g == nil { // joined a moment ago
			missing = append(missing, r.id)
			continue
		}
		g.mu.Lock()
		b := b
		b.group = g.version
		v.judge(in, r, &g.value, b)
		g.mu.Unlock()
	}
	if len(missing) > 0 {
		return missing
	}
	sorted := in.sorted()
	v.selected = make([]selected, 0, len(sorted))
	for _, r := range sorted {
		if v.query.filter.Wants(r.judged.listing) {
			v.selected = append(v.selected, selected{r, r.own, r.joined, r.judged, r.judged.shown})
		}
	}
	return nil
}

func (v *view) judge(in *inbox, r *row, g *groupValue, b basis) {
	if r.judged == nil || r.judged.basis != b {
		in.judge(r, v.conversation(r.id, r.state(), g), v.query.app, v.rules, b)
	}
}

// conversation is what the user sees; g is nil outside groups, and for groups that the user is not in.
func (v *view) conversation(id string, own *projection.State, g *groupValue) *projection.Conversation {
	var shared *projection.State
	var profile *projection.GroupProfile
	if g != nil {
		shared, profile = &g.state, &g.profile
	}
	c, _ := projection.NewConversation(v.query.userID, id, own, shared, profile) // rows have conversation IDs
	return c
}

// limit is the greatest length of a page.
func (v *view) limit() (int, error) {
	most := v.rules.MaxConversations
	switch limit := v.query.limit; {
	case limit == 0:
		return most, nil
	case limit > uint64(most): //nolint:gosec // at least 1
		return 0, badRequest("limit %d: expected an integer from 1 to %d, the app's maxConversations", limit, most)
	default:
		return int(limit), nil //nolint:gosec // at most maxPlanList
	}
}

// show makes the items of rows that have none, or none of these details. It
// reports false when a group is no more as it was when the view was taken.
func (w *Worker) show(ctx context.Context, v *view, list []selected) (whole bool, err error) {
	details, err := w.details(ctx, v.query, list)
	if err != nil {
		return false, err
	}
	for i := range list {
		s := &list[i]
		of := details.next(s.judged)
		if s.shown != nil && s.shown.details == of.version() {
			continue
		}
		d, version := of.read(s.judged.listing.Mentions)
		item, whole := v.item(s, d)
		if !whole {
			return false, nil
		}
		var b bytes.Buffer
		if err := encode(&b, item); err != nil {
			return false, fmt.Errorf("encode an item: %w", err)
		}
		s.shown = &shown{json: slices.Clip(b.Bytes()), hash: hashOf(b.Bytes()), details: version}
		v.inbox.mu.Lock()
		v.inbox.value.show(s.row, s.judged, s.shown)
		v.inbox.mu.Unlock()
	}
	return true, nil
}

// item makes the item of a row, unless its group has changed since the view was taken.
func (v *view) item(s *selected, d projection.Details) (item projection.Item, whole bool) {
	state := (&row{own: s.own}).state()
	if !s.joined {
		return v.conversation(s.row.id, state, nil).Item(d, v.rules), true
	}
	g := v.groups[s.row.id]
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.version != s.judged.basis.group {
		return projection.Item{}, false
	}
	return v.conversation(s.row.id, state, &g.value).Item(d, v.rules), true
}

// details are where what items show beyond registers is in memory, row by row.
type details struct {
	people  []*entry[projection.UserProfile]
	edits   []*entry[projection.Edit]
	senders []*entry[projection.Register[string]]
}

// details gets them for rows.
func (w *Worker) details(ctx context.Context, q *query, list []selected) (d details, err error) {
	peers := make([]projection.UserKey, 0, len(list))
	var edits []projection.EditKey
	var mentions []projection.MentionKey
	for i := range list {
		s := &list[i]
		_, name, _ := events.SplitConversationID(s.row.id)
		if s.judged.listing.Type == events.TypeC2C {
			peers = append(peers, projection.UserKey{App: q.app, UserID: name})
		}
		if s.judged.edit != nil {
			edits = append(edits, *s.judged.edit)
		}
		for _, m := range s.judged.listing.Mentions {
			mentions = append(mentions, projection.MentionKey{App: q.app, GroupID: name, Mention: m.Mention})
		}
	}
	var hasPeople, hasEdits, hasSenders bool
	d.people, hasPeople = w.cache.people.held(q.begin, peers...)
	d.edits, hasEdits = w.cache.edits.held(q.begin, edits...)
	d.senders, hasSenders = w.cache.senders.held(q.begin, mentions...)
	if hasPeople && hasEdits && hasSenders {
		return d, nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { d.people, err = w.cache.people.get(ctx, q.begin, peers...); return err })
	g.Go(func() (err error) { d.edits, err = w.cache.edits.get(ctx, q.begin, edits...); return err })
	g.Go(func() (err error) { d.senders, err = w.cache.senders.get(ctx, q.begin, mentions...); return err })
	return d, g.Wait()
}

// next takes off those of the next row.
func (d *details) next(j *judgement) (of details) {
	take := 0
	if j.listing.Type == events.TypeC2C {
		take = 1
	}
	of.people, d.people = d.people[:take], d.people[take:]
	take = 0
	if j.edit != nil {
		take = 1
	}
	of.edits, d.edits = d.edits[:take], d.edits[take:]
	take = len(j.listing.Mentions)
	of.senders, d.senders = d.senders[:take], d.senders[take:]
	return of
}

// read gives the details of one row, and the version of all of it.
func (d *details) read(mentions []projection.MentionOf) (projection.Details, uint64) {
	var all projection.Details
	var sum, version uint64
	for _, e := range d.people {
		all.Peer, version = e.read()
		sum += version
	}
	for _, e := range d.edits {
		all.Edit, version = e.read()
		sum += version
	}
	from := make(map[projection.Mention]string, len(mentions))
	for i, e := range d.senders {
		var sender projection.Register[string]
		sender, version = e.read()
		from[mentions[i].Mention] = sender.Value
		sum += version
	}
	all.Sender = func(m projection.Mention) string { return from[m] }
	return all, sum
}

// version is that of all details of one row. Versions only grow, and so does
// their sum when any of them does.
func (d *details) version() (sum uint64) {
	for _, e := range d.people {
		sum += e.currently()
	}
	for _, e := range d.edits {
		sum += e.currently()
	}
	for _, e := range d.senders {
		sum += e.currently()
	}
	return sum
}

// rulesOf gives an app's rules at a time.
func rulesOf(app projection.App, now events.Micros) projection.Rules {
	return projection.NewRules(app.Plan, now, func(userID string) bool {
		_, erased := app.Erased[userID]
		return erased
	})
}

// fetch has g load keys into to.
func fetch[K comparable, V any](ctx context.Context, g *errgroup.Group, from *batcher[K, V], keys []K, to *map[K]V) {
	if len(keys) == 0 {
		return
	}
	g.Go(func() (err error) {
		*to, err = from.get(ctx, keys)
		return err
	})
}
