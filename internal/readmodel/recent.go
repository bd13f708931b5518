package readmodel

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/projection"
)

// How far back Recent looks: as far as it has to, in steps that each look at so
// many times as much. What a step takes in memory grows with the users that it finds.
const (
	recentFirst = time.Hour
	recentStep  = 4
	recentMost  = 256 * time.Hour
)

// Recent gives so many users who have sent a message within the last 256 hours,
// the latest first.
func (s *Store) Recent(ctx context.Context, most int) ([]projection.UserKey, error) {
	for back := recentFirst; ; back *= recentStep {
		since := time.Now().Add(-back)
		users, err := s.sentSince(ctx, since, most)
		if err != nil {
			return nil, classify(ctx, fmt.Errorf("read who has sent a message since %s: %w", since.UTC().Format(time.RFC3339), err))
		}
		if len(users) == most || back >= recentMost {
			return users, nil
		}
	}
}

func (s *Store) sentSince(ctx context.Context, since time.Time, most int) ([]projection.UserKey, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx = clickhouse.Context(ctx,
		clickhouse.WithParameters(clickhouse.Parameters{
			"since": strconv.FormatInt(since.UnixMicro(), 10), "most": strconv.Itoa(most),
		}),
		clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1}), // nobody waits for it
	)
	rows, err := s.conn.Query(ctx, `SELECT app, sender FROM `+s.db+`.messages
		WHERE day >= toDate32(fromUnixTimestamp64Micro({since:Int64}, 'UTC')) AND time >= {since:Int64} AND sender NOT IN ('', '\xFF')
		GROUP BY app, sender ORDER BY max(time) DESC, app, sender LIMIT {most:UInt64}`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var users []projection.UserKey
	for rows.Next() {
		var u projection.UserKey
		if err := rows.Scan(&u.App, &u.UserID); err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, rows.Err()
}
