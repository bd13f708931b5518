package generate

import (
	"slices"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// session is a few people who talk in one conversation for some turns.
type session struct {
	world  *world
	pair   *pair  // or
	group  *group // in which they talk
	people []int32
	turns  int    // that are left; 0: it is over
	said   int    // how much was said
	used   uint32 // the topic's replies that were given, as bits
	talk   talk

	// The latest message of a person in it.
	speaker  int32
	sequence uint64 // 0: there is none
	text     bool
	version  uint64
}

const (
	groupShare = 0.55 // of sessions
	// sessionPeople bounds how many people talk in one session.
	sessionPeople = 6
)

// open begins a session with somebody's friend or in a group.
func (w *world) open(s *session) {
	*s = session{world: w, people: s.people[:0], talk: w.newTalk()}
	if len(w.groups) == 0 || !w.chance(groupShare) || !w.openGroup(s) {
		w.openPair(s)
	}
	for _, p := range s.people {
		w.introduce(p)
	}
	s.speaker = s.people[0]
	s.turns = 2
	for s.turns < 40 && w.chance(0.82) {
		s.turns++
	}
}

func (w *world) openPair(s *session) {
	for {
		who := &w.people[w.someone()]
		if len(who.pairs) == 0 {
			continue
		}
		at := w.low(len(who.pairs))
		p := &w.pairs[who.pairs[at]]
		if w.people[p.a].erased || w.people[p.b].erased {
			who.pairs = slices.Delete(who.pairs, at, at+1)
			continue
		}
		s.pair = p
		s.people = append(s.people, p.a)
		if p.a != p.b {
			s.people = append(s.people, p.b)
		}
		return
	}
}

// openGroup reports false when it found no group in which people could talk.
func (w *world) openGroup(s *session) bool {
	for range 4 {
		g := &w.groups[w.low(len(w.groups))]
		if g.dismissed {
			continue
		}
		if g.created == 0 {
			w.create(g)
		}
		if w.chance(0.4) {
			for range 1 + w.rng.IntN(3) {
				w.join(g, true)
			}
		}
		for range 2 + w.rng.IntN(sessionPeople-1) {
			at := w.memberOf(g)
			if at >= 0 && !slices.Contains(s.people, g.members[at].person) {
				s.people = append(s.people, g.members[at].person)
			}
		}
		if len(s.people) > 0 {
			s.group = g
			return true
		}
	}
	return false
}

func (s *session) conversation() events.Conversation {
	if s.group != nil {
		return events.Group(s.group.id)
	}
	return events.C2C(s.world.people[s.pair.a].id, s.world.people[s.pair.b].id)
}

// last is the conversation's last sequence.
func (s *session) last() *uint64 {
	if s.group != nil {
		return &s.group.last
	}
	return &s.pair.last
}

// of names a person's registers of the conversation.
func (s *session) of(p int32) events.ConversationOf {
	id := s.world.people[p].id
	return events.ConversationOf{UserID: id, ConversationID: s.conversation().IDFor(id)}
}

// turn lets somebody speak, the others read, and now and then something else happen.
func (w *world) turn(s *session) {
	s.turns--
	before := s.speaker
	for range 2 {
		if s.said > 0 && s.speaker == before {
			s.speaker = pick(w.Generator, s.people)
		}
	}
	drafted := w.chance(0.03)
	if drafted {
		line := w.line(s)
		w.push(w.app, &events.ConversationDraftSet{ConversationOf: s.of(s.speaker), DraftText: line[:strings.LastIndexByte(line, ' ')+1]})
	}
	w.speak(s)
	if drafted && w.chance(0.8) {
		w.push(w.app, &events.ConversationDraftSet{ConversationOf: s.of(s.speaker)})
	}
	w.read(s)
	if w.chance(0.12) {
		w.happen(s)
	}
}

// read lets some of the others see what was said.
func (w *world) read(s *session) {
	share := 0.65
	if s.group != nil {
		share = 0.22
		// Somebody who only reads.
		if at := w.memberOf(s.group); at >= 0 && w.chance(0.12) {
			w.readAs(s, s.group.members[at].person)
		}
	}
	for _, p := range s.people {
		if p != s.speaker && w.chance(share) {
			w.readAs(s, p)
		}
	}
}

func (w *world) readAs(s *session, p int32) {
	w.push(w.app, &events.ConversationRead{ConversationOf: s.of(p), Sequence: *s.last()})
}
