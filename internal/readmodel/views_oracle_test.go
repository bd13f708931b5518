package readmodel_test

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// expect says what the views are to say of events at a time: conversations as reading
// the contract word by word gives them, the rest counted and looked up one by one.
func expect(t rapid.TB, list []events.Event, now events.Micros) analysis {
	o := newOracle(list, now)
	for _, e := range o.list {
		o.message(e)
		o.register(e)
	}
	o.activity()
	o.conversations(t)
	return o.analysis
}

// oracle reads events without any merging: it looks through all of them for each answer.
type oracle struct {
	analysis
	list   []events.Event
	now    events.Micros
	erased map[[2]string]bool // by app and user
}

func newOracle(list []events.Event, now events.Micros) *oracle {
	o := &oracle{now: now, erased: map[[2]string]bool{}}
	seen := map[[2]string]bool{}
	for _, e := range list {
		if id := [2]string{e.App, e.ID}; !seen[id] {
			seen[id] = true
			o.list = append(o.list, e)
		}
		if b, ok := e.Body.(*events.UserErased); ok {
			o.erased[[2]string{e.App, b.UserID}] = true
		}
	}
	return o
}

// later reports whether an event of a register wins over another one.
func later(e, than events.Event) bool {
	return e.Time > than.Time || e.Time == than.Time && e.ID > than.ID
}

// last reports whether no event of the same register wins over e.
func (o *oracle) last(e events.Event, same func(other events.Event) bool) bool {
	return !slices.ContainsFunc(o.list, func(other events.Event) bool {
		return other.App == e.App && same(other) && later(other, e)
	})
}

func (o *oracle) expired(e events.Event) bool {
	retention := uint64(events.DefaultRetention)
	var plan events.Event
	for _, other := range o.list {
		if b, ok := other.Body.(*events.AppPlanChanged); ok && other.App == e.App && later(other, plan) {
			plan, retention = other, b.Retention
		}
	}
	if now := uint64(o.now.Seconds()); retention == 0 || retention > now {
		return false
	}
	return e.Time.Day() < (o.now - events.Micros(retention)*1_000_000).Day()
}

// typeOf is a conversation's type as the views have it.
func typeOf(c events.Conversation) string { return strings.TrimPrefix(c.Type.String(), "@TIM#") }

// gone reports whether erasure leaves nothing of a conversation.
func (o *oracle) gone(app string, c events.Conversation) bool {
	return c.Type != events.TypeGroup && (o.erased[[2]string{app, c.A}] || o.erased[[2]string{app, c.B}])
}

func (o *oracle) message(e events.Event) {
	b, ok := e.Body.(*events.MessageSent)
	if !ok || o.expired(e) || o.gone(e.App, b.Conversation) {
		return
	}
	row := messageView{
		App: e.App, Type: typeOf(b.Conversation), FromUser: b.From, Sequence: b.Sequence, MessageID: b.MessageID,
		MessageType: b.Type, Time: e.Time.Time(), Text: b.MessageForShow, MentionsAll: b.AtAll,
		Counted: !b.OnlineOnly && !b.ExcludedFromUnread, Shown: !b.OnlineOnly && !b.ExcludedFromLast,
	}
	switch b.Conversation.Type {
	case events.TypeGroup:
		row.GroupID = b.Conversation.A
	case events.TypeC2C:
		row.ToUser = b.Conversation.Peer(b.From)
	case events.TypeSystem:
		row.ToUser = b.Conversation.A
	}
	for _, user := range b.AtUsers {
		if !o.erased[[2]string{e.App, user}] {
			row.Mentions = append(row.Mentions, user)
		}
	}
	var modified events.Event
	for _, other := range o.list {
		if other.App != e.App {
			continue
		}
		switch m := other.Body.(type) {
		case *events.MessageRecalled:
			row.IsRecalled = row.IsRecalled || m.Conversation == b.Conversation && m.Sequence == b.Sequence
		case *events.MessageModified:
			if m.Conversation == b.Conversation && m.Sequence == b.Sequence &&
				(m.Version > row.Version || m.Version == row.Version && later(other, modified)) {
				row.Version, modified = m.Version, other
			}
		}
	}
	if m, ok := modified.Body.(*events.MessageModified); ok {
		switch {
		case m.HasMessageForShow:
			row.Text = m.MessageForShow
		case m.Payload != nil:
			row.Text = events.Preview(b.Type, m.PayloadText)
		}
	}
	if o.erased[[2]string{e.App, b.From}] {
		row.FromUser, row.IsRecalled = "", true
	}
	if row.IsRecalled {
		row.Text = ""
	}
	o.Messages = append(o.Messages, row)
}

func (o *oracle) register(e events.Event) {
	erased := func(user string) bool { return o.erased[[2]string{e.App, user}] }
	switch b := e.Body.(type) {
	case *events.ConversationRead:
		if erased(b.UserID) || o.gone(e.App, b.Conversation()) || slices.ContainsFunc(o.list, func(other events.Event) bool {
			r, ok := other.Body.(*events.ConversationRead)
			return ok && other.App == e.App && r.ConversationOf == b.ConversationOf &&
				(r.Sequence > b.Sequence || r.Sequence == b.Sequence && later(other, e))
		}) {
			return
		}
		o.Reads = append(o.Reads, readView{e.App, b.UserID, b.ConversationID, b.Sequence, e.Time.Time()})
	case *events.GroupMemberChanged:
		if erased(b.UserID) || !o.last(e, func(other events.Event) bool {
			m, ok := other.Body.(*events.GroupMemberChanged)
			return ok && m.GroupID == b.GroupID && m.UserID == b.UserID
		}) {
			return
		}
		o.GroupMembers = append(o.GroupMembers, memberView{e.App, b.GroupID, b.UserID, b.Status, b.Role, b.NameCard, b.JoinSequence, e.Time.Time()})
	case *events.GroupProfileChanged:
		if !o.last(e, func(other events.Event) bool {
			g, ok := other.Body.(*events.GroupProfileChanged)
			return ok && g.GroupID == b.GroupID
		}) {
			return
		}
		owner := b.OwnerID
		if erased(owner) {
			owner = ""
		}
		o.GroupProfiles = append(o.GroupProfiles, groupView{
			e.App, b.GroupID, b.Name, b.Avatar, b.Type, b.Introduction, b.Notification, owner,
			min(max(int64(b.CreateTime), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()), time.Date(2300, 1, 1, 0, 0, 0, -1000, time.UTC).UnixMicro()),
			b.MemberCount, b.MaxMemberCount, b.MuteAllMembers, b.JoinOption, b.InviteOption, b.IsSupportTopic, b.InfoSequence,
			b.GroupCustomField, b.Dismissed, e.Time.Time(),
		})
	case *events.UserProfileChanged:
		if erased(b.UserID) || !o.last(e, func(other events.Event) bool {
			u, ok := other.Body.(*events.UserProfileChanged)
			return ok && u.UserID == b.UserID
		}) {
			return
		}
		o.UserProfiles = append(o.UserProfiles, userView{
			e.App, b.UserID, b.Nick, b.Avatar, b.Gender, b.Birthday, b.Location, b.SelfSignature, b.AllowType,
			b.Language, b.MessageSettings, b.AdminForbidType, b.Level, b.Role, b.ProfileCustomField, e.Time.Time(),
		})
	}
}

func (o *oracle) activity() {
	counted := countActivity(o.list)
	for k, c := range counted.Types {
		o.ActivityDaily = append(o.ActivityDaily, activityView{k.App, k.Day.Time(), k.Of, c.Messages, c.Senders, c.Conversations})
	}
	for k, c := range counted.Users {
		if !o.erased[[2]string{k.App, k.Of}] {
			o.ActivityUserDaily = append(o.ActivityUserDaily, userActivityView{k.App, k.Day.Time(), k.Of, c.Messages, c.Conversations})
		}
	}
}

// item is what an item of the API and a row of the view both say.
type item struct {
	ConversationID        string   `json:"conversationID"`
	Type                  string   `json:"type"`
	UnreadCount           uint64   `json:"unreadCount"`
	IsPinned              bool     `json:"isPinned"`
	MessageRemindType     string   `json:"messageRemindType"`
	MarkList              []uint64 `json:"markList"`
	ConversationGroupList []string `json:"conversationGroupList"`
	LastMessage           struct {
		LastTime       int64  `json:"lastTime"`
		LastSequence   uint64 `json:"lastSequence"`
		FromAccount    string `json:"fromAccount"`
		MessageForShow string `json:"messageForShow"`
	} `json:"lastMessage"`
}

// conversations are what lists show, and what they hide. Their cut is no matter of the view.
func (o *oracle) conversations(t rapid.TB) {
	chat := bruteforce.New(uncut(o.list), o.now)
	for app, ids := range idsByApp(o.list) {
		for _, user := range chat.Users(app) {
			visible := map[string]bool{}
			for _, i := range itemsOf(t, chat.List(app, user, bruteforce.Filter{})) {
				visible[i.ConversationID] = true
			}
			for _, i := range itemsOf(t, chat.List(app, user, bruteforce.Filter{IDs: ids})) {
				o.Conversations = append(o.Conversations, conversationView{
					app, user, i.ConversationID, strings.TrimPrefix(i.Type, "@TIM#"), i.UnreadCount,
					time.Unix(i.LastMessage.LastTime, 0).UTC(), i.LastMessage.LastSequence, i.LastMessage.FromAccount, i.LastMessage.MessageForShow,
					i.IsPinned, !visible[i.ConversationID], i.MessageRemindType, i.MarkList, i.ConversationGroupList,
				})
			}
		}
	}
}

// uncut has no list cut.
func uncut(list []events.Event) []events.Event {
	list = slices.Clone(list)
	for i := range list {
		if b, ok := list[i].Body.(*events.AppPlanChanged); ok {
			list[i].Body = &events.AppPlanChanged{MaxConversations: 1000, Retention: b.Retention}
		}
	}
	return list
}

// idsByApp gives the IDs of all conversations that anybody could have, by app.
func idsByApp(list []events.Event) map[string][]string {
	ids := map[string][]string{}
	for _, e := range list {
		add := func(id string) { ids[e.App] = append(ids[e.App], id) }
		switch b := e.Body.(type) {
		case *events.MessageSent:
			add(b.Conversation.IDFor(b.Conversation.A))
			add(b.Conversation.IDFor(b.Conversation.Peer(b.Conversation.A)))
		default:
			add(events.SystemConversationID)
		}
	}
	for app := range ids {
		slices.Sort(ids[app])
		ids[app] = slices.Compact(ids[app])
	}
	return ids
}

func itemsOf(t rapid.TB, list []any) []item {
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var items []item
	if err := json.Unmarshal(b, &items); err != nil {
		t.Fatal(err)
	}
	return items
}
