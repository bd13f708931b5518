package events

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Micros is a time in microseconds since 1970-01-01T00:00:00Z; 0 is absent.
type Micros int64

// MicrosOf truncates t to the microsecond.
func MicrosOf(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time is m as a time in UTC.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// Seconds is m in seconds since 1970, rounded down.
func (m Micros) Seconds() int64 { return floorDiv(int64(m), 1_000_000) }

// Day is the UTC day of m.
func (m Micros) Day() Day { return Day(floorDiv(int64(m), 86_400_000_000)) }

// Day is a UTC day, counted from 1970-01-01.
type Day int32

// Time is the beginning of d, in UTC.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86_400, 0).UTC() }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// ConversationType tells the three kinds of conversations apart.
type ConversationType uint8

// The kinds of conversations. The zero value is none of them.
const (
	TypeC2C ConversationType = iota + 1
	TypeGroup
	TypeSystem
)

// SystemConversationID is the ID of every user's SYSTEM conversation.
const SystemConversationID = "@TIM#SYSTEM"

const (
	prefixC2C   = "C2C"
	prefixGroup = "GROUP"
)

// String is the type as the API names it: "C2C", "GROUP" or "@TIM#SYSTEM".
func (t ConversationType) String() string {
	switch t {
	case TypeC2C:
		return prefixC2C
	case TypeGroup:
		return prefixGroup
	case TypeSystem:
		return SystemConversationID
	default:
		return ""
	}
}

// Conversation names a conversation from nobody's point of view. It is comparable.
type Conversation struct {
	Type ConversationType
	// A is the lesser user (C2C, bytewise), the group (GROUP) or the user (SYSTEM).
	A string
	// B is the greater user of a C2C conversation, else empty.
	B string
}

// C2C is the conversation of two users, in either order; they may be the same.
func C2C(a, b string) Conversation {
	if a > b {
		a, b = b, a
	}
	return Conversation{Type: TypeC2C, A: a, B: b}
}

// Group is the conversation of a group.
func Group(groupID string) Conversation { return Conversation{Type: TypeGroup, A: groupID} }

// System is the SYSTEM conversation of a user.
func System(userID string) Conversation { return Conversation{Type: TypeSystem, A: userID} }

// IDFor is the conversation's ID from the point of view of userID.
func (c Conversation) IDFor(userID string) string {
	switch c.Type {
	case TypeC2C:
		return prefixC2C + c.Peer(userID)
	case TypeGroup:
		return prefixGroup + c.A
	default:
		return SystemConversationID
	}
}

// Peer is the other end of a C2C conversation: userID itself in the conversation with oneself.
func (c Conversation) Peer(userID string) string {
	if c.A == userID {
		return c.B
	}
	return c.A
}

// SplitConversationID gives the type of a conversation ID and the ID of the
// peer or the group in it ("" for SYSTEM). It reports false for anything that
// is not a conversation ID.
func SplitConversationID(id string) (t ConversationType, name string, ok bool) {
	switch {
	case id == SystemConversationID:
		return TypeSystem, "", true
	case strings.HasPrefix(id, prefixC2C) && ValidID(id[len(prefixC2C):]):
		return TypeC2C, id[len(prefixC2C):], true
	case strings.HasPrefix(id, prefixGroup) && ValidID(id[len(prefixGroup):]):
		return TypeGroup, id[len(prefixGroup):], true
	default:
		return 0, "", false
	}
}

// Conversation is the conversation that the owner calls ConversationID.
// The ID must be valid, as it is in every event that Decode returned.
func (c ConversationOf) Conversation() Conversation {
	t, name, _ := SplitConversationID(c.ConversationID)
	switch t {
	case TypeC2C:
		return C2C(c.UserID, name)
	case TypeGroup:
		return Group(name)
	default:
		return System(c.UserID)
	}
}

// MaxIDBytes is the greatest length of an event's, a user's and a group's ID.
const MaxIDBytes = 128

// ValidID reports whether s can name a user or a group: 1 to MaxIDBytes bytes
// of valid UTF-8 without control characters (Unicode Cc).
func ValidID(s string) bool {
	if s == "" || len(s) > MaxIDBytes || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || (r >= 0x7f && r < 0xa0) {
			return false
		}
	}
	return true
}

// ValidApp reports whether s can name an app: [A-Za-z0-9_-]{1,64}.
func ValidApp(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
