package main

import (
	"regexp"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
)

// What help and "up" propose to ask is there once chatload generate was run as
// they propose it, and as the README does: users, and of them conversations.
func TestUp_ExamplesAreOfTheGeneratedChat(t *testing.T) {
	chat := generate.New(generate.DefaultConfig())
	known := map[string]bool{}
	for range 20000 {
		switch b := chat.Next().Body.(type) {
		case *events.UserProfileChanged:
			known[b.UserID] = true
		case *events.GroupMemberChanged:
			known[b.UserID+" GROUP"+b.GroupID] = true
		case *events.MessageSent:
			known[b.From+" "+b.Conversation.IDFor(b.From)] = true
		}
	}
	asks := regexp.MustCompile(`chatload (?:list|unread|profile) ([a-z_0-9]+)( (?:C2C|GROUP)\S+)?`)
	for name, text := range map[string]string{"up": upReady, "list --help": listHelp, "profile --help": profileHelp, "unread --help": unreadHelp} {
		examples := asks.FindAllStringSubmatch(text, -1)
		if len(examples) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, example := range examples {
			if user, conversation := example[1], example[2]; !known[user] || conversation != "" && !known[user+conversation] {
				t.Errorf("%s proposes %q, which the generated chat does not have", name, example[0])
			}
		}
	}
}
