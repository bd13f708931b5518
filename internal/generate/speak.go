package generate

import (
	"strings"
	"unicode/utf8"

	"github.com/convoview/convoview/internal/events"
)

// speak lets the session's speaker say something.
func (w *world) speak(s *session) {
	m := w.compose(s)
	ahead := w.chance(0.004)
	if w.chance(0.003) {
		// What is said is taken back before it is seen.
		w.push(w.app, &events.MessageRecalled{Conversation: m.Conversation, Sequence: m.Sequence, Revoker: m.From})
	}
	if ahead && m.Type == events.TypeText {
		w.push(w.app, w.edit(s, m.Sequence, 1))
		s.version = 1
	}
	w.push(w.app, m)
	s.said++
}

// compose makes the session's next message.
func (w *world) compose(s *session) *events.MessageSent {
	last := s.last()
	*last++
	who := &w.people[s.speaker]
	m := &events.MessageSent{
		Conversation: s.conversation(),
		From:         who.id,
		MessageID:    w.messageID(),
		Sequence:     *last,
		Nick:         who.nick,
		Avatar:       who.avatar,
	}
	if s.group != nil {
		m.NameCard = w.nameCard(s.group, s.speaker)
	}
	w.fill(s, m)
	if w.chance(0.02) && s.sequence > 0 {
		m.CloudCustomData = `{"messageReply":{"messageSequence":` + number(s.sequence) + `}}`
	}
	switch f := w.rng.Float64(); {
	case f < 0.003:
		m.OnlineOnly = true
	case f < 0.006:
		m.ExcludedFromUnread = true
	case f < 0.008:
		m.ExcludedFromLast = true
	}
	s.sequence, s.text, s.version = m.Sequence, m.Type == events.TypeText, 0
	return m
}

// fill draws what the message is: mostly text.
func (w *world) fill(s *session, m *events.MessageSent) {
	f := w.rng.Float64()
	for _, e := range elements {
		if f -= e.share; f < 0 {
			m.Type = e.name
			m.Payload, m.MessageForShow = e.make(w)
			if m.MessageForShow == "" {
				m.MessageForShow = events.Preview(m.Type, "")
			}
			return
		}
	}
	text := w.line(s)
	if s.group != nil {
		text = w.mention(s, m) + text
	}
	m.Type, m.Payload, m.MessageForShow = events.TypeText, textPayload(text), cut(text)
}

// mention addresses somebody, or everybody, in a group.
func (w *world) mention(s *session, m *events.MessageSent) string {
	text := ""
	if w.chance(0.012) && w.leads(s.group, s.speaker) {
		m.AtAll = true
		text = "@All "
	}
	if !w.chance(0.07) {
		return text
	}
	at := w.memberOf(s.group)
	if at < 0 || s.group.members[at].person == s.speaker {
		return text
	}
	whom := &w.people[s.group.members[at].person]
	m.AtUsers = []string{whom.id}
	return text + "@" + whom.first + " "
}

// leads reports whether somebody is the owner or an early member of a group.
func (w *world) leads(g *group, p int32) bool {
	for _, m := range g.members[:min(len(g.members), 8)] {
		if m.person == p {
			return true
		}
	}
	return false
}

// nameCard is a member's name in a group, if it is known without a search.
func (w *world) nameCard(g *group, p int32) string {
	for _, m := range g.members[:min(len(g.members), 64)] {
		if m.person == p {
			return m.nameCard
		}
	}
	return ""
}

// edit is a modification of one of the session's texts.
func (w *world) edit(s *session, sequence, version uint64) *events.MessageModified {
	m := &events.MessageModified{Conversation: s.conversation(), Sequence: sequence, Version: version}
	text := w.line(s)
	m.Payload, m.PayloadText = textPayload(text), cut(text)
	switch {
	case w.chance(0.1):
		m.HasMessageForShow, m.MessageForShow = true, cut("✏️ "+text)
	case w.chance(0.1):
		m.HasCloudCustomData, m.CloudCustomData = true, `{"edited":true}`
	}
	return m
}

// tip is a line that a group shows about itself. It counts for nobody.
func (w *world) tip(g *group, about int32, operation int, text string) {
	g.last++
	m := &events.MessageSent{
		Conversation:       events.Group(g.id),
		From:               w.people[g.owner].id,
		MessageID:          w.messageID(),
		Sequence:           g.last,
		Type:               "TIMGroupTipElem",
		MessageForShow:     text,
		ExcludedFromUnread: true,
	}
	m.Payload = object("operationType", operation, "operatorID", m.From, "userIDList", []string{w.people[about].id})
	switch {
	case g.kind == events.GroupTypeAVChatRoom:
		m.OnlineOnly = true
	case w.chance(0.3):
		m.ExcludedFromLast = true
	}
	w.push(w.app, m)
}

// notice is a message in a person's SYSTEM conversation.
func (w *world) notice(p int32, text string) {
	who := &w.people[p]
	if who.notices == 0 {
		who.notices = w.config.FirstSequence
	}
	who.notices++
	m := &events.MessageSent{
		Conversation:   events.System(who.id),
		MessageID:      w.messageID(),
		Sequence:       who.notices,
		Type:           "TIMGroupSystemNoticeElem",
		Payload:        object("operationType", 255, "text", text),
		MessageForShow: text,
	}
	if w.chance(0.5) {
		m.From = "administrator"
	}
	w.push(w.app, m)
}

func (w *world) messageID() string {
	w.messages++
	return w.id('m', w.messages)
}

// cut is what a preview shows of a text.
func cut(text string) string {
	if utf8.RuneCountInString(text) <= events.MaxPreviewRunes {
		return text
	}
	return string([]rune(text)[:events.MaxPreviewRunes])
}

// line is what the session's speaker says next.
func (w *world) line(s *session) string {
	var b strings.Builder
	for _, part := range w.sentence(s) {
		switch {
		case part.slot == slotName:
			b.WriteString(w.people[w.another(s)].first)
		case part.slot != 0:
			b.WriteString(s.talk.words[part.slot])
		default:
			b.WriteString(part.text)
		}
	}
	return b.String()
}

// sentence draws a line of the session's topic, a reply only once if it can.
func (w *world) sentence(s *session) line {
	switch {
	case s.said == 0:
		return pick(w.Generator, s.talk.topic.openers)
	case s.turns == 0:
		return pick(w.Generator, s.talk.topic.closers)
	case w.chance(0.15):
		return pick(w.Generator, chatter)
	}
	at := 0
	for range 4 {
		at = w.rng.IntN(len(s.talk.topic.replies))
		if s.used&(1<<at) == 0 {
			s.used |= 1 << at
			return s.talk.topic.replies[at]
		}
	}
	if w.chance(0.7) {
		return pick(w.Generator, chatter)
	}
	return s.talk.topic.replies[at]
}

// another is somebody else in the session, where there is anybody else.
func (w *world) another(s *session) int32 {
	at := w.rng.IntN(len(s.people))
	if s.people[at] == s.speaker {
		at = (at + 1) % len(s.people)
	}
	return s.people[at]
}
