package readmodel

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// key says by which columns the rows of a table are found: a prefix of its primary key.
type key[K any] struct {
	names, types string // of the columns after app
	app          func(K) string
	put          func(*keyList, K) // all but the app
	text         func(K) string    // of the one column after app, if there is but one

	// In a cluster a row's shard is that of its app and of one column, in the table whose
	// name ends in face; "": whose name does not end in anything.
	face string
	// place is that column, and at its value, where names has more than one.
	place string
	at    func(K) string
}

var (
	appKey   = key[string]{app: func(app string) string { return app }}
	ownerKey = key[projection.UserKey]{
		names: "owner", types: "String", face: byOwner,
		app:  func(k projection.UserKey) string { return k.App },
		put:  func(l *keyList, k projection.UserKey) { l.text(k.UserID) },
		text: func(k projection.UserKey) string { return k.UserID },
	}
	userKey         = key[projection.UserKey]{names: "user_id", types: "String", app: ownerKey.app, put: ownerKey.put}
	conversationKey = key[projection.Key]{
		names: "owner, conversation_id", types: "String, String",
		app: func(k projection.Key) string { return k.App },
		put: func(l *keyList, k projection.Key) { l.text(k.Owner); l.text(k.ConversationID) },
	}
	// In a cluster there are two kinds of conversation keys, those of users and the others.
	ownedKey  = conversationKey.placed(byOwner, "owner", func(k projection.Key) string { return k.Owner })
	sharedKey = conversationKey.placed(shared, "conversation_id", func(k projection.Key) string { return k.ConversationID })
	groupKey  = key[projection.GroupKey]{
		names: "group_id", types: "String",
		app: func(k projection.GroupKey) string { return k.App },
		put: func(l *keyList, k projection.GroupKey) { l.text(k.GroupID) },
	}
	editKey = key[projection.EditKey]{
		names: "type, a, b, sequence", types: "String, String, String, UInt64",
		app: func(k projection.EditKey) string { return k.App },
		put: func(l *keyList, k projection.EditKey) {
			l.text(typeName(k.Conversation.Type))
			l.text(k.Conversation.A)
			l.text(k.Conversation.B)
			l.number(k.Sequence)
		},
		place: "a", at: func(k projection.EditKey) string { return k.Conversation.A },
	}
	mentionKey = key[projection.MentionKey]{
		names: "type, a, b, day, sequence", types: "String, String, String, Date32, UInt64",
		app: func(k projection.MentionKey) string { return k.App },
		put: func(l *keyList, k projection.MentionKey) {
			l.text(typeName(events.TypeGroup))
			l.text(k.GroupID)
			l.text("")
			l.text(k.Day.Time().Format("2006-01-02"))
			l.number(k.Sequence)
		},
		place: "a", at: func(k projection.MentionKey) string { return k.GroupID },
	}
)

// placed is the key with what says on which shard its rows are.
func (c key[K]) placed(face, place string, at func(K) string) key[K] {
	c.face, c.place, c.at = face, place, at
	return c
}

// known are the columns of which the rows of all keys have one value: mostly they are of one app.
func (c *key[K]) known(keys []K) known {
	app := c.app(keys[0])
	if slices.ContainsFunc(keys, func(k K) bool { return c.app(k) != app }) {
		return nil
	}
	are := known{"app": app}
	if len(keys) == 1 && c.text != nil {
		are[c.names] = c.text(keys[0])
	}
	return are
}

// where is the condition that a row has one of keys, and its parameters. Those
// of one app, as most are, are found sooner by what they have besides it. In a cluster
// the engine finds their shards by columns alone, not by tuples.
func (c *key[K]) where(keys []K, inCluster bool) (condition string, parameters clickhouse.Parameters) {
	app := c.app(keys[0])
	if c.put != nil && !slices.ContainsFunc(keys, func(k K) bool { return c.app(k) != app }) {
		l := keyList{tuples: strings.Contains(c.names, ",")}
		for _, k := range keys {
			l.row()
			c.put(&l, k)
		}
		condition, parameters = "app = {app:String} AND "+l.condition(c.names, c.types), clickhouse.Parameters{"app": app, "keys": l.String()}
		if inCluster && c.at != nil {
			var places keyList
			for _, k := range keys {
				places.row()
				places.text(c.at(k))
			}
			condition += " AND " + c.place + " IN {places:Array(String)}"
			parameters["places"] = places.String()
		}
		return condition, parameters
	}
	names, types := "app", "String"
	if c.put != nil {
		names, types = "app, "+c.names, "String, "+c.types
	}
	l := keyList{tuples: c.put != nil}
	for _, k := range keys {
		l.row()
		l.text(c.app(k))
		if c.put != nil {
			c.put(&l, k)
		}
	}
	return l.condition(names, types), clickhouse.Parameters{"keys": l.String()}
}

// keyList is the text of a parameter that is an array of tuples, or of single values.
type keyList struct {
	b      strings.Builder
	tuples bool
	inRow  bool
}

func (l *keyList) condition(names, types string) string {
	if l.tuples {
		types = "Tuple(" + types + ")"
	}
	return "(" + names + ") IN {keys:Array(" + types + ")}"
}

func (l *keyList) row() {
	if l.b.Len() == 0 {
		l.b.WriteByte('[')
	} else {
		l.end()
		l.b.WriteByte(',')
	}
	if l.tuples {
		l.b.WriteByte('(')
	}
	l.inRow = false
}

func (l *keyList) end() {
	if l.tuples {
		l.b.WriteByte(')')
	}
}

func (l *keyList) comma() {
	if l.inRow {
		l.b.WriteByte(',')
	}
	l.inRow = true
}

// text adds a string to the row, in ClickHouse's quoting.
func (l *keyList) text(s string) {
	l.comma()
	l.b.WriteByte('\'')
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			l.b.WriteByte('\\')
		}
		l.b.WriteByte(s[i])
	}
	l.b.WriteByte('\'')
}

// number adds an unsigned number to the row.
func (l *keyList) number(n uint64) {
	l.comma()
	l.b.WriteString(strconv.FormatUint(n, 10))
}

// String ends the list, which has a row.
func (l *keyList) String() string {
	l.end()
	return l.b.String() + "]"
}

// typeName is a conversation's type as the tables name it.
func typeName(t events.ConversationType) string {
	if t == events.TypeSystem {
		return "SYSTEM"
	}
	return t.String()
}

func typeOf(name string) events.ConversationType {
	switch name {
	case "C2C":
		return events.TypeC2C
	case "GROUP":
		return events.TypeGroup
	default:
		return events.TypeSystem
	}
}
