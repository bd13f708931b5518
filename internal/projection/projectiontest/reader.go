package projectiontest

import (
	"slices"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// Reader answers requests about one app from a model, as a query worker does
// from the rows that it loaded.
type Reader struct {
	app   string
	model *projection.Model
	rules projection.Rules
}

// NewReader gives a reader of an app at a time.
func NewReader(app string, model *projection.Model, now events.Micros) Reader {
	var plan projection.Plan
	if p := model.Plans[app]; p != nil {
		plan = *p
	}
	erased := map[string]bool{}
	for k := range model.Erased {
		if k.App == app {
			erased[k.UserID] = true
		}
	}
	return Reader{app: app, model: model, rules: projection.NewRules(plan, now, func(userID string) bool { return erased[userID] })}
}

// conversation gathers what a user sees of a conversation.
func (r Reader) conversation(user, id string) (*projection.Conversation, bool) {
	var shared *projection.State
	var group *projection.GroupProfile
	if t, name, _ := events.SplitConversationID(id); t == events.TypeGroup {
		shared = r.model.States[projection.Key{App: r.app, ConversationID: id}]
		group = r.model.Groups[projection.GroupKey{App: r.app, GroupID: name}]
	}
	own := r.model.States[projection.Key{App: r.app, Owner: user, ConversationID: id}]
	c, ok := projection.NewConversation(user, id, own, shared, group)
	return &c, ok
}

// selected is the user's list before its cut.
func (r Reader) selected(user string, f bruteforce.Filter) []projection.Listing {
	var list []projection.Listing
	for k := range r.model.States {
		if k.App != r.app || k.Owner != user {
			continue
		}
		c, ok := r.conversation(user, k.ConversationID)
		if !ok {
			continue
		}
		if l, listed := c.Listing(r.rules); listed && translated(f).Wants(&l) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b projection.Listing) int { return a.Compare(b.Position) })
	return list
}

// List is a user's list, cut.
func (r Reader) List(user string, f bruteforce.Filter) []projection.Item {
	items := []projection.Item{}
	selected := r.selected(user, f)
	for _, l := range selected[:translated(f).Cut(len(selected), r.rules)] {
		c, _ := r.conversation(user, l.ConversationID)
		items = append(items, c.Item(r.details(c), r.rules))
	}
	return items
}

// Unread is a user's total.
func (r Reader) Unread(user string, f bruteforce.Filter, includeMuted bool) uint64 {
	var total uint64
	for _, l := range r.selected(user, f) {
		if includeMuted || !l.Muted {
			total += l.Unread
		}
	}
	return total
}

// Profile is a conversation's profile, if the user knows it.
func (r Reader) Profile(user, id string) (projection.Item, bool) {
	c, ok := r.conversation(user, id)
	if !ok || !c.Known(r.rules) {
		return projection.Item{}, false
	}
	return c.Profile(r.details(c), r.rules), true
}

// details looks up what an item shows beyond the registers.
func (r Reader) details(c *projection.Conversation) projection.Details {
	var d projection.Details
	if k, ok := c.HeadEdit(r.app, r.rules); ok {
		if e := r.model.Edits[k]; e != nil {
			d.Edit = *e
		}
	}
	if c.Type == events.TypeC2C {
		if p := r.model.Users[projection.UserKey{App: r.app, UserID: c.Name}]; p != nil {
			d.Peer = *p
		}
	}
	d.Sender = func(m projection.Mention) string {
		var from string
		var latest projection.Version
		for k, message := range r.model.Messages {
			if k.App != r.app || k.Conversation != events.Group(c.Name) || k.Day != m.Day || k.Sequence != m.Sequence {
				continue
			}
			if k.Time > latest.Time || k.Time == latest.Time && k.ID > latest.ID {
				from, latest = message.From, projection.Version{Time: k.Time, ID: k.ID}
			}
		}
		return from
	}
	return d
}

// translated is the same filter in the projection's types.
func translated(f bruteforce.Filter) projection.Filter {
	p := projection.Filter{
		MarkType: f.MarkType, GroupName: f.GroupName,
		HasUnreadCount: f.HasUnreadCount, HasGroupAtInfo: f.HasGroupAtInfo,
	}
	for _, t := range []events.ConversationType{events.TypeC2C, events.TypeGroup, events.TypeSystem} {
		if f.Type == t.String() {
			p.Type = t
		}
	}
	if f.IDs != nil {
		p.IDs = make(map[string]struct{})
		for _, id := range f.IDs {
			p.IDs[id] = struct{}{}
		}
	}
	return p
}
