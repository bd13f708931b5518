package readmodel

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/projection"
)

// insertsAtOnce bounds the inserts of one batch that run at the same time.
const insertsAtOnce = 4

// Write inserts all of m, one insert per table. When it returns nil every row
// is durable and visible; when it fails some may be, and writing m again is
// harmless. m must not change meanwhile.
func (s *Store) Write(ctx context.Context, m *projection.Model) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	registers, sequences := stateRows(m)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(insertsAtOnce)
	g.Go(func() error { return registersTable.insert(gctx, s, registers) })
	g.Go(func() error { return sequencesTable.insert(gctx, s, sequences) })
	g.Go(func() error { return messagesTable.insert(gctx, s, messageRows(m)) })
	g.Go(func() error { return editsTable.insert(gctx, s, allEdits(m)) })
	g.Go(func() error { return usersTable.insert(gctx, s, userRows(m)) })
	g.Go(func() error { return groupsTable.insert(gctx, s, groupRows(m)) })
	g.Go(func() error { return plansTable.insert(gctx, s, planRows(m)) })
	g.Go(func() error { return erasedTable.insert(gctx, s, erasedRows(m)) })
	err := classify(ctx, g.Wait())
	if err != nil {
		s.complete.Store(false) // the tables may be what is wrong
	}
	return err
}

func stateRows(m *projection.Model) ([]registerRow, []sequencesRow) {
	registers := make([]registerRow, 0, 3*len(m.States))
	sequences := make([]sequencesRow, 0, len(m.States))
	for k, s := range m.States {
		registers = registerRows(registers, k, s)
		for _, d := range s.Days {
			// A day is known by its row: one without messages to count has an empty set.
			if len(d.Counted) > 0 || len(d.Uncounted) == 0 {
				sequences = append(sequences, sequencesRow{Key: k, Day: d.Day, Kind: kindCounted, Set: d.Counted})
			}
			if len(d.Uncounted) > 0 {
				sequences = append(sequences, sequencesRow{Key: k, Day: d.Day, Kind: kindUncounted, Set: d.Uncounted})
			}
		}
		if len(s.Recalled) > 0 {
			sequences = append(sequences, sequencesRow{Key: k, Kind: kindRecalled, Set: s.Recalled})
		}
		for rest := s.Mentions; len(rest) > 0; { // ascending by day
			r := sequencesRow{Key: k, Day: rest[0].Day, Kind: kindMentioning}
			for len(rest) > 0 && rest[0].Day == r.Day {
				r.Set.Add(rest[0].Sequence)
				rest = rest[1:]
			}
			sequences = append(sequences, r)
		}
	}
	return registers, sequences
}

func messageRows(m *projection.Model) []messageRow {
	rows := make([]messageRow, 0, len(m.Messages))
	for k, v := range m.Messages {
		rows = append(rows, messageRow{
			App: k.App, Type: typeName(k.Conversation.Type), A: k.Conversation.A, B: k.Conversation.B,
			Day: k.Day, Sequence: k.Sequence, Time: k.Time, ID: k.ID, Message: *v,
		})
	}
	return rows
}

func allEdits(m *projection.Model) []editRow {
	rows := make([]editRow, 0, len(m.Edits))
	for k, v := range m.Edits {
		rows = editRows(rows, k, v)
	}
	return rows
}

func userRows(m *projection.Model) []userRow {
	rows := make([]userRow, 0, len(m.Users))
	for k, v := range m.Users {
		rows = append(rows, newUserRow(k, v))
	}
	return rows
}

func groupRows(m *projection.Model) []groupRow {
	rows := make([]groupRow, 0, len(m.Groups))
	for k, v := range m.Groups {
		rows = append(rows, newGroupRow(k, v))
	}
	return rows
}

func planRows(m *projection.Model) []planRow {
	rows := make([]planRow, 0, len(m.Plans))
	for k, v := range m.Plans {
		rows = append(rows, planRow{App: k, Plan: *v})
	}
	return rows
}

func erasedRows(m *projection.Model) []projection.UserKey {
	rows := make([]projection.UserKey, 0, len(m.Erased))
	for k := range m.Erased {
		rows = append(rows, k)
	}
	return rows
}
