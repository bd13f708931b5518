package projection

import (
	"cmp"
	"slices"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// Filter selects conversations of a list. Absent filters (nil) mean all; given ones are combined with AND.
type Filter struct {
	// IDs, when not nil, are the only conversations wanted; hidden ones and those beyond the cut are then in.
	IDs map[string]struct{}
	// Type, when not 0, is the only type wanted.
	Type events.ConversationType
	// MarkType, when not nil, is a mark to have; 0: to have none.
	MarkType *uint64
	// GroupName, when not nil, is a conversation group to be in; "": to be in none.
	GroupName *string
	// HasUnreadCount and HasGroupAtInfo, when not nil, ask for at least one, or for none.
	HasUnreadCount, HasGroupAtInfo *bool
}

// Listing is a conversation in a list, with what filters and order look at.
type Listing struct {
	*Conversation
	Unread   uint64
	Mentions []MentionOf
}

// Select gives the conversations of the user's list that pass the filter, in order and not cut.
func Select(conversations []*Conversation, f Filter, r Rules) []Listing {
	var list []Listing
	for _, c := range conversations {
		if !c.Listed(r) || !f.wants(c) {
			continue
		}
		l := Listing{Conversation: c, Unread: c.Unread(r), Mentions: c.Mentions(r)}
		if f.HasUnreadCount != nil && *f.HasUnreadCount != (l.Unread > 0) ||
			f.HasGroupAtInfo != nil && *f.HasGroupAtInfo != (len(l.Mentions) > 0) {
			continue
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Listing) int { return a.Position().Compare(b.Position()) })
	return list
}

// Cut cuts a list that Select gave at the app's greatest length. One asked for by IDs is not cut.
func Cut(list []Listing, f Filter, r Rules) []Listing {
	if f.IDs != nil {
		return list
	}
	return list[:min(len(list), r.MaxConversations)]
}

func (f Filter) wants(c *Conversation) bool {
	marks := c.Own.Marks.Value
	if f.IDs != nil {
		if _, ok := f.IDs[c.ConversationID]; !ok {
			return false
		}
	} else if c.Hidden() && (f.MarkType == nil || *f.MarkType != events.MarkHidden) {
		return false
	}
	if f.Type != 0 && c.Type != f.Type {
		return false
	}
	if f.MarkType != nil {
		if *f.MarkType == 0 {
			if len(marks) > 0 {
				return false
			}
		} else if _, marked := slices.BinarySearch(marks, *f.MarkType); !marked {
			return false
		}
	}
	if f.GroupName != nil {
		groups := c.Own.Groups.Value
		if *f.GroupName == "" {
			return len(groups) == 0
		}
		_, in := slices.BinarySearch(groups, *f.GroupName)
		return in
	}
	return true
}

// Muted reports whether a total leaves the conversation out unless it is asked to include muted ones.
func (l Listing) Muted() bool {
	switch l.remindType() {
	case events.RemindDiscard, events.RemindAcceptNotNotify:
		return true
	default:
		return l.Type == events.TypeSystem
	}
}

// Position is a conversation's place in a list: pinned first, then the latest
// head first, then by ID. No two conversations of a user have the same.
type Position struct {
	Pinned         bool
	Time           events.Micros
	ConversationID string
}

// Position is l's place in its list.
func (l Listing) Position() Position {
	return Position{Pinned: l.Own.Pinned.Value, Time: l.Shared.Head.Time, ConversationID: l.ConversationID}
}

// Compare is negative when p comes before q.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		compareBool(q.Pinned, p.Pinned),
		cmp.Compare(q.Time, p.Time),
		strings.Compare(p.ConversationID, q.ConversationID),
	)
}
