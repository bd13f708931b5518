package readmodel

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// dayTables are those that have rows of one day each, which show nowhere when it is expired,
// with the condition of rows that nothing else needs. By messages of groups and of SYSTEM a
// sweep finds whose a modification was; in C2C the conversation says so.
var dayTables = map[string]string{
	"sequences": "day != '1970-01-01'", // that of recalls, which do not know theirs
	"messages":  "type = 'C2C'",
}

// Days are dropped when their messages have been expired for keptExpired days, so that an app
// may raise its retention by as much and find them; and all of a table together, when one
// has been for twice as long, since a part is written anew however little goes out of it.
const keptExpired = 7

// droppedAtOnce is how many apps one statement names.
const droppedAtOnce = 1000

// DropExpired drops the rows of days that no reply shows any more, of apps that have said how
// long they keep messages, and gives how many there were. It goes by the plans that the
// generation has now, so it has to be filled. What comes late of such a day is dropped in turn.
func (s *Store) DropExpired(ctx context.Context, at time.Time) (rows uint64, err error) {
	plans, err := s.plans(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the plans of apps: %w", classify(ctx, err))
	}
	apps := slices.Sorted(maps.Keys(plans))
	for some := range slices.Chunk(apps, droppedAtOnce) {
		for table := range dayTables {
			n, err := s.dropExpired(ctx, table, expiredFor(table, 2*keptExpired, plans, some, at), expiredFor(table, keptExpired, plans, some, at))
			rows += n
			if err != nil {
				return rows, fmt.Errorf("drop expired days of %s.%s: %w", s.db, table, classify(ctx, err))
			}
		}
	}
	return rows, nil
}

// dropExpired drops the rows for which one condition holds if there are any for which another does.
func (s *Store) dropExpired(ctx context.Context, table, due, gone string) (rows uint64, err error) {
	if err := s.awaitMutations(ctx, table, func(int64) {}); err != nil { // what another one has begun
		return 0, err
	}
	var oldest uint64
	query := fmt.Sprintf("SELECT countIf(%s), count() FROM %s.%s WHERE %s SETTINGS max_threads = 1", due, s.db, table, gone)
	if err := s.conn.QueryRow(naming(ctx), query).Scan(&oldest, &rows); err != nil || oldest == 0 {
		return 0, err
	}
	settings := clickhouse.Settings{"mutations_sync": 0} // nobody waits for it
	maps.Copy(settings, s.form.changing())
	return rows, s.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(settings)), s.dropDays(table, gone))
}

// dropDays is the statement that does so.
func (s *Store) dropDays(table, gone string) string {
	return "ALTER TABLE " + s.db + "." + table + s.form.face(local) + s.form.onCluster() + " DELETE WHERE " + gone
}

// expiredFor is the condition that nothing needs a row of some apps, its day having been expired
// for so many days.
func expiredFor(table string, days int64, plans map[string]*projection.Plan, apps []string, at time.Time) string {
	var names, before []string
	for _, app := range apps {
		names = append(names, quoted(app))
		before = append(before, fmt.Sprintf("toInt64(%d)", projection.NewRules(*plans[app], events.MicrosOf(at), nil).FirstDay()-days))
	}
	return fmt.Sprintf("(%s AND app IN (%[2]s) AND toInt64(toInt32(day)) < transform(app, [%[2]s], [%[3]s], toInt64(0)))",
		dayTables[table], strings.Join(names, ", "), strings.Join(before, ", "))
}

// dropped is the condition that a row of a table may have been dropped from either of two
// generations, or may be within a day. Nothing has been of one that was never swept.
func (s *Store) dropped(ctx context.Context, with *Store, table string, at time.Time) (string, error) {
	swept, err := s.LastSweeps(ctx)
	if err != nil {
		return "", err
	}
	conditions := []string{"0"}
	for _, store := range []*Store{s, with} {
		if _, is := swept[store.number]; !is {
			continue
		}
		plans, err := store.plans(ctx)
		if err != nil {
			return "", err
		}
		if apps := slices.Sorted(maps.Keys(plans)); len(apps) > 0 {
			conditions = append(conditions, expiredFor(table, keptExpired-1, plans, apps, at))
		}
	}
	return "(" + strings.Join(conditions, " OR ") + ")", nil
}

// Retention is how long some app shows messages, the longest of all; 0: for ever.
func (s *Store) Retention(ctx context.Context) (time.Duration, error) {
	var longest uint64
	var forever bool
	err := s.conn.QueryRow(ctx, "SELECT max(retention), countIf(retention = 0) > 0 FROM (SELECT tupleElement(max(plan), 'retention') AS retention FROM "+s.db+".plans GROUP BY app)").Scan(&longest, &forever)
	if err != nil {
		return 0, fmt.Errorf("read the plans of apps: %w", classify(ctx, err))
	}
	longest = max(longest, events.DefaultRetention)
	if forever || longest > uint64(math.MaxInt64/time.Second) {
		return 0, nil
	}
	return time.Duration(longest) * time.Second, nil // bounded above
}
