package generate

import (
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// happening is something besides speaking and reading, and how often it comes
// compared with the others.
type happening struct {
	weight float64
	do     func(w *world, s *session)
}

var happenings = []happening{
	{14, (*world).catchUp},
	{14, (*world).noticeSomebody},
	{12, (*world).recall},
	{12, (*world).modify},
	{10, (*world).pin},
	{10, (*world).mark},
	{7, (*world).sort},
	{7, (*world).remind},
	{6, (*world).remark},
	{6, (*world).rename},
	{6, (*world).remove},
	{5, (*world).leave},
	{4, (*world).regroup},
	{4, (*world).annotate},
	{3, (*world).clear},
	{3, (*world).promote},
	{2, (*world).recallOld},
	{0.05, (*world).erase},
	{0.05, (*world).dismiss},
}

// allWeights is the sum of the weights.
var allWeights = func() (sum float64) {
	for _, h := range happenings {
		sum += h.weight
	}
	return sum
}()

func (w *world) happen(s *session) {
	f := w.rng.Float64() * allWeights
	for _, h := range happenings {
		if f -= h.weight; f < 0 {
			h.do(w, s)
			return
		}
	}
}

// catchUp lets somebody read their notices or a group that they do not talk in.
func (w *world) catchUp(s *session) {
	if p := pick(w.Generator, s.people); w.people[p].notices > w.config.FirstSequence && w.chance(0.4) {
		of := events.ConversationOf{UserID: w.people[p].id, ConversationID: events.SystemConversationID}
		w.push(w.app, &events.ConversationRead{ConversationOf: of, Sequence: w.people[p].notices})
		return
	}
	if len(w.groups) == 0 {
		return
	}
	g := &w.groups[w.low(len(w.groups))]
	if at := w.memberOf(g); at >= 0 && g.last > w.config.FirstSequence && !g.dismissed {
		w.readAs(&session{world: w, group: g}, g.members[at].person)
	}
}

func (w *world) noticeSomebody(s *session) {
	w.notice(pick(w.Generator, s.people), pick(w.Generator, notices))
}

// recall takes back the session's latest message.
func (w *world) recall(s *session) {
	if s.sequence == 0 {
		return
	}
	m := &events.MessageRecalled{Conversation: s.conversation(), Sequence: s.sequence, Revoker: w.people[s.speaker].id}
	if w.chance(0.3) {
		m.Reason = pick(w.Generator, reasons)
	}
	w.push(w.app, m)
	s.sequence = 0
}

// recallOld takes back a message of long ago; in a group the owner does.
func (w *world) recallOld(s *session) {
	since := *s.last() - w.config.FirstSequence
	m := &events.MessageRecalled{
		Conversation: s.conversation(),
		Sequence:     *s.last() - w.rng.Uint64N(since),
		Revoker:      w.people[s.speaker].id,
	}
	if s.group != nil {
		m.Revoker, m.Reason = w.people[s.group.owner].id, pick(w.Generator, reasons)
	}
	w.push(w.app, m)
}

func (w *world) modify(s *session) {
	if s.sequence > 0 && s.text {
		s.version++
		w.push(w.app, w.edit(s, s.sequence, s.version))
	}
}

func (w *world) pin(s *session) {
	w.push(w.app, &events.ConversationPinned{ConversationOf: s.of(pick(w.Generator, s.people)), IsPinned: w.chance(0.6)})
}

// mark sets the SDK's marks (star, unread, fold, hide) and now and then one of the app's own.
func (w *world) mark(s *session) {
	body := &events.ConversationMarked{ConversationOf: s.of(pick(w.Generator, s.people))}
	for _, m := range []struct {
		mark  uint64
		share float64
	}{{1, 0.45}, {2, 0.25}, {3, 0.1}, {events.MarkHidden, 0.15}, {1 << 32, 0.05}} {
		if w.chance(m.share) {
			body.MarkList = append(body.MarkList, m.mark)
		}
	}
	w.push(w.app, body)
}

// sort puts a conversation into somebody's own groups.
func (w *world) sort(s *session) {
	body := &events.ConversationGroupsSet{ConversationOf: s.of(pick(w.Generator, s.people))}
	for range w.rng.IntN(3) {
		body.ConversationGroupList = append(body.ConversationGroupList, pick(w.Generator, ownGroups))
	}
	slices.Sort(body.ConversationGroupList)
	body.ConversationGroupList = slices.Compact(body.ConversationGroupList)
	w.push(w.app, body)
}

func (w *world) remind(s *session) {
	w.push(w.app, &events.ConversationRemindTypeSet{
		ConversationOf: s.of(pick(w.Generator, s.people)), MessageRemindType: pick(w.Generator, remindTypes),
	})
}

func (w *world) remark(s *session) {
	if s.pair == nil {
		return
	}
	name := ""
	if w.chance(0.85) {
		name = w.people[s.pair.b].first + pick(w.Generator, remarks)
	}
	w.push(w.app, &events.FriendRemarkSet{UserID: w.people[s.pair.a].id, FriendID: w.people[s.pair.b].id, Remark: name})
}

// rename changes somebody's profile.
func (w *world) rename(s *session) {
	p := pick(w.Generator, s.people)
	if w.chance(0.4) {
		w.people[p].nick = w.people[p].first + " " + pick(w.Generator, moods)
	}
	w.people[p].level++
	w.push(w.app, w.profile(p))
}

func (w *world) remove(s *session) {
	w.push(w.app, &events.ConversationDeleted{
		ConversationOf:  s.of(pick(w.Generator, s.people)),
		ThroughSequence: *s.last(),
		ClearHistory:    w.chance(0.5),
	})
}

func (w *world) clear(s *session) {
	w.push(w.app, &events.ConversationCleared{ConversationOf: s.of(pick(w.Generator, s.people)), ThroughSequence: *s.last()})
}

// leave takes somebody out of the group who is in no session.
func (w *world) leave(s *session) {
	if s.group == nil || len(s.group.members) < 4 {
		return
	}
	at := w.rng.IntN(len(s.group.members))
	p := s.group.members[at].person
	if p == s.group.owner || w.people[p].erased || w.busy(p) {
		return
	}
	if w.chance(0.7) {
		w.depart(s.group, at, events.StatusLeft, "")
		return
	}
	w.depart(s.group, at, events.StatusKicked, w.people[s.group.owner].id)
	w.tip(s.group, p, 3, w.people[p].first+" was removed from the group")
}

// regroup changes the group's profile.
func (w *world) regroup(s *session) {
	g := s.group
	if g == nil {
		return
	}
	g.infoSequence++
	g.muted = w.chance(0.05)
	if w.chance(0.2) {
		g.avatar = w.file("group", "png")
	}
	w.push(w.app, w.groupProfile(g))
}

func (w *world) annotate(s *session) {
	body := &events.ConversationCustomDataSet{ConversationOf: s.of(pick(w.Generator, s.people))}
	if w.chance(0.8) {
		body.CustomData = `{"color":"` + pick(w.Generator, colors) + `"}`
	}
	w.push(w.app, body)
}

// promote changes a member's role or name in the group; when they joined stays.
func (w *world) promote(s *session) {
	if s.group == nil {
		return
	}
	at := w.memberOf(s.group)
	if at < 0 || s.group.members[at].person == s.group.owner {
		return
	}
	m := &s.group.members[at]
	m.role = pick(w.Generator, []string{"Admin", "Member"})
	m.nameCard = w.people[m.person].first + " · " + pick(w.Generator, roles)
	w.push(w.app, w.membership(s.group, *m, events.StatusJoined, w.people[s.group.owner].id))
}

// erase takes a minor person out of the world for ever.
func (w *world) erase(*session) {
	half := len(w.people) / 2
	p := int32(half + w.rng.IntN(len(w.people)-half))
	if float64(w.erased+1) > mayBeErased*float64(len(w.people)) || w.people[p].erased || !w.people[p].introduced || w.busy(p) ||
		slices.ContainsFunc(w.groups, func(g group) bool { return g.created != 0 && g.owner == p }) {
		return
	}
	w.erased++
	w.people[p].erased = true
	w.people[p].pairs = nil
	w.push(w.app, &events.UserErased{UserID: w.people[p].id})
}

// dismiss ends a small group that nobody talks in.
func (w *world) dismiss(*session) {
	half := len(w.groups) / 2
	if half == 0 {
		return
	}
	g := &w.groups[half+w.rng.IntN(len(w.groups)-half)]
	if g.created == 0 || g.dismissed || slices.ContainsFunc(w.sessions, func(s session) bool { return s.turns > 0 && s.group == g }) {
		return
	}
	g.dismissed = true
	g.infoSequence++
	w.push(w.app, w.groupProfile(g))
	g.members, g.waiting = nil, nil
}
