package query

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// profile answers conversation.profile.
func (w *Worker) profile(ctx context.Context, q *query, maxBytes int) ([]byte, error) {
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
	var apps map[string]*projection.App
	g, gctx := errgroup.WithContext(ctx)
	fetch(gctx, g, w.loads.fullStates, stateKeys, &states)
	fetch(gctx, g, w.loads.fullGroups, groupKeys, &groups)
	fetch(gctx, g, w.loads.apps, []string{q.app}, &apps)
	if err := g.Wait(); err != nil {
		return nil, err
	}

	rules := rulesOf(apps[q.app], q.now)
	c, ok := projection.NewConversation(q.userID, q.conversationID, states[ownKey], states[sharedKey], groups[groupKey])
	if !ok || !c.Known(rules) {
		return nil, refusal(codeNotFound, "conversationID %s: expected a conversation known to user %s",
			quote(q.conversationID), quote(q.userID))
	}
	l := projection.Listing{Conversation: c, Mentions: c.Mentions(rules)}
	details, err := w.details(ctx, q, []projection.Listing{l}, rules, w.loads.fullUsers)
	if err != nil {
		return nil, err
	}
	return encodeProfile(c.Profile(details(l), rules), maxBytes)
}
