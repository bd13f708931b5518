package query

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// list answers conversation.list.
func (w *Worker) list(ctx context.Context, q *query, maxBytes int) ([]byte, error) {
	var from *projection.Position
	if q.cursor != nil {
		position, err := q.decodeCursor(*q.cursor)
		if err != nil {
			return nil, err
		}
		from = &position
	}
	selected, rules, err := w.selected(ctx, q)
	if err != nil {
		return nil, err
	}

	most := rules.MaxConversations
	limit := most
	if q.limit != 0 {
		limit = int(q.limit) //nolint:gosec // at most maxPlanList
	}
	if limit > most {
		return nil, badRequest("limit %d: expected an integer from 1 to %d, the app's maxConversations", limit, most)
	}
	rest := projection.Cut(selected, q.filter, rules)
	if from != nil {
		i, found := slices.BinarySearchFunc(rest, *from, func(l projection.Listing, p projection.Position) int {
			return l.Position().Compare(p)
		})
		if found {
			i++
		}
		rest = rest[i:]
	}

	page := rest[:min(limit, len(rest))]
	details, err := w.details(ctx, q, page, rules, w.loads.users)
	if err != nil {
		return nil, err
	}
	reply := newListReply(q, maxBytes)
	for i, l := range page {
		fits, err := reply.add(l.Item(details(l), rules, false), l.Position(), i == len(rest)-1)
		if err != nil {
			return nil, err
		}
		if !fits {
			break
		}
	}
	return reply.bytes(), nil
}

// unread answers conversation.unread.
func (w *Worker) unread(ctx context.Context, q *query, _ int) ([]byte, error) {
	selected, _, err := w.selected(ctx, q)
	if err != nil {
		return nil, err
	}
	var total uint64
	for _, l := range selected {
		if q.includeMuted || !l.Muted() {
			total += l.Unread
		}
	}
	return encodeUnread(total), nil
}

// selected gives the conversations that the request selects, in order and not cut.
func (w *Worker) selected(ctx context.Context, q *query) ([]projection.Listing, projection.Rules, error) {
	// 1 the user's own registers: of the whole inbox, or of the conversations asked for
	var own map[string]*projection.State
	var apps map[string]*projection.App
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		own, err = w.own(gctx, q)
		return err
	})
	fetch(gctx, g, w.loads.apps, []string{q.app}, &apps)
	if err := g.Wait(); err != nil {
		return nil, projection.Rules{}, err
	}
	rules := rulesOf(apps[q.app], q.now)

	// 2 what the members of the groups that the user is in share
	var sharedKeys []projection.Key
	var groupKeys []projection.GroupKey
	for id, state := range own {
		t, name, _ := events.SplitConversationID(id)
		if t == events.TypeGroup && state.Member.Value.Status == events.StatusJoined {
			sharedKeys = append(sharedKeys, projection.Key{App: q.app, ConversationID: id})
			groupKeys = append(groupKeys, projection.GroupKey{App: q.app, GroupID: name})
		}
	}
	var shared map[projection.Key]*projection.State
	var groups map[projection.GroupKey]*projection.GroupProfile
	g, gctx = errgroup.WithContext(ctx)
	fetch(gctx, g, w.loads.states, sharedKeys, &shared)
	fetch(gctx, g, w.loads.groups, groupKeys, &groups)
	if err := g.Wait(); err != nil {
		return nil, projection.Rules{}, err
	}

	// 3 the rules
	conversations := make([]*projection.Conversation, 0, len(own))
	for id, state := range own {
		_, name, _ := events.SplitConversationID(id)
		c, ok := projection.NewConversation(q.userID, id, state,
			shared[projection.Key{App: q.app, ConversationID: id}],
			groups[projection.GroupKey{App: q.app, GroupID: name}])
		if ok {
			conversations = append(conversations, c)
		}
	}
	return projection.Select(conversations, q.filter, rules), rules, nil
}

// own gives the user's own registers by conversation ID.
func (w *Worker) own(ctx context.Context, q *query) (map[string]*projection.State, error) {
	if q.filter.IDs == nil {
		user := projection.UserKey{App: q.app, UserID: q.userID}
		inboxes, err := w.loads.inboxes.get(ctx, []projection.UserKey{user})
		return inboxes[user], err
	}
	keys := make([]projection.Key, 0, len(q.filter.IDs))
	for id := range q.filter.IDs {
		keys = append(keys, projection.Key{App: q.app, Owner: q.userID, ConversationID: id})
	}
	states, err := w.loads.states.get(ctx, keys)
	own := make(map[string]*projection.State, len(states))
	for key, state := range states {
		own[key.ConversationID] = state
	}
	return own, err
}

// details loads what the items of these conversations show beyond their registers.
func (w *Worker) details(
	ctx context.Context, q *query, listings []projection.Listing, rules projection.Rules,
	users *batcher[projection.UserKey, *projection.UserProfile],
) (func(projection.Listing) projection.Details, error) {
	var editKeys []projection.EditKey
	var peerKeys []projection.UserKey
	var mentionKeys []projection.MentionKey
	for _, l := range listings {
		if key, ok := l.HeadEdit(q.app, rules); ok {
			editKeys = append(editKeys, key)
		}
		if l.Type == events.TypeC2C {
			peerKeys = append(peerKeys, projection.UserKey{App: q.app, UserID: l.Name})
		}
		for _, m := range l.Mentions {
			mentionKeys = append(mentionKeys, projection.MentionKey{App: q.app, GroupID: l.Name, Mention: m.Mention})
		}
	}
	var edits map[projection.EditKey]*projection.Edit
	var peers map[projection.UserKey]*projection.UserProfile
	var senders map[projection.MentionKey]string
	g, gctx := errgroup.WithContext(ctx)
	fetch(gctx, g, w.loads.edits, editKeys, &edits)
	fetch(gctx, g, users, peerKeys, &peers)
	fetch(gctx, g, w.loads.senders, mentionKeys, &senders)
	if err := g.Wait(); err != nil {
		return nil, err
	}

	return func(l projection.Listing) projection.Details {
		d := projection.Details{Sender: func(m projection.Mention) string {
			return senders[projection.MentionKey{App: q.app, GroupID: l.Name, Mention: m}]
		}}
		if key, ok := l.HeadEdit(q.app, rules); ok && edits[key] != nil {
			d.Edit = *edits[key]
		}
		if peer := peers[projection.UserKey{App: q.app, UserID: l.Name}]; l.Type == events.TypeC2C && peer != nil {
			d.Peer = *peer
		}
		return d
	}, nil
}

// rulesOf gives an app's rules at a time; nothing may be known of it yet.
func rulesOf(app *projection.App, now events.Micros) projection.Rules {
	if app == nil {
		app = &projection.App{}
	}
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
