package events

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The topics by their default names.
const (
	TopicMessages = "chat.messages"
	TopicState    = "chat.state"
	TopicDead     = "chat.dead"
)

// Topic is where events with this body are written: TopicMessages or TopicState.
func Topic(body Body) string {
	switch body.(type) {
	case *MessageSent, *MessageRecalled, *MessageModified:
		return TopicMessages
	default:
		return TopicState
	}
}

// Key is the event's Kafka key: a JSON array without spaces. On chat.messages
// it names the conversation, on chat.state the register.
func Key(e Event) string {
	dst := append(make([]byte, 0, 128), '[')
	dst = appendQuoted(dst, e.App)
	for _, part := range keyParts(e.Body) {
		dst = append(dst, ',')
		dst = appendQuoted(dst, part)
	}
	return string(append(dst, ']'))
}

// keyParts are the parts of the key after the app.
func keyParts(body Body) []string {
	switch b := body.(type) {
	case nil:
		return nil
	case *MessageSent:
		return conversationKey(b.Conversation)
	case *MessageRecalled:
		return conversationKey(b.Conversation)
	case *MessageModified:
		return conversationKey(b.Conversation)
	case *GroupMemberChanged:
		return []string{b.Kind(), b.GroupID, b.UserID}
	case *GroupProfileChanged:
		return []string{b.Kind(), b.GroupID}
	case *UserProfileChanged:
		return []string{b.Kind(), b.UserID}
	case *FriendRemarkSet:
		return []string{b.Kind(), b.UserID, b.FriendID}
	case *UserErased:
		return []string{b.Kind(), b.UserID}
	case interface {
		Body
		of() ConversationOf
	}:
		return []string{b.Kind(), b.of().UserID, b.of().ConversationID}
	default:
		return []string{b.Kind()}
	}
}

func (c ConversationOf) of() ConversationOf { return c }

func conversationKey(c Conversation) []string {
	if c.Type == TypeC2C {
		return []string{c.Type.String(), c.A, c.B}
	}
	return []string{c.Type.String(), c.A}
}

// KeyWithID is a key with an event's ID at its end: a JSON array has it as its last
// element, and any other key has it behind a zero byte. No other event's record has such
// a key, so compaction prefers neither this one to a newer one of its register nor a
// newer one to it.
func KeyWithID(key []byte, id string) []byte {
	if len(key) == 0 {
		key = []byte("[]")
	}
	array := bytes.TrimSpace(key)
	if !bytes.HasPrefix(array, []byte("[")) || !jsontext.Value(array).IsValid() {
		return append(append(key[:len(key):len(key)], 0), id...)
	}
	elements := bytes.TrimSpace(array[1 : len(array)-1])
	longer := append([]byte("["), elements...)
	if len(elements) > 0 {
		longer = append(longer, ',')
	}
	return append(appendQuoted(longer, id), ']')
}
