package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
)

// textRunes is the length of every message.
const textRunes = 60

// chat is what people and groups are called and what they say, taken from a
// generated chat, whose seed is fixed: every run measures the same.
type chat struct {
	people []*events.UserProfileChanged
	groups []*events.GroupProfileChanged
	texts  []text
}

// text is a message, and its payload.
type text struct {
	shown   string
	payload []byte
}

// sampledEvents are enough to have heard of almost everybody.
const sampledEvents = 50_000

func newChat() *chat {
	config := generate.DefaultConfig()
	config.People, config.Groups = 2000, 100
	generator := generate.New(config)
	c := &chat{}
	known := map[string]bool{}
	var said strings.Builder
	for range sampledEvents {
		switch b := generator.Next().Body.(type) {
		case *events.UserProfileChanged:
			if !known["user "+b.UserID] {
				known["user "+b.UserID] = true
				c.people = append(c.people, b)
			}
		case *events.GroupProfileChanged:
			if !known["group "+b.GroupID] && !b.Dismissed {
				known["group "+b.GroupID] = true
				c.groups = append(c.groups, b)
			}
		case *events.MessageSent:
			if b.Type == events.TypeText {
				said.WriteString(b.MessageForShow + " ")
			}
		}
	}
	runes := []rune(said.String())
	for ; len(runes) >= textRunes; runes = runes[textRunes:] {
		shown := string(runes[:textRunes])
		payload, err := json.Marshal(map[string]string{"text": shown})
		if err != nil {
			panic(err) // a text
		}
		c.texts = append(c.texts, text{shown, payload})
	}
	return c
}

// person is the profile of the i-th person: after those of the sample come
// their namesakes.
func (c *chat) person(i int) *events.UserProfileChanged {
	p := *c.people[i%len(c.people)]
	if round := i / len(c.people); round > 0 {
		p.UserID += "-" + strconv.Itoa(round)
	}
	return &p
}

// group is the profile of the i-th group, likewise.
func (c *chat) group(i int) *events.GroupProfileChanged {
	g := *c.groups[i%len(c.groups)]
	if round := i / len(c.groups); round > 0 {
		g.GroupID += "_" + strconv.Itoa(round)
	}
	return &g
}

// say is a message of a person in a conversation.
func (c *chat) say(rng *rand.Rand, in events.Conversation, person int, userID string, sequence uint64, messageID string) *events.MessageSent {
	t := c.texts[rng.IntN(len(c.texts))]
	who := c.people[person%len(c.people)]
	return &events.MessageSent{
		Conversation: in, From: userID, MessageID: messageID, Sequence: sequence,
		Type: events.TypeText, Payload: t.payload, MessageForShow: t.shown, Nick: who.Nick, Avatar: who.Avatar,
	}
}

// numbered is an ID as backends make them: a name of the chat, a letter and a number.
func numbered(app string, kind byte, n int) string { return fmt.Sprintf("%s-%c%012d", app, kind, n) }
