package readmodel

import (
	"strconv"
	"strings"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// keyColumns are the columns of a key, a prefix of the table's primary key, and their types.
type keyColumns struct{ names, types string }

var (
	ownerKey        = keyColumns{"app, owner", "String, String"}
	conversationKey = keyColumns{"app, owner, conversation_id", "String, String, String"}
	mentionedKey    = keyColumns{"app, owner, group_id", "String, String, String"}
	userKey         = keyColumns{"app, user_id", "String, String"}
	groupKey        = keyColumns{"app, group_id", "String, String"}
	editKey         = keyColumns{"app, type, a, b, sequence", "String, String, String, String, UInt64"}
	messageKey      = keyColumns{"app, type, a, b, day, sequence", "String, String, String, String, Date32, UInt64"}
	appKey          = keyColumns{"tuple(app)", "String"}
)

// keyList is the text of an Array(Tuple(…)) parameter.
type keyList struct {
	b     strings.Builder
	inRow bool
}

func (l *keyList) row() {
	if l.b.Len() == 0 {
		l.b.WriteString("[(")
	} else {
		l.b.WriteString("),(")
	}
	l.inRow = false
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

func (l *keyList) String() string {
	if l.b.Len() == 0 {
		return noKeys
	}
	return l.b.String() + ")]"
}

// noKeys is the text of an empty list.
const noKeys = "[]"

// keyText gives the parameter's text for keys, each put into the list by row.
func keyText[K any](keys []K, row func(*keyList, K)) string {
	var l keyList
	for _, k := range keys {
		l.row()
		row(&l, k)
	}
	return l.String()
}

func putOwner(l *keyList, k projection.UserKey) { l.text(k.App); l.text(k.UserID) }

func putGroup(l *keyList, k projection.GroupKey) { l.text(k.App); l.text(k.GroupID) }

func putConversation(l *keyList, k projection.Key) {
	l.text(k.App)
	l.text(k.Owner)
	l.text(k.ConversationID)
}

func putEdit(l *keyList, k projection.EditKey) {
	l.text(k.App)
	l.text(typeName(k.Conversation.Type))
	l.text(k.Conversation.A)
	l.text(k.Conversation.B)
	l.number(k.Sequence)
}

func putMention(l *keyList, k projection.MentionKey) {
	l.text(k.App)
	l.text(typeName(events.TypeGroup))
	l.text(k.GroupID)
	l.text("")
	l.text(k.Day.Time().Format("2006-01-02"))
	l.number(k.Sequence)
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
