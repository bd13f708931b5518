package projection

import "github.com/convoview/convoview/internal/events"

// ErasedUser stands where something of an erased user was: the ID of a sender, a revoker,
// an owner or an operator, and the payload of a modification. It is no UTF-8, so no ID and
// no payload is ever equal to it, and greater than all of them: of two registers of one
// version the one that was erased wins, so that an event that is written again does not
// bring back what it had.
const ErasedUser = "\xff"

// Without gives what a state under k is without all that is an erased user's: the state
// itself where nothing is, nil where nothing is left.
func (s *State) Without(k Key, erased func(userID string) bool) *State {
	if erased(k.Owner) {
		return nil
	}
	if t, peer, _ := events.SplitConversationID(k.ConversationID); t == events.TypeC2C && erased(peer) {
		return nil
	}
	if h := s.Head; h != nil && erased(h.From) {
		without := *s
		without.Head = h.without()
		return &without
	}
	return s
}

// without is the head without what was its sender's. It keeps its place, ID and type.
func (h *Head) without() *Head {
	return &Head{Sequence: h.Sequence, Time: h.Time, ID: h.ID, MessageID: h.MessageID, From: ErasedUser, Type: h.Type}
}

// Without gives what an edit of an erased user's message is: that it was made.
func (e Edit) Without() Edit {
	if e.Recall.Written() {
		e.Recall.Value = Recall{Revoker: ErasedUser}
	}
	if m := &e.Modification; m.Number != 0 {
		*m = Modification{Number: m.Number, Time: m.Time, ID: m.ID, Payload: ErasedUser}
	}
	return e
}
