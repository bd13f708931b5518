package query

import (
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

func c2c(from, to string, sequence uint64, text string) *events.MessageSent {
	return &events.MessageSent{
		Conversation: events.C2C(from, to), From: from, MessageID: text, Sequence: sequence,
		Type: events.TypeText, Payload: []byte(`{"text":"` + text + `"}`), MessageForShow: text,
	}
}

func TestList_Smoke(t *testing.T) {
	f := start(t, newMemory())
	f.fold(ago(time.Hour), c2c("ben", "ann", 1, "<hi> & bye"))
	code, body := f.ask("list", `{"userID":"ann"}`)
	t.Log(code, body)
	code, body = f.ask("list", `{"userId":"ann"}`)
	t.Log(code, body)
	code, body = f.ask("profile", `{"userID":"ann","conversationID":"C2Cben"}`)
	t.Log(code, body)
	code, body = f.ask("profile", `{"userID":"ann","conversationID":"GROUPben"}`)
	t.Log(code, body)
	code, body = f.ask("unread", `{"userID":"ann"}`)
	t.Log(code, body)
}
