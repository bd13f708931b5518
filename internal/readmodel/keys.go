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
}

var (
	appKey   = key[string]{app: func(app string) string { return app }}
	ownerKey = key[projection.UserKey]{
		"owner", "String",
		func(k projection.UserKey) string { return k.App },
		func(l *keyList, k projection.UserKey) { l.text(k.UserID) },
	}
	userKey         = key[projection.UserKey]{"user_id", "String", ownerKey.app, ownerKey.put}
	conversationKey = key[projection.Key]{
		"owner, conversation_id", "String, String",
		func(k projection.Key) string { return k.App },
		func(l *keyList, k projection.Key) { l.text(k.Owner); l.text(k.ConversationID) },
	}
	groupKey = key[projection.GroupKey]{
		"group_id", "String",
		func(k projection.GroupKey) string { return k.App },
		func(l *keyList, k projection.GroupKey) { l.text(k.GroupID) },
	}
	editKey = key[projection.EditKey]{
		"type, a, b, sequence", "String, String, String, UInt64",
		func(k projection.EditKey) string { return k.App },
		func(l *keyList, k projection.EditKey) {
			l.text(typeName(k.Conversation.Type))
			l.text(k.Conversation.A)
			l.text(k.Conversation.B)
			l.number(k.Sequence)
		},
	}
	mentionKey = key[projection.MentionKey]{
		"type, a, b, day, sequence", "String, String, String, Date32, UInt64",
		func(k projection.MentionKey) string { return k.App },
		func(l *keyList, k projection.MentionKey) {
			l.text(typeName(events.TypeGroup))
			l.text(k.GroupID)
			l.text("")
			l.text(k.Day.Time().Format("2006-01-02"))
			l.number(k.Sequence)
		},
	}
)

// where is the condition that a row has one of keys, and its parameters. Those
// of one app, as most are, are found sooner by what they have besides it.
func (c *key[K]) where(keys []K) (condition string, parameters clickhouse.Parameters) {
	app := c.app(keys[0])
	if c.put != nil && !slices.ContainsFunc(keys, func(k K) bool { return c.app(k) != app }) {
		l := keyList{tuples: strings.Contains(c.names, ",")}
		for _, k := range keys {
			l.row()
			c.put(&l, k)
		}
		return "app = {app:String} AND " + l.condition(c.names, c.types), clickhouse.Parameters{"app": app, "keys": l.String()}
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
