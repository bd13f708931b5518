package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/convoview/convoview/internal/events"
)

// shape says how many people an app has and how many conversations each of
// them has. Beside those who are asked for there may be others with fewer.
type shape struct {
	app                         string
	people, conversations       int
	others, othersConversations int
}

// groupShare is the share of a user's conversations that are groups.
const groupShare = 0.2

// The sizes of groups.
const (
	minMembers = 10
	maxMembers = 200
)

// world is an app's people, and who talks to whom. The first people are those
// who are asked for; of the others each talks to the same number of them.
type world struct {
	shape
	people []string // by number
	pairs  []pair
	groups []group
	first  int // of the pairs of those who are asked for

	mentionEvery int // how many messages in groups there are to one that mentions somebody

	chat *chat
	rng  *rand.Rand
	ids  int // of the last event
}

// pair is a C2C conversation, and the sequence of its last message.
type pair struct {
	a, b int32
	last uint64
}

// group is a group with its members, and the sequence of its last message.
type group struct {
	id      string
	members []int32
	last    uint64
}

func newWorld(s shape, c *chat) (*world, error) {
	w := &world{shape: s, mentionEvery: mentionEvery, chat: c, rng: rand.New(rand.NewPCG(1, uint64(s.people+s.others)))}
	known := make(map[string]struct{}, s.people+s.others)
	for i := range s.people + s.others {
		id := c.person(i).UserID
		w.people = append(w.people, id)
		known[id] = struct{}{}
	}
	if len(known) < len(w.people) {
		return nil, fmt.Errorf("%s: only %d of %d people have names of their own", s.app, len(known), len(w.people))
	}

	groups := int(groupShare * float64(s.conversations))
	friends := s.conversations - groups // of each of the people
	w.gather(0, s.people, groups)
	if s.others > 0 {
		otherGroups := int(groupShare * float64(s.othersConversations))
		perPerson := s.others / s.people
		if s.others%s.people != 0 || perPerson > friends {
			return nil, fmt.Errorf("%s: %d others cannot be divided among %d people of %d friends", s.app, s.others, s.people, friends)
		}
		for i := range s.others {
			w.befriend(i%s.people, s.people+i)
		}
		friends -= perPerson
		w.gather(s.people, s.others, otherGroups)
		w.connect(s.people, s.others, s.othersConversations-otherGroups-1)
	}
	w.first = len(w.pairs)
	w.connect(0, s.people, friends)
	return w, nil
}

func (w *world) befriend(a, b int) { w.pairs = append(w.pairs, pair{a: int32(a), b: int32(b)}) }

// connect gives each of n people from first on the same number of friends
// among them. Nobody is next to whom they have nearly the same name with.
func (w *world) connect(first, n, friends int) {
	circle := w.rng.Perm(n)
	for distance := 1; distance <= friends/2; distance++ {
		for i := range n {
			w.befriend(first+circle[i], first+circle[(i+distance)%n])
		}
	}
	for i := range n / 2 * (friends % 2) {
		w.befriend(first+circle[i], first+circle[i+n/2])
	}
}

// friendly are pairs in which everybody who is asked for is the same even
// number of times.
func (w *world) friendly(times int) (pairs []int) {
	for i := range times / 2 * w.shape.people {
		pairs = append(pairs, w.first+i)
	}
	return pairs
}

// gathered are groups in which everybody who is asked for is the same number of times.
func (w *world) gathered(times int) (groups []int) {
	members := 0
	for i := range w.groups {
		if members == times*w.shape.people {
			break
		}
		members += len(w.groups[i].members)
		groups = append(groups, i)
	}
	return groups
}

// gather puts each of n people from first on into the same number of groups:
// turn by turn, in each of which everybody goes into one.
func (w *world) gather(first, n, groups int) {
	for range groups {
		rest := w.rng.Perm(n)
		for i := range rest {
			rest[i] += first
		}
		for len(rest) > 0 {
			size := min(len(rest), minMembers+w.rng.IntN(maxMembers-minMembers+1))
			if len(rest)-size < minMembers {
				size = len(rest)
			}
			g := group{id: w.chat.group(len(w.groups)).GroupID}
			for _, member := range rest[:size] {
				g.members = append(g.members, int32(member))
			}
			w.groups, rest = append(w.groups, g), rest[size:]
		}
	}
}

// event gives something that happens an ID and a time.
func (w *world) event(at events.Micros, body events.Body) events.Event {
	w.ids++
	return events.Event{ID: numbered(w.app, 'e', w.ids), App: w.app, Time: at, Body: body}
}

// inPair is the next message of a pair, from one of the two.
func (w *world) inPair(i int, at events.Micros) events.Event {
	p := &w.pairs[i]
	from := int(p.a)
	if w.rng.IntN(2) == 0 {
		from = int(p.b)
	}
	p.last++
	return w.message(events.C2C(w.people[p.a], w.people[p.b]), from, p.last, at)
}

// inGroup is the next message of a group, from one of its members. Every now
// and then it mentions another.
func (w *world) inGroup(i int, at events.Micros) events.Event {
	g := &w.groups[i]
	g.last++
	e := w.message(events.Group(g.id), int(g.members[w.rng.IntN(len(g.members))]), g.last, at)
	if w.rng.IntN(w.mentionEvery) == 0 {
		e.Body.(*events.MessageSent).AtUsers = []string{w.people[g.members[w.rng.IntN(len(g.members))]]}
	}
	return e
}

// mentionEvery is world.mentionEvery where people are asked for lists.
const mentionEvery = 20

func (w *world) message(in events.Conversation, from int, sequence uint64, at events.Micros) events.Event {
	return w.event(at, w.chat.say(w.rng, in, from, w.people[from], sequence, numbered(w.app, 'm', w.ids+1)))
}
