package readmodel

import (
	"context"
	"errors"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Optimize lets the engine merge all partial rows of all tables.
func (s *Store) Optimize(ctx context.Context) error {
	for _, table := range []string{
		"registers", "sequences", "edits", "messages", "activity", "activity_users", "user_profiles", "group_profiles", "plans", "erased_users",
	} {
		if err := s.conn.Exec(ctx, "OPTIMIZE TABLE "+s.db+"."+table+" FINAL"); err != nil {
			return err
		}
	}
	return nil
}

// Messages reads all messages of apps.
func (s *Store) Messages(ctx context.Context, apps []string) (map[projection.MessageKey]*projection.Message, error) {
	m := projection.NewModel()
	err := load(ctx, s, &messagesTable, &appKey, apps, true, func(r *messageRow) error {
		k := projection.MessageKey{
			App: r.App, Conversation: events.Conversation{Type: typeOf(r.Type), A: r.A, B: r.B},
			Day: r.Day, Sequence: r.Sequence, Time: r.Time, ID: r.ID,
		}
		v := r.Message
		m.Merge(&projection.Model{Messages: map[projection.MessageKey]*projection.Message{k: &v}})
		return nil
	})
	return m.Messages, err
}

// Registers is the database of the registry.
func (s *Server) Registers() string { return s.database }

// Ranges divides the keys of a table.
func (s *Store) Ranges(ctx context.Context, with *Store, table string, rows uint64) ([]string, error) {
	for _, c := range compareTables {
		if c.table == table {
			return s.ranges(ctx, with, &c, rows)
		}
	}
	return nil, errors.New("no such table")
}

// Ranges are those of a table that is copied.
func (c *Copy) Ranges(ctx context.Context, table string) ([]string, error) {
	tables, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	for i := range tables {
		if tables[i].name == table {
			return c.divide(ctx, &tables[i])
		}
	}
	return nil, errors.New("no such table")
}

// InRangesOf has a copy take ranges of about so many rows.
func (c *Copy) InRangesOf(rows uint64) *Copy {
	c.rows = rows
	return c
}
