package readmodel

import (
	"context"
	"fmt"

	"github.com/convoview/convoview/internal/events"
)

// CarryActivity copies the activity of all days up to through from another generation.
// Activity outlives its messages, so topics may begin later than the days that it
// is known of: a rebuild from them lacks what was before, and takes it from the generation
// that is read. Sets of a day that both have merge; repeating it changes nothing.
func (s *Store) CarryActivity(ctx context.Context, from *Store, through events.Day) error {
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, t := range []struct{ table, columns string }{
		{"activity", "app, day, type, slice, messages, senders, conversations"},
		{"activity_users", "app, user_id, day, messages, conversations"},
	} {
		if err := s.carry(ctx, from, t.table, t.columns, through); err != nil {
			return fmt.Errorf("carry %s over from %s: %w", t.table, from.db, classify(ctx, err))
		}
	}
	return nil
}

func (s *Store) carry(ctx context.Context, from *Store, table, columns string, through events.Day) error {
	ctx, err := from.copying(ctx, table)
	if err != nil {
		return err
	}
	return s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.%s (%s) SELECT %[3]s FROM %[4]s.%[2]s WHERE toInt32(day) <= %[5]d",
		s.db, table, columns, from.db, through))
}
