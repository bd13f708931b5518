package rebuild

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
)

// subject is in whose replies a row may show: a projection.Key (of one user and
// conversation), a projection.GroupKey (of all its members), a projection.UserKey (of all
// who have a conversation with them), or everybody.
type subject any

// everybody are so many that nobody is named.
type everybody struct{}

// subjectsOf are those of a row. There are none if no reply shows what its table has.
func subjectsOf(d *readmodel.Difference) []subject {
	app := d.Columns[0]
	switch d.Table {
	case "registers", "sequences":
		owner, id := d.Columns[1], d.Columns[2]
		if owner != "" {
			return []subject{projection.Key{App: app, Owner: owner, ConversationID: id}}
		}
		if t, name, _ := events.SplitConversationID(id); t == events.TypeGroup {
			return []subject{projection.GroupKey{App: app, GroupID: name}}
		}
	case "edits":
		switch kind, a, b := d.Columns[1], d.Columns[2], d.Columns[3]; kind {
		case "C2C":
			c := events.C2C(a, b)
			return []subject{
				projection.Key{App: app, Owner: a, ConversationID: c.IDFor(a)},
				projection.Key{App: app, Owner: b, ConversationID: c.IDFor(b)},
			}
		case "GROUP":
			return []subject{projection.GroupKey{App: app, GroupID: a}}
		case "SYSTEM":
			return []subject{projection.Key{App: app, Owner: a, ConversationID: events.System(a).IDFor(a)}}
		}
	case "messages":
		if kind, a := d.Columns[1], d.Columns[2]; kind == "GROUP" { // who has mentioned somebody
			return []subject{projection.GroupKey{App: app, GroupID: a}}
		}
	case "group_profiles":
		return []subject{projection.GroupKey{App: app, GroupID: d.Columns[1]}}
	case "user_profiles":
		return []subject{projection.UserKey{App: app, UserID: d.Columns[1]}}
	case "plans", "erased_users":
		return []subject{everybody{}}
	}
	return nil
}

// Shown is where two generations give different replies: what a user is shown of a
// conversation.
type Shown struct {
	App            string  `json:"app"`
	UserID         string  `json:"userID"`
	ConversationID string  `json:"conversationID"`
	Fields         []Field `json:"fields"`
}

func (s *Shown) place() projection.Key {
	return projection.Key{App: s.App, Owner: s.UserID, ConversationID: s.ConversationID}
}

// sight is a row that differs, and where that shows; nil: nowhere.
type sight struct {
	row   readmodel.Difference
	shown *Shown
}

// judge says of rows that differ where that shows.
type judge struct {
	ours, theirs *readmodel.Store
	now          events.Micros

	shown   map[subject]*Shown // one for each subject, if there is any
	waiting []asked
}

// asked is a place whose replies are to be compared.
type asked struct {
	place projection.Key
	of    subject
}

// look finds out where rows show. It begins where they have shown before.
func (j *judge) look(ctx context.Context, rows []sight) error {
	j.shown = map[subject]*Shown{}
	subjects := make([][]subject, len(rows))
	for i := range rows {
		subjects[i] = subjectsOf(&rows[i].row)
		for _, of := range subjects[i] {
			if before := rows[i].shown; before != nil && before.ConversationID != "" {
				if err := j.ask(ctx, before.place(), of); err != nil {
					return err
				}
			}
			if place, ok := of.(projection.Key); ok {
				if err := j.ask(ctx, place, of); err != nil {
					return err
				}
			}
			if of == (everybody{}) {
				j.shown[of] = &Shown{}
			}
		}
	}
	if err := j.answer(ctx); err != nil {
		return err
	}
	if err := j.lookAtMany(ctx, slices.Concat(subjects...)); err != nil {
		return err
	}
	for i := range rows {
		rows[i].shown = nil
		for _, of := range subjects[i] {
			if rows[i].shown == nil {
				rows[i].shown = j.shown[of]
			}
		}
	}
	return nil
}

// lookAtMany asks for all members of groups and all peers of users for whom nothing
// was found yet. Who is only in the other generation has rows of their own that differ.
func (j *judge) lookAtMany(ctx context.Context, subjects []subject) error {
	groups, users := map[projection.GroupKey]struct{}{}, map[projection.UserKey]struct{}{}
	for _, of := range subjects {
		if j.shown[of] != nil {
			continue
		}
		switch of := of.(type) {
		case projection.GroupKey:
			groups[of] = struct{}{}
		case projection.UserKey:
			users[of] = struct{}{}
		}
	}
	ask := func(k projection.Key) error {
		t, name, _ := events.SplitConversationID(k.ConversationID)
		if t == events.TypeGroup {
			return j.ask(ctx, k, projection.GroupKey{App: k.App, GroupID: name})
		}
		return j.ask(ctx, k, projection.UserKey{App: k.App, UserID: name})
	}
	if err := j.ours.Members(ctx, slices.Collect(maps.Keys(groups)), ask); err != nil {
		return fmt.Errorf("look for the members of %d groups: %w", len(groups), err)
	}
	if err := j.ours.Peers(ctx, slices.Collect(maps.Keys(users)), ask); err != nil {
		return fmt.Errorf("look for the peers of %d users: %w", len(users), err)
	}
	return j.answer(ctx)
}

// ask has replies compared, of a subject for which nothing was found yet.
func (j *judge) ask(ctx context.Context, place projection.Key, of subject) error {
	if j.shown[of] != nil {
		return nil
	}
	j.waiting = append(j.waiting, asked{place, of})
	if len(j.waiting) < placesAtOnce {
		return nil
	}
	return j.answer(ctx)
}

// answer compares the replies that were asked for.
func (j *judge) answer(ctx context.Context) error {
	places := make([]projection.Key, len(j.waiting))
	for i, a := range j.waiting {
		places[i] = a.place
	}
	var ours, theirs map[projection.Key]reply
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { ours, err = replies(gctx, j.ours, j.now, places); return err })
	g.Go(func() (err error) { theirs, err = replies(gctx, j.theirs, j.now, places); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range j.waiting {
		if fields := fieldsOf(ours[a.place], theirs[a.place]); len(fields) > 0 && j.shown[a.of] == nil {
			j.shown[a.of] = &Shown{a.place.App, a.place.Owner, a.place.ConversationID, fields}
		}
	}
	j.waiting = j.waiting[:0]
	return nil
}
