package readmodel

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
)

// What CarryActivity has in memory at one time: states of about so many bytes as they are
// stored, which take a few times as much in memory, and not more rows than that.
const (
	carryBytes = 32 << 20
	carryRows  = 65_536
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
	var rows, bytes uint64
	err := s.conn.QueryRow(ctx, "SELECT sum(rows), sum(data_uncompressed_bytes) FROM "+s.form.system("parts")+" WHERE active AND database = '"+from.db+"' AND table IN ('"+table+"', '"+table+local+"')"+s.form.onlyThere()).Scan(&rows, &bytes)
	if err != nil {
		return err
	}
	// The engine would gather many more rows: it does not see what a set takes.
	block := min(carryRows, max(1, rows*carryBytes/max(1, bytes)))
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_threads": 1, "max_insert_threads": 1, "parallel_distributed_insert_select": 0,
		"max_block_size": block, "min_insert_block_size_rows": block, "min_insert_block_size_bytes": 0,
	}))
	return s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.%s (%s) SELECT %[3]s FROM %[4]s.%[2]s WHERE toInt32(day) <= %[5]d",
		s.db, table, columns, from.db, through))
}
