package readmodel

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Write inserts all of the models. When it returns nil every row is durable and visible;
// when it fails some may be, and writing them again is harmless. They must not change
// meanwhile.
func (s *Store) Write(ctx context.Context, models ...*projection.Model) error {
	return s.Insert(ctx, func(yield func([]*projection.Model, []events.Event) bool) { yield(models, nil) })
}

// Insert writes batches that come one after the other, each of models and of events that
// came apart from them, by one INSERT per table for all. It is done with a batch when it
// asks for the next one.
func (s *Store) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	return insert(ctx, []*live{{Store: s}}, batches)
}

// othersConnections are those that an insert leaves to others for as long as it goes on.
const othersConnections = 8

// insert inserts batches into generations, into each without the events that it leaves out.
func insert(ctx context.Context, into []*live, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	open := make([][]openInsert, len(into))
	for i, g := range into {
		if err := g.ready(ctx); err != nil {
			return fmt.Errorf("generation %d: %w", g.number, err)
		}
		open[i] = g.inserts()
	}
	inserting, end := context.WithCancelCause(ctx) // when one fails, the others end
	defer end(nil)
	each := func(do func(generation int, table openInsert) error) error {
		var group sync.WaitGroup
		for i, g := range into {
			for _, table := range open[i] {
				group.Go(func() {
					if err := do(i, table); err != nil {
						end(fmt.Errorf("generation %d: %w", g.number, err))
						g.complete.Store(false) // the tables may be what is wrong
					}
				})
			}
		}
		group.Wait()
		return classify(ctx, context.Cause(inserting))
	}
	defer func() {
		for _, tables := range open {
			for _, table := range tables {
				table.close()
			}
		}
	}()
	// Connections that are kept while others are waited for must suffice for all, and for
	// whoever else wants one.
	apiece := len(into)*len(open[0])+othersConnections > cap(into[0].slots)
	for models, apart := range batches {
		of := make([][]*projection.Model, len(into))
		for i, g := range into {
			of[i] = g.models(models, apart)
		}
		err := each(func(i int, table openInsert) error {
			err := table.add(inserting, of[i])
			if err == nil && apiece {
				err = table.send()
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return each(func(_ int, table openInsert) error { return table.send() })
}

// inserts are those of all tables, none of which is begun before it has a row.
func (s *Store) inserts() []openInsert {
	return []openInsert{
		registersTable.insert(s, registerRows),
		messagesTable.insert(s, messageRows),
		sequencesTable.insert(s, sequencesRows),
		editsTable.insert(s, allEdits),
		usersTable.insert(s, userRows),
		groupsTable.insert(s, groupRows),
		plansTable.insert(s, planRows),
		erasedTable.insert(s, erasedRows),
	}
}

// The rows of models. Of each kind there is one, which changes from one to the next.

func registerRows(models []*projection.Model) iter.Seq[*registerRow] {
	return func(yield func(*registerRow) bool) {
		var row registerRow
		for _, m := range models {
			for k, s := range m.States {
				if row.Key = k; !row.ofState(s, yield) {
					return
				}
			}
		}
	}
}

func sequencesRows(models []*projection.Model) iter.Seq[*sequencesRow] {
	return func(yield func(*sequencesRow) bool) {
		var row sequencesRow
		for _, m := range models {
			for k, s := range m.States {
				if row.Key = k; !row.ofState(s, yield) {
					return
				}
			}
		}
	}
}

// ofState yields the rows of a state, whose key the row has.
func (r *sequencesRow) ofState(s *projection.State, yield func(*sequencesRow) bool) bool {
	next := func(day events.Day, kind int8, set projection.Sequences) bool {
		r.Day, r.Kind, r.Set = day, kind, set
		return yield(r)
	}
	for _, d := range s.Days {
		// A day is known by its row: one without messages to count has an empty set.
		if (len(d.Counted) > 0 || len(d.Uncounted) == 0) && !next(d.Day, kindCounted, d.Counted) {
			return false
		}
		if len(d.Uncounted) > 0 && !next(d.Day, kindUncounted, d.Uncounted) {
			return false
		}
	}
	if len(s.Recalled) > 0 && !next(0, kindRecalled, s.Recalled) {
		return false
	}
	for rest := s.Mentions; len(rest) > 0; { // ascending by day
		day, set := rest[0].Day, projection.Sequences(nil)
		for len(rest) > 0 && rest[0].Day == day {
			set.Add(rest[0].Sequence)
			rest = rest[1:]
		}
		if !next(day, kindMentioning, set) {
			return false
		}
	}
	return true
}

func messageRows(models []*projection.Model) iter.Seq[*messageRow] {
	return func(yield func(*messageRow) bool) {
		var row messageRow
		for _, m := range models {
			for k, v := range m.Messages {
				row = messageRow{
					App: k.App, Type: typeName(k.Conversation.Type), A: k.Conversation.A, B: k.Conversation.B,
					Day: k.Day, Sequence: k.Sequence, Time: k.Time, ID: k.ID, Message: *v,
				}
				if !yield(&row) {
					return
				}
			}
		}
	}
}

func allEdits(models []*projection.Model) iter.Seq[*editRow] {
	return func(yield func(*editRow) bool) {
		for _, m := range models {
			for k, v := range m.Edits {
				if !editRows(k, v, yield) {
					return
				}
			}
		}
	}
}

func userRows(models []*projection.Model) iter.Seq[*userRow] {
	return rowsOf(models, func(m *projection.Model) map[projection.UserKey]*projection.UserProfile { return m.Users }, newUserRow)
}

func groupRows(models []*projection.Model) iter.Seq[*groupRow] {
	return rowsOf(models, func(m *projection.Model) map[projection.GroupKey]*projection.GroupProfile { return m.Groups }, newGroupRow)
}

func planRows(models []*projection.Model) iter.Seq[*planRow] {
	return rowsOf(models, func(m *projection.Model) map[string]*projection.Plan { return m.Plans },
		func(app string, p *projection.Plan) planRow { return planRow{App: app, Plan: *p} })
}

func erasedRows(models []*projection.Model) iter.Seq[*projection.Erasure] {
	return rowsOf(models, func(m *projection.Model) map[projection.Erasure]struct{} { return m.Erased },
		func(k projection.Erasure, _ struct{}) projection.Erasure { return k })
}

// rowsOf yields a row for each key of a part of the models.
func rowsOf[K comparable, V, R any](models []*projection.Model, part func(*projection.Model) map[K]V, row func(K, V) R) iter.Seq[*R] {
	return func(yield func(*R) bool) {
		for _, m := range models {
			for k, v := range part(m) {
				if r := row(k, v); !yield(&r) {
					return
				}
			}
		}
	}
}
