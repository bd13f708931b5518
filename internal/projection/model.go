package projection

import (
	"slices"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// UserKey names a user.
type UserKey struct{ App, UserID string }

// GroupKey names a group.
type GroupKey struct{ App, GroupID string }

// EditKey names a message by its place, which is all that a recall knows of it.
type EditKey struct {
	App          string
	Conversation events.Conversation
	Sequence     uint64
}

// MessageKey names one message as one event: two events with one sequence are two messages.
type MessageKey struct {
	App          string
	Conversation events.Conversation
	Day          events.Day
	Sequence     uint64
	Time         events.Micros
	ID           string
}

// Mention names the message of a group as mentions do.
func (k MessageKey) Mention() MentionKey {
	return MentionKey{App: k.App, GroupID: k.Conversation.A, Mention: Mention{Day: k.Day, Sequence: k.Sequence}}
}

// MentionKey names the message of a mention.
type MentionKey struct {
	App, GroupID string
	Mention
}

// Erasure is an event that has erased a user. Which one it was matters only to who leaves
// it out.
type Erasure struct {
	UserKey
	ID string
}

// App is what concerns all conversations of an app.
type App struct {
	Plan   Plan
	Erased map[string]struct{} // by user ID
}

// Rules gives the app's rules at a time.
func (a *App) Rules(now events.Micros) Rules {
	return NewRules(a.Plan, now, func(userID string) bool {
		_, erased := a.Erased[userID]
		return erased
	})
}

// Message is a message as analysts see it, and where a mention's sender is looked up.
type Message struct {
	From, To, MessageID, Type, Text string
	AtUsers                         []string
	AtAll, Counted, Shown           bool
}

// merged is the greatest of each field, as ClickHouse keeps it column by column.
// Two that differ are one ID that names two events.
func (m *Message) merged(o *Message) *Message {
	return &Message{
		From: max(m.From, o.From), To: max(m.To, o.To), MessageID: max(m.MessageID, o.MessageID),
		Type: max(m.Type, o.Type), Text: max(m.Text, o.Text),
		AtUsers: slices.MaxFunc([][]string{m.AtUsers, o.AtUsers}, slices.Compare),
		AtAll:   m.AtAll || o.AtAll, Counted: m.Counted || o.Counted, Shown: m.Shown || o.Shown,
	}
}

// Model is a read model, or the part of one that a batch of events makes:
// folding all events into one Model, or folding batches apart and merging the
// Models in any order and any number of times, gives the same.
type Model struct {
	States   map[Key]*State
	Edits    map[EditKey]*Edit
	Messages map[MessageKey]*Message
	Users    map[UserKey]*UserProfile
	Groups   map[GroupKey]*GroupProfile
	Plans    map[string]*Plan
	Erased   map[Erasure]struct{}
	// Conflicts are the places at which folding has seen a second, different message: a
	// producer's fault. They are what was seen, not a register.
	Conflicts []EditKey

	sides map[place]*sides // of the conversations that were folded
}

// place names a conversation.
type place struct {
	app string
	events.Conversation
}

// sides are the states that hold a conversation's side: those of both ends of C2C, of the
// user of SYSTEM, and for a group what its members share.
type sides struct {
	id     string // of the conversation, from the first one's point of view
	states []*State
}

// NewModel gives an empty model.
func NewModel() *Model { return NewModelFor(0) }

// NewModelFor gives an empty model with room for what about n events come to.
func NewModelFor(n int) *Model {
	return &Model{
		States:   make(map[Key]*State, n),
		Edits:    map[EditKey]*Edit{},
		Messages: make(map[MessageKey]*Message, n),
		Users:    map[UserKey]*UserProfile{},
		Groups:   map[GroupKey]*GroupProfile{},
		Plans:    map[string]*Plan{},
		Erased:   map[Erasure]struct{}{},
		sides:    make(map[place]*sides, n/2),
	}
}

// Rows is about how many rows writing m takes, and so what it takes in memory: a
// message that mentions hundreds is hundreds of rows, however short it came.
func (m *Model) Rows() int {
	return len(m.States) + len(m.Edits) + len(m.Messages) + len(m.Users) + len(m.Groups) + len(m.Plans) + len(m.Erased)
}

// Merge folds other into m. It keeps references to other's values and changes none of them.
func (m *Model) Merge(other *Model) {
	for k, v := range other.States {
		at(m.States, k).Merge(v)
	}
	for k, v := range other.Edits {
		at(m.Edits, k).Merge(*v)
	}
	for k, v := range other.Messages {
		m.message(k, v)
	}
	for k, v := range other.Users {
		at(m.Users, k).Merge(*v, compareUserProfiles)
	}
	for k, v := range other.Groups {
		at(m.Groups, k).Merge(*v, compareGroupProfiles)
	}
	for k, v := range other.Plans {
		at(m.Plans, k).Merge(*v, comparePlans)
	}
	for k := range other.Erased {
		m.Erased[k] = struct{}{}
	}
	m.Conflicts = append(m.Conflicts, other.Conflicts...)
}

// Fold folds one event, as events.Decoder returned it, into m.
func (m *Model) Fold(e events.Event) {
	v := Version{Time: e.Time, ID: e.ID}
	switch b := e.Body.(type) {
	case *events.MessageSent:
		m.foldSent(e, b)
	case *events.MessageRecalled:
		m.foldEdit(e.App, b.Conversation, b.Sequence, Edit{
			Recall: Register[Recall]{v, Recall{Revoker: b.Revoker, Reason: b.Reason}},
		})
		for _, s := range m.sidesOf(e.App, b.Conversation).states {
			s.Recalled.Add(b.Sequence)
		}
	case *events.MessageModified:
		m.foldEdit(e.App, b.Conversation, b.Sequence, Edit{Modification: Modification{
			Number: b.Version, Time: e.Time, ID: e.ID,
			Payload:           string(b.Payload),
			HasMessageForShow: b.HasMessageForShow, MessageForShow: b.MessageForShow,
			PayloadText:        b.PayloadText,
			HasCloudCustomData: b.HasCloudCustomData, CloudCustomData: b.CloudCustomData,
			From: b.From,
		}})
	case *events.ConversationRead:
		mark := ReadMark{Sequence: b.Sequence, Time: e.Time}
		m.own(e.App, b.ConversationOf).Read.merge(mark)
		// The peer's list shows it, and must not have to read a hundred others' inboxes.
		if c := b.Conversation(); c.Type == events.TypeC2C {
			m.state(e.App, c.Peer(b.UserID), c).PeerRead.merge(mark)
		}
	case *events.ConversationPinned:
		m.set(e.App, b.ConversationOf, func(own *Settings) { own.Pinned.Merge(Register[bool]{v, b.IsPinned}, compareBool) })
	case *events.ConversationRemindTypeSet:
		m.set(e.App, b.ConversationOf, func(own *Settings) {
			own.RemindType.Merge(Register[string]{v, b.MessageRemindType}, strings.Compare)
		})
	case *events.ConversationMarked:
		m.set(e.App, b.ConversationOf, func(own *Settings) { own.Marks.Merge(Register[[]uint64]{v, b.MarkList}, slices.Compare) })
	case *events.ConversationGroupsSet:
		m.set(e.App, b.ConversationOf, func(own *Settings) {
			own.Groups.Merge(Register[[]string]{v, b.ConversationGroupList}, slices.Compare)
		})
	case *events.ConversationCustomDataSet:
		m.set(e.App, b.ConversationOf, func(own *Settings) { own.CustomData.Merge(Register[string]{v, b.CustomData}, strings.Compare) })
	case *events.ConversationDraftSet:
		m.set(e.App, b.ConversationOf, func(own *Settings) { own.Draft.Merge(Register[string]{v, b.DraftText}, strings.Compare) })
	case *events.ConversationDeleted:
		s := m.own(e.App, b.ConversationOf)
		s.Deleted = max(s.Deleted, b.ThroughSequence)
		if b.ClearHistory {
			s.Cleared = max(s.Cleared, b.ThroughSequence)
		}
	case *events.ConversationCleared:
		s := m.own(e.App, b.ConversationOf)
		s.Cleared = max(s.Cleared, b.ThroughSequence)
	case *events.GroupMemberChanged:
		m.state(e.App, b.UserID, events.Group(b.GroupID)).set(func(own *Settings) {
			own.Member.Merge(Register[Member]{v, Member{
				Status: b.Status, Role: b.Role, NameCard: b.NameCard,
				JoinSequence: b.JoinSequence, JoinTime: b.JoinTime, OperatorID: b.OperatorID,
			}}, compareMembers)
		})
	case *events.GroupProfileChanged:
		at(m.Groups, GroupKey{e.App, b.GroupID}).Merge(GroupProfile{v, *b}, compareGroupProfiles)
	case *events.UserProfileChanged:
		at(m.Users, UserKey{e.App, b.UserID}).Merge(UserProfile{v, *b}, compareUserProfiles)
	case *events.FriendRemarkSet:
		m.state(e.App, b.UserID, events.C2C(b.UserID, b.FriendID)).set(func(own *Settings) {
			own.Remark.Merge(Register[string]{v, b.Remark}, strings.Compare)
		})
	case *events.AppPlanChanged:
		at(m.Plans, e.App).Merge(Plan{v, *b}, comparePlans)
	case *events.UserErased:
		m.Erased[Erasure{UserKey{e.App, b.UserID}, e.ID}] = struct{}{}
	}
}

func (m *Model) foldSent(e events.Event, b *events.MessageSent) {
	day := e.Time.Day()
	message := &Message{
		From: b.From, MessageID: b.MessageID, Type: b.Type, Text: b.MessageForShow,
		AtUsers: b.AtUsers, AtAll: b.AtAll,
		Counted: !b.OnlineOnly && !b.ExcludedFromUnread,
		Shown:   !b.OnlineOnly && !b.ExcludedFromLast,
	}
	of := m.sidesOf(e.App, b.Conversation)
	key := MessageKey{e.App, b.Conversation, day, b.Sequence, e.Time, e.ID}
	if _, repeated := m.Messages[key]; !repeated && of.know(b.Sequence) {
		m.Conflicts = append(m.Conflicts, EditKey{e.App, b.Conversation, b.Sequence})
	}
	if message.Shown {
		head := headOf(e, b)
		for _, s := range of.states {
			s.show(head)
		}
	}

	switch first := of.states[0]; b.Conversation.Type {
	case events.TypeSystem: // sending there is not reading
		message.To = b.Conversation.A
		first.count(day, message.Counted, b.Sequence)
	case events.TypeC2C:
		message.To = b.Conversation.Peer(b.From)
		sender, receiver := first, of.states[len(of.states)-1]
		if b.From != b.Conversation.A {
			sender, receiver = receiver, sender
		}
		sender.day(day) // the sender has read it; the day alone says that there is a message
		if sender != receiver {
			receiver.count(day, message.Counted, b.Sequence)
		}
		sender.Sent = max(sender.Sent, b.Sequence)
		receiver.PeerSent = max(receiver.PeerSent, b.Sequence)
	case events.TypeGroup:
		first.LastSequence = max(first.LastSequence, b.Sequence)
		first.count(day, message.Counted, b.Sequence)
		sender := m.State(Key{e.App, b.From, of.id})
		sender.Sent = max(sender.Sent, b.Sequence)
		mention := Mention{Day: day, Sequence: b.Sequence}
		for _, user := range b.AtUsers {
			m.State(Key{e.App, user, of.id}).mention(mention)
		}
		if b.AtAll {
			first.mention(mention)
		}
	}
	m.message(key, message)
}

// know reports whether any side has a message of the sequence among those that count, or
// do not. A conversation with oneself has none.
func (of *sides) know(sequence uint64) bool {
	for _, s := range of.states {
		for i := range s.Days {
			if d := &s.Days[i]; d.Counted.Contains(sequence) || d.Uncounted.Contains(sequence) {
				return true
			}
		}
	}
	return false
}

func headOf(e events.Event, b *events.MessageSent) *Head {
	h := &Head{
		Sequence: b.Sequence, Time: e.Time, ID: e.ID,
		MessageID: b.MessageID, From: b.From, Type: b.Type, Preview: b.MessageForShow,
		Nick: b.Nick, Avatar: b.Avatar, NameCard: b.NameCard,
		CloudCustomData: b.CloudCustomData,
		PayloadBytes:    uint32(len(b.Payload)), // the decoder bounds payloads far below 4 GiB
	}
	if len(b.Payload) <= InlinePayloadBytes {
		h.Payload = string(b.Payload)
	} else {
		h.LargePayload = string(b.Payload)
	}
	return h
}

func (m *Model) foldEdit(app string, c events.Conversation, sequence uint64, edit Edit) {
	at(m.Edits, EditKey{app, c, sequence}).Merge(edit)
	for _, s := range m.sidesOf(app, c).states {
		s.EditedSequence = max(s.EditedSequence, sequence)
	}
}

func (m *Model) message(k MessageKey, v *Message) {
	if old, ok := m.Messages[k]; ok {
		v = old.merged(v)
	}
	m.Messages[k] = v
}

// sidesOf are the sides of a conversation, made when they are not there.
func (m *Model) sidesOf(app string, c events.Conversation) *sides {
	of, ok := m.sides[place{app, c}]
	if ok {
		return of
	}
	owner := c.A
	if c.Type == events.TypeGroup {
		owner = ""
	}
	of = &sides{id: c.IDFor(owner)}
	of.states = append(of.states, m.State(Key{app, owner, of.id}))
	if c.Type == events.TypeC2C && c.A != c.B {
		of.states = append(of.states, m.state(app, c.B, c))
	}
	m.sides[place{app, c}] = of
	return of
}

// State is the state under k, made when it is not there.
func (m *Model) State(k Key) *State { return at(m.States, k) }

func (m *Model) state(app, owner string, c events.Conversation) *State {
	return m.State(Key{app, owner, c.IDFor(owner)})
}

// own is the state of a register that its user has set, and so knows.
func (m *Model) own(app string, of events.ConversationOf) *State {
	s := m.State(Key{app, of.UserID, of.ConversationID})
	s.Known = true
	return s
}

// set makes a change to what a user has set.
func (m *Model) set(app string, of events.ConversationOf, change func(*Settings)) {
	m.own(app, of).set(change)
}

func at[K comparable, V any](values map[K]*V, k K) *V {
	v, ok := values[k]
	if !ok {
		v = new(V)
		values[k] = v
	}
	return v
}
