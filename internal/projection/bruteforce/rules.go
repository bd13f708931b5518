package bruteforce

import (
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// view is one conversation as one user sees it.
type view struct {
	t    *tenant
	user string
	name events.Conversation
	c    *conversation
	// states, sent and members are the user's own, peerStates and peerSent the peer's (C2C).
	states, members, peerStates []events.Event
	sent, peerSent              []uint64
}

func (t *tenant) view(user string, name events.Conversation) *view {
	own := owned{user, name}
	v := &view{t: t, user: user, name: name, c: t.conversations[name], states: t.states[own]}
	if v.c == nil {
		v.c = &conversation{}
	}
	if name.Type != events.TypeSystem { // "not in @TIM#SYSTEM"
		v.sent = t.sent[own]
	}
	switch name.Type {
	case events.TypeGroup:
		v.members = t.members[own]
	case events.TypeC2C: // "In the conversation with oneself the peer is oneself."
		peer := owned{name.Peer(user), name}
		v.peerStates, v.peerSent = t.states[peer], t.sent[peer]
	case events.TypeSystem:
	}
	return v
}

// expired: "when the UTC day of its time is before the UTC day of (now − the
// app's retention)".
func (t *tenant) expired(m message) bool {
	return t.expires && m.day < t.firstDay
}

// head: "the message with the greatest sequence among those neither onlineOnly
// nor excludedFromLastMessage; when that one is expired there is none". Of one
// sequence, "the head is the latest among those that may be head".
func (v *view) head() (message, bool) {
	for _, m := range slices.Backward(v.c.messages) {
		if !m.OnlineOnly && !m.ExcludedFromLast {
			return m, !v.t.expired(m)
		}
	}
	return message{}, false
}

// recalled: "a recall […] applies to all" messages of its sequence.
func (v *view) recalled(sequence uint64) bool { return len(v.c.recalls[sequence]) > 0 }

// modification: "A modified head shows its highest version (equal ones: the
// latest)."
func (v *view) modification(sequence uint64) *events.MessageModified {
	var highest uint64
	for _, e := range v.c.modifications[sequence] {
		highest = max(highest, e.Body.(*events.MessageModified).Version)
	}
	var candidates []events.Event
	for _, e := range v.c.modifications[sequence] {
		if e.Body.(*events.MessageModified).Version == highest {
			candidates = append(candidates, e)
		}
	}
	_, m, _ := latest[*events.MessageModified](candidates)
	return m
}

// membership is the user's latest membership event of the group, or nil.
func (v *view) membership() *events.GroupMemberChanged {
	_, m, _ := latest[*events.GroupMemberChanged](v.members)
	return m
}

// groupProfile is the group's latest profile and its time, or nil.
func (v *view) groupProfile() (events.Micros, *events.GroupProfileChanged) {
	at, profile, _ := latest[*events.GroupProfileChanged](v.t.groupProfiles[v.name.A])
	return at.Time, profile
}

// readable: of a group, the "latest member status is joined and the group is
// not dismissed". Other conversations always are.
func (v *view) readable() bool {
	if v.name.Type != events.TypeGroup {
		return true
	}
	member := v.membership()
	_, profile := v.groupProfile()
	return member != nil && member.Status == events.StatusJoined && (profile == nil || !profile.Dismissed)
}

// read is "the greatest of: every conversationRead.sequence; every sequence of
// a message that U sent to C […]; joinSequence of U's latest membership event
// (0 when that is not joined); every throughSequence of a conversationDeleted
// or a conversationCleared".
func (v *view) read() uint64 {
	var read uint64
	for _, e := range v.states {
		if b, ok := e.Body.(*events.ConversationRead); ok {
			read = max(read, b.Sequence)
		}
	}
	for _, sequence := range v.sent {
		read = max(read, sequence)
	}
	if member := v.membership(); member != nil && member.Status == events.StatusJoined {
		read = max(read, member.JoinSequence)
	}
	return max(read, v.deleted(), v.cleared())
}

// deleted is the greatest throughSequence of a conversationDeleted.
func (v *view) deleted() uint64 {
	var through uint64
	for _, e := range v.states {
		if b, ok := e.Body.(*events.ConversationDeleted); ok {
			through = max(through, b.ThroughSequence)
		}
	}
	return through
}

// cleared is the greatest throughSequence of a conversationCleared; a
// conversationDeleted with clearHistory is "also a conversationCleared through
// the same sequence".
func (v *view) cleared() uint64 {
	var through uint64
	for _, e := range v.states {
		switch b := e.Body.(type) {
		case *events.ConversationCleared:
			through = max(through, b.ThroughSequence)
		case *events.ConversationDeleted:
			if b.ClearHistory {
				through = max(through, b.ThroughSequence)
			}
		}
	}
	return through
}

// unreadMessage is a message that counts as unread, the group's type aside.
type unreadMessage struct {
	sequence uint64
	// from is "" when the sender is erased.
	from string
	// user and all say whom it mentions.
	user, all bool
}

// unread are the messages that "have sequence > read(U,C) and are not U's own,
// not onlineOnly, not excludedFromUnreadCount, not recalled, not expired";
// newest first. "Of those [with one sequence and] of one UTC day unread counts
// one, and none if any of them is onlineOnly or excludedFromUnreadCount; a
// mention in any of them counts, from being the latest's". "While U is not
// joined, or the group is dismissed", there are none.
func (v *view) unread() []unreadMessage {
	if !v.readable() {
		return nil
	}
	var list []unreadMessage
	read := v.read()
	for end := len(v.c.messages); end > 0; {
		last := v.c.messages[end-1]
		if last.Sequence <= read {
			break
		}
		begin := end - 1
		for begin > 0 && v.c.messages[begin-1].Sequence == last.Sequence &&
			v.c.messages[begin-1].day == last.day {
			begin--
		}
		if u, ok := v.unreadOf(v.c.messages[begin:end]); ok {
			list = append(list, u)
		}
		end = begin
	}
	return list
}

// unreadOf is what messages of one sequence and day count as, the last being the latest.
func (v *view) unreadOf(same []message) (unreadMessage, bool) {
	last := same[len(same)-1]
	u := unreadMessage{sequence: last.Sequence, from: v.t.shown(last.From)}
	if v.recalled(last.Sequence) || v.t.expired(last) {
		return u, false
	}
	for _, m := range same {
		own := m.From == v.user && v.name.Type != events.TypeSystem // "In @TIM#SYSTEM no message is U's own."
		if own || m.OnlineOnly || m.ExcludedFromUnread {
			return u, false
		}
		u.user = u.user || slices.Contains(m.AtUsers, v.user)
		u.all = u.all || m.AtAll
	}
	return u, true
}

// shown is a user's ID, or "" when they are erased.
func (t *tenant) shown(user string) string {
	if t.erased[user] {
		return ""
	}
	return user
}

// unreadCount is how many are unread: "For ChatRoom and AVChatRoom groups it is 0."
func (v *view) unreadCount(list []unreadMessage) uint64 {
	if v.name.Type == events.TypeGroup {
		if _, profile := v.groupProfile(); profile != nil &&
			(profile.Type == events.GroupTypeChatRoom || profile.Type == events.GroupTypeAVChatRoom) {
			return 0
		}
	}
	return uint64(len(list))
}

// peerRead is the latest of the peer's conversationReads with the greatest sequence.
func (v *view) peerRead() (events.Event, *events.ConversationRead) {
	var greatest uint64
	for _, e := range v.peerStates {
		if b, ok := e.Body.(*events.ConversationRead); ok {
			greatest = max(greatest, b.Sequence)
		}
	}
	var candidates []events.Event
	for _, e := range v.peerStates {
		if b, ok := e.Body.(*events.ConversationRead); ok && b.Sequence == greatest {
			candidates = append(candidates, e)
		}
	}
	at, b, _ := latest[*events.ConversationRead](candidates)
	return at, b
}

// peerReadTime: "(C2C, in seconds, 0 if none) = time of the peer's
// conversationRead with the greatest sequence (equal ones: the latest)".
func (v *view) peerReadTime() int64 {
	if at, read := v.peerRead(); read != nil {
		return at.Time.Seconds()
	}
	return 0
}

// isPeerRead: "U sent the head, and the greatest of the peer's conversationRead
// and own sent sequences ≥ the head's […]; false outside C2C".
func (v *view) isPeerRead(head message) bool {
	if v.name.Type != events.TypeC2C || head.From != v.user {
		return false
	}
	var reached uint64
	if _, read := v.peerRead(); read != nil {
		reached = read.Sequence
	}
	for _, sequence := range v.peerSent {
		reached = max(reached, sequence)
	}
	return reached >= head.Sequence
}

// inList: "head(C) exists; its sequence > the greatest deleted throughSequence
// of U for C […]; for a group, U's latest member status is joined and the group
// is not dismissed".
func (v *view) inList() bool {
	head, ok := v.head()
	return ok && head.Sequence > v.deleted() && v.readable()
}

// hidden: "while markList contains 4 and head's time ≤ the time of that
// conversationMarked".
func (v *view) hidden() bool {
	at, marked, ok := latest[*events.ConversationMarked](v.states)
	head, _ := v.head()
	return ok && slices.Contains(marked.MarkList, events.MarkHidden) && head.time <= at.Time
}

// known: "for a group, a membership event of U exists; else, an unexpired
// message of C (of whatever kind) exists, or an event on chat.state with U as
// userID and C as conversationID".
func (v *view) known() bool {
	if v.name.Type == events.TypeGroup {
		return len(v.members) > 0
	}
	return len(v.states) > 0 || slices.ContainsFunc(v.c.messages, func(m message) bool { return !v.t.expired(m) })
}

// nextMessageSeq is "1 + the greatest sequence of any message ever seen in the
// group, onlineOnly and expired ones included"; 0 while nobody may read it.
func (v *view) nextMessageSeq() uint64 {
	if !v.readable() {
		return 0
	}
	if n := len(v.c.messages); n > 0 {
		return v.c.messages[n-1].Sequence + 1
	}
	return 1
}
