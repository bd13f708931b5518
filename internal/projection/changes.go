package projection

import "github.com/convoview/convoview/internal/events"

// Whose names whose conversations have changed: a user's, or a group's for all its members.
type Whose struct{ App, UserID, GroupID string }

// Kinds are kinds of changes, a bit for each.
type Kinds uint8

// The kinds of changes.
const (
	KindErased Kinds = 1 << iota
	KindMember
	KindMessage
	KindProfile
	KindRead
	KindRegister
)

// Change is what has changed of somebody.
type Change struct {
	Kinds Kinds
	// Conversations are their IDs, with repeats; empty: none in particular.
	Conversations []string
}

// Changes are what has changed, of whom.
type Changes map[Whose]*Change

// Add adds all that is in a model.
func (c Changes) Add(m *Model) {
	for k, s := range m.States {
		of := Whose{App: k.App, UserID: k.Owner}
		if k.Owner == "" {
			_, of.GroupID, _ = events.SplitConversationID(k.ConversationID)
		}
		c.add(of, k.ConversationID, s.kinds())
	}
	for k := range m.Groups {
		c.add(Whose{App: k.App, GroupID: k.GroupID}, events.Group(k.GroupID).IDFor(""), KindProfile)
	}
	for k := range m.Users {
		c.add(Whose{App: k.App, UserID: k.UserID}, "", KindProfile)
	}
	for k := range m.Erased {
		c.add(Whose{App: k.App, UserID: k.UserID}, "", KindErased)
	}
}

// add adds changes in a conversation; "" for none in particular.
func (c Changes) add(of Whose, conversation string, kinds Kinds) {
	if kinds == 0 {
		return
	}
	change := at(c, of)
	if change.Kinds |= kinds; conversation != "" {
		change.Conversations = append(change.Conversations, conversation)
	}
}

// kinds are those of what is in the state.
func (s *State) kinds() (all Kinds) {
	if s.EditedSequence != 0 || len(s.Days) > 0 || len(s.Recalled) > 0 {
		all |= KindMessage
	}
	if (s.Read != ReadMark{}) || (s.PeerRead != ReadMark{}) {
		all |= KindRead
	}
	own := s.Settings()
	if own.Member.Written() {
		all |= KindMember
	}
	if own.Pinned.Written() || own.RemindType.Written() || own.Marks.Written() || own.Groups.Written() || own.CustomData.Written() ||
		own.Draft.Written() || own.Remark.Written() || s.Deleted != 0 || s.Cleared != 0 {
		all |= KindRegister
	}
	if all == 0 && s.Known { // deleted through 0, say: it has a profile from now on
		all = KindRegister
	}
	return all
}
