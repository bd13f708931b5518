package query

import (
	"slices"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// inbox is what is in memory of one user: a row for each conversation.
type inbox struct {
	rows  map[string]*row // by conversation ID
	order []*row          // the listed ones in list order; nil: to be found again
	bytes int
}

// row is one conversation of a user: the user's own registers, and what the
// rules say of it.
type row struct {
	id     string
	own    []byte // the compact form; replaced, never changed
	joined bool   // it is a group that the user is in
	judged *judgement
}

// judgement is what the rules say of a conversation. Only the item comes later.
type judgement struct {
	basis   basis
	listing *projection.Listing // nil: it is not in the list
	edit    *projection.EditKey // the head's, if it can have one
	shown   *shown              // nil: not made yet
}

// shown is an item as a reply has it. It does not change.
type shown struct {
	json    []byte
	hash    itemHash
	details uint64 // the version of the details that it was made with
}

// basis is what a judgement is made of besides the user's own registers.
type basis struct {
	group uint64 // the version of what the group's members share; 0 outside groups
	app   uint64 // the version of the app's plan and erased users
	day   int64  // the first day that is not expired
}

// merge puts registers of conversations into the inbox.
func (in *inbox) merge(states map[string]*projection.State) bool {
	if in.rows == nil {
		in.rows = make(map[string]*row, len(states))
	}
	for id, state := range states {
		r := in.rows[id]
		if r == nil {
			r = &row{id: id}
			in.rows[id] = r
			in.bytes += rowBytes + len(id)
		}
		in.bytes -= r.bytes()
		merged := r.state()
		merged.Merge(state)
		r.own = slices.Clip(merged.AppendCompact(nil))
		r.joined = merged.Member.Value.Status == events.StatusJoined // only groups have members
		r.judged, in.order = nil, nil
		in.bytes += r.bytes()
	}
	return len(states) > 0
}

// groupIDs are the conversations with groups that the user is in.
func (in *inbox) groupIDs() []string {
	var ids []string
	for id, r := range in.rows {
		if r.joined {
			ids = append(ids, id)
		}
	}
	return ids
}

// About what a row and a judgement take besides what they hold.
const (
	rowBytes       = 160
	judgementBytes = 240
	shownBytes     = 48
)

func (r *row) bytes() int {
	n := len(r.own)
	if r.judged != nil {
		n += judgementBytes
		if s := r.judged.shown; s != nil {
			n += shownBytes + len(s.json)
		}
	}
	return n
}

// state decodes the user's own registers.
func (r *row) state() *projection.State {
	s := &projection.State{}
	if r.own == nil {
		return s
	}
	if err := s.DecodeCompact(r.own); err != nil {
		panic(err) // it is ours
	}
	return s
}

// judge asks the rules about a row of a user.
func (in *inbox) judge(r *row, c *projection.Conversation, app string, rules projection.Rules, b basis) {
	in.bytes -= r.bytes()
	j := &judgement{basis: b}
	if l, listed := c.Listing(rules); listed {
		j.listing = &l
		if key, ok := c.HeadEdit(app, rules); ok {
			j.edit = &key
		}
	}
	r.judged, in.order = j, nil
	in.bytes += r.bytes()
}

// show keeps the item of a judgement.
func (in *inbox) show(r *row, j *judgement, s *shown) {
	if r.judged != j { // something came in between
		return
	}
	in.bytes -= r.bytes()
	j.shown = s
	in.bytes += r.bytes()
}

// sorted are the listed rows in list order. All rows are judged.
func (in *inbox) sorted() []*row {
	if in.order == nil {
		in.order = make([]*row, 0, len(in.rows))
		for _, r := range in.rows {
			if r.judged.listing != nil {
				in.order = append(in.order, r)
			}
		}
		slices.SortFunc(in.order, func(a, b *row) int {
			return a.judged.listing.Position.Compare(b.judged.listing.Position)
		})
	}
	return in.order
}

// groupValue is what is in memory of a group: what its members share, and the part
// of its profile that lists look at.
type groupValue struct {
	state   projection.State
	profile projection.GroupProfile
}

// groupChange is what was loaded or heard of a group.
type groupChange struct {
	state   *projection.State
	profile *projection.GroupProfile
}

func (g *groupValue) merge(change groupChange) bool {
	if change.state != nil {
		g.state.Merge(change.state)
	}
	if change.profile != nil {
		projection.MergeGroup(&g.profile, *change.profile)
	}
	return true
}

// bytes is about what the group takes.
func (g *groupValue) bytes() int {
	const state, day, run = 1024, 64, 16
	h, p := &g.state.Head, &g.profile
	n := state + len(h.ID) + len(h.MessageID) + len(h.From) + len(h.Type) + len(h.Preview) + len(h.Nick) + len(h.Avatar) +
		len(h.NameCard) + len(h.CloudCustomData) + len(h.Payload) + len(p.ID) + len(p.Value.Name) + len(p.Value.Avatar)
	runs := len(g.state.Recalled) + len(g.state.Mentions)
	for _, d := range g.state.Days {
		n += day
		runs += len(d.Counted) + len(d.Uncounted)
	}
	return n + run*runs
}
