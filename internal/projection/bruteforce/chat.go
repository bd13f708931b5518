package bruteforce

import (
	"cmp"
	"maps"
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// Chat is what some events say at one moment.
type Chat struct {
	now  events.Micros
	apps map[string]*tenant
}

// message is a messageSent with the time, its UTC day, and the ID of its event.
type message struct {
	*events.MessageSent
	time events.Micros
	day  events.Day
	id   string
}

// conversation is everything that concerns all users of a conversation.
type conversation struct {
	// messages ascend by (sequence, time, id).
	messages []message
	// recalls and modifications are the events of one sequence.
	recalls, modifications map[uint64][]events.Event
}

// owned names what one user has of one conversation.
type owned struct {
	user         string
	conversation events.Conversation
}

// tenant holds the events of one app that count.
type tenant struct {
	erased        map[string]bool
	plans         []events.Event
	conversations map[events.Conversation]*conversation
	// states are the events of chat.state with this user and this
	// conversation, sent the sequences of the messages that they sent to it.
	states map[owned][]events.Event
	sent   map[owned][]uint64
	// members are the membership events of a user (groups only).
	members       map[owned][]events.Event
	remarks       map[owned][]events.Event
	userProfiles  map[string][]events.Event
	groupProfiles map[string][]events.Event
	// mayList are the conversations that could be in a user's list: those
	// with a message in C2C and SYSTEM, those with a membership event.
	mayList map[string]map[events.Conversation]bool
	users   map[string]bool
	// firstDay is the first UTC day that is not expired, if any day is.
	firstDay events.Day
	expires  bool
}

// New reads events, in any order and with any repeats, as they stand at now.
func New(all []events.Event, now events.Micros) *Chat {
	c := &Chat{now: now, apps: make(map[string]*tenant)}
	type name struct{ app, id string }
	seen := make(map[name]bool, len(all))
	var distinct []events.Event
	for _, e := range all {
		if key := (name{e.App, e.ID}); !seen[key] {
			seen[key] = true
			distinct = append(distinct, e)
		}
	}
	// Erasure holds whenever it arrives: it is looked for first.
	for _, e := range distinct {
		t := c.apps[e.App]
		if t == nil {
			t = newTenant()
			c.apps[e.App] = t
		}
		if erased, ok := e.Body.(*events.UserErased); ok {
			t.erased[erased.UserID] = true
		}
	}
	for _, e := range distinct {
		t := c.apps[e.App]
		t.name(e)
		if !t.countsForNothing(e) {
			t.add(e)
		}
	}
	for _, t := range c.apps {
		t.finish(now)
	}
	return c
}

// tenant is what is known of an app, possibly nothing.
func (c *Chat) tenant(app string) *tenant {
	if t := c.apps[app]; t != nil {
		return t
	}
	t := newTenant()
	t.finish(c.now)
	return t
}

func newTenant() *tenant {
	return &tenant{
		erased:        make(map[string]bool),
		conversations: make(map[events.Conversation]*conversation),
		states:        make(map[owned][]events.Event),
		sent:          make(map[owned][]uint64),
		members:       make(map[owned][]events.Event),
		remarks:       make(map[owned][]events.Event),
		userProfiles:  make(map[string][]events.Event),
		groupProfiles: make(map[string][]events.Event),
		mayList:       make(map[string]map[events.Conversation]bool),
		users:         make(map[string]bool),
	}
}

// stateOf is the user and the conversation of an event on chat.state that
// carries a userID and a conversationID.
func stateOf(body events.Body) (events.ConversationOf, bool) {
	switch b := body.(type) {
	case *events.ConversationRead:
		return b.ConversationOf, true
	case *events.ConversationPinned:
		return b.ConversationOf, true
	case *events.ConversationRemindTypeSet:
		return b.ConversationOf, true
	case *events.ConversationMarked:
		return b.ConversationOf, true
	case *events.ConversationGroupsSet:
		return b.ConversationOf, true
	case *events.ConversationCustomDataSet:
		return b.ConversationOf, true
	case *events.ConversationDraftSet:
		return b.ConversationOf, true
	case *events.ConversationDeleted:
		return b.ConversationOf, true
	case *events.ConversationCleared:
		return b.ConversationOf, true
	default:
		return events.ConversationOf{}, false
	}
}

// countsForNothing: "every event of or about [an erased user] counts for
// nothing", "C2C conversations with them are gone at the other end"; but "their
// messages to groups and in @TIM#SYSTEM keep their place", and "a recall or
// modification that they made stands".
func (t *tenant) countsForNothing(e events.Event) bool {
	if of, ok := stateOf(e.Body); ok {
		return t.erased[of.UserID] || t.gone(of.Conversation())
	}
	switch b := e.Body.(type) {
	case *events.MessageSent:
		return t.gone(b.Conversation)
	case *events.MessageRecalled:
		return t.gone(b.Conversation)
	case *events.MessageModified:
		return t.gone(b.Conversation)
	case *events.GroupMemberChanged:
		return t.erased[b.UserID]
	case *events.UserProfileChanged:
		return t.erased[b.UserID]
	case *events.FriendRemarkSet:
		return t.erased[b.UserID] || t.erased[b.FriendID]
	default:
		return false
	}
}

// gone reports whether a conversation is an erased user's, or with one.
func (t *tenant) gone(c events.Conversation) bool {
	switch c.Type {
	case events.TypeC2C:
		return t.erased[c.A] || t.erased[c.B]
	case events.TypeSystem:
		return t.erased[c.A]
	default:
		return false
	}
}

// add indexes an event that counts.
func (t *tenant) add(e events.Event) {
	if of, ok := stateOf(e.Body); ok {
		key := owned{of.UserID, of.Conversation()}
		t.states[key] = append(t.states[key], e)
		return
	}
	switch b := e.Body.(type) {
	case *events.MessageSent:
		c := t.conversation(b.Conversation)
		c.messages = append(c.messages, message{MessageSent: b, time: e.Time, day: e.Time.Day(), id: e.ID})
		key := owned{b.From, b.Conversation}
		t.sent[key] = append(t.sent[key], b.Sequence)
		switch b.Conversation.Type {
		case events.TypeC2C:
			t.maybe(b.Conversation.A, b.Conversation)
			t.maybe(b.Conversation.B, b.Conversation)
		case events.TypeSystem:
			t.maybe(b.Conversation.A, b.Conversation)
		case events.TypeGroup: // membership decides
		}
	case *events.MessageRecalled:
		c := t.conversation(b.Conversation)
		c.recalls[b.Sequence] = append(c.recalls[b.Sequence], e)
	case *events.MessageModified:
		c := t.conversation(b.Conversation)
		c.modifications[b.Sequence] = append(c.modifications[b.Sequence], e)
	case *events.GroupMemberChanged:
		key := owned{b.UserID, events.Group(b.GroupID)}
		t.members[key] = append(t.members[key], e)
		t.maybe(b.UserID, events.Group(b.GroupID))
	case *events.GroupProfileChanged:
		t.groupProfiles[b.GroupID] = append(t.groupProfiles[b.GroupID], e)
	case *events.UserProfileChanged:
		t.userProfiles[b.UserID] = append(t.userProfiles[b.UserID], e)
	case *events.FriendRemarkSet:
		key := owned{b.UserID, events.C2C(b.UserID, b.FriendID)}
		t.remarks[key] = append(t.remarks[key], e)
	case *events.AppPlanChanged:
		t.plans = append(t.plans, e)
	}
}

func (t *tenant) conversation(name events.Conversation) *conversation {
	c := t.conversations[name]
	if c == nil {
		c = &conversation{
			recalls:       make(map[uint64][]events.Event),
			modifications: make(map[uint64][]events.Event),
		}
		t.conversations[name] = c
	}
	return c
}

func (t *tenant) maybe(user string, c events.Conversation) {
	if t.mayList[user] == nil {
		t.mayList[user] = make(map[events.Conversation]bool)
	}
	t.mayList[user][c] = true
}

// finish sorts the messages and finds the first day that is not expired.
func (t *tenant) finish(now events.Micros) {
	for _, c := range t.conversations {
		slices.SortFunc(c.messages, func(a, b message) int {
			return cmp.Or(
				cmp.Compare(a.Sequence, b.Sequence),
				cmp.Compare(a.time, b.time),
				cmp.Compare(a.id, b.id),
			)
		})
	}
	_, retention := t.plan()
	// A retention that reaches back to 1970 is for ever, too: no event is older.
	if t.expires = retention > 0 && retention < uint64(now.Seconds()); t.expires {
		t.firstDay = (now - events.Micros(retention)*1_000_000).Day()
	}
}

// plan is the app's: maxConversations and retention in seconds.
func (t *tenant) plan() (uint32, uint64) {
	if _, plan, ok := latest[*events.AppPlanChanged](t.plans); ok {
		return plan.MaxConversations, plan.Retention
	}
	return events.DefaultMaxConversations, events.DefaultRetention
}

// latest is the latest body of one kind in a list: of the greatest time, then id.
func latest[B events.Body](list []events.Event) (events.Event, B, bool) {
	var at events.Event
	var value B
	found := false
	for _, e := range list {
		if b, ok := e.Body.(B); ok && (!found || e.Time > at.Time || e.Time == at.Time && e.ID > at.ID) {
			at, value, found = e, b, true
		}
	}
	return at, value, found
}

// name notes the users that an event names.
func (t *tenant) name(e events.Event) {
	if of, ok := stateOf(e.Body); ok {
		t.users[of.UserID] = true
		t.participants(of.Conversation())
		return
	}
	switch b := e.Body.(type) {
	case *events.MessageSent:
		if b.From != "" {
			t.users[b.From] = true
		}
		t.participants(b.Conversation)
	case *events.MessageRecalled:
		t.participants(b.Conversation)
	case *events.MessageModified:
		t.participants(b.Conversation)
	case *events.GroupMemberChanged:
		t.users[b.UserID] = true
	case *events.UserProfileChanged:
		t.users[b.UserID] = true
	case *events.FriendRemarkSet:
		t.users[b.UserID] = true
	case *events.UserErased:
		t.users[b.UserID] = true
	}
}

func (t *tenant) participants(c events.Conversation) {
	switch c.Type {
	case events.TypeC2C:
		t.users[c.A], t.users[c.B] = true, true
	case events.TypeSystem:
		t.users[c.A] = true
	case events.TypeGroup:
	}
}

// Users are all users that an event of an app names as sender, receiver,
// member or owner of a register, erased ones included; ascending.
func (c *Chat) Users(app string) []string {
	return slices.Sorted(maps.Keys(c.tenant(app).users))
}
