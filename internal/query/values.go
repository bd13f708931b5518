package query

import (
	"maps"

	"github.com/convoview/convoview/internal/projection"
)

// groupValue is what is in memory of a group: what its members share, and the part
// of its profile that lists look at.
type groupValue struct {
	state   projection.State
	profile projection.GroupProfile
	shown   lastShown
}

// groupChange is what was loaded or heard of a group.
type groupChange struct {
	state   *projection.State
	profile *projection.GroupProfile
}

func (g *groupValue) merge(change groupChange) bool {
	if change.state != nil {
		g.state.Merge(change.state)
		g.state.Head = g.state.Head.Light()
	}
	if change.profile != nil {
		projection.MergeGroup(&g.profile, *change.profile)
	}
	return true
}

// bytes is about what the group takes.
func (g *groupValue) bytes() int {
	const group, head, keys, day, run = 776, 208, 384, 64, 16
	h, p := g.state.Head, &g.profile
	n := group + len(p.ID) + len(p.Value.Name) + len(p.Value.Avatar)
	if h != nil { // twice: it is shown, too
		n += head + keys + len(h.ID) + 2*(len(h.MessageID)+len(h.From)+len(h.Type)+len(h.Preview)+len(h.Nick)+len(h.Avatar)+
			len(h.NameCard)+len(h.CloudCustomData)+len(h.Payload))
	}
	runs := len(g.state.Recalled) + len(g.state.Mentions)
	for _, d := range g.state.Days {
		n += day
		runs += len(d.Counted) + len(d.Uncounted)
	}
	return n + run*runs
}

// person is the part of a user's profile that lists show.
type person struct {
	projection.Version
	nick, avatar string
}

func (p *person) profile() (u projection.UserProfile) {
	u.Version, u.Value.Nick, u.Value.Avatar = p.Version, p.nick, p.avatar
	return u
}

func (p *person) merge(change *projection.UserProfile) bool {
	before, u := *p, p.profile()
	projection.MergeUser(&u, projection.ShortUser(*change))
	*p = person{u.Version, u.Value.Nick, u.Value.Avatar}
	return *p != before
}

func mergeEdit(e *projection.Edit, change *projection.Edit) bool {
	before := *e
	e.Merge(*change)
	return *e != before
}

func mergeSender(s *projection.Register[string], change projection.Register[string]) bool {
	before := *s
	projection.MergeText(s, change)
	return *s != before
}

// mergeApp replaces the set of erased users rather than change it: rules that
// were made before go on looking at it.
func mergeApp(a *projection.App, change *projection.App) bool {
	before := a.Plan
	projection.MergePlan(&a.Plan, change.Plan)
	changed := a.Plan != before
	var all map[string]struct{}
	for user := range change.Erased {
		if _, known := a.Erased[user]; known {
			continue
		}
		if all == nil {
			all = make(map[string]struct{}, len(a.Erased)+len(change.Erased))
			maps.Copy(all, a.Erased)
		}
		all[user] = struct{}{}
	}
	if all != nil {
		a.Erased, changed = all, true
	}
	return changed
}
