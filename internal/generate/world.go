package generate

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// world is the people and groups of one app. Indexes into people and groups
// are ranks: 0 is the busiest.
type world struct {
	*Generator
	app    string
	people []person
	pairs  []pair
	groups []group
	rank   *rand.Zipf // of people
	erased int
}

type person struct {
	id, nick, first, avatar string
	pairs                   []int32
	notices                 uint64 // the sequence of their SYSTEM conversation
	level                   uint32
	introduced, erased      bool
}

// pair is a friendship, and the sequence of its conversation. A pair of one is
// somebody's notes to themselves.
type pair struct {
	a, b int32
	last uint64
}

type group struct {
	id, name, avatar, kind string
	size                   int // how many people it grows to
	members                []member
	waiting                []int32 // those who will join
	last                   uint64
	created                events.Micros
	infoSequence           uint64
	owner                  int32
	muted, dismissed       bool
}

type member struct {
	person   int32
	role     string
	nameCard string
	sequence uint64 // the group's when they joined
	joined   events.Micros
}

const (
	pairsPerPerson = 4
	// largestGroup is the largest group's share of all people.
	largestGroup = 0.6
	// mayBeErased is the share of people who may ever be erased.
	mayBeErased = 0.02
)

func newWorld(g *Generator, app string) *world {
	w := &world{
		Generator: g,
		app:       app,
		people:    make([]person, g.config.People),
		groups:    make([]group, g.config.Groups),
		rank:      rand.NewZipf(g.rng, 1.2, 3+float64(g.config.People)/500, uint64(g.config.People-1)),
	}
	w.namePeople()
	w.befriend()
	w.nameGroups()
	for i := range w.groups {
		size := largestGroup * float64(g.config.People) / math.Pow(float64(i+1), 0.9)
		w.groups[i].size = min(g.config.People, max(3, int(size*(0.7+0.6*g.rng.Float64()))))
		w.groups[i].last = g.config.FirstSequence
	}
	return w
}

// befriend draws who knows whom: everybody knows somebody, the busy know many.
func (w *world) befriend() {
	n := len(w.people)
	known := make(map[[2]int32]bool, n*pairsPerPerson)
	add := func(a, b int32) {
		key := [2]int32{min(a, b), max(a, b)}
		if known[key] {
			return
		}
		known[key] = true
		at := int32(len(w.pairs))
		w.pairs = append(w.pairs, pair{a: a, b: b, last: w.config.FirstSequence})
		w.people[a].pairs = append(w.people[a].pairs, at)
		if a != b {
			w.people[b].pairs = append(w.people[b].pairs, at)
		}
	}
	for i := range n {
		for range 1 + w.rng.IntN(2*pairsPerPerson-1) {
			if friend := int32(w.rank.Uint64()); friend != int32(i) {
				add(int32(i), friend)
			}
		}
		// Everybody knows somebody.
		if len(w.people[i].pairs) == 0 {
			add(int32(i), int32((i+1)%n))
		}
		if i == 0 || w.chance(0.03) {
			add(int32(i), int32(i))
		}
	}
	// The order of a person's friends is how much they talk.
	for i := range w.people {
		list := w.people[i].pairs
		w.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
}

// introduce announces a person's profile when nobody has heard of them yet.
func (w *world) introduce(p int32) {
	who := &w.people[p]
	if who.introduced {
		return
	}
	who.introduced = true
	who.level = uint32(w.rng.IntN(40))
	w.push(w.app, w.profile(p))
	if w.chance(0.3) {
		w.notice(p, "Welcome to "+w.app+", "+who.first+"!")
	}
}

func (w *world) profile(p int32) *events.UserProfileChanged {
	who := &w.people[p]
	body := &events.UserProfileChanged{
		UserID: who.id, Nick: who.nick, Avatar: who.avatar,
		Gender:          pick(w.Generator, genders),
		AllowType:       events.DefaultAllowType,
		AdminForbidType: events.DefaultAdminForbidType,
		Level:           who.level,
	}
	if w.chance(0.5) {
		body.Location = pick(w.Generator, places)
		body.SelfSignature = pick(w.Generator, signatures)
		body.Birthday = uint32((1955+w.rng.IntN(52))*10000 + (1+w.rng.IntN(12))*100 + 1 + w.rng.IntN(28))
	}
	if w.chance(0.1) {
		body.AllowType = "AllowType_Type_NeedConfirm"
		body.Language = uint32(1 + w.rng.IntN(5))
		body.ProfileCustomField = []events.KeyValue{{Key: "Tag_Profile_Custom_Team", Value: pick(w.Generator, hobbies)}}
	}
	return body
}

// someone is a person who was not erased, more often a busy one.
func (w *world) someone() int32 {
	for {
		if p := int32(w.rank.Uint64()); !w.people[p].erased {
			return p
		}
	}
}

// create founds a group: its owner, some members, and those who will join.
func (w *world) create(g *group) {
	g.owner = w.someone()
	g.created = w.clock
	g.infoSequence = 1
	taken := map[int32]bool{g.owner: true}
	for range 6 * g.size {
		if len(taken) >= g.size {
			break
		}
		p := int32(w.rng.IntN(len(w.people)))
		if w.chance(0.5) {
			p = int32(w.rank.Uint64())
		}
		if !taken[p] && !w.people[p].erased {
			taken[p] = true
			g.waiting = append(g.waiting, p)
		}
	}
	w.introduce(g.owner)
	w.push(w.app, w.groupProfile(g))
	w.admit(g, g.owner, "Owner", "")
	for range min(len(g.waiting), 2+w.rng.IntN(6)+g.size/8) {
		w.join(g, false)
	}
}

func (w *world) groupProfile(g *group) *events.GroupProfileChanged {
	body := &events.GroupProfileChanged{
		GroupID: g.id, Name: g.name, Avatar: g.avatar, Type: g.kind,
		OwnerID:        w.people[g.owner].id,
		CreateTime:     g.created,
		MemberCount:    uint64(len(g.members)),
		MaxMemberCount: 6000,
		MuteAllMembers: g.muted,
		JoinOption:     pick(w.Generator, joinOptions),
		InviteOption:   "NeedPermission",
		InfoSequence:   g.infoSequence,
		Dismissed:      g.dismissed,
	}
	if w.chance(0.5) {
		body.Introduction = "All about " + pick(w.Generator, hobbies) + "."
		body.Notification = pick(w.Generator, notifications)
	}
	if g.kind == "Community" {
		body.IsSupportTopic = true
		body.GroupCustomField = []events.KeyValue{{Key: "theme", Value: pick(w.Generator, hobbies)}}
	}
	return body
}

// join lets the next one in who waits, with a tip when announced.
func (w *world) join(g *group, announced bool) {
	for len(g.waiting) > 0 {
		p := g.waiting[len(g.waiting)-1]
		g.waiting = g.waiting[:len(g.waiting)-1]
		if w.people[p].erased {
			continue
		}
		w.introduce(p)
		role, operator := "Member", ""
		switch {
		case len(g.members) < 3:
			role = "Admin"
		case w.chance(0.01):
			role = "Custom"
		}
		if w.chance(0.4) {
			operator = w.people[g.owner].id
		}
		w.admit(g, p, role, operator)
		if announced && w.chance(0.7) {
			w.tip(g, p, 1, w.people[p].first+" joined the group")
		}
		return
	}
}

func (w *world) admit(g *group, p int32, role, operator string) {
	m := member{person: p, role: role, sequence: g.last, joined: w.clock}
	if w.chance(0.12) {
		m.nameCard = w.people[p].first + " · " + pick(w.Generator, roles)
	}
	g.members = append(g.members, m)
	w.push(w.app, w.membership(g, m, events.StatusJoined, operator))
}

func (w *world) membership(g *group, m member, status, operator string) *events.GroupMemberChanged {
	return &events.GroupMemberChanged{
		GroupID: g.id, UserID: w.people[m.person].id, Status: status, Role: m.role, NameCard: m.nameCard,
		JoinSequence: m.sequence, JoinTime: m.joined, OperatorID: operator,
	}
}

// depart takes a member out; they may join again.
func (w *world) depart(g *group, at int, status, operator string) {
	m := g.members[at]
	m.role, m.nameCard, m.sequence, m.joined = "", "", 0, 0
	w.push(w.app, w.membership(g, m, status, operator))
	g.members = slices.Delete(g.members, at, at+1)
	g.waiting = slices.Insert(g.waiting, 0, m.person)
}

// memberOf is the place of a member who was not erased, more often an old one,
// or -1. Erased members are dropped where they are met.
func (w *world) memberOf(g *group) int {
	for len(g.members) > 0 {
		at := w.low(len(g.members))
		if !w.people[g.members[at].person].erased {
			return at
		}
		g.members = slices.Delete(g.members, at, at+1)
	}
	return -1
}

// busy reports whether somebody is in a session of this world.
func (w *world) busy(p int32) bool {
	return slices.ContainsFunc(w.sessions, func(s session) bool {
		return s.world == w && s.turns > 0 && slices.Contains(s.people, p)
	})
}
