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

// Listing is what filters, order and totals look at of a conversation in a list.
type Listing struct {
	Position
	Type events.ConversationType
	// Hidden says that only certain requests see it; see Filter.
	Hidden bool
	// Muted says that a total leaves it out unless it is asked to include muted ones.
	Muted  bool
	Unread uint64
	labels *labels // nil: none, as with most
}

type labels struct {
	mentions []MentionOf
	marks    []uint64 // ascending
	groups   []string // ascending
}

// noLabels is for all to read.
var noLabels labels

// Mentions are those that the item names.
func (l *Listing) Mentions() []MentionOf { return cmp.Or(l.labels, &noLabels).mentions }

// Bytes is about what the listing takes besides itself and the texts, which are the state's.
func (l *Listing) Bytes() int {
	const labelled, mention, mark, group = 80, 24, 8, 16
	if l.labels == nil {
		return 0
	}
	return labelled + mention*cap(l.labels.mentions) + mark*cap(l.labels.marks) + group*cap(l.labels.groups)
}

// Listing gives the conversation as it is in the user's list; false when it is in none.
func (c *Conversation) Listing(r Rules) (Listing, bool) {
	if !c.Listed(r) {
		return Listing{}, false
	}
	l := Listing{
		Position: Position{Pinned: c.Own.Settings().Pinned.Value, Time: c.Shared.Head.Time, ConversationID: c.ConversationID},
		Type:     c.Type,
		Hidden:   c.Hidden(),
		Muted:    c.muted(),
		Unread:   c.Unread(r),
	}
	mentions, marks, groups := c.Mentions(r), c.Own.Settings().Marks.Value, c.Own.Settings().Groups.Value
	if len(mentions)+len(marks)+len(groups) > 0 {
		l.labels = &labels{mentions, marks, groups}
	}
	return l, true
}

func (c *Conversation) muted() bool {
	switch c.remindType() {
	case events.RemindDiscard, events.RemindAcceptNotNotify:
		return true
	default:
		return c.Type == events.TypeSystem
	}
}

// Wants reports whether the filter lets a listed conversation through.
func (f Filter) Wants(l *Listing) bool {
	if f.IDs != nil {
		if _, ok := f.IDs[l.ConversationID]; !ok {
			return false
		}
	} else if l.Hidden && (f.MarkType == nil || *f.MarkType != events.MarkHidden) {
		return false
	}
	is := cmp.Or(l.labels, &noLabels)
	return (f.Type == 0 || f.Type == l.Type) &&
		(f.MarkType == nil || has(is.marks, *f.MarkType, 0)) &&
		(f.GroupName == nil || has(is.groups, *f.GroupName, "")) &&
		(f.HasUnreadCount == nil || *f.HasUnreadCount == (l.Unread > 0)) &&
		(f.HasGroupAtInfo == nil || *f.HasGroupAtInfo == (len(is.mentions) > 0))
}

// All reports whether no filter is given.
func (f Filter) All() bool {
	return f.IDs == nil && f.Type == 0 && f.MarkType == nil && f.GroupName == nil && f.HasUnreadCount == nil && f.HasGroupAtInfo == nil
}

// has reports whether value is in an ascending set; none asks for the empty set.
func has[T cmp.Ordered](set []T, value, none T) bool {
	if value == none {
		return len(set) == 0
	}
	_, found := slices.BinarySearch(set, value)
	return found
}

// Cut is how much of a list a request gets to see: the app's greatest length,
// unless it asks for IDs.
func (f Filter) Cut(length int, r Rules) int {
	if f.IDs != nil {
		return length
	}
	return min(length, r.MaxConversations)
}

// Position is a conversation's place in a list: pinned first, then the latest
// head first, then by ID. No two conversations of a user have the same.
type Position struct {
	Pinned         bool
	Time           events.Micros
	ConversationID string
}

// Compare is negative when p comes before q.
func (p Position) Compare(q Position) int {
	if p.Pinned != q.Pinned {
		return compareBool(q.Pinned, p.Pinned)
	}
	if p.Time != q.Time {
		return cmp.Compare(q.Time, p.Time)
	}
	return strings.Compare(p.ConversationID, q.ConversationID)
}
