package e2e_test

import (
	"cmp"
	"reflect"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
)

// user is a user of an app.
type user struct{ app, id string }

// person is a user with the IDs of all conversations in which a chat names
// them, known to them or not, and of some in which it does not.
type person struct {
	user
	conversationIDs []string
}

// peopleOf gives all users that a chat names. They are in order, so that
// those who ask at the same time are side by side in the tables.
func peopleOf(chat []events.Event) (people []person) {
	met := map[user][]string{}
	for _, e := range chat {
		meet := func(c events.Conversation, users ...string) {
			for _, id := range users {
				met[user{e.App, id}] = append(met[user{e.App, id}], c.IDFor(id))
			}
		}
		happen := func(c events.Conversation, inGroup ...string) {
			switch c.Type {
			case events.TypeC2C:
				meet(c, c.A, c.B)
			case events.TypeSystem:
				meet(c, c.A)
			case events.TypeGroup:
				meet(c, inGroup...)
			}
		}
		switch b := e.Body.(type) {
		case *events.MessageSent:
			happen(b.Conversation, append(slices.Clip(b.AtUsers), b.From)...)
		case *events.MessageRecalled:
			happen(b.Conversation)
		case *events.MessageModified:
			happen(b.Conversation)
		case *events.GroupMemberChanged:
			happen(events.Group(b.GroupID), b.UserID)
		case *events.FriendRemarkSet:
			happen(events.C2C(b.UserID, b.FriendID))
		case *events.UserProfileChanged:
			happen(events.System(b.UserID))
		case *events.UserErased:
			happen(events.System(b.UserID))
		default:
			if of := reflect.ValueOf(b).Elem().FieldByName("ConversationOf"); of.IsValid() {
				of := of.Interface().(events.ConversationOf)
				happen(of.Conversation(), of.UserID)
			}
		}
	}
	for u, ids := range met {
		ids = append(ids, "C2Cnobody", "GROUPnone", events.SystemConversationID)
		slices.Sort(ids)
		people = append(people, person{u, slices.Compact(ids)})
	}
	slices.SortFunc(people, func(a, b person) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.id, b.id)) })
	return people
}

// visit lets everybody ask for their list, whatever it is: the query worker
// then has it in memory, and has to keep up with what happens.
func (s *system) visit(people []person) {
	s.t.Helper()
	if err := s.askEverybody(people); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) askEverybody(people []person) error {
	var g errgroup.Group
	g.SetLimit(askersAtOnce)
	for _, p := range people {
		g.Go(func() error {
			_, err := s.request("list", p.app, map[string]any{"userID": p.id})
			return err
		})
	}
	return g.Wait()
}
