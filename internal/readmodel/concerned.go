package readmodel

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Members gives all who were ever members of groups, by their own registers. It reads
// the keys of all registers once: nothing finds the members of one group.
func (s *Store) Members(ctx context.Context, groups []projection.GroupKey, visit func(projection.Key) error) error {
	if len(groups) == 0 {
		return nil
	}
	list := make([]string, len(groups))
	for i, g := range groups {
		list[i] = "(" + quoted(g.App) + ", " + quoted(events.Group(g.GroupID).IDFor("")) + ")"
	}
	return s.keys(ctx, "register = 'member' AND (app, conversation_id) IN ("+strings.Join(list, ", ")+")", visit)
}

// Peers gives the C2C conversations with users, from the other end's point of view.
func (s *Store) Peers(ctx context.Context, users []projection.UserKey, visit func(projection.Key) error) error {
	if len(users) == 0 {
		return nil
	}
	list := make([]string, len(users))
	for i, u := range users {
		list[i] = "(" + quoted(u.App) + ", " + quoted(u.UserID) + ")"
	}
	return s.keys(ctx, "startsWith(conversation_id, 'C2C') AND (app, owner) IN ("+strings.Join(list, ", ")+")", func(k projection.Key) error {
		c := events.ConversationOf{UserID: k.Owner, ConversationID: k.ConversationID}.Conversation()
		peer := c.Peer(k.Owner)
		return visit(projection.Key{App: k.App, Owner: peer, ConversationID: c.IDFor(peer)})
	})
}

// naming has queries name many keys in their texts.
func naming(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": 64 << 20, "max_ast_elements": 1_000_000, "max_expanded_ast_elements": 1_000_000}))
}

// keys gives the keys of registers for which a condition holds.
func (s *Store) keys(ctx context.Context, where string, visit func(projection.Key) error) error {
	err := s.each(naming(ctx), fmt.Sprintf("SELECT DISTINCT app, owner, conversation_id FROM %s.registers WHERE %s", s.db, where), func(scan func(...any) error) error {
		var k projection.Key
		if err := scan(&k.App, &k.Owner, &k.ConversationID); err != nil {
			return err
		}
		return visit(k)
	})
	return classify(ctx, err)
}
