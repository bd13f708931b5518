package bruteforce

import (
	"cmp"
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// Filter says which conversations of a list are meant. The zero Filter means all.
type Filter struct {
	// IDs are the only ones meant, hidden ones and those beyond the cut
	// included; nil is absent, an empty list means none.
	IDs []string
	// Type is C2C, GROUP or @TIM#SYSTEM, or "".
	Type string
	// MarkType is a mark that they have, 0 for none at all.
	MarkType *uint64
	// GroupName is a conversation group that they are in, "" for none at all.
	GroupName *string
	// HasUnreadCount and HasGroupAtInfo ask for at least one (true) or for none.
	HasUnreadCount, HasGroupAtInfo *bool
}

// listedItem is an item and what it is ordered by.
type listedItem struct {
	item
	headTime events.Micros
}

// List is the whole list that a user gets: filtered, in order, and cut at the
// app's maxConversations unless IDs are asked for.
func (c *Chat) List(app, user string, f Filter) []any {
	t := c.tenant(app)
	list := t.filtered(user, f)
	if longest, _ := t.plan(); f.IDs == nil && len(list) > int(longest) {
		list = list[:longest]
	}
	items := make([]any, len(list))
	for i, l := range list {
		items[i] = l.item
	}
	return items
}

// Unread is the total over the list before its cut, "leaving out @TIM#SYSTEM
// and the conversations with Discard or AcceptNotNotify unless includeMuted".
func (c *Chat) Unread(app, user string, f Filter, includeMuted bool) uint64 {
	var total uint64
	for _, l := range c.tenant(app).filtered(user, f) {
		muted := l.ConversationID == events.SystemConversationID ||
			l.MessageRemindType == events.RemindDiscard || l.MessageRemindType == events.RemindAcceptNotNotify
		if includeMuted || !muted {
			total += l.UnreadCount
		}
	}
	return total
}

// Profile is a conversation with complete profiles, in the list or not. It
// reports false for one that is not known to the user.
func (c *Chat) Profile(app, user, conversationID string) (any, bool) {
	if _, _, ok := events.SplitConversationID(conversationID); !ok {
		return nil, false
	}
	name := events.ConversationOf{UserID: user, ConversationID: conversationID}.Conversation()
	v := c.tenant(app).view(user, name)
	if !v.known() {
		return nil, false
	}
	return v.item(true), true
}

// filtered is the user's list in order, before the cut: "pinned first, then
// head's time descending, then conversationID ascending (bytes)".
func (t *tenant) filtered(user string, f Filter) []listedItem {
	var list []listedItem
	for name := range t.mayList[user] {
		v := t.view(user, name)
		if !v.inList() {
			continue
		}
		// "in no list, count or total, except with markType: 4 or by conversationIDList"
		shown := f.IDs != nil || f.MarkType != nil && *f.MarkType == events.MarkHidden
		if v.hidden() && !shown {
			continue
		}
		head, _ := v.head()
		if l := (listedItem{v.item(false), head.time}); f.matches(l.item) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b listedItem) int {
		if a.IsPinned != b.IsPinned {
			if a.IsPinned {
				return -1
			}
			return 1
		}
		return cmp.Or(-cmp.Compare(a.headTime, b.headTime), cmp.Compare(a.ConversationID, b.ConversationID))
	})
	return list
}

// matches: "Absent filters mean all; given ones are combined with AND".
func (f Filter) matches(i item) bool {
	switch {
	case f.IDs != nil && !slices.Contains(f.IDs, i.ConversationID),
		f.Type != "" && f.Type != i.Type,
		f.MarkType != nil && *f.MarkType == 0 && len(i.MarkList) > 0,
		f.MarkType != nil && *f.MarkType != 0 && !slices.Contains(i.MarkList, *f.MarkType),
		f.GroupName != nil && *f.GroupName == "" && len(i.ConversationGroupList) > 0,
		f.GroupName != nil && *f.GroupName != "" && !slices.Contains(i.ConversationGroupList, *f.GroupName),
		f.HasUnreadCount != nil && *f.HasUnreadCount != (i.UnreadCount > 0),
		f.HasGroupAtInfo != nil && *f.HasGroupAtInfo != (len(i.GroupAtInfoList) > 0):
		return false
	default:
		return true
	}
}
