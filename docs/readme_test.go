package docs_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// TestReadme_ShowsTheGeneratedChat holds the list and the reply that the README shows
// against the chat that its command makes, but for times and what is made of them.
func TestReadme_ShowsTheGeneratedChat(t *testing.T) {
	const user, count = "ava_walsh", 20000
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n$ bin/chatload list "+user+" --limit 4\n")
	list, _, _ = strings.Cut(list, "\nmore: --cursor ")
	shown := strings.Split(list, "\n")[1:] // without the heads of columns
	if !strings.Contains(string(text), "bin/chatload generate --events 20000\n") || len(shown) != 4 {
		t.Fatalf("the README does not generate %d events, or lists %q", count, shown)
	}
	_, reply, _ := strings.Cut(string(text), `{"conversationList":[{"conversationID":"`)
	reply, _, _ = strings.Cut(reply, `"`)

	config := generate.DefaultConfig()
	config.Start = chatBegin
	g := generate.New(config)
	chat := make([]events.Event, count)
	for i := range chat {
		chat[i] = g.Next()
	}
	b, err := json.Marshal(bruteforce.New(chat, chat[count-1].Time).List(demo, user, bruteforce.Filter{}))
	if err != nil {
		t.Fatal(err)
	}
	var items []struct {
		ConversationID string `json:"conversationID"`
		LastMessage    struct {
			MessageForShow string `json:"messageForShow"`
		} `json:"lastMessage"`
		UserProfile  struct{ Nick string } `json:"userProfile"`
		GroupProfile struct{ Name string } `json:"groupProfile"`
	}
	if err := json.Unmarshal(b, &items); err != nil {
		t.Fatal(err)
	}
	if len(items) <= len(shown) {
		t.Fatalf("the list has %d conversations, expected more than are shown", len(items))
	}
	for i, line := range shown {
		for _, part := range []string{items[i].UserProfile.Nick + items[i].GroupProfile.Name, items[i].LastMessage.MessageForShow} {
			if !strings.Contains(line, part) {
				t.Errorf("the README lists %q where the chat has %q", line, part)
			}
		}
	}
	for _, item := range items {
		if strings.HasPrefix(item.ConversationID, "C2C") {
			if item.ConversationID != reply {
				t.Errorf("the README's reply has %q, and the first C2C conversation is %q", reply, item.ConversationID)
			}
			break
		}
	}
}
