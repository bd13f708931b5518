package projection

import (
	"cmp"
	"slices"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// Key names the registers of one conversation under one owner.
type Key struct {
	App string
	// Owner is the user whose registers they are, or "" for what all members of
	// a group share: a message to a group is written once, not once per member.
	Owner string
	// ConversationID is from the owner's point of view.
	ConversationID string
}

// State is all registers under one Key, and a join-semilattice.
type State struct {
	// The conversation's side: of the owner's C2C or SYSTEM conversation, or of the group.

	// Head is the greatest message that may be shown; nil: none. It never changes, another
	// one takes its place, so that many can have it in common.
	Head *Head
	// LastSequence is the greatest sequence of any message ever seen in a group.
	LastSequence uint64
	// EditedSequence is the greatest sequence that any recall or modification
	// names: a head above it was never edited and needs no look-up.
	EditedSequence uint64
	// Days hold the messages that count, ascending by day.
	Days []Day
	// Recalled are the sequences of all recalled messages. A recall does not know its message's day.
	Recalled Sequences
	// Mentions are those of the owner, or of everyone when the owner is "", in groups; ascending.
	Mentions []Mention

	// The user's side; absent under the owner "".

	// Known says that the user has set any register of this conversation.
	Known bool
	// Read and PeerRead are the greatest conversationRead of the owner and, in C2C, of the peer.
	Read, PeerRead ReadMark
	// Sent and PeerSent are the greatest sequence that the owner and, in C2C, the peer has sent.
	Sent, PeerSent uint64
	// Deleted and Cleared are the greatest throughSequence of each.
	Deleted, Cleared uint64
	// Set is what was set for the owner; nil: nothing. It never changes, as Head.
	Set *Settings
}

// Settings are the registers that are set for the owner of a conversation, by the owner
// or, as a membership, by others. Of most conversations none ever is.
type Settings struct {
	Pinned     Register[bool]
	RemindType Register[string]
	Marks      Register[[]uint64]
	Groups     Register[[]string]
	CustomData Register[string]
	Draft      Register[string]
	Remark     Register[string]
	Member     Register[Member]
}

// noSettings are those of whom nothing was ever set.
var noSettings Settings

// Settings are what was set, to be read; never nil.
func (s *State) Settings() *Settings { return cmp.Or(s.Set, &noSettings) }

// set makes a change to what was set.
func (s *State) set(change func(*Settings)) {
	changed := *s.Settings()
	change(&changed)
	s.Set = &changed
}

// merge folds other into s.
func (s *Settings) merge(other *Settings) {
	s.Pinned.Merge(other.Pinned, compareBool)
	s.RemindType.Merge(other.RemindType, strings.Compare)
	s.Marks.Merge(other.Marks, slices.Compare)
	s.Groups.Merge(other.Groups, slices.Compare)
	s.CustomData.Merge(other.CustomData, strings.Compare)
	s.Draft.Merge(other.Draft, strings.Compare)
	s.Remark.Merge(other.Remark, strings.Compare)
	s.Member.Merge(other.Member, compareMembers)
}

// Day is one UTC day of a conversation. It exists when any message of that day does.
type Day struct {
	Day events.Day
	// Counted are the messages that count as unread for those who have not read
	// them. Those that the owner of a C2C conversation sent are left out:
	// sending is reading.
	Counted Sequences
	// Uncounted are those that are onlineOnly or excluded from the count; it wins over Counted.
	Uncounted Sequences
}

// Mention is a message that mentions somebody.
type Mention struct {
	Day      events.Day
	Sequence uint64
}

func compareMentions(a, b Mention) int {
	return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Sequence, b.Sequence))
}

// Merge folds other into s. It keeps references to other's values and changes none of them.
func (s *State) Merge(other *State) {
	s.show(other.Head)
	s.LastSequence = max(s.LastSequence, other.LastSequence)
	s.EditedSequence = max(s.EditedSequence, other.EditedSequence)
	for _, d := range other.Days {
		day := s.day(d.Day)
		day.Counted.Union(d.Counted)
		day.Uncounted.Union(d.Uncounted)
	}
	s.Recalled.Union(other.Recalled)
	for _, m := range other.Mentions {
		s.mention(m)
	}

	s.Known = s.Known || other.Known
	s.Read.merge(other.Read)
	s.PeerRead.merge(other.PeerRead)
	s.Sent = max(s.Sent, other.Sent)
	s.PeerSent = max(s.PeerSent, other.PeerSent)
	s.Deleted = max(s.Deleted, other.Deleted)
	s.Cleared = max(s.Cleared, other.Cleared)
	if other.Set != nil {
		s.set(func(own *Settings) { own.merge(other.Set) })
	}
}

// read is the sequence up to which the owner has read everything, whatever membership says.
// It never falls.
func (s *State) read() uint64 { return max(s.Read.Sequence, s.Sent, s.Deleted, s.Cleared) }

// show makes a message the head if it is greater than the one that is.
func (s *State) show(h *Head) {
	if h != nil && (s.Head == nil || s.Head.compare(h) < 0) {
		s.Head = h
	}
}

// day is the state's part for d, made when it is not there.
func (s *State) day(d events.Day) *Day {
	n := len(s.Days)
	if n > 0 && s.Days[n-1].Day == d {
		return &s.Days[n-1]
	}
	i, found := slices.BinarySearchFunc(s.Days, d, func(e Day, d events.Day) int { return cmp.Compare(e.Day, d) })
	if !found {
		s.Days = slices.Insert(s.Days, i, Day{Day: d})
	}
	return &s.Days[i]
}

// count puts a message of a day among those that count as unread, or those that do not.
func (s *State) count(day events.Day, counted bool, sequence uint64) {
	if d := s.day(day); counted {
		d.Counted.Add(sequence)
	} else {
		d.Uncounted.Add(sequence)
	}
}

func (s *State) mention(m Mention) {
	if i, found := slices.BinarySearchFunc(s.Mentions, m, compareMentions); !found {
		s.Mentions = slices.Insert(s.Mentions, i, m)
	}
}
