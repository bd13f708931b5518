package e2e_test

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
)

// dawn is when scripts begin.
var dawn = events.MicrosOf(time.Date(2025, 3, 3, 9, 0, 0, 0, time.UTC))

// script writes events of one app to a system.
type script struct {
	*system
	app   string
	count int
	list  []events.Event
}

func (w *script) add(at events.Micros, body events.Body) {
	w.count++
	w.list = append(w.list, events.Event{ID: fmt.Sprintf("e-%08d", w.count), App: w.app, Time: at, Body: body})
	if len(w.list) == sendAtOnce {
		w.flush()
	}
}

func (w *script) flush() {
	w.send(w.list...)
	w.list = w.list[:0]
}

// end sends what is left and waits until everything is projected.
func (w *script) end() {
	w.flush()
	w.settle()
}

// text is a message that says hello.
func text(c events.Conversation, from string, sequence uint64) *events.MessageSent {
	return &events.MessageSent{
		Conversation: c, From: from, MessageID: fmt.Sprint("m-", sequence), Sequence: sequence,
		Type: events.TypeText, Payload: []byte(`{"text":"hello"}`), MessageForShow: "hello",
	}
}

// item is what is compared of an item.
type item struct {
	ConversationID  string       `json:"conversationID"`
	UnreadCount     uint64       `json:"unreadCount"`
	IsPinned        bool         `json:"isPinned"`
	GroupAtInfoList []atInfo     `json:"groupAtInfoList"`
	LastMessage     head         `json:"lastMessage"`
	GroupProfile    groupProfile `json:"groupProfile"`
}

type head struct {
	LastTime     int64  `json:"lastTime"`
	LastSequence uint64 `json:"lastSequence"`
}

type atInfo struct {
	From            string `json:"from"`
	MessageSequence uint64 `json:"messageSequence"`
	AtTypeArray     []int  `json:"atTypeArray"`
}

// groupProfile has what only a profile shows.
type groupProfile struct {
	NextMessageSeq uint64 `json:"nextMessageSeq"`
	SelfInfo       struct {
		ReadedSequence uint64 `json:"readedSequence"`
	} `json:"selfInfo"`
}

// checkList compares a user's list, in pages of limit (0: as long as they may be).
func (w *script) checkList(userID string, limit int, want []item) error {
	request := map[string]any{"userID": userID}
	if limit > 0 {
		request["limit"] = limit
	}
	var got []item
	for more := true; more; {
		var reply struct {
			Data struct {
				ConversationList []item `json:"conversationList"`
			} `json:"data"`
			NextCursor string `json:"nextCursor"`
		}
		if err := w.ask("list", w.app, request, &reply); err != nil {
			return err
		}
		got = append(got, reply.Data.ConversationList...)
		request["cursor"] = reply.NextCursor
		more = reply.NextCursor != ""
	}
	return check(want, got, "list of %s in pages of %d", userID, limit)
}

// checkTotal compares a user's total of unread messages.
func (w *script) checkTotal(userID string, includeMuted bool, want uint64) error {
	var got unreadReply
	if err := w.ask("unread", w.app, map[string]any{"userID": userID, "includeMuted": includeMuted}, &got); err != nil {
		return err
	}
	return check(want, got.Data.Total, "total of %s, includeMuted %t", userID, includeMuted)
}

// checkProfile compares what a profile of a conversation shows.
func (w *script) checkProfile(userID string, want item) error {
	var reply struct {
		Data struct {
			Conversation item `json:"conversation"`
		} `json:"data"`
	}
	if err := w.ask("profile", w.app, map[string]any{"userID": userID, "conversationID": want.ConversationID}, &reply); err != nil {
		return err
	}
	return check(want, reply.Data.Conversation, "profile of %s for %s", want.ConversationID, userID)
}

func check(want, got any, format string, args ...any) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf(format+" (-want +got):\n%s", append(args, diff)...)
	}
	return nil
}
