package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// needs are the keys of all rows that some lists are made of.
type needs struct {
	users    []projection.UserKey
	shared   []projection.Key // of groups
	groups   []projection.GroupKey
	peers    []projection.UserKey
	edits    []projection.EditKey
	mentions []projection.MentionKey
}

// readLists reads what the lists of some users are made of, by the calls of the
// store that the query worker makes, and shares nothing with other requests.
func (b *bench) readLists(ctx context.Context, app string, users []string) (needs, error) {
	var n needs
	for _, user := range users {
		n.users = append(n.users, projection.UserKey{App: app, UserID: user})
	}
	var inboxes map[projection.UserKey]map[string]*projection.State
	var apps map[string]*projection.App
	var states map[projection.Key]*projection.State
	var groups map[projection.GroupKey]*projection.GroupProfile

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { inboxes, err = b.store.Inboxes(gctx, n.users); return err })
	g.Go(func() (err error) { apps, err = b.store.Apps(gctx, []string{app}); return err })
	if err := g.Wait(); err != nil {
		return n, err
	}
	known := map[string]bool{}
	for _, inbox := range inboxes {
		for id := range inbox {
			if known[id] {
				continue
			}
			known[id] = true
			switch t, name, _ := events.SplitConversationID(id); t {
			case events.TypeGroup:
				n.shared = append(n.shared, projection.Key{App: app, ConversationID: id})
				n.groups = append(n.groups, projection.GroupKey{App: app, GroupID: name})
			case events.TypeC2C:
				n.peers = append(n.peers, projection.UserKey{App: app, UserID: name})
			default:
			}
		}
	}

	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() (err error) { states, err = b.store.States(gctx, n.shared); return err })
	g.Go(func() (err error) { groups, err = b.store.Groups(gctx, n.groups); return err })
	if err := g.Wait(); err != nil {
		return n, err
	}
	rules := projection.NewRules(apps[app].Plan, events.MicrosOf(time.Now()), func(string) bool { return false })
	for user, inbox := range inboxes {
		for id, own := range inbox {
			_, name, _ := events.SplitConversationID(id)
			c, _ := projection.NewConversation(user.UserID, id, own,
				states[projection.Key{App: app, ConversationID: id}], groups[projection.GroupKey{App: app, GroupID: name}])
			if edit, ok := c.HeadEdit(app, rules); ok {
				n.edits = append(n.edits, edit)
			}
			for _, m := range c.Mentions(rules) {
				n.mentions = append(n.mentions, projection.MentionKey{App: app, GroupID: name, Mention: m.Mention})
			}
		}
	}

	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() error { _, err := b.store.Users(gctx, n.peers); return err })
	g.Go(func() error { _, err := b.store.Edits(gctx, n.edits); return err })
	g.Go(func() error { _, err := b.store.Senders(gctx, n.mentions); return err })
	return n, g.Wait()
}

// The columns that the store reads of each table for lists.
const (
	inboxColumns = `app, owner, conversation_id,
		head.sequence, head.time, head.id, head.message_id, head.sender, head.type, head.preview, head.nick, head.avatar,
		head.name_card, head.cloud_custom_data, head.payload_bytes, head.payload,
		last_sequence, edited_sequence, known, read.sequence, read.time, peer_read.sequence, peer_read.time, sent, peer_sent, deleted, cleared,
		pinned.time, pinned.id, pinned.value, remind_type.time, remind_type.id, remind_type.value,
		marks.time, marks.id, marks.value, groups.time, groups.id, groups.value,
		custom_data.time, custom_data.id, custom_data.value, draft.time, draft.id, draft.value, remark.time, remark.id, remark.value,
		member.time, member.id, member.status, member.role, member.name_card, member.join_sequence, member.join_time, member.operator_id`
	sequencesColumns = `app, owner, conversation_id, toInt32(day), CAST(kind AS Int8), CAST(sequences AS String)`
	mentionsColumns  = `app, owner, group_id, toInt32(day), sequence`
	editsColumns     = `app, type, a, b, sequence, recall.time, recall.id, recall.revoker, recall.reason,
		modification.number, modification.time, modification.id, modification.payload,
		modification.has_message_for_show, modification.message_for_show, modification.payload_text,
		modification.has_cloud_custom_data, modification.cloud_custom_data`
	usersColumns    = `app, user_id, profile.time, profile.id, profile.nick, profile.avatar`
	groupsColumns   = `app, group_id, profile.time, profile.id, profile.name, profile.avatar, profile.type, profile.dismissed`
	messagesColumns = `app, type, a, b, toInt32(day), sequence, time, id, sender`
)

// readRows has the engine read all rows of n, one table after the other, and
// makes nothing of them.
func (b *bench) readRows(ctx context.Context, n needs) error {
	var owners, shared, sharedMentions, peers, groups, edits, mentions tuples
	for _, k := range n.users {
		owners.add(k.App, k.UserID)
	}
	for i, k := range n.shared {
		shared.add(k.App, k.Owner, k.ConversationID)
		sharedMentions.add(k.App, k.Owner, n.groups[i].GroupID)
		groups.add(k.App, n.groups[i].GroupID)
	}
	for _, k := range n.peers {
		peers.add(k.App, k.UserID)
	}
	for _, k := range n.edits {
		edits.add(k.App, k.Conversation.Type.String(), k.Conversation.A, k.Conversation.B, k.Sequence)
	}
	for _, k := range n.mentions {
		mentions.add(k.App, "GROUP", k.GroupID, "", k.Day.Time().Format(time.DateOnly), k.Sequence)
	}
	const owner, conversation = "app, owner", "app, owner, conversation_id"
	for _, r := range []struct {
		table, columns, key, types string
		keys                       *tuples
	}{
		{"inbox", inboxColumns, owner, "String, String", &owners},
		{"sequences", sequencesColumns, owner, "String, String", &owners},
		{"mentions", mentionsColumns, owner, "String, String", &owners},
		{"inbox", inboxColumns, conversation, "String, String, String", &shared},
		{"sequences", sequencesColumns, conversation, "String, String, String", &shared},
		{"mentions", mentionsColumns, "app, owner, group_id", "String, String, String", &sharedMentions},
		{"group_profiles", groupsColumns, "app, group_id", "String, String", &groups},
		{"user_profiles", usersColumns, "app, user_id", "String, String", &peers},
		{"edits", editsColumns, "app, type, a, b, sequence", "String, String, String, String, UInt64", &edits},
		{"messages", messagesColumns, "app, type, a, b, day, sequence", "String, String, String, String, Date32, UInt64", &mentions},
	} {
		if r.keys.n == 0 {
			continue
		}
		query := fmt.Sprintf("SELECT %s FROM %s.%s WHERE (%s) IN {keys:Array(Tuple(%s))}", r.columns, b.store.Database(), r.table, r.key, r.types)
		if err := b.drain(ctx, query, r.keys.text()); err != nil {
			return fmt.Errorf("read %s: %w", r.table, err)
		}
	}
	return nil
}

// drain reads all rows of a query, with the settings that the store has.
func (b *bench) drain(ctx context.Context, query, keys string) error {
	rows, err := b.engine.Query(clickhouse.Context(ctx,
		clickhouse.WithParameters(clickhouse.Parameters{"keys": keys}),
		clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1})), query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
	}
	return rows.Err()
}

// tuples are the text of a parameter of type Array(Tuple(…)).
type tuples struct {
	b strings.Builder
	n int
}

var quote = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func (t *tuples) add(values ...any) {
	if t.n++; t.n > 1 {
		t.b.WriteByte(',')
	}
	t.b.WriteByte('(')
	for i, v := range values {
		if i > 0 {
			t.b.WriteByte(',')
		}
		if s, ok := v.(string); ok {
			v = "'" + quote.Replace(s) + "'"
		}
		_, _ = fmt.Fprint(&t.b, v)
	}
	t.b.WriteByte(')')
}

func (t *tuples) text() string { return "[" + t.b.String() + "]" }
