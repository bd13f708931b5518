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

// MentionKey names the message of a mention.
type MentionKey struct {
	App, GroupID string
	Mention
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
	Erased   map[UserKey]struct{}
	// Conflicts are the places at which a second, different message was seen: a
	// producer's fault. They are what was seen, not a register.
	Conflicts []EditKey
	places    map[EditKey]Version // of the first message seen at each place
}

// NewModel gives an empty model.
func NewModel() *Model {
	return &Model{
		States:   map[Key]*State{},
		Edits:    map[EditKey]*Edit{},
		Messages: map[MessageKey]*Message{},
		Users:    map[UserKey]*UserProfile{},
		Groups:   map[GroupKey]*GroupProfile{},
		Plans:    map[string]*Plan{},
		Erased:   map[UserKey]struct{}{},
		places:   map[EditKey]Version{},
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
	for k, v := range other.places {
		m.see(k, v)
	}
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
		for _, s := range m.owners(e.App, b.Conversation) {
			s.Recalled.Add(b.Sequence)
		}
	case *events.MessageModified:
		m.foldEdit(e.App, b.Conversation, b.Sequence, Edit{Modification: Modification{
			Number: b.Version, Time: e.Time, ID: e.ID,
			Payload:           string(b.Payload),
			HasMessageForShow: b.HasMessageForShow, MessageForShow: b.MessageForShow,
			PayloadText:        b.PayloadText,
			HasCloudCustomData: b.HasCloudCustomData, CloudCustomData: b.CloudCustomData,
		}})
	case *events.ConversationRead:
		mark := ReadMark{Sequence: b.Sequence, Time: e.Time}
		m.own(e.App, b.ConversationOf).Read.merge(mark)
		// The peer's list shows it, and must not have to read a hundred others' inboxes.
		if c := b.Conversation(); c.Type == events.TypeC2C {
			m.state(e.App, c.Peer(b.UserID), c).PeerRead.merge(mark)
		}
	case *events.ConversationPinned:
		m.own(e.App, b.ConversationOf).Pinned.Merge(Register[bool]{v, b.IsPinned}, compareBool)
	case *events.ConversationRemindTypeSet:
		m.own(e.App, b.ConversationOf).RemindType.Merge(Register[string]{v, b.MessageRemindType}, strings.Compare)
	case *events.ConversationMarked:
		m.own(e.App, b.ConversationOf).Marks.Merge(Register[[]uint64]{v, b.MarkList}, slices.Compare)
	case *events.ConversationGroupsSet:
		m.own(e.App, b.ConversationOf).Groups.Merge(Register[[]string]{v, b.ConversationGroupList}, slices.Compare)
	case *events.ConversationCustomDataSet:
		m.own(e.App, b.ConversationOf).CustomData.Merge(Register[string]{v, b.CustomData}, strings.Compare)
	case *events.ConversationDraftSet:
		m.own(e.App, b.ConversationOf).Draft.Merge(Register[string]{v, b.DraftText}, strings.Compare)
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
		m.state(e.App, b.UserID, events.Group(b.GroupID)).Member.Merge(Register[Member]{v, Member{
			Status: b.Status, Role: b.Role, NameCard: b.NameCard,
			JoinSequence: b.JoinSequence, JoinTime: b.JoinTime, OperatorID: b.OperatorID,
		}}, compareMembers)
	case *events.GroupProfileChanged:
		at(m.Groups, GroupKey{e.App, b.GroupID}).Merge(GroupProfile{v, *b}, compareGroupProfiles)
	case *events.UserProfileChanged:
		at(m.Users, UserKey{e.App, b.UserID}).Merge(UserProfile{v, *b}, compareUserProfiles)
	case *events.FriendRemarkSet:
		m.state(e.App, b.UserID, events.C2C(b.UserID, b.FriendID)).
			Remark.Merge(Register[string]{v, b.Remark}, strings.Compare)
	case *events.AppPlanChanged:
		at(m.Plans, e.App).Merge(Plan{v, *b}, comparePlans)
	case *events.UserErased:
		m.Erased[UserKey{e.App, b.UserID}] = struct{}{}
	}
}

func (m *Model) foldSent(e events.Event, b *events.MessageSent) {
	day := e.Time.Day()
	counted := !b.OnlineOnly && !b.ExcludedFromUnread
	shown := !b.OnlineOnly && !b.ExcludedFromLast

	m.see(EditKey{e.App, b.Conversation, b.Sequence}, Version{Time: e.Time, ID: e.ID})
	for owner, s := range m.owners(e.App, b.Conversation) {
		if owner == "" {
			s.LastSequence = max(s.LastSequence, b.Sequence)
		}
		if shown {
			head := headOf(e, b)
			s.Head.merge(&head)
		}
		d := s.day(day)
		// The sender of a C2C message has read it; the day alone says that there is a message.
		if b.Conversation.Type == events.TypeC2C && owner == b.From {
			continue
		}
		if counted {
			d.Counted.Add(b.Sequence)
		} else {
			d.Uncounted.Add(b.Sequence)
		}
	}

	switch b.Conversation.Type {
	case events.TypeSystem: // sending there is not reading
	case events.TypeC2C:
		peer := b.Conversation.Peer(b.From)
		sender, receiver := m.state(e.App, b.From, b.Conversation), m.state(e.App, peer, b.Conversation)
		sender.Sent = max(sender.Sent, b.Sequence)
		receiver.PeerSent = max(receiver.PeerSent, b.Sequence)
	case events.TypeGroup:
		sender := m.state(e.App, b.From, b.Conversation)
		sender.Sent = max(sender.Sent, b.Sequence)
		mention := Mention{Day: day, Sequence: b.Sequence}
		for _, user := range b.AtUsers {
			m.state(e.App, user, b.Conversation).mention(mention)
		}
		if b.AtAll {
			m.state(e.App, "", b.Conversation).mention(mention)
		}
	}

	key := MessageKey{e.App, b.Conversation, day, b.Sequence, e.Time, e.ID}
	message := &Message{
		From: b.From, MessageID: b.MessageID, Type: b.Type, Text: b.MessageForShow,
		AtUsers: b.AtUsers, AtAll: b.AtAll, Counted: counted, Shown: shown,
	}
	switch b.Conversation.Type {
	case events.TypeGroup:
	case events.TypeC2C:
		message.To = b.Conversation.Peer(b.From)
	case events.TypeSystem:
		message.To = b.Conversation.A
	}
	m.message(key, message)
}

// see notes a message at a place, and a conflict when another one was there.
func (m *Model) see(place EditKey, message Version) {
	if first, ok := m.places[place]; !ok {
		m.places[place] = message
	} else if first != message {
		m.Conflicts = append(m.Conflicts, place)
	}
}

func headOf(e events.Event, b *events.MessageSent) Head {
	h := Head{
		Sequence: b.Sequence, Time: e.Time, ID: e.ID,
		MessageID: b.MessageID, From: b.From, Type: b.Type, Preview: b.MessageForShow,
		Nick: b.Nick, Avatar: b.Avatar, NameCard: b.NameCard,
		CloudCustomData: b.CloudCustomData,
		PayloadBytes:    uint32(len(b.Payload)), //nolint:gosec // the decoder bounds payloads far below 4 GiB
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
	for _, s := range m.owners(app, c) {
		s.EditedSequence = max(s.EditedSequence, sequence)
	}
}

func (m *Model) message(k MessageKey, v *Message) {
	if old, ok := m.Messages[k]; ok {
		v = old.merged(v)
	}
	m.Messages[k] = v
}

// owners yields the states that hold the conversation's side: both ends of
// C2C, the user of SYSTEM, and for a group what its members share.
func (m *Model) owners(app string, c events.Conversation) func(yield func(string, *State) bool) {
	return func(yield func(string, *State) bool) {
		switch {
		case c.Type == events.TypeGroup:
			yield("", m.state(app, "", c))
		case c.Type == events.TypeC2C && c.A != c.B:
			_ = yield(c.A, m.state(app, c.A, c)) && yield(c.B, m.state(app, c.B, c))
		default:
			yield(c.A, m.state(app, c.A, c))
		}
	}
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

func at[K comparable, V any](values map[K]*V, k K) *V {
	v, ok := values[k]
	if !ok {
		v = new(V)
		values[k] = v
	}
	return v
}
