package main

import (
	"context"
	"fmt"
	"math"
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
	g.Go(func() (err error) { inboxes, err = b.store.Inboxes(gctx, n.users, math.MaxInt); return err })
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
	registersColumns = `app, owner, conversation_id, CAST(register AS Int8), greatest.sequence, greatest.time, greatest.id,
		if(register = 'head', substringIndex(greatest.value, '\0', 10), greatest.value)`
	sequencesColumns = `app, owner, conversation_id, toInt32(day), CAST(kind AS Int8), CAST(sequences AS String)`
	editsColumns     = `app, type, a, b, sequence, CAST(edit AS Int8), greatest.version, greatest.time, greatest.id, greatest.value`
	usersColumns     = `app, user_id, profile.time, profile.id, substringIndex(profile.value, '\0', 2)`
	groupsColumns    = `app, group_id, profile.time, profile.id, substringIndex(profile.value, '\0', 4)`
	messagesColumns  = `app, type, a, b, toInt32(day), sequence, time, id, sender`
)

// readRows has the engine read all rows of n, one table after the other, and
// makes nothing of them.
func (b *bench) readRows(ctx context.Context, n needs) error {
	var owners, shared, peers, groups, edits, mentions tuples
	for _, k := range n.users {
		owners.add(k.UserID)
	}
	for i, k := range n.shared {
		shared.add(k.Owner, k.ConversationID)
		groups.add(n.groups[i].GroupID)
	}
	for _, k := range n.peers {
		peers.add(k.UserID)
	}
	for _, k := range n.edits {
		edits.add(k.Conversation.Type.String(), k.Conversation.A, k.Conversation.B, k.Sequence)
	}
	for _, k := range n.mentions {
		mentions.add("GROUP", k.GroupID, "", k.Day.Time().Format(time.DateOnly), k.Sequence)
	}
	const owner, conversation, conversationTypes = "owner", "owner, conversation_id", "Tuple(String, String)"
	for _, r := range []struct {
		table, columns, key, types string
		keys                       *tuples
	}{
		{"registers", registersColumns, owner, "String", &owners},
		{"sequences", sequencesColumns, owner, "String", &owners},
		{"registers", registersColumns, conversation, conversationTypes, &shared},
		{"sequences", sequencesColumns, conversation, conversationTypes, &shared},
		{"group_profiles", groupsColumns, "group_id", "String", &groups},
		{"user_profiles", usersColumns, "user_id", "String", &peers},
		{"edits", editsColumns, "type, a, b, sequence", "Tuple(String, String, String, UInt64)", &edits},
		{"messages", messagesColumns, "type, a, b, day, sequence", "Tuple(String, String, String, Date32, UInt64)", &mentions},
	} {
		if r.keys.n == 0 {
			continue
		}
		query := fmt.Sprintf("SELECT %s FROM %s.%s WHERE app = '%s' AND (%s) IN {keys:Array(%s)}",
			r.columns, b.store.Database(), r.table, n.users[0].App, r.key, r.types)
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

// tuples are the text of a parameter that is an array of tuples, or of texts.
type tuples struct {
	b strings.Builder
	n int
}

var quote = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func (t *tuples) add(values ...any) {
	if t.n++; t.n > 1 {
		t.b.WriteByte(',')
	}
	texts := make([]string, len(values))
	for i, v := range values {
		if texts[i] = fmt.Sprint(v); v == any(texts[i]) {
			texts[i] = "'" + quote.Replace(texts[i]) + "'"
		}
	}
	if list := strings.Join(texts, ","); len(values) > 1 {
		t.b.WriteString("(" + list + ")")
	} else {
		t.b.WriteString(list)
	}
}

func (t *tuples) text() string { return "[" + t.b.String() + "]" }
