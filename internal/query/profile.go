package query

import (
	"bytes"
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// profiled is what the reply of a profile is made of.
type profiled struct {
	conversation projection.Conversation
	details      projection.Details
	rules        projection.Rules
}

// profile answers conversation.profile.
func (w *Worker) profile(q *query, maxBytes int, _ *bytes.Buffer) ([]byte, *missing, error) {
	if p := q.profiled; p != nil {
		item := p.conversation.Profile(p.details, p.rules)
		reply, err := encodeProfile(&item, maxBytes)
		return reply, nil, err
	}
	return nil, &missing{alone: func(ctx context.Context) (err error) {
		q.profiled, err = q.loadProfile(ctx)
		return err
	}}, nil
}

func (q *query) loadProfile(ctx context.Context) (*profiled, error) {
	t, name, _ := events.SplitConversationID(q.conversationID)
	ownKey := projection.Key{App: q.app, Owner: q.userID, ConversationID: q.conversationID}
	sharedKey := projection.Key{App: q.app, ConversationID: q.conversationID}
	groupKey := projection.GroupKey{App: q.app, GroupID: name}

	stateKeys, groupKeys := []projection.Key{ownKey}, []projection.GroupKey(nil)
	if t == events.TypeGroup {
		stateKeys, groupKeys = append(stateKeys, sharedKey), append(groupKeys, groupKey)
	}
	var states map[projection.Key]*projection.State
	var groups map[projection.GroupKey]*projection.GroupProfile
	var app projection.App
	g, gctx := errgroup.WithContext(ctx)
	fetch(gctx, g, q.cache.loads.fullStates, stateKeys, &states)
	fetch(gctx, g, q.cache.loads.fullGroups, groupKeys, &groups)
	g.Go(func() (err error) {
		app, err = q.cache.appFor(gctx, q)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}

	rules := app.Rules(q.now)
	c, ok := projection.NewConversation(q.userID, q.conversationID, states[ownKey], states[sharedKey], groups[groupKey])
	if !ok || !c.Known(rules) {
		return nil, refusal(codeNotFound, "conversationID %s: expected a conversation known to user %s",
			quote(q.conversationID), quote(q.userID))
	}
	d, err := q.profileDetails(ctx, &c, rules)
	if err != nil {
		return nil, err
	}
	return &profiled{c, d, rules}, nil
}

// appFor gives what concerns all conversations of a query's app. It is from memory while lists
// are: an app may have erased more users than are to be loaded for each profile.
func (c *cache) appFor(ctx context.Context, q *query) (projection.App, error) {
	if _, held := c.apps.find(q.app); !held { // to put it there would have all memory looked through for whom it has erased
		found, err := c.loads.apps.get(ctx, []string{q.app})
		if err != nil || found[q.app] == nil {
			return projection.App{}, err
		}
		return *found[q.app], nil
	}
	e := c.apps.hold(q.app)
	defer c.apps.drop(q.app)
	if err := c.apps.refresh(ctx, c.demand(q.begin), []string{q.app}, []*entry[projection.App]{e}); err != nil {
		return projection.App{}, err
	}
	app, _ := e.read()
	return app, nil
}

// profileDetails loads what the profile shows beyond the registers.
func (q *query) profileDetails(ctx context.Context, c *projection.Conversation, rules projection.Rules) (projection.Details, error) {
	needs := c.Needs(q.app, rules)
	var edits map[projection.EditKey]*projection.Edit
	var peers map[projection.UserKey]*projection.UserProfile
	var senders map[projection.MentionKey]projection.Register[string]
	g, gctx := errgroup.WithContext(ctx)
	fetch(gctx, g, q.cache.loads.edits, needs.Edits, &edits)
	fetch(gctx, g, q.cache.loads.fullUsers, needs.Peers, &peers)
	fetch(gctx, g, q.cache.loads.senders, needs.Mentions, &senders)
	if err := g.Wait(); err != nil {
		return projection.Details{}, err
	}
	d := projection.Details{Sender: func(m projection.Mention) string {
		return senders[projection.MentionKey{App: q.app, GroupID: c.Name, Mention: m}].Value
	}}
	for _, edit := range edits {
		d.Edit = *edit
	}
	for _, peer := range peers {
		d.Peer = *peer
	}
	return d, nil
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
