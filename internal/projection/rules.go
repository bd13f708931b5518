package projection

import (
	"cmp"
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// maxGroupAtInfo is the greatest number of mentions that an item names.
const maxGroupAtInfo = 20

// Rules are what the meaning of registers depends on besides the registers.
type Rules struct {
	// firstDay is the first UTC day whose messages are not expired, counted from 1970-01-01.
	firstDay int64
	// MaxConversations is where a list is cut.
	MaxConversations int
	// Erased reports whether a user of this app was erased. ErasedUser was.
	Erased func(userID string) bool
}

// NewRules gives the rules of an app at a time.
func NewRules(plan Plan, now events.Micros, erased func(userID string) bool) Rules {
	p := plan.Value
	if !plan.Written() {
		p = events.AppPlanChanged{MaxConversations: events.DefaultMaxConversations, Retention: events.DefaultRetention}
	}
	return Rules{
		firstDay:         firstDay(now, p.Retention),
		MaxConversations: int(p.MaxConversations),
		Erased:           func(userID string) bool { return userID == ErasedUser || erased(userID) },
	}
}

// firstDay is the first UTC day whose messages are not expired. A retention of
// 0 seconds is for ever, and so is one that reaches back to 1970: no message is
// older than 2000.
func firstDay(now events.Micros, retention uint64) int64 {
	if retention == 0 {
		return 0
	}
	return (now.Seconds() - int64(retention)) / 86_400 // the decoder bounds it to 2^63-1
}

// FirstDay is the first UTC day whose messages are not expired, counted from
// 1970-01-01. Rules of an app differ by it, by the plan and by who was erased.
func (r Rules) FirstDay() int64 { return r.firstDay }

func (r Rules) expired(d events.Day) bool { return int64(d) < r.firstDay }

// Conversation is everything that says what one user sees of one conversation.
type Conversation struct {
	UserID         string
	ConversationID string
	Type           events.ConversationType
	// Name is the peer of a C2C conversation, the group of a GROUP, "" of SYSTEM.
	Name string
	// Own are the user's registers. Never nil.
	Own *State
	// Shared are the group's registers; equal to Own outside groups. Never nil.
	Shared *State
	// Group is the group's profile; unwritten when unknown and outside groups. Never nil.
	Group *GroupProfile
}

// What nobody has written, for all to read.
var (
	noState State
	noGroup GroupProfile
)

// NewConversation gathers what userID sees of a conversation; a nil state or
// profile is one in which nothing was ever written. It reports false when id
// is no conversation ID.
func NewConversation(userID, id string, own, shared *State, group *GroupProfile) (Conversation, bool) {
	t, name, ok := events.SplitConversationID(id)
	if !ok {
		return Conversation{}, false
	}
	c := Conversation{
		UserID: userID, ConversationID: id, Type: t, Name: name,
		Own: cmp.Or(own, &noState), Shared: cmp.Or(shared, &noState), Group: cmp.Or(group, &noGroup),
	}
	if t != events.TypeGroup {
		c.Shared = c.Own
	}
	return c, true
}

// gone reports whether the erasure of the user or of the peer leaves nothing of the conversation.
func (c *Conversation) gone(r Rules) bool {
	return r.Erased(c.UserID) || c.Type == events.TypeC2C && r.Erased(c.Name)
}

// Known reports whether the user may ask for the conversation's profile.
func (c *Conversation) Known(r Rules) bool {
	if c.gone(r) {
		return false
	}
	if c.Type == events.TypeGroup {
		return c.Own.Settings().Member.Written()
	}
	return c.Own.Known || slices.ContainsFunc(c.Own.Days, func(d Day) bool { return !r.expired(d.Day) })
}

// member reports whether the user may read the conversation: of a group only its members may.
func (c *Conversation) member() bool {
	return c.Type != events.TypeGroup ||
		c.Own.Settings().Member.Value.Status == events.StatusJoined && !c.Group.Value.Dismissed
}

// head is the message that the conversation shows, or nil.
func (c *Conversation) head(r Rules) *Head {
	h := c.Shared.Head
	if h == nil || r.expired(h.Time.Day()) {
		return nil
	}
	return h
}

// Headed reports whether the conversation has a head that is not expired.
func (c *Conversation) Headed(r Rules) bool { return c.head(r) != nil }

// Listed reports whether the conversation is in the user's list, hidden or not.
func (c *Conversation) Listed(r Rules) bool {
	h := c.head(r)
	return h != nil && h.Sequence > c.Own.Deleted && c.member() && !c.gone(r)
}

// Hidden reports whether a listed conversation is hidden: marked so, and no newer message came.
func (c *Conversation) Hidden() bool {
	_, marked := slices.BinarySearch(c.Own.Settings().Marks.Value, events.MarkHidden)
	return marked && c.Shared.Head.Time <= c.Own.Settings().Marks.Time
}

// Read is the sequence up to which the user has read everything.
func (c *Conversation) Read() uint64 {
	read := c.Own.read()
	if m := c.Own.Settings().Member.Value; m.Status == events.StatusJoined {
		read = max(read, m.JoinSequence)
	}
	return read
}

// Unread is the number of messages that the user has not read.
func (c *Conversation) Unread(r Rules) uint64 {
	if !c.member() {
		return 0
	}
	if t := c.Group.Value.Type; t == events.GroupTypeChatRoom || t == events.GroupTypeAVChatRoom {
		return 0
	}
	var n uint64
	floor := c.Read()
	for _, d := range c.Shared.Days {
		if !r.expired(d.Day) {
			n += countRemaining(d.Counted, floor, d.Uncounted, c.Shared.Recalled)
		}
	}
	return n
}

// Kinds of mentions, as the SDK numbers them.
const (
	atUser    = 1
	atAll     = 2
	atUserAll = 3
)

// MentionOf is a mention with its kind: of the user (1), of everyone (2) or of both (3).
type MentionOf struct {
	Mention
	Kind int
}

// Mentions are the unread messages that mention the user or everyone, newest first, at most maxGroupAtInfo.
func (c *Conversation) Mentions(r Rules) []MentionOf {
	if !c.member() {
		return nil
	}
	floor := c.Read()
	var newest []MentionOf // no more than are named: others may be thousands, and a list keeps what it is given
	for i, list := range [][]Mention{c.Own.Mentions, c.Shared.Mentions} {
		for _, m := range slices.Backward(list) { // most of what is not among the newest is not looked at any further
			if m.Sequence <= floor {
				continue
			}
			at, found := slices.BinarySearchFunc(newest, m, newestFirst)
			switch {
			case found:
				newest[at].Kind = atUserAll
			case at < maxGroupAtInfo && !r.expired(m.Day) && !c.Shared.Recalled.Contains(m.Sequence) && c.counted(m):
				newest = slices.Insert(newest[:min(len(newest), maxGroupAtInfo-1)], at, MentionOf{m, [...]int{atUser, atAll}[i]})
			}
		}
	}
	return newest
}

func newestFirst(a MentionOf, b Mention) int {
	return cmp.Or(cmp.Compare(b.Sequence, a.Sequence), cmp.Compare(b.Day, a.Day))
}

// counted reports whether the message of a mention counts as unread for those who have not read it.
func (c *Conversation) counted(m Mention) bool {
	i, found := slices.BinarySearchFunc(c.Shared.Days, m.Day, func(d Day, day events.Day) int { return cmp.Compare(d.Day, day) })
	return found && c.Shared.Days[i].Counted.Contains(m.Sequence) && !c.Shared.Days[i].Uncounted.Contains(m.Sequence)
}

// HeadEdit names the edit that the item of a listed conversation needs, if it can have any.
func (c *Conversation) HeadEdit(app string, r Rules) (EditKey, bool) {
	h := c.head(r)
	if h == nil || h.Sequence > c.Shared.EditedSequence {
		return EditKey{}, false
	}
	return EditKey{App: app, Conversation: c.conversation(), Sequence: h.Sequence}, true
}

func (c *Conversation) conversation() events.Conversation {
	return events.ConversationOf{UserID: c.UserID, ConversationID: c.ConversationID}.Conversation()
}
