package e2e_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// busy is the user of many conversations.
const busy = "busy"

// many is a user in many conversations, four C2C to one group.
type many struct {
	script
	items []item // of the list, before the cut
	total uint64 // of unread messages in conversations that are not muted
	muted uint64 // of those in the others
}

// newMany makes a user in n conversations, of which a list shows at most cut.
func newMany(t testing.TB, n, cut int) *many {
	m := &many{script: script{system: newSystem(t), app: "many"}}
	m.project()
	m.serve(func() time.Time { return dawn.Time().Add(24 * time.Hour) })
	m.add(dawn, &events.AppPlanChanged{MaxConversations: uint32(cut)})
	for k := range n {
		m.converse(k, n)
	}
	m.end()
	slices.SortFunc(m.items, func(a, b item) int {
		if a.IsPinned != b.IsPinned {
			return map[bool]int{true: -1, false: 1}[a.IsPinned]
		}
		return cmp.Or(cmp.Compare(b.LastMessage.LastTime, a.LastMessage.LastTime), cmp.Compare(a.ConversationID, b.ConversationID))
	})
	return m
}

// converse makes the k-th of n conversations.
func (m *many) converse(k, n int) {
	peer := fmt.Sprintf("peer %05d", k)
	c := events.C2C(busy, peer)
	if k%5 == 4 {
		c = events.Group(fmt.Sprintf("group %05d", k))
		m.add(dawn, &events.GroupMemberChanged{GroupID: c.A, UserID: busy, Status: events.StatusJoined})
	}
	of := events.ConversationOf{UserID: busy, ConversationID: c.IDFor(busy)}

	// The latest messages of two conversations each have one time.
	messages, at := uint64(1+k%3), dawn+events.Micros(1+k*7%n/2)*1_000_000
	for i := range messages {
		m.add(at, text(c, peer, i+1))
	}
	shown := item{
		ConversationID: of.ConversationID, UnreadCount: messages, GroupAtInfoList: []atInfo{},
		LastMessage: head{LastTime: at.Seconds(), LastSequence: messages},
	}
	if k%4 == 0 {
		m.add(at, &events.ConversationRead{ConversationOf: of, Sequence: 1})
		shown.UnreadCount--
	}
	if k%50 == 7 {
		m.add(at, &events.ConversationPinned{ConversationOf: of, IsPinned: true})
		shown.IsPinned = true
	}
	if k%10 == 3 {
		m.add(at, &events.ConversationRemindTypeSet{ConversationOf: of, MessageRemindType: events.RemindDiscard})
		m.muted += shown.UnreadCount
	} else {
		m.total += shown.UnreadCount
	}
	m.items = append(m.items, shown)
}

// TestSize_UserInManyConversations asks for lists that are as long as lists
// get, and for one that is cut; the total is over what is cut off, too.
func TestSize_UserInManyConversations(t *testing.T) {
	for _, size := range []struct{ conversations, cut int }{{500, 500}, {5000, 1000}} {
		t.Run(fmt.Sprint(size.conversations), func(t *testing.T) {
			m := newMany(t, size.conversations, size.cut)
			if err := errors.Join(
				m.checkList(busy, 0, m.items[:size.cut]),
				m.checkList(busy, 90, m.items[:size.cut]),
				m.checkTotal(busy, false, m.total),
				m.checkTotal(busy, true, m.total+m.muted),
			); err != nil {
				t.Fatal(err)
			}
		})
	}
}
